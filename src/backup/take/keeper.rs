//! The connection that keeps the snapshot: it locks every table and only then takes the snapshot, so that no TRUNCATE
//! and no rewrite can come between the two. (They are not MVCC-safe: an older snapshot sees an empty table.)
//!
//! The snapshot dies with this connection, and every worker's reading with it.

use super::locks::{self, Locked};
use super::request::{LeavesOut, Request};
use super::sequences::{FirstReading, Sequences};
use crate::error::{Error, Kind, Result};
use crate::postgres::catalog::{self, Table};
use crate::postgres::session::{Session, prepare_data_session};
use crate::postgres::{ConnInfo, Fault, classify, connect};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How often the tables may change between listing and locking before the run gives up.
const TRIES: u32 = 3;

/// What to do where a standby ended what stood in the way of its replay.
const ON_A_STANDBY: &str = "a standby ends readers that stand in the way of replay: raise max_standby_streaming_delay or \
                            set hot_standby_feedback on it, or back up from the primary";

/// A snapshot, and the connection that keeps it.
pub(crate) struct Keeper {
    /// The connection; its transaction stays open.
    pub(crate) session: Session,
    /// The snapshot's name, for others to import.
    pub(crate) snapshot: String,
    /// When it was taken, by the server's clock.
    pub(crate) taken: Timestamp,
    /// Where the log stood.
    pub(crate) lsn: Option<String>,
    /// All tables of the snapshot, those that are left out included.
    pub(crate) tables: Vec<Table>,
    /// Its sequences, and where they stood.
    pub(crate) sequences: Sequences,
    /// Size of each heap in bytes.
    pub(crate) heap_bytes: HashMap<u32, u64>,
    /// The settings under which rows are read.
    pub(crate) settings: BTreeMap<String, String>,
}

impl Keeper {
    /// Connects, locks, and takes the snapshot.
    pub(crate) async fn connect(conn: &ConnInfo) -> Result<(Session, BTreeMap<String, String>)> {
        let session = connect(conn, "keeper").await?;
        let settings = prepare_data_session(&session).await?;
        Ok((session, settings))
    }

    /// Locks every table that is not left out, takes the snapshot and reads the sequences; starts over if tables changed
    /// or a sequence went meanwhile.
    pub(crate) async fn take(
        session: Session,
        settings: BTreeMap<String, String>,
        request: &Request,
        reading: &FirstReading<'_>,
    ) -> Result<Self> {
        for _ in 0..TRIES {
            let before = catalog::tables(&session).await?;
            begin(&session).await?;
            let kept = before.iter().filter(|table| is_locked(table, request));
            if locks::lock(&session, kept, request.lock_budget).await? == Locked::Gone {
                session.execute("starting over", "ROLLBACK").await?;
                continue;
            }
            let (snapshot, taken) = export(&session).await?;
            let tables = catalog::tables(&session).await?;
            if same_tables(&before, &tables, request)
                && let Some(sequences) = Sequences::read_first(&session, &tables, request, reading).await?
            {
                let lsn = catalog::lsn(&session).await?;
                let oids: Vec<u32> =
                    tables.iter().filter(|table| is_locked(table, request)).map(|table| table.oid).collect();
                let heap_bytes = catalog::sizes(&session, &oids).await?;
                return Ok(Self { session, snapshot, taken, lsn, tables, sequences, heap_bytes, settings });
            }
            session.execute("starting over", "ROLLBACK").await?;
        }
        Err(Error::failed(format!(
            "taking a snapshot: each of {TRIES} times tables were made, changed or truncated between listing and locking, \
             or a sequence was dropped before it could be read"
        ))
        .hint("run the backup again, when no schema change or TRUNCATE is under way"))
    }

    /// Looks whether every table still has the file that was there when the snapshot was taken.
    pub(crate) async fn check_files(&self, request: &Request) -> Result<()> {
        check_files(&self.session, &self.tables, request).await
    }

    /// Ends the transaction and gives up snapshot and locks.
    pub(crate) async fn release(self) -> Result<()> {
        self.session.execute("giving up the snapshot", "COMMIT").await?;
        self.session.close().await;
        Ok(())
    }

    /// Replay on a standby may end any of our sessions, those of client programs included, which only say that it did.
    pub(crate) fn advise(&self, error: Error) -> Error {
        if self.session.is_standby() && error.hint_text().is_none() { error.hint(ON_A_STANDBY) } else { error }
    }

