//! The runner is killed (kill -9) right after each line of its journal: the janitor leaves the target as it was.
//!
//! The runner is this test program, called again for one test with orders in its environment.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "the soak test says how many kills there were")]

mod chaos_support;
mod support;

use chaos_support::{SmallDisk, make_repository, means, obey, orders, snapshot, staging, was_killed};
use davit::chaos::{self, NoWitness, Request};
use std::path::Path;
use std::time::Duration;
use support::postgres::PgServer;

/// Not a test by itself: what the tests below call again as a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn runner() {
    let Some(orders) = orders() else { return };
    let means = means(Path::new(orders["directory"].as_str().unwrap())).await;
    obey(&orders, &means, |request| request).await;
}

/// One fault against one server.
struct Case {
    fault: &'static str,
    server: PgServer,
    parameters: Vec<(&'static str, String)>,
    _primary: Option<PgServer>,
    _disk: Option<SmallDisk>,
}

impl Case {
    fn of(fault: &'static str) -> Self {
        let disk = (fault == "disk-full").then(|| SmallDisk::new(320));
        let parent = disk.as_ref().map_or(Path::new("/tmp"), |disk| disk.0.path());
        let server = PgServer::start_in(parent, 15, &[]);
        staging(&server);
        let parameters = match fault {
            "lock-storm" => vec![("tables", "orders,customers".to_owned())],
            "slow-queries" => vec![("sessions", "2".to_owned())],
            "replay-pause" => vec![("primary", server.url("postgres"))],
            _ => Vec::new(),
        };
        let (server, primary) = match fault {
            "replay-pause" => {
                let standby = server.standby(&[]);
                support::wait_until(20, "the shop on the standby", || {
                    standby.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'shop'") == "1"
                        && standby.psql("shop", "SELECT to_regclass('customers') IS NOT NULL") == "t"
                });
                (standby, Some(server))
            }
            _ => (server, None),
        };
        Self { fault, server, parameters, _primary: primary, _disk: disk }
    }

    /// Runs it and kills the runner after a line; `false` if there is no such line, and the run ended well.
    async fn killed_after(&self, line: u32) -> bool {
        let directory = tempfile::tempdir().unwrap();
        make_repository(directory.path()).await;
        let before = snapshot(&self.server);
        let parameters: serde_json::Map<String, serde_json::Value> =
            self.parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
        let orders = serde_json::json!({
            "directory": directory.path(), "fault": self.fault, "target": self.server.url("shop"),
            "parameters": parameters, "line": line,
        });
        let killed = was_killed("runner", &orders);

        let means = means(directory.path()).await;
        let open = chaos::open_intents(&means).await.unwrap();
        if let Some(open) = open.first() {
            // As long as it is open nobody begins anything.
            let request = Request::new("backend-kill", self.server.url("shop").parse().unwrap());
            let open = open.run.to_string();
            let refusal = tokio::time::timeout(Duration::from_secs(3), chaos::plan(&means, request)).await;
            if let Ok(refusal) = refusal {
                let text = refusal.unwrap_err().to_string();
                assert!(text.contains(&open) || text.contains("53300"), "{text}");
            }
        }
        let cleaned = chaos::janitor(&means, None, &NoWitness).await.unwrap();
        cleaned.healing.result().unwrap();
        assert_eq!(cleaned.healing.healed.len(), open.len());
        assert!(chaos::open_intents(&means).await.unwrap().is_empty());
        support::wait_until(10, &format!("{} after line {line} leaving the target as it was", self.fault), || {
            snapshot(&self.server) == before
        });
        killed
    }
}

const REVERSIBLE: [&str; 7] =
    ["connection-exhaustion", "lock-storm", "slow-queries", "replay-pause", "read-only", "primary-pause", "disk-full"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root on Linux and PostgreSQL 15: make test"]
async fn killed_after_two_lines_of_every_fault_the_janitor_leaves_the_target_as_it_was() {
    for (number, fault) in (0u32..).zip(REVERSIBLE) {
        let case = Case::of(fault);
        // Between the first effect and its undo, where it matters most: two of the lines 4 to 8.
        for line in [4 + number % 2, 6 + number % 3] {
            assert!(case.killed_after(line).await, "{fault} has a line {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: some minutes; needs root on Linux and PostgreSQL 15"]
async fn soak_killed_after_every_line_of_every_fault_the_janitor_leaves_the_target_as_it_was() {
    let mut kills = 0;
    for fault in REVERSIBLE {
        let case = Case::of(fault);
        let mut line = 1;
        while case.killed_after(line).await {
            line += 1;
        }
        assert!(line > 9, "{fault} wrote only {line} lines");
        kills += line - 1;
    }
    println!("{kills} kills of {} faults, all undone", REVERSIBLE.len());
}
