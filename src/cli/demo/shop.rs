//! The demo's shop: three tables, and customers who buy until they are told to stop.

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::postgres::{ConnInfo, connect};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const SCHEMA: &str = "
    CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE);
    CREATE TABLE products (id integer PRIMARY KEY, title text NOT NULL, price numeric(10, 2) NOT NULL CHECK (price > 0));
    CREATE TABLE orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer_id integer NOT NULL REFERENCES customers, product_id integer NOT NULL REFERENCES products,
        bought_at timestamptz NOT NULL DEFAULT clock_timestamp(), note text);
    CREATE INDEX orders_by_customer ON orders (customer_id, bought_at);
    CREATE VIEW best_sellers AS SELECT title, count(*) AS sold FROM orders JOIN products ON products.id = product_id GROUP BY title;
    INSERT INTO customers SELECT i, 'customer ' || i, 'customer' || i || '@example.com' FROM generate_series(1, 20000) i;
    INSERT INTO products SELECT i, 'product ' || i, 1 + (i * 37 % 5000) / 100.0 FROM generate_series(1, 2000) i;
    INSERT INTO orders (customer_id, product_id, note)
        SELECT 1 + (i * 79) % 20000, 1 + (i * 47) % 2000, md5(i::text) || ' ordered in the web shop'
        FROM generate_series(1, 400000) i";

/// Between two purchases of one customer.
const PAUSE: Duration = Duration::from_millis(5);

/// How long to wait for the customers before something must be wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open shop.
pub(super) struct Shop {
    conn: ConnInfo,
    clock: SharedClock,
    bought: Arc<AtomicU64>,
    customers: JoinSet<Error>,
}

/// What the disaster took.
pub(super) struct Lost {
    /// Orders that were in the table.
    pub(super) orders: u64,
    /// What a customer was told.
    pub(super) error: String,
}

impl Shop {
    /// Makes the database and lets customers in.
    pub(super) async fn open(server: &ConnInfo, clock: SharedClock) -> Result<Self> {
        let first = connect(server, "demo").await?;
        first.execute("making the shop's database", "CREATE DATABASE shop").await?;
        first.close().await;
        let conn = server.with_database("shop");
        let session = connect(&conn, "demo").await?;
        session.execute("filling the shop", SCHEMA).await?;
        session.execute("filling the shop", "ANALYZE").await?;
        session.close().await;
        let mut shop = Self { conn, clock, bought: Arc::default(), customers: JoinSet::new() };
        for customer in [1, 2] {
            let (conn, clock, bought) = (shop.conn.clone(), Arc::clone(&shop.clock), Arc::clone(&shop.bought));
            shop.customers.spawn(async move { buy(customer, &conn, &clock, &bought).await });
        }
        Ok(shop)
    }

    /// Waits until so many more orders have been acknowledged.
    pub(super) async fn wait_for_orders(&self, more: u64) -> Result<()> {
        let goal = self.bought.load(Ordering::SeqCst) + more;
        let start = self.clock.monotonic();
        while self.bought.load(Ordering::SeqCst) < goal {
            if self.clock.monotonic().saturating_sub(start) > PATIENCE {
                return Err(Error::failed("waiting for the demo's customers: they stopped buying"));
            }
            self.clock.sleep(PAUSE).await;
        }
        Ok(())
    }

    /// How many orders there are.
    pub(super) async fn count_orders(&self) -> Result<u64> {
        let session = connect(&self.conn, "demo").await?;
        let row = session.row("counting orders", "SELECT count(*) FROM orders", &[]).await?;
        session.close().await;
        let orders: i64 = row.get(0);
        Ok(u64::try_from(orders).unwrap_or_default())
    }

    /// Drops the table; the customers then fail, and leave.
    pub(super) async fn drop_orders(&mut self) -> Result<Lost> {
        let session = connect(&self.conn, "demo").await?;
        // Nobody buys between the count and the drop.
        session.execute("closing the shop", "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await?;
        let row = session.row("counting orders", "SELECT count(*) FROM orders", &[]).await?;
        let orders: i64 = row.get(0);
        session.execute("dropping the orders", "DROP TABLE orders CASCADE; COMMIT").await?;
        session.close().await;
        let mut error = String::new();
        while let Some(ended) = self.customers.join_next().await {
            if let Ok(told) = ended {
                error = told.to_string();
            }
        }
        Ok(Lost { orders: u64::try_from(orders).unwrap_or_default(), error })
    }
}

/// Buys until it fails; gives what the customer was told.
async fn buy(customer: i32, conn: &ConnInfo, clock: &SharedClock, bought: &AtomicU64) -> Error {
    let session = match connect(conn, "demo customer").await {
        Ok(session) => session,
        Err(error) => return error,
    };
    let buy = format!(
        "INSERT INTO orders (customer_id, product_id, note) VALUES ({customer}, 1 + floor(random() * 2000)::integer, 'bought during the demo')"
    );
    loop {
        if let Err(error) = session.execute("buying", &buy).await {
            return error;
        }
        bought.fetch_add(1, Ordering::SeqCst);
        clock.sleep(PAUSE).await;
    }
}
