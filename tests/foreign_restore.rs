//! Dumps that the reference systems' scripts leave, restored into a real server.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use davit::backup::foreign::Source;
use davit::backup::foreign::archive::ToolPlaces;
use davit::backup::foreign::restore::{Report, Request, plan, run};
use davit::backup::restore::Adjust;
use davit::backup::target::Mode;
use davit::clock::SystemClock;
use davit::error::{Error, Kind, Result};
use davit::journal::NoProgress;
use davit::postgres::script::Limits;
use davit::postgres::{ConnInfo, PgEnvironment};
use davit::store::OpenOptions;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tokio_util::sync::CancellationToken;

mod support;
use support::postgres::{PgServer, bin_dir};

const ODD: &str = include_str!("fixtures/dumps/odd.sql");

struct World {
    source: PgServer,
    target: PgServer,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let source = PgServer::start();
        source.psql("postgres", "CREATE DATABASE odd TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
        source.psql("odd", ODD);
        source.psql("postgres", "ALTER DATABASE odd SET work_mem = '7MB'; COMMENT ON DATABASE odd IS 'the odd one'");
        source.psql("postgres", "GRANT CONNECT ON DATABASE odd TO lexer_owner");
        Self { source, target: PgServer::start(), folder: tempfile::tempdir().unwrap() }
    }

    /// What a backup script does: `program options | compress > name`.
    fn script(&self, program: &str, options: &str, compress: &str, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let url = self.source.url("odd");
        let line =
            format!("{} {options} -d '{url}' | {compress} > '{}'", bin_dir(15).join(program).display(), path.display());
        let status = Command::new("bash").args(["-c", &format!("set -o pipefail; {line}")]).status().unwrap();
        assert!(status.success(), "{line}");
        path
    }

    fn request(&self, database: &str) -> Request {
        Request {
            into: ConnInfo::parse(&self.target.url(database), &PgEnvironment::default()).unwrap(),
            mode: Mode::Create,
            database: None,
            with_globals: false,
            trust: false,
            adjust: Adjust::default(),
            limits: Limits::default(),
            tools: ToolPlaces { directories: vec![bin_dir(15)], path: None },
            keep_replaced: false,
        }
    }

    async fn restore(&self, path: &std::path::Path, request: Request) -> Result<Report> {
        let clock = SystemClock::shared();
        let source = Source::find(path.to_str().unwrap(), &OpenOptions::default(), clock.clone()).await?;
        let plan = plan(source, request).await?;
        run(plan, &clock, &NoProgress::shared(), &CancellationToken::new()).await
    }

    async fn refusal(&self, path: &std::path::Path, request: Request) -> Error {
        let before = self.databases();
        let error = self.restore(path, request).await.unwrap_err();
        assert_eq!(self.databases(), before, "nothing is left behind and nothing is missing: {error}");
        error
    }

    fn databases(&self) -> String {
        self.target.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database")
    }

    fn make_roles(&self) {
        self.target.psql("postgres", "CREATE ROLE lexer_owner; CREATE ROLE \"Odd Role; Type: X\"");
    }
}

