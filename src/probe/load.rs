//! A load of writes: so many a second, over a few connections, each of them in the ledger.
//!
//! Unlike a stream of probes it is not open: when the service stands still, its writers do, too. It is there to have
//! something to lose; what a user felt is for the streams to say.

use super::ledger::Ledger;
use super::sql::{Link, Pending, SharedDial};
use crate::clock::SharedClock;
use crate::error::{Context, Error, Kind, Result};
use crate::observation::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Writers wake in steps of this, so that thousands of writes do not mean thousands of wake-ups.
const STEP: Duration = Duration::from_millis(5);

/// Writes that are overdue by more are not made up for: who stood still would come back to a flood over all connections at once,
/// and what the service does under that is not what was asked.
const OVERDUE: Duration = Duration::from_secs(1);

/// A writer that could not connect waits this long.
const RECONNECT: Duration = Duration::from_millis(50);

/// What to write.
#[derive(Clone)]
pub struct LoadPlan {
    /// Rows a second.
    pub rate: u32,
    /// So many writers, each with one connection.
    pub writers: u32,
    /// A write that has not ended within this is given up, and of unknown outcome.
    pub patience: Duration,
    /// How connections are opened.
    pub dial: SharedDial,
    /// The settings of their sessions: [`super::sql::settings`].
    pub settings: Vec<(&'static str, String)>,
    /// The table of the rows.
    pub table: String,
}

/// What became of the writes so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Acknowledged.
    pub ok: u64,
    /// Certainly not applied.
    pub fail: u64,
    /// Nobody can know.
    pub unknown: u64,
}

struct Shared {
    plan: LoadPlan,
    ledger: Arc<Ledger>,
    clock: SharedClock,
    pace: Pace,
    ended: [AtomicU64; 3],
    stop: CancellationToken,
}

/// When writes are due.
struct Pace {
    clock: SharedClock,
    start: Duration,
    /// Writes a second.
    rate: u32,
    /// The number of the next write that is due.
    next: AtomicU64,
}

/// A load under way, in a thread of its own. Dropping it stops it without waiting.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Load {
    /// Begins to write.
    ///
    /// # Errors
    /// Where the plan makes no sense, or the thread cannot be started.
    pub fn start(plan: LoadPlan, ledger: Arc<Ledger>, clock: SharedClock) -> Result<Self> {
        let doing = || "starting a load of writes".to_owned();
        if plan.rate == 0 || plan.writers == 0 {
            return Err(Error::input(format!("{}: a rate and a number of writers of 0 write nothing", doing())));
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context(Kind::Failed, doing)?;
        let shared = Arc::new(Shared {
            pace: Pace::new(clock.clone(), plan.rate),
            plan,
            ledger,
            clock,
            ended: Default::default(),
            stop: CancellationToken::new(),
        });
        let own = Arc::clone(&shared);
        let work = move || runtime.block_on(write_all(own));
        let thread =
            std::thread::Builder::new().name("davit-load".to_owned()).spawn(work).context(Kind::Failed, doing)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What became of the writes so far.
    pub fn written(&self) -> Written {
        let [ok, fail, unknown] = &self.shared.ended;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Written { ok: read(ok), fail: read(fail), unknown: read(unknown) }
    }

    /// Begins no more writes, waits for those under way, and for the ledger to be on the disk.
    ///
    /// # Errors
    /// Where the ledger could not be written.
    pub async fn stop(mut self) -> Result<Written> {
        self.shared.stop.cancel();
        let (thread, ledger) = (self.thread.take(), Arc::clone(&self.shared.ledger));
        let ended = tokio::task::spawn_blocking(move || {
            match thread.map(JoinHandle::join) {
                Some(Ok(outcome)) => outcome?,
                Some(Err(_)) | None => return Err(Error::failed("stopping a load of writes: it broke off")),
            }
            ledger.sync()
        });
        ended.await.context(Kind::Failed, || "stopping a load of writes".to_owned())??;
        Ok(self.written())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

async fn write_all(shared: Arc<Shared>) -> Result<()> {
    let writers = (0..shared.plan.writers).map(|_| writer(&shared));
    futures_util::future::try_join_all(writers).await.map(drop)
}

/// One writer, until it is stopped. Only a ledger that cannot be written ends it before.
async fn writer(shared: &Shared) -> Result<()> {
    let mut link: Option<Box<dyn Link>> = None;
    while let Some(()) = shared.stop.run_until_cancelled(shared.pace.turn()).await {
        if link.is_none() {
            let dialled = tokio::time::timeout(shared.plan.patience, shared.plan.dial.dial(&shared.plan.settings));
            link = match shared.stop.run_until_cancelled(dialled).await {
                Some(Ok(Ok(link))) => Some(link),
                Some(Ok(Err(_)) | Err(_)) => {
                    shared.clock.sleep(RECONNECT).await;
                    None
                }
                None => return Ok(()),
            };
        }
        let Some(open) = &link else { continue };
        let mut pending = Pending::begin(&shared.ledger, &shared.clock)?;
        // Out of patience, it is settled with what is known then.
        drop(tokio::time::timeout(shared.plan.patience, pending.write(&**open, &shared.plan.table)).await);
        let outcome = pending.settle()?;
        shared.count(outcome);
        if outcome != Outcome::Ok {
            link = None;
        }
    }
    Ok(())
}

impl Pace {
    fn new(clock: SharedClock, rate: u32) -> Self {
        Self { start: clock.monotonic(), clock, rate, next: AtomicU64::new(0) }
    }

    /// Waits until the next write is due.
    async fn turn(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = Duration::from_nanos(number.saturating_mul(1_000_000_000) / u64::from(self.rate));
        let now = self.clock.monotonic().saturating_sub(self.start);
        if due + OVERDUE < now {
            let due_now = now.as_nanos() * u128::from(self.rate) / 1_000_000_000;
            self.next.fetch_max(u64::try_from(due_now).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let steps = u32::try_from(due.as_nanos() / STEP.as_nanos()).unwrap_or(u32::MAX);
        self.clock.sleep_until(self.start + STEP * steps).await;
    }
}

impl Shared {
    fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Ok => 0,
            Outcome::Fail => 1,
            Outcome::Unknown => 2,
        };
        self.ended[counter].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, EventClock};

    #[test]
    fn what_was_due_while_nobody_could_write_is_not_made_up_for_beyond_a_second() {
        let clock = EventClock::at(jiff::Timestamp::UNIX_EPOCH);
        let second = Duration::from_secs;
        let pace = Pace::new(Arc::new(clock.clone()), 100);
        clock.stall(second(10), second(60));
        clock.stall(second(75), Duration::from_millis(500));
        let turns = clock.run(async {
            let mut turns = Vec::new();
            while clock.monotonic() < second(80) {
                pace.turn().await;
                turns.push(clock.monotonic());
            }
            turns
        });
        let turns = turns.unwrap();
        let within = |from: u64, until: u64| {
            turns.iter().filter(|turn| second(from) <= **turn && **turn < second(until)).count()
        };
        assert_eq!((within(0, 10), within(10, 70)), (1_000, 0));
        assert!((100..=102).contains(&within(70, 71)), "{}", within(70, 71));
        assert_eq!(within(71, 75), 400);
        assert_eq!(within(75, 77), 200, "half a second is made up for");
        assert_eq!(within(77, 80), 300);
    }
}
