//! What goes wrong with logical backups, row by row; each test fails without the rule it is about. Those that are elsewhere are
//! named in the table.

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
    Content, SLOW_TABLE, backup, client_programs, commits, copied, in_background, repository, request, server_with,
    slow_request, until_reading, when_waited_for,
};
use davit::backup::facts::kind;
use davit::backup::take::EngineChoice;
use davit::error::Kind;
use std::time::Duration;
use support::postgres::PgServer;
use support::wait_until;

/// Where the tests of a restore's own work are.
const OF_ITS_WORK: &str = concat!("src/backup/restore/", "work/tests.rs");

/// What goes wrong with logical backups, and the tests that fail without the rule about it.
#[rustfmt::skip]
const PITFALLS: [(&str, &[(&str, &str)]); 23] = [
    ("an exported snapshot dies with its exporter", &[("tests/backup_pitfalls.rs", "a_dead_keeper_ends_the_run_at_once_and_nothing_is_committed"), ("tests/postgres_edge.rs", "a_transaction_pooler_is_refused_with_the_host_behind_it_and_a_session_pool_is_not")]),
    ("TRUNCATE is not seen by an older snapshot", &[("tests/backup_pitfalls.rs", "a_truncate_during_the_backup_waits_and_takes_no_rows_from_it"), ("tests/backup_pitfalls.rs", "a_truncate_between_the_snapshot_and_the_locks_of_one_pg_dump_is_noticed")]),
    ("the queue for a lock", &[("tests/backup_pitfalls.rs", "the_run_gives_way_to_whoever_waits_longer_than_the_lock_budget_and_names_the_query")]),
    ("sequences heed no transaction", &[("tests/backup_pitfalls.rs", "no_sequence_is_behind_the_rows_and_none_is_locked_while_rows_are_read")]),
    ("a snapshot holds vacuum up", &[("tests/backup_pitfalls.rs", "a_snapshot_is_held_no_longer_than_its_budget"), ("tests/cli_backup.rs", "every_budget_and_rate_of_a_backup_holds")]),
    ("timeouts of role and database", &[("tests/backup_pitfalls.rs", "timeouts_of_role_and_database_do_not_reach_a_backup")]),
    ("ranges of pages: heaps only, and leaves", &[("tests/backup_pitfalls.rs", "tables_of_other_access_methods_are_read_by_one_stream_and_leaves_by_ranges")]),
    ("pages say little of bytes", &[("tests/backup_pitfalls.rs", "a_table_that_is_mostly_out_of_line_is_cut_finer_and_keeps_its_grid")]),
    ("the order of rows", &[("tests/backup_pitfalls.rs", "rows_come_in_the_order_of_the_heap_wherever_another_scan_stopped")]),
    ("generated columns", &[("tests/restore_zoo.rs", "everything_a_database_can_hold_comes_back")]),
    ("partitioned tables", &[("tests/restore_zoo.rs", "everything_a_database_can_hold_comes_back")]),
    ("COPY FREEZE wants a table of its own transaction", &[(OF_ITS_WORK, "one_large_table_is_shared_by_the_writers_and_one_of_several_is_frozen_by_its_own")]),
    ("row security", &[("tests/backup_pitfalls.rs", "forced_row_security_is_refused_before_anything_is_changed")]),
    ("what belongs to the server", &[("tests/restore_zoo.rs", "what_either_engine_takes_of_the_whole_zoo_comes_back_also_where_nobody_is_known"), ("tests/backup_roles.rs", "either_grant_of_the_hint_is_enough_and_a_restore_says_whose_passwords_could_not_be_read")]),
    ("materialised views", &[("tests/restore_edges.rs", "statistics_are_there_and_no_setting_of_database_or_role_changes_what_comes_back")]),
    ("large objects", &[("tests/restore_losses.rs", "of_large_objects_the_whole_ones_come_back_and_the_others_are_named")]),
    ("extensions", &[("tests/restore_zoo.rs", "rows_that_users_wrote_into_an_extension_s_tables_come_back_beside_its_own"), ("tests/verify_restored.rs", "what_this_machine_lacks_is_undecided_and_never_verified")]),
    ("statistics", &[("tests/restore_edges.rs", "statistics_are_there_and_no_setting_of_database_or_role_changes_what_comes_back")]),
    ("a table of contents proves nothing", &[("tests/verify_restored.rs", "one_flipped_byte_is_found_by_reading_and_by_restoring_and_named_by_its_rows"), ("tests/backup_runs.rs", "a_program_that_stops_half_way_and_exits_with_0_has_made_no_backup")]),
    ("restoring over a database that lives", &[("tests/restore_ends.rs", "however_a_restore_ends_the_target_is_what_it_was_or_the_next_run_says_what_is_left"), ("tests/restore_edges.rs", "a_restore_that_fails_in_place_takes_away_nothing_that_somebody_else_made_meanwhile")]),
    ("versions of server and client", &[("tests/backup_servers.rs", "every_major_is_backed_up_with_a_client_that_is_new_enough"), ("tests/restore_zoo.rs", "the_zoo_of_the_other_versions_is_backed_up_restored_and_proven")]),
    ("what no dump holds", &[("tests/backup_pitfalls.rs", "unlogged_rows_are_an_option_and_slots_are_named_as_not_included")]),
    ("indexes and keys take longer than rows", &[(OF_ITS_WORK, "the_indexes_of_a_large_table_are_built_side_by_side_and_its_key_becomes_a_constraint_after")]),
];

