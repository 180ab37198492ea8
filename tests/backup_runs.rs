//! Runs that are refused, stopped, or take another way: with the right exit code, and nothing left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unused_self,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod backup_support;
mod support;

use backup_support::{
    Content, SLOW_TABLE, backup, client_programs, commits, conn, in_background, our_connections, repository, request,
    server_with, slow_request, until_reading,
};
use davit::backup::facts::{Engine, StreamFacts, kind};
use davit::backup::take::{self, Databases, EngineChoice, MinContent};
use davit::error::Kind;
use davit::journal::NoProgress;
use serde::Deserialize;
use std::sync::Arc;
use support::postgres::PgServer;
use support::wait_until;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_cancelled_run_stops_its_queries_on_the_server_and_commits_nothing() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", "INSERT INTO slow SELECT g, repeat(md5(g::text), 8) FROM generate_series(30001, 200000) g");
    let (repository, store) = repository().await;
    let cancel = CancellationToken::new();
    let mut slow = slow_request(&server, "shop");
    slow.limit_rate = Some(10_000_000);
    let plan = take::plan(slow, &repository).await.unwrap();
    let (token, repo) = (cancel.clone(), repository.clone());
    let running = tokio::spawn(async move { take::run(plan, &repo, NoProgress::shared(), &token).await });
    // The definitions are four chunks; the fifth one is of rows.
    let stored = || store.keys().iter().filter(|key| key.as_str().starts_with("chunks/")).count();
    wait_until(20, "a chunk of rows being stored", || stored() >= 5);
    cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.kind().exit_code(), error.to_string().as_str()), (4, "the backup was stopped"));
    wait_until(5, "our connections ending", || our_connections(&server) == "0");
    assert_eq!(commits(&store), 0);
    let report = backup(request(&server, "shop"), &repository).await.unwrap();
    assert!(report.amounts.chunks_new < report.amounts.chunks, "what the cancelled run stored is used: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_server_that_dies_in_the_middle_is_a_failure() {
    let mut server = server_with(SLOW_TABLE);
    let (repository, store) = repository().await;
    let running = in_background(slow_request(&server, "shop"), &repository);
    until_reading(&server);
    server.stop();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), commits(&store)), (Kind::Failed, 0), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_second_runner_of_the_same_source_is_refused_with_the_holder_s_name() {
    let server = server_with(SLOW_TABLE);
    let (repository, store) = repository().await;
    let mut first = slow_request(&server, "shop");
    first.limit_rate = Some(200_000);
    first.holder = "host-a, process 1".into();
    let cancel = CancellationToken::new();
    let plan = take::plan(first, &repository).await.unwrap();
    let (token, repo) = (cancel.clone(), repository.clone());
    let running = tokio::spawn(async move { take::run(plan, &repo, NoProgress::shared(), &token).await });
    until_reading(&server);
    let error = backup(request(&server, "shop"), &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3, "{error}");
    assert!(error.to_string().contains("host-a, process 1"), "{error}");
    cancel.cancel();
    assert!(running.await.unwrap().is_err());
    assert_eq!(commits(&store), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_source_that_lost_its_last_table_or_names_another_database_is_refused() {
    let server = server_with("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let (repository, store) = repository().await;
    backup(request(&server, "shop"), &repository).await.unwrap();
    server.psql("shop", "DROP TABLE t");
    let error = backup(request(&server, "shop"), &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert_eq!(error.to_string(), "backing up shop: its last point has 1 tables, and now there is none");
    let error = backup(request(&server, "postgres"), &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.hint_text().unwrap().contains("--rebind"), "{error:?}");
    assert_eq!(commits(&store), 1);
    let mut accepted = request(&server, "postgres");
    (accepted.rebind, accepted.allow_empty) = (true, true);
    assert_eq!(backup(accepted, &repository).await.unwrap().tables, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_point_with_less_than_it_must_hold_is_not_committed() {
    let server = server_with("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let (repository, store) = repository().await;
    let mut request = request(&server, "shop");
    request.min_content = MinContent { tables: 1, rows: 2, bytes: 0 };
    let error = backup(request, &repository).await.unwrap_err();
    assert_eq!(error.to_string(), "checking the content: 1 rows, and at least 2 were expected");
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_program_that_stops_half_way_and_exits_with_0_has_made_no_backup() {
    let server =
        server_with("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g; CREATE INDEX ON t (id)");
    let (repository, store) = repository().await;
    for (name, bytes, engine) in [
        ("pg_dump", 0, EngineChoice::Parallel),
        ("pg_dump", 700, EngineChoice::Parallel),
        ("pg_dump", 3000, EngineChoice::Stream),
        ("pg_restore", 300, EngineChoice::Parallel),
        ("pg_dumpall", 300, EngineChoice::Parallel),
        ("pg_dumpall", 300, EngineChoice::Stream),
    ] {
        let programs = client_programs(name, &format!("$STOCK \"$@\" | head -c {bytes}\nexit 0"));
        let mut request = request(&server, "shop");
        (request.tool_dirs, request.engine) = (vec![programs.path().to_owned()], engine);
        let error = backup(request, &repository).await.unwrap_err();
        assert_eq!((error.kind().exit_code(), commits(&store)), (4, 0), "{name} {bytes} {engine}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_table_without_privilege_is_refused_by_name_unless_it_is_left_out() {
    let server = server_with(
        "CREATE TABLE open_one (id serial); INSERT INTO open_one DEFAULT VALUES; CREATE TABLE \"Closed\" (id serial);
         CREATE TABLE log (id int); INSERT INTO log VALUES (1); CREATE TABLE \"Closed *.?$ \"\"x\"\"\" (id serial);
         CREATE ROLE reader LOGIN; GRANT SELECT ON open_one, open_one_id_seq, log TO reader",
    );
    let (repository, store) = repository().await;
    let mut as_reader = request(&server, "shop");
    as_reader.connection = conn(&server.url("shop").replace("postgres@", "reader@"));
    let error = backup(as_reader.clone(), &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert_eq!(error.to_string(), "reading \"public\".\"Closed\" and 1 other: no privilege");
    as_reader.exclude = vec!["\"Closed\"".parse().unwrap(), "\"Closed *.?$ \"\"x\"\"\"".parse().unwrap()];
    as_reader.exclude_rows = vec!["l?g".parse().unwrap()];
    let report = backup(as_reader, &repository).await.unwrap();
    let content = Content::of(&repository, &report).await;
    assert_eq!((content.tables().len(), content.sequences().len(), commits(&store)), (1, 1, 1));
    let left_out: Vec<(String, bool)> =
        content.database().left_out.into_iter().map(|left| (left.table, left.rows_only)).collect();
    let expected = [
        ("\"public\".\"Closed\"", false),
        ("\"public\".\"Closed *.?$ \"\"x\"\"\"", false),
        ("\"public\".\"log\"", true),
    ];
    assert_eq!(left_out, expected.map(|(table, rows_only)| (table.to_owned(), rows_only)));
    let pre = content.text(content.only(kind::PRE_DATA)).await;
    assert!(pre.contains("CREATE TABLE public.log") && !pre.contains("Closed"), "{pre}");
    let globals = content.text(content.only(kind::GLOBALS)).await;
    assert!(globals.contains("CREATE ROLE reader") && !globals.contains("PASSWORD"), "{globals}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn all_databases_of_a_server_are_one_point() {
    let server = server_with("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    server.psql("postgres", "CREATE DATABASE \"Odd name\"; ");
    server.psql("Odd name", "CREATE TABLE t (id int); INSERT INTO t VALUES (2)");
    let (repository, _) = repository().await;
    let mut all = request(&server, "postgres");
    all.databases = Databases::All;
    let report = backup(all, &repository).await.unwrap();
    assert_eq!(report.databases, ["Odd name", "postgres", "shop"]);
    assert_eq!((report.tables, report.rows), (2, 2));
    let content = Content::of(&repository, &report).await;
    assert_eq!((content.of_kind(kind::DATABASE).len(), content.of_kind(kind::GLOBALS).len()), (3, 1));
    let mut listed = request(&server, "postgres");
    listed.source = "two".parse().unwrap();
    listed.databases = Databases::Listed(vec!["shop".into(), "missing".into()]);
    let error = backup(listed, &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 2, "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn the_stream_engine_counts_the_rows_of_one_dump() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", "CREATE TABLE \"B b\" (x int, y text); INSERT INTO \"B b\" VALUES (1, E'a\\tb'), (2, NULL)");
    let (repository, _) = repository().await;
    let parallel = backup(request(&server, "shop"), &repository).await.unwrap();
    let parallel = Content::of(&repository, &parallel).await;
    let mut stream = request(&server, "shop");
    stream.engine = EngineChoice::Stream;
    let report = backup(stream, &repository).await.unwrap();
    assert_eq!((report.engine, report.tables, report.rows), (Engine::Stream, 2, 30002));
    let content = Content::of(&repository, &report).await;
    let facts = StreamFacts::deserialize(&content.only(kind::DUMP).details).unwrap();
    for table in &facts.tables {
        assert_eq!(
            table.rows,
            parallel.table(&table.table).1.rows,
            "both engines read the same rows of {}",
            table.table
        );
    }
    let text = content.text(content.only(kind::DUMP)).await;
    assert!(text.ends_with("-- PostgreSQL database dump complete\n--\n\n") || text.contains("\\unrestrict"), "no end");
    assert_eq!(content.database().extensions.len(), 1, "plpgsql");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn too_few_locks_lead_to_fewer_jobs_then_to_the_stream_engine_by_name() {
    let server = PgServer::start_with(15, &["max_locks_per_transaction=10", "max_connections=20"]);
    server.psql(
        "postgres",
        "DO $$ BEGIN FOR i IN 1..80 LOOP EXECUTE format('CREATE TABLE t%s (id int)', i); COMMIT; END LOOP; END $$",
    );
    let (repository, _) = repository().await;
    let mut four = request(&server, "postgres");
    four.jobs = Some(4);
    let plan = take::plan(four.clone(), &repository).await.unwrap();
    assert_eq!(plan.engine, Engine::Stream);
    let reason = plan.engine_reason.clone().unwrap();
    assert!(reason.contains("max_locks_per_transaction = "), "{reason}");
    let report = take::run(plan, &repository, NoProgress::shared(), &CancellationToken::new()).await.unwrap();
    assert_eq!((report.engine, report.tables, report.engine_reason), (Engine::Stream, 80, Some(reason)));
    four.engine = EngineChoice::Parallel;
    let error = take::plan(four, &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server and PgBouncer: make test"]
async fn a_pooler_in_transaction_mode_is_refused_before_anything_is_changed() {
    let server = server_with("CREATE TABLE t (id int)");
    let pooler = support::pgbouncer::PgBouncer::start(&server, "transaction");
    let (repository, store) = repository().await;
    let before = store.keys();
    let mut request = request(&server, "shop");
    request.connection = conn(&pooler.url("shop"));
    let error = backup(request, &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.to_string().contains("pooler"), "{error}");
    assert_eq!(store.keys(), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_plan_changes_nothing_and_says_what_the_run_will_read() {
    let server = server_with(
        "CREATE TABLE big AS SELECT g AS id, repeat('x', 500) AS note FROM generate_series(1, 80000) g; ANALYZE big",
    );
    server.psql("shop", "CREATE TABLE parent (id int) PARTITION BY RANGE (id); CREATE TABLE log (id int)");
    let (repository, store) = repository().await;
    let before = store.keys();
    let mut request = request(&server, "shop");
    request.exclude_rows = vec!["log".parse().unwrap()];
    let plan = take::plan(request, &repository).await.unwrap();
    assert_eq!(store.keys(), before);
    let tables: Vec<(&str, u32, Option<&str>)> =
        plan.databases[0].tables.iter().map(|t| (t.table.as_str(), t.ranges, t.not_read.as_deref())).collect();
    assert_eq!(
        tables,
        [
            ("\"public\".\"big\"", 3, None),
            ("\"public\".\"log\"", 0, Some("its rows are left out on request")),
            ("\"public\".\"parent\"", 0, Some("its rows are in its partitions")),
        ]
    );
    assert_eq!((plan.tables(), plan.rows_estimate()), (1, 80000));
    assert_eq!(our_connections(&server), "0");
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["databases"][0]["tables"][0]["table"], "\"public\".\"big\"");
    assert!(!json.to_string().contains("password"));
    let _shared = Arc::new(plan);
}
