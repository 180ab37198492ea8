//! The shipped scenarios for a database on one machine: each of them is planned against real servers as it lies in its file, and
//! those whose faults are felt elsewhere than at the ledger are run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

mod cli_support;
mod drill_support;
mod schema_support;
mod support;

use cli_support::Desk;
use davit::clock::SystemClock;
use davit::drill::dial::Server;
use davit::drill::streams::{Database, streams};
use davit::postgres::{ConnInfo, PgEnvironment};
use davit::probe::ledger::{Ledger, Table};
use davit::probe::sql::{SharedDial, reading, settings};
use davit::probe::{Ask, Connection, MemorySink, Observer, StreamPlan};
use drill_support::{
    class, desk, drill, failed_probes, made_again, must_be_met, quick, row, scenario, setting, shop, speak_up,
};
use serde_json::Value;
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;
use support::pgbouncer::PgBouncer;
use support::postgres::PgServer;
use support::s3::S3;
use support::{free_port, wait_until};
use tokio_postgres::SimpleQueryMessage;

/// A primary with a standby that has everything.
fn pair() -> (PgServer, PgServer) {
    let primary = PgServer::start_with(15, &["autovacuum=off"]);
    shop(&primary, false);
    let standby = primary.standby(&["autovacuum=off"]);
    wait_until(60, "the tables on the standby", || {
        standby.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'shop'") == "1"
    });
    (primary, standby)
}

