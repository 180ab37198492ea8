//! Foreign keys of a large table are made before its rows come and looked at when these are in: what holds comes back as
//! a key that holds, and what does not is no success.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod restore_support;
mod support;

use cli_support::Desk;
use davit::backup::restore::{self, Existing, Means, Proof, RestoreReport, Wanted};
use davit::error::{Error, Kind};
use restore_support::{back_up, conn};
use std::io::Write;
use support::postgres::{PgServer, client_dir};

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

/// Keys of every other shape: of partitions and to them, their own and their parent's, to themselves, over columns of other
/// types, and one that PostgreSQL has not looked at and must not be made to hold.
const CHAIN: &str = "
    CREATE DATABASE shop;
    \\connect shop
    CREATE DOMAIN shop_number AS integer;
    CREATE TABLE shops (id bigint PRIMARY KEY);
    CREATE TABLE kinds (name text PRIMARY KEY);
    INSERT INTO shops SELECT generate_series(1, 50);
    INSERT INTO kinds SELECT 'kind ' || i FROM generate_series(1, 10) i;
    CREATE TABLE sales (
        day date, id bigint, shop shop_number REFERENCES shops, kind varchar(20), earlier_day date, earlier bigint,
        note text NOT NULL, PRIMARY KEY (day, id), FOREIGN KEY (earlier_day, earlier) REFERENCES sales
    ) PARTITION BY RANGE (day);
    CREATE TABLE sales_2025 PARTITION OF sales FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE sales_2026 PARTITION OF sales FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY RANGE (day);
    CREATE TABLE sales_2026_rest PARTITION OF sales_2026 DEFAULT;
    CREATE TABLE refunds (day date, sale bigint, FOREIGN KEY (day, sale) REFERENCES sales);
    CREATE TABLE log (id bigint PRIMARY KEY, shop bigint, note text NOT NULL);
    INSERT INTO sales SELECT '2025-01-01'::date + i % 365, i, 1 + i % 50, 'kind ' || 1 + i % 10,
        CASE WHEN i > 365 THEN '2025-01-01'::date + i % 365 END, CASE WHEN i > 365 THEN i - 365 END, repeat(md5(i::text), 60)
        FROM generate_series(1, 36000) i;
    INSERT INTO sales SELECT '2026-01-01'::date + i, i, 1 + i % 50, 'kind 1', '2025-01-02', 1, 'x' FROM generate_series(0, 300) i;
    INSERT INTO refunds SELECT day, id FROM sales WHERE id % 100 = 0;
    INSERT INTO log SELECT i, 1 + i % 60, repeat(md5(i::text), 60) FROM generate_series(1, 36000) i;
    ALTER TABLE sales_2025 ADD CONSTRAINT of_a_kind FOREIGN KEY (kind) REFERENCES kinds;
    ALTER TABLE log ADD CONSTRAINT not_looked_at FOREIGN KEY (shop) REFERENCES shops NOT VALID;";

