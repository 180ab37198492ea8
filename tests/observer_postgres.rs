//! Probes, ledger and load against a real PostgreSQL server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]
#![allow(
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::similar_names,
    reason = "tests show what they measured"
)]
#![allow(clippy::unchecked_time_subtraction, reason = "a clock that goes back should stop a test")]

mod observer_support;
mod support;

use davit::clock::{SharedClock, SystemClock};
use davit::drill::dial::Server;
use davit::drill::streams::{Database, streams};
use davit::measure::ledger::{Survivor, classify};
use davit::measure::{Answer, Attempt, Outcome, Read, Sample};
use davit::observation::Observation;
use davit::postgres::{ConnInfo, PgEnvironment};
use davit::probe::ledger::{Ledger, Table};
use davit::probe::load::{Load, LoadPlan};
use davit::probe::sql::{Link, SharedDial, check_room, settings};
use davit::probe::{Ask, Connection, MemorySink, Observer, StreamPlan};
use observer_support::cost::processor;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::postgres::PgServer;
use support::wait_until;

fn conn(server: &PgServer) -> ConnInfo {
    ConnInfo::parse(&server.url("postgres"), &PgEnvironment::default()).unwrap()
}

async fn link(dial: &SharedDial) -> Box<dyn Link> {
    dial.dial(&[]).await.unwrap()
}

fn sql(name: &str, connection: Connection, write: bool) -> StreamPlan {
    StreamPlan::new(name, Ask::Sql { connection, write })
}

struct World {
    server: PgServer,
    clock: SharedClock,
    dial: SharedDial,
    table: Table,
    ledger: Arc<Ledger>,
    directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let server = PgServer::start();
        let clock = SystemClock::shared();
        let dial = Server::shared(conn(&server));
        let table = Table::create(&*link(&dial).await, "test").await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(&directory.path().join("ledger"), 42, clock.clone()).unwrap();
        Self { server, clock, dial, table, ledger, directory }
    }

    fn database(&self) -> Database {
        Database { conn: conn(&self.server), ledger: Some((self.ledger.clone(), self.table.name().to_owned())) }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("ledger")
    }

    /// Every acknowledged write must stand in the table as it was written, no failed one may, and nothing else either.
    async fn check(&self, path: &Path) -> (usize, usize) {
        check(path, &self.table.read(&*link(&self.dial).await).await.unwrap())
    }
}