fn dump(server: &PgServer, database: &str, options: &[&str]) -> String {
    let output = Command::new(bin_dir(15).join("pg_dump"))
        .args(options)
        .args(["-d", &server.url(database)])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn every_form_a_script_leaves_is_restored_as_it_was() {
    let world = World::new();
    world.make_roles();
    for (database, options, compress, name) in [
        ("gz", "", "gzip", "cloudflow_20260124_010000.sql.gz"),
        ("plain", "", "cat", "odd 2026-01-24T01:00:00.sql"),
        ("zst", "", "zstd -q", "odd.sql.zst"),
        ("misnamed", "", "gzip", "odd.sql"),
        ("archive", "-Fc", "cat", "odd.dump"),
        ("archive_gz", "-Fc -Z0", "gzip", "odd.dump.gz"),
    ] {
        let path = world.script("pg_dump", options, compress, name);
        let request = Request { trust: name.contains(".dump"), ..world.request(database) };
        let report = world.restore(&path, request).await.unwrap();
        assert_eq!((report.rows, report.tables.len(), report.database.as_str()), (9, 5, database), "{name}");
        assert_eq!(dump(&world.target, database, &[]), dump(&world.source, "odd", &[]), "{name}");
        let analyzed = "SELECT count(*) > 0 FROM pg_statistic WHERE starelid = 'public.plain'::regclass";
        assert_eq!(world.target.psql(database, analyzed), "t");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn a_dump_that_says_how_its_database_was_gives_it_back_under_another_name() {
    let world = World::new();
    world.make_roles();
    let path = world.script("pg_dump", "-C", "gzip", "odd.sql.gz");
    // A database of the old name is alive on the target and must not be touched.
    world.target.psql("postgres", "CREATE DATABASE odd");
    world.target.psql("odd", "CREATE TABLE alive()");
    world.restore(&path, world.request("new")).await.unwrap();
    let facts = "SELECT datcollate, shobj_description(oid, 'pg_database'), datacl::text LIKE '%lexer_owner=c%', \
                 current_setting('work_mem') FROM pg_database WHERE datname = 'new'";
    assert_eq!(world.target.psql("new", facts), "C|the odd one|t|7MB");
    assert_eq!(world.target.psql("odd", "SELECT count(*) FROM pg_class WHERE relname IN ('alive', 'plain')"), "1");
    assert_eq!(world.target.psql("odd", "SHOW work_mem"), "4MB");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn an_empty_database_that_waits_is_filled_and_keeps_its_own_settings() {
    let world = World::new();
    world.make_roles();
    world.target.psql(
        "postgres",
        "CREATE DATABASE waiting OWNER lexer_owner ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    world.target.psql(
        "postgres",
        "ALTER DATABASE waiting SET work_mem = '9MB'; REVOKE CONNECT ON DATABASE waiting FROM PUBLIC",
    );
    let path = world.script("pg_dump", "", "gzip", "odd.sql.gz");
    let request = Request { mode: Mode::Empty, ..world.request("waiting") };
    world.restore(&path, request).await.unwrap();
    let facts = "SELECT datdba::regrole, pg_encoding_to_char(encoding), current_setting('work_mem'), datacl::text LIKE '{=T%' \
                 FROM pg_database WHERE datname = 'waiting'";
    assert_eq!(world.target.psql("waiting", facts), "lexer_owner|LATIN1|9MB|t");
    assert_eq!(world.target.psql("waiting", "SELECT octet_length(note) FROM plain WHERE id = 5"), "6");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn a_dump_goes_to_a_server_without_its_roles_if_they_are_left_out_or_mapped() {
    let world = World::new();
    let plain = world.script("pg_dump", "-C", "gzip", "odd.sql.gz");
    let archive = world.script("pg_dump", "-C -Fc", "cat", "odd.dump");
    let nobody = Adjust { no_owner: true, no_privileges: true, ..Adjust::default() };
    for (database, path) in [("plain", &plain), ("archive", &archive)] {
        let request = Request { adjust: nobody.clone(), trust: true, ..world.request(database) };
        world.restore(path, request).await.unwrap();
        let owner = "SELECT relowner::regrole, relacl IS NULL FROM pg_class WHERE oid = 'public.plain'::regclass";
        assert_eq!(world.target.psql(database, owner), "postgres|t");
    }
    world.target.psql("postgres", "CREATE ROLE \"New Owner\"");
    let mut adjust = Adjust::default();
    adjust.map_role("lexer_owner=New Owner").unwrap();
    world.restore(&plain, Request { adjust, ..world.request("mapped") }).await.unwrap();
    let facts = "SELECT relowner::regrole, (SELECT datacl::text LIKE '%New Owner%' FROM pg_database \
                 WHERE datname = 'mapped') FROM pg_class WHERE oid = 'public.plain'::regclass";
    assert_eq!(world.target.psql("mapped", facts), "\"New Owner\"|t");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn one_database_of_a_cluster_dump_is_restored_with_its_roles_if_asked() {
    let world = World::new();
    world.source.psql("postgres", "CREATE DATABASE other");
    world.source.psql("other", "CREATE TABLE of_other()");
    world.source.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'secret'; GRANT lexer_owner TO app");
    let path = world.script("pg_dumpall", "", "gzip", "backup.sql.gz");
    let error = world.refusal(&path, world.request("odd")).await;
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Input, "backup.sql.gz is a dump of a whole server (pg_dumpall)")
    );
    let named = |name: &str| Request { database: Some(name.to_owned()), ..world.request("odd") };
    let error = world.refusal(&path, named("od")).await;
    assert_eq!(error.to_string(), "backup.sql.gz has no database od");
    // Without its roles the first statement that names one fails, and says what to do.
    let error = world.refusal(&path, named("odd")).await;
    assert!(error.to_string().contains("role \"lexer_owner\" does not exist"), "{error}");
    assert!(error.hint_text().unwrap().contains("--no-owner"));
    // A role that is there is not changed.
    world.target.psql("postgres", "CREATE ROLE app NOLOGIN");
    let report = world.restore(&path, Request { with_globals: true, ..named("odd") }).await.unwrap();
    assert_eq!(report.roles_made, ["Odd Role; Type: X", "lexer_owner"]);
    assert_eq!(
        world.target.psql("postgres", "SELECT rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = 'app'"),
        "f|t"
    );
    assert_eq!(dump(&world.target, "odd", &["-C"]), dump(&world.source, "odd", &["-C"]));
    assert_eq!(world.target.psql("odd", "SELECT to_regclass('of_other') IS NULL"), "t");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn roles_that_were_made_go_again_when_the_restore_fails() {
    let world = World::new();
    let path = world.script(
        "pg_dumpall",
        "",
        "sed 's/^INSERT/x/; s/^    \"Mixed Case\" text/    \"Mixed Case\" nothing/'",
        "all.sql",
    );
    let request = Request { database: Some("odd".into()), with_globals: true, ..world.request("odd") };
    let error = world.refusal(&path, request).await;
    assert!(error.to_string().contains("type \"nothing\" does not exist"), "{error}");
    assert_eq!(world.target.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname ~ '^(lexer|Odd)'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn a_bad_dump_is_called_what_it_is_and_the_target_stays() {
    let world = World::new();
    world.make_roles();
    world.target.psql("postgres", "CREATE DATABASE live");
    world.target.psql("live", "CREATE TABLE mine AS SELECT 1 AS a");
    let replace = || Request { mode: Mode::Replace { named: "live".into() }, trust: true, ..world.request("live") };
    let gz = std::fs::read(world.script("pg_dump", "", "gzip", "odd.sql.gz")).unwrap();
    let archive = std::fs::read(world.script("pg_dump", "-Fc", "cat", "odd.dump")).unwrap();
    let sql = std::fs::read(world.script("pg_dump", "", "cat", "odd.sql")).unwrap();
    let nothing = std::fs::read(world.script("pg_dump", "--help", "sed d | gzip", "nothing.sql.gz")).unwrap();
    assert_eq!(nothing.len(), 20);
    for (name, content, words) in [
        ("empty.sql.gz", &b""[..], "empty.sql.gz is empty: 0 bytes"),
        ("nothing.sql.gz", &nothing, "nothing.sql.gz holds nothing: gzip of 0 bytes"),
        ("cut.sql.gz", &gz[..gz.len() - 8], "truncated: its"),
        ("half.sql.gz", &gz[..gz.len() / 2], "truncated: its"),
        ("cut.dump", &archive[..archive.len() * 9 / 10], "pg_restore exited with 1"),
        ("cut.sql", &sql[..sql.len() - 400], "the script ends inside"),
        ("nearly.sql", &sql[..sql.len() - 180], "nearly.sql is truncated: its end marker is missing"),
    ] {
        let path = world.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = world.refusal(&path, replace()).await;
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(matches!(error.kind(), Kind::Input | Kind::Failed), "{name}: {error:?}");
        assert_eq!(world.target.psql("live", "SELECT a FROM mine"), "1");
    }
    let archive = world.folder.path().join("odd.dump");
    let error = world.refusal(&archive, Request { trust: false, ..replace() }).await;
    assert_eq!(error.kind(), Kind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL servers: make test"]
async fn a_cancelled_restore_leaves_nothing() {
    let world = World::new();
    world.make_roles();
    let path = world.script("pg_dump", "", "sed 's/^SET xmloption.*/SELECT pg_catalog.pg_sleep(600);/'", "slow.sql");
    let clock = SystemClock::shared();
    let source = Source::find(path.to_str().unwrap(), &OpenOptions::default(), clock.clone()).await.unwrap();
    let plan = plan(source, world.request("odd")).await.unwrap();
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let running = tokio::spawn(async move { run(plan, &clock, &NoProgress::shared(), &stop).await });
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(600%' AND pid <> pg_backend_pid()";
    support::wait_until(30, "the script sleeping", || world.target.psql("postgres", asleep) == "1");
    cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Failed, "stopped on request"));
    assert_eq!(world.databases(), "postgres template0 template1");
    assert_eq!(world.target.psql("postgres", asleep), "0");
}
