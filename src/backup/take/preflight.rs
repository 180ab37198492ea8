//! What is looked at before anything begins: whether every row can be read, by which engine, and what is odd.
//!
//! All of it only reads. A refusal here has changed nothing.

use super::database::try_snapshot;
use super::described::not_read;
use super::keeper::is_locked;
use super::large_objects;
use super::request::{EngineChoice, Request};
use super::sequences::sequences;
use crate::backup::facts::Engine;
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::postgres::ConnInfo;
use crate::postgres::catalog::{self, Access, LockBudget, Standby, Table, TableKind};
use crate::postgres::session::Session;
use crate::store::SharedStore;
use jiff::Timestamp;
use std::time::Duration;

/// A clock further off than this is refused or told: retention and names of points go by it.
const SKEW_MAX: Duration = Duration::from_mins(5);

/// Connections beside the readers: keeper, watcher, `pg_dump`.
const OTHER_CONNECTIONS: u64 = 3;

/// Locks that are no tables: catalogues that `pg_dump` and the planner look at.
const OTHER_LOCKS: u64 = 200;

/// What one reader brings at least, to tell how long a reading may take: text of rows over a slow network.
const SLOW_BYTES_PER_SECOND: u64 = 20 * 1024 * 1024;

/// What follows for whoever restores, where passwords cannot be read.
pub(crate) const WITHOUT_PASSWORDS: &str = "the passwords of roles cannot be read with this account and are not in the \
    backup: roles that a restore makes need new ones";

/// Whether the account may not read the passwords of roles: a superuser and whoever reads all data may, where the provider
/// does not keep them to itself.
pub(crate) async fn passwords_are_hidden(session: &Session) -> Result<bool> {
    let sql = "SELECT NOT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";
    Ok(session.row("asking whether passwords can be read", sql, &[]).await?.get(0))
}

/// Refuses tables of which a backup would hold only a part, or nothing.
pub(crate) fn refuse_unreadable(tables: &[Table], request: &Request, standby: bool) -> Result<()> {
    let taken = |table: &&Table| {
        let rows = not_read(table, request, standby).is_none();
        // Definitions need a lock, and a lock needs the privilege, also on a partitioned parent.
        rows || (table.kind == TableKind::Partitioned && is_locked(table, request))
    };
    let hidden: Vec<&Table> = tables.iter().filter(taken).filter(|table| table.access == Access::RowsHidden).collect();
    if let Some(first) = hidden.first() {
        let text = format!("reading {}{}: row security would hide rows from us", first.qualified(), more(hidden.len()));
        return Err(Error::refused(text)
            .hint("back up as a role with BYPASSRLS; being the owner is not enough under FORCE ROW LEVEL SECURITY"));
    }
    let denied: Vec<&Table> = tables.iter().filter(taken).filter(|table| table.access == Access::Denied).collect();
    if let Some(first) = denied.first() {
        let text = format!("reading {}{}: no privilege", first.qualified(), more(denied.len()));
        let schema = crate::postgres::quote::ident(&first.schema);
        return Err(Error::refused(text).hint(format!(
            "GRANT USAGE ON SCHEMA {schema} and SELECT ON ALL TABLES IN SCHEMA {schema}, or GRANT pg_read_all_data; \
             or leave the table out"
        )));
    }
    Ok(())
}

fn more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        2 => " and 1 other".to_owned(),
        _ => format!(" and {} others", count - 1),
    }
}

/// Counts sequences and large objects, and refuses those that cannot be read.
pub(crate) async fn count_state(session: &Session, tables: &[Table], request: &Request) -> Result<(usize, usize)> {
    let sequences = sequences(session, tables, request).await?;
    let objects = catalog::large_objects(session).await?;
    large_objects::refuse_unreadable(&objects)?;
    Ok((sequences.len(), objects.oids.len()))
}

/// Which engine reads a database, with how many connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The engine.
    pub(crate) engine: Engine,
    /// Why, if it is not the parallel one or not with the jobs asked for.
    pub(crate) reason: Option<String>,
    /// Connections that read rows.
    pub(crate) jobs: usize,
}

/// Decides on the engine: the parallel one where it can keep its promises.
pub(crate) async fn decide(
    session: &Session,
    conn: &ConnInfo,
    tables: &[Table],
    request: &Request,
) -> Result<Decision> {
    let wanted = request.wanted_jobs();
    if request.engine == EngineChoice::Stream {
        return Ok(Decision { engine: Engine::Stream, reason: None, jobs: 1 });
    }
    let budget = catalog::lock_budget(session).await?;
    let locked: Vec<&Table> = tables.iter().filter(|table| is_locked(table, request)).collect();
    let (jobs, reason) = match jobs_that_fit(&budget, &locked, wanted) {
        Ok(jobs) if jobs == wanted => (jobs, None),
        Ok(jobs) => (jobs, Some(format!("{jobs} instead of {wanted} jobs: {}", shortage(&budget, &locked, wanted)))),
        Err(reason) => return unable(request, reason),
    };
    match try_snapshot(conn).await? {
        Some(reason) => unable(request, format!("the server does not share snapshots: {reason}")),
        None => Ok(Decision { engine: Engine::Parallel, reason, jobs }),
    }
}

