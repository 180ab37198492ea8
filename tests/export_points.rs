//! Recovery points as SQL: stock `psql` loads them, and so do we.

#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unused_self,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod backup_support;
mod support;

use backup_support::{backup, conn, repository, request};
use davit::backup::foreign::export;
use davit::backup::foreign::player::{Options, play};
use davit::backup::take::{Databases, EngineChoice, Request};
use davit::error::{Kind, Result};
use davit::journal::NoProgress;
use davit::postgres::connect;
use davit::repository::{PointSummary, Repository};
use davit::store::Store;
use std::io::{Cursor, Write};
use std::process::{Command, Stdio};
use support::postgres::{PgServer, bin_dir};
use tokio_util::sync::CancellationToken;

fn zoo_server() -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE ROLE zoo_owner; CREATE ROLE zoo_reader; CREATE ROLE zoo_admin");
    server.psql("postgres", "CREATE DATABASE zoo");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zoo.sql");
    assert!(server.psql_command("zoo").args(["-o", "/dev/null", "-f", file]).status().unwrap().success());
    server
}

async fn point_of(request: Request, repository: &Repository) -> PointSummary {
    let report = backup(request, repository).await.unwrap();
    repository.resolve(&davit::repository::PointSpec::Id(report.point)).await.unwrap()
}

async fn exported(repository: &Repository, point: &PointSummary, database: Option<&str>) -> Result<(Vec<u8>, u64)> {
    let mut script = Vec::new();
    let report = export::run(repository, point, database, &mut script, &NoProgress, &CancellationToken::new()).await?;
    assert_eq!(report.bytes, script.len() as u64);
    Ok((script, report.rows))
}

fn load_with_psql(server: &PgServer, database: &str, script: &[u8]) {
    server.psql("postgres", &format!("CREATE DATABASE {database}"));
    let mut psql =
        server.psql_command(database).args(["-o", "/dev/null", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(script).unwrap();
    assert!(psql.wait().unwrap().success());
}

async fn load_with_davit(server: &PgServer, database: &str, script: Vec<u8>) -> u64 {
    server.psql("postgres", &format!("CREATE DATABASE {database}"));
    let session = connect(&conn(&server.url(database)), "test").await.unwrap();
    let options = Options { name: "export".into(), ..Options::default() };
    play(Cursor::new(script), &session, &options, &NoProgress, &CancellationToken::new()).await.unwrap().rows
}

fn dump(server: &PgServer, database: &str) -> String {
    let output = Command::new(bin_dir(15).join("pg_dump")).args(["-d", &server.url(database)]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

/// Like `assert_eq`, without printing two whole dumps. Lines are compared in any order: where an enum hashes to is
/// another partition in every database.
fn assert_same(found: &str, expected: &str) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (found, expected) = (sorted(found), sorted(expected));
    assert_eq!(found.iter().zip(&expected).find(|(found, expected)| found != expected), None);
    assert_eq!(found.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn an_exported_point_is_loaded_by_stock_psql_and_by_us() {
    let server = zoo_server();
    let (repository, _) = repository().await;
    let original = dump(&server, "zoo");
    for engine in [EngineChoice::Parallel, EngineChoice::Stream] {
        let name = format!("{engine:?}").to_lowercase();
        let request = Request { engine, rebind: true, ..request(&server, "zoo") };
        let point = point_of(request, &repository).await;
        let (script, rows) = exported(&repository, &point, None).await.unwrap();
        load_with_psql(&server, &format!("{name}_psql"), &script);
        assert_same(&dump(&server, &format!("{name}_psql")), &original);
        let played = load_with_davit(&server, &format!("{name}_davit"), script).await;
        assert_same(&dump(&server, &format!("{name}_davit")), &original);
        assert_eq!(played, rows, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn one_of_several_databases_is_exported_by_name() {
    let server = PgServer::start();
    for database in ["one", "two"] {
        server.psql("postgres", &format!("CREATE DATABASE {database}"));
        server.psql(database, &format!("CREATE TABLE of_{database} AS SELECT 1 AS a"));
    }
    let (repository, _) = repository().await;
    let request = Request { databases: Databases::All, ..request(&server, "postgres") };
    let point = point_of(request, &repository).await;
    let error = exported(&repository, &point, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.hint_text().unwrap().contains("one"), "{:?}", error.hint_text());
    assert_eq!(exported(&repository, &point, Some("three")).await.unwrap_err().kind(), Kind::Input);
    let (script, rows) = exported(&repository, &point, Some("two")).await.unwrap();
    let script = String::from_utf8(script).unwrap();
    assert!(rows == 1 && script.contains("of_two") && !script.contains("of_one"), "{script}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn a_damaged_point_is_not_exported_to_its_end_marker() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 200000) i");
    let (repository, store) = repository().await;
    let point = point_of(request(&server, "shop"), &repository).await;
    let whole = repository.load_point(&point.source, point.point()).await.unwrap();
    let table = whole.objects.iter().find(|object| object.name.ends_with(".t")).unwrap();
    let range = whole.ranges.iter().find(|range| range.object == table.object).unwrap();
    let id = range.chunks[0].id.to_string();
    let objects: Vec<_> = futures_util::TryStreamExt::try_collect::<Vec<_>>(store.list("chunks/")).await.unwrap();
    let object = objects.iter().find(|entry| entry.key.as_str().contains(&id)).unwrap();
    store.delete(&object.key).await.unwrap();
    let mut script = Vec::new();
    let outcome = export::run(&repository, &point, None, &mut script, &NoProgress, &CancellationToken::new()).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::CheckFailed);
    let said = format!(": public.t, rows 1 to {}, chunk {id}: it is missing", range.chunks[0].rows.rows);
    assert!(error.to_string().ends_with(&said), "{error}");
    assert!(!String::from_utf8_lossy(&script).contains("dump complete"));
}
