//! A clock whose time passes only while everybody waits: many may sleep at once, and each wakes at its own instant.

use super::Clock;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Simulated time for code in which many things wait side by side. [`EventClock::run`] drives a future; whenever nothing
/// in it can go on, time jumps to the next instant for which something waits.
#[derive(Debug, Clone)]
pub struct EventClock {
    events: Arc<Mutex<Events>>,
}

#[derive(Debug)]
struct Events {
    start: Timestamp,
    /// By how much somebody set the wall clock forward or back.
    stepped: SignedDuration,
    now: Duration,
    next: u64,
    sleepers: BTreeMap<(Duration, u64), Waker>,
    stalls: BTreeMap<Duration, Duration>,
    steps: BTreeMap<Duration, SignedDuration>,
}

impl EventClock {
    /// A simulated clock that reads `start`.
    pub fn at(start: Timestamp) -> Self {
        let events = Events {
            start,
            stepped: SignedDuration::ZERO,
            now: Duration::ZERO,
            next: 0,
            sleepers: BTreeMap::new(),
            stalls: BTreeMap::new(),
            steps: BTreeMap::new(),
        };
        Self { events: Arc::new(Mutex::new(events)) }
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the wall clock forward or back; the monotonic clock does not notice.
    pub fn step_wall(&self, by: SignedDuration) {
        let mut events = self.lock();
        events.stepped = events.stepped.saturating_add(by);
    }

    /// The same when time comes to `at`.
    pub fn step_wall_at(&self, at: Duration, by: SignedDuration) {
        self.lock().steps.insert(at, by);
    }

    /// When time comes to `at`, nobody gets to run for `length`, as if the machine stood still.
    pub fn stall(&self, at: Duration, length: Duration) {
        self.lock().stalls.insert(at, length);
    }

    /// Runs `future` to its end; `None` where it waits for something that no passing of time will bring.
    pub fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        loop {
            while woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return Some(output);
                }
            }
            let sleeper = self.next_sleeper()?;
            sleeper.wake();
        }
    }

    /// Moves time to the next instant for which somebody waits.
    fn next_sleeper(&self) -> Option<Waker> {
        let mut events = self.lock();
        let ((at, _), waker) = events.sleepers.pop_first()?;
        let mut now = events.now.max(at);
        while let Some((from, length)) = events.stalls.first_key_value().map(|(from, length)| (*from, *length))
            && from <= now
        {
            events.stalls.pop_first();
            now = now.max(from + length);
        }
        while let Some((_, by)) =
            events.steps.first_key_value().filter(|(at, _)| **at <= now).map(|(at, by)| (*at, *by))
        {
            events.steps.pop_first();
            events.stepped = events.stepped.saturating_add(by);
        }
        events.now = now;
        Some(waker)
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Sleep {
    clock: EventClock,
    at: Duration,
    key: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut events = clock.lock();
        if events.now >= self.at {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            events.next += 1;
            (self.at, events.next)
        });
        self.key = Some(key);
        events.sleepers.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.lock().sleepers.remove(&key);
        }
    }
}

#[async_trait]
impl Clock for EventClock {
    fn now(&self) -> Timestamp {
        let events = self.lock();
        let passed = SignedDuration::try_from(events.now).unwrap_or(SignedDuration::MAX);
        events.start.checked_add(passed.saturating_add(events.stepped)).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.lock().now
    }

    async fn sleep(&self, duration: Duration) {
        let at = self.monotonic().saturating_add(duration);
        self.sleep_until(at).await;
    }

    async fn sleep_until(&self, at: Duration) {
        Sleep { clock: self.clone(), at, key: None }.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn many_sleep_side_by_side_and_time_is_the_longest_sleep() {
        let clock = EventClock::at(Timestamp::UNIX_EPOCH);
        let ended = clock.run(async {
            let nap = async |length| {
                clock.sleep(ms(length)).await;
                clock.monotonic()
            };
            futures_util::join!(nap(300), nap(100), nap(200))
        });
        assert_eq!(ended, Some((ms(300), ms(100), ms(200))));
        assert_eq!(clock.now(), Timestamp::from_millisecond(300).unwrap());
    }

    #[test]
    fn who_waits_for_nothing_that_comes_is_told_so() {
        let clock = EventClock::at(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.run(std::future::pending::<()>()), None);
    }

    #[test]
    fn a_stall_makes_everybody_late_and_a_step_of_the_wall_clock_nobody() {
        let clock = EventClock::at(Timestamp::UNIX_EPOCH);
        clock.stall(ms(50), ms(1000));
        let woke = clock.run(async {
            clock.sleep(ms(100)).await;
            clock.step_wall(SignedDuration::from_hours(-1));
            let first = clock.monotonic();
            clock.sleep(ms(10)).await;
            (first, clock.monotonic())
        });
        assert_eq!(woke, Some((ms(1050), ms(1060))));
        assert!(clock.now() < Timestamp::UNIX_EPOCH);
    }
}
