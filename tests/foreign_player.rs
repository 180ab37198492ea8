//! Scripts played into a real server, against what `pg_dump` says of the result.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use davit::backup::foreign::player::{Options, PlayReport, play};
use davit::error::{Kind, Result};
use davit::journal::NoProgress;
use davit::postgres::{ConnInfo, PgEnvironment, connect};
use std::io::Cursor;
use std::process::Command;
use tokio_util::sync::CancellationToken;

mod support;
use support::postgres::{PgServer, bin_dir};

const ODD: &str = include_str!("fixtures/dumps/odd.sql");

fn odd_server() -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE odd");
    server.psql("odd", ODD);
    server
}

/// What `pg_dump` prints, without the lines that differ each time.
fn dump(server: &PgServer, database: &str, options: &[&str]) -> Vec<u8> {
    let program = bin_dir(15).join("pg_dump");
    let output = Command::new(program).args(options).arg("-d").arg(server.url(database)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn without_keys(dump: &[u8]) -> String {
    let text = String::from_utf8_lossy(dump).into_owned();
    text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

async fn play_into(server: &PgServer, database: &str, script: Vec<u8>) -> Result<PlayReport> {
    let conn = ConnInfo::parse(&server.url(database), &PgEnvironment::default()).unwrap();
    let session = connect(&conn, "test").await.unwrap();
    let options = Options { name: "x.sql".into(), ..Options::default() };
    play(Cursor::new(script), &session, &options, &NoProgress, &CancellationToken::new()).await
}

async fn refused(server: &PgServer, script: &str) -> (Kind, String) {
    server.psql("postgres", "DROP DATABASE IF EXISTS scrap");
    server.psql("postgres", "CREATE DATABASE scrap");
    let error = play_into(server, "scrap", script.as_bytes().to_vec()).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_played_dump_is_the_database_it_was_made_of() {
    let server = odd_server();
    for (name, options) in [
        ("plain", &["--no-comments"][..]),
        ("inserts", &["--inserts"]),
        ("clean", &["--clean"]),
        ("latin", &["--encoding=LATIN1"]),
    ] {
        server.psql("postgres", &format!("CREATE DATABASE {name}"));
        let report = play_into(&server, name, dump(&server, "odd", options)).await.unwrap();
        let options: &[&str] = if name == "plain" { &["--no-comments"] } else { &[] };
        assert_eq!(without_keys(&dump(&server, name, options)), without_keys(&dump(&server, "odd", options)), "{name}");
        if name == "plain" {
            let rows: Vec<_> = report.tables.iter().map(|t| (t.table.as_str(), t.rows.rows)).collect();
            assert_eq!(
                rows,
                [("empty", 0), ("nocols", 2), ("part_a", 1), ("plain", 5), ("ta;ble; Type: INDEX; Schema: x", 1)]
            );
            assert_eq!(report.rows, 9);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn the_first_error_ends_it_with_statement_and_line() {
    let server = PgServer::start();
    let marked = |text: &str| format!("-- PostgreSQL database dump\n{text}\n-- PostgreSQL database dump complete\n");
    let (kind, text) = refused(&server, &marked("CREATE TABLE t(a int);\nCREATE TABLE\n u(a nothing);")).await;
    assert_eq!(kind, Kind::Failed);
    assert_eq!(text, "restoring x.sql: line 3: CREATE TABLE u(a nothing);: type \"nothing\" does not exist (42704)");
    let rows = format!("CREATE TABLE t(a int);\nCOPY t (a) FROM stdin;\n{}x\n7\n\\.", "1\n".repeat(100));
    let (kind, text) = refused(&server, &marked(&rows)).await;
    assert_eq!(kind, Kind::Failed);
    assert!(text.starts_with("restoring x.sql: line 104, row 101 of t: invalid input syntax"), "{text}");
    let inserts =
        "CREATE TABLE t(a int);\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES ('y');\nINSERT INTO t VALUES (2);";
    let (_, text) = refused(&server, &marked(inserts)).await;
    assert!(text.starts_with("restoring x.sql: line 4: INSERT INTO t VALUES ('y');: invalid"), "{text}");
    let (kind, text) = refused(&server, &marked("SELECT 1;\nDROP DATABASE shop;")).await;
    assert_eq!(kind, Kind::Input);
    assert_eq!(text, "restoring x.sql: line 3: a statement about a database of its own: DROP DATABASE shop;");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_script_without_its_end_is_not_restored() {
    let server = odd_server();
    let whole = dump(&server, "odd", &[]);
    let text = String::from_utf8_lossy(&whole);
    let cut = text.find("-- PostgreSQL database dump complete").unwrap();
    let (kind, text) = refused(&server, &text[..cut]).await;
    assert_eq!((kind, text.as_str()), (Kind::Input, "x.sql is truncated: its end marker is missing"));
    let (kind, text) = refused(&server, "CREATE TABLE t(a int);").await;
    assert_eq!(kind, Kind::Input);
    assert!(text.contains("nothing tells whether it is whole"), "{text}");
    let (kind, text) =
        refused(&server, "-- PostgreSQL database dump\nCREATE TABLE t(a int);\nCOPY t (a) FROM stdin;\n1\n").await;
    assert_eq!(kind, Kind::Input);
    assert!(text.contains("line 5: the script ends inside the rows of a table"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_script_cannot_run_anything_but_sql() {
    let server = PgServer::start();
    let script =
        "-- PostgreSQL database dump\nSELECT 1;\n\\! touch /tmp/davit-was-here\n-- PostgreSQL database dump complete\n";
    let (kind, text) = refused(&server, script).await;
    assert_eq!(kind, Kind::Input);
    assert!(
        text.ends_with("line 3: backslash command \"\\\\! touch /tmp/davit-was-here\" is not allowed in a dump"),
        "{text}"
    );
    assert!(!std::path::Path::new("/tmp/davit-was-here").exists());
}
