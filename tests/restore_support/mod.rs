//! A recovery point made by hand, one table after another, for the tests of restore and verify.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use crate::support::postgres::{PgServer, bin_dir};
use bytes::{Bytes, BytesMut};
use davit::backup::facts::{
    ColumnFacts, ConstraintFacts, DatabaseFacts, Engine, ExtensionFacts, IndexFacts, OfDatabase, PointFacts,
    SequenceFacts, SequenceValue, TableFacts, kind,
};
use davit::backup::restore::Means;
use davit::clock::SystemClock;
use davit::id::{RunId, SourceName};
use davit::journal::NoProgress;
use davit::postgres::catalog::{self, TableKind};
use davit::postgres::session::prepare_data_session;
use davit::postgres::{ConnInfo, PgEnvironment, Session, connect};
use davit::repository::manifest::{Chunk, ObjectLine, PointKind, Range};
use davit::repository::{BeginPoint, InitOptions, PointWriter, Repository, layout};
use davit::rowsum::{RowSum, Rows};
use davit::store::memory::MemoryStore;
use davit::store::{Put, SharedStore};
use futures_util::StreamExt;
use serde::Serialize;

pub const CHUNK_BYTES: usize = 256 << 10;

/// Pages per range.
const PAGES: u64 = 64;

/// A repository in memory with one point.
pub struct Made {
    pub store: SharedStore,
    pub repository: Repository,
    pub source: SourceName,
}

impl Made {
    /// Flips a byte of a chunk in the middle of a table; gives the chunk's name and the rows in it.
    pub async fn flip_a_byte_of(&self, table: &str) -> (String, u64, u64) {
        let (chunk, first, end) = self.middle_chunk_of(table).await;
        let key = layout::chunk(&chunk);
        let mut body = self.store.get(&key, None).await.unwrap().body.to_vec();
        let place = body.len() / 2;
        body[place] ^= 1;
        self.store.delete(&key).await.unwrap();
        self.store.put_new(&key, Put::new(body)).await.unwrap();
        (key.to_string(), first, end)
    }

    /// Deletes a chunk in the middle of a table; gives its name and the rows in it.
    pub async fn drop_a_chunk_of(&self, table: &str) -> (String, u64, u64) {
        let (chunk, first, end) = self.middle_chunk_of(table).await;
        let key = layout::chunk(&chunk);
        self.store.delete(&key).await.unwrap();
        (key.to_string(), first, end)
    }

    async fn middle_chunk_of(&self, table: &str) -> (Chunk, u64, u64) {
        let spec = format!("{}@latest", self.source).parse().unwrap();
        let summary = self.repository.resolve(&spec).await.unwrap();
        let point = self.repository.load_point(&self.source, summary.point()).await.unwrap();
        let object = point.objects.iter().find(|object| object.name == table).unwrap().object;
        let mut ranges: Vec<&Range> = point.ranges.iter().filter(|range| range.object == object).collect();
        ranges.sort_by_key(|range| range.range);
        let chunks: Vec<&Chunk> = ranges.iter().flat_map(|range| &range.chunks).collect();
        let middle = chunks.len() / 2;
        let first: u64 = chunks[..middle].iter().map(|chunk| chunk.rows.rows).sum();
        (chunks[middle].clone(), first, first + chunks[middle].rows.rows)
    }

    pub fn means(&self, jobs: usize) -> Means {
        Means {
            repository: self.repository.clone(),
            tool_dirs: vec![bin_dir(15)],
            path: None,
            jobs,
            progress: NoProgress::shared(),
            cancel: tokio_util::sync::CancellationToken::new(),
        }
    }
}

pub fn conn(server: &PgServer, database: &str) -> ConnInfo {
    let env = PgEnvironment { vars: std::collections::BTreeMap::new(), home: None };
    ConnInfo::parse(&server.url(database), &env).unwrap()
}

pub fn zoo_server() -> PgServer {
    let server = PgServer::start();
    make_zoo(&server, "menagerie");
    server
}

