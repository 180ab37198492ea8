//! How many requests are under way at once: as many as are asked for, until the server says that it has too many.
//!
//! A refusal (429) halves them. Requests that were sent before that may be refused too and say nothing new. Afterwards
//! one more is let through at a time, each only after as many successes as are let through and not before
//! [`GROWS_AFTER`]: where the server's limit is, is found again with one refusal now and then, and not with a storm.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The least time between two steps upwards.
const GROWS_AFTER: Duration = Duration::from_millis(500);

/// The turns of all requests to one server.
#[derive(Debug, Default)]
pub(super) struct Pace {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// None as long as the server has refused nothing.
    limit: Option<usize>,
    /// Successes since the limit last changed, and when that was.
    successes: usize,
    changed: Duration,
    /// How often the limit was cut.
    cuts: u64,
}

/// The right to have one request under way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pace: &'a Pace,
    cuts: u64,
}

impl Pace {
    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Turn<'_> {
        loop {
            if let Some(turn) = self.try_turn() {
                return turn;
            }
            self.freed.notified().await;
        }
    }

    fn try_turn(&self) -> Option<Turn<'_>> {
        let mut state = self.state();
        if state.limit.is_some_and(|limit| state.under_way >= limit) {
            return None;
        }
        state.under_way += 1;
        // Whoever waits behind us is told of what is left, because several turns may have become free at once.
        if state.limit.is_some_and(|limit| state.under_way < limit) {
            self.freed.notify_one();
        }
        Some(Turn { pace: self, cuts: state.cuts })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The server had too many.
    pub(super) fn refused(&self, now: Duration) {
        let mut state = self.pace.state();
        if self.cuts < state.cuts {
            return;
        }
        let before = state.limit.map_or(state.under_way, |limit| limit.min(state.under_way));
        state.limit = Some((before / 2).max(1));
        state.cuts += 1;
        (state.successes, state.changed) = (0, now);
    }

    /// The server took it.
    pub(super) fn taken(&self, now: Duration) {
        let mut state = self.pace.state();
        let Some(limit) = state.limit else { return };
        state.successes += 1;
        if state.successes >= limit && now.saturating_sub(state.changed) >= GROWS_AFTER {
            state.limit = Some(limit + 1);
            (state.successes, state.changed) = (0, now);
            self.pace.freed.notify_one();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.under_way = state.under_way.saturating_sub(1);
        if state.limit.is_some() {
            self.pace.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn as_many_as_go(pace: &Pace) -> Vec<Turn<'_>> {
        std::iter::from_fn(|| pace.try_turn()).take(1000).collect()
    }

    #[test]
    fn a_storm_of_refusals_halves_once_and_the_next_one_again() {
        let pace = Pace::default();
        let turns: Vec<Turn<'_>> = (0..64).filter_map(|_| pace.try_turn()).collect();
        for turn in &turns {
            turn.refused(at(0));
        }
        drop(turns);
        let turns = as_many_as_go(&pace);
        assert_eq!(turns.len(), 32);
        for turn in &turns {
            turn.refused(at(1));
        }
        drop(turns);
        assert_eq!(as_many_as_go(&pace).len(), 16);
    }

    #[test]
    fn one_request_is_always_let_through() {
        let pace = Pace::default();
        for _ in 0..5 {
            let turn = pace.try_turn().unwrap();
            turn.refused(at(0));
            assert!(pace.try_turn().is_none());
        }
        assert_eq!(as_many_as_go(&pace).len(), 1);
    }

    #[test]
    fn it_grows_by_one_for_a_round_of_successes_and_half_a_second() {
        let pace = Pace::default();
        let turns: Vec<Turn<'_>> = (0..8).filter_map(|_| pace.try_turn()).collect();
        turns[0].refused(at(0));
        drop(turns);
        for _ in 0..40 {
            pace.try_turn().unwrap().taken(at(499));
        }
        assert_eq!(as_many_as_go(&pace).len(), 4, "not before its time");
        pace.try_turn().unwrap().taken(at(500));
        assert_eq!(as_many_as_go(&pace).len(), 5);
        for _ in 0..4 {
            pace.try_turn().unwrap().taken(at(5000));
        }
        assert_eq!(as_many_as_go(&pace).len(), 5, "not before a whole round");
        pace.try_turn().unwrap().taken(at(5000));
        assert_eq!(as_many_as_go(&pace).len(), 6);
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_turns_become_free() {
        let pace = Pace::default();
        let turns: Vec<Turn<'_>> = (0..8).filter_map(|_| pace.try_turn()).collect();
        turns[0].refused(at(0));
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(pace.turn())).collect();
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        drop(turns);
        let all = futures_util::future::join_all(waiting);
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), all).await.unwrap().len(), 4);
    }
}
