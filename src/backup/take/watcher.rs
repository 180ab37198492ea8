//! Watches the server while a backup reads: whether somebody waits behind our locks, how old the snapshot grows, and
//! whether the keeper is alive. It only ever ends the run; it touches nobody else.

use super::keeper::xmin_age;
use super::locks::in_the_way_of;
use super::request::Request;
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::journal::SharedProgress;
use crate::postgres::locks::{Waiter, gave_way, waiters};
use crate::postgres::session::Session;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often it looks; a tenth of this is what the look costs the server at worst.
const EVERY: Duration = Duration::from_secs(1);

/// How often the listener hears of the snapshot's age.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// The budgets of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budgets {
    lock: Duration,
    snapshot: Duration,
    xmin_age: u64,
}

impl Budgets {
    /// Those of a request.
    pub(crate) fn of(request: &Request) -> Self {
        Self { lock: request.lock_budget, snapshot: request.snapshot_budget, xmin_age: request.xmin_age_budget }
    }

    /// Whether what was seen is more than was allowed.
    fn judge(&self, seen: &Seen) -> Option<Error> {
        if let Some(waiter) = &seen.waiter
            && waiter.waited > self.lock
        {
            return Some(gave_way(waiter));
        }
        if seen.held > self.snapshot {
            let hint = "take the backup with more jobs, from a standby, or raise the snapshot budget";
            let (held, budget) = (seen.held.as_secs(), self.snapshot.as_secs());
            return Some(
                Error::failed(format!("holding the snapshot for {held} s: the budget is {budget} s")).hint(hint),
            );
        }
        if seen.xmin_age > self.xmin_age {
            let (age, budget) = (seen.xmin_age, self.xmin_age);
            let text = format!("holding a snapshot {age} transactions old: the budget is {budget}");
            return Some(Error::failed(text).hint("vacuum cannot clean up behind it, on this server or its primary"));
        }
        None
    }
}

/// What one look showed.
#[derive(Debug, Clone)]
struct Seen {
    waiter: Option<Waiter>,
    held: Duration,
    xmin_age: u64,
}

/// The watcher of one database's backup.
pub(crate) struct Watcher {
    session: Session,
    keeper: AtomicI32,
    pids: Mutex<Vec<i32>>,
    /// What a process calls itself that is not ours and works for us.
    helper: Mutex<Option<String>>,
    budgets: Budgets,
    clock: SharedClock,
    progress: SharedProgress,
    oldest: AtomicU64,
    /// Who stood in our way at the last look.
    in_the_way: Mutex<Option<String>>,
}

impl Watcher {
    /// A watcher on a connection of its own, over nobody yet.
    pub(crate) fn new(session: Session, budgets: Budgets, clock: SharedClock, progress: SharedProgress) -> Arc<Self> {
        let (keeper, oldest) = (AtomicI32::new(0), AtomicU64::new(0));
        let (pids, helper, in_the_way) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { session, keeper, pids, helper, budgets, clock, progress, oldest, in_the_way })
    }

    /// Watches over the process that keeps the snapshot.
    pub(crate) fn keeper_is(&self, pid: i32) {
        self.keeper.store(pid, Ordering::Relaxed);
        self.watch_over(pid);
    }

    /// Watches over this process, too.
    pub(crate) fn watch_over(&self, pid: i32) {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
    }

    /// Watches over whoever calls itself so, as long as it is there: `pg_dump` locks what its definitions look at.
    pub(crate) fn watch_over_helper(&self, name: String) {
        *self.helper.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    /// Watches over this process no more.
    pub(crate) fn forget(&self, pid: i32) {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| *known != pid);
    }

    /// How old the snapshot was at most, in transactions.
    pub(crate) fn xmin_age_max(&self) -> u64 {
        self.oldest.load(Ordering::Relaxed)
    }

    /// Names who held a lock that we did not get.
    pub(crate) fn name_holder(&self, error: Error) -> Error {
        match self.in_the_way.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(holder) => error.hint(holder.clone()),
            None => error,
        }
    }

    /// Looks until there is a reason to end the run.
    pub(crate) async fn watch(&self) -> Error {
        let mut told = self.clock.monotonic();
        loop {
            self.clock.sleep(EVERY).await;
            match self.look().await {
                Ok(seen) => {
                    if let Some(error) = self.budgets.judge(&seen) {
                        return error;
                    }
                    let now = self.clock.monotonic();
                    if now.saturating_sub(told) >= TELL_EVERY {
                        told = now;
                        let (held, age) = (seen.held.as_secs(), seen.xmin_age);
                        self.progress.note(format!("the snapshot is {held} s and {age} transactions old"));
                    }
                }
                // Not to see is not to know; a run that may stand in somebody's way does not go on blind.
                Err(error) => return error.during("watching over the backup's locks"),
            }
        }
    }

    async fn look(&self) -> Result<Seen> {
        let mut pids = self.pids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(name) = helper {
            let sql = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = $1";
            let found = self.session.rows("looking for pg_dump on the server", sql, &[&name]).await?;
            pids.extend(found.iter().map(|row| row.get::<_, i32>(0)));
        }
        let waiter = waiters(&self.session, &pids).await?.into_iter().next();
        let holder = in_the_way_of(&self.session, &pids).await?;
        if holder.is_some() {
            *self.in_the_way.lock().unwrap_or_else(PoisonError::into_inner) = holder;
        }
        let (xmin_age, held) = xmin_age(&self.session, self.keeper.load(Ordering::Relaxed)).await?;
        self.oldest.fetch_max(xmin_age, Ordering::Relaxed);
        Ok(Seen { waiter, held, xmin_age })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGETS: Budgets =
        Budgets { lock: Duration::from_secs(30), snapshot: Duration::from_hours(1), xmin_age: 1000 };

    fn seen(seconds: Option<f64>, held: u64, xmin_age: u64) -> Seen {
        let waiter = seconds.map(|seconds| Waiter {
            pid: 1,
            user: "app".into(),
            application: String::new(),
            query: "TRUNCATE orders".into(),
            relation: None,
            mode: "AccessExclusiveLock".into(),
            waited: Duration::from_secs_f64(seconds),
        });
        Seen { waiter, held: Duration::from_secs(held), xmin_age }
    }

    #[test]
    fn a_run_gives_way_only_when_somebody_waited_longer_than_the_budget() {
        assert!(BUDGETS.judge(&seen(Some(29.9), 10, 10)).is_none());
        let error = BUDGETS.judge(&seen(Some(30.1), 10, 10)).unwrap();
        assert!(error.to_string().contains("TRUNCATE orders"), "{error}");
    }

    #[test]
    fn a_snapshot_is_not_held_longer_or_older_than_its_budget() {
        assert!(BUDGETS.judge(&seen(None, 3600, 1000)).is_none());
        assert!(BUDGETS.judge(&seen(None, 3601, 0)).unwrap().to_string().contains("holding the snapshot for 3601 s"));
        assert!(BUDGETS.judge(&seen(None, 0, 1001)).unwrap().to_string().contains("1001 transactions old"));
    }
}
