//! Where time enters. Durations come from the monotonic clock; wall time is a label.

#[cfg(test)]
mod paused;
mod precise;
mod simulated;

#[cfg(test)]
pub(crate) use paused::PausedClock;
pub use simulated::EventClock;

use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

/// For how long a sleep may stand still before the clock is read again.
const LOOK: Duration = Duration::from_secs(1);

/// A source of wall time, monotonic time and waiting.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall-clock time: for labels and for the arithmetic of retention, never for durations.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start that never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
    /// Waits until the monotonic clock reads `at`, also where the machine is suspended meanwhile: a sleep stands still then,
    /// and the clock does not. It is at most a second late.
    async fn wait_until(&self, at: Duration) {
        loop {
            let left = at.saturating_sub(self.monotonic());
            if left.is_zero() {
                return;
            }
            self.sleep(left.min(LOOK)).await;
        }
    }
    /// Waits until the monotonic clock reads `at`, as exactly as this clock can.
    async fn sleep_until(&self, at: Duration) {
        self.sleep(at.saturating_sub(self.monotonic())).await;
    }
}

/// A clock that is passed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock. It goes on while the machine is suspended: what lasted that long did last that long, and whoever
/// sleeps on it wakes late and knows by how much.
#[derive(Debug)]
pub struct SystemClock {
    read: fn() -> Duration,
    start: Duration,
    timer: precise::Timer,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self::reading(since_boot)
    }

    fn reading(read: fn() -> Duration) -> Self {
        Self { read, start: read(), timer: precise::Timer::default() }
    }

    /// The same, ready to be passed around.
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        (self.read)().saturating_sub(self.start)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// The runtime's own timer is up to two milliseconds late, which is as much as a probe may be.
    async fn sleep_until(&self, at: Duration) {
        // In this order: whoever is kept waiting between the two wakes late, and never early.
        let left = at.saturating_sub(self.monotonic());
        match precise::now().checked_add(left) {
            Some(at) => self.timer.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// Time since the machine was started, suspension included where the system can tell.
fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let read = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(read.tv_sec).unwrap_or(0), u32::try_from(read.tv_nsec).unwrap_or(0))
}

/// A clock that stands still until it is moved; sleeping moves it. For simulations and tests.
#[derive(Debug, Clone)]
pub struct SimClock {
    state: Arc<Mutex<(Timestamp, Duration)>>,
}

impl SimClock {
    /// A simulated clock that reads `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { state: Arc::new(Mutex::new((start, Duration::ZERO))) }
    }

    /// Moves both wall and monotonic time forward.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.0 = state.0.checked_add(by).unwrap_or(Timestamp::MAX);
        state.1 += by;
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        tokio::task::yield_now().await;
    }
}

/// A clock of a machine that can be suspended, for tests.
#[cfg(test)]
pub(crate) mod suspended {
    use super::{Duration, SharedClock, SystemClock, since_boot};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    static SLEPT: AtomicU64 = AtomicU64::new(0);

    fn read() -> Duration {
        since_boot() + Duration::from_secs(SLEPT.load(Ordering::SeqCst))
    }

    /// One that goes on while the machine sleeps.
    pub(crate) fn clock() -> SharedClock {
        Arc::new(SystemClock::reading(read))
    }

    /// The machine was suspended for so long.
    pub(crate) fn for_seconds(seconds: u64) {
        SLEPT.fetch_add(seconds, Ordering::SeqCst);
    }
}
