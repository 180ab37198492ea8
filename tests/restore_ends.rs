//! How a restore ends that does not end well: stopped, cut off or killed. The target's name is never touched, nothing
//! goes on at the server, and what could not be undone is told by the next run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test measures how long an ending takes")]

mod cli_support;
mod support;

use cli_support::{Desk, Said};
use std::process::{Child, Command, Stdio};
use support::postgres::PgServer;
use support::wait_until;

/// A shop in which every order, and every line of a view, takes as long as the setting `shop.pace` says.
const SHOP: &str = "
    CREATE FUNCTION pace() RETURNS boolean LANGUAGE sql VOLATILE
        AS $$SELECT pg_sleep(coalesce(nullif(current_setting('shop.pace', true), ''), '0')::float8) IS NOT NULL$$;
    CREATE TABLE customers (id serial PRIMARY KEY, name text);
    INSERT INTO customers (name) SELECT md5(n::text) FROM generate_series(1, 100) n;
    CREATE TABLE orders (id serial PRIMARY KEY, body text, CHECK (pace()));
    INSERT INTO orders (body) SELECT md5(n::text) FROM generate_series(1, 300) n;
    ALTER TABLE orders OWNER TO shop_owner;";

struct World {
    server: PgServer,
    desk: Desk,
}

impl World {
    fn new() -> Self {
        let server = PgServer::start();
        server.psql("postgres", "CREATE ROLE shop_owner LOGIN CONNECTION LIMIT 5");
        server.psql("postgres", "CREATE ROLE shop_reader IN ROLE shop_owner");
        server.psql("postgres", "CREATE DATABASE shop");
        server.psql("shop", SHOP);
        let desk = Desk::with_repository();
        let world = Self { server, desk };
        world.back_up();
        world
    }

