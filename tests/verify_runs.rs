//! `davit verify` as a person types it: samples, all sources with their own checks, other servers, other versions, and
//! credentials that may only read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use serde_json::Value;
use std::path::PathBuf;
use support::postgres::PgServer;
use support::s3::S3;

const SHOP: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, kind regclass, body text);
    INSERT INTO orders SELECT n, 'pg_class', repeat(md5(n::text), 30) FROM generate_series(1, 20000) n;
    CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
    DO $$BEGIN EXECUTE 'CREATE TABLE wide (' ||
        (SELECT string_agg(format('c%s int DEFAULT %s', n, n), ', ') FROM generate_series(1, 1600) n) || ')'; END$$;
    INSERT INTO wide DEFAULT VALUES;
    CREATE TABLE huge AS SELECT repeat('0123456789', 2000000) AS body;";

/// Filling this view changes a row, at the source and in every copy: what is restored is not what was backed up.
const SPOILED: &str = "
    CREATE FUNCTION spoil() RETURNS int LANGUAGE sql VOLATILE
        AS 'UPDATE public.orders SET body = body || ''!'' WHERE id = 77 RETURNING id';
    CREATE MATERIALIZED VIEW spoiled AS SELECT public.spoil() AS id;";

/// A desk whose settings name the sources `shop` and `both` (all databases of the server, among them `bank`).
fn desk(server: &PgServer) -> Desk {
    let desk = Desk::new();
    desk.write("orders.sql", "SELECT count(*) = 20000 FROM orders; SELECT id FROM orders WHERE body IS NULL");
    desk.write("never.sql", "SELECT 1");
    desk.write(
        "davit.yaml",
        &format!(
            "sources:\n  shop:\n    url: {}\n    checks: [orders.sql]\n  bank:\n    url: {}\n    checks: [never.sql]\n  \
             every:\n    url: {}\n    databases: all\n",
            server.url("shop"),
            server.url("bank"),
            server.url("postgres")
        ),
    );
    assert_eq!(desk.davit(&["init"]).code, 0);
    desk
}

fn backed_up(desk: &Desk, source: &str) {
    let said = desk.davit(&["backup", source]);
    assert_eq!(said.code, 0, "{}", said.stderr);
}

/// How deep the newest good verification of the newest point of a source counts.
fn depth(desk: &Desk, source: &str) -> Value {
    desk.json(&["points", source]).1["points"][0]["verified"]["depth"].clone()
}

fn largest_chunk(desk: &Desk) -> PathBuf {
    let chunks = desk.inventory().into_iter().filter(|(path, ..)| path.to_string_lossy().contains("/chunks/"));
    chunks.max_by_key(|(_, size, _)| *size).unwrap().0
}

#[test]
#[ignore = "needs PostgreSQL servers: make test"]
fn what_was_looked_at_is_recorded_as_that_and_no_more() {
    let server = PgServer::start();
    for (database, sql) in [("shop", SHOP), ("bank", "CREATE TABLE accounts AS SELECT 7 AS id")] {
        server.psql("postgres", &format!("CREATE DATABASE {database}"));
        server.psql(database, sql);
    }
    let mut desk = desk(&server);
    backed_up(&desk, "shop");
    samples(&desk);
    backed_up(&desk, "bank");
    all_with_their_checks(&desk);
    elsewhere(&desk, &server);
    several_databases(&desk, &server);
    let nowhere = desk.path().join("no-such-place").display().to_string();
    desk.set("DAVIT_SCRATCH", &nowhere);
    let (code, report) = desk.json(&["verify", "bank@latest", "--depth", "restored"]);
    assert_eq!(code, 6, "{report:#}");
    assert!(report["checks"].to_string().contains("no-such-place"), "{report:#}");
}