/// The zoo of `tests/fixtures/zoo.sql` in a database of its own.
pub fn make_zoo(server: &PgServer, database: &str) {
    server.psql("postgres", "CREATE ROLE zoo_owner; CREATE ROLE zoo_reader; CREATE ROLE zoo_admin");
    server.psql("postgres", &format!("CREATE DATABASE {database}"));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zoo.sql");
    let output = server.psql_command(database).args(["-f", file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What becomes of the bytes of an object of some kind before they are stored.
pub type Change<'a> = &'a dyn Fn(&str, Vec<u8>) -> Vec<u8>;

/// Backs up a database into a new repository in memory.
pub async fn back_up(server: &PgServer, database: &str) -> Made {
    back_up_with(server, database, &|_, bytes| bytes).await
}

/// The same, with objects that are not what they should be.
pub async fn back_up_with(server: &PgServer, database: &str, change: Change<'_>) -> Made {
    let store: SharedStore = MemoryStore::new(SystemClock::shared());
    let made = Repository::init(store.clone(), &InitOptions::default(), SystemClock::shared()).await.unwrap();
    let source: SourceName = database.parse().unwrap();
    let session = connect(&conn(server, database), "test").await.unwrap();
    let settings = prepare_data_session(&session).await.unwrap();
    let identity = catalog::identity(&session).await.unwrap();
    let now = jiff::Timestamp::now();
    let bound = format!("{}/{}", identity.system_identifier, identity.database_oid);
    let begin = BeginPoint::new(source.clone(), PointKind::Database, bound, RunId::at(now), now);
    let writer = made.repository.begin(begin).await.unwrap();
    let facts = PointFacts {
        engine: Engine::Parallel,
        engine_reason: None,
        server_version_num: session.version_num(),
        client_version: "15.20".into(),
        standby: false,
        system_identifier: identity.system_identifier,
        databases: vec![database.into()],
        passwords_hidden: false,
    };
    writer.set_snapshot(now, serde_json::to_value(facts).unwrap()).unwrap();
    let mut point = Writing { writer, object: 0, database: database.into(), change };
    point.tables(&session).await;
    point.large_objects(&session).await;
    point.sequences(&session).await;
    point.archive(server).await;
    point.globals(server).await;
    point.database(&session, settings, identity.database_oid).await;
    point.writer.commit(1.0).await.unwrap();
    Made { store, repository: made.repository, source }
}

struct Writing<'a> {
    writer: PointWriter,
    object: u32,
    database: String,
    change: Change<'a>,
}

impl Writing<'_> {
    /// Writes one object of these ranges, cut into chunks.
    async fn object(&mut self, kind: &str, name: String, ranges: Vec<Bytes>, sum: bool, details: impl Serialize) {
        let object = self.object;
        self.object += 1;
        let (mut rows, mut bytes, mut chunks) = (RowSum::default(), 0, 0);
        let count = u32::try_from(ranges.len()).unwrap();
        for (number, range) in (0..).zip(ranges) {
            let mut reader = Rows::new();
            let mut named = Vec::new();
            for piece in pieces((self.change)(kind, range.to_vec()).into()) {
                let of_piece = if sum { reader.sum(&piece) } else { RowSum::default() };
                bytes += piece.len() as u64;
                rows += of_piece;
                named.push(self.writer.put_chunk(piece, of_piece).await.unwrap().chunk);
            }
            chunks += named.len() as u64;
            self.writer.add_range(Range { object, range: number, pages: None, chunks: named }).await.unwrap();
        }
        let details = serde_json::to_value(details).unwrap();
        let line = ObjectLine { object, kind: kind.into(), name, rows, bytes, ranges: count, chunks, details };
        self.writer.add_object(line).await.unwrap();
    }

    async fn tables(&mut self, session: &Session) {
        let indexes = catalog::indexes(session).await.unwrap();
        let tables = catalog::tables(session).await.unwrap();
        let sizes = catalog::sizes(session, &tables.iter().map(|table| table.oid).collect::<Vec<_>>()).await.unwrap();
        for table in tables.iter().filter(|table| table.kind == TableKind::Ordinary) {
            let size = sizes.get(&table.oid).copied().unwrap_or_default();
            let mut ranges = Vec::new();
            let columns: Vec<String> = table.columns.iter().map(|c| davit::postgres::quote::ident(&c.name)).collect();
            let condition = table.extension.as_ref().map(|rows| rows.condition.clone());
            for first in (0..=(size / 8192 / PAGES)).map(|range| range * PAGES) {
                let sql = match &condition {
                    Some(condition) if first == 0 => {
                        format!(
                            "COPY (SELECT {} FROM ONLY {} {condition}) TO STDOUT",
                            columns.join(", "),
                            table.qualified()
                        )
                    }
                    Some(_) => continue,
                    None => format!(
                        "COPY (SELECT {} FROM ONLY {} WHERE ctid >= '({first},0)' AND ctid < '({},0)') TO STDOUT",
                        columns.join(", "),
                        table.qualified(),
                        first + PAGES
                    ),
                };
                ranges.push(copy(session, &sql).await);
            }
            let facts = TableFacts {
                database: self.database.clone(),
                schema: table.schema.clone(),
                table: table.name.clone(),
                oid: table.oid,
                columns: table
                    .columns
                    .iter()
                    .map(|column| ColumnFacts { name: column.name.clone(), r#type: column.r#type.clone() })
                    .collect(),
                grid_pages: Some(64),
                heap_bytes: size,
                unlogged: table.unlogged,
                extension_condition: condition,
                indexes: indexes.get(&table.oid).into_iter().flatten().map(index).collect(),
            };
            self.object(kind::TABLE, format!("{}.{}", table.schema, table.name), ranges, true, facts).await;
        }
    }

    async fn large_objects(&mut self, session: &Session) {
        let sql = "COPY (SELECT m.oid, 0, pg_catalog.lo_get(m.oid) FROM pg_catalog.pg_largeobject_metadata m \
                   WHERE pg_catalog.length(pg_catalog.lo_get(m.oid)) > 0) TO STDOUT";
        let lines = copy(session, sql).await;
        let details = OfDatabase { database: self.database.clone() };
        self.object(kind::LARGE_OBJECTS, "large objects".into(), vec![lines], true, details).await;
    }

    async fn sequences(&mut self, session: &Session) {
        let all = catalog::sequences(session).await.unwrap();
        let values = catalog::sequence_values(session, &all).await.unwrap();
        let sequences = values
            .into_iter()
            .map(|v| SequenceValue { schema: v.schema, name: v.name, last_value: v.last_value, is_called: v.is_called })
            .collect();
        let facts = SequenceFacts { database: self.database.clone(), sequences };
        self.object(kind::SEQUENCES, "sequences".into(), vec![], false, facts).await;
    }

    async fn archive(&mut self, server: &PgServer) {
        let output = std::process::Command::new(bin_dir(15).join("pg_dump"))
            .args(["-Fc", "--section=pre-data", "--section=post-data", "-d", &server.url(&self.database)])
            .output()
            .unwrap();
        assert!(output.status.success());
        let details = OfDatabase { database: self.database.clone() };
        self.object(kind::ARCHIVE, "archive".into(), vec![output.stdout.into()], false, details).await;
    }

    async fn globals(&mut self, server: &PgServer) {
        let output = std::process::Command::new(bin_dir(15).join("pg_dumpall"))
            .args(["--globals-only", "-d", &server.url("postgres")])
            .output()
            .unwrap();
        assert!(output.status.success());
        self.object(kind::GLOBALS, "globals".into(), vec![output.stdout.into()], false, serde_json::Value::Null).await;
    }

    async fn database(&mut self, session: &Session, settings: std::collections::BTreeMap<String, String>, oid: u32) {
        let tables = catalog::tables(session).await.unwrap();
        let facts = catalog::database_facts(session).await.unwrap();
        let extensions = catalog::extensions(session).await.unwrap();
        let facts = DatabaseFacts {
            database: self.database.clone(),
            oid,
            owner: facts.owner,
            encoding: facts.encoding,
            collate: facts.collate,
            ctype: facts.ctype,
            locale_provider: facts.locale_provider,
            provider_locale: facts.provider_locale,
            icu_rules: facts.icu_rules,
            collation_version: facts.collation_version,
            snapshot_time: Some(jiff::Timestamp::now()),
            tablespace: facts.tablespace,
            connection_limit: facts.connection_limit,
            comment: facts.comment,
            privileges: facts.privileges,
            settings: facts.settings,
            extensions: extensions
                .into_iter()
                .map(|e| ExtensionFacts { name: e.name, version: e.version, schema: e.schema })
                .collect(),
            roles: facts.roles,
            lsn: None,
            session_settings: settings,
            left_out: vec![],
            not_included: catalog::not_included(session, &tables).await.unwrap(),
        };
        self.object(kind::DATABASE, self.database.clone(), vec![], false, facts).await;
    }
}

fn index(index: &catalog::Index) -> IndexFacts {
    IndexFacts {
        name: index.name.clone(),
        definition: index.definition.clone(),
        unique: index.unique,
        constraint: index.constraint.as_ref().map(|constraint| ConstraintFacts {
            name: constraint.name.clone(),
            r#type: constraint.r#type,
            definition: constraint.definition.clone(),
            deferrable: constraint.deferrable,
        }),
    }
}

async fn copy(session: &Session, sql: &str) -> Bytes {
    let stream = session.client.copy_out(sql).await.unwrap();
    let mut stream = std::pin::pin!(stream);
    let mut all = BytesMut::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all.freeze()
}

/// Chunks: whole rows, and a row larger than a chunk goes on in the next one.
fn pieces(mut bytes: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while bytes.len() > CHUNK_BYTES {
        let end = memchr::memrchr(b'\n', &bytes[..CHUNK_BYTES]).map_or(CHUNK_BYTES, |end| end + 1);
        pieces.push(bytes.split_to(end));
    }
    if !bytes.is_empty() {
        pieces.push(bytes);
    }
    pieces
}
