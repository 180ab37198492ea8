//! `davit backup` as a person types it, against servers that are not as they should be: what it says, how it ends, and what
//! it leaves behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod cli_support;
mod support;

use cli_support::{Desk, Said};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::pgbouncer::PgBouncer;
use support::postgres::{PgServer, client_dir};
use support::wait_until;

const SHOP: &str = "CREATE TABLE customers (id int PRIMARY KEY, name text);
    INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 500) g;
    CREATE TABLE orders AS SELECT g AS id, repeat(md5(g::text), 8) AS note FROM generate_series(1, 400000) g; ANALYZE";

fn shop() -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", SHOP);
    server
}

/// Settings with one source; more lines are the source's.
fn settings(desk: &Desk, url: &str, more: &str) {
    desk.write("davit.yaml", &format!("sources:\n  shop:\n    url: {url}\n{more}"));
}

/// Runs a command that must end with `code` and say all of `words` on stderr.
fn fails(desk: &Desk, arguments: &[&str], code: i32, words: &[&str]) {
    let said = desk.davit(arguments);
    assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
    for word in words {
        assert!(said.stderr.contains(word), "{arguments:?}: no {word:?} in {}", said.stderr);
    }
}

/// One that is refused by looking alone: nothing is changed.
fn refused(desk: &Desk, arguments: &[&str], code: i32, words: &[&str]) {
    let before = desk.inventory();
    fails(desk, arguments, code, words);
    assert_eq!(desk.inventory(), before, "{arguments:?}: something was changed");
}

/// One that is refused when it knows what came before: there is no new point.
fn not_committed(desk: &Desk, arguments: &[&str], code: i32, words: &[&str]) {
    let before = files(desk, "manifest.sig");
    fails(desk, arguments, code, words);
    assert_eq!(files(desk, "manifest.sig"), before, "{arguments:?}: there is a new point");
}

fn done(desk: &Desk, arguments: &[&str]) -> Said {
    let said = desk.davit(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}", said.stderr);
    said
}

fn files(desk: &Desk, part: &str) -> Vec<PathBuf> {
    let paths = desk.inventory().into_iter().map(|(path, ..)| path);
    paths.filter(|path| path.display().to_string().contains(part)).collect()
}

fn ours(server: &PgServer) -> String {
    server.psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit%'")
}

/// A backup that reads for ten seconds, and has stored rows already.
fn begun(desk: &Desk, server: &PgServer, more: &[&str]) -> Child {
    let url = server.url("shop");
    let arguments = [&["backup", &url, "--limit-rate", "10MB"][..], more].concat();
    let child = desk.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let reading =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit/worker' AND query LIKE 'COPY%'";
    // A runner that died keeps its lease for its term.
    wait_until(90, "the backup reading rows", || server.psql("postgres", reading) != "0");
    // The definitions are four chunks; what comes after them is rows.
    wait_until(20, "rows being stored", || files(desk, "/chunks/").len() > 4);
    child
}

fn ended(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Said { code: output.status.code().unwrap_or(-1), stdout: String::new(), stderr }
}

#[test]
#[ignore = "needs PostgreSQL servers: make test"]
fn servers_that_let_nobody_in_are_told_apart_with_what_to_do() {
    let server = shop();
    server.psql("postgres", "CREATE ROLE clerk LOGIN PASSWORD 'right'");
    let rules = format!(
        "host all clerk 127.0.0.1/32 scram-sha-256\n{}",
        std::fs::read_to_string(server.data().join("pg_hba.conf")).unwrap()
    );
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    let clerk = server.url("shop").replace("postgres@", "clerk@");
    let desk = Desk::with_repository();
    wait_until(10, "the new rules", || desk.davit(&["backup", &clerk]).code == 2);
    for (url, code, words) in [
        (server.url("shop").replace("postgres://", "mysql://"), 2, &["mysql", "postgres://user@host/database"][..]),
        (clerk.clone(), 2, &["PGPASSFILE"]),
        (clerk.replace("clerk@", "clerk:wrong@"), 2, &["password", "percent-encoded"]),
        (server.url("shopp"), 2, &["shopp", "does not exist"]),
        (server.url("shop").replace("postgres@", "nobody@"), 2, &["nobody", "check the user"]),
        ("postgres://postgres@nowhere.invalid/shop".to_owned(), 2, &["nowhere.invalid"]),
        (
            format!("postgres://postgres@127.0.0.1:{}/shop", support::free_port()),
            4,
            &["refused", "is the server running"],
        ),
    ] {
        refused(&desk, &["backup", &url], code, words);
    }
    // The same person with the right password is let in, and sees nothing; the password is not shown.
    let said = desk.davit(&["backup", &clerk.replace("clerk@", "clerk:right@")]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("no privilege") && !said.stderr.contains("right@"), "{}", said.stderr);
    let newer = PgServer::start_with(18, &[]);
    refused(&desk, &["backup", &newer.url("postgres")], 3, &["version 18", "postgresql-client-18"]);
    desk.write("davit.yaml", &format!("client_tools: [{}]\n", client_dir(18).display()));
    newer.psql("postgres", "CREATE TABLE t AS SELECT 1 AS id");
    done(&desk, &["backup", &newer.url("postgres")]);
}

