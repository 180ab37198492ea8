//! A database with one of everything is restored and is the same.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod backup_support;
mod restore_support;
mod support;

use backup_support::{backup, repository, request};
use davit::backup::facts::Engine;
use davit::backup::restore::{self, Existing, Means, Proof, Wanted};
use davit::backup::take::{Databases, EngineChoice};
use davit::backup::verify;
use davit::repository::{Depth, Repository};
use restore_support::{Made, back_up, conn, make_zoo, zoo_server};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::postgres::{PgServer, bin_dir, client_dir};

/// Lines of stock `pg_dump` or `pg_dumpall`, without what differs from call to call.
fn lines(program: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned).collect()
}

/// Definitions in their order and rows in any.
type Dump = (Vec<String>, Vec<String>);

/// A database as stock `pg_dump` sees it.
fn dump(server: &PgServer, client: u32, database: &str) -> Dump {
    let arguments = ["--inserts", "--rows-per-insert=1", "--create", "-d", &server.url(database)];
    let lines = lines(&client_dir(client).join("pg_dump"), &arguments);
    let lines = lines.into_iter().map(|line| line.replace(database, "DATABASE"));
    let (mut rows, definitions): (Vec<String>, Vec<String>) = lines.partition(|line| line.starts_with("INSERT "));
    rows.sort();
    (definitions, rows)
}

fn assert_equal(left: &[String], right: &[String]) {
    for (number, pair) in left.iter().zip(right).enumerate() {
        assert_eq!(pair.0, pair.1, "line {}", number + 1);
    }
    assert_eq!(left.len(), right.len());
}

