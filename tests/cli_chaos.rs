//! Faults by hand, as a person types them: what they print, what their documents look like, how they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::zombie_processes,
    reason = "a test stops at the first surprise"
)]

mod cli_support;
mod support;

use cli_support::{Desk, shape};
use davit::chaos::Seed;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;
use support::postgres::PgServer;
use support::wait_until;

fn shop() -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE SCHEMA davit; CREATE TABLE davit.environment (name text, disposable boolean);
         INSERT INTO davit.environment VALUES ('staging', false); CREATE TABLE orders (id int)",
    );
    server
}

fn golden(name: &str, document: &Value) {
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "golden/json", omit_expression => true }, {
        insta::assert_snapshot!(name, shape(document));
    });
}

/// A lock storm that is proven and holds, and how it is called.
fn storm(desk: &Desk, url: &str, lasts: &str) -> (Child, String) {
    let mut command =
        desk.command(&["chaos", "inject", "lock-storm", "--target", url, "--set", "tables=orders", "--for", lasts]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(child.stderr.take().unwrap());
    let mut run = String::new();
    loop {
        let mut line = String::new();
        assert!(story.read_line(&mut line).unwrap() > 0, "the storm ended before it began");
        if let Some((_, rest)) = line.split_once("the undo is durable: intents/") {
            rest.split('/').next().unwrap().clone_into(&mut run);
        }
        if line.contains("PROVEN") {
            // Nobody reads the rest; a full pipe would stop it.
            std::thread::spawn(move || story.lines().count());
            return (child, run);
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_fault_by_hand_is_planned_injected_proven_and_healed() {
    let (server, desk) = (shop(), Desk::with_repository());
    let url = server.url("shop");
    let storm =
        ["chaos", "inject", "lock-storm", "--target", &url, "--set", "tables=orders", "--for", "1s", "--seed", "7"];
    let (code, planned) = desk.json(&[&storm[..], &["--dry-run"]].concat());
    assert_eq!((code, planned["dry_run"].as_bool(), planned["seed"].as_u64()), (0, Some(true), Some(7)));
    let (code, document) = desk.json(&storm);
    assert_eq!((code, document["proven"].as_bool(), document["ok"].as_bool()), (0, Some(true), Some(true)));
    assert_eq!(document["ending"]["ending"], "time-up");
    assert_eq!(document["healed"][0]["read_back"], "as-before");
    golden("chaos-inject", &document);
    let said = desk.davit(&storm);
    assert!(
        said.code == 0 && said.stdout.contains("evidence: session") && said.stderr.contains("guard environment"),
        "{said:?}"
    );
    let (_, listed) = desk.json(&["chaos", "list", "lock-storm"]);
    golden("chaos-list", &listed);
    let (_, roles) = desk.json(&["chaos", "rbac", "pod-delete", "node-drain"]);
    golden("chaos-rbac", &roles);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_signal_heals_stop_heals_and_after_kill_9_the_janitor_does() {
    let (server, mut desk) = (shop(), Desk::with_repository());
    desk.set("DAVIT_LEASE_TERM", "10s");
    let url = server.url("shop");
    let free = || {
        let output = server
            .psql_command("shop")
            .args(["-c", "SET lock_timeout = '100ms'; SELECT count(*) FROM orders"])
            .output();
        output.unwrap().status.success()
    };
    // Ctrl-C: healed, and exit 4, because nobody asked the fault to end.
    let (mut child, run) = storm(&desk, &url, "5m");
    assert!(!free());
    let (code, status) = desk.json(&["chaos", "status"]);
    assert_eq!((code, status["open"][0]["run"].as_str()), (1, Some(run.as_str())));
    golden("chaos-status", &status);
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(free());

    let (mut child, run) = storm(&desk, &url, "5m");
    let (code, acknowledged) = desk.json(&["chaos", "ack", "--note", "paged"]);
    assert_eq!((code, acknowledged["run"].as_str()), (0, Some(run.as_str())));
    golden("chaos-ack", &acknowledged);
    // Who speaks up right before the end is heard like anybody else.
    assert_eq!(desk.davit(&["chaos", "stop", &run]).code, 0);
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(shown.contains("a person noticed ") && shown.contains(": paged"), "{shown}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(free());
    let late = desk.davit(&["chaos", "ack", &run]);
    assert!(late.code == 2 && late.stderr.contains("it is over"), "{late:?}");

    let (mut child, run) = storm(&desk, &url, "5m");
    let alive = desk.davit(&["chaos", "janitor"]);
    assert!(alive.code == 3 && alive.stderr.contains("guard lease"), "{alive:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let begun = desk.davit(&["chaos", "inject", "backend-kill", "--target", &url, "--lift", "opt-in"]);
    assert!(begun.code == 3 && begun.stderr.contains("guard open-intent"), "{begun:?}");
    let (code, undone) = desk.json(&["chaos", "janitor", "--run", &run]);
    assert_eq!((code, undone["ok"].as_bool()), (0, Some(true)), "{undone}");
    golden("chaos-janitor", &undone);
    wait_until(20, "the table being free", free);
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_fault_that_waits_for_its_moment_is_stopped_before_it_strikes() {
    let (server, desk) = (shop(), Desk::with_repository());
    let patient = |seed: &Seed| seed.phase(Duration::from_secs(100)) > Duration::from_mins(1);
    let seed = (0..1000).map(Seed).find(patient).unwrap().0.to_string();
    let url = server.url("shop");
    let storm = ["chaos", "inject", "lock-storm", "--target", &url, "--set", "tables=orders"];
    let mut command = desk.command(&[&storm[..], &["--control-loop", "100s", "--seed", &seed]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let run = told.find_map(|line| line.split_once("the undo is durable: intents/").map(|(_, rest)| rest.to_owned()));
    let run = run.unwrap().split('/').next().unwrap().to_owned();
    assert_eq!(desk.davit(&["chaos", "stop", &run]).code, 0);
    let rest: Vec<String> = told.collect();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains("waiting to inject: davit chaos stop")), "{rest:#?}");
    assert!(!rest.iter().any(|line| line.contains("injecting into")), "{rest:#?}");
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn without_its_repository_no_fault_begins_and_none_goes_on() {
    let (server, mut desk) = (shop(), Desk::with_repository());
    // A directory that is gone looks like one that is empty: what is noticed is that the lease is not there to be renewed.
    desk.set("DAVIT_LEASE_TERM", "6s");
    let url = server.url("shop");
    let locked = || server.psql("shop", "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted");
    // Where the undo cannot be stored: something else has the place of the intents.
    let repository = desk.path().join("davit-repository");
    std::fs::write(repository.join("intents"), "in the way").unwrap();
    let said =
        desk.davit(&["chaos", "inject", "lock-storm", "--target", &url, "--set", "tables=orders", "--for", "5m"]);
    assert!(said.code == 4 && said.stderr.contains("before anything was injected: putting the intent"), "{said:?}");
    assert!(
        said.stderr.contains("the target is as it was") && !said.stderr.contains("MAY STILL BE BROKEN"),
        "{said:?}"
    );
    assert_eq!(locked(), "0");
    std::fs::remove_file(repository.join("intents")).unwrap();

    // The undo lies there: a fault that could only be taken back by its runner is taken back at once.
    let (mut child, run) = storm(&desk, &url, "5m");
    assert_eq!(locked(), "1");
    let away = desk.path().join("away");
    std::fs::rename(&repository, &away).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(locked(), "0");
    assert_ne!(code, Some(0), "nobody asked the fault to end");
    std::fs::remove_dir_all(&repository).ok();
    std::fs::rename(&away, &repository).unwrap();
    // What it could not write down is still open, and the janitor closes it.
    let (code, status) = desk.json(&["chaos", "status"]);
    assert_eq!((code, status["open"][0]["run"].as_str()), (1, Some(run.as_str())), "{status:#}");
    assert_eq!(desk.davit(&["chaos", "janitor"]).code, 0);
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn what_is_not_proven_to_be_healed_is_said_aloud_and_ends_with_5() {
    let (mut server, mut desk) = (shop(), Desk::with_repository());
    desk.set("DAVIT_LEASE_TERM", "3s");
    let url = server.url("shop");
    let (mut child, _) = storm(&desk, &url, "5m");
    child.kill().unwrap();
    child.wait().unwrap();
    server.stop();
    let stuck = desk.davit(&["chaos", "janitor"]);
    assert!(stuck.code == 5 && stuck.stderr.contains("THE TARGET MAY STILL BE BROKEN"), "{stuck:?}");
    server.launch(&[]);
    assert_eq!(desk.davit(&["chaos", "janitor"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn the_janitor_of_a_plain_repository_says_where_the_password_comes_from() {
    let (server, mut desk) = (shop(), Desk::new());
    assert_eq!(desk.davit(&["init", "--plain"]).code, 0);
    server.psql("postgres", "CREATE ROLE app SUPERUSER LOGIN PASSWORD 'right'");
    let rules = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    desk.set("DAVIT_LEASE_TERM", "3s");
    let url = server.url("shop").replace("postgres@", "app:right@");
    let (mut child, _) = storm(&desk, &url, "5m");
    child.kill().unwrap();
    child.wait().unwrap();
    let hint = "the intent holds no password: PGPASSFILE or PGPASSWORD gives it";
    let stuck = desk.davit(&["chaos", "janitor"]);
    assert!(stuck.code == 5 && stuck.stderr.contains(hint), "{stuck:?}");
    assert!(stuck.stderr.contains("holds the lease drill: waiting up to 3s"), "{stuck:?}");
    desk.set("PGPASSWORD", "wrong");
    let stuck = desk.davit(&["chaos", "janitor"]);
    assert!(stuck.code == 5 && stuck.stderr.contains(hint), "{stuck:?}");
    desk.set("PGPASSWORD", "right");
    let healed = desk.davit(&["chaos", "janitor"]);
    assert!(healed.code == 0 && !healed.stdout.contains(hint), "{healed:?}");
}
