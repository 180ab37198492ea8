//! Faults of databases: through sessions of PostgreSQL, and through its processes and files where they are on this
//! machine.

mod backend_kill;
mod bad_delete;
mod connection_exhaustion;
mod corrupted_page;
mod disk_full;
mod dropped_table;
pub(super) mod failover;
pub(super) mod ledger_table;
mod local;
mod lock_storm;
mod primary_crash;
mod primary_pause;
mod read_only;
mod replay_pause;
mod rights;
mod sessions;
mod slow_queries;
mod table;

use super::fault::{Fault, Prepared, Scene};
use super::select::Victim;
use super::target::TargetKind;
use crate::error::Result;
use crate::postgres::{Session, catalog};
use serde_json::json;

/// All faults of databases.
pub(super) const FAULTS: [&dyn Fault; 13] = [
    &backend_kill::BackendKill,
    &connection_exhaustion::ConnectionExhaustion,
    &lock_storm::LockStorm,
    &slow_queries::SlowQueries,
    &replay_pause::ReplayPause,
    &read_only::ReadOnly,
    &primary_crash::PrimaryCrash,
    &primary_pause::PrimaryPause,
    &disk_full::DiskFull,
    &failover::Failover,
    &dropped_table::DroppedTable,
    &bad_delete::BadDelete,
    &corrupted_page::CorruptedPage,
];

/// What all of them are aimed at.
const TARGETS: &[TargetKind] = &[TargetKind::Database];

/// The database as a whole, told from every other one by its system identifier and oid.
async fn whole(scene: &Scene<'_>) -> Result<Vec<Victim>> {
    let session = scene.session().await?;
    let identity = catalog::identity(&session).await?;
    let shown = format!("database {} at {}", session.conn().database(), session.conn().shown_hosts());
    session.close().await;
    let key = format!("{}/{}", identity.system_identifier, identity.database_oid);
    Ok(vec![Victim::new(key, shown)])
}

/// Refuses to touch another server than the one that the intent is about: addresses are given to others.
async fn still_the_same(session: &Session, prepared: &Prepared) -> Result<()> {
    let identity = catalog::identity(session).await?;
    let is = format!("{}/{}", identity.system_identifier, identity.database_oid);
    if is == prepared.victim.key {
        return Ok(());
    }
    Err(crate::error::Error::refused(format!(
        "undoing a fault in {}: another server answers there",
        prepared.victim.shown
    )))
}

/// What a fault notes that leaves nothing behind but its own sessions.
fn only_sessions(scene: &Scene<'_>, victim: Victim, undo: &str) -> Prepared {
    Prepared { victim, prior: json!({ "application": scene.application() }), undo: undo.to_owned() }
}
