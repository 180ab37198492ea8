//! The JSON schemas say what the code does: every scenario of the project is valid, every misspelt entry is not, and the
//! names that a schema knows are those that the reader knows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

mod schema_support;

use schema_support::{must_be, problems, schema, strange};
use serde_json::{Value, json};
use std::path::Path;

fn scenarios() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        (path.display().to_string(), value)
    };
    std::fs::read_dir(folder).unwrap().map(read).collect()
}

#[test]
fn every_word_of_our_schemas_is_understood_by_these_tests() {
    for name in ["scenario", "drill", "month"] {
        assert_eq!(strange(&schema(name)), Vec::<String>::new(), "{name}");
    }
    // What the program prints is what lies in the folder.
    let printed: Value = serde_json::from_str(davit::scenario::SCHEMA).unwrap();
    assert_eq!(printed, schema("scenario"));
}

#[test]
fn every_scenario_of_the_project_is_valid_and_a_misspelt_one_is_not() {
    for (path, scenario) in scenarios() {
        must_be("scenario", &scenario);
        for block in ["objectives", "target", "fault"] {
            let mut wrong = scenario.clone();
            wrong[block]["colour"] = json!("red");
            let problems = problems("scenario", &wrong);
            assert!(problems.iter().any(|problem| problem.contains("colour")), "{path}: {problems:?}");
        }
    }
}

#[test]
fn every_scenario_of_the_project_names_a_fault_that_can_be_aimed_at_its_target() {
    for (path, _) in scenarios() {
        let scenario = davit::scenario::load(Path::new(&path), &[]).unwrap();
        if let Err(error) = davit::drill::check(&scenario) {
            panic!("{path}: {error}");
        }
    }
}

#[test]
fn a_scenario_of_the_project_that_strikes_a_table_asks_for_it() {
    let mut struck = 0;
    for (path, scenario) in scenarios() {
        let with = &scenario["fault"]["with"];
        let Some(table) = with["table"].as_str().or(with["tables"].as_str()) else { continue };
        let query = scenario["target"]["processes"]["query"].as_str().unwrap_or_default();
        assert!(query.contains(table), "{path}: the outage of {table} is seen by whoever asks for it: {query:?}");
        struck += 1;
    }
    assert!(struck >= 2, "{struck}");
}

#[test]
fn every_entry_that_the_reader_takes_is_in_the_schema() {
    let whole = "
title: t
why: w
hypothesis: h
owner: o
objectives: {rto: 15m, rpo: none, detection: 1m, redundancy: 5m, acknowledgement: 10m}
target:
  service: s
  environment: staging
  in: processes
  processes:
    clients: http://shop.test/
    ca: roots.pem
    query: SELECT 1
    expect: {status: 200, body: ok}
    primary: {url: {env: URL}, data: /data}
    standby: {url: {env: URL}}
    pid_file: /run/x.pid
    proxy: {listen: '127.0.0.1:1', to: '127.0.0.1:2'}
    resolver: {listen: '127.0.0.1:3', upstream: '127.0.0.1:53'}
  cluster: {clients: http://shop/, ca: roots.pem, query: SELECT 1, expect: {send: PING, reply: +PONG}, namespace: shop, pods: a=b, container: c, node: node-1, peers: d=e, primary: {url: {env: URL}}, standby: {url: {env: URL}}}
steady_state: {for: 10s, p95: 500ms, p99: 1s, errors: 0.1%, throughput: 10/s}
load: {probes: 10/s, deadline: 1s, writes: 100/s}
fault: {name: dns-stale, lasts: 1m, victims: 1, with: {before: 192.0.2.1}}
recovery: {by: restore from latest, source: s, tables: [a], into: {env: URL}, provision: ['true'], decision: 1s, rto_ends: service}
observers: [{name: office, command: [ssh, web-3, davit], clients: {env: URL}, ca: roots.pem, query: SELECT 1, expect: {addresses: [10.0.0.5]}}]
theory: [{phase: failover, best: 2s, worst: 40s, because: ttl 30s}, {phase: routing, worst: 5s}]
alerts: [{name: a, within: 2m, command: ['true']}, {name: b, within: 2m, alertmanager: 'http://x:9093', labels: {alertname: B}}]
checks: [{name: c, sql: SELECT true}, {name: d, http: http://x/, status: 200}, {name: e, command: ['true']}]
cleanup: [{name: c, command: ['true']}]
guards: {windows: ['Mon-Fri 09:00-17:00 UTC'], incident: {url: http://x/}, protect: [watchers], backup_age: 12h}
limits: {watch: 1m, cleanup: 2h, hold: 10s, control_loop: 1s, abort_errors: 50%, replica_lag: 16MiB, availability: 99.9%}
";
    davit::scenario::read(whole, Path::new("whole.yaml"), &[]).unwrap();
    must_be("scenario", &serde_saphyr::from_str(whole).unwrap());
    for wrong in [
        "{}",
        "{status: 99}",
        "{body: ''}",
        "{status: ok}",
        "{stauts: 200}",
        "{send: PING}",
        "{addresses: []}",
        "{status: 200, reply: ok}",
    ] {
        let wrong = whole.replace("{status: 200, body: ok}", wrong);
        assert!(davit::scenario::read(&wrong, Path::new("wrong.yaml"), &[]).is_err(), "{wrong}");
        assert!(!problems("scenario", &serde_saphyr::from_str(&wrong).unwrap()).is_empty(), "{wrong}");
    }
}
