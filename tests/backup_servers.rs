//! Servers of every major, standbys, odd encodings, wide tables and huge values.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod backup_support;
mod support;

use backup_support::{Content, backup, commits, in_background, repository, request, slow_request, until_reading};
use davit::backup::facts::kind;
use davit::backup::take;
use davit::clock::{Clock, SimClock, SystemClock};
use davit::repository::{InitOptions, Repository};
use davit::store::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use support::postgres::{PgServer, client_dir};
use support::wait_until;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn every_major_is_backed_up_with_a_client_that_is_new_enough() {
    for (major, client) in [(14, 15), (16, 16), (17, 18), (18, 18)] {
        let server = PgServer::start_with(major, &[]);
        server.psql(
            "postgres",
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, note text); INSERT INTO t (note) VALUES ('a')",
        );
        server.psql("postgres", "SELECT lo_from_bytea(4711, '\\x00ff')");
        let (repository, _) = repository().await;
        let mut request = request(&server, "postgres");
        request.tool_dirs = vec![client_dir(client)];
        let report = backup(request, &repository).await.unwrap_or_else(|error| panic!("{major}: {error:?}"));
        let content = Content::of(&repository, &report).await;
        assert_eq!(content.rows_of("t").await, "1\ta\n", "{major}");
        assert_eq!(content.only(kind::LARGE_OBJECTS).rows.rows, 1, "{major}");
        assert!(content.text(content.only(kind::PRE_DATA)).await.contains("CREATE TABLE public.t"), "{major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn a_server_newer_than_every_client_is_refused_with_the_client_to_install() {
    let server = PgServer::start_with(18, &[]);
    let (repository, store) = repository().await;
    let before = store.keys();
    let error = backup(request(&server, "postgres"), &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.to_string().contains("of version 18 or later: the newest found is"), "{error}");
    assert!(error.hint_text().unwrap().contains("postgresql-client-18"), "{error:?}");
    assert_eq!(store.keys(), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_standby_is_backed_up_and_a_conflict_with_replay_is_told_with_what_to_set() {
    let primary = PgServer::start();
    primary.psql(
        "postgres",
        "CREATE TABLE slow AS SELECT g AS id, repeat(md5(g::text), 8) AS note FROM generate_series(1, 30000) g",
    );
    primary.psql("postgres", "CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS id");
    let standby = primary.standby(&["max_standby_streaming_delay=0"]);
    let there = || standby.psql("postgres", "SELECT count(*) FROM pg_class WHERE relname = 'fleeting'") == "1";
    wait_until(20, "the standby having caught up", there);
    let (repository, store) = repository().await;
    let report = backup(request(&standby, "postgres"), &repository).await.unwrap();
    assert_eq!((report.rows, report.tables), (30000, 1));
    let facts = Content::of(&repository, &report).await.database();
    assert!(facts.not_included.iter().any(|note| note.contains("fleeting")), "{:?}", facts.not_included);
    let running = in_background(slow_request(&standby, "postgres"), &repository);
    until_reading(&standby);
    primary.psql("postgres", "DELETE FROM slow WHERE id % 2 = 0");
    primary.psql("postgres", "VACUUM slow");
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 1), "{error}");
    assert!(error.hint_text().unwrap().contains("hot_standby_feedback"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn bytes_of_a_database_without_an_encoding_pass_as_they_are() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE raw ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    server.psql("raw", "CREATE TABLE t AS SELECT convert_from('\\xe4f6', 'SQL_ASCII') AS latin");
    let (repository, _) = repository().await;
    let report = backup(request(&server, "raw"), &repository).await.unwrap();
    let content = Content::of(&repository, &report).await;
    assert_eq!(content.bytes(content.table("t").1).await, b"\xe4\xf6\n");
    assert_eq!(content.database().session_settings["client_encoding"], "SQL_ASCII");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_table_of_1600_columns_is_read() {
    let server = PgServer::start();
    let columns: Vec<String> = (1..=1600).map(|n| format!("\"Column {n}\" bool")).collect();
    server.psql("postgres", &format!("CREATE TABLE wide ({})", columns.join(", ")));
    server.psql("postgres", "INSERT INTO wide (\"Column 1600\") VALUES (true)");
    let (repository, _) = repository().await;
    let report = backup(request(&server, "postgres"), &repository).await.unwrap();
    let content = Content::of(&repository, &report).await;
    assert_eq!(content.table("wide").0.columns.len(), 1600);
    assert_eq!(content.rows_of("wide").await, format!("{}t\n", "\\N\t".repeat(1599)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_machine_whose_clock_is_an_hour_off_is_refused() {
    let server = PgServer::start();
    let ahead = SystemClock::new().now().checked_add(jiff::SignedDuration::from_secs(3700)).unwrap();
    let store = MemoryStore::new(Arc::new(SimClock::at(ahead)));
    let made = Repository::init(store.clone(), &InitOptions::default(), SystemClock::shared()).await.unwrap();
    let before = store.keys();
    let error = take::plan(request(&server, "postgres"), &made.repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.to_string().contains("1 h 1 min behind the store's"), "{error}");
    assert_eq!(store.keys(), before);
}

/// The peak of a child's resident memory, in MiB.
fn peak_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Runs a program to its good end; gives the peak of its memory.
fn peak_of(mut program: std::process::Command) -> u64 {
    let mut running = program.spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak_mib(running.id()).unwrap_or_default().max(peak);
        if let Some(status) = running.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{program:?}");
    peak
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn values_of_200_mb_need_no_memory_of_their_own() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE TABLE huge (id int, body bytea)");
    for id in 1..=4 {
        server
            .psql("postgres", &format!("INSERT INTO huge VALUES ({id}, decode(repeat('ab0{id}', 100000000), 'hex'))"));
    }
    let directory = tempfile::tempdir().unwrap();
    let davit = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_davit"));
        command.args(arguments).env("DAVIT_REPOSITORY", directory.path().join("repository"));
        command.env("DAVIT_KEYS", directory.path().join("keys")).env("HOME", directory.path());
        command.stdout(std::process::Stdio::null());
        command
    };
    assert!(davit(&["init"]).status().unwrap().success());
    let peak = peak_of(davit(&["backup", &server.url("postgres"), "--jobs", "4"]));
    // Four values of 400 MB as text were read side by side.
    assert!(peak > 20 && peak <= 256, "backup: {peak} MiB");
    // So they are written and read back.
    let peak =
        peak_of(davit(&["restore", "postgres@latest", "--into", &server.url("again"), "--create", "--jobs", "4"]));
    assert!(peak > 20 && peak <= 256 + 3 * 200, "restore: {peak} MiB");
    let same =
        "SELECT count(*), min(length(body)), max(length(body)), md5(string_agg(md5(body), '' ORDER BY id)) FROM huge";
    assert_eq!(server.psql("again", same), server.psql("postgres", same));
}
