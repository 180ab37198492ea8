//! The runner is killed (kill -9) right after each line of its journal: the janitor leaves the target as it was.
//!
//! The runner is this test program, called again for one test with orders in its environment.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "the soak test says how many kills there were")]

mod chaos_support;
mod network_support;
mod support;

use chaos_support::{
    Diary, Site, SmallDisk, make_repository, means, obey, orders, request, snapshot, staging, two_lines, was_killed,
};
use davit::chaos::{self, NoWitness, Request};
use network_support::{Names, Service, ask, ask_briefly};
use serde_json::{Map, Value, json};
use std::net::{SocketAddr, TcpStream};
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
        let orders = orders_of(self.fault, &self.server.url("shop"), &self.parameters);
        let other = Request::new("backend-kill", self.server.url("shop").parse().unwrap());
        Box::pin(killed_after(orders, line, other, || snapshot(&self.server))).await
    }
}

fn orders_of(fault: &str, target: &str, parameters: &[(&str, String)]) -> Value {
    let parameters: Map<String, Value> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    json!({"fault": fault, "target": target, "parameters": parameters})
}

/// Runs what was ordered and kills the runner after a line; nothing `other` begins while an intent is open, and once the
/// janitor was here all that is `seen` is as before. `false` if there is no such line, and the run ended well.
async fn killed_after(mut orders: Value, line: u32, other: Request, seen: impl Fn() -> String) -> bool {
    let directory = tempfile::tempdir().unwrap();
    make_repository(directory.path()).await;
    let before = seen();
    orders["directory"] = json!(directory.path());
    orders["line"] = json!(line);
    let killed = was_killed("runner", &orders);

    let means = means(directory.path()).await;
    let open = chaos::open_intents(&means).await.unwrap();
    if let Some(open) = open.first() {
        let open = open.run.to_string();
        let refusal = tokio::time::timeout(Duration::from_secs(3), chaos::plan(&means, other)).await;
        if let Ok(refusal) = refusal {
            let text = refusal.unwrap_err().to_string();
            assert!(text.contains(&open) || text.contains("53300"), "{text}");
        }
    }
    let cleaned = chaos::janitor(&means, None, &NoWitness).await.unwrap();
    cleaned.healing.result().unwrap();
    assert_eq!(cleaned.healing.healed.len(), open.len());
    assert!(chaos::open_intents(&means).await.unwrap().is_empty());
    support::wait_until(10, &format!("{} after line {line} leaving the target as it was", orders["fault"]), || {
        seen() == before
    });
    killed
}

/// One fault of a network or of a name, all on this machine's loopback.
struct Way {
    fault: &'static str,
    target: String,
    listen: SocketAddr,
    parameters: Vec<(&'static str, String)>,
    service: Service,
    names: Names,
}

impl Way {
    fn of(fault: &'static str) -> Self {
        let (service, names) = (Service::start("127.0.0.1"), Names::start("shop.test", "10.0.0.1"));
        let listen = SocketAddr::from(([127, 0, 0, 1], support::free_port()));
        let mut parameters = vec![("listen", listen.to_string())];
        let target = if fault.starts_with("dns-") {
            parameters.push(("upstream", names.address.to_string()));
            "dns://shop.test".to_owned()
        } else {
            format!("tcp://{}", service.address)
        };
        match fault {
            "network-slow-close" => parameters.push(("delay", "500".to_owned())),
            "dns-wrong" => parameters.push(("addresses", "192.0.2.9".to_owned())),
            "dns-stale" => parameters.push(("before", "192.0.2.7".to_owned())),
            _ => {}
        }
        Self { fault, target, listen, parameters, service, names }
    }

    /// What clients meet: at the service and the name server themselves, and where a fault would stand between.
    fn seen(&self) -> String {
        let knock = |at: SocketAddr| TcpStream::connect(at).map(|_| ()).map_err(|error| error.kind());
        let heard = (ask(self.names.address, "shop.test"), ask_briefly(self.listen, "shop.test"));
        format!("{:?} {:?} {heard:?}", knock(self.service.address), knock(self.listen))
    }

