//! Too little room: at the server that is restored into, and at the store that is backed up to. It is said so, nothing is
//! half there, and with room the same command works.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::similar_names, reason = "a disk is no desk")]

mod chaos_support;
mod cli_support;
mod support;

use chaos_support::SmallDisk;
use cli_support::Desk;
use std::path::Path;
use support::postgres::PgServer;

/// Some 40 MB of rows that cannot be compressed.
const SHOP: &str = "CREATE TABLE orders AS SELECT g AS id, (SELECT string_agg(md5(g || '.' || i), '') FROM generate_series(1, 10) i) AS note
    FROM generate_series(1, 120000) g; ALTER TABLE orders ADD PRIMARY KEY (id)";

fn shop() -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", SHOP);
    server
}

/// Takes room away until the file is deleted.
fn ballast(disk: &Path, mebibytes: usize) -> std::path::PathBuf {
    let file = disk.join("ballast");
    std::fs::write(&file, vec![7; mebibytes << 20]).unwrap();
    file
}

fn databases(server: &PgServer) -> String {
    server.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate")
}

#[test]
#[ignore = "needs root on Linux and PostgreSQL 15: make test"]
fn a_target_without_room_is_told_so_before_or_meanwhile_and_is_what_it_was() {
    let (server, desk) = (shop(), Desk::with_repository());
    let said = desk.davit(&["backup", &server.url("shop")]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let disk = SmallDisk::new(420);
    let small = PgServer::start_in(disk.0.path(), 15, &["max_wal_size=64MB"]);
    let restore = |server: &PgServer| {
        let url = server.url("copy");
        desk.davit(&["restore", "shop@latest", "--into", &url, "--create"])
    };
    // Where the server's disk is this machine's, its room is looked at first.
    let heavy = ballast(disk.0.path(), 330);
    let said = restore(&small);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("it lacks room"), "{}", said.stderr);
    assert_eq!(databases(&small), "postgres");
    std::fs::remove_file(heavy).unwrap();

    // Where it cannot be seen, as in a tablespace elsewhere, the server says when there is none left.
    let elsewhere = SmallDisk::new(24);
    let folder = elsewhere.0.path().join("space");
    std::fs::create_dir(&folder).unwrap();
    assert!(std::process::Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
    small.psql("postgres", &format!("CREATE TABLESPACE tight LOCATION '{}'", folder.display()));
    small.psql("postgres", "CREATE DATABASE copy TABLESPACE tight");
    let url = small.url("copy");
    let said = desk.davit(&["restore", "shop@latest", "--into", &url, "--table", "orders"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(said.stderr.contains("53100") && said.stderr.contains("make room on the server's disk"), "{}", said.stderr);
    assert_eq!(small.psql("copy", "SELECT count(*) FROM pg_class WHERE relname = 'orders'"), "0");
    assert_eq!(small.psql("copy", "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'davit%'"), "0");
    small.psql("postgres", "DROP DATABASE copy");
    let said = restore(&small);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(small.psql("copy", "SELECT count(*) FROM orders"), "120000");
}

#[test]
#[ignore = "needs root on Linux and PostgreSQL 15: make test"]
fn a_store_without_room_ends_the_backup_and_keeps_the_points_it_has() {
    let server = shop();
    let disk = SmallDisk::new(48);
    let mut desk = Desk::new();
    desk.set("DAVIT_REPOSITORY", disk.0.path().join("repository").to_str().unwrap()).set("DAVIT_LEASE_TERM", "3s");
    let url = server.url("shop");
    for arguments in [&["init"][..], &["backup", &url]] {
        let said = desk.davit(arguments);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    // All rows are other ones, and there is room for some of them only.
    let ballast = ballast(disk.0.path(), 14);
    server.psql("shop", "UPDATE orders SET note = reverse(note)");
    let said = desk.davit(&["backup", &url]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(said.stderr.contains("no space left"), "{}", said.stderr);
    let points = || desk.json(&["points"]).1["points"].as_array().unwrap().len();
    assert_eq!(points(), 1);
    let said = desk.davit(&["verify", "--all", "--depth", "stored"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    std::fs::remove_file(ballast).unwrap();
    let (code, made) = desk.json(&["backup", &url]);
    assert_eq!(code, 0, "{made:#}");
    // What the full one had stored is used.
    assert!(made["chunks_new"].as_u64().unwrap() < made["chunks"].as_u64().unwrap(), "{made:#}");
    assert_eq!(points(), 2);
    assert_eq!(desk.davit(&["verify", "--all", "--depth", "stored"]).code, 0);
}
