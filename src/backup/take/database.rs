//! One database by the parallel engine: one snapshot, many readers.

use super::crew::Crew;
use super::definitions::{DEFINITIONS, Definitions};
use super::described::{Subject, describe, not_read};
use super::keeper::{self, Keeper};
use super::large_objects::LargeObjectWork;
use super::outlet::{Outlet, ROWS};
use super::pace::Rate;
use super::request::Request;
use super::sequences::{FirstReading, left_out_names};
use super::watcher::{Budgets, Watcher};
use super::work::{Reading, Sizes, TableName, TableWork, WorkList, table_object};
use super::workers::Worker;
use crate::backup::facts::OfDatabase;
use crate::backup::take::grid::Grid;
use crate::clock::SharedClock;
use crate::error::Result;
use crate::journal::Amount;
use crate::postgres::catalog::{self, Table};
use crate::postgres::session::{Session, prepare_data_session};
use crate::postgres::tools::Tools;
use crate::postgres::{ConnInfo, connect};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What the readers of every database of a run share.
pub(crate) struct Common<'a> {
    pub(crate) request: &'a Request,
    pub(crate) tools: &'a Tools,
    pub(crate) jobs: usize,
    pub(crate) standby: bool,
    pub(crate) outlet: Outlet,
    pub(crate) rate: Option<Arc<Rate>>,
    pub(crate) grids: HashMap<TableName, Grid>,
    pub(crate) clock: SharedClock,
}

/// What came of one database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// The instant its rows are of.
    pub(crate) snapshot_time: Timestamp,
    /// Tables whose rows were taken.
    pub(crate) tables: u64,
    /// Sequences.
    pub(crate) sequences: u64,
    /// How old the snapshot became at most, in transactions.
    pub(crate) xmin_age_max: u64,
    /// How long it was held.
    pub(crate) held: Duration,
}

/// Backs up one database. `announce` is called with the snapshot before anything of it is written.
pub(crate) async fn take(
    common: &Common<'_>,
    conn: &ConnInfo,
    announce: impl FnOnce(Timestamp) -> Result<()>,
) -> Result<Taken> {
    let crew = common.outlet.crew.clone();
    let (session, settings) = Keeper::connect(conn).await?;
    crew.joins(&session);
    // Everybody else goes to the very server that the keeper reached, also where the address has several behind it.
    let conn = session.conn().clone();
    let watcher = begin_watch(common, &crew, &conn).await?;
    watcher.keeper_is(session.backend_pid());
    let began = common.clock.monotonic();
    let reading = async {
        let sequences = FirstReading { conn: &conn, watcher: &watcher, lock_budget: common.request.lock_budget };
        let keeper = Keeper::take(session, settings, common.request, &sequences).await;
        let keeper = keeper.map_err(|error| watcher.name_holder(error))?;
        tokio::select! {
            biased;
            error = keeper.died() => Err(error),
            taken = read(common, &conn, &keeper, &watcher, announce) => taken.map_err(|error| keeper.advise(error)),
        }
        .map(|taken| (keeper, taken))
    };
    let (keeper, (tables, sequences)) = tokio::select! {
        biased;
        error = watcher.watch() => Err(error),
        taken = reading => taken,
    }?;
    let held = common.clock.monotonic().saturating_sub(began);
    let snapshot_time = keeper.taken;
    keeper.release().await?;
    Ok(Taken { snapshot_time, tables, sequences, xmin_age_max: watcher.xmin_age_max(), held })
}

/// A watcher on a connection of its own.
pub(crate) async fn begin_watch(common: &Common<'_>, crew: &Crew, conn: &ConnInfo) -> Result<Arc<Watcher>> {
    let session = connect(conn, "watcher").await?;
    // Not for the rows: its timeouts are off, too.
    prepare_data_session(&session).await?;
    crew.joins(&session);
    let budgets = Budgets::of(common.request);
    Ok(Watcher::new(session, budgets, Arc::clone(&common.clock), Arc::clone(&common.outlet.progress)))
}