fn samples(desk: &Desk) {
    let sample = ["verify", "shop@latest", "--depth", "stored", "--sample", "50%"];
    let (code, report) = desk.json(&sample);
    assert_eq!((code, report["depth"].as_str(), report["sample"].as_f64()), (0, Some("stored"), Some(0.5)));
    let said = desk.davit(&sample);
    assert!(said.stdout.contains("stored, a sample") && said.stdout.contains("counts as listed"), "{}", said.stdout);
    assert_eq!(depth(desk, "shop"), "listed");
    assert_eq!(desk.davit(&["verify", "shop@latest", "--depth", "stored"]).code, 0);
    assert_eq!(depth(desk, "shop"), "stored");
    // All of it drawn finds what a full look finds, and says which rows.
    let path = largest_chunk(desk);
    let whole = std::fs::read(&path).unwrap();
    let mut spoiled = whole.clone();
    spoiled[whole.len() / 2] ^= 1;
    std::fs::write(&path, &spoiled).unwrap();
    let (code, report) = desk.json(&["verify", "shop@latest", "--depth", "stored", "--sample", "100%"]);
    let damage = &report["damage"][0];
    assert_eq!((code, damage["table"].as_str()), (1, Some("public.orders")), "{report:#}");
    let rows = (damage["rows"][0].as_u64().unwrap(), damage["rows"][1].as_u64().unwrap());
    let said = desk.davit(&["verify", "shop@latest", "--depth", "stored"]);
    let thousands = |number: u64| format!("{},{:03}", number / 1000, number % 1000);
    let first = if rows.0 < 999 { (rows.0 + 1).to_string() } else { thousands(rows.0 + 1) };
    let named = format!("DAMAGE  public.orders, rows {first} to {}: ", thousands(rows.1));
    assert!(said.code == 1 && said.stdout.contains(&named), "{named}: {}", said.stdout);
    std::fs::write(&path, whole).unwrap();
    assert_eq!(desk.davit(&["verify", "shop@latest", "--depth", "stored"]).code, 0);
}

fn all_with_their_checks(desk: &Desk) {
    let (code, all) = desk.json(&["verify", "--all", "--depth", "restored"]);
    assert_eq!((code, all["ok"].as_bool()), (1, Some(false)), "{all:#}");
    for point in all["points"].as_array().unwrap() {
        let source = point["source"].as_str().unwrap();
        let checks = point["checks"].as_array().unwrap();
        let own: Vec<_> = checks.iter().filter(|check| check["name"].as_str().unwrap().starts_with("check ")).collect();
        assert_eq!(own.len(), 1, "{point:#}");
        let expected = if source == "shop" { ("check orders.sql", true) } else { ("check never.sql", false) };
        assert_eq!(
            (own[0]["name"].as_str(), own[0]["ok"].as_bool()),
            (Some(expected.0), Some(expected.1)),
            "{point:#}"
        );
        assert!(point["evidence"].as_str().is_some(), "{point:#}");
    }
    assert_eq!(depth(desk, "shop"), "restored");
    desk.write("never.sql", "\\! echo no");
    let (code, refused) = desk.json(&["verify", "--all", "--depth", "restored"]);
    assert_eq!((code, refused["error"]["kind"].as_str()), (2, Some("input")), "{refused:#}");
    desk.write("never.sql", "SELECT true");
}

/// On other versions: what the source had is compared there, too; what may print otherwise decides nothing.
fn elsewhere(desk: &Desk, server: &PgServer) {
    for major in [16, 17, 18] {
        let there = PgServer::start_with(major, &[]);
        let into = there.url("postgres");
        let (code, report) = desk.json(&["verify", "shop@latest", "--depth", "restored", "--into", &into]);
        // amcheck needs its programs for this version: where they are not, that is undecided, and nothing else is.
        let open: Vec<_> = report["checks"].as_array().unwrap().iter().filter(|check| check["ok"] != true).collect();
        assert!(open.iter().all(|check| check["name"] == "amcheck" && check["ok"].is_null()), "{major}: {report:#}");
        assert_eq!(code, if open.is_empty() { 0 } else { 6 }, "{major}: {report:#}");
        assert_eq!(report["rows"], 20_004, "{major}");
        assert_eq!(there.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'davit%'"), "0");
        let restored = desk.davit(&["restore", "shop@latest", "--into", &there.url("shop"), "--create"]);
        assert_eq!(restored.code, 0, "{major}: {}", restored.stderr);
        let facts = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM nothing), (SELECT c1600 FROM wide), \
                     (SELECT length(body) FROM huge)";
        assert_eq!(there.psql("shop", facts), "20000|2|1600|20000000", "{major}");
    }
    // A changed row is a failure on the same version; in a table with a type that may print otherwise, on another
    // version, it is undecided. That is kept as evidence, and takes nothing from what was proven before.
    server.psql("shop", SPOILED);
    backed_up(desk, "shop");
    let (code, failed) = desk.json(&["verify", "shop@latest", "--depth", "restored"]);
    assert_eq!((code, failed["verdict"].as_str()), (1, Some("failed")), "{failed:#}");
    backed_up(desk, "shop");
    assert_eq!(desk.davit(&["verify", "shop@latest", "--depth", "stored"]).code, 0);
    let there = PgServer::start_with(18, &[]);
    let into = there.url("postgres");
    let (code, open) = desk.json(&["verify", "shop@latest", "--depth", "restored", "--into", &into]);
    assert_eq!((code, open["verdict"].as_str()), (6, Some("undecided")), "{open:#}");
    assert!(open["checks"].to_string().contains("column kind of type regclass may print otherwise"), "{open:#}");
    let kept = open["evidence"].as_str().unwrap();
    assert!(desk.inventory().iter().any(|(path, ..)| path.to_str().unwrap().ends_with(kept)), "{kept}");
    assert_eq!(depth(desk, "shop"), "stored");
    // A repository with such evidence is whole.
    let (_, all) = desk.json(&["verify", "--all", "--depth", "listed"]);
    assert_eq!(all["ok"], true, "{all:#}");
}