    fn killed_after(&self, line: u32) -> bool {
        let orders = orders_of(self.fault, &self.target, &self.parameters);
        let mut other = Request::new("network-cut", format!("tcp://{}", self.service.address).parse().unwrap());
        other.parameters.set("listen", format!("127.0.0.1:{}", support::free_port()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(killed_after(orders, line, other, || self.seen()))
    }
}

/// Each on a thread of its own: mostly they wait for each other's end.
fn side_by_side<T: Send>(faults: &[&'static str], each: impl Fn(Way) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let each = &each;
        let all: Vec<_> = faults.iter().map(|fault| scope.spawn(move || each(Way::of(fault)))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

const WAYS: [&str; 11] = [
    "network-latency",
    "network-bandwidth",
    "network-slow-close",
    "network-cut",
    "network-reset",
    "network-refuse",
    "network-black-hole",
    "network-half-open",
    "dns-wrong",
    "dns-silent",
    "dns-stale",
];

#[test]
fn killed_after_two_lines_of_every_fault_of_networks_and_names_the_way_is_free_and_nothing_is_left() {
    side_by_side(&WAYS, |way| {
        for line in two_lines(way.fault) {
            assert!(way.killed_after(line), "{} has a line {line}", way.fault);
        }
    });
}

#[test]
#[ignore = "soak: a minute"]
fn soak_killed_after_every_line_of_every_fault_of_networks_and_names_nothing_is_left() {
    let kills = side_by_side(&WAYS, |way| {
        let mut line = 1;
        while way.killed_after(line) {
            line += 1;
        }
        assert!(line > 9, "{} wrote only {line} lines", way.fault);
        line - 1
    });
    println!("{} kills of {} faults of networks and names, all undone", kills.iter().sum::<u32>(), WAYS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_on_another_machine_is_neither_undone_here_nor_called_undone() {
    let site = Site::new().await;
    let file = site.directory.path().join("service.pid");
    let start = format!(
        "DAVIT_CHAOS=allowed DAVIT_ENVIRONMENT=staging setsid sleep 300 > /dev/null 2>&1 & echo $! > {}",
        file.display()
    );
    assert!(std::process::Command::new("/bin/sh").args(["-c", &start]).status().unwrap().success());
    let killed = std::fs::read_to_string(&file).unwrap();
    // The shell's child has the number already, and what allows the fault once it is the program.
    let environment = format!("/proc/{}/environ", killed.trim());
    let allowed = || std::fs::read(&environment).is_ok_and(|text| text.windows(11).any(|part| part == b"DAVIT_CHAOS"));
    support::wait_until(30, "the service", allowed);
    let request = Request::new("process-kill", format!("pid:{}", file.display()).parse().unwrap());
    drop(site.inject(request.with("start", &start), &Diary::default()).await);

    let mut elsewhere = means(site.directory.path()).await;
    let here = std::mem::replace(&mut elsewhere.machine.host, "db-9".to_owned());
    elsewhere.machine.id = Some("another".to_owned());
    elsewhere.machine.boot = None;
    let cleaned = chaos::janitor(&elsewhere, None, &NoWitness).await.unwrap();
    let error = cleaned.healing.result().unwrap_err().to_string();
    assert!(error.contains(&format!("run davit chaos janitor on {here}")), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), killed, "nothing was started there");
    assert_eq!(chaos::open_intents(&elsewhere).await.unwrap().len(), 1);

    let cleaned = chaos::janitor(&site.means, None, &NoWitness).await.unwrap();
    cleaned.healing.result().unwrap();
    let started = std::fs::read_to_string(&file).unwrap();
    assert_ne!(started, killed);
    assert!(std::process::Command::new("kill").args(["-KILL", started.trim()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn whatever_is_undone_on_a_machine_notes_which_one_it_is() {
    let (site, server) = (Site::new().await, PgServer::start());
    staging(&server);
    let here = json!(chaos::Machine::here());
    for (fault, parameter, noted) in [
        ("disk-full", ("most", "100000000"), true),
        ("primary-pause", ("", ""), true),
        ("primary-crash", ("start", "true"), true),
        // Nothing is done to bring it back, and whether it is back shows from anywhere.
        ("primary-crash", ("start", ""), false),
    ] {
        let request = request(&server, fault);
        let request = if parameter.0.is_empty() { request } else { request.with(parameter.0, parameter.1) };
        let plan = chaos::plan(&site.means, request).await.unwrap();
        let machine = plan.prepared[0].prior.get("machine");
        assert_eq!(machine, noted.then_some(&here), "{fault}");
    }
}

const REVERSIBLE: [&str; 7] =
    ["connection-exhaustion", "lock-storm", "slow-queries", "replay-pause", "read-only", "primary-pause", "disk-full"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root on Linux and PostgreSQL 15: make test"]
async fn killed_after_two_lines_of_every_fault_the_janitor_leaves_the_target_as_it_was() {
    for fault in REVERSIBLE {
        let case = Case::of(fault);
        for line in two_lines(fault) {
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