fn assert_same(one: &Dump, other: &Dump) {
    assert!(one.1.len() > 3, "there is nothing to compare");
    assert_equal(&one.0, &other.0);
    assert_equal(&one.1, &other.1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server: make test"]
async fn everything_a_database_can_hold_comes_back() {
    let server = zoo_server();
    for sql in [
        "ALTER DATABASE menagerie SET work_mem = '7MB'",
        "GRANT CONNECT ON DATABASE menagerie TO zoo_reader",
        "COMMENT ON DATABASE menagerie IS 'animals'",
        "ALTER DATABASE menagerie OWNER TO zoo_owner",
        "ALTER ROLE zoo_reader IN DATABASE menagerie SET jit = off",
        "ALTER DATABASE menagerie CONNECTION LIMIT 17",
    ] {
        server.psql("postgres", sql);
    }
    let made = back_up(&server, "menagerie").await;
    for (jobs, proof) in [(1, Proof::Sent), (4, Proof::ReadBack)] {
        let means = made.means(jobs);
        let name = format!("again{jobs}");
        let wanted = Wanted { existing: Existing::Create, proof, ..Wanted::default() };
        let plan =
            restore::plan(&means, &"menagerie@latest".parse().unwrap(), &conn(&server, &name), wanted).await.unwrap();
        let report = restore::run(&means, plan).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((report.verified, report.lost.len()), (proof, 0));
        assert_same(&dump(&server, 15, "menagerie"), &dump(&server, 15, &name));
    }
}

/// Builds the label provider where the server's account may read it.
fn label_provider(directory: &Path) -> String {
    let library = directory.join("label_provider.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/label_provider.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library.display().to_string()
}

/// A directory that the server's account may look into.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("davit-test-open").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// An empty directory that belongs to the server's account.
fn room(directory: &Path, server: &PgServer) -> PathBuf {
    let room = directory.join("roomy");
    let _gone = std::fs::remove_dir_all(&room);
    std::fs::create_dir(&room).unwrap();
    let account = std::fs::metadata(server.data()).unwrap();
    std::os::unix::fs::chown(&room, Some(account.uid()), Some(account.gid())).unwrap();
    room
}

/// The zoo and what one database alone cannot hold, as far as a server of this version can; labels only where their
/// provider is loaded.
fn make_whole_zoo(server: &PgServer, room: &Path, labels: bool) {
    make_zoo(server, "menagerie");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zoo_more.sql");
    let room = format!("roomy={}", room.display());
    let labels = format!("labels={labels}");
    let output = server.psql_command("menagerie").args(["-v", &room, "-v", &labels, "-f", file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.psql("postgres", "CREATE DATABASE \"Second one\" OWNER zoo_admin TABLESPACE roomy");
    let rows = "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 9) g; ALTER TABLE t OWNER TO zoo_owner";
    server.psql("Second one", rows);
}

fn means(repository: &Repository, client: u32) -> Means {
    let store = repository.store().clone();
    let made = Made { store, repository: repository.clone(), source: "shop".parse().unwrap() };
    Means { tool_dirs: vec![client_dir(client)], ..made.means(2) }
}

/// Restores a database of the newest point into a new one.
async fn restored(repository: &Repository, client: u32, into: (&PgServer, &str), wanted: Wanted) {
    let means = means(repository, client);
    let wanted = Wanted { existing: Existing::Create, proof: Proof::ReadBack, ..wanted };
    let plan = restore::plan(&means, &"shop@latest".parse().unwrap(), &conn(into.0, into.1), wanted).await.unwrap();
    let report = restore::run(&means, plan).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(report.lost.len(), 0, "{report:?}");
}

/// Roles and tablespaces as stock `pg_dumpall` sees them.
fn globals(server: &PgServer) -> Vec<String> {
    lines(&bin_dir(15).join("pg_dumpall"), &["--globals-only", "-d", &server.url("postgres")])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn what_either_engine_takes_of_the_whole_zoo_comes_back_also_where_nobody_is_known() {
    let directory = open_directory();
    let library = format!("shared_preload_libraries={}", label_provider(directory.path()));
    let mut server = PgServer::start_with(15, &[&library]);
    make_whole_zoo(&server, &room(directory.path(), &server), true);
    let (repository, _) = repository().await;
    for (choice, engine) in [(EngineChoice::Parallel, Engine::Parallel), (EngineChoice::Stream, Engine::Stream)] {
        let mut request = request(&server, "menagerie");
        request.engine = choice;
        let report = backup(request, &repository).await.unwrap();
        assert_eq!(report.engine, engine);
        let name = format!("again_{choice}");
        Box::pin(restored(&repository, 15, (&server, &name), Wanted::default())).await;
        assert_same(&dump(&server, 15, "menagerie"), &dump(&server, 15, &name));
        server.psql("postgres", &format!("DROP DATABASE {name}"));
    }
    let mut all = request(&server, "postgres");
    (all.databases, all.rebind) = (Databases::All, true);
    let report = backup(all, &repository).await.unwrap();
    assert_eq!(report.databases, ["Second one", "menagerie", "postgres"]);
    let databases = ["menagerie", "Second one"];
    let (expected, roles) = (databases.map(|name| dump(&server, 15, name)), globals(&server));
    for line in ["CREATE TABLESPACE roomy", "GRANT zoo_owner TO zoo_admin WITH ADMIN", "SECURITY LABEL FOR zoo ON ROLE"]
    {
        assert!(roles.iter().any(|found| found.contains(line)), "{line}: {roles:#?}");
    }
    // The server is lost, and with it all roles; the new one has a place for the tablespace.
    server.stop();
    let other = PgServer::start_with(15, &[&library]);
    room(directory.path(), &other);
    for (database, expected) in databases.iter().zip(&expected) {
        let wanted = Wanted { database: Some((*database).into()), with_globals: true, ..Wanted::default() };
        Box::pin(restored(&repository, 15, (&other, database), wanted)).await;
        assert_same(expected, &dump(&other, 15, database));
    }
    assert_equal(&roles, &globals(&other));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 14 and 16: make test"]
async fn the_zoo_of_the_other_versions_is_backed_up_restored_and_proven() {
    for (major, client) in [(14, 15), (16, 16)] {
        let directory = open_directory();
        let server = PgServer::start_with(major, &[]);
        make_whole_zoo(&server, &room(directory.path(), &server), false);
        let (repository, _) = repository().await;
        let mut request = request(&server, "menagerie");
        request.tool_dirs = vec![client_dir(client)];
        let report = backup(request, &repository).await.unwrap_or_else(|error| panic!("{major}: {error:?}"));
        assert_eq!(report.engine, Engine::Parallel, "{major}");
        let name = format!("again{major}");
        Box::pin(restored(&repository, client, (&server, &name), Wanted::default())).await;
        assert_same(&dump(&server, client, "menagerie"), &dump(&server, client, &name));
        // A whole proof, on the same server: it has what a throw-away one of ours has not, such as the tablespace.
        let mut proof = verify::Request::new(verify::Which::Point("shop@latest".parse().unwrap()), Depth::Restored);
        proof.into = Some(conn(&server, "postgres"));
        let seen = Box::pin(verify::run(&means(&repository, client), &proof)).await;
        let seen = seen.unwrap_or_else(|error| panic!("{major}: {error:?}")).points.remove(0);
        // The backup counts the piece of a large object as a row.
        let expected = (report.tables, report.rows - 1, 0);
        assert_eq!((seen.tables, seen.rows, seen.damage.len()), expected, "{seen:#?}");
        assert_eq!(seen.verdict, verify::Verdict::Ok, "{major}: {seen:#?}");
        let left = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname ~ 'davit|again'";
        assert_eq!(server.psql("postgres", left), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 18: make test"]
async fn rows_that_users_wrote_into_an_extension_s_tables_come_back_beside_its_own() {
    let directory = open_directory();
    let folder = directory.path().join("extension");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.join("tuned.control"), "default_version = '1.0'\nrelocatable = false\nschema = tuned\n")
        .unwrap();
    let script = "CREATE TABLE settings (name text PRIMARY KEY, value text, builtin bool DEFAULT false);
        INSERT INTO settings VALUES ('colour', 'blue', true);
        CREATE TABLE history (id serial, what text); CREATE TABLE inner_state (n int); INSERT INTO inner_state VALUES (1);
        SELECT pg_extension_config_dump('settings', 'WHERE NOT builtin');
        SELECT pg_extension_config_dump('history', ''); SELECT pg_extension_config_dump('history_id_seq', '');";
    std::fs::write(folder.join("tuned--1.0.sql"), script).unwrap();
    let path = format!("extension_control_path={}:$system", directory.path().display());
    let server = PgServer::start_with(18, &[&path]);
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE EXTENSION tuned; INSERT INTO tuned.settings VALUES ('size', 'large'), ('x', E'a\\tb')");
    server.psql("shop", "INSERT INTO tuned.history (what) SELECT 'h' || g FROM generate_series(1, 5) g; INSERT INTO tuned.inner_state VALUES (2)");
    let (repository, _) = repository().await;
    for engine in [EngineChoice::Parallel, EngineChoice::Stream] {
        let mut request = request(&server, "shop");
        (request.tool_dirs, request.engine) = (vec![client_dir(18)], engine);
        backup(request, &repository).await.unwrap();
        let name = format!("again_{engine}");
        Box::pin(restored(&repository, 18, (&server, &name), Wanted::default())).await;
        assert_same(&dump(&server, 18, "shop"), &dump(&server, 18, &name));
        assert_eq!(server.psql(&name, "SELECT nextval('tuned.history_id_seq')"), "6", "{engine}");
        assert_eq!(server.psql(&name, "SELECT count(*) FROM tuned.settings"), "3", "{engine}");
    }
}