/// A point of several databases is verified as a whole and restored one by one.
fn several_databases(desk: &Desk, server: &PgServer) {
    server.psql("shop", "DROP MATERIALIZED VIEW spoiled");
    backed_up(desk, "every");
    let (code, report) = desk.json(&["verify", "every@latest", "--depth", "restored"]);
    assert_eq!((code, report["tables"].as_u64(), report["rows"].as_u64()), (0, Some(5), Some(20_005)), "{report:#}");
    let into = server.url("bank2");
    let restore = ["restore", "every@latest", "--into", &into, "--create"];
    let (code, which) = desk.json(&restore);
    assert_eq!(code, 2, "{which:#}");
    assert!(which["error"]["hint"].as_str().unwrap().contains("--database"), "{which:#}");
    let (code, unknown) = desk.json(&[&restore[..], &["--database", "bnk"]].concat());
    assert!(code == 2 && unknown["error"]["hint"].as_str().unwrap().contains("bank"), "{unknown:#}");
    let (code, done) = desk.json(&[&restore[..], &["--database", "bank"]].concat());
    assert_eq!((code, done["database"].as_str(), done["rows"].as_u64()), (0, Some("bank"), Some(1)), "{done:#}");
    assert_eq!(server.psql("bank2", "SELECT id FROM accounts"), "7");
}

#[test]
#[ignore = "needs PostgreSQL and S3 servers: make test"]
fn whoever_may_only_read_the_store_can_restore_and_verify() {
    let (server, s3) = (PgServer::start(), S3::start());
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for versions in [false, true] {
        let bucket = if versions { "locking" } else { "plain" };
        let reader = runtime.block_on(async {
            if versions {
                s3.locking_bucket(bucket).await;
            } else {
                s3.plain_bucket(bucket).await;
            }
            s3.reader_of(bucket).await
        });
        let mut desk = Desk::new();
        for (name, value) in s3.environment() {
            desk.set(name, &value);
        }
        desk.set("DAVIT_REPOSITORY", &format!("s3://{bucket}/davit"));
        assert_eq!(desk.davit(&["init"]).code, 0);
        assert_eq!(desk.davit(&["backup", &server.url("shop")]).code, 0);
        for (name, value) in &reader {
            desk.set(name, value);
        }
        let said = desk.davit(&["backup", &server.url("shop")]);
        assert_ne!(said.code, 0, "the reader cannot write");
        for depth in ["listed", "stored", "restored"] {
            let (code, report) = desk.json(&["verify", "shop@latest", "--depth", depth]);
            assert_eq!((code, report["ok"].as_bool()), (0, Some(true)), "{bucket} {depth}: {report:#}");
            assert!(report["evidence"].is_null(), "{report:#}");
        }
        let said = desk.davit(&["verify", "--all", "--depth", "listed"]);
        assert!(said.code == 0 && said.stderr.contains("the evidence was not recorded"), "{}", said.stderr);
        let into = server.url(&format!("from_{bucket}"));
        let said = desk.davit(&["restore", "shop@latest", "--into", &into, "--create"]);
        assert_eq!(said.code, 0, "{bucket}: {}", said.stderr);
        assert_eq!(server.psql(&format!("from_{bucket}"), "SELECT count(*) FROM orders"), "1000");
    }
}
