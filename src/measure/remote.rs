//! Stamps of other clocks: a server's log, a Kubernetes object. On the observer's clock each is an interval.

use super::interval::Interval;
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

impl Offset {
    /// What all looks allow; `None` without a look, or where they contradict each other because the other clock was
    /// stepped or drifts.
    pub fn of(looks: &[Look]) -> Option<Self> {
        let one = |look: &Look| Self {
            low: signed(look.asked) - signed(look.theirs),
            high: signed(look.answered) - signed(look.theirs),
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
    fn several_looks_are_better_than_one() {
        let wide = Look { asked: ms(1000), answered: ms(1100), theirs: ms(501_050) };
        let narrow = Look { asked: ms(2000), answered: ms(2004), theirs: ms(502_002) };
        let offset = Offset::of(&[wide, narrow]).unwrap();
        let second = offset.ours(ms(503_000), Duration::from_secs(1));
        assert_eq!(second, Interval::new(ms(2998), ms(4002)));
    }

    #[test]
    fn a_clock_that_was_stepped_dates_nothing() {
        let before = Look { asked: ms(1000), answered: ms(1001), theirs: ms(5000) };
        let after = Look { asked: ms(2000), answered: ms(2001), theirs: ms(3_606_000) };
        assert_eq!(Offset::of(&[before, after]), None);
        assert_eq!(Offset::of(&[]), None);
    }
}
