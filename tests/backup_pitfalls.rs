//! What goes wrong with logical backups, row by row; each of these fails without the rule it is about.

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
    Content, backup, commits, copied, in_background, repository, request, slow_request, until_reading,
};
use davit::backup::facts::kind;
use davit::error::Kind;
use std::time::Duration;
use support::postgres::PgServer;
use support::wait_until;

/// About 8 MB of rows in one table, which a slow request reads in four seconds.
const SLOW_TABLE: &str =
    "CREATE TABLE slow AS SELECT g AS id, repeat(md5(g::text), 8) AS note FROM generate_series(1, 30000) g";

fn server_with(sql: &str) -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", sql);
    server
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_dead_keeper_ends_the_run_at_once_and_nothing_is_committed() {
    let server = server_with(SLOW_TABLE);
    let (repository, store) = repository().await;
    let running = in_background(slow_request(&server, "shop"), &repository);
    until_reading(&server);
    server
        .psql("shop", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'davit/keeper'");
    let error = tokio::time::timeout(Duration::from_secs(3), running).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("keeping the snapshot"), "{error}");
    assert_eq!(commits(&store), 0);
    wait_until(5, "our connections ending", || {
        server.psql("shop", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit/%'") == "0"
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_truncate_during_the_backup_waits_and_takes_no_rows_from_it() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", "CREATE TABLE small AS SELECT g AS id FROM generate_series(1, 1000) g");
    let (repository, _) = repository().await;
    let running = in_background(slow_request(&server, "shop"), &repository);
    until_reading(&server);
    // The biggest table is read first, so the small one is still to be read.
    let truncated =
        server.psql_command("shop").args(["-c", "SET lock_timeout = 500; TRUNCATE small"]).output().unwrap();
    assert!(!truncated.status.success(), "the TRUNCATE went through under the snapshot");
    let report = running.await.unwrap().unwrap();
    let content = Content::of(&repository, &report).await;
    assert_eq!(content.table("small").1.rows.rows, 1000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_table_truncated_between_listing_and_locking_is_listed_again() {
    let server = server_with("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g");
    let (repository, _) = repository().await;
    let sql = "BEGIN; LOCK TABLE t; SELECT pg_sleep(2); TRUNCATE t; INSERT INTO t VALUES (7); CREATE TABLE late AS SELECT 1 AS x; COMMIT";
    let mut holder = server.psql_command("shop").args(["-c", sql]).spawn().unwrap();
    let holding =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 't'::regclass";
    wait_until(5, "the lock being held", || server.psql("shop", holding) == "1");
    let report = backup(request(&server, "shop"), &repository).await.unwrap();
    assert!(holder.wait().unwrap().success());
    let content = Content::of(&repository, &report).await;
    assert_eq!(content.rows_of("t").await, "7\n");
    assert_eq!(content.rows_of("late").await, "1\n", "a table made meanwhile belongs to the snapshot");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn the_run_gives_way_to_whoever_waits_longer_than_the_lock_budget_and_names_the_query() {
    let server = server_with(SLOW_TABLE);
    let (repository, store) = repository().await;
    let mut request = slow_request(&server, "shop");
    request.lock_budget = Duration::from_secs(1);
    let running = in_background(request, &repository);
    until_reading(&server);
    let mut altering =
        server.psql_command("shop").args(["-c", "ALTER TABLE slow ADD COLUMN more int"]).spawn().unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind().exit_code(), 4);
    assert!(error.to_string().contains("ALTER TABLE slow ADD COLUMN more int"), "{error}");
    assert!(altering.wait().unwrap().success(), "whoever waited goes on");
    assert_eq!(commits(&store), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_queue_shorter_than_the_budget_harms_neither_the_backup_nor_whoever_waits() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", "CREATE TABLE other AS SELECT g AS id FROM generate_series(1, 1000) g");
    let (repository, _) = repository().await;
    let running = in_background(slow_request(&server, "shop"), &repository);
    until_reading(&server);
    // Queued behind the keeper's lock on a table that is read later: a reader without its own lock would hang behind it.
    let altering = server.psql_command("shop").args(["-c", "ALTER TABLE other ADD COLUMN more int"]).spawn();
    let report = running.await.unwrap().unwrap();
    assert!(altering.unwrap().wait().unwrap().success());
    let content = Content::of(&repository, &report).await;
    assert_eq!(content.table("other").1.rows.rows, 1000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_lock_that_others_hold_ends_the_run_with_the_holder_s_name() {
    let server = server_with("CREATE TABLE held (id int)");
    let (repository, store) = repository().await;
    let mut holder =
        server.psql_command("shop").args(["-c", "BEGIN; LOCK TABLE held; SELECT pg_sleep(60)"]).spawn().unwrap();
    let holding =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'held'::regclass";
    wait_until(5, "the lock being held", || server.psql("shop", holding) == "1");
    let mut request = request(&server, "shop");
    request.lock_budget = Duration::from_secs(3);
    let error = backup(request, &repository).await.unwrap_err();
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()");
    let _ended = holder.wait().unwrap();
    assert!(error.to_string().contains("locking tables"), "{error}");
    assert!(error.hint_text().unwrap().contains("public.held"), "{error:?}");
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn sequences_are_read_last_so_that_none_is_behind_the_rows() {
    let server = server_with(SLOW_TABLE);
    server.psql(
        "shop",
        "CREATE TABLE counted (id serial); INSERT INTO counted DEFAULT VALUES; CREATE SEQUENCE idle START 9",
    );
    let (repository, _) = repository().await;
    let running = in_background(slow_request(&server, "shop"), &repository);
    until_reading(&server);
    server.psql("shop", "SELECT nextval('counted_id_seq') FROM generate_series(1, 100)");
    let report = running.await.unwrap().unwrap();
    let content = Content::of(&repository, &report).await;
    assert_eq!(content.sequences(), [("counted_id_seq".to_owned(), 101, true), ("idle".to_owned(), 9, false)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_snapshot_is_held_no_longer_than_its_budget() {
    let server = server_with(SLOW_TABLE);
    let (repository, store) = repository().await;
    let mut request = slow_request(&server, "shop");
    request.snapshot_budget = Duration::from_secs(1);
    let error = backup(request, &repository).await.unwrap_err();
    assert!(error.to_string().contains("holding the snapshot"), "{error}");
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn timeouts_of_role_and_database_do_not_reach_a_backup() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", "ALTER ROLE postgres SET statement_timeout = '900ms'; ALTER ROLE postgres SET idle_in_transaction_session_timeout = '900ms'; \
        ALTER DATABASE shop SET lock_timeout = '10ms'; ALTER DATABASE shop SET idle_session_timeout = '900ms'");
    let (repository, _) = repository().await;
    let report = backup(slow_request(&server, "shop"), &repository).await.unwrap();
    assert!(report.seconds > 2.0, "it was too quick to show anything: {} s", report.seconds);
    assert_eq!(report.rows, 30000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn tables_of_other_access_methods_are_read_by_one_stream_and_leaves_by_ranges() {
    let server = server_with(
        "CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
         CREATE TABLE elsewhere (id int, note text) USING other;
         INSERT INTO elsewhere SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 70000) g;
         CREATE TABLE parent (id int, note text) PARTITION BY RANGE (id);
         CREATE TABLE leaf PARTITION OF parent FOR VALUES FROM (0) TO (1000000);
         INSERT INTO parent SELECT * FROM elsewhere",
    );
    let (repository, _) = repository().await;
    let report = backup(request(&server, "shop"), &repository).await.unwrap();
    let content = Content::of(&repository, &report).await;
    let (facts, object) = content.table("elsewhere");
    assert_eq!((facts.grid_pages, object.ranges, object.rows.rows), (None, 1, 70000));
    assert!(object.chunks > 1, "one stream is cut into chunks, too");
    let (facts, object) = content.table("leaf");
    // Nobody has analysed it, so the catalogue's page count is wrong; the size of the file is not.
    assert_eq!((facts.grid_pages, object.ranges, object.rows.rows), (Some(2048), 2, 70000));
    let text = content.text(object).await;
    assert!(text == copied(&server, "shop", "SELECT * FROM public.leaf"), "the rows of the leaf differ");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_table_that_is_mostly_out_of_line_is_cut_finer_and_keeps_its_grid() {
    let server = server_with(
        "CREATE TABLE docs (id int, body text); ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
         INSERT INTO docs SELECT g, repeat(md5(g::text), 30000) FROM generate_series(1, 60) g",
    );
    let (repository, _) = repository().await;
    let first = Content::of(&repository, &backup(request(&server, "shop"), &repository).await.unwrap()).await;
    // One page of heap has them all: no grid can cut it, and it comes in chunks all the same.
    assert_eq!(first.table("docs").0.grid_pages, None);
    assert!(first.table("docs").1.chunks >= 3, "{:?}", first.table("docs").1);
    server.psql("shop", "INSERT INTO docs SELECT 100 + g, repeat(md5(g::text), 300) FROM generate_series(1, 3000) g");
    let second = Content::of(&repository, &backup(request(&server, "shop"), &repository).await.unwrap()).await;
    let grid = second.table("docs").0.grid_pages.unwrap();
    assert!(grid < 64, "{grid}");
    server.psql("shop", "INSERT INTO docs SELECT g, md5(g::text) FROM generate_series(10000, 200000) g");
    let third = Content::of(&repository, &backup(request(&server, "shop"), &repository).await.unwrap()).await;
    assert_eq!(third.table("docs").0.grid_pages, Some(grid), "a moved cut would end deduplication");
    let text = third.rows_of("docs").await;
    assert!(text == copied(&server, "shop", "SELECT * FROM public.docs"), "the rows differ");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn forced_row_security_is_refused_before_anything_is_changed() {
    let server = server_with(
        "CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner; SET ROLE owner;
         CREATE TABLE secret (id int, who text); INSERT INTO secret VALUES (1, 'owner'), (2, 'other');
         ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;
         CREATE POLICY own ON secret USING (who = current_user)",
    );
    let (repository, store) = repository().await;
    let before = store.keys();
    let mut request = request(&server, "shop");
    request.connection = backup_support::conn(&server.url("shop").replace("postgres@", "owner@"));
    let error = backup(request, &repository).await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.to_string().contains("\"public\".\"secret\": row security would hide rows"), "{error}");
    assert_eq!(store.keys(), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn rows_of_an_extension_s_configuration_tables_are_taken_as_it_says() {
    let server = server_with(
        "CREATE EXTENSION hstore; CREATE TABLE config (id int, mine bool); CREATE TABLE inner_data (id int);
         INSERT INTO config SELECT g, g > 3 FROM generate_series(1, 5) g; INSERT INTO inner_data VALUES (1);
         ALTER EXTENSION hstore ADD TABLE config; ALTER EXTENSION hstore ADD TABLE inner_data;
         UPDATE pg_extension SET extconfig = ARRAY['config'::regclass::oid], extcondition = ARRAY['WHERE mine'] WHERE extname = 'hstore'",
    );
    let (repository, _) = repository().await;
    let content = Content::of(&repository, &backup(request(&server, "shop"), &repository).await.unwrap()).await;
    assert_eq!(content.tables().len(), 1, "what the extension brings itself is not the user's");
    assert_eq!(content.table("config").0.extension_condition.as_deref(), Some("WHERE mine"));
    assert_eq!(content.rows_of("config").await, "4\tt\n5\tt\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn unlogged_rows_are_an_option_and_slots_are_named_as_not_included() {
    let mut server = PgServer::start();
    server.stop();
    server.launch(&["wal_level=logical"]);
    server.psql("postgres", "CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS id");
    server.psql("postgres", "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')");
    let (repository, _) = repository().await;
    let mut without = request(&server, "postgres");
    without.include_unlogged = false;
    let content = Content::of(&repository, &backup(without, &repository).await.unwrap()).await;
    assert_eq!(content.of_kind(kind::TABLE).len(), 0);
    let facts = content.database();
    assert_eq!((facts.left_out[0].table.as_str(), facts.left_out[0].rows_only), ("\"public\".\"fleeting\"", true));
    assert!(facts.not_included.iter().any(|note| note.contains("feed")), "{:?}", facts.not_included);
    let content = Content::of(&repository, &backup(request(&server, "postgres"), &repository).await.unwrap()).await;
    assert_eq!(content.rows_of("fleeting").await, "1\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn rows_come_in_the_order_of_the_heap_wherever_another_scan_stopped() {
    let server = PgServer::start_with(15, &["shared_buffers=1MB"]);
    server.psql("postgres", "CREATE TABLE scanned (id int, note text) WITH (fillfactor = 100)");
    server.psql("postgres", "INSERT INTO scanned SELECT g, repeat('x', 100) FROM generate_series(1, 80000) g");
    // A scan of a table larger than a quarter of the buffers begins where another one was last seen.
    server.psql("postgres", "SELECT id FROM scanned OFFSET 40000 LIMIT 1");
    let (repository, _) = repository().await;
    let content = Content::of(&repository, &backup(request(&server, "postgres"), &repository).await.unwrap()).await;
    let text = content.rows_of("scanned").await;
    let ids: Vec<u32> = text.lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "the order is not the heap's");
    assert_eq!(content.database().session_settings["synchronize_seqscans"], "off");
}
