//! Object locks: how long what a point names cannot be deleted.
//!
//! Locks are set in coarse steps, so that a chunk which a daily backup uses again every day is locked anew once a week.

use super::catalogue::{Entry, PointSummary};
use super::manifest::Line;
use super::{Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Result};
use crate::store::{Lock, ObjectKey, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;

/// A number of weeks since 1970.
pub(super) type LockStep = u16;

const STEP_SECONDS: i64 = 7 * 24 * 3600;

/// The step that covers `until`, and when it ends.
pub(super) fn lock_step(until: Timestamp) -> (LockStep, Timestamp) {
    let seconds = until.as_second().max(0).saturating_add(i64::from(until.subsec_nanosecond() > 0));
    let step = u16::try_from((seconds + STEP_SECONDS - 1) / STEP_SECONDS).unwrap_or(u16::MAX >> 1).min(u16::MAX >> 1);
    (step, Timestamp::from_second(i64::from(step) * STEP_SECONDS).unwrap_or(Timestamp::MAX))
}

impl Repository {
    /// The lock that `until` asks for, in this repository's mode and in coarse steps; none where nothing is locked.
    pub(super) fn lock_for(&self, until: Option<Timestamp>) -> Option<(Lock, LockStep)> {
        let (mode, until) = self.settings().lock.zip(until)?;
        let (step, until) = lock_step(until);
        Some((Lock { mode, until }, step))
    }

    /// Locks a point, and every chunk it names, at least until `until`; never shortens. Only after this may a point be
    /// called promoted to a longer tier. Tells how many objects were locked anew.
    pub async fn lock_point(&self, point: &PointSummary, until: Timestamp) -> Result<u64> {
        let Some((lock, _)) = self.lock_for(Some(until)) else { return Ok(0) };
        if point.lock_until.is_some_and(|known| known >= lock.until) {
            return Ok(0);
        }
        let (source, id) = (&point.source, &point.link.point);
        let mut reader = self.read_point(source, id).await?;
        let mut locked = 0;
        while let Some(line) = reader.next().await? {
            let Line::Range(range) = line else { continue };
            locked += self.lock_all(range.chunks.iter().map(layout::chunk).collect(), lock).await?;
        }
        // The point itself last: its lock says that its chunks are locked as long.
        locked += self.lock_all(vec![layout::manifest(source, id), layout::signature(source, id)], lock).await?;
        let entry = Entry::Locked { point: id.clone(), until: lock.until };
        self.append_to_catalogue(source, vec![entry]).await?;
        Ok(locked)
    }

    async fn lock_all(&self, keys: Vec<ObjectKey>, lock: Lock) -> Result<u64> {
        let count = keys.len() as u64;
        futures_util::stream::iter(keys)
            .map(|key| async move {
                if self.lock_object(&key, lock).await? {
                    return Ok(());
                }
                Err(Error::check(format!("locking {key}: it is missing")).hint("davit verify tells what is damaged"))
            })
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<()>()
            .await?;
        Ok(count)
    }

    /// Locks the current version of an object; false if there is none.
    pub(super) async fn lock_object(&self, key: &ObjectKey, lock: Lock) -> Result<bool> {
        match self.store().extend_lock(key, None, lock).await {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(failed(format!("locking {key}"))(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_at_or_after_the_instant_it_covers_and_within_a_week() {
        for second in [0, 1, STEP_SECONDS - 1, STEP_SECONDS, 1_800_000_000, 1_800_000_123] {
            let until = Timestamp::from_second(second).unwrap();
            let (step, end) = lock_step(until);
            assert!(end >= until && end.as_second() - second < STEP_SECONDS, "{second}");
            assert_eq!(lock_step(end), (step, end), "{second}");
        }
    }
}
