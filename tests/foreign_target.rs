//! The database a restore goes into: what may give way to it, and that nothing is touched before.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use davit::backup::target::{Mode, Shape, Target};
use davit::error::Kind;
use davit::postgres::{ConnInfo, PgEnvironment, connect};

mod support;
use support::postgres::PgServer;

fn conn(server: &PgServer, database: &str) -> ConnInfo {
    ConnInfo::parse(&server.url(database), &PgEnvironment::default()).unwrap()
}

fn databases(server: &PgServer) -> String {
    let sql = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    server.psql("postgres", sql)
}

async fn fill(conn: &ConnInfo, value: &str) {
    let session = connect(conn, "test").await.unwrap();
    session.execute("filling", &format!("CREATE TABLE t AS SELECT '{value}' AS v")).await.unwrap();
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_restore_appears_under_its_name_only_when_it_is_whole() {
    let server = PgServer::start();
    let target = Target::plan(&conn(&server, "shop"), Mode::Create).await.unwrap();
    assert_eq!(databases(&server), "postgres", "a plan changes nothing");
    let shape = Shape {
        encoding: Some("LATIN1".into()),
        collate: Some("C".into()),
        ctype: Some("C".into()),
        ..Shape::default()
    };
    let beside = target.begin(&shape).await.unwrap();
    fill(beside.conn(), "new").await;
    assert_eq!(databases(&server), format!("postgres {}", beside.name()));
    let finishing = [
        "ALTER DATABASE %DATABASE% SET work_mem = '7MB'".to_owned(),
        "COMMENT ON DATABASE %DATABASE% IS 'x'".to_owned(),
    ];
    let swapped = beside.swap_in(&finishing, false).await.unwrap();
    assert_eq!(swapped.kept, None);
    assert_eq!(databases(&server), "postgres shop");
    assert_eq!(
        server.psql("shop", "SELECT v, current_setting('work_mem'), current_setting('server_encoding') FROM t"),
        "new|7MB|LATIN1"
    );
    assert_eq!(
        server.psql("shop", "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'shop'"),
        "x"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_live_database_gives_way_in_one_step_and_its_sessions_end() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    fill(&conn(&server, "shop"), "old").await;
    let application = connect(&conn(&server, "shop"), "application").await.unwrap();
    let mode = Mode::Replace { named: "shop".into() };
    let target = Target::plan(&conn(&server, "shop"), mode.clone()).await.unwrap();
    let standing = target.standing().unwrap();
    assert!(standing.sessions >= 1);
    assert_eq!(standing.shape.encoding.as_deref(), Some("UTF8"));
    let shape = standing.shape.clone();
    let beside = target.begin(&shape).await.unwrap();
    fill(beside.conn(), "new").await;
    assert_eq!(server.psql("shop", "SELECT v FROM t"), "old");
    let swapped = beside.swap_in(&[], true).await.unwrap();
    assert!(swapped.ended_sessions >= 1);
    application.ended().await;
    assert_eq!(server.psql("shop", "SELECT v FROM t"), "new");
    assert_eq!(server.psql(&swapped.kept.unwrap(), "SELECT v FROM t"), "old");
    // The same again without keeping it.
    let target = Target::plan(&conn(&server, "shop"), mode).await.unwrap();
    let swapped = target.begin(&shape).await.unwrap().swap_in(&[], false).await.unwrap();
    assert_eq!((swapped.kept, swapped.not_dropped), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn what_does_not_fit_the_mode_is_refused() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    let refusal = async |database: &str, mode| Target::plan(&conn(&server, database), mode).await.unwrap_err();
    let exists = refusal("shop", Mode::Create).await;
    assert_eq!((exists.kind(), exists.to_string().as_str()), (Kind::Refused, "database shop exists already"));
    assert_eq!(refusal("nothing", Mode::Empty).await.kind(), Kind::Input);
    assert_eq!(refusal("shop", Mode::Replace { named: "ship".into() }).await.kind(), Kind::Input);
    assert_eq!(refusal("template1", Mode::Empty).await.kind(), Kind::Refused);
    for sql in ["CREATE TABLE a.t()", "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1", "SELECT lo_create(7)"] {
        server.psql("postgres", "DROP DATABASE shop");
        server.psql("postgres", "CREATE DATABASE shop");
        Target::plan(&conn(&server, "shop"), Mode::Empty).await.unwrap();
        server.psql("shop", if sql.contains("a.t") { "CREATE SCHEMA a; CREATE TABLE a.t()" } else { sql });
        let error = refusal("shop", Mode::Empty).await;
        assert_eq!(error.kind(), Kind::Refused, "{sql}");
        assert!(error.to_string().starts_with("database shop is not empty: "), "{error}");
    }
    server.psql("postgres", "CREATE ROLE weak LOGIN");
    let url = server.url("postgres").replace("postgres@", "weak@");
    let weak = ConnInfo::parse(&url, &PgEnvironment::default()).unwrap().with_database("new");
    let error = Target::plan(&weak, Mode::Create).await.unwrap_err();
    assert_eq!(error.hint_text(), Some("ALTER ROLE weak CREATEDB, or use another role"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_failed_restore_leaves_the_target_as_it_was_and_nothing_beside() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    let plan =
        async |mode| Target::plan(&conn(&server, "shop"), mode).await.unwrap().begin(&Shape::default()).await.unwrap();
    plan(Mode::Empty).await.abandon().await.unwrap();
    assert_eq!(databases(&server), "postgres shop");
    // Somebody begins to use the empty target while the restore runs.
    let beside = plan(Mode::Empty).await;
    fill(&conn(&server, "shop"), "theirs").await;
    let error = beside.swap_in(&[], false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(server.psql("shop", "SELECT v FROM t"), "theirs");
    // A finishing statement fails.
    let beside = plan(Mode::Replace { named: "shop".into() }).await;
    let error = beside.swap_in(&["GRANT CONNECT ON DATABASE %DATABASE% TO nobody".into()], false).await.unwrap_err();
    assert!(error.to_string().contains("role \"nobody\" does not exist"), "{error}");
    assert_eq!(server.psql("shop", "SELECT v FROM t"), "theirs");
    assert_eq!(databases(&server), "postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn what_a_killed_restore_left_is_dropped_by_the_next_but_a_living_one_is_not() {
    let server = PgServer::start();
    let begin = async || {
        Target::plan(&conn(&server, "shop"), Mode::Create).await.unwrap().begin(&Shape::default()).await.unwrap()
    };
    let living = begin().await;
    let killed = begin().await;
    let left = killed.name().to_owned();
    // Dropping it closes the sockets, as a kill does.
    drop(killed);
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    support::wait_until(20, "the server noticing", || server.psql("postgres", sql) == "1");
    let third = begin().await;
    let found: Vec<&str> = third.removed_leftovers().iter().map(|leftover| leftover.name.as_str()).collect();
    assert_eq!(found, [left.as_str()]);
    third.abandon().await.unwrap();
    living.swap_in(&[], false).await.unwrap();
    assert_eq!(databases(&server), "postgres shop");
}
