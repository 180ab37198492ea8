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
use std::time::{Duration, Instant};

/// A source of wall time, monotonic time and waiting.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall-clock time: for labels and for the arithmetic of retention, never for durations.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start that never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
    /// Waits until the monotonic clock reads `at`, as exactly as this clock can.
    async fn sleep_until(&self, at: Duration) {
        self.sleep(at.saturating_sub(self.monotonic())).await;
    }
}

/// A clock that is passed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    timer: precise::Timer,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    pub fn new() -> Self {
        Self { start: Instant::now(), timer: precise::Timer::default() }
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
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// The runtime's own timer is up to two milliseconds late, which is as much as a probe may be.
    async fn sleep_until(&self, at: Duration) {
        match self.start.checked_add(at) {
            Some(at) => self.timer.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
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