#[test]
#[ignore = "needs a PostgreSQL server and PgBouncer: make test"]
fn rows_that_would_be_missing_are_named_before_anything_is_read() {
    let server = shop();
    server.psql(
        "shop",
        "CREATE ROLE clerk LOGIN; GRANT SELECT ON customers TO clerk; CREATE ROLE owner LOGIN; CREATE TABLE secret (who text);
         ALTER TABLE secret OWNER TO owner; ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;
         GRANT SELECT ON customers, orders TO owner; CREATE POLICY mine ON secret USING (who = current_user)",
    );
    let desk = Desk::with_repository();
    let as_user = |user: &str| server.url("shop").replace("postgres@", &format!("{user}@"));
    refused(&desk, &["backup", &as_user("clerk")], 3, &["\"public\".\"orders\"", "no privilege", "pg_read_all_data"]);
    refused(&desk, &["backup", &as_user("owner")], 3, &["\"public\".\"secret\"", "row security", "BYPASSRLS"]);
    let pooler = PgBouncer::start(&server, "transaction");
    let direct = format!("127.0.0.1:{}/shop", server.port);
    refused(&desk, &["backup", &pooler.url("shop")], 3, &["pooler", "connect to PostgreSQL itself", &direct]);
    // What a person may not read can be left out, and that is said in the plan, in the manifest and at a restore.
    let leaving = ["--exclude-table", "public.secret", "--exclude-rows", "public.ord*"];
    let owner = as_user("owner");
    let backup = [&["backup", &owner][..], &leaving].concat();
    let before = desk.inventory();
    let plan = done(&desk, &[&backup[..], &["--dry-run"]].concat()).stdout;
    assert_eq!(desk.inventory(), before);
    for line in ["left out on request", "its rows are left out on request", "nothing was changed"] {
        assert!(plan.contains(line), "{plan}");
    }
    done(&desk, &backup);
    let into = server.url("copy");
    let said = done(&desk, &["restore", "shop@latest", "--into", &into, "--create", "--no-owner", "--no-privileges"]);
    let told = format!("{}{}", said.stdout, said.stderr);
    for line in
        ["left out of the backup: \"public\".\"secret\"", "left out of the backup: rows of \"public\".\"orders\""]
    {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(server.psql("copy", "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM customers)"), "0|500");
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn a_source_that_is_nothing_or_something_else_than_before_is_refused() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    let tables = "CREATE TABLE a AS SELECT 1 AS id; CREATE TABLE b AS SELECT 2 AS id";
    server.psql("shop", tables);
    let url = server.url("shop");
    let desk = Desk::with_repository();
    desk.write("davit.yaml", "jobs: 2\n");
    refused(&desk, &["backup", "shop"], 2, &["no such source"]);
    settings(&desk, &url, "    databases: []\n");
    refused(&desk, &["backup", "shop"], 2, &["the list of databases is empty"]);
    settings(&desk, &url, "    databases: [shop, shopp]\n");
    refused(&desk, &["backup", "shop"], 2, &["shopp"]);
    settings(&desk, &url, "    databases: [postgres, shop]\n");
    let (_, both) = desk.json(&["backup", "shop"]);
    assert_eq!(both["databases"], serde_json::json!(["postgres", "shop"]));
    for engine in ["parallel", "stream"] {
        settings(&desk, &url, &format!("    engine: {engine}\n"));
        not_committed(&desk, &["backup", "shop"], 3, &["--rebind"]);
        done(&desk, &["backup", "shop", "--rebind"]);
        server.psql("shop", "DROP TABLE a, b");
        let lost = ["its last point has 2 tables, and now there is none", "--allow-empty"];
        not_committed(&desk, &["backup", "shop"], 3, &lost);
        done(&desk, &["backup", "shop", "--allow-empty"]);
        server.psql("shop", tables);
        settings(&desk, &url, "    databases: all\n");
        let (code, all) = desk.json(&["backup", "shop", "--rebind"]);
        assert_eq!((code, &all["databases"]), (0, &serde_json::json!(["postgres", "shop"])), "{all:#}");
    }
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn a_backup_ended_by_any_signal_leaves_no_query_and_no_point_and_its_chunks_are_used() {
    let mut server = shop();
    let mut desk = Desk::with_repository();
    desk.set("DAVIT_LEASE_TERM", "10s");
    for signal in ["-INT", "-TERM", "-KILL"] {
        let child = begun(&desk, &server, &[]);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let said = ended(child);
        assert_eq!(said.code, if signal == "-KILL" { -1 } else { 4 }, "{signal}: {}", said.stderr);
        wait_until(10, "our connections and queries being gone", || ours(&server) == "0");
        assert_eq!(files(&desk, "manifest.sig"), [] as [PathBuf; 0], "{signal}");
    }
    let stored = files(&desk, "/chunks/").len();
    let mut child = begun(&desk, &server, &[]);
    server.stop();
    wait_until(20, "the backup ending with its server", || child.try_wait().unwrap().is_some());
    let said = ended(child);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(said.stderr.contains("error: ") && said.stderr.contains("hint: "), "{}", said.stderr);
    assert_eq!(files(&desk, "manifest.sig"), [] as [PathBuf; 0]);
    server.launch(&[]);
    let (code, made) = desk.json(&["backup", &server.url("shop")]);
    let number = |name: &str| made[name].as_u64().unwrap();
    assert_eq!((code, number("rows")), (0, 400_500), "{made:#}");
    assert!(number("chunks") - number("chunks_new") >= 2, "of {stored} chunks none was used again: {made:#}");
    done(&desk, &["verify", "shop@latest", "--depth", "stored"]);
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn every_budget_and_rate_of_a_backup_holds() {
    let server = shop();
    let url = server.url("shop");
    let desk = Desk::with_repository();
    // Whoever waits behind our locks goes on, and its query is named.
    let child = begun(&desk, &server, &["--lock-budget", "1s"]);
    let altered = server.psql_command("shop").args(["-c", "ALTER TABLE orders ADD COLUMN more int"]).status().unwrap();
    let said = ended(child);
    assert!(altered.success());
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(
        said.stderr.contains("giving way") && said.stderr.contains("ALTER TABLE orders ADD COLUMN more int"),
        "{}",
        said.stderr
    );
    let said = desk.davit(&["backup", &url, "--limit-rate", "10MB", "--snapshot-budget", "1s"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(said.stderr.contains("the budget is 1 s") && said.stderr.contains("hint: "), "{}", said.stderr);
    desk.write("davit.yaml", "xmin_age_budget: 20\n");
    let child = begun(&desk, &server, &[]);
    server.psql("shop", "DO $$ BEGIN FOR i IN 1..30 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
    let said = ended(child);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(
        said.stderr.contains("transactions old: the budget is 20") && said.stderr.contains("vacuum"),
        "{}",
        said.stderr
    );
    assert_eq!(files(&desk, "manifest.sig"), [] as [PathBuf; 0]);
    desk.write("davit.yaml", "");
    let start = Instant::now();
    let (code, made) = desk.json(&["backup", &url, "--limit-rate", "30MB", "--jobs", "3", "--tier", "monthly"]);
    let (took, bytes) = (start.elapsed(), made["bytes_read"].as_u64().unwrap());
    assert_eq!((code, made["jobs"].as_u64()), (0, Some(3)), "{made:#}");
    assert!(bytes > 100_000_000 && took > Duration::from_millis(bytes / 35_000), "{bytes} bytes in {took:?}");
    let (_, points) = desk.json(&["points"]);
    assert_eq!(points["points"][0]["tier"], "monthly", "{points:#}");
    // The same bound holds for what comes from the store, by the settings as by the flag.
    desk.write("davit.yaml", "limit_rate: 2MB/s\n");
    let start = Instant::now();
    done(&desk, &["verify", "shop@latest", "--depth", "stored"]);
    let (took, stored) = (start.elapsed(), made["bytes_stored"].as_u64().unwrap());
    assert!(took > Duration::from_millis(stored / 3_000), "{stored} bytes in {took:?}");
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn a_table_that_was_just_filled_is_announced_with_its_size_and_one_that_somebody_holds_is_not_waited_for() {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    for table in ["fresh", "held"] {
        server.psql("shop", &format!("CREATE TABLE {table} (t text) WITH (autovacuum_enabled = off)"));
        server.psql("shop", &format!("INSERT INTO {table} SELECT repeat('x', 1000) FROM generate_series(1, 70000)"));
    }
    let waits = "BEGIN; LOCK TABLE held; SELECT pg_sleep(600)";
    let mut holder = server.psql_command("shop").args(["-c", waits]).spawn().unwrap();
    let holds =
        "SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass AND mode = 'AccessExclusiveLock' AND granted";
    wait_until(20, "the lock", || server.psql("shop", holds) == "1");
    let desk = Desk::with_repository();
    let (code, plan) = desk.json(&["backup", &server.url("shop"), "--dry-run"]);
    assert_eq!(code, 0, "{plan:#}");
    let tables = plan["databases"][0]["tables"].as_array().unwrap();
    let of = |name: &str| tables.iter().find(|table| table["table"].as_str().unwrap().contains(name)).unwrap();
    assert_eq!(of("fresh")["bytes_estimate"], 70_000 / 7 * 8192, "seven rows of a kilobyte fit a page: {plan:#}");
    assert!(of("fresh")["ranges"].as_u64().unwrap() > 1, "{plan:#}");
    assert_eq!(of("held")["bytes_estimate"], 0, "{plan:#}");
    holder.kill().unwrap();
    holder.wait().unwrap();
}
