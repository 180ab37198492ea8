//! Every option of `davit restore`, as a person types it, against real servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use serde_json::Value;
use std::path::PathBuf;
use support::postgres::{PgServer, bin_dir, client_dir};

const SHOP: &str = "
    CREATE SCHEMA \"Odd Schema\";
    CREATE TYPE status AS ENUM ('new', 'paid');
    CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.name := upper(NEW.name); RETURN NEW; END$$;
    CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL);
    INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 1000) n;
    CREATE TRIGGER shout BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION shout();
    CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL REFERENCES customers, state status, body text);
    INSERT INTO orders SELECT n, n % 1000 + 1, 'new', repeat(md5(n::text), 30) FROM generate_series(1, 40000) n;
    CREATE INDEX orders_customer ON orders (customer) TABLESPACE fast;
    CREATE TABLE notes (id bigint REFERENCES orders, note text);
    INSERT INTO notes SELECT n * 100, 'note' FROM generate_series(1, 400) n;
    CREATE TABLE \"Odd Schema\".\"a.table\" (v int);
    INSERT INTO \"Odd Schema\".\"a.table\" VALUES (1), (2), (3);
    CREATE VIEW paid AS SELECT * FROM orders WHERE state = 'paid';
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS orders FROM orders;
    ALTER TABLE orders OWNER TO shop_owner;
    GRANT SELECT ON orders TO shop_reader;";

/// A shop, its only point, and a server elsewhere that knows nothing of it.
struct World {
    server: PgServer,
    elsewhere: PgServer,
    desk: Desk,
}

