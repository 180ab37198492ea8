//! Runs drills as a person does, on machines that may be busy elsewhere, and reads their reports.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how long a machine stays busy is its own affair, and told"
)]

use crate::cli_support::Desk;
use crate::support::postgres::PgServer;
use crate::support::wait_until;
use serde_json::Value;
use std::process::Child;
use std::time::{Duration, Instant};

/// A session that a fault of sessions hits; it ends with the test.
pub struct Application(pub Child);

impl Application {
    /// Begins one in the database `shop`.
    pub fn of(server: &PgServer) -> Self {
        let child = server.psql_command("shop").args(["-c", "SELECT pg_sleep(600)"]).spawn().unwrap();
        wait_until(20, "the application's session", || Self::sessions(server) == "1");
        Self(child)
    }

    /// How many of them a server has; asked from elsewhere, so that no fault takes the session that asks for one of them.
    pub fn sessions(server: &PgServer) -> String {
        server.psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The tables of ledgers that a database has.
pub fn ledgers(server: &PgServer) -> String {
    server.psql("shop", "SELECT count(*) FROM pg_class WHERE relname LIKE 'ledger_%'")
}

/// The path of a scenario that we ship.
pub fn scenario(name: &str) -> String {
    format!("{}/scenarios/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// The arguments that set values of a scenario.
pub fn setting<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    values.into_iter().flat_map(|value| ["--set", value]).collect()
}

/// Quick, and on a machine that does other work as well: how fast the service answers is not what these tests are about.
/// Of the forty probes of four seconds two may be late; with a rule for 99 % none might.
pub const STEADY: &str = "steady_state={for: 4s, p95: 900ms, errors: 5%}";

pub const QUICK: [&str; 5] =
    [STEADY, "limits.hold=3s", "limits.control_loop=500ms", "recovery.decision=500ms", "load.writes=300/s"];

/// A server whose database `shop` says that it may be broken.
pub fn shop(server: &PgServer, disposable: bool) {
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        &format!(
            "CREATE SCHEMA davit; CREATE TABLE davit.environment (name text, disposable boolean);
             INSERT INTO davit.environment VALUES ('staging', {disposable});
             CREATE TABLE customers AS SELECT i AS id FROM generate_series(1, 1000) i;
             CREATE TABLE orders AS SELECT i AS id, 1 + i % 1000 AS customer_id FROM generate_series(1, 20000) i;
             ALTER TABLE orders ADD PRIMARY KEY (id)"
        ),
    );
}

/// A desk that knows the way of clients and the server behind it.
pub fn desk(clients: &str, primary: &PgServer) -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("DRILL_CLIENTS_URL", clients).set("DRILL_PRIMARY_URL", &primary.url("shop"));
    desk
}

/// The arguments of a drill that is quick.
pub fn quick<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["drill", path, "--report", "reports"], &setting(QUICK)[..], more].concat()
}

/// Runs `davit drill …`; its exit code and its report. A drill that finds the service unsteady, touches nothing and says so
/// is right, and no answer to what these tests ask: on a machine that is busy elsewhere it is run again, for as long as
/// other tests may keep that machine busy.
pub fn drill(desk: &Desk, arguments: &[&str]) -> (i32, Value) {
    const PATIENCE: Duration = Duration::from_mins(4);
    let begun = Instant::now();
    loop {
        let (code, report) = drill_once(desk, arguments);
        let sentence = report["verdict"]["sentence"].as_str().unwrap();
        let touched = !report["blast_radius"]["touched"].as_array().unwrap().is_empty();
        if code != 6 || !sentence.contains("steady state") || touched || begun.elapsed() > PATIENCE {
            return (code, report);
        }
        println!("again, because the machine is busy: {sentence}");
    }
}

/// The same, whatever it finds.
pub fn drill_once(desk: &Desk, arguments: &[&str]) -> (i32, Value) {
    let (code, document) = desk.json(arguments);
    match document["drills"].as_array().map(Vec::as_slice) {
        Some([report]) => (code, report.clone()),
        _ => panic!("exit {code}, and not one report: {document:#}"),
    }
}

/// The drill met everything that was wanted; gives its word. Whether what is normal was there again right afterwards is also
/// the affair of a machine that is busy elsewhere: the report says so, and nothing else may have been missed.
pub fn must_be_met(code: i32, report: &Value) -> &str {
    let verdict = &report["verdict"];
    let rows = report["objectives"].as_array().unwrap();
    let (after, others): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["key"] == "steady-after");
    assert!(others.iter().all(|row| row["verdict"].is_null() || row["verdict"] == "met"), "{verdict:#} {others:#?}");
    let expected = if after.is_empty() { (0, "met") } else { (1, "missed") };
    assert_eq!((code, verdict["word"].as_str().unwrap()), expected, "{verdict:#}");
    expected.1
}

/// The row of an objective; of several paths the first one's.
pub fn row<'a>(report: &'a Value, key: &str) -> &'a Value {
    let rows = report["objectives"].as_array().unwrap();
    rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key} in {report:#}"))
}

/// How many writes are of a class.
pub fn class(report: &Value, name: &str) -> u64 {
    let classes = report["integrity"]["classes"].as_array().unwrap();
    classes.iter().find(|class| class["class"] == name).unwrap()["count"].as_u64().unwrap()
}

/// How many probes of all streams failed.
pub fn failed_probes(report: &Value) -> u64 {
    let failed = |stream: &Value| stream["refused"].as_u64().unwrap() + stream["silent"].as_u64().unwrap();
    report["streams"].as_array().unwrap().iter().map(failed).sum()
}

/// The stored journal alone gives the report that was written, byte for byte; its text.
pub fn made_again(desk: &Desk, report: &Value) -> String {
    let run = report["run"].as_str().unwrap();
    let again = desk.davit(&["report", "drill", run, "--format", "json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let written = std::fs::read_to_string(desk.path().join(format!("reports/drill-{run}.json"))).unwrap();
    assert_eq!(again.stdout, written);
    written
}

/// Speaks up as soon as there is something to speak of; nothing if the drill ends before.
pub fn speak_up(desk: &Desk, drill: &mut Child) -> Option<Value> {
    while drill.try_wait().unwrap().is_none() {
        let said = desk.davit(&["chaos", "ack", "--note", "the alert of slow logins", "--output", "json"]);
        if said.code == 0 {
            return Some(serde_json::from_str(&said.stdout).unwrap());
        }
        assert!(said.code == 2 && said.stderr.contains("none is under way"), "{}{}", said.code, said.stderr);
        // The drill needs the processor, too.
        std::thread::sleep(Duration::from_millis(250));
    }
    None
}
