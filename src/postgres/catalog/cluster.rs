//! Facts about the server as a whole: which cluster it is, where its log stands, and what it allows us.

use crate::error::Result;
use crate::postgres::fault::{Fault, classify};
use crate::postgres::session::Session;
use std::time::Duration;

/// Which cluster and database this is: a source stays bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's system identifier; where the server does not tell it, a stand-in that begins with `unknown`.
    pub system_identifier: String,
    /// Whether the server told it.
    pub certain: bool,
    /// The database's oid.
    pub database_oid: u32,
}

/// Which cluster and database the session is connected to.
pub async fn identity(session: &Session) -> Result<Identity> {
    let doing = "reading which server this is";
    let row = session
        .row(
            doing,
            "SELECT oid, datname FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
            &[],
        )
        .await?;
    let (database_oid, name): (u32, String) = (row.get(0), row.get(1));
    let asked =
        session.client.query_one("SELECT system_identifier::text FROM pg_catalog.pg_control_system()", &[]).await;
    match asked {
        Ok(row) => Ok(Identity { system_identifier: row.get(0), certain: true, database_oid }),
        // Some providers keep the control file to themselves.
        Err(error) if matches!(classify(&error), Fault::Denied | Fault::Missing) => {
            Ok(Identity { system_identifier: format!("unknown/{name}"), certain: false, database_oid })
        }
        Err(error) => Err(session.explain(&error, doing)),
    }
}

/// Where the write-ahead log stands (on a standby: how far it is replayed).
pub async fn lsn(session: &Session) -> Result<Option<String>> {
    let sql = if session.is_standby() {
        "SELECT pg_catalog.pg_last_wal_replay_lsn()::text"
    } else {
        "SELECT pg_catalog.pg_current_wal_lsn()::text"
    };
    Ok(session.row("reading the WAL position", sql, &[]).await?.get(0))
}

/// How a standby treats readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// How long replay waits for a reader; `None` is for ever.
    pub delay_max: Option<Duration>,
    /// The same while it replays from an archive.
    pub archive_delay_max: Option<Duration>,
    /// Whether the primary is told what readers still need.
    pub feedback: bool,
    /// How old the last replayed transaction is.
    pub lag: Option<Duration>,
}

impl Standby {
    /// Whether a reading of this length may be cancelled by replay.
    pub fn may_cancel(&self, reading: Duration) -> bool {
        !self.feedback && self.delay_max.is_some_and(|delay| reading > delay)
    }
}

/// How this standby treats readers; `None` on a primary.
pub async fn standby(session: &Session) -> Result<Option<Standby>> {
    if !session.is_standby() {
        return Ok(None);
    }
    let row = session
        .row(
            "reading the settings of the standby",
            "SELECT (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'max_standby_streaming_delay'), \
             (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'max_standby_archive_delay'), \
             pg_catalog.current_setting('hot_standby_feedback')::bool, \
             (EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::bigint",
            &[],
        )
        .await?;
    // Negative numbers stand for "for ever" in the settings.
    let millis = |ms: i64| u64::try_from(ms).ok().map(Duration::from_millis);
    Ok(Some(Standby {
        delay_max: millis(row.get(0)),
        archive_delay_max: millis(row.get(1)),
        feedback: row.get(2),
        lag: row.get::<_, Option<i64>>(3).and_then(millis),
    }))
}

/// The places in the server's shared lock table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockBudget {
    /// `max_locks_per_transaction`.
    pub per_transaction: u64,
    /// At least so many locks fit in all.
    pub total: u64,
    /// Taken at this moment.
    pub used: u64,
    /// Connections the server allows in all, less those kept for superusers.
    pub connections: u64,
    /// Connections in use.
    pub connections_used: u64,
}

impl LockBudget {
    /// Whether so many more locks fit, with a fifth left to everybody else.
    pub fn allows(&self, locks: u64) -> bool {
        self.used.saturating_add(locks) <= self.total / 5 * 4
    }

    /// What `max_locks_per_transaction` would have to be.
    pub fn needed_per_transaction(&self, locks: u64) -> u64 {
        let slots = (self.total / self.per_transaction.max(1)).max(1);
        (self.used.saturating_add(locks)).saturating_mul(5).div_ceil(4).div_ceil(slots)
    }
}

/// How many locks and connections the server has left.
pub async fn lock_budget(session: &Session) -> Result<LockBudget> {
    let row = session
        .row(
            "reading the limits of the server",
            "SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint, \
             pg_catalog.current_setting('max_connections')::bigint, \
             pg_catalog.current_setting('max_prepared_transactions')::bigint, \
             pg_catalog.current_setting('superuser_reserved_connections')::bigint, \
             (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE NOT fastpath), \
             (SELECT pg_catalog.sum(numbackends)::bigint FROM pg_catalog.pg_stat_database)",
            &[],
        )
        .await?;
    let number = |i: usize| u64::try_from(row.get::<_, i64>(i)).unwrap_or_default();
    Ok(LockBudget {
        per_transaction: number(0),
        total: number(0) * (number(1) + number(2)),
        used: number(4),
        connections: number(1).saturating_sub(number(3)),
        connections_used: number(5),
    })
}

/// The databases of the server that accept connections, templates left out, in the order of their names.
pub async fn databases(session: &Session) -> Result<Vec<String>> {
    let rows = session
        .rows(
            "listing databases",
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_lock_table_is_left_to_others() {
        let budget = LockBudget { per_transaction: 64, total: 6400, used: 100, connections: 97, connections_used: 3 };
        assert!(budget.allows(5020));
        assert!(!budget.allows(5021));
        assert_eq!(budget.needed_per_transaction(9900), 125);
    }

    #[test]
    fn a_standby_with_feedback_does_not_cancel() {
        let standby =
            Standby { delay_max: Some(Duration::from_secs(30)), archive_delay_max: None, feedback: false, lag: None };
        assert!(standby.may_cancel(Duration::from_secs(31)));
        assert!(!standby.may_cancel(Duration::from_secs(30)));
        assert!(!Standby { feedback: true, ..standby.clone() }.may_cancel(Duration::MAX));
        assert!(!Standby { delay_max: None, ..standby }.may_cancel(Duration::MAX));
    }
}
