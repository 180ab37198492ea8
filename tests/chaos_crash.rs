//! The runner is killed (kill -9) right after each line of its journal: the janitor leaves the target as it was.
//!
//! The runner is this test program, called again for one test with orders in its environment.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "the runner gets its orders through its environment")]
#![allow(clippy::print_stdout, reason = "the soak test says how many kills there were")]

mod chaos_support;
mod support;

use async_trait::async_trait;
use chaos_support::{SmallDisk, healed, make_repository, means, snapshot, staging};
use davit::chaos::{self, Event, NoWitness, Request, Witness};
use davit::error::Result;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::postgres::PgServer;

/// Ends the process right after a line was written, as `kill -9` does.
struct Killer {
    line: u32,
    written: AtomicU32,
}

#[async_trait]
impl Witness for Killer {
    async fn line(&self, _event: Event) -> Result<()> {
        if self.written.fetch_add(1, Ordering::SeqCst) + 1 == self.line {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        Ok(())
    }
}

/// Not a test by itself: what the tests below call again as a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn runner() {
    let Ok(orders) = std::env::var("DAVIT_TEST_RUNNER") else { return };
    let orders: serde_json::Value = serde_json::from_str(&orders).unwrap();
    let text = |name: &str| orders[name].as_str().unwrap();
    let means = means(Path::new(text("directory"))).await;
    let mut request = Request::new(text("fault"), text("target").parse().unwrap()).lasting(Duration::from_secs(20));
    for (name, value) in orders["parameters"].as_object().unwrap() {
        request.parameters.set(name, value.as_str().unwrap());
    }
    let killer = Killer { line: u32::try_from(orders["line"].as_u64().unwrap()).unwrap(), written: AtomicU32::new(0) };
    let plan = chaos::plan(&means, request).await.unwrap();
    let injection = chaos::inject(&means, plan, &killer).await.unwrap();
    assert!(injection.effective().is_some());
    healed(&injection.heal(&killer).await);
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
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "runner", "--nocapture"]).env("DAVIT_TEST_RUNNER", orders.to_string());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{} after line {line}: {:?}: {said}", self.fault, output.status);

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
