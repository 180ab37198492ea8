//! The only loop that waits and tries again: attempts, growing pauses with jitter, a deadline, cancellation.

use crate::clock::Clock;
use rand::RngExt;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Whether trying the same call again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The answer will be the same.
    Never,
    /// It may go through later.
    Later,
}

/// An error that knows whether a retry can help.
pub trait Retryable {
    /// Whether trying again can help.
    fn retry(&self) -> Retry;

    /// How long whoever refused asks to be left alone (`Retry-After`); the pause is not shorter.
    fn pause(&self) -> Option<Duration> {
        None
    }
}

/// How long and how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The first pause; each further one doubles.
    pub first_pause: Duration,
    /// No pause is longer than this.
    pub longest_pause: Duration,
    /// After this much time no new attempt is begun; the last pause is cut to end at it.
    pub deadline: Duration,
}

impl Policy {
    /// For object stores: rides out a burst of 503 and a short network cut.
    pub const STORE: Self = Self {
        attempts: 8,
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_secs(10),
        deadline: Duration::from_mins(2),
    };

    /// As many attempts as begin within `budget`, with the pauses of [`Policy::STORE`].
    pub const fn within(budget: Duration) -> Self {
        Self { attempts: u32::MAX, deadline: budget, ..Self::STORE }
    }

    /// For an API server: rides out its restart and a storm of 429.
    pub const API: Self = Self {
        attempts: 10,
        first_pause: Duration::from_millis(200),
        longest_pause: Duration::from_secs(8),
        deadline: Duration::from_mins(1),
    };

    /// Exactly one attempt.
    pub const ONCE: Self =
        Self { attempts: 1, first_pause: Duration::ZERO, longest_pause: Duration::ZERO, deadline: Duration::MAX };

    /// The pause after the attempt of this number (from 0), before jitter.
    fn pause(&self, attempt: u32) -> Duration {
        self.first_pause.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.longest_pause)
    }

    /// Calls `attempt` until it succeeds, fails for good, or the limits are reached. The last error is returned.
    /// A cancelled token ends the waiting, not an attempt under way.
    pub async fn run<T, E, F, Fut>(&self, clock: &dyn Clock, cancel: &CancellationToken, mut attempt: F) -> Result<T, E>
    where
        E: Retryable,
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let start = clock.monotonic();
        let mut number = 0;
        loop {
            let error = match attempt(number).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let spent = clock.monotonic().saturating_sub(start);
            if error.retry() == Retry::Never
                || number + 1 >= self.attempts
                || spent >= self.deadline
                || cancel.is_cancelled()
            {
                return Err(error);
            }
            // Full jitter keeps many workers that failed together from coming back together.
            let left = self.deadline.saturating_sub(spent);
            let asked = error.pause().unwrap_or_default();
            if asked > left {
                return Err(error);
            }
            let pause = self.pause(number).mul_f64(rand::rng().random_range(0.5..=1.0)).min(left).max(asked);
            tokio::select! {
                () = clock.sleep(pause) => {}
                () = cancel.cancelled() => return Err(error),
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use jiff::Timestamp;

    #[derive(Debug, PartialEq)]
    struct Fault(Retry);
    impl Retryable for Fault {
        fn retry(&self) -> Retry {
            self.0
        }
    }

    async fn attempts_made(fault: Retry, policy: Policy) -> (u32, Duration) {
        let clock = SimClock::at(Timestamp::UNIX_EPOCH);
        let mut made = 0;
        let result: Result<(), Fault> = policy
            .run(&clock, &CancellationToken::new(), |_| {
                made += 1;
                async move { Err(Fault(fault)) }
            })
            .await;
        assert_eq!(result, Err(Fault(fault)));
        (made, clock.monotonic())
    }

    #[tokio::test]
    async fn a_permanent_failure_is_tried_once_and_a_passing_one_to_the_limit() {
        assert_eq!(attempts_made(Retry::Never, Policy::STORE).await.0, 1);
        assert_eq!(attempts_made(Retry::Later, Policy::STORE).await.0, Policy::STORE.attempts);
    }

    struct Asked(Duration);
    impl Retryable for Asked {
        fn retry(&self) -> Retry {
            Retry::Later
        }

        fn pause(&self) -> Option<Duration> {
            Some(self.0)
        }
    }

    #[tokio::test]
    async fn a_pause_that_is_asked_for_is_kept_and_one_beyond_the_deadline_is_not_begun() {
        let after = |asked: u64| async move {
            let clock = SimClock::at(Timestamp::UNIX_EPOCH);
            let policy = Policy { attempts: 2, ..Policy::API };
            let attempt = |_| async move { Err::<(), _>(Asked(Duration::from_secs(asked))) };
            assert!(policy.run(&clock, &CancellationToken::new(), attempt).await.is_err());
            clock.monotonic()
        };
        assert_eq!(after(17).await, Duration::from_secs(17));
        assert_eq!(after(600).await, Duration::ZERO);
    }

    #[tokio::test]
    async fn no_attempt_begins_after_the_deadline() {
        let policy = Policy { attempts: 1000, deadline: Duration::from_secs(30), ..Policy::STORE };
        let (_, waited) = attempts_made(Retry::Later, policy).await;
        assert_eq!(waited, policy.deadline);
    }

    #[tokio::test]
    async fn a_budget_is_used_up_whatever_the_number_of_attempts() {
        for seconds in [1, 60, 3600] {
            let (made, waited) = attempts_made(Retry::Later, Policy::within(Duration::from_secs(seconds))).await;
            assert_eq!(waited, Duration::from_secs(seconds));
            assert!(made > 3 && u64::from(made) < 12 + seconds, "{made} attempts in {seconds} s");
        }
        assert_eq!(attempts_made(Retry::Later, Policy::within(Duration::ZERO)).await.0, 1);
    }
}
