//! Commands against a real server, as a person types them: what they print, what their documents look like, how they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod cli_support;
mod support;

use cli_support::{Desk, documented};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::postgres::PgServer;
use support::wait_until;

const SHOP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id int REFERENCES customers, note text);
    INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 500) i;
    INSERT INTO orders (customer_id, note) SELECT 1 + i % 500, md5(i::text) FROM generate_series(1, 40000) i;
    ANALYZE";

/// A server with a small shop.
fn shop() -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", SHOP);
    server
}

/// Runs a command with `--output json`, and holds its exit code and its document.
fn check(desk: &Desk, name: &str, arguments: &[&str], code: i32) -> Value {
    let (exit, document) = desk.json(arguments);
    assert_eq!(exit, code, "{name}: {document:#}");
    documented(name, &document, &[]);
    document
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn every_document_has_its_golden_shape_and_is_documented() {
    let server = shop();
    let (shop, copy, again) = (server.url("shop"), server.url("copy"), server.url("again"));
    let desk = Desk::new();
    desk.write("orders.sql", "SELECT id FROM orders WHERE customer_id IS NULL");
    desk.write("davit.yaml", &format!("retention: {{keep_last: 1}}\nsources:\n  shop:\n    url: {shop}\n"));
    check(&desk, "init", &["init"], 0);
    check(&desk, "backup-dry-run", &["backup", "shop", "--dry-run"], 0);
    check(&desk, "backup", &["backup", "shop"], 0);
    let made = check(&desk, "backup", &["backup", "shop"], 0);
    assert_eq!(
        (made["tables"].as_u64(), made["rows"].as_u64(), made["source"].as_str()),
        (Some(2), Some(40_500), Some("shop"))
    );
    check(&desk, "hold", &["hold", "shop@latest", "--reason", "the shape of it"], 0);
    assert_eq!(check(&desk, "verify", &["verify", "shop@latest", "--depth", "listed"], 0)["depth"], "listed");
    let restored = ["verify", "shop@latest", "--depth", "restored", "--check", "orders.sql"];
    assert_eq!(check(&desk, "verify-restored", &restored, 0)["rows"], made["rows"]);
    check(&desk, "verify-all", &["verify", "--all"], 0);
    let points = check(&desk, "points", &["points"], 0);
    assert_eq!((points["points"][0]["tables"].as_u64(), &points["points"][0]["rows"]), (Some(2), &made["rows"]));
    check(&desk, "restore-dry-run", &["restore", "shop@latest", "--into", &copy, "--create", "--dry-run"], 0);
    let restored = check(&desk, "restore", &["restore", "shop@latest", "--into", &copy, "--create"], 0);
    assert_eq!((restored["verified"].as_str(), &restored["rows"]), (Some("read-back"), &made["rows"]));
    dumps(&desk, &again);
    for (name, arguments) in [
        ("retain", &["retain", "--dry-run"][..]),
        ("retain-run", &["retain"]),
        ("sweep", &["sweep", "--dry-run"]),
        ("sweep-run", &["sweep"]),
        ("key-show", &["key", "show"]),
        ("key-check", &["key", "check"]),
        ("key-new", &["key", "new", "--reader-key", "second.key"]),
        ("key-rotate", &["key", "rotate"]),
        ("config-show", &["config", "show"]),
        ("config-check", &["config", "check"]),
        ("doctor", &["doctor"]),
        ("release", &["release", "shop@latest"]),
    ] {
        check(&desk, name, arguments, 0);
    }
    check(&desk, "error", &["release", "shop@latest"], 3);
}

/// Export, and what reads dumps: the document of an export is on stderr, because stdout is SQL.
fn dumps(desk: &Desk, into: &str) {
    let said = desk.davit(&["export", "shop@latest", "--output", "json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let document = &said.stderr[said.stderr.find("{\n").unwrap()..];
    documented("export", &serde_json::from_str(document).unwrap(), &[]);
    std::fs::create_dir(desk.path().join("old")).unwrap();
    desk.write("old/shop_20260124_010000.sql", &said.stdout);
    check(desk, "points-foreign", &["points", "--foreign", "old"], 0);
    let dump = ["restore", "old/shop_20260124_010000.sql", "--into", into, "--create"];
    check(desk, "restore-dump-dry-run", &[&dump[..], &["--dry-run"]].concat(), 0);
    assert_eq!(check(desk, "restore-dump", &dump, 0)["rows"].as_u64(), Some(40_500));
    // A failed export must not end its SQL with a document.
    let said = desk.davit(&["export", "shopp@latest", "--output", "json"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{}", said.stderr);
    let document: Value = serde_json::from_str(&said.stderr[said.stderr.find("{\n").unwrap()..]).unwrap();
    assert_eq!(document["error"]["hint"], "did you mean shop?");
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn an_interrupted_backup_ends_cleanly_with_exit_4_and_the_next_one_works() {
    let server = shop();
    let desk = Desk::with_repository();
    let url = server.url("shop");
    for signal in ["-INT", "-TERM"] {
        let mut command = desk.command(&["backup", &url, "--limit-rate", "200KiB", "-v"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut story = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(story.any(|line| line.starts_with("rows: begun")), "the rows were never read");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let rest: Vec<String> = story.collect();
        assert_eq!(child.wait().unwrap().code(), Some(4), "{signal}: {rest:?}");
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit%'";
        wait_until(10, "our connections being gone", || server.psql("postgres", ours) == "0");
        assert_eq!(desk.json(&["points"]).1["points"], serde_json::json!([]));
    }
    let (code, made) = desk.json(&["backup", &url]);
    assert_eq!((code, made["rows"].as_u64()), (0, Some(40_500)), "{made:#}");
}

/// A text without what differs from run to run: the server's port, public keys, ids of points.
fn lasting(text: &str, server: &PgServer) -> String {
    let word = |word: &str| match word {
        _ if word.trim_end().starts_with("age1") => word.replace(word.trim_end(), "age1…"),
        _ if word.contains("Z-") => "POINT:".to_owned(),
        _ => word.to_owned(),
    };
    let words: String = text.split_inclusive([' ', '\n']).map(word).collect();
    words.replace(&format!(":{}", server.port), ":PORT").replace("POINT:", "POINT: ")
}

/// Runs each call, and compares all texts with the reviewed ones.
fn refused(name: &str, desk: &Desk, server: &PgServer, calls: &[(&[&str], i32)]) {
    let mut transcript = String::new();
    for (arguments, code) in calls {
        let shown = desk.transcript(arguments);
        assert!(shown.ends_with(&format!("(exit {code})\n")), "{shown}");
        transcript.push_str(&shown);
        transcript.push('\n');
    }
    let transcript = lasting(&transcript, server);
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "golden/errors", omit_expression => true }, {
        insta::assert_snapshot!(name, transcript);
    });
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn a_backup_that_cannot_be_whole_is_refused_and_says_what_to_do() {
    let server = shop();
    server.psql("shop", "CREATE ROLE clerk LOGIN; GRANT SELECT ON customers TO clerk");
    let desk = Desk::with_repository();
    let clerk = server.url("shop").replace("postgres@", "clerk@");
    let nobody = server.url("shop").replace("postgres@", "nobody@");
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/shop", support::free_port());
    let url = server.url("shop");
    refused(
        "backup-servers",
        &desk,
        &server,
        &[
            (&["backup", &clerk], 3),
            (&["backup", &server.url("shopp")], 2),
            (&["backup", &nobody], 2),
            (&["backup", "postgres://postgres@nowhere.invalid/shop"], 2),
        ],
    );
    // A misspelt pattern leaves nothing out, and that is said.
    let (code, planned) = desk.json(&["backup", &url, "--exclude-table", "public.ordrs", "--dry-run"]);
    let said = &planned["warnings"][0];
    assert_eq!((code, said.as_str()), (0, Some("public.ordrs leaves nothing out: no table is called like that")));
    let said = desk.davit(&["backup", &nowhere]);
    assert!(said.code == 4 && said.stderr.contains("refused"), "{}: {}", said.code, said.stderr);
    assert_eq!(desk.json(&["points"]).1["points"], serde_json::json!([]));
}

fn restore<'a>(into: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore", "shop@latest", "--into", into], more].concat()
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn a_restore_that_would_harm_or_miss_is_refused_before_the_target_is_touched() {
    let server = shop();
    server.psql("postgres", "CREATE DATABASE other");
    server.psql("other", "CREATE TABLE precious (id int)");
    let desk = Desk::with_repository();
    let (url, other, new) = (server.url("shop"), server.url("other"), server.url("new"));
    assert_eq!(desk.davit(&["backup", &url]).code, 0);
    refused(
        "restore-servers",
        &desk,
        &server,
        &[
            (&restore(&new, &[]), 2),
            (&restore(&url, &[]), 3),
            (&restore(&other, &[]), 3),
            (&restore(&other, &["--create"]), 3),
            (&restore(&other, &["--replace", "shop"]), 2),
            (&restore(&new, &["--create", "--table", "public.ordrs"]), 2),
            (&restore(&new, &["--create", "--database", "shopp"]), 2),
            (&restore(&new, &["--create", "--role-map", "a"]), 2),
            (&restore(&new, &["--create", "--expect-seq", "7"]), 3),
            (&["restore", "shopp@latest", "--into", &new, "--create"], 2),
            (&["restore", "billing@latest", "--into", &new, "--create"], 2),
            (&["restore", "shop@latest-verified", "--into", &new, "--create"], 2),
            (&["restore", "shop@2020-01-01T00:00:00Z", "--into", &new, "--create"], 2),
            (&["points", "shopp"], 2),
        ],
    );
    // The backup host alone can look and count, and not read one row.
    let keys = desk.path().join("davit-keys");
    std::fs::rename(keys.join("reader.key"), desk.path().join("away.key")).unwrap();
    refused(
        "restore-without-reader-key",
        &desk,
        &server,
        &[
            (&restore(&new, &["--create"]), 2),
            (&["verify", "shop@latest", "--depth", "restored"], 2),
            (&["export", "shop@latest"], 2),
            (&["key", "new", "--reader-key", "second.key"], 2),
        ],
    );
    assert_eq!(desk.davit(&["verify", "shop@latest", "--depth", "stored"]).code, 0);
    let databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(server.psql("postgres", databases), "other postgres shop");
    assert_eq!(server.psql("other", "SELECT count(*) FROM precious"), "0");
}