impl World {
    fn new() -> Self {
        let (server, elsewhere) = (PgServer::start(), PgServer::start_with(17, &[]));
        let space = server.socket_dir().join("fast");
        let made = std::process::Command::new("install").args(["-d", "-o", "postgres"]).arg(&space).status().unwrap();
        assert!(made.success());
        server.psql("postgres", "CREATE ROLE shop_owner; CREATE ROLE shop_reader LOGIN CONNECTION LIMIT 7");
        server.psql("postgres", "GRANT shop_owner TO shop_reader");
        server.psql("postgres", &format!("CREATE TABLESPACE fast OWNER shop_owner LOCATION '{}'", space.display()));
        server.psql("postgres", "CREATE DATABASE shop OWNER shop_owner");
        server.psql("shop", SHOP);
        let desk = Desk::with_repository();
        let said = desk.davit(&["backup", &server.url("shop")]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        Self { server, elsewhere, desk }
    }

    /// `davit restore shop@latest --into …` with more arguments.
    fn restore(&self, server: &PgServer, database: &str, more: &[&str]) -> (i32, Value) {
        let url = server.url(database);
        self.desk.json(&[&["restore", "shop@latest", "--into", &url], more].concat())
    }

    /// The same, which must succeed.
    fn restored(&self, server: &PgServer, database: &str, more: &[&str]) -> Value {
        let (code, document) = self.restore(server, database, more);
        assert_eq!(code, 0, "{more:?}: {document:#}");
        document
    }

    /// The same, which must be declined with this exit code; gives message and hint.
    fn declined(&self, exit: i32, server: &PgServer, database: &str, more: &[&str]) -> (String, String) {
        let before =
            server.psql("postgres", "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles ORDER BY 1");
        let (code, document) = self.restore(server, database, more);
        assert_eq!(code, exit, "{more:?}: {document:#}");
        let after =
            server.psql("postgres", "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles ORDER BY 1");
        assert_eq!(before, after, "{more:?}");
        let text = |name: &str| document["error"][name].as_str().unwrap_or_default().to_owned();
        (text("message"), text("hint"))
    }
}

#[track_caller]
fn has(text: &(String, String), message: &str, hint: &str) {
    assert!(text.0.contains(message) && text.1.contains(hint), "{text:?}");
}

#[test]
#[ignore = "needs PostgreSQL servers: make test"]
fn every_option_does_what_it_says() {
    let world = World::new();
    new_databases(&world);
    single_tables(&world);
    definitions_and_rows(&world);
    owners_and_globals(&world);
    replaced(&world);
    refusals(&world);
    newer_client(&world);
    dumps_on_trust(&world);
    // Last: it takes something away from the repository.
    damage(&world);
}

fn new_databases(world: &World) {
    let document = world.restored(&world.server, "whole", &["--create"]);
    assert_eq!((document["tables"].as_u64(), document["rows"].as_u64()), (Some(4), Some(41_403)));
    assert_eq!(document["verified"], "read-back");
    let facts = "SELECT (SELECT orders FROM totals), nextval('customers_id_seq'), (SELECT count(*) FROM paid)";
    assert_eq!(world.server.psql("whole", facts), "40000|1001|0");
    let (code, plan) = world.restore(&world.server, "nothing", &["--create", "--dry-run"]);
    assert_eq!((code, plan["dry_run"].as_bool(), plan["tables"].as_u64()), (0, Some(true), Some(4)));
    assert_eq!(world.server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'nothing'"), "0");
    let sent = world.restored(&world.server, "quick", &["--create", "--proof", "sent", "--jobs", "1"]);
    assert_eq!(sent["verified"], "sent");
    world.server.psql("postgres", "DROP DATABASE quick");
    has(&world.declined(3, &world.server, "whole", &["--create"]), "exists already", "--replace whole");
    has(&world.declined(2, &world.server, "nothing", &[]), "no database nothing", "--create makes it");
}

fn single_tables(world: &World) {
    let server = &world.server;
    // A new database gets what the tables stand on, and nothing else.
    let document = world.restored(server, "two", &["--create", "--table", "orders", "--table", "public.customers"]);
    assert_eq!(document["rows"], 41_000);
    let relations = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
                     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v', 'm')";
    assert_eq!(server.psql("two", relations), "customers customers_id_seq orders");
    assert_eq!(server.psql("two", "SELECT count(*), nextval('customers_id_seq') FROM orders"), "40000|1001");
    // A dropped table comes back into the database that lost it, as it was.
    server.psql("whole", "ALTER TABLE notes DROP CONSTRAINT notes_id_fkey; DROP MATERIALIZED VIEW totals; DROP VIEW paid; DROP TABLE orders");
    let back = world.restored(server, "whole", &["--table", "public.orders"]);
    assert_eq!(back["rows"], 40_000);
    let facts = "SELECT relowner::regrole, has_table_privilege('shop_reader', oid, 'SELECT'), \
                 (SELECT spcname FROM pg_tablespace t JOIN pg_class i ON i.reltablespace = t.oid WHERE i.relname = 'orders_customer'), \
                 (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND convalidated) FROM pg_class c WHERE relname = 'orders'";
    assert_eq!(server.psql("whole", facts), "shop_owner|t|fast|2");
    assert_eq!(server.psql("whole", "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'davit%'"), "0");
    // What is not there is told with what was perhaps meant.
    has(
        &world.declined(2, server, "whole", &["--table", "public.ordres"]),
        "finding table public.ordres",
        "public.orders",
    );
    has(
        &world.declined(3, server, "whole", &["--table", "orders"]),
        "public.orders is in database whole already",
        "--create",
    );
    server.psql("postgres", "CREATE DATABASE alone");
    let lacking = world.declined(3, server, "alone", &["--table", "orders"]);
    has(&lacking, "public.customers, which a table to be restored needs", "--table public.customers");
    // What it stands on is not brought along; the server says so, and everything is taken back.
    let (code, document) = world.restore(server, "alone", &["--table", "orders", "--table", "customers"]);
    assert_eq!(code, 4, "{document:#}");
    assert!(document["error"]["message"].as_str().unwrap().contains("status"), "{document:#}");
    assert_eq!(server.psql("alone", "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
    let quoted = ["--create", "--table", "\"Odd Schema\".\"a.table\""];
    assert_eq!(world.restored(server, "odd", &quoted)["rows"], 3);
}

fn definitions_and_rows(world: &World) {
    let server = &world.server;
    let document = world.restored(server, "bare", &["--create", "--schema-only"]);
    assert_eq!((document["tables"].as_u64(), document["rows"].as_u64()), (Some(0), Some(0)));
    let facts = "SELECT (SELECT count(*) FROM orders), (SELECT relispopulated FROM pg_class WHERE relname = 'totals'), \
                 (SELECT count(*) FROM pg_constraint WHERE contype = 'f')";
    assert_eq!(server.psql("bare", facts), "0|f|2");
    // Rows only, past triggers and in whatever order, and the sequences with them.
    let rows = world.restored(server, "bare", &["--data-only"]);
    assert_eq!(rows["rows"], 41_403);
    let facts =
        "SELECT (SELECT count(*) FROM orders), (SELECT name FROM customers WHERE id = 7), nextval('customers_id_seq')";
    assert_eq!(server.psql("bare", facts), "40000|customer 7|1001");
    has(&world.declined(3, server, "bare", &["--data-only"]), "is not empty", "--data-only fills empty tables only");
    server.psql("bare", "TRUNCATE notes, orders; DELETE FROM notes");
    assert_eq!(world.restored(server, "bare", &["--data-only", "--table", "orders"])["rows"], 40_000);
    // Rows without those they refer to are noticed, and taken back.
    server.psql("bare", "TRUNCATE customers, orders, notes");
    let (code, orphans) = world.restore(server, "bare", &["--data-only", "--table", "orders"]);
    assert_eq!(code, 4, "{orphans:#}");
    assert!(orphans["error"]["message"].as_str().unwrap().contains("orders_customer_fkey"), "{orphans:#}");
    assert_eq!(server.psql("bare", "SELECT count(*) FROM orders"), "0");
    assert_eq!(server.psql("bare", "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'davit%'"), "0");
    has(
        &world.declined(3, server, "alone", &["--data-only", "--table", "orders"]),
        "is not in database alone",
        "--data-only",
    );
    for other in ["--create", "--with-globals", "--no-owner"] {
        assert_eq!(world.restore(server, "bare", &["--data-only", other]).0, 2, "{other}");
    }
}

fn owners_and_globals(world: &World) {
    let there = &world.elsewhere;
    let lacking = world.declined(3, there, "shop", &["--create"]);
    has(&lacking, "it lacks role shop_owner, role shop_reader, tablespace fast", "--with-globals");
    world.restored(there, "nobodys", &["--create", "--no-owner", "--no-privileges", "--no-tablespaces"]);
    let facts = "SELECT relowner::regrole, relacl IS NULL, (SELECT datdba::regrole FROM pg_database WHERE datname = current_database()) \
                 FROM pg_class WHERE relname = 'orders'";
    assert_eq!(there.psql("nobodys", facts), "postgres|t|postgres");
    there.psql("postgres", "CREATE ROLE \"New Owner\"; CREATE ROLE new_reader");
    let mapped =
        ["--create", "--no-tablespaces", "--role-map", "shop_owner=New Owner", "--role-map", "shop_reader=new_reader"];
    world.restored(there, "mapped", &mapped);
    assert_eq!(there.psql("mapped", facts), "\"New Owner\"|f|\"New Owner\"");
    assert_eq!(there.psql("mapped", "SELECT has_table_privilege('new_reader', 'orders', 'SELECT')"), "t");
    has(&world.declined(2, there, "x", &["--create", "--role-map", "shop_owner"]), "shop_owner", "OLD=NEW");
    let with_globals = world.restored(there, "shop", &["--create", "--with-globals"]);
    assert_eq!(with_globals["notes"], serde_json::json!([]));
    let roles = "SELECT rolcanlogin, rolconnlimit, pg_has_role('shop_reader', 'shop_owner', 'MEMBER') FROM pg_roles WHERE rolname = 'shop_reader'";
    assert_eq!(there.psql("postgres", roles), "t|7|t");
    let spaces = "SELECT spcowner::regrole FROM pg_tablespace WHERE spcname = 'fast'";
    assert_eq!(there.psql("postgres", spaces), "shop_owner");
    assert_eq!(there.psql("shop", facts), "shop_owner|f|shop_owner");
}

fn replaced(world: &World) {
    let server = &world.server;
    server.psql("postgres", "CREATE DATABASE live");
    server.psql("live", "CREATE TABLE old (x int)");
    has(&world.declined(2, server, "live", &["--replace", "love"]), "--replace names \"love\"", "both must name");
    has(&world.declined(3, server, "live", &[]), "database live is not empty: public.old", "--replace live");
    let document = world.restored(server, "live", &["--replace", "live"]);
    let kept = document["kept"].as_str().unwrap();
    assert!(kept.starts_with("live_was_"), "{kept}");
    assert_eq!(server.psql(kept, "SELECT count(*) FROM old"), "0");
    assert_eq!(server.psql("live", "SELECT count(*) FROM orders"), "40000");
    // Into the source's own name is fine, if it is said.
    has(&world.declined(3, server, "shop", &[]), "is the source of this point itself", "--replace shop");
}

fn refusals(world: &World) {
    let older = PgServer::start_with(14, &[]);
    has(&world.declined(3, &older, "x", &["--create"]), "the server is version 14 and the source was 15", "");
    let pooler = support::pgbouncer::PgBouncer::start(&world.server, "transaction");
    for more in [&["--create"][..], &["--table", "notes"]] {
        let url = pooler.url(if more.len() == 1 { "pooled" } else { "alone" });
        let (code, document) = world.desk.json(&[&["restore", "shop@latest", "--into", &url], more].concat());
        assert_eq!(code, 3, "{document:#}");
        assert!(document["error"]["message"].as_str().unwrap().contains("pooler in transaction mode"), "{document:#}");
        assert!(document["error"]["hint"].as_str().unwrap().contains(&world.server.port.to_string()), "{document:#}");
    }
    let server = &world.server;
    // What is missing is told by name: this extension went with version 17.
    server.psql("postgres", "CREATE DATABASE tools");
    server.psql("tools", "CREATE EXTENSION adminpack; CREATE TABLE t ()");
    assert_eq!(world.desk.davit(&["backup", &server.url("tools")]).code, 0);
    let said = world.desk.davit(&["restore", "tools@latest", "--into", &world.elsewhere.url("tools"), "--create"]);
    assert!(said.code == 3 && said.stderr.contains("it lacks extension adminpack"), "{}", said.stderr);
    server.psql("postgres", "CREATE ROLE weak LOGIN; CREATE ROLE maker LOGIN CREATEDB");
    let url = |user: &str, database: &str| server.url(database).replace("postgres@", &format!("{user}@"));
    let (code, document) = world.desk.json(&["restore", "shop@latest", "--into", &url("weak", "x"), "--create"]);
    assert_eq!(code, 3, "{document:#}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("ALTER ROLE weak CREATEDB"), "{document:#}");
    let (code, document) =
        world.desk.json(&["restore", "shop@latest", "--into", &url("weak", "alone"), "--table", "notes"]);
    assert_eq!(code, 3, "{document:#}");
    assert!(document["error"]["message"].as_str().unwrap().contains("may not make a schema"), "{document:#}");
    // Whoever may make databases, but not give them away, fails and leaves nothing.
    let (code, document) = world.desk.json(&["restore", "shop@latest", "--into", &url("maker", "x"), "--create"]);
    assert_eq!(code, 3, "{document:#}");
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ '^x'"), "0");
    has(
        &world.declined(3, server, "template1", &["--replace", "template1"]),
        "PostgreSQL's own",
        "database of your own",
    );
    has(
        &world.declined(3, server, "x", &["--create", "--expect-seq", "2"]),
        "newest point is number 1, but --expect-seq says 2",
        "older versions",
    );
    world.restored(server, "x", &["--create", "--expect-seq", "1", "--table", "notes", "--schema-only"]);
    let (code, _) = world.desk.json(&["restore", "shop@1999-01-01T00:00:00Z", "--into", &server.url("y"), "--create"]);
    assert_eq!(code, 2);
}

/// Definitions that a newer client wrote need one to be read, and that client is named.
fn newer_client(world: &World) {
    let new = PgServer::start_with(18, &[]);
    new.psql("postgres", "CREATE DATABASE fresh");
    new.psql("fresh", "CREATE TABLE t AS SELECT 1 AS id");
    world.desk.write("tools.yaml", &format!("client_tools: [{}]\n", client_dir(18).display()));
    let said = world.desk.davit(&["--config", "tools.yaml", "backup", &new.url("fresh")]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let into = new.url("again");
    let restore = ["restore", "fresh@latest", "--into", &into, "--create"];
    let said = world.desk.davit(&restore);
    assert!(said.code == 3 && said.stderr.contains("of version 18 or later"), "{}: {}", said.code, said.stderr);
    let said = world.desk.davit(&[&["--config", "tools.yaml"], &restore[..]].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
}

fn dumps_on_trust(world: &World) {
    let path = world.desk.path().join("old.dump");
    let mut dump = std::process::Command::new(bin_dir(15).join("pg_dump"));
    dump.args(["-Fc", "-t", "notes", "--no-owner", "-d", &world.server.url("shop"), "-f"]).arg(&path);
    assert!(dump.status().unwrap().success());
    let into = world.server.url("trusted");
    let (code, document) = world.desk.json(&["restore", path.to_str().unwrap(), "--into", &into, "--create"]);
    assert_eq!(code, 3, "{document:#}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("--trust"), "{document:#}");
    let (code, document) = world.desk.json(&[
        "restore",
        path.to_str().unwrap(),
        "--into",
        &into,
        "--create",
        "--trust",
        "--no-privileges",
    ]);
    // The key of notes refers to orders, which this dump lacks: that is an error, and nothing is left.
    assert_eq!(code, 4, "{document:#}");
    assert_eq!(world.server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ '^trusted'"), "0");
}

/// The chunks of the repository by size, the largest first.
fn chunks(world: &World) -> Vec<PathBuf> {
    let chunks = world.desk.inventory().into_iter().filter(|(path, ..)| path.to_string_lossy().contains("/chunks/"));
    let mut chunks: Vec<(u64, PathBuf)> = chunks.map(|(path, size, _)| (size, path)).collect();
    chunks.sort();
    chunks.into_iter().rev().map(|(_, path)| path).collect()
}

fn damage(world: &World) {
    let server = &world.server;
    let largest = chunks(world);
    // One chunk of the large table is gone, another has a flipped bit: its size is right.
    std::fs::remove_file(&largest[0]).unwrap();
    let mut body = std::fs::read(&largest[1]).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    std::fs::write(&largest[1], body).unwrap();
    let missing = world.declined(3, server, "hurt", &["--create"]);
    has(&missing, "public.orders rows ", "--allow-damage restores the rest");
    let (code, plan) = world.restore(server, "hurt", &["--create", "--allow-damage", "--dry-run"]);
    assert_eq!((code, plan["lost"].as_array().unwrap().len()), (0, 1), "{plan:#}");
    let (code, document) = world.restore(server, "hurt", &["--create", "--allow-damage"]);
    assert_eq!(code, 1, "{document:#}");
    let lost = document["lost"].as_array().unwrap();
    assert_eq!(lost.len(), 2, "{document:#}");
    let mut gone = 0;
    for one in lost {
        assert_eq!((one["object"].as_str(), one["table"].as_str()), (Some("public.orders"), Some("public.orders")));
        let name = one["chunk"].as_str().unwrap();
        assert!(largest[..2].iter().any(|path| path.to_str().unwrap().ends_with(name)), "{name}");
        let (first, end) = (one["rows"][0].as_u64().unwrap(), one["rows"][1].as_u64().unwrap());
        gone += end - first;
    }
    assert_eq!(server.psql("hurt", "SELECT count(*) FROM orders"), (40_000 - gone).to_string());
    assert_eq!(document["rows"].as_u64(), Some(41_403 - gone));
    // A key over rows that are gone holds for new rows only, and that is said.
    assert!(document["weakened"][0].as_str().unwrap().contains("notes_id_fkey"), "{document:#}");
    let key = "SELECT convalidated FROM pg_constraint WHERE conname = 'notes_id_fkey'";
    assert_eq!(server.psql("hurt", key), "f");
    let said =
        world.desk.davit(&["restore", "shop@latest", "--into", &server.url("again"), "--create", "--allow-damage"]);
    assert!(said.code == 1 && said.stdout.contains("LOST  public.orders, rows "), "{}{}", said.stdout, said.stderr);
}