fn check(path: &Path, rows: &[(u64, u64)]) -> (usize, usize) {
    let account = Ledger::reread(path).unwrap();
    let attempts: Vec<Attempt> = account.attempts(rows.iter().map(|(id, _)| *id)).collect();
    let read: Read = rows.iter().copied().collect();
    let classes = classify(&attempts, &[read.clone(), read], Survivor::default());
    assert!(classes.clean(), "{classes:?}");
    let ok = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Ok).count();
    (ok, attempts.len())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn probes_write_on_fresh_and_pooled_connections_and_every_write_is_in_the_ledger() {
    let world = World::new().await;
    let plans = [
        sql("fresh", Connection::Fresh, true),
        sql("pooled", Connection::Pooled, true),
        sql("reads", Connection::Pooled, false),
    ];
    let streams = streams(&plans, Some(&world.database())).await.unwrap();
    let sink = MemorySink::new();
    let observer = Observer::new("here", world.clock.clone(), sink.clone()).start(streams).unwrap();
    let good = |name: &str| {
        let seen = sink.observation().unwrap();
        seen.streams.get(name).map_or(0, |series| series.samples.iter().filter(|sample| sample.good()).count())
    };
    wait_until(60, "good probes of each stream", || ["fresh", "pooled", "reads"].iter().all(|name| good(name) > 20));
    observer.look("now?");
    let tally = observer.stop().await.unwrap();
    let seen = sink.observation().unwrap();
    assert_eq!(seen.looks[0].0, "now?");
    world.ledger.sync().unwrap();
    let (ok, all) = world.check(&world.path()).await;
    // What is not acknowledged is what a probe did not call good, and what each stream had out when it was stopped.
    let not_good = |name| seen.streams[name].samples.iter().filter(|sample| !sample.good()).count();
    let excused = not_good("fresh") + not_good("pooled") + 2;
    assert!(ok > 40 && all - ok <= excused, "{ok} of {all}, {excused} not good: {tally:?}");
    let account = Ledger::reread(&world.path()).unwrap();
    let written = account.settled().find(|attempt| attempt.lsn.is_some()).unwrap();
    assert_eq!(written.timeline, Some(1));
    assert!(written.xid.is_some() && written.lsn.unwrap().0 < written.lsn.unwrap().1, "{written:?}");
    let counted = world.server.psql("postgres", "SELECT count(*) FROM davit.ledger_test");
    assert_eq!(counted.parse::<usize>().unwrap(), world.table.read(&*link(&world.dial).await).await.unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_stream_against_a_locked_table_holds_no_more_connections_than_stated_and_is_back_at_once() {
    let world = World::new().await;
    let plan = sql("fresh", Connection::Fresh, true);
    let stated = i64::from(plan.connections());
    let streams = streams(&[plan], Some(&world.database())).await.unwrap();
    let sink = MemorySink::new();
    let locker = link(&world.dial).await;
    let observer = Observer::new("here", world.clock.clone(), sink.clone()).start(streams).unwrap();
    let good_since = |since: Duration| {
        let seen = sink.observation().unwrap();
        let samples = seen.streams.get("fresh").map(|series| series.samples.as_slice()).unwrap_or_default();
        samples.iter().filter(|sample| sample.good() && sample.sent > since).count()
    };
    wait_until(20, "a good probe", || good_since(Duration::ZERO) > 0);
    locker.client().batch_execute("BEGIN; LOCK TABLE davit.ledger_test IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let watcher = link(&world.dial).await;
    let locked = world.clock.monotonic();
    let felt = |freed: Duration| -> Vec<Sample> {
        let during = |sample: &Sample| sample.sent > locked + Duration::from_millis(200) && sample.ended < freed;
        let seen = sink.observation().unwrap();
        seen.streams["fresh"].samples.iter().filter(|sample| during(sample)).cloned().collect()
    };
    let mut most = 0_i64;
    // Until the lock was felt by many, however fast this machine is; some minutes are enough for any.
    while most <= 5 || felt(Duration::MAX).len() <= 30 {
        assert!(world.clock.monotonic() < locked + Duration::from_mins(3), "{most}: {:?}", felt(Duration::MAX));
        let held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit/probe' AND pid <> \
                    pg_backend_pid() AND state <> 'idle in transaction'";
        most = most.max(watcher.client().query_one(held, &[]).await.unwrap().get(0));
        // Who asks without a pause takes the processor from those who are watched.
        world.clock.sleep(Duration::from_millis(20)).await;
    }
    // Read before the lock goes: a probe may be answered before our own ROLLBACK is.
    let freed = world.clock.monotonic();
    locker.client().batch_execute("ROLLBACK").await.unwrap();
    wait_until(20, "good probes again", || good_since(freed) > 5);
    let tally = observer.stop().await.unwrap();
    assert!(most <= stated, "{most} connections, stated are {stated}");
    assert!(i64::from(tally.streams["fresh"].out_at_most) <= stated, "{tally:?}");
    let felt = felt(freed);
    assert!(felt.len() > 30 && felt.iter().all(|sample| !sample.good()), "{felt:?}");
    world.ledger.sync().unwrap();
    world.check(&world.path()).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn probes_that_could_use_up_the_server_are_refused_before_the_first_one() {
    let server = PgServer::start_with(15, &["max_connections=20"]);
    let database = Database { conn: conn(&server), ledger: None };
    let error = streams(&[sql("fresh", Connection::Fresh, false)], Some(&database)).await.err().unwrap();
    assert_eq!(error.kind(), davit::error::Kind::Refused);
    assert!(error.to_string().contains("20 connections at once"), "{error}");
    check_room(&*link(&Server::shared(conn(&server))).await, 2).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn the_table_is_made_named_and_removed_by_us_and_nothing_else_is() {
    let server = PgServer::start();
    let dial = Server::shared(conn(&server));
    let link = link(&dial).await;
    let table = Table::create(&*link, "one").await.unwrap();
    assert_eq!((table.name(), table.owner()), ("davit.\"ledger_one\"", "postgres"));
    assert!(Table::create(&*link, "one").await.is_err(), "a run has one table");
    server.psql("postgres", "CREATE TABLE davit.environment (name text); CREATE TABLE davit.ledger_other (i int)");
    assert_eq!(Table::left(&*link).await.unwrap(), BTreeMap::from([("one".to_owned(), "postgres".to_owned())]));
    table.remove(&*link).await.unwrap();
    table.remove(&*link).await.unwrap();
    let error = Table::known("other").unwrap().remove(&*link).await.unwrap_err();
    assert_eq!(error.kind(), davit::error::Kind::Stuck, "a table that we did not make stays: {error}");
    server.psql("postgres", "DROP TABLE davit.ledger_other, davit.environment");
    Table::create(&*link, "two").await.unwrap().remove(&*link).await.unwrap();
    assert_eq!(server.psql("postgres", "SELECT to_regnamespace('davit') IS NULL"), "t", "our schema goes, too");
}

/// Starts the observer as a process of its own, kills it, and reads its ledger again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn an_observer_that_is_killed_leaves_a_ledger_that_calls_no_unknown_write_ok() {
    let world = World::new().await;
    let plans: Vec<StreamPlan> = (0..2)
        .map(|number| {
            let name = format!("pooled-{number}");
            sql(&name, Connection::Pooled, true).paced(Duration::from_millis(20), Duration::from_millis(400))
        })
        .collect();
    let plan = serde_json::to_string(&plans).unwrap();
    for round in 0..5_u64 {
        let run = format!("kill{round}");
        let table = Table::create(&*link(&world.dial).await, &run).await.unwrap();
        let (path, log) = (world.directory.path().join(&run), world.directory.path().join(format!("{run}.log")));
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("davit"))
            .args([
                "observe",
                "--plan",
                &plan,
                "--run",
                &run,
                "--seed",
                "9",
                "--database",
                &world.server.url("postgres"),
            ])
            .arg("--ledger")
            .arg(&path)
            .arg("--log")
            .arg(&log)
            .current_dir(world.directory.path())
            .spawn()
            .unwrap();
        let enough = 60 + usize::try_from(round).unwrap() * 17;
        wait_until(60, "outcomes in the ledger", || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.matches("\"ok\"").count() > enough)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        // What the server had in hand when its client died comes to its end first.
        wait_until(20, "the sessions of the killed observer ending", || {
            let left =
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit/probe' AND state <> 'idle'";
            world.server.psql("postgres", left) == "0"
        });
        let rows = table.read(&*link(&world.dial).await).await.unwrap();
        let (ok, _) = check(&path, &rows);
        assert!(ok > enough, "round {round}: {ok}");
        let seen = Observation::read(&*std::fs::read(&log).unwrap()).unwrap();
        assert!(!seen.whole, "a log that was cut off says so");
    }
}

fn load(world: &World, rate: u32, writers: u32, patience: Duration) -> Load {
    let plan = LoadPlan {
        rate,
        writers,
        patience,
        dial: world.dial.clone(),
        settings: settings(patience, 15),
        table: world.table.name().to_owned(),
    };
    Load::start(plan, world.ledger.clone(), world.clock.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_load_writes_as_much_as_it_is_asked_for() {
    let world = World::new().await;
    let load = load(&world, 500, 8, Duration::from_mins(1));
    let begin = world.clock.monotonic();
    wait_until(60, "a thousand writes", || load.written().ok >= 1_000);
    let took = world.clock.monotonic() - begin;
    assert!(took >= Duration::from_millis(1_900), "no faster than asked: {took:?}");
    let written = load.stop().await.unwrap();
    assert_eq!((written.fail, written.unknown), (0, 0));
    assert_eq!(world.check(&world.path()).await.0 as u64, written.ok);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures this machine: make soak"]
async fn soak_what_load_and_probes_reach_and_cost() {
    const THREADS: [&str; 3] = ["davit-load", "davit-ledger", "davit-timer"];
    let world = World::new().await;
    for (rate, writers) in [(1_000, 8), (3_000, 16)] {
        let load = load(&world, rate, writers, Duration::from_secs(2));
        let (begin, before, spent) = (world.clock.monotonic(), load.written().ok, processor(&THREADS));
        world.clock.sleep(Duration::from_secs(10)).await;
        let (took, spent) = (world.clock.monotonic() - begin, processor(&THREADS) - spent);
        let per_second = (load.written().ok - before) as f64 / took.as_secs_f64();
        let share = spent.as_secs_f64() / took.as_secs_f64() * 100.0;
        load.stop().await.unwrap();
        eprintln!("asked for {rate}/s: {per_second:.0} writes/s, load and ledger took {share:.1} % of a core");
        assert!(rate == 1_000 || per_second >= 2_000.0, "{per_second}");
    }
    world.check(&world.path()).await;
    lateness(&world).await;
}

/// How late probes are sent, at ten a second on each of two streams.
async fn lateness(world: &World) {
    let plans = [sql("fresh", Connection::Fresh, true), sql("pooled", Connection::Pooled, true)];
    let streams = streams(&plans, Some(&world.database())).await.unwrap();
    let sink = MemorySink::new();
    let observer = Observer::new("here", world.clock.clone(), sink.clone()).start(streams).unwrap();
    world.clock.sleep(Duration::from_mins(1)).await;
    let tally = observer.stop().await.unwrap();
    let seen = sink.observation().unwrap();
    let sent = seen.streams.values().flat_map(|series| &series.samples);
    let sent = sent.filter(|sample| sample.answer != Answer::NotSent);
    let mut late: Vec<Duration> = sent.map(|sample| sample.sent - sample.due).collect();
    late.sort_unstable();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100];
    let (p50, p99, max) = (at(50), at(99), at(100));
    eprintln!("{} probes: late by {p50:?} (p50), {p99:?} (p99), {max:?} (max), {} stalls", late.len(), tally.stalls);
    assert!(p99 < Duration::from_millis(2), "{p99:?}");
}
