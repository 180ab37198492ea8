//! An instant or a duration that is known up to an error: the truth lies within, ends included.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// From `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Not before, not less.
    pub low: Duration,
    /// Not after, not more.
    pub high: Duration,
}

/// Which of two instants came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first one, for certain.
    Before,
    /// The second one, for certain.
    After,
    /// They may have been in either order; they are no further apart than this.
    Concurrent(Duration),
}

impl Interval {
    /// Ends in the wrong order are put right, so that an interval is never empty.
    pub fn new(one: Duration, other: Duration) -> Self {
        Self { low: one.min(other), high: one.max(other) }
    }

    /// Known exactly.
    pub const fn exact(at: Duration) -> Self {
        Self { low: at, high: at }
    }

    /// How much is not known.
    pub fn width(&self) -> Duration {
        self.high.saturating_sub(self.low)
    }

    /// Whether `truth` may be what it stands for.
    pub fn contains(&self, truth: Duration) -> bool {
        self.low <= truth && truth <= self.high
    }

    /// The duration from `earlier` to this instant; a part that would be negative is zero.
    #[must_use]
    pub fn since(&self, earlier: Self) -> Self {
        Self { low: self.low.saturating_sub(earlier.high), high: self.high.saturating_sub(earlier.low) }
    }

    /// The same instant, known less exactly by so much in either direction.
    #[must_use]
    pub fn widened(&self, by: Duration) -> Self {
        Self { low: self.low.saturating_sub(by), high: self.high + by }
    }

    /// What both allow; `None` where they contradict each other.
    pub fn and(&self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }

    /// Both durations one after the other.
    #[must_use]
    pub fn plus(&self, other: Self) -> Self {
        Self { low: self.low + other.low, high: self.high + other.high }
    }

    /// Two instants are in order only if they cannot overlap.
    pub fn order(&self, other: Self) -> Order {
        if self.high < other.low {
            Order::Before
        } else if other.high < self.low {
            Order::After
        } else {
            Order::Concurrent(self.high.max(other.high).saturating_sub(self.low.min(other.low)))
        }
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}]", seconds(self.low), seconds(self.high))
    }
}

/// Milliseconds matter below a minute and are noise above.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 { format!("{seconds:.2} s") } else { crate::humane::seconds(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_duration_between_two_uncertain_instants_is_as_wide_as_both() {
        let end = Interval::new(ms(1200), ms(1100));
        assert_eq!(end.since(Interval::new(ms(100), ms(150))), Interval::new(ms(950), ms(1100)));
        assert_eq!(end.since(Interval::exact(ms(1150))), Interval::new(ms(0), ms(50)));
    }

    #[test]
    fn instants_are_in_order_only_if_they_cannot_overlap() {
        let (one, two) = (Interval::new(ms(1), ms(5)), Interval::new(ms(5), ms(9)));
        assert_eq!(one.order(two), Order::Concurrent(ms(8)));
        assert_eq!(one.order(Interval::exact(ms(6))), Order::Before);
        assert_eq!(two.order(Interval::exact(ms(4))), Order::After);
    }

    #[test]
    fn observers_that_contradict_each_other_have_nothing_in_common() {
        let one = Interval::new(ms(10), ms(20));
        assert_eq!(one.and(Interval::new(ms(15), ms(40))), Some(Interval::new(ms(15), ms(20))));
        assert_eq!(one.and(Interval::new(ms(21), ms(40))), None);
    }
}
