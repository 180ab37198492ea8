//! Stamps of other clocks: a server's log, a Kubernetes object. On the observer's clock each is an interval.

use super::interval::Interval;
use super::sample::{Sample, Stall};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One look at the other clock: what it read, between a send and a receipt on ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Our clock, right before asking.
    pub asked: Duration,
    /// Our clock, right after the answer.
    pub answered: Duration,
    /// What the other clock read, since any fixed start of its own.
    pub theirs: Duration,
}

/// How far another clock is from ours, in nanoseconds: `ours = theirs + offset`, the offset being within these bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    low: i128,
    high: i128,
}

/// Two clocks run apart by no more than this share of the time between two looks: a kernel slews its own by at most 500
/// millionths, and the other one may do the opposite.
const DRIFT: i128 = 1_000;

impl Offset {
    /// What all looks allow at the instant `when` of ours; a look says less the further it is away, because clocks drift.
    /// `None` without a look, or where they contradict each other because the other clock was stepped.
    pub fn at(looks: &[Look], when: Duration) -> Option<Self> {
        let one = |look: &Look| {
            let away = (signed(when) - signed(look.asked)).abs().max((signed(when) - signed(look.answered)).abs());
            let drift = away / DRIFT;
            Self {
                low: signed(look.asked) - signed(look.theirs) - drift,
                high: signed(look.answered) - signed(look.theirs) + drift,
            }
        };
        let all = looks
            .iter()
            .map(one)
            .reduce(|one, two| Self { low: one.low.max(two.low), high: one.high.min(two.high) })?;
        (all.low <= all.high).then_some(all)
    }

    /// When, on our clock, the other one read `theirs`, being a clock that shows nothing finer than `granularity`.
    pub fn ours(&self, theirs: Duration, granularity: Duration) -> Interval {
        let low = signed(theirs) + self.low;
        let high = signed(theirs) + signed(granularity) + self.high;
        Interval { low: unsigned(low), high: unsigned(high) }
    }

    /// The offset in the middle of its bounds.
    pub fn shift(&self) -> Shift {
        Shift(self.low + (self.high - self.low) / 2)
    }

    /// How far that may be from the truth, in either direction.
    pub fn error(&self) -> Duration {
        // Half of an odd number of nanoseconds is rounded up.
        unsigned((self.high - self.low) / 2 + 1)
    }
}

/// What is added to a reading of another clock to have it on ours, up to the [`Offset::error`]. One shift for all readings
/// keeps the time between two of them as the other clock has measured it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shift(i128);

impl Shift {
    /// A reading of the other clock, on ours.
    pub fn time(self, theirs: Duration) -> Duration {
        unsigned(signed(theirs) + self.0)
    }

    /// A probe of the other observer, on our clock.
    #[must_use]
    pub fn sample(self, sample: Sample) -> Sample {
        let Sample { due, sent, ended, answer } = sample;
        Sample { due: self.time(due), sent: self.time(sent), ended: self.time(ended), answer }
    }

    /// A time during which the other observer stood still, on our clock.
    #[must_use]
    pub fn stall(self, stall: Stall) -> Stall {
        Stall { from: self.time(stall.from), until: self.time(stall.until) }
    }
}

fn signed(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// What lies before our own start is our start.
fn unsigned(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn several_looks_are_better_than_one_and_a_near_one_better_than_a_far_one() {
        let wide = Look { asked: ms(1000), answered: ms(1100), theirs: ms(501_050) };
        let narrow = Look { asked: ms(2000), answered: ms(2004), theirs: ms(502_002) };
        let offset = Offset::at(&[wide, narrow], ms(2004)).unwrap();
        let second = offset.ours(ms(503_000), Duration::from_secs(1));
        let drift = Duration::from_micros(4);
        assert_eq!(second, Interval::new(ms(2998), ms(4002)).widened(drift));
        assert_eq!(offset.error(), ms(2) + drift + Duration::from_nanos(1));
        // Ten seconds later the clocks may have drifted by ten milliseconds.
        let later = Offset::at(&[wide, narrow], ms(12_000)).unwrap();
        assert_eq!(later.error(), ms(12) + Duration::from_nanos(1));
    }

    #[test]
    fn a_clock_that_was_stepped_dates_nothing() {
        let before = Look { asked: ms(1000), answered: ms(1001), theirs: ms(5000) };
        let after = Look { asked: ms(2000), answered: ms(2001), theirs: ms(3_606_000) };
        assert_eq!(Offset::at(&[before, after], ms(1500)), None);
        assert_eq!(Offset::at(&[], ms(1500)), None);
    }

    #[test]
    fn clocks_that_drift_apart_as_kernels_let_them_contradict_nothing() {
        // The other clock runs 900 millionths too fast, for an hour; a look takes a tenth of a millisecond.
        let theirs = |ours: Duration| ms(70_000) + ours + ours * 9 / 10_000;
        let look = |number: u32| {
            let asked = Duration::from_secs(2) * number;
            Look {
                asked,
                answered: asked + Duration::from_micros(100),
                theirs: theirs(asked + Duration::from_micros(40)),
            }
        };
        let looks: Vec<Look> = (0..1800).map(look).collect();
        for when in [0, 1_799, 3_601].map(Duration::from_secs) {
            let offset = Offset::at(&looks, when).unwrap();
            assert!(offset.ours(theirs(when), Duration::ZERO).contains(when), "{when:?}");
            assert!(offset.error() < ms(4), "{when:?}: {:?}", offset.error());
        }
    }
}