/// Everything that is read while the keeper keeps the snapshot; gives how many tables and sequences.
async fn read(
    common: &Common<'_>,
    conn: &ConnInfo,
    keeper: &Keeper,
    watcher: &Watcher,
    announce: impl FnOnce(Timestamp) -> Result<()>,
) -> Result<(u64, u64)> {
    let Common { outlet, request, .. } = common;
    announce(keeper.taken)?;
    let workers = workers(common, conn, keeper, watcher).await?;
    let Keeper { session, tables, settings, lsn, taken, .. } = keeper;
    let subject = Subject { session, tables, settings, lsn: lsn.as_deref(), taken: *taken };
    let database = describe(&subject, request, outlet).await?;
    let work = work_list(common, keeper, &database).await?;
    tokio::try_join!(definitions(common, conn, keeper, watcher, &database), rows(common, &workers, &work))?;
    let free = futures_util::future::try_join_all(workers.into_iter().map(Worker::release)).await?;
    keeper.check_files(request).await?;
    let tables = describe_tables(common, keeper, &database, &work).await?;
    let last = free.first().unwrap_or(&keeper.session);
    let sequences = keeper.sequences.read_last(last, &database, outlet).await?;
    for session in free {
        session.close().await;
    }
    Ok((tables, sequences))
}

async fn workers(common: &Common<'_>, conn: &ConnInfo, keeper: &Keeper, watcher: &Watcher) -> Result<Vec<Worker>> {
    let request = common.request;
    let ready = (0..common.jobs).map(|number| {
        let read = keeper.tables.iter().filter(|table| not_read(table, request, keeper.session.is_standby()).is_none());
        Worker::ready(conn, number, &keeper.snapshot, read, request.lock_budget)
    });
    let workers = futures_util::future::try_join_all(ready).await.map_err(|error| watcher.name_holder(error))?;
    for worker in &workers {
        common.outlet.crew.joins(worker.session());
        watcher.watch_over(worker.session().backend_pid());
    }
    Ok(workers)
}

async fn definitions(
    common: &Common<'_>,
    conn: &ConnInfo,
    keeper: &Keeper,
    watcher: &Watcher,
    database: &str,
) -> Result<()> {
    let progress = &common.outlet.progress;
    progress.began(DEFINITIONS, Amount::items(1));
    let request = common.request;
    let leave_out = left_out_names(&keeper.session, &keeper.tables, request).await?;
    let snapshot = &keeper.snapshot;
    let lock_budget = request.lock_budget;
    let without_rows = keeper.sequences.patterns();
    let plain = with_plain_quotes(&keeper.session, conn).await?;
    let conn = plain.as_ref().unwrap_or(conn);
    let name = format!("davit/dump {}", common.outlet.writer.run());
    watcher.watch_over_helper(name.clone());
    let (name, leave_out, without_rows) = (name.as_str(), &leave_out, &without_rows);
    let definitions =
        Definitions { tools: common.tools, conn, database, name, snapshot, leave_out, without_rows, lock_budget };
    definitions.dump(&common.outlet).await?;
    progress.ended(DEFINITIONS, Amount::items(1));
    Ok(())
}

/// A connection on which text between plain quotes means itself, where role or database are set to anything else: the server
/// writes the texts in definitions as that says, and whoever runs them reads them so.
async fn with_plain_quotes(session: &Session, conn: &ConnInfo) -> Result<Option<ConnInfo>> {
    let sql = "SELECT reset_val = 'off' FROM pg_catalog.pg_settings WHERE name = 'standard_conforming_strings'";
    let odd: bool = session.row("asking how definitions are quoted", sql, &[]).await?.get(0);
    Ok(odd.then(|| conn.with_settings(&[("standard_conforming_strings", "on".to_owned())])))
}

