//! Tokio's paused time as our clock, for tests: it moves only when every task waits, so that races can be played out and
//! latencies summed without the time that this machine takes to compute.

use super::{Clock, SharedClock};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The clock; for tests with `start_paused = true`.
#[derive(Debug)]
pub(crate) struct PausedClock {
    start: tokio::time::Instant,
    suspended: Mutex<Duration>,
}

impl PausedClock {
    /// A clock that begins now.
    pub(crate) fn begun() -> Arc<Self> {
        Arc::new(Self { start: tokio::time::Instant::now(), suspended: Mutex::default() })
    }

    /// The same, ready to be passed around.
    pub(crate) fn shared() -> SharedClock {
        Self::begun()
    }

    /// The machine was suspended for so long: whoever sleeps has not slept meanwhile.
    pub(crate) fn suspend(&self, length: Duration) {
        *self.suspended.lock().unwrap() += length;
    }
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed() + *self.suspended.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_instant_is_not_late_by_the_time_that_the_machine_was_suspended() {
    let clock = PausedClock::begun();
    let at = Duration::from_mins(10);
    let suspension = async {
        clock.sleep(Duration::from_millis(4_500)).await;
        clock.suspend(Duration::from_mins(9));
    };
    tokio::join!(clock.wait_until(at), suspension);
    assert!(clock.monotonic() <= at + Duration::from_millis(10), "{:?}", clock.monotonic());
    tokio::join!(clock.wait_until(at * 2), async { clock.suspend(at * 3) });
    assert!(clock.monotonic() <= at * 4 + super::LOOK, "{:?}", clock.monotonic());
}
