//! Holds a stream of bytes to a rate.

use crate::clock::SharedClock;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// A rate that all workers of a run share.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_second: u64,
    clock: SharedClock,
    /// The instant until which the bytes let through so far use up the rate.
    used_until: Mutex<Duration>,
}

impl Rate {
    /// A rate of so many bytes per second.
    pub(crate) fn new(bytes_per_second: u64, clock: SharedClock) -> Arc<Self> {
        let now = clock.monotonic();
        Arc::new(Self { bytes_per_second: bytes_per_second.max(1), clock, used_until: Mutex::new(now) })
    }

    /// Books `bytes` and tells how long to wait before the next ones.
    fn book(&self, bytes: usize) -> Duration {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = self.clock.monotonic();
        let mut used_until = self.used_until.lock().unwrap_or_else(PoisonError::into_inner);
        // Time that nobody used is not saved up: a pause must not be followed by a burst.
        *used_until = (*used_until).max(now) + cost;
        used_until.saturating_sub(now)
    }
}

/// One stream's share of a [`Rate`].
pub(crate) struct Pace {
    rate: Arc<Rate>,
    taken: usize,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// So many bytes go through between two looks at the clock.
const STEP: usize = 64 * 1024;

impl Pace {
    /// A share of `rate`.
    pub(crate) fn of(rate: Arc<Rate>) -> Self {
        Self { rate, taken: 0, pause: None }
    }

    /// Ready when more bytes may go through.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() && self.taken >= STEP {
            let wait = self.rate.book(std::mem::take(&mut self.taken));
            let clock = Arc::clone(&self.rate.clock);
            self.pause = Some(Box::pin(async move { clock.sleep(wait).await }));
        }
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Counts bytes that went through.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.taken += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SimClock};
    use std::future::poll_fn;

    #[tokio::test]
    async fn two_streams_together_keep_to_the_rate() {
        let clock = SimClock::at(jiff::Timestamp::UNIX_EPOCH);
        let rate = Rate::new(1_000_000, Arc::new(clock.clone()));
        let (mut one, mut two) = (Pace::of(Arc::clone(&rate)), Pace::of(rate));
        for _ in 0..100 {
            for pace in [&mut one, &mut two] {
                poll_fn(|cx| pace.poll(cx)).await;
                pace.passed(STEP);
            }
        }
        let expected = Duration::from_micros(2 * 100 * STEP as u64);
        let taken = clock.monotonic();
        assert!(taken > expected * 7 / 10 && taken < expected * 13 / 10, "{taken:?} instead of {expected:?}");
    }
}
