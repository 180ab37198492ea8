//! A server, a repository in memory, and what a backup put into it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use crate::support::postgres::{PgServer, bin_dir};
use davit::backup::facts::{DatabaseFacts, SequenceFacts, TableFacts, kind};
use davit::backup::take::{self, BackupReport, Request};
use davit::clock::SystemClock;
use davit::error::Result;
use davit::journal::NoProgress;
use davit::postgres::{ConnInfo, PgEnvironment};
use davit::repository::manifest::{ObjectLine, Range};
use davit::repository::{InitOptions, Point, Repository};
use davit::rowsum::{RowSum, Rows};
use davit::store::MemoryStore;
use serde::Deserialize;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// About 8 MB of rows in one table, which a slow request reads in eight seconds.
pub const SLOW_TABLE: &str =
    "CREATE TABLE slow AS SELECT g AS id, repeat(md5(g::text), 8) AS note FROM generate_series(1, 30000) g";

/// A server with a database `shop` in which `sql` was run.
pub fn server_with(sql: &str) -> PgServer {
    let server = PgServer::start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", sql);
    server
}

/// How many sessions of ours the server has.
pub fn our_connections(server: &PgServer) -> String {
    server.psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit/%'")
}

/// A repository in memory, opened with all keys.
pub async fn repository() -> (Repository, Arc<MemoryStore>) {
    let clock = SystemClock::shared();
    let store = MemoryStore::new(Arc::clone(&clock));
    let made = Repository::init(store.clone(), &InitOptions::default(), clock).await.unwrap();
    (made.repository, store)
}

pub fn conn(url: &str) -> ConnInfo {
    ConnInfo::parse(url, &PgEnvironment::default()).unwrap()
}

/// A request for a database as the superuser; two jobs, so that tests do not depend on the machine.
pub fn request(server: &PgServer, database: &str) -> Request {
    let mut request = Request::new("shop".parse().unwrap(), conn(&server.url(database)));
    request.jobs = Some(2);
    request
}

pub async fn backup(request: Request, repository: &Repository) -> Result<BackupReport> {
    let plan = take::plan(request, repository).await?;
    take::run(plan, repository, NoProgress::shared(), &CancellationToken::new()).await
}

/// A point with everything it holds.
pub struct Content {
    pub point: Point,
    repository: Repository,
}

impl Content {
    pub async fn of(repository: &Repository, report: &BackupReport) -> Self {
        let point = repository.load_point(&report.source, &report.point).await.unwrap();
        Self { point, repository: repository.clone() }
    }

    pub fn of_kind(&self, kind: &str) -> Vec<&ObjectLine> {
        self.point.objects.iter().filter(|object| object.kind == kind).collect()
    }

    pub fn only(&self, kind: &str) -> &ObjectLine {
        let found = self.of_kind(kind);
        assert_eq!(found.len(), 1, "objects of kind {kind}");
        found[0]
    }

    pub fn tables(&self) -> Vec<(TableFacts, &ObjectLine)> {
        let tables = self.of_kind(kind::TABLE).into_iter();
        tables.map(|object| (TableFacts::deserialize(&object.details).unwrap(), object)).collect()
    }

    pub fn table(&self, name: &str) -> (TableFacts, &ObjectLine) {
        self.tables().into_iter().find(|(facts, _)| facts.table == name).unwrap_or_else(|| panic!("no table {name}"))
    }

    pub fn database(&self) -> DatabaseFacts {
        DatabaseFacts::deserialize(&self.only(kind::DATABASE).details).unwrap()
    }

    pub fn sequences(&self) -> Vec<(String, i64, bool)> {
        let facts = SequenceFacts::deserialize(&self.only(kind::SEQUENCES).details).unwrap();
        facts.sequences.into_iter().map(|s| (s.name, s.last_value, s.is_called)).collect()
    }

    pub fn ranges(&self, object: &ObjectLine) -> Vec<&Range> {
        let mut ranges: Vec<&Range> = self.point.ranges.iter().filter(|range| range.object == object.object).collect();
        ranges.sort_by_key(|range| (range.pages, range.range));
        ranges
    }

    /// The plaintext of an object as text.
    pub async fn text(&self, object: &ObjectLine) -> String {
        String::from_utf8(self.bytes(object).await).unwrap()
    }

