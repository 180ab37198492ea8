//! Which call fails and how: the same for the same seed and the number of the call, whoever made it.

use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

/// One way in which a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not arrive, and its caller knows (a refused connection).
    Refused,
    /// It does not arrive, and its caller cannot know (a cut connection).
    LostBefore,
    /// It has its effect, and the answer is lost.
    LostAfter,
    /// The server is busy, for this call and those right after it.
    Busy,
    /// The answer comes late.
    Late(Duration),
    /// A body or a listing breaks off, and the reader sees that it does.
    Cut,
    /// One byte is another one: silently in what is read, refused by the server in what is put.
    Wrong,
    /// The store is full.
    Full,
    /// The permission is missing.
    Denied,
    /// The credentials have run out.
    Expired,
}

/// How likely each fault is, per call; the rest goes well.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chances {
    /// Of [`Fault::Refused`].
    pub refused: f64,
    /// Of [`Fault::LostBefore`].
    pub lost_before: f64,
    /// Of [`Fault::LostAfter`].
    pub lost_after: f64,
    /// Of the begin of a burst of [`Fault::Busy`].
    pub busy: f64,
    /// Of [`Fault::Late`].
    pub late: f64,
    /// Of [`Fault::Cut`].
    pub cut: f64,
    /// Of [`Fault::Wrong`].
    pub wrong: f64,
    /// Of [`Fault::Full`].
    pub full: f64,
    /// Of [`Fault::Denied`].
    pub denied: f64,
    /// Of [`Fault::Expired`].
    pub expired: f64,
}

impl Chances {
    /// What a poor network and a busy server do, and trying again gets over: each kind with this chance.
    pub fn passing(each: f64) -> Self {
        Self {
            refused: each,
            lost_before: each,
            lost_after: each,
            busy: each,
            late: each,
            cut: each,
            ..Self::default()
        }
    }
}

/// What goes wrong, and when.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How likely each fault is.
    pub chances: Chances,
    /// How many calls one burst of [`Fault::Busy`] lasts.
    pub burst_calls: u64,
    /// The longest [`Fault::Late`].
    pub latest: Duration,
    /// Faults of single calls, by their number from 0; they come before chance.
    pub script: BTreeMap<u64, Fault>,
}

impl FaultPlan {
    /// A plan that leaves everything to chance.
    pub fn random(seed: u64, chances: Chances) -> Self {
        Self { seed, chances, burst_calls: 3, latest: Duration::from_millis(5), script: BTreeMap::new() }
    }

    /// A plan in which exactly the calls named go wrong.
    pub fn script(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self { script: faults.into_iter().collect(), ..Self::random(0, Chances::default()) }
    }

    /// What happens to the call of this number.
    pub fn fault(&self, call: u64) -> Option<Fault> {
        if let Some(fault) = self.script.get(&call) {
            return Some(*fault);
        }
        let burst = call.saturating_sub(self.burst_calls.saturating_sub(1))..call;
        if burst.into_iter().any(|earlier| self.draw(earlier) == Some(Fault::Busy)) {
            return Some(Fault::Busy);
        }
        self.draw(call)
    }

    /// A place in a body of `length` bytes that depends on the call's number alone.
    pub fn place(&self, call: u64, length: usize) -> usize {
        let mut dice = self.dice(call);
        // The first number drawn has decided about the fault itself.
        let _: f64 = dice.random();
        dice.random_range(0..length.max(1))
    }

    fn dice(&self, call: u64) -> ChaCha12Rng {
        let mut dice = ChaCha12Rng::seed_from_u64(self.seed);
        dice.set_stream(call);
        dice
    }

    fn draw(&self, call: u64) -> Option<Fault> {
        let mut dice = self.dice(call);
        let mut left: f64 = dice.random();
        let late = Fault::Late(self.latest.mul_f64(dice.random()));
        let chances = &self.chances;
        let table = [
            (chances.refused, Fault::Refused),
            (chances.lost_before, Fault::LostBefore),
            (chances.lost_after, Fault::LostAfter),
            (chances.busy, Fault::Busy),
            (chances.late, late),
            (chances.cut, Fault::Cut),
            (chances.wrong, Fault::Wrong),
            (chances.full, Fault::Full),
            (chances.denied, Fault::Denied),
            (chances.expired, Fault::Expired),
        ];
        for (chance, fault) in table {
            left -= chance;
            if left < 0.0 {
                return Some(fault);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_in_any_order_of_asking() {
        let plan = FaultPlan::random(7, Chances::passing(0.05));
        let forwards: Vec<_> = (0..500).map(|call| plan.fault(call)).collect();
        let mut backwards: Vec<_> = (0..500).rev().map(|call| plan.fault(call)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        let other = FaultPlan::random(8, Chances::passing(0.05));
        assert_ne!(forwards, (0..500).map(|call| other.fault(call)).collect::<Vec<_>>());
    }

    #[test]
    fn chances_are_kept_and_bursts_last() {
        let plan = FaultPlan::random(1, Chances { refused: 0.2, ..Chances::default() });
        let refused = (0..5000).filter(|call| plan.fault(*call) == Some(Fault::Refused)).count();
        assert!((900..1100).contains(&refused), "{refused}");
        let plan = FaultPlan { burst_calls: 4, ..FaultPlan::random(1, Chances { busy: 0.01, ..Chances::default() }) };
        let calls: Vec<bool> = (0..5000).map(|call| plan.fault(call).is_some()).collect();
        let shortest = calls.split(|busy| !busy).map(<[bool]>::len).filter(|length| *length > 0).min();
        assert_eq!(shortest, Some(4));
    }
}