/// What happens where the parallel engine cannot do it.
fn unable(request: &Request, reason: String) -> Result<Decision> {
    match request.engine {
        EngineChoice::Parallel => Err(Error::refused(format!("backing up {} in parallel: {reason}", request.source))
            .hint("take --engine stream, or change what stands in the way")),
        _ => Ok(Decision { engine: Engine::Stream, reason: Some(reason), jobs: 1 }),
    }
}

/// Places in the lock table that so many readers need: one per table and holder, and one for every index of a table that
/// is read by ranges (the planner opens them all). A place for a holder is half the size of one for a thing locked, and
/// the server has twice as many of them.
fn locks_needed(tables: &[&Table], jobs: usize) -> u64 {
    let things = tables.len() as u64;
    let indexes: u64 =
        tables.iter().filter(|table| table.pages_estimate > 1024).map(|table| u64::from(table.index_count)).sum();
    let holders = things * (jobs as u64 + 2) + indexes * jobs as u64;
    (things + indexes).max(holders.div_ceil(2)) + OTHER_LOCKS
}

/// The most readers up to `wanted` that locks and connections allow.
fn jobs_that_fit(budget: &LockBudget, tables: &[&Table], wanted: usize) -> Result<usize, String> {
    let free = budget.connections.saturating_sub(budget.connections_used);
    let fits = |jobs: &usize| budget.allows(locks_needed(tables, *jobs)) && *jobs as u64 + OTHER_CONNECTIONS <= free;
    (1..=wanted).rev().find(fits).ok_or_else(|| shortage(budget, tables, 1))
}

/// What there is too little of.
fn shortage(budget: &LockBudget, tables: &[&Table], jobs: usize) -> String {
    let needed = locks_needed(tables, jobs);
    if !budget.allows(needed) {
        return format!(
            "{} tables with {jobs} jobs need about {needed} locks, and the server has {} of which {} are taken; \
             max_locks_per_transaction = {} would do",
            tables.len(),
            budget.total,
            budget.used,
            budget.needed_per_transaction(needed)
        );
    }
    let free = budget.connections.saturating_sub(budget.connections_used);
    format!("{jobs} jobs need {} connections, and the server has {free} left", jobs as u64 + OTHER_CONNECTIONS)
}

/// What a standby makes odd about a reading of so many bytes.
pub(crate) fn standby_warning(standby: &Standby, bytes: u64, jobs: usize) -> Option<String> {
    let expected = Duration::from_secs(bytes / (SLOW_BYTES_PER_SECOND * jobs as u64) + 1);
    standby.may_cancel(expected).then(|| {
        format!(
            "this standby may cancel the backup: it is expected to read for up to {} s, max_standby_streaming_delay is \
             {} s, and hot_standby_feedback is off",
            expected.as_secs(),
            standby.delay_max.unwrap_or_default().as_secs()
        )
    })
}

/// How far this machine's clock is from the store's: too far is refused, because points are named and kept by it.
pub(crate) async fn refuse_skewed_clock(store: &SharedStore, clock: &SharedClock) -> Result<()> {
    let Ok(Some(theirs)) = store.clock().await else { return Ok(()) };
    match skew(clock.now(), theirs) {
        Some(off) => Err(Error::refused(format!("comparing clocks: this machine's is {off} the store's"))
            .hint("set this machine's clock (NTP); retention counts days by it")),
        None => Ok(()),
    }
}

/// The same for the database server, whose clock is only a label for us.
pub(crate) async fn server_clock_warning(session: &Session, clock: &SharedClock) -> Result<Option<String>> {
    let sql = "SELECT (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint";
    let row = session.row("asking for the server's time", sql, &[]).await?;
    let theirs = Timestamp::from_microsecond(row.get(0)).unwrap_or(Timestamp::UNIX_EPOCH);
    let off = skew(clock.now(), theirs);
    Ok(off.map(|off| format!("this machine's clock is {off} the database server's: snapshot times are the server's")))
}

fn skew(ours: Timestamp, theirs: Timestamp) -> Option<String> {
    let apart = ours.duration_since(theirs);
    if apart.unsigned_abs() <= SKEW_MAX {
        return None;
    }
    let side = if apart.is_negative() { "behind" } else { "ahead of" };
    let minutes = apart.unsigned_abs().as_secs() / 60;
    Some(format!("{} h {} min {side}", minutes / 60, minutes % 60))
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