    /// The plaintext of an object, its ranges in the order of their pages; every sum is held against the manifest.
    pub async fn bytes(&self, object: &ObjectLine) -> Vec<u8> {
        let mut text = Vec::new();
        let mut total = RowSum::default();
        for range in self.ranges(object) {
            let mut rows = Rows::new();
            for chunk in &range.chunks {
                let plain = self.repository.fetch_chunk(chunk).await.unwrap();
                assert_eq!(plain.len() as u64, chunk.bytes);
                if matches!(object.kind.as_str(), kind::TABLE | kind::LARGE_OBJECTS) {
                    assert_eq!(rows.sum(&plain), chunk.rows, "{}", object.name);
                }
                total += chunk.rows;
                text.extend_from_slice(&plain);
            }
            assert!(object.kind != kind::TABLE || rows.is_between_rows(), "a range of {} ends in a row", object.name);
        }
        assert_eq!(total, object.rows, "{}", object.name);
        assert_eq!(text.len() as u64, object.bytes, "{}", object.name);
        text
    }

    pub async fn rows_of(&self, table: &str) -> String {
        let (_, object) = self.table(table);
        self.text(object).await
    }
}

/// What `psql` copies of a query, under the settings that a backup uses.
pub fn copied(server: &PgServer, database: &str, query: &str) -> String {
    let sql = format!(
        "SET search_path = ''; SET timezone = 'UTC'; SET intervalstyle = postgres; SET extra_float_digits = 3; \
         SET bytea_output = hex; COPY ({query}) TO STDOUT"
    );
    let text = server.psql(database, &sql);
    if text.is_empty() { text } else { format!("{text}\n") }
}

/// A request that reads 1 MB of rows per second, so that there is time to do something meanwhile, on a busy machine too.
pub fn slow_request(server: &PgServer, database: &str) -> Request {
    let mut request = request(server, database);
    request.limit_rate = Some(1_000_000);
    request
}

pub fn in_background(request: Request, repository: &Repository) -> tokio::task::JoinHandle<Result<BackupReport>> {
    let repository = repository.clone();
    tokio::spawn(async move { backup(request, &repository).await })
}

/// Waits until a backup is reading rows.
pub fn until_reading(server: &PgServer) {
    let reading =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit/worker' AND query LIKE 'COPY%'";
    crate::support::wait_until(20, "the backup reading rows", || server.psql("postgres", reading) != "0");
}

/// Does `harm` to a relation, which locks it, waits until the session of a backup called `waiter` waits for that lock, does
/// `then` and commits: whatever the backup had seen of the relation before is over when it gets the lock.
pub fn when_waited_for(server: &PgServer, relation: &str, harm: &str, waiter: &str, then: &str) -> std::process::Child {
    let waited_for = format!(
        "EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted \
         AND l.relation = current_setting('test.oid')::oid AND a.application_name LIKE 'davit/{waiter}%')"
    );
    let sql = format!(
        "BEGIN; SELECT set_config('test.oid', '{relation}'::regclass::oid::text, false); {harm}; DO $$ BEGIN LOOP \
         PERFORM pg_stat_clear_snapshot(); EXIT WHEN {waited_for}; PERFORM pg_sleep(0.02); END LOOP; END $$; {then}; COMMIT"
    );
    let oid = server.psql("shop", &format!("SELECT '{relation}'::regclass::oid"));
    let holder = server.psql_command("shop").args(["-c", &sql]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let held =
        format!("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = {oid}");
    crate::support::wait_until(60, "the lock being held", || server.psql("shop", &held) == "1");
    holder
}

/// How many points are committed in a store.
pub fn commits(store: &MemoryStore) -> usize {
    store.keys().iter().filter(|key| key.as_str().ends_with("manifest.sig")).count()
}

/// Client programs of PostgreSQL 15, of which the one called `name` is a shell script; in it `$STOCK` is the real one.
/// The others are scripts, too: a directory of links would be taken for where the links lead.
pub fn client_programs(name: &str, script: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for program in ["pg_dump", "pg_restore", "pg_dumpall"] {
        let (stock, here) = (bin_dir(15).join(program).display().to_string(), directory.path().join(program));
        let version = "case \"$*\" in *--version*) exec $STOCK --version;; esac";
        let script = if program == name { script } else { "exec $STOCK \"$@\"" };
        std::fs::write(&here, format!("#!/bin/sh\nSTOCK={stock}\n{version}\n{script}\n")).unwrap();
        std::fs::set_permissions(&here, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}
