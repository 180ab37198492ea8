//! The last read of the replica: whether the standby has, once it has replayed what the writer wrote, the rows that the writer
//! has.

use super::desk::{Desk, LOOK};
use super::dial::Open;
use crate::error::{Error, Result};
use crate::postgres::{Session, connect};
use crate::probe::ledger::Table;
use crate::report::journal::{Differing, Event, ReplicaSeen, ReplicaState};
use crate::secret::Secret;
use std::time::Duration;

/// How long the standby may take to replay what the writer has written.
const REPLAYS: Duration = Duration::from_secs(30);
/// More ids than this only fill a journal.
const IDS: usize = 1_000;

/// Where the writer's log ends.
const END: &str = "SELECT (pg_catalog.pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";
/// Whether it is a standby, how far it has replayed, and whether somebody sends it more: in which state only some roles may
/// see.
const REPLAYED: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
                        coalesce((pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0), \
                        EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)";

/// Compares the standby with what `writer` gave, in order, and writes down what was seen; nothing where no standby is known.
pub(super) async fn compare(desk: &Desk<'_>, writer: &Session, table: &Table, rows: &[(u64, u64)]) -> Result<()> {
    let Some(standby) = &desk.script.access.standby else { return Ok(()) };
    let from = desk.now();
    let state = match read(desk, standby, writer, table, rows).await {
        Ok(state) => state,
        Err(error) => ReplicaState::Unknown { why: error.to_string() },
    };
    desk.notebook.note(Event::Replica(ReplicaSeen { from, until: desk.now(), state }))
}

async fn read(
    desk: &Desk<'_>,
    standby: &Secret,
    writer: &Session,
    table: &Table,
    rows: &[(u64, u64)],
) -> Result<ReplicaState> {
    let end: i64 = writer.row("asking where the writer's log ends", END, &[]).await?.get(0);
    let began = desk.now();
    let session = connect(&desk.conn(standby)?, "drill").await?;
    loop {
        let row = session.row("asking the standby how far it is", REPLAYED, &[]).await?;
        let (is_standby, replayed, streams): (bool, i64, bool) = (row.get(0), row.get(1), row.get(2));
        if !is_standby {
            return Ok(ReplicaState::Promoted);
        }
        if replayed >= end {
            break;
        }
        if desk.now().saturating_sub(began) >= REPLAYS {
            return Ok(ReplicaState::Behind { bytes: (end - replayed).unsigned_abs(), streams });
        }
        desk.sleep(LOOK).await?;
    }
    let link = Open(session);
    let limit = async {
        desk.means.clock().sleep(REPLAYS).await;
        Err(Error::failed(format!("reading {} at the standby: it did not end in time", table.name())))
    };
    let there = tokio::select! {
        there = table.read(&link) => there?,
        late = limit => late?,
    };
    let count = there.len() as u64;
    let (missing, extra) = differing(rows, there);
    Ok(ReplicaState::Read { rows: count, missing: some(missing), extra: some(extra) })
}

/// The ids of rows that stand only here, where they are in order, and of those that stand only there. A row with another
/// content is both.
fn differing(here: &[(u64, u64)], mut there: Vec<(u64, u64)>) -> (Vec<u64>, Vec<u64>) {
    there.sort_unstable();
    let (mut here, mut there) = (here.iter().peekable(), there.iter().peekable());
    let (mut missing, mut extra) = (Vec::new(), Vec::new());
    loop {
        match (here.peek().copied(), there.peek().copied()) {
            (Some(one), Some(other)) if one == other => {
                here.next();
                there.next();
            }
            (Some(one), other) if other.is_none_or(|other| one < other) => {
                missing.push(one.0);
                here.next();
            }
            (_, Some(other)) => {
                extra.push(other.0);
                there.next();
            }
            (_, None) => break,
        }
    }
    missing.dedup();
    extra.dedup();
    (missing, extra)
}

fn some(mut ids: Vec<u64>) -> Differing {
    let count = ids.len() as u64;
    ids.truncate(IDS);
    Differing { count, ids }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_missing_there_twice_there_or_other_there_differ() {
        let here = [(1, 10), (2, 20), (3, 30), (4, 40)];
        assert_eq!(differing(&here, vec![(4, 40), (3, 30), (2, 20), (1, 10)]), (vec![], vec![]));
        let there = vec![(1, 10), (3, 31), (4, 40), (4, 40), (9, 90)];
        assert_eq!(differing(&here, there), (vec![2, 3], vec![3, 4, 9]));
        assert_eq!(differing(&[(1, 10), (1, 10), (5, 50)], vec![(1, 10)]), (vec![1, 5], vec![]));
        assert_eq!(some((0..5_000).collect()).count, 5_000);
        assert_eq!(some((0..5_000).collect()).ids.len(), IDS);
    }
}