    /// Waits until the connection dies; a run without its keeper reads nothing more.
    pub(crate) async fn died(&self) -> Error {
        let why = self.session.ended().await;
        let hint = if self.session.is_standby() {
            ON_A_STANDBY
        } else {
            "the server's log says why; the snapshot died with it, so the backup must begin again"
        };
        Error::failed(format!("keeping the snapshot: its connection is gone: {why}")).hint(hint)
    }
}

/// Looks whether every table that is locked still has the file that was there when it was listed.
pub(crate) async fn check_files(session: &Session, tables: &[Table], request: &Request) -> Result<()> {
    let doing = "looking whether tables were truncated or rewritten under the snapshot";
    let kept = || tables.iter().filter(|table| table.filenode.is_some() && is_locked(table, request));
    let oids: Vec<u32> = kept().map(|table| table.oid).collect();
    let sql = "SELECT t.oid, pg_catalog.pg_relation_filenode(t.oid) FROM pg_catalog.unnest($1::oid[]) AS t(oid)";
    let rows = session.rows(doing, sql, &[&oids]).await?;
    // One that was dropped before it could be locked has no file, and is not missed either: nobody saw it.
    let now: HashMap<u32, u32> =
        rows.iter().filter_map(|row| Some((row.get(0), row.get::<_, Option<u32>>(1)?))).collect();
    let changed = kept().find(|table| now.get(&table.oid).is_some_and(|filenode| Some(*filenode) != table.filenode));
    match changed {
        Some(table) => Err(Error::failed(format!("{doing}: {} was", table.qualified()))
            .hint("its rows as of the snapshot cannot be read any more: run the backup again")),
        None => Ok(()),
    }
}

/// Begins the transaction in which everything is read; nothing is seen before its first query.
pub(crate) async fn begin(session: &Session) -> Result<()> {
    session.execute("beginning to read", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// Lets a session see what the keeper sees.
pub(crate) async fn import(session: &Session, snapshot: &str) -> Result<()> {
    begin(session).await?;
    let sql = format!("SET TRANSACTION SNAPSHOT {}", crate::postgres::quote::literal(snapshot));
    session.client.batch_execute(&sql).await.map_err(|error| {
        let error = session.explain(&error, "importing the snapshot");
        error.hint("a snapshot lives as long as its keeper's connection, and only on the server it was taken on")
    })
}

/// Takes the snapshot and gives its name. That a server cannot do this is found out here and nowhere else.
pub(crate) async fn export(session: &Session) -> Result<(String, Timestamp)> {
    let sql = "SELECT pg_catalog.pg_export_snapshot(), \
               (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint";
    match session.client.query_one(sql, &[]).await {
        Ok(row) => {
            let taken = Timestamp::from_microsecond(row.get(1)).unwrap_or(Timestamp::UNIX_EPOCH);
            Ok((row.get(0), taken))
        }
        Err(error) => {
            let kind = if classify(&error) == Fault::Gone { Kind::Failed } else { Kind::Refused };
            Err(session.explain(&error, "exporting a snapshot").as_kind(kind))
        }
    }
}

/// Whether we hold a lock on a table: on all but those that are left out with their definition.
pub(crate) fn is_locked(table: &Table, request: &Request) -> bool {
    request.leaves_out(&table.schema, &table.name) != Some(LeavesOut::Table)
}

/// Whether two listings show the same tables with the same files. Estimates may differ: vacuum goes on. So may what is
/// left out: nobody waits for it.
fn same_tables(before: &[Table], after: &[Table], request: &Request) -> bool {
    let plain = |table: &Table| Table { pages_estimate: 0, rows_estimate: None, index_count: 0, ..table.clone() };
    let kept = |tables: &[Table]| -> Vec<Table> {
        tables.iter().filter(|table| is_locked(table, request)).map(plain).collect()
    };
    kept(before) == kept(after)
}

/// How old the keeper's snapshot is in transactions, and how long it has been held.
pub(crate) async fn xmin_age(session: &Session, keeper_pid: i32) -> Result<(u64, Duration)> {
    let row = session
        .row(
            "reading the age of the snapshot",
            "SELECT COALESCE(pg_catalog.max(pg_catalog.age(backend_xmin)), 0)::bigint, \
             COALESCE(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(xact_start)), 0)::float8 \
             FROM pg_catalog.pg_stat_activity WHERE pid = $1",
            &[&keeper_pid],
        )
        .await?;
    let held: f64 = row.get(1);
    Ok((u64::try_from(row.get::<_, i64>(0)).unwrap_or_default(), Duration::from_secs_f64(held.max(0.0))))
}