async fn rows(common: &Common<'_>, workers: &[Worker], work: &WorkList) -> Result<()> {
    let outlet = &common.outlet;
    outlet.progress.began(ROWS, Amount { items: work.parts(), rows: 0, bytes: work.bytes() });
    let reading = workers.iter().map(|worker| worker.read(work, outlet, common.rate.as_ref()));
    futures_util::future::try_join_all(reading).await?;
    // The last chunks are on their way; nothing is described before they are there.
    outlet.settled().await;
    let mut done = Amount { items: work.parts(), rows: 0, bytes: 0 };
    for reading in work.readings() {
        let totals = reading.object().totals();
        done += Amount::rows(totals.rows.rows, totals.bytes);
    }
    outlet.progress.ended(ROWS, done);
    Ok(())
}

async fn work_list(common: &Common<'_>, keeper: &Keeper, database: &str) -> Result<WorkList> {
    let (session, request) = (&keeper.session, common.request);
    let page_bytes: i64 = session
        .row("asking for the page size", "SELECT pg_catalog.current_setting('block_size')::bigint", &[])
        .await?
        .get(0);
    let page_bytes = u64::try_from(page_bytes).unwrap_or(8192);
    let read = keeper.tables.iter().filter(|table| not_read(table, request, session.is_standby()).is_none());
    let read: Vec<&Table> = read.collect();
    let out_of_line = out_of_line_bytes(keeper, &read).await?;
    let mut readings = Vec::with_capacity(read.len());
    for table in read {
        let sizes = Sizes {
            heap: keeper.heap_bytes.get(&table.oid).copied().unwrap_or_default(),
            out_of_line: out_of_line.get(&table.oid).copied().unwrap_or_default(),
            page: page_bytes,
        };
        let name = (database.to_owned(), table.schema.clone(), table.name.clone());
        let recorded = common.grids.get(&name).copied();
        let object = table_object(&common.outlet, table);
        readings.push(Reading::Table(Box::new(TableWork::new(table.clone(), object, sizes, recorded))));
    }
    readings.extend(LargeObjectWork::plan(session, &common.outlet).await?.map(Reading::LargeObjects));
    Ok(WorkList::new(readings))
}

/// The size of what each table keeps out of line.
async fn out_of_line_bytes(keeper: &Keeper, tables: &[&Table]) -> Result<HashMap<u32, u64>> {
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let sql = "SELECT oid, pg_catalog.pg_relation_size(reltoastrelid) FROM pg_catalog.pg_class \
               WHERE oid = ANY ($1) AND reltoastrelid <> 0";
    let rows = keeper.session.rows("measuring values out of line", sql, &[&oids]).await?;
    let bytes = |row: &tokio_postgres::Row| u64::try_from(row.get::<_, Option<i64>>(1)?).ok();
    Ok(rows.iter().filter_map(|row| Some((row.get(0), bytes(row)?))).collect())
}

async fn describe_tables(common: &Common<'_>, keeper: &Keeper, database: &str, work: &WorkList) -> Result<u64> {
    // Only of these do we hold the locks.
    let read = work.readings().iter().filter_map(Reading::table);
    let oids: Vec<u32> = read.map(|table| table.table.oid).collect();
    let indexes = catalog::indexes_of(&keeper.session, &oids).await?;
    let mut tables = 0;
    for reading in work.readings() {
        match reading {
            Reading::Table(table) => {
                let indexes = indexes.get(&table.table.oid).map_or(&[][..], Vec::as_slice);
                common.outlet.end_object(&table.object, &table.facts(database, indexes)).await?;
                tables += 1;
            }
            Reading::LargeObjects(objects) => {
                common.outlet.end_object(&objects.object, &OfDatabase { database: database.to_owned() }).await?;
            }
        }
    }
    Ok(tables)
}

/// Finds out by trying whether a snapshot can be exported and imported; the reason if it cannot.
pub(crate) async fn try_snapshot(conn: &ConnInfo) -> Result<Option<String>> {
    let one = connect(conn, "preflight").await?;
    keeper::begin(&one).await?;
    let exported = keeper::export(&one).await;
    let outcome = match exported {
        Ok((snapshot, _)) => {
            let other = connect(one.conn(), "preflight").await?;
            let imported = keeper::import(&other, &snapshot).await;
            other.close().await;
            imported.err()
        }
        Err(error) => Some(error),
    };
    one.close().await;
    Ok(outcome.map(|error| error.to_string()))
}
