//! PostgreSQL's own programs, found on this machine and run against a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unused_self,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod support;

use davit::error::Kind;
use davit::postgres::tools::{Tool, Tools};
use davit::postgres::{ConnInfo, PgEnvironment, connect};
use support::postgres::PgServer;
use tokio_util::sync::CancellationToken;

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn tools_are_found_by_version_and_missing_ones_by_their_package() {
    let client = Tools::find(15, &[], Some("/usr/bin:/bin")).unwrap();
    assert_eq!(client.directory(), support::postgres::bin_dir(15), "not Debian's script in /usr/bin");
    assert!(client.optional("pg_amcheck").is_some() && client.optional("pg_nothing").is_none());
    let old = Tools::find(16, &[support::postgres::client_dir(16)], None).unwrap();
    assert_eq!((old.version().major, old.archive_hole().is_some()), (16, old.version().minor < 16));
    let error = Tools::find(77, &[], None).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.hint_text().unwrap().contains("postgresql-client-77"), "{error:?}");
    let servers_only = Tools::find(14, &[support::postgres::bin_dir(14)], None).unwrap();
    assert_eq!(servers_only.version().major, 15, "a directory without pg_dump will not do");
}

#[tokio::test]
#[ignore = "needs PostgreSQL 15: make test"]
async fn pg_dump_gets_in_without_a_password_that_others_could_read() {
    let server = PgServer::start();
    server.psql(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'hunter2'; CREATE TABLE held (id int); GRANT SELECT ON held TO app",
    );
    std::fs::write(server.data().join("pg_hba.conf"), "host all postgres all trust\nhost all app all scram-sha-256\n")
        .unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    let url = server.url("postgres").replace("postgres@", "app:hunter2@");
    let session = connect(&ConnInfo::parse(&url, &PgEnvironment::default()).unwrap(), "test").await.unwrap();
    let holder =
        connect(&ConnInfo::parse(&server.url("postgres"), &PgEnvironment::default()).unwrap(), "test").await.unwrap();
    holder.execute("", "BEGIN; LOCK TABLE held").await.unwrap();
    let tools = Tools::find(15, &[], None).unwrap();
    let pg_dump = || Tool::new(&tools.program("pg_dump"), "dumping").database(session.conn()).arg("--schema-only");

    let cancel = CancellationToken::new();
    let waiting = pg_dump().spawn().unwrap();
    let pid = waiting.pid().unwrap();
    let stuck = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'davit/tool' AND wait_event_type = 'Lock'";
    // Inside a transaction pg_stat_activity stands still, so somebody else looks.
    let watcher = connect(holder.conn(), "test").await.unwrap();
    while watcher.texts("", stuck).await.unwrap().is_empty() {}
    let command_line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(command_line.contains("--schema-only") && !command_line.contains("hunter2"), "{command_line}");
    cancel.cancel();
    assert!(waiting.finish(&cancel).await.unwrap_err().to_string().contains("pg_dump was stopped"));

    let failing = pg_dump().arg("--lock-wait-timeout=50").spawn().unwrap().finish(&CancellationToken::new()).await;
    let error = failing.unwrap_err();
    assert!(error.to_string().contains("exited with 1") && error.to_string().contains("held"), "{error}");
    holder.execute("", "ROLLBACK").await.unwrap();
    let dump = pg_dump().output(1 << 20, &CancellationToken::new()).await.unwrap();
    assert!(String::from_utf8(dump).unwrap().contains("CREATE TABLE public.held"));
}
