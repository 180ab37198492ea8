//! A timer that is late by what the kernel needs to wake a thread, some tens of microseconds, and not by milliseconds.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Wakes sleepers from a thread of its own, which begins with the first sleeper and ends with the timer.
#[derive(Debug, Default)]
pub(super) struct Timer {
    shared: OnceLock<Arc<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// The number tells sleepers of one instant apart.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: wakes whoever is due, then waits for the next one.
    fn run(&self) {
        let mut queue = self.lock();
        while !queue.closed {
            let first = queue.sleepers.first_key_value().map(|((at, _), _)| *at);
            let left = first.map(|at| at.saturating_duration_since(now()));
            queue = match left {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => {
                    let waker = queue.sleepers.pop_first().map(|(_, waker)| waker);
                    drop(queue);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    self.lock()
                }
                Some(left) => self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is part of the one place where time enters")]
pub(super) fn now() -> Instant {
    Instant::now()
}

impl Timer {
    /// Ready as soon as `at` has passed.
    pub(super) fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { shared: Arc::clone(self.shared.get_or_init(start)), at, key: None }
    }
}

fn start() -> Arc<Shared> {
    let shared = Arc::new(Shared::default());
    let own = Arc::clone(&shared);
    let spawned = std::thread::Builder::new().name("davit-timer".to_owned()).spawn(move || own.run());
    if let Err(error) = spawned {
        tracing::error!("starting the timer: {error}");
    }
    shared
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.get() {
            shared.lock().closed = true;
            shared.changed.notify_one();
        }
    }
}

/// Waits for an instant.
#[derive(Debug)]
pub(super) struct Sleep {
    shared: Arc<Shared>,
    at: Instant,
    key: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.at {
            return Poll::Ready(());
        }
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.lock();
        let key = self.key.unwrap_or_else(|| {
            queue.next += 1;
            (self.at, queue.next)
        });
        self.key = Some(key);
        queue.sleepers.insert(key, cx.waker().clone());
        if queue.sleepers.first_key_value().is_some_and(|(first, _)| *first == key) {
            shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.lock().sleepers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_instants_and_never_early() {
        let timer = Timer::default();
        let start = now();
        let order = Mutex::new(Vec::new());
        let sleeper = |ms: u64| {
            let (timer, order) = (&timer, &order);
            async move {
                let at = start + Duration::from_millis(ms);
                timer.sleep_until(at).await;
                assert!(now() >= at);
                order.lock().unwrap().push(ms);
            }
        };
        tokio::join!(sleeper(30), sleeper(10), sleeper(20), sleeper(0));
        assert_eq!(*order.lock().unwrap(), [0, 10, 20, 30]);
    }

    #[tokio::test]
    async fn a_sleeper_that_is_given_up_leaves_nothing_behind() {
        let timer = Timer::default();
        let long = timer.sleep_until(now() + Duration::from_hours(1));
        let short = timer.sleep_until(now() + Duration::from_millis(5));
        tokio::select! {
            () = long => panic!("an hour has not passed"),
            () = short => {}
        }
        assert!(timer.shared.get().unwrap().lock().sleepers.is_empty());
    }
}
