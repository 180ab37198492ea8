//! What a restore brings back when some of the backup is lost: the rest, and the names of what is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use support::postgres::PgServer;

/// Large objects that take some chunks.
const PHOTOS: &str = "
    CREATE FUNCTION noise(seed int, bytes int) RETURNS bytea LANGUAGE sql AS
        $$SELECT string_agg(decode(md5(seed || '.' || i), 'hex'), '' ORDER BY i) FROM generate_series(1, bytes / 16) i$$;
    CREATE TABLE photos (id oid);
    INSERT INTO photos SELECT lo_from_bytea(20000 + i, noise(i, 600000)) FROM generate_series(1, 30) i;
    CREATE TABLE orders AS SELECT g::bigint AS id FROM generate_series(1, 500) g";

/// Rows that others refer to: from a table, and from partitions of one.
const ORDERS: &str = "
    CREATE TABLE orders AS SELECT g::bigint AS id, 'order ' || g AS note FROM generate_series(1, 500) g;
    ALTER TABLE orders ADD PRIMARY KEY (id);
    CREATE TABLE notes (id bigint REFERENCES orders);
    INSERT INTO notes SELECT g FROM generate_series(1, 50) g;
    CREATE TABLE lines (id bigint REFERENCES orders, line int) PARTITION BY LIST (line);
    CREATE TABLE lines_1 PARTITION OF lines FOR VALUES IN (1);
    INSERT INTO lines SELECT g, 1 FROM generate_series(1, 50) g";

struct World {
    server: PgServer,
    desk: Desk,
}

impl World {
    fn new(sql: &str) -> Self {
        let (server, desk) = (PgServer::start(), Desk::with_repository());
        server.psql("postgres", "CREATE DATABASE shop");
        server.psql("shop", sql);
        Self { server, desk }
    }

    fn back_up(&self, more: &[&str]) {
        let url = self.server.url("shop");
        let said = self.desk.davit(&[&["backup", &url], more].concat());
        assert_eq!(said.code, 0, "{}", said.stderr);
    }

    fn restore(&self, database: &str, more: &[&str]) -> (i32, Value) {
        let url = self.server.url(database);
        self.desk.json(&[&["restore", "shop@latest", "--into", &url, "--create"], more].concat())
    }

    fn databases(&self) -> String {
        self.server.psql(
            "postgres",
            "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate",
        )
    }

    /// The chunks that hold an object, found by taking each away in turn and looking who misses it; the largest first.
    fn chunks_of(&self, object: &str) -> Vec<PathBuf> {
        let chunks = self.desk.inventory().into_iter().filter(|(path, ..)| path.to_string_lossy().contains("/chunks/"));
        let mut chunks: Vec<(u64, PathBuf)> = chunks.map(|(path, size, _)| (size, path)).collect();
        chunks.sort();
        let aside = self.desk.path().join("aside");
        let is_of = |path: &Path| {
            std::fs::rename(path, &aside).unwrap();
            let (code, document) = self.desk.json(&["verify", "shop@latest", "--depth", "listed"]);
            std::fs::rename(&aside, path).unwrap();
            assert_eq!(code, 1, "{document:#}");
            document["damage"].as_array().unwrap().iter().any(|damage| damage["object"] == object)
        };
        let found: Vec<PathBuf> = chunks.into_iter().rev().map(|(_, path)| path).filter(|path| is_of(path)).collect();
        // The looks have left a word about each; what is there and whole counts all the same.
        assert!(!found.is_empty(), "no chunk of {object}");
        found
    }
}

fn flip_a_bit(path: &Path) {
    let mut body = std::fs::read(path).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    std::fs::write(path, body).unwrap();
}