#[test]
fn every_row_of_the_table_has_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (what, tests) in PITFALLS {
        for (file, test) in tests {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(text.contains(&format!("fn {test}(")), "{what}: {test} is not in {file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_dead_keeper_ends_the_run_at_once_and_nothing_is_committed() {
    let server = server_with(SLOW_TABLE);
    let (repository, store) = repository().await;
    // Reading to the end would take two minutes.
    let mut request = slow_request(&server, "shop");
    request.limit_rate = Some(70_000);
    let running = in_background(request, &repository);
    until_reading(&server);
    server
        .psql("shop", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'davit/keeper'");
    let error = tokio::time::timeout(Duration::from_mins(1), running).await.unwrap().unwrap().unwrap_err();
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
async fn tables_that_change_between_listing_and_locking_are_listed_again() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g");
    let (repository, _) = repository().await;
    let then = "TRUNCATE t; INSERT INTO t VALUES (7); CREATE TABLE late AS SELECT 1 AS x";
    let mut holder = when_waited_for(&server, "t", "LOCK TABLE t", "keeper", then);
    let running = in_background(slow_request(&server, "shop"), &repository);
    until_reading(&server);
    assert!(holder.wait().unwrap().success());
    // A table made meanwhile belongs to the snapshot, so it must be locked as well.
    let truncated = server.psql_command("shop").args(["-c", "SET lock_timeout = 500; TRUNCATE late"]).output().unwrap();
    assert!(!truncated.status.success(), "a table of the snapshot was not locked");
    let report = running.await.unwrap().unwrap();
    let content = Content::of(&repository, &report).await;
    assert_eq!((content.rows_of("t").await, content.rows_of("late").await), ("7\n".to_owned(), "1\n".to_owned()));
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
async fn whoever_waits_behind_what_pg_dump_locks_is_seen_as_well() {
    let server = server_with("CREATE TABLE t (id int); CREATE VIEW v AS SELECT * FROM t");
    // So many definitions that a pipe cannot hold them: pg_dump keeps its locks while nobody reads on.
    let many = "DO $$ BEGIN FOR i IN 1..400 LOOP EXECUTE format('CREATE FUNCTION f%s() RETURNS text LANGUAGE sql AS %L', \
                i, 'SELECT ' || quote_literal(repeat('x', 400))); END LOOP; END $$";
    server.psql("shop", many);
    let (repository, store) = repository().await;
    let programs = client_programs(
        "pg_dump",
        "$STOCK \"$@\" | (while [ ! -e \"$(dirname \"$0\")/go\" ]; do sleep 0.1; done; cat)",
    );
    let mut request = request(&server, "shop");
    (request.tool_dirs, request.lock_budget) = (vec![programs.path().to_owned()], Duration::from_secs(1));
    let running = in_background(request, &repository);
    let locked = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE 'davit/dump%' \
                  AND l.relation = 'v'::regclass";
    wait_until(20, "pg_dump having locked the view", || server.psql("shop", locked) == "1");
    let dropping = server.psql_command("shop").args(["-c", "DROP VIEW v"]).spawn();
    let error = running.await.unwrap().unwrap_err();
    std::fs::write(programs.path().join("go"), "").unwrap();
    assert!(dropping.unwrap().wait().unwrap().success());
    assert!(error.to_string().contains("giving way") && error.to_string().contains("DROP VIEW v"), "{error}");
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_queue_shorter_than_the_budget_harms_neither_the_backup_nor_whoever_waits() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", "CREATE TABLE other AS SELECT g AS id FROM generate_series(1, 1000) g");
    let (repository, _) = repository().await;
    let programs = client_programs("pg_dump", "$STOCK \"$@\"; code=$?; touch \"$(dirname \"$0\")/done\"; exit $code");
    let mut request = slow_request(&server, "shop");
    // One reader: the bigger table keeps it busy, and the other one is still to be read.
    (request.tool_dirs, request.jobs) = (vec![programs.path().to_owned()], Some(1));
    let running = in_background(request, &repository);
    until_reading(&server);
    wait_until(20, "the definitions being read", || programs.path().join("done").exists());
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
        server.psql_command("shop").args(["-c", "BEGIN; LOCK TABLE held; SELECT pg_sleep(600)"]).spawn().unwrap();
    let holding =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'held'::regclass";
    wait_until(5, "the lock being held", || server.psql("shop", holding) == "1");
    let mut request = request(&server, "shop");
    request.lock_budget = Duration::from_secs(3);
    let error = backup(request, &repository).await.unwrap_err();
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
    let _ended = holder.wait().unwrap();
    assert!(error.to_string().contains("locking tables"), "{error}");
    assert!(error.hint_text().unwrap().contains("public.held"), "{error:?}");
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_sequence_that_is_gone_or_locked_when_the_snapshot_is_taken_is_not_guessed() {
    let server = server_with("CREATE TABLE t (id int); CREATE SEQUENCE held; CREATE SEQUENCE other");
    let (repository, store) = repository().await;
    // The keeper sees the sequence, and when it comes to reading it, it is gone: another snapshot is taken.
    let mut holder = when_waited_for(&server, "held", "DROP SEQUENCE held", "sequences", "SELECT 1");
    let report = backup(request(&server, "shop"), &repository).await.unwrap();
    assert!(holder.wait().unwrap().success());
    assert_eq!(Content::of(&repository, &report).await.sequences(), [("other".to_owned(), 1, false)]);
    // Somebody who does not let go of one ends the run, and is named.
    let hold = ["-c", "BEGIN; DROP SEQUENCE other; SELECT pg_sleep(600)"];
    let mut holder = server.psql_command("shop").args(hold).spawn().unwrap();
    let holding =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'other'::regclass";
    wait_until(60, "the lock being held", || server.psql("shop", holding) == "1");
    let mut request = request(&server, "shop");
    request.lock_budget = Duration::from_secs(3);
    let error = backup(request, &repository).await.unwrap_err();
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
    assert!(!holder.wait().unwrap().success());
    assert!(error.to_string().contains("reading sequences"), "{error}");
    assert!(error.hint_text().unwrap().contains("public.other"), "{error:?}");
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_table_that_is_left_out_may_be_truncated_dropped_and_made_again_meanwhile() {
    let server = server_with(SLOW_TABLE);
    server.psql(
        "shop",
        "CREATE TABLE staging AS SELECT 1 AS id; CREATE TABLE queue (id serial); INSERT INTO queue DEFAULT VALUES",
    );
    let (repository, _) = repository().await;
    let mut request = slow_request(&server, "shop");
    request.exclude = vec!["staging".parse().unwrap(), "queue".parse().unwrap()];
    let running = in_background(request, &repository);
    until_reading(&server);
    let churn = "SET lock_timeout = 500; TRUNCATE staging; DROP TABLE queue; CREATE TABLE queue (id serial)";
    let changed = server.psql_command("shop").args(["-c", churn]).output().unwrap();
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    let report = running.await.unwrap().unwrap();
    let content = Content::of(&repository, &report).await;
    assert_eq!((content.tables().len(), content.sequences().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_truncate_between_the_snapshot_and_the_locks_of_one_pg_dump_is_noticed() {
    let server = server_with("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g");
    let (repository, store) = repository().await;
    // pg_dump takes its snapshot, waits for the lock, and then sees a new and empty file.
    let then = "TRUNCATE t; INSERT INTO t VALUES (7)";
    let mut holder = when_waited_for(&server, "t", "LOCK TABLE t", "dump", then);
    let mut stream = request(&server, "shop");
    stream.engine = EngineChoice::Stream;
    let error = backup(stream.clone(), &repository).await.unwrap_err();
    assert!(holder.wait().unwrap().success());
    assert!(error.to_string().contains("truncated or rewritten under the snapshot: \"public\".\"t\" was"), "{error}");
    assert_eq!((error.kind().exit_code(), commits(&store)), (4, 0));
    assert_eq!(backup(stream, &repository).await.unwrap().rows, 1);
}

/// Sequences of which one is counted on, and others are dropped, replaced, set back or being dropped during a backup.
const SEQUENCES: &str =
    "CREATE TABLE counted (id serial); INSERT INTO counted DEFAULT VALUES; CREATE SEQUENCE idle START 9;
    CREATE SEQUENCE down INCREMENT -1 START -1; CREATE SEQUENCE gone; CREATE SEQUENCE replaced; CREATE SEQUENCE rewound;
    CREATE SEQUENCE held; CREATE SEQUENCE \"odd |.*(\"\"x\"\")\"; SELECT setval('gone', 7), setval('replaced', 500), setval('rewound', 600), setval('held', 3)";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn no_sequence_is_behind_the_rows_and_none_is_locked_while_rows_are_read() {
    let server = server_with(SLOW_TABLE);
    server.psql("shop", SEQUENCES);
    let (repository, _) = repository().await;
    // The definitions are read when everything has changed.
    let programs =
        client_programs("pg_dump", "while [ ! -e \"$(dirname \"$0\")/go\" ]; do sleep 0.1; done\nexec $STOCK \"$@\"");
    let mut request = slow_request(&server, "shop");
    request.tool_dirs = vec![programs.path().to_owned()];
    let running = in_background(request, &repository);
    until_reading(&server);
    server.psql("shop", "SELECT nextval('counted_id_seq'), nextval('down') FROM generate_series(1, 100)");
    // Nobody waits for the backup, or the lock timeout would say so.
    let meanwhile = "SET lock_timeout = 500; DROP SEQUENCE gone, \"odd |.*(\"\"x\"\")\"; DROP SEQUENCE replaced; CREATE SEQUENCE replaced START 9000; \
                     ALTER SEQUENCE rewound RESTART WITH 1";
    let changed = server.psql_command("shop").args(["-c", meanwhile]).output().unwrap();
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    let mut holder =
        server.psql_command("shop").args(["-c", "BEGIN; DROP SEQUENCE held; SELECT pg_sleep(600)"]).spawn().unwrap();
    let dropping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait_until(60, "the sequence being dropped", || server.psql("shop", dropping) == "1");
    std::fs::write(programs.path().join("go"), "").unwrap();
    let report = running.await.unwrap().unwrap();
    server.psql("shop", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
    assert!(!holder.wait().unwrap().success());
    let content = Content::of(&repository, &report).await;
    let expected = [
        ("counted_id_seq", 101, true),
        ("down", -100, true),
        ("gone", 7, true),
        ("held", 3, true),
        ("idle", 9, false),
        ("odd |.*(\"x\")", 1, false),
        ("replaced", 500, true),
        ("rewound", 600, true),
    ];
    assert_eq!(content.sequences(), expected.map(|(name, value, called)| (name.to_owned(), value, called)));
    // Each value has a sequence to go to: the definitions are those of the same snapshot.
    let pre = content.text(content.only(kind::PRE_DATA)).await;
    assert_eq!(pre.matches("\nCREATE SEQUENCE public.").count(), expected.len(), "{pre}");
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
    server.psql(
        "postgres",
        "CREATE SUBSCRIPTION news CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect = false)",
    );
    let (repository, _) = repository().await;
    let mut without = request(&server, "postgres");
    without.include_unlogged = false;
    let content = Content::of(&repository, &backup(without, &repository).await.unwrap()).await;
    assert_eq!(content.of_kind(kind::TABLE).len(), 0);
    let facts = content.database();
    assert_eq!((facts.left_out[0].table.as_str(), facts.left_out[0].rows_only), ("\"public\".\"fleeting\"", true));
    for note in ["the logical replication slot feed", "the state of the subscription news"] {
        assert!(facts.not_included.iter().any(|found| found.contains(note)), "{:?}", facts.not_included);
    }
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