    fn back_up(&self) {
        let said = self.desk.davit(&["backup", &self.server.url("shop")]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }

    /// Begins a restore that takes half a minute, and waits until the server works on a statement like this.
    fn begin(&self, server: &PgServer, database: &str, more: &[&str], like: &str) -> Running {
        server.psql("postgres", "ALTER ROLE postgres SET shop.pace = '0.1'");
        let url = server.url(database);
        let all = [&["restore", "shop@latest", "--into", &url][..], more].concat();
        let child = self.desk.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until(30, like, || sessions(server, like) != "0");
        server.psql("postgres", "ALTER ROLE postgres RESET shop.pace");
        Running { child }
    }

    /// Runs a restore to its end.
    fn restore(&self, server: &PgServer, database: &str, more: &[&str]) -> Said {
        let url = server.url(database);
        self.desk.davit(&[&["restore", "shop@latest", "--into", &url], more].concat())
    }
}

struct Running {
    child: Child,
}

/// Sessions of a restore that run a statement like this.
fn sessions(server: &PgServer, like: &str) -> String {
    server.psql(
        "postgres",
        &format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit%' AND query LIKE '{like}'"),
    )
}

impl Running {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(self) -> Said {
        let output = self.child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Said { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Ends it by a signal; afterwards nothing of it runs at the server.
    fn ended_by(self, server: &PgServer, signal: &str) -> Said {
        self.signal(signal);
        let began = std::time::Instant::now();
        let said = self.end();
        assert!(began.elapsed().as_secs() < 60, "it took {:?}", began.elapsed());
        if signal == "-KILL" {
            // The server goes on with what it was sent, until it looks for more.
            let orphans = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'davit%'";
            server.psql("postgres", orphans);
        }
        wait_until(10, "no session of it being left", || sessions(server, "%") == "0");
        said
    }
}

fn databases(server: &PgServer) -> String {
    server.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate")
}

fn notes(server: &PgServer, database: &str) -> String {
    server.psql(database, "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'davit%'")
}

#[test]
#[ignore = "needs PostgreSQL servers: make test"]
fn however_a_restore_ends_the_target_is_what_it_was_or_the_next_run_says_what_is_left() {
    let mut world = World::new();
    world.server.psql("postgres", "CREATE DATABASE live");
    world.server.psql("live", "CREATE TABLE old AS SELECT 1 AS x");
    let function = SHOP.split_once(';').unwrap().0;
    world.server.psql("live", function);
    stopped(&world);
    killed(&world);
    killed_in_place(&world);
    killed_with_globals(&world);
    stopped_while_the_server_works(&world);
    cut_off(&mut world);
}

/// Ctrl-C and SIGTERM, while rows come.
fn stopped(world: &World) {
    let server = &world.server;
    let before = databases(server);
    for (signal, database, more) in [
        ("-TERM", "fresh", &["--create"][..]),
        ("-INT", "live", &["--replace", "live"]),
        ("-TERM", "live", &["--table", "orders"]),
    ] {
        let running = world.begin(server, database, more, "COPY%");
        // The old database serves until the end, and nobody has anything of it yet.
        assert_eq!(server.psql("live", "SELECT x FROM old"), "1");
        let said = running.ended_by(server, signal);
        assert_eq!(said.code, 4, "{more:?}: {}", said.stderr);
        assert!(said.stderr.contains("the run was stopped"), "{}", said.stderr);
        assert_eq!(databases(server), before, "{more:?}");
    }
    assert_eq!(server.psql("live", "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "1");
    assert_eq!(notes(server, "live"), "");
}

/// Killed while rows come: the half-filled database stays, under a name of its own, until the next run.
fn killed(world: &World) {
    let server = &world.server;
    let before = databases(server);
    let said = world.begin(server, "live", &["--replace", "live"], "COPY%").ended_by(server, "-KILL");
    assert_eq!(said.code, -1);
    assert_eq!(server.psql("live", "SELECT x FROM old"), "1");
    assert!(databases(server).contains("live_davit_"), "{}", databases(server));
    // One that is alive is not taken for a leftover.
    let running = world.begin(server, "live", &["--replace", "live"], "COPY%");
    let said = world.restore(server, "live", &["--replace", "live", "--table", "customers"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(databases(server).contains("live_davit_"), "{}", databases(server));
    let stopped = running.ended_by(server, "-TERM");
    assert!(stopped.stderr.contains("dropped live_davit_"), "{}", stopped.stderr);
    let kept = server.psql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'live_was_%'");
    server.psql("postgres", "DROP DATABASE live");
    server.psql("postgres", &format!("ALTER DATABASE {kept} RENAME TO live"));
    assert_eq!(databases(server), before);
}

/// Killed in a database that stays: a note says what was begun.
fn killed_in_place(world: &World) {
    let server = &world.server;
    world.begin(server, "live", &["--table", "orders"], "COPY%").ended_by(server, "-KILL");
    let note = notes(server, "live");
    assert!(note.starts_with("davit_restore_"), "{note}");
    let again = world.restore(server, "live", &["--table", "orders"]);
    assert_eq!(again.code, 3, "{}", again.stderr);
    for word in [
        "public.orders is in database live already",
        "was killed, and it left public.orders",
        &format!("DROP SCHEMA \"{note}\""),
    ] {
        assert!(again.stderr.contains(word), "{word}: {}", again.stderr);
    }
    // Other tables may come; the note stays, and is told.
    let other = world.restore(server, "live", &["--table", "customers"]);
    assert!(other.code == 0 && other.stderr.contains("was killed, and it left public.orders"), "{}", other.stderr);
    assert_eq!(notes(server, "live"), note);
    // While one works there, another one is told to wait.
    server.psql("live", "DROP TABLE orders");
    let running = world.begin(server, "live", &["--table", "orders"], "COPY%");
    let refused = world.restore(server, "live", &["--table", "orders"]);
    assert!(refused.code == 3 && refused.stderr.contains("is under way"), "{}", refused.stderr);
    assert_eq!(running.ended_by(server, "-TERM").code, 4);
    let whole = world.restore(server, "live", &["--table", "orders"]);
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    assert_eq!(notes(server, "live"), "", "what the dead run left is gone, so its note is");
    // Rows only, by one writer: its transaction went with it, so the next run just goes on.
    server.psql("live", "TRUNCATE orders");
    let rows = ["--data-only", "--table", "orders", "--jobs", "1"];
    world.begin(server, "live", &rows, "COPY%").ended_by(server, "-KILL");
    assert!(notes(server, "live").starts_with("davit_restore_"));
    server.psql("live", "INSERT INTO orders (body) VALUES ('ours')");
    let full = world.restore(server, "live", &rows);
    assert!(full.code == 3 && full.stderr.contains("rows may be left in public.orders"), "{}", full.stderr);
    assert_eq!(server.psql("live", "SELECT count(*) FROM orders"), "1", "nobody's rows are taken away");
    server.psql("live", "TRUNCATE orders");
    let said = world.restore(server, "live", &rows);
    assert!(said.code == 0 && notes(server, "live").is_empty(), "{}", said.stderr);
    server.psql("live", "DROP TABLE orders, customers");
}

/// Killed after roles were made: they are whole, and the next run says where they came from.
fn killed_with_globals(world: &World) {
    let there = PgServer::start();
    let more = ["--create", "--with-globals"];
    world.begin(&there, "shop", &more, "COPY%").ended_by(&there, "-KILL");
    let roles = "SELECT rolconnlimit, pg_has_role('shop_reader', 'shop_owner', 'MEMBER') FROM pg_roles WHERE rolname = 'shop_owner'";
    assert_eq!(there.psql("postgres", roles), "5|t");
    let said = world.restore(&there, "shop", &more);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(
        said.stdout.contains("role shop_owner, role shop_reader came with an earlier restore, which was killed"),
        "{}",
        said.stdout
    );
    assert_eq!(databases(&there), "postgres shop");
    // Stopped instead of killed, they go again.
    there.psql("postgres", "DROP DATABASE shop");
    there.psql("postgres", "DROP ROLE shop_owner, shop_reader");
    let stopped = world.begin(&there, "shop", &more, "COPY%").ended_by(&there, "-TERM");
    assert_eq!(stopped.code, 4, "{}", stopped.stderr);
    assert_eq!(there.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'shop%'"), "0");
}

/// Stopped while the server is busy with a statement of a minute.
fn stopped_while_the_server_works(world: &World) {
    let server = &world.server;
    server
        .psql("shop", "TRUNCATE orders; CREATE MATERIALIZED VIEW pause AS SELECT pace() FROM generate_series(1, 300)");
    world.back_up();
    let before = databases(server);
    let busy = world.begin(server, "fresh", &["--create"], "REFRESH%");
    assert_eq!(busy.ended_by(server, "-TERM").code, 4);
    // A connection that is lost is a failure, and the rest is undone.
    let cut = world.begin(server, "fresh", &["--create"], "REFRESH%");
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'REFRESH%'");
    let said = cut.end();
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert_eq!(databases(server), before);
}

/// The server dies: what is left cannot be undone now, and that is said; the next run does it.
fn cut_off(world: &mut World) {
    let running = world.begin(&world.server, "fresh", &["--create"], "REFRESH%");
    let Running { child, .. } = running;
    world.server.stop();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("fresh_davit_") && stderr.contains("DROP DATABASE"), "{stderr}");
    world.server.launch(&[]);
    assert!(databases(&world.server).contains("fresh_davit_"));
    let said = world.restore(&world.server, "fresh", &["--create", "--table", "customers"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("dropped fresh_davit_"), "{}", said.stderr);
    assert!(!databases(&world.server).contains("fresh_davit_"));
}
