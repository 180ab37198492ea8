//! Drills that do not come to their end: given up from elsewhere, or never begun because normal was not there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

mod chaos_support;
mod cli_support;
mod drill_support;
mod support;

use chaos_support::SmallDisk;
use cli_support::Desk;
use drill_support::{Application, desk, ledgers, quick, scenario, setting, shop};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use support::postgres::PgServer;
use support::wait_until;

/// A drill under way whose story came to a line with this text; nothing where normal was not there.
fn begun(desk: &Desk, arguments: &[&str], text: &str) -> Option<Child> {
    let mut command = desk.command(&[&["--output", "json"], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let there = story.any(|line| line.contains(text));
    // Nobody reads the rest; a full pipe would stop it.
    std::thread::spawn(move || story.count());
    if there {
        return Some(child);
    }
    child.wait().unwrap();
    None
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_drill_whose_fault_is_over_at_once_is_given_up_by_a_word_from_elsewhere() {
    let server = PgServer::start();
    shop(&server, false);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    // Nobody would believe the recovery for an hour.
    let long = setting(["fault.victims=1", "limits.hold=1h", "limits.watch=2h"]);
    // A machine that is busy elsewhere may not be steady; then nothing is injected, and it is tried again.
    let mut application = Application::of(&server);
    let mut child = (0..5)
        .find_map(|_| {
            let begun = begun(&desk, &quick(&path, &long), "waiting until the recovery is believed");
            if begun.is_none() && Application::sessions(&server) == "0" {
                application = Application::of(&server);
            }
            begun
        })
        .unwrap();
    assert_eq!(Application::sessions(&server), "0", "it has struck");
    let (_, status) = desk.json(&["chaos", "status"]);
    let said = desk.davit(&["chaos", "stop", status["open"][0]["run"].as_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{shown}");
    let document: Value = serde_json::from_str(&shown).unwrap();
    let verdict = &document["drills"][0]["verdict"];
    assert!(verdict.to_string().contains("davit chaos stop"), "{verdict:#}");
    assert_eq!(document["drills"][0]["cleanup"]["proven"], true, "{document:#}");
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_drill_that_has_broken_nothing_yet_is_stopped_and_breaks_nothing() {
    let server = PgServer::start();
    shop(&server, false);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    let _application = Application::of(&server);
    let set = setting(["fault.victims=1", "steady_state.for=10m"]);
    let mut child = begun(&desk, &quick(&path, &set), "looking at what normal is").unwrap();
    let said = desk.davit(&["chaos", "status"]);
    assert!(said.code == 1 && said.stdout.contains("no fault is injected; what a drill made for itself"), "{said:?}");
    let (_, status) = desk.json(&["chaos", "status"]);
    let (code, stopped) = desk.json(&["chaos", "stop", status["open"][0]["run"].as_str().unwrap()]);
    assert_eq!((code, stopped["undone"].as_u64()), (0, Some(1)), "{stopped:#}");
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{shown}");
    assert!(shown.contains("davit chaos stop"), "{shown}");
    assert_eq!(Application::sessions(&server), "1", "nothing was broken");
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn nothing_is_broken_where_fewer_writes_than_usual_are_taken() {
    let server = PgServer::start();
    shop(&server, false);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    let _application = Application::of(&server);
    // Three hundred are written: the probes alone are answered far less often than the second asks for.
    for (wanted, text) in [("100000/s", "answers a second, wanted are 100000"), ("100/s", "")] {
        let wanted = format!("steady_state.throughput={wanted}");
        let set = setting(["fault.victims=1", "load.writes=300/s", wanted.as_str()]);
        if text.is_empty() {
            let (code, report) = drill_support::drill(&desk, &quick(&path, &set));
            drill_support::must_be_met(code, &report);
            assert_eq!(Application::sessions(&server), "0");
        } else {
            let said = desk.davit(&quick(&path, &set));
            assert_eq!(said.code, 6, "{}{}", said.stdout, said.stderr);
            assert!(said.stdout.contains(text), "{}", said.stdout);
            assert_eq!(Application::sessions(&server), "1", "nothing was broken");
        }
    }
}

#[test]
#[ignore = "needs root on Linux and PostgreSQL 15: make test"]
fn a_journal_that_cannot_be_written_any_more_keeps_nothing_from_being_put_back() {
    let server = PgServer::start();
    shop(&server, false);
    let small = SmallDisk::new(24);
    let mut desk = desk(&server.url("shop"), &server);
    desk.set("XDG_STATE_HOME", small.0.path().to_str().unwrap());
    let path = scenario("lock-storm");
    let set = setting(["fault.lasts=6s", "load.writes=20/s"]);
    let mut child = (0..5).find_map(|_| begun(&desk, &quick(&path, &set), "strikes")).unwrap();
    let locked = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'orders'::regclass";
    wait_until(60, "the storm", || server.psql("shop", locked) == "t");
    let mut ballast = std::fs::File::create(small.0.path().join("ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[7; 4096]).is_ok() {}
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{shown}");
    assert_eq!(server.psql("shop", locked), "f");
    assert_eq!(ledgers(&server), "0");
    let (code, status) = desk.json(&["chaos", "status"]);
    assert_eq!(code, 0, "nothing is left to undo: {status:#}");
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_check_that_does_not_end_is_given_up_and_holds_nobody_up() {
    let server = PgServer::start();
    shop(&server, false);
    let desk = desk(&server.url("shop"), &server);
    let text = std::fs::read_to_string(scenario("backend-kill")).unwrap();
    let checks = "checks:\n  - {name: patience, command: [sleep, '600']}\n  - {name: sleeper, sql: SELECT pg_sleep(600) IS NOT NULL}\n";
    let cleanup = "cleanup:\n  - {name: put back, command: [sleep, '600']}\n";
    assert!(!text.contains("\nchecks:") && !text.contains("\ncleanup:"), "{text}");
    desk.write("slow.yaml", &format!("{text}\n{checks}{cleanup}"));
    let _application = Application::of(&server);
    let set = setting(["fault.victims=1", "limits.watch=5s", "limits.cleanup=4s"]);
    let (code, report) = drill_support::drill(&desk, &quick("slow.yaml", &set));
    assert_eq!(code, 5, "what puts something back did not end: {:#}", report["verdict"]);
    let shown = report.to_string();
    // Of the query the server says so first, or we do.
    let given_up = ["running sleep: it did not end within 5s", "running sleep: it did not end within 4s"];
    for text in given_up.into_iter().chain(["making a check: "]) {
        assert!(shown.contains(text), "{text}: {report:#}");
    }
}
