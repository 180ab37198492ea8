//! Foreign keys of a large table are made before its rows come and looked at when these are in: what holds comes back as
//! a key that holds, and what does not is no success.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod restore_support;
mod support;

use davit::backup::restore::{self, Existing, Means, Proof, RestoreReport, Wanted};
use davit::error::{Error, Kind};
use restore_support::{back_up, conn};
use std::io::Write;
use support::postgres::PgServer;

/// 70 MB of orders, which is large, and a few customers in words of another collation.
const SHOP: &str = "
    CREATE DATABASE shop;
    \\connect shop
    CREATE TABLE customers (name text COLLATE \"C\" PRIMARY KEY);
    CREATE TABLE kinds (a integer, b integer, PRIMARY KEY (a, b));
    INSERT INTO customers SELECT 'customer ' || i FROM generate_series(1, 100) i;
    INSERT INTO kinds SELECT i, i FROM generate_series(1, 10) i;
    CREATE TABLE orders (
        id bigint PRIMARY KEY, customer text COLLATE \"POSIX\" REFERENCES customers DEFERRABLE INITIALLY DEFERRED,
        a integer, b integer, earlier bigint REFERENCES orders, note text NOT NULL,
        CONSTRAINT of_a_kind FOREIGN KEY (a, b) REFERENCES kinds ON DELETE CASCADE
    );
    INSERT INTO orders SELECT i, 'customer ' || 1 + i % 100, CASE WHEN i % 3 = 0 THEN 1 + i % 10 END, 1 + i % 10,
        NULLIF(i / 2, 0), repeat(md5(i::text), 60) FROM generate_series(1, 36000) i;";

fn shop() -> PgServer {
    let server = PgServer::start();
    let mut psql = server.psql_command("postgres").stdin(std::process::Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(SHOP.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
    server
}

async fn restore(means: &Means, server: &PgServer, name: &str) -> Result<RestoreReport, Error> {
    let wanted = Wanted { existing: Existing::Create, proof: Proof::ReadBack, ..Wanted::default() };
    let plan = restore::plan(means, &"shop@latest".parse().unwrap(), &conn(server, name), wanted).await.unwrap();
    restore::run(means, plan).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn the_keys_of_a_large_table_hold_when_it_is_back_and_one_that_does_not_is_no_success() {
    let server = shop();
    let made = back_up(&server, "shop").await;
    let report = restore(&made.means(2), &server, "again").await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((report.tables, report.rows), (3, 36_110));
    let keys =
        "SELECT conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1";
    assert_eq!(server.psql("again", keys), server.psql("shop", keys));
    // They act on what comes after, in every session.
    for row in ["'nobody', NULL, NULL", "NULL, 77, 77"] {
        let sql = format!("INSERT INTO orders (customer, a, b, id, note) VALUES ({row}, 0, '')");
        let output = server.psql_command("again").args(["-c", &sql]).output().unwrap();
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("foreign key"), "{row}");
    }

    // A row that refers to nobody, as a superuser can make it.
    server.psql("shop", "SET session_replication_role = replica; UPDATE orders SET b = 77 WHERE id = 30000");
    let made = back_up(&server, "shop").await;
    let error = restore(&made.means(2), &server, "broken").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("foreign key of_a_kind of public.orders does not hold"), "{error}");
    let left = server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'broken%'");
    assert_eq!(left.trim(), "0", "the half restored database is still there");
}
