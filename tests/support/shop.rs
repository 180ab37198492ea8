//! A small shop: what tests of commands back up, change and compare.

use super::postgres::PgServer;

/// A server with the shop in the database `shop`.
pub fn open() -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
         CREATE TABLE orders (id bigint PRIMARY KEY, customer int REFERENCES customers, body text);
         INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 100) i;
         INSERT INTO orders SELECT i, 1 + i % 100, repeat(md5(i::text), 20) FROM generate_series(1, 4000) i",
    );
    server
}

/// Changes some rows, so that the next backup has something to store.
pub fn trade(server: &PgServer, day: u32) {
    server.psql("shop", &format!("UPDATE orders SET body = body || ' day {day}' WHERE id % 40 = {}", day % 40));
}

/// A digest of all rows, by PostgreSQL alone.
pub fn digest(server: &PgServer, database: &str) -> String {
    let sql = "SELECT md5(string_agg(rows, '|' ORDER BY rows)) FROM
        (SELECT 'order ' || o AS rows FROM orders o UNION ALL SELECT 'customer ' || c FROM customers c) everything";
    server.psql(database, sql)
}
