//! Nobody needs Davit to get their data back: the commands of `docs/restore-by-hand.md`, run as they stand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unused_self,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::postgres::PgServer;

/// The `sh` blocks of the page, in order, as one script.
fn commands_of_the_page() -> String {
    let page = include_str!("../docs/restore-by-hand.md");
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

fn davit(directory: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_davit"))
        .args(arguments)
        .current_dir(directory)
        .env("DAVIT_REPOSITORY", directory.join("repository"))
        .env("DAVIT_KEYS", directory.join("keys"))
        .output()
        .unwrap();
    assert!(output.status.success(), "davit {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const SHOP: &str = r#"
    CREATE ROLE shopkeeper;
    CREATE SCHEMA "Odd ""schema""";
    CREATE TABLE "Odd ""schema"""."a table" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Select" text, n numeric,
        doubled numeric GENERATED ALWAYS AS (n * 2) STORED);
    INSERT INTO "Odd ""schema"""."a table" ("Select", n) SELECT E'tab\t, line\n, backslash \\ ' || i, i FROM generate_series(1, 5000) i;
    CREATE TABLE nothing ();
    INSERT INTO nothing DEFAULT VALUES;
    CREATE TABLE parts (id integer, at date) PARTITION BY RANGE (id);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (100) TO (1000);
    INSERT INTO parts SELECT i, DATE '2026-01-01' + i FROM generate_series(1, 500) i;
    CREATE INDEX ON parts (at);
    CREATE VIEW totals AS SELECT count(*) FROM parts;
    CREATE MATERIALIZED VIEW summary AS SELECT max(id) AS highest FROM parts;
    SELECT lo_from_bytea(4242, decode(repeat('00ff10', 900000), 'hex'));
    ALTER TABLE nothing OWNER TO shopkeeper;
"#;

/// Runs the page's commands; whether they ended well, and what they said.
fn by_hand(directory: &Path, server: &PgServer, target: &str) -> (bool, String) {
    let output = Command::new("bash")
        .args(["-c", &commands_of_the_page()])
        .env("REPOSITORY", directory.join("repository"))
        .env("KEY", directory.join("keys/reader.key"))
        .envs([("SOURCE", "shop"), ("DATABASE", "shop"), ("TARGET", target)])
        .envs([("PGHOST", "127.0.0.1"), ("PGPORT", &server.port.to_string()), ("PGUSER", "postgres")])
        .output()
        .unwrap();
    let story = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), story)
}

const WHOLE: &str = "every table has the rows of the backup";

fn shop(engine: &str) -> (PgServer, tempfile::TempDir) {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", SHOP);
    let directory = tempfile::tempdir().unwrap();
    davit(directory.path(), &["init"]);
    davit(directory.path(), &["backup", &server.url("shop"), "--engine", engine]);
    (server, directory)
}

fn the_copy_is_the_shop(server: &PgServer, copy: &str) {
    for question in [
        r#"SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM "Odd ""schema"""."a table" t"#,
        "SELECT count(*) FROM nothing",
        "SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM parts p",
        "SELECT count FROM totals",
        "SELECT highest FROM summary",
        "SELECT md5(lo_get(4242))",
        "SELECT relowner::regrole FROM pg_class WHERE relname = 'nothing'",
        r#"SELECT last_value FROM "Odd ""schema"""."a table_id_seq""#,
    ] {
        assert_eq!(server.psql(copy, question), server.psql("shop", question), "{question}");
    }
}

fn chunks(directory: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(directory.join("repository/chunks")).unwrap();
    folders
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|chunk| chunk.unwrap().path())
        .collect()
}

/// Whether the commands stop at one bit of a chunk that is another one. Those that they do not stop at they do not need: the
/// same definitions are there a second time, for `pg_restore`.
fn is_noticed(chunk: &Path, directory: &Path, server: &PgServer) -> bool {
    let whole = std::fs::read(chunk).unwrap();
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(chunk, &bytes).unwrap();
    let (ended_well, story) = by_hand(directory, server, "damaged");
    std::fs::write(chunk, &whole).unwrap();
    assert_eq!(ended_well, story.contains(WHOLE), "{}: {story}", chunk.display());
    if ended_well {
        the_copy_is_the_shop(server, "damaged");
    }
    server.psql("postgres", "DROP DATABASE IF EXISTS damaged");
    !ended_well
}

#[test]
#[ignore = "needs PostgreSQL, age, zstd, jq and minisign: make test"]
fn the_commands_of_the_page_restore_a_backup() {
    let (server, directory) = shop("parallel");
    // A later run that died, and that a sweep has closed.
    let dead = directory.path().join("repository/points/shop/20991231T235959Z-k3f9ab");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("manifest.sig"), "aborted").unwrap();
    // A role of the server is its own affair, whatever the source had.
    server.psql("postgres", "ALTER ROLE shopkeeper CREATEDB");
    let (ended_well, story) = by_hand(directory.path(), &server, "by_hand");
    assert!(ended_well && story.contains(WHOLE), "{story}");
    the_copy_is_the_shop(&server, "by_hand");
    assert_eq!(server.psql("postgres", "SELECT rolcreatedb FROM pg_roles WHERE rolname = 'shopkeeper'"), "t");

    let stopped = chunks(directory.path()).iter().filter(|chunk| is_noticed(chunk, directory.path(), &server)).count();
    assert!(stopped > 5, "{stopped}");

    // On a server without it the role is made.
    server.psql("shop", "ALTER TABLE nothing OWNER TO postgres");
    server.psql("postgres", "DROP DATABASE by_hand");
    server.psql("postgres", "DROP ROLE shopkeeper");
    let (ended_well, story) = by_hand(directory.path(), &server, "again");
    assert!(ended_well && story.contains(WHOLE), "{story}");
    let owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 'nothing'";
    assert_eq!(server.psql("again", owner), "shopkeeper");
}

#[test]
#[ignore = "needs PostgreSQL, age, zstd, jq and minisign: make test"]
fn the_same_commands_restore_what_the_stream_engine_backed_up() {
    let (server, directory) = shop("stream");
    let (ended_well, story) = by_hand(directory.path(), &server, "by_hand");
    assert!(ended_well && story.contains(WHOLE), "{story}");
    the_copy_is_the_shop(&server, "by_hand");
}

#[test]
fn the_page_calls_no_davit() {
    let script = commands_of_the_page();
    assert!(script.contains("minisign -V") && script.starts_with("set -euo pipefail\n"));
    assert!(!script.lines().any(|line| line.trim_start().starts_with("davit ")), "{script}");
}