/// The large objects of a database with the hash of their bytes.
fn objects(server: &PgServer, database: &str) -> BTreeSet<String> {
    let sql = "SELECT oid || ' ' || md5(lo_get(oid)) FROM pg_largeobject_metadata";
    server.psql(database, sql).lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn of_large_objects_the_whole_ones_come_back_and_the_others_are_named() {
    let world = World::new(PHOTOS);
    let server = &world.server;
    world.back_up(&[]);
    let chunks = world.chunks_of("large objects");
    assert!(chunks.len() >= 3, "{chunks:?}");
    flip_a_bit(&chunks[0]);
    let (code, refused) = world.restore("hurt", &[]);
    assert_eq!(code, 4, "{refused:#}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("of large objects"), "{refused:#}");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--allow-damage restores the rest"), "{refused:#}");
    std::fs::remove_file(&chunks[0]).unwrap();
    let (code, refused) = world.restore("hurt", &[]);
    assert_eq!(code, 3, "{refused:#}");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--allow-damage restores the rest"), "{refused:#}");
    assert_eq!(world.databases(), "postgres shop");

    let (code, document) = world.restore("hurt", &["--allow-damage"]);
    assert_eq!(code, 1, "{document:#}");
    let lost = document["lost"].as_array().unwrap();
    assert_eq!((lost.len(), lost[0]["object"].as_str()), (1, Some("large objects")), "{document:#}");
    assert_eq!(server.psql("hurt", "SELECT count(*) FROM orders"), "500");
    let note = document["notes"][0].as_str().unwrap();
    let named = note.split_once("bytes are lost of large objects ").unwrap().1.split_once(':').unwrap().0;
    let named: BTreeSet<&str> = named.split(", ").collect();
    let (before, after) = (objects(server, "shop"), objects(server, "hurt"));
    assert_eq!((before.len(), after.len()), (30, 30), "each is there, with its owner and privileges");
    let differ: BTreeSet<&str> = before.difference(&after).map(|one| one.split(' ').next().unwrap()).collect();
    assert!(!differ.is_empty() && differ.is_subset(&named), "{differ:?} are not all among {named:?}");
    // Named are those that the chunk had bytes of, and at most the one before.
    assert!(named.len() <= differ.len() + 1 && named.len() < 20, "{named:?} for {differ:?}");
    let url = server.url("again");
    let said = world.desk.davit(&["restore", "shop@latest", "--into", &url, "--create", "--allow-damage"]);
    assert!(
        said.stdout.contains("LOST  large objects: ") && said.stdout.contains("note: bytes are lost of"),
        "{}",
        said.stdout
    );
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn keys_over_lost_rows_hold_for_new_ones_or_are_named_as_missing() {
    let world = World::new(ORDERS);
    world.back_up(&[]);
    let chunks = world.chunks_of("public.orders");
    assert_eq!(chunks.len(), 1);
    flip_a_bit(&chunks[0]);
    let (code, document) = world.restore("hurt", &["--allow-damage"]);
    assert_eq!(code, 1, "{document:#}");
    assert_eq!(document["lost"][0]["rows"], serde_json::json!([0, 500]), "{document:#}");
    assert_eq!(document["weakened"], serde_json::json!(["fk constraint public.notes notes_id_fkey"]));
    let notes = document["notes"].as_array().unwrap();
    assert!(
        notes.iter().any(|note| note.as_str().unwrap().contains("lines lines_id_fkey is not there")),
        "{document:#}"
    );
    let keys = "SELECT string_agg(conname || ' ' || convalidated, ', ') FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(world.server.psql("hurt", keys), "notes_id_fkey false");
    assert_eq!(world.server.psql("hurt", "SELECT count(*) FROM lines"), "50");
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn a_dump_with_a_hole_is_not_played_whatever_is_allowed() {
    let world = World::new(ORDERS);
    world.back_up(&["--engine", "stream"]);
    let chunks = world.chunks_of("dump of shop");
    flip_a_bit(&chunks[0]);
    for more in [&[][..], &["--allow-damage"]] {
        let (code, document) = world.restore("hurt", more);
        assert_eq!(code, 4, "{document:#}");
        assert!(document["error"]["message"].as_str().unwrap().contains("dump of shop"), "{document:#}");
        assert_eq!(world.databases(), "postgres shop");
    }
    std::fs::remove_file(&chunks[0]).unwrap();
    let (code, document) = world.restore("hurt", &["--allow-damage"]);
    assert_eq!(code, 3, "{document:#}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("as a whole or not at all"), "{document:#}");
}
