//! How far the standby is behind its primary, once a second, for the graph of a report. It decides nothing.
//!
//! It is asked over connections of its own, of which no answer is waited for longer than a second: what is not known by
//! then is left open, and nothing else of a drill waits for it.

use super::desk::Desk;
use crate::error::{Error, Result};
use crate::postgres::{Session, connect};
use crate::report::journal::{Event, LagSeen};
use crate::secret::Secret;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long one answer is waited for, with its connection where there is none.
const ANSWER: Duration = Duration::from_secs(1);
/// So many looks are one line of the journal.
const A_LINE: usize = 60;

/// Where a primary's log ends, and how much of it its worst streaming standby has not replayed, in bytes and in time.
const PRIMARY: &str = "SELECT (pg_catalog.pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, \
                       (SELECT max(pg_catalog.pg_current_wal_lsn() - replay_lsn)::bigint \
                        FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'), \
                       (SELECT (extract(epoch FROM max(replay_lag)) * 1000)::bigint \
                        FROM pg_catalog.pg_stat_replication WHERE state = 'streaming') \
                       WHERE NOT pg_catalog.pg_is_in_recovery()";

/// How far a standby has replayed and received the log, and how old the last transaction is that it replayed.
const STANDBY: &str = "SELECT (pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, \
                       (pg_catalog.pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::bigint, \
                       (extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) \
                       * 1000)::bigint \
                       WHERE pg_catalog.pg_is_in_recovery()";

/// What a primary says.
#[derive(Debug, Clone, Copy)]
struct Primary {
    end: i64,
    bytes: Option<i64>,
    millis: Option<i64>,
}

/// What a standby says.
#[derive(Debug, Clone, Copy)]
struct Standby {
    replayed: i64,
    received: Option<i64>,
    millis: Option<i64>,
}

/// Looks until everything else is `over`, and writes down what was seen.
pub(super) async fn watch(desk: &Desk<'_>, over: &CancellationToken) -> Result<()> {
    let access = &desk.script.access;
    if !desk.is_database() || (access.primary.is_none() && access.standby.is_none()) {
        return Ok(());
    }
    let (mut primary, mut standby) = (Line::to(access.primary.as_ref()), Line::to(access.standby.as_ref()));
    let mut seen = Vec::new();
    while !over.is_cancelled() {
        let at = desk.now();
        let (first, second) = tokio::join!(primary.ask(desk, PRIMARY), standby.ask(desk, STANDBY));
        let first = first.map(|[end, bytes, millis]| Primary { end: end.unwrap_or(0), bytes, millis });
        let second =
            second.map(|[replayed, received, millis]| Standby { replayed: replayed.unwrap_or(0), received, millis });
        let (bytes, millis) = behind(first, access.primary.is_some(), second);
        if bytes.is_some() || millis.is_some() {
            seen.push(LagSeen { at, bytes, millis });
        }
        if seen.len() >= A_LINE {
            desk.notebook.note(Event::Lag(std::mem::take(&mut seen)))?;
        }
        tokio::select! {
            () = over.cancelled() => {}
            () = desk.means.clock().sleep((at + EVERY).saturating_sub(desk.now())) => {}
        }
    }
    if seen.is_empty() { Ok(()) } else { desk.notebook.note(Event::Lag(seen)) }
}

/// How far behind, in bytes and in milliseconds; nothing where nobody can know. Where the log ends only the primary knows: a
/// standby that has replayed all that it received says nothing while its primary is out of reach.
fn behind(primary: Option<Primary>, has_primary: bool, standby: Option<Standby>) -> (Option<u64>, Option<u64>) {
    let size = |bytes: i64| u64::try_from(bytes.max(0)).unwrap_or(0);
    match (primary, standby) {
        (Some(primary), Some(standby)) => {
            let bytes = size(primary.end - standby.replayed);
            // A quiet primary makes the last transaction old, and nobody late.
            let millis = if bytes == 0 { Some(0) } else { standby.millis.map(size) };
            (Some(bytes), millis)
        }
        (Some(primary), None) => (primary.bytes.map(size), primary.bytes.map(|_| primary.millis.map_or(0, size))),
        (None, Some(standby)) if !has_primary => {
            let bytes = standby.received.map(|received| size(received - standby.replayed));
            let millis = if bytes == Some(0) { Some(0) } else { standby.millis.map(size) };
            (bytes, millis)
        }
        (None, _) => (None, None),
    }
}

/// A connection that is kept for as long as it answers.
struct Line<'a> {
    url: Option<&'a Secret>,
    session: Option<Session>,
}

impl<'a> Line<'a> {
    fn to(url: Option<&'a Secret>) -> Self {
        Self { url, session: None }
    }

    /// Three numbers of one row; nothing where there is no row, or none in time.
    async fn ask(&mut self, desk: &Desk<'_>, sql: &str) -> Option<[Option<i64>; 3]> {
        let url = self.url?;
        let kept = self.session.take();
        let asking = async {
            let session = match kept {
                Some(session) => session,
                None => connect(&desk.conn(url)?, "drill").await?,
            };
            let rows = session.texts("asking how far replication is", sql).await?;
            Ok::<_, Error>((session, rows))
        };
        tokio::select! {
            asked = asking => {
                let (session, rows) = asked.ok()?;
                self.session = Some(session);
                let row = rows.into_iter().next()?;
                let number = |at: usize| row.get(at).and_then(Option::as_deref).and_then(|text| text.parse().ok());
                Some([number(0), number(1), number(2)])
            }
            () = desk.means.clock().sleep(ANSWER) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_primary_knows_is_open_without_it() {
        let primary = |end| Some(Primary { end, bytes: Some(70), millis: None });
        let standby = |replayed| Some(Standby { replayed, received: Some(100), millis: Some(9_000) });
        for (primary, has, standby, expected) in [
            (primary(150), true, standby(100), (Some(50), Some(9_000))),
            // It is idle: the last transaction is old, and everything is replayed.
            (primary(100), true, standby(100), (Some(0), Some(0))),
            // Between the two questions it has moved on.
            (primary(99), true, standby(100), (Some(0), Some(0))),
            (primary(150), true, None, (Some(70), Some(0))),
            (Some(Primary { end: 150, bytes: None, millis: None }), true, None, (None, None)),
            (None, true, standby(100), (None, None)),
            (None, false, standby(100), (Some(0), Some(0))),
            (None, false, standby(90), (Some(10), Some(9_000))),
            (None, false, None, (None, None)),
        ] {
            assert_eq!(behind(primary, has, standby), expected, "{primary:?} {standby:?}");
        }
    }
}