fn server_with(sql: &str) -> PgServer {
    let server = PgServer::start();
    let mut psql = server.psql_command("postgres").stdin(std::process::Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
    server
}

const KEYS: &str = "SELECT conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint \
                    WHERE contype = 'f' ORDER BY conrelid::regclass::text, conname";

async fn restore(means: &Means, server: &PgServer, name: &str) -> Result<RestoreReport, Error> {
    let wanted = Wanted { existing: Existing::Create, proof: Proof::ReadBack, ..Wanted::default() };
    let plan = restore::plan(means, &"shop@latest".parse().unwrap(), &conn(server, name), wanted).await.unwrap();
    restore::run(means, plan).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn the_keys_of_a_large_table_hold_when_it_is_back_and_one_that_does_not_is_no_success() {
    let server = server_with(SHOP);
    let made = back_up(&server, "shop").await;
    let report = restore(&made.means(2), &server, "again").await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((report.tables, report.rows), (3, 36_110));
    assert_eq!(server.psql("again", KEYS), server.psql("shop", KEYS));
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn keys_of_partitions_to_partitions_and_not_looked_at_come_back_as_they_were() {
    let server = server_with(CHAIN);
    let made = back_up(&server, "shop").await;
    let report = restore(&made.means(2), &server, "again").await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(report.rows, 50 + 10 + 36_000 + 301 + 364 + 36_000);
    assert_eq!(server.psql("again", KEYS), server.psql("shop", KEYS));
    // One row that breaks a key, in a large partition that is loaded while nothing looks: its own key, its parent's, and
    // its parent's to the parent itself.
    for (number, (change, key)) in (0..).zip([
        ("UPDATE sales_2025 SET kind = 'none'", "of_a_kind"),
        ("UPDATE sales_2025 SET shop = 77", "sales_shop_fkey"),
        ("UPDATE sales_2025 SET earlier = 36001", "sales_earlier_day_earlier_fkey"),
    ]) {
        let (copy, broken) = (format!("copy_{number}"), format!("broken_{number}"));
        server.psql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE shop"));
        server.psql(&copy, &format!("SET session_replication_role = replica; {change} WHERE id = 30000"));
        let made = back_up(&server, &copy).await;
        let wanted = Wanted { existing: Existing::Create, proof: Proof::ReadBack, ..Wanted::default() };
        let point = format!("{copy}@latest").parse().unwrap();
        let plan = restore::plan(&made.means(2), &point, &conn(&server, &broken), wanted).await.unwrap();
        let error = restore::run(&made.means(2), plan).await.unwrap_err();
        assert!(error.to_string().contains(key), "{change}: {error}");
        let left = format!("SELECT count(*) FROM pg_database WHERE datname LIKE '{broken}%'");
        assert_eq!(server.psql("postgres", &left), "0", "{change}");
    }
}

/// What PostgreSQL 18 has in keys: over periods, and written down without being enforced.
const PERIODS: &str = "
    CREATE TABLE rooms (room int4range, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS));
    CREATE TABLE stays (room int4range, during daterange, FOREIGN KEY (room, PERIOD during) REFERENCES rooms (room, PERIOD during));
    CREATE TABLE guests (id bigint PRIMARY KEY);
    CREATE TABLE log (id bigint PRIMARY KEY, guest bigint REFERENCES guests NOT ENFORCED, note text NOT NULL);
    INSERT INTO rooms VALUES ('[1,2)', '[2025-01-01,2025-02-01)'), ('[1,2)', '[2025-02-01,2025-03-01)');
    INSERT INTO stays VALUES ('[1,2)', '[2025-01-15,2025-02-15)');
    INSERT INTO log SELECT i, i, repeat(md5(i::text), 60) FROM generate_series(1, 36000) i";

#[test]
#[ignore = "needs PostgreSQL 18: make test"]
fn keys_over_periods_are_looked_at_as_such_and_those_that_are_not_enforced_are_not_looked_at() {
    let server = PgServer::start_with(18, &[]);
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", PERIODS);
    let desk = Desk::with_repository();
    desk.write("davit.yaml", &format!("client_tools: [{}]\n", client_dir(18).display()));
    let done = |arguments: &[&str]| {
        let said = desk.davit(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.stderr);
    };
    done(&["backup", &server.url("shop")]);
    done(&["restore", "shop@latest", "--into", &server.url("whole"), "--create"]);
    assert_eq!(server.psql("whole", KEYS), server.psql("shop", KEYS));
    let rows = ["restore", "shop@latest", "--data-only", "--into"];
    for name in ["rows", "broken"] {
        done(&["restore", "shop@latest", "--into", &server.url(name), "--create", "--schema-only"]);
    }
    done(&[&rows[..], &[&server.url("rows")]].concat());
    // One that stays longer than there is a room: it meets one, and is not covered.
    let longer =
        "SET session_replication_role = replica; INSERT INTO stays VALUES ('[1,2)', '[2025-02-15,2025-04-01)')";
    server.psql("shop", longer);
    done(&["backup", &server.url("shop")]);
    let said = desk.davit(&[&rows[..], &[&server.url("broken")]].concat());
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(
        said.stderr.contains("foreign key stays_room_during_fkey of public.stays does not hold"),
        "{}",
        said.stderr
    );
}
