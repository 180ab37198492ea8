//! Who waits behind us. A backup's locks are the weakest there are, but one `ALTER TABLE` queued behind them makes every
//! later query of the application wait, and PostgreSQL sees no deadlock in that. So we watch, and give way.

use super::session::Session;
use crate::clock::Clock;
use crate::error::{Error, Result};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the server is asked.
const PERIOD: Duration = Duration::from_secs(2);

/// How much of a waiting query is shown.
const QUERY_SHOWN: usize = 200;

/// Somebody who waits for a lock that one of our processes holds or stands in line for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub user: String,
    /// What it calls itself.
    pub application: String,
    /// What it wants to run, shortened; empty where we may not see it.
    pub query: String,
    /// The table it waits for, as SQL needs it, if it is one.
    pub relation: Option<String>,
    /// The lock it wants, such as `AccessExclusiveLock`.
    pub mode: String,
    /// How long it has waited, by the server's clock; zero in the instant before the server notes the start.
    pub waited: Duration,
}

/// Those who wait behind any of `pids` right now, the longest wait first. Our own processes are left out.
pub async fn waiters(session: &Session, pids: &[i32]) -> Result<Vec<Waiter>> {
    let doing = "looking who waits behind the backup";
    // Inside a transaction pg_stat_activity would go on showing what it showed first.
    session.execute(doing, "SELECT pg_catalog.pg_stat_clear_snapshot()").await?;
    let rows = session
        .rows(
            doing,
            "SELECT DISTINCT ON (l.pid) l.pid, COALESCE(a.usename::text, ''), COALESCE(a.application_name, ''), \
             COALESCE(a.query, ''), n.nspname, c.relname, l.mode, \
             (EXTRACT(epoch FROM pg_catalog.clock_timestamp() - l.waitstart) * 1000)::bigint \
             FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation AND l.database = \
                (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE NOT l.granted AND l.pid <> ALL ($1) AND pg_catalog.pg_blocking_pids(l.pid) && $1 \
             ORDER BY l.pid",
            &[&pids],
        )
        .await?;
    let mut found: Vec<Waiter> = rows
        .iter()
        .map(|row| {
            let (schema, name): (Option<String>, Option<String>) = (row.get(4), row.get(5));
            let waited: Option<i64> = row.get(7);
            Waiter {
                pid: row.get(0),
                user: row.get(1),
                application: row.get(2),
                query: row
                    .get::<_, &str>(3)
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .chars()
                    .take(QUERY_SHOWN)
                    .collect(),
                relation: schema.zip(name).map(|(schema, name)| super::quote::qualified(&schema, &name)),
                mode: row.get(6),
                waited: Duration::from_millis(waited.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default()),
            }
        })
        .collect();
    found.sort_by_key(|waiter| std::cmp::Reverse(waiter.waited));
    Ok(found)
}

/// Watches until somebody has waited behind `pids` for longer than `budget`, and gives that waiter. It returns `None` when
/// cancelled. `pids` is asked for at each look, because workers come and go.
///
/// # Errors
/// The session that watches was lost; then nobody knows whether an application hangs, so the caller should give way, too.
pub async fn watch(
    session: &Session,
    pids: impl Fn() -> Vec<i32> + Send + Sync,
    budget: Duration,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> Result<Option<Waiter>> {
    let period = PERIOD.min(budget / 2).max(Duration::from_millis(50));
    loop {
        tokio::select! {
            () = clock.sleep(period) => {}
            () = cancel.cancelled() => return Ok(None),
        }
        let processes = pids();
        let found = tokio::select! {
            found = waiters(session, &processes) => found?,
            () = cancel.cancelled() => return Ok(None),
        };
        // The longest wait comes first.
        if let Some(waiter) = found.into_iter().next().filter(|waiter| waiter.waited >= budget) {
            return Ok(Some(waiter));
        }
    }
}

/// The failure of a run that gave way to this waiter.
pub fn gave_way(waiter: &Waiter) -> Error {
    let who = if waiter.application.is_empty() {
        waiter.user.clone()
    } else {
        format!("{} ({})", waiter.user, waiter.application)
    };
    let what = waiter.relation.as_deref().map(|relation| format!(" on {relation}")).unwrap_or_default();
    let query = if waiter.query.is_empty() { String::new() } else { format!(": {}", waiter.query) };
    Error::failed(format!(
        "giving way to process {} of {who}, which waited {} s for {}{what}{query}",
        waiter.pid,
        waiter.waited.as_secs(),
        waiter.mode
    ))
    .hint("run the backup when no schema changes are made, or raise the lock budget")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_we_gave_way_to_is_named_with_the_query() {
        let waiter = Waiter {
            pid: 7,
            user: "app".into(),
            application: "migrate".into(),
            query: "ALTER TABLE orders ADD x int".into(),
            relation: Some("\"public\".\"orders\"".into()),
            mode: "AccessExclusiveLock".into(),
            waited: Duration::from_secs(31),
        };
        assert_eq!(
            gave_way(&waiter).to_string(),
            "giving way to process 7 of app (migrate), which waited 31 s for AccessExclusiveLock on \
             \"public\".\"orders\": ALTER TABLE orders ADD x int"
        );
    }
}