/// A desk on whose path `davit` is, as the scenarios that begin another one expect it.
fn desk_with_davit(clients: &str, primary: &PgServer) -> Desk {
    let mut desk = desk(clients, primary);
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_davit")).parent().unwrap();
    desk.set("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display()));
    desk
}

/// How many probes of a path failed.
fn failed(report: &Value, path: &str) -> u64 {
    let streams = report["streams"].as_array().unwrap().iter().filter(|stream| stream["path"] == path);
    streams.map(|stream| stream["refused"].as_u64().unwrap() + stream["silent"].as_u64().unwrap()).sum()
}

/// The recovery time of the path whose name begins so: low, high.
fn time(report: &Value, path: &str) -> (f64, f64) {
    let rows = report["objectives"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == "rto" && row["by"].as_str().unwrap().starts_with(path));
    let row = row.unwrap_or_else(|| panic!("no {path} in {rows:#?}"));
    (row["actual"]["low"].as_f64().unwrap(), row["actual"]["high"].as_f64().unwrap())
}

#[test]
#[ignore = "needs PostgreSQL 15 and PgBouncer: make test"]
fn each_scenario_of_a_database_on_one_machine_is_planned_as_it_lies_in_its_file() {
    let (primary, standby) = pair();
    let both = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/shop", primary.port, standby.port);
    let pool = PgBouncer::start(&primary, "transaction");
    for (name, clients, hits) in [
        ("connection-exhaustion", pool.url("shop"), primary.port),
        ("lock-storm", primary.url("shop"), primary.port),
        ("replication-paused", primary.url("shop"), standby.port),
        ("slow-s3", primary.url("shop"), 7070),
        ("primary-crash-sync", both.clone(), primary.port),
        ("primary-crash-async", both, primary.port),
    ] {
        let mut desk = desk_with_davit(&clients, &primary);
        desk.set("DRILL_STANDBY_URL", &standby.url("shop"));
        let path = scenario(name);
        let mut arguments = vec!["drill", path.as_str(), "--dry-run"];
        // Another program of this machine may be at the proxy's port.
        let listen = format!("target.processes.proxy.listen=127.0.0.1:{}", free_port());
        if name == "slow-s3" {
            arguments.extend(["--set", &listen]);
        }
        let said = desk.davit(&arguments);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        let hit = said.stdout.lines().find(|line| line.starts_with("fault: hits")).unwrap();
        assert!(hit.contains(&format!(":{hits}")), "{name}: {hit}");
    }
    let desk = desk(&primary.url("shop"), &primary);
    for (more, code, text) in [
        // Whom nobody names cannot be struck, and whoever is no standby has nothing to replay.
        (
            &["target.processes={clients: 'postgres://a@b/c', primary: {url: 'postgres://a@b/c'}}"][..],
            2,
            "standby: {url: …}",
        ),
        (&[&*format!("target.processes.standby.url={}", primary.url("shop"))], 3, "it is no standby"),
        (&["fault.name=failover", "target.processes={clients: 'postgres://a@b/c'}"], 2, "it is for a standby"),
        (&["target.processes.query=SELECT 1; SELECT 2"], 2, "more than one statement"),
        (&["recovery.rto_ends=command"], 2, "has no command with which"),
        (&["target.processes.query=''"], 2, "the query is empty"),
        (&["target.processes.query=SELECT 1 FROM nowhere"], 3, "nowhere"),
        (
            &["target.processes.clients=http://127.0.0.1:1/", "target.processes.query=SELECT 1"],
            2,
            "clients do not ask a database",
        ),
    ] {
        let path = scenario("replication-paused");
        let standby = format!("target.processes.standby.url={}", standby.url("shop"));
        let set = [&["observers=[]", standby.as_str()], more].concat();
        let said = desk.davit(&[&["drill", path.as_str()], &setting(set)[..]].concat());
        assert_eq!(said.code, code, "{more:?}: {}", said.stderr);
        assert!(said.stderr.contains(text), "{more:?}: {}", said.stderr);
    }
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_way_back_that_cannot_work_is_known_before_there_is_no_other() {
    let (primary, standby) = pair();
    let desk = desk(&primary.url("shop"), &primary);
    let nobody = format!("target.processes.standby.url=postgres://postgres@127.0.0.1:{}/shop", free_port());
    let itself = format!("target.processes.standby.url={}", primary.url("shop"));
    let none =
        ["rto", "rpo", "redundancy", "acknowledgement", "detection"].map(|name| format!("objectives.{name}=none"));
    let none: Vec<&str> = none.iter().map(String::as_str).collect();
    primary.psql("shop", "CREATE ROLE clerk LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk");
    wait_until(60, "the clerk on the standby", || {
        standby.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'clerk'") == "1"
    });
    let clerk = |server: &PgServer| server.url("shop").replacen("postgres@", "clerk@", 1);
    let promotes = format!("target.processes.standby.url={}", clerk(&standby));
    let writes = format!("target.processes.clients={}", clerk(&primary));
    let reads = format!("target.processes.clients={}", standby.url("shop"));
    for (name, more, code, text) in [
        ("primary-crash-async", &[nobody.as_str()][..], 3, "planning the promotion"),
        ("primary-crash-async", &[itself.as_str()], 3, "it is no standby"),
        ("primary-crash-restart", &["recovery.command=[/nonexistent/restart]"], 2, "no program /nonexistent/restart"),
        ("lock-storm", &none, 2, "every objective is none"),
        // Nor is it begun by a login that may not do what it takes.
        ("primary-crash-async", &[promotes.as_str()], 3, "\"clerk\" may not call pg_promote"),
        ("lock-storm", &[writes.as_str(), "load.writes=10/s"], 3, "clerk may not make the ledger's table"),
        ("lock-storm", &[reads.as_str(), "load.writes=10/s"], 3, "it is a standby, and takes none"),
        ("lock-storm", &["load.probes=500/s", "load.deadline=1s"], 3, "the probes may hold"),
    ] {
        let path = scenario(name);
        let said = desk.davit(&[&["drill", path.as_str()], &setting(more.iter().copied())[..]].concat());
        assert_eq!(said.code, code, "{name} {more:?}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains(text), "{name} {more:?}: {}", said.stderr);
    }
    // A check that cannot be made is no finding of a drill; one that takes long is not run beforehand.
    let with_check = |sql: &str| {
        let text = std::fs::read_to_string(scenario("lock-storm")).unwrap();
        desk.write("checked.yaml", &format!("{text}\nchecks:\n  - {{name: all is there, sql: \"{sql}\"}}\n"));
        desk.davit(&[&["drill", "checked.yaml", "--dry-run"], &setting([])[..]].concat())
    };
    let said = with_check("SELECT count(*) = 0 FROM nowhere");
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stderr.contains("planning the check \"all is there\"") && said.stderr.contains("nowhere"), "{said:?}");
    let said = with_check("SELECT pg_sleep(600) IS NOT NULL");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(primary.psql("shop", "SELECT 1"), "1");
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn who_waits_for_a_locked_table_is_seen_and_who_does_not_need_it_is_not() {
    let server = PgServer::start();
    shop(&server, false);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("lock-storm");
    let set = setting(["fault.lasts=3s"]);
    let (code, report) = drill(&desk, &quick(&path, &set));
    must_be_met(code, &report);
    assert!(failed(&report, "reads") >= 5, "{:#}", report["streams"]);
    let (low, high) = time(&report, "reads");
    // The lock was held for three seconds, and for longer only where the machine was too busy to let go in time. Where it was
    // too busy to see the fault at once, the bounds are wide.
    assert!(low <= high && (2.9..30.0).contains(&high), "[{low}, {high}]");
    let what = report["streams"].to_string();
    assert!(what.contains("FROM public.orders WHERE id = 1"), "{what}");
    assert_eq!(class(&report, "lost"), 0);
    schema_support::must_be("drill", &report);
    made_again(&desk, &report);
    // What was put in place of the file's values is part of which drill it was.
    assert!(
        report["identity"]["scenario"].as_str().unwrap().contains(" --set fault.lasts=3s"),
        "{:#}",
        report["identity"]
    );
    // A drill's journal lies beside those of backups, and is none of them.
    let (code, listed) = desk.json(&["points", "--runs"]);
    assert_eq!((code, listed["runs"].as_array().map(Vec::len)), (0, Some(0)), "{listed:#}");

    // The same without anybody in the way: another table is locked that nobody asks for.
    let set = setting(["fault.lasts=3s", "fault.with.tables=public.customers"]);
    let (code, report) = drill(&desk, &quick(&path, &set));
    must_be_met(code, &report);
    assert!(time(&report, "reads").0 < 1.5, "{:#}", report["objectives"]);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn readers_of_a_standby_that_stands_still_are_seen_to_get_old_answers_until_it_has_caught_up() {
    let (primary, standby) = pair();
    let mut desk = desk_with_davit(&primary.url("shop"), &primary);
    desk.set("DRILL_STANDBY_URL", &standby.url("shop"));
    let path = scenario("replication-paused");
    // Answers grow old for five seconds before they are: what is good for so long must not count as restored.
    let set = setting(["fault.lasts=12s", "limits.hold=8s", "objectives.acknowledgement=2m", "limits.watch=2m"]);
    let near = setting(["limits.replica_lag=64KiB", "objectives.redundancy=2m"]);
    let mut arguments = quick(&path, &[set, near].concat());
    arguments.extend(["--output", "json"]);
    // A drill that finds its service unsteady strikes nothing, and there is nothing to be told: it is run again.
    let report = (0..5)
        .find_map(|_| {
            let mut child = desk.command(&arguments);
            let said = desk.path().join("said.json");
            let mut child = child.stdout(File::create(&said).unwrap()).stderr(Stdio::null()).spawn().unwrap();
            // What gets the alert says so.
            speak_up(&desk, &mut child)?;
            let ended = child.wait().unwrap();
            let document: Value = serde_json::from_slice(&std::fs::read(&said).unwrap()).unwrap();
            let report = document["drills"][0].clone();
            must_be_met(ended.code().unwrap(), &report);
            Some(report)
        })
        .unwrap();
    let (low, high) = time(&report, "new connections, seen from readers");
    assert!(low > 8.0 && (11.0..90.0).contains(&high), "[{low}, {high}]");
    // Who asks the primary felt nothing of it.
    assert!(time(&report, "new connections, seen from this machine").0 < 3.0, "{:#}", report["objectives"]);
    assert_eq!(row(&report, "acknowledgement")["verdict"], "met", "{:#}", report["acknowledgement"]);
    // It went on streaming, and was no redundancy until it had replayed nearly everything.
    let whole = report["timeline"].as_array().unwrap().iter().find(|moment| moment["symbol"] == "t10").unwrap();
    assert!(whole["evidence"].as_str().unwrap().starts_with("1 standby streaming"), "{whole:#}");
    assert!(whole["since_fault"]["low"].as_f64().unwrap() > 8.0, "{whole:#}");
    assert_eq!(class(&report, "lost"), 0);
    assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
    assert_eq!(standby.psql("shop", "SELECT pg_is_wal_replay_paused()"), "f");
    made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn with_a_synchronous_standby_no_acknowledged_write_is_lost() {
    let (primary, standby) = pair();
    primary.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.psql("postgres", "SELECT pg_reload_conf()");
    wait_until(60, "commits waiting for the standby", || {
        primary.psql("postgres", "SELECT sync_state FROM pg_stat_replication") == "sync"
    });
    let clients = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/shop?target_session_attrs=read-write",
        primary.port, standby.port
    );
    let mut desk = desk(&clients, &primary);
    desk.set("DRILL_STANDBY_URL", &standby.url("shop"));
    let path = scenario("primary-crash-sync");
    let (code, report) = drill(&desk, &quick(&path, &[]));
    must_be_met(code, &report);
    assert_eq!((class(&report, "lost"), &row(&report, "rpo")["verdict"]), (0, &Value::from("met")));
    assert_eq!(report["identity"]["versions"]["synchronous_standby_names"], "*");
    // Whatever the dead primary had committed and the standby had not, nobody was told of.
    assert_eq!(report["integrity"]["log_agrees"], true, "{:#}", report["integrity"]);
    assert!(failed_probes(&report) > 0, "{:#}", report["streams"]);
    made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15 and PgBouncer: make test"]
fn a_server_without_connections_is_seen_through_its_pool_and_has_them_back_afterwards() {
    let primary = PgServer::start();
    shop(&primary, false);
    let pool = PgBouncer::start(&primary, "transaction");
    let desk = desk(&pool.url("shop"), &primary);
    let path = scenario("connection-exhaustion");
    let set = setting(["fault.lasts=4s", "load.writes=50/s"]);
    let (code, report) = drill(&desk, &quick(&path, &set));
    must_be_met(code, &report);
    let moments = report["timeline"].as_array().unwrap();
    let effective = moments.iter().find(|moment| moment["symbol"] == "t1").unwrap();
    assert!(effective["evidence"].as_str().unwrap().contains("53300"), "{effective:#}");
    assert_eq!(class(&report, "lost"), 0);
    assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
    // The pool keeps a few for its clients; the fault had taken all hundred.
    let few = "SELECT count(*) < 30 FROM pg_stat_activity";
    wait_until(60, "the connections being free again", || primary.psql("postgres", few) == "t");
    schema_support::must_be("drill", &report);
    made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15 and versitygw: make test"]
fn a_backup_through_a_slow_way_to_s3_is_what_the_recovery_time_is_about() {
    let server = PgServer::start();
    shop(&server, false);
    let s3 = S3::start();
    tokio::runtime::Runtime::new().unwrap().block_on(s3.plain_bucket("backups"));
    let listen = format!("127.0.0.1:{}", free_port());
    let mut desk = Desk::new();
    for (name, value) in s3.environment() {
        desk.set(name, &value);
    }
    desk.set("DRILL_CLIENTS_URL", &server.url("shop")).set("DRILL_PRIMARY_URL", &server.url("shop"));
    desk.set("DAVIT_REPOSITORY", "s3://backups/davit").set("DAVIT_RETRY_BUDGET", "2s");
    desk.write("davit.yaml", &format!("sources:\n  cloudflow:\n    url: {}\n", server.url("shop")));
    let said = desk.davit(&["init"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let path = scenario("slow-s3");
    let davit = env!("CARGO_BIN_EXE_davit");
    let set = [
        format!("target.processes.proxy={{listen: '{listen}', to: '127.0.0.1:{}'}}", s3.port),
        format!("recovery.command=[env, 'AWS_ENDPOINT_URL_S3=http://{listen}', '{davit}', backup, cloudflow]"),
        "fault.lasts=2s".to_owned(),
        "fault.with.latency=20".to_owned(),
        // The backup itself makes this machine busy.
        "limits.abort_errors=50%".to_owned(),
    ];
    let set = setting(set.iter().map(String::as_str));
    let (code, report) = drill(&desk, &quick(&path, &[&set[..], &["--set", "load={}"]].concat()));
    must_be_met(code, &report);
    let (low, high) = time(&report, "from the proven fault until the end of env");
    assert!(low > 0.0 && low <= high, "[{low}, {high}]");
    let sentence = report["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("cloudflow-backup done "), "{sentence}");
    let (code, points) = desk.json(&["points"]);
    assert!(code == 0 && points.to_string().contains("\"cloudflow\""), "{points:#}");
    assert!(time(&report, "new connections").0 < 1.0, "{:#}", report["objectives"]);
    made_again(&desk, &report);

    // That it goes this way is seen where the way is cut: then the backup does not end well, and that is no pass.
    // When it has failed, nothing is left to wait for: the way is mended before its time.
    let cut = ["fault.name=network-cut", "fault.with={}", "fault.lasts=5m", "load={}"];
    let cut = [&set[..], &setting(cut)].concat();
    let (code, report) = drill(&desk, &quick(&path, &cut));
    assert_eq!(code, 1, "{:#}", report["verdict"]);
    assert_eq!(row(&report, "recovery")["verdict"], "missed", "{:#}", report["objectives"]);
    let sentence = "it had not ended well when the drill ended: the recovery had failed";
    assert_eq!(row(&report, "rto")["sentence"], sentence);
    assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
}

/// What a connection of a probe's says to the server, as a pooler lets it through.
async fn limit(dial: &SharedDial) -> (bool, String, String) {
    let link = dial.dial(&settings(Duration::from_millis(7_700), 15)).await.unwrap();
    let shown = async |sql: &str| {
        let answer = link.client().simple_query(sql).await.unwrap();
        answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    };
    let within = shown(&reading(link.before().unwrap_or_default(), "SHOW lock_timeout")).await.unwrap();
    (link.before().is_none(), within, shown("SHOW lock_timeout").await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15 and PgBouncer: make test"]
async fn probes_behind_a_pooler_wait_no_longer_than_they_say_and_tell_strangers_nothing() {
    let server = PgServer::start();
    shop(&server, false);
    let ignoring = PgBouncer::start(&server, "transaction");
    let refusing = PgBouncer::start_with(&server, "transaction", "ignore_startup_parameters = extra_float_digits\n");
    for (url, own, without) in
        [(server.url("shop"), true, "7700ms"), (ignoring.url("shop"), false, "0"), (refusing.url("shop"), false, "0")]
    {
        let conn = ConnInfo::parse(&url, &PgEnvironment::default()).unwrap();
        let dial = Server::shared(conn.clone());
        for _ in 0..2 {
            assert_eq!(limit(&dial).await, (own, "7700ms".to_owned(), without.to_owned()), "{url}");
        }
        // They write, read and ask as ever.
        let table = Table::create(&*dial.dial(&[]).await.unwrap(), "pooled").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let ledger = Ledger::create(&folder.path().join("ledger"), 1, clock.clone()).unwrap();
        let connection = Connection::Pooled;
        let plans = [
            StreamPlan::new("writes", Ask::Sql { connection, write: true }),
            StreamPlan::new("reads", Ask::Sql { connection, write: false }),
            StreamPlan::new("asks", Ask::Query { connection, query: "SELECT count(*) FROM orders".to_owned() }),
            StreamPlan::new("no", Ask::Query { connection, query: "SELECT false".to_owned() }),
        ];
        let database = Database { conn, ledger: Some((ledger, table.name().to_owned())) };
        let streams = streams(&plans, Some(&database)).await.unwrap();
        let sink = MemorySink::new();
        let observer = Observer::new("here", clock, sink.clone()).start(streams).unwrap();
        let seen = |name: &str, good: bool| {
            let seen = sink.observation().unwrap();
            seen.streams.get(name).map_or(0, |all| all.samples.iter().filter(|one| one.good() == good).count())
        };
        wait_until(60, "good probes of each stream", || {
            ["writes", "reads", "asks"].iter().all(|name| seen(name, true) > 5)
        });
        wait_until(60, "probes that are told no", || seen("no", false) > 5);
        assert_eq!(seen("no", true), 0, "one false is a failure");
        observer.stop().await.unwrap();
        table.remove(&*dial.dial(&[]).await.unwrap()).await.unwrap();
    }
}
