//! An objective held against what was measured.

use super::Interval;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a user wants: at most so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective(pub Duration);

/// Whether an objective was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The worst that the measurement allows is still within the objective.
    Met,
    /// The best that it allows is beyond it.
    Missed,
    /// The error of the measurement straddles the objective: a higher rate of probes or a repetition would tell.
    Undecided,
    /// The run proves nothing, for these reasons.
    Invalid {
        /// Each a sentence of its own.
        why: Vec<String>,
    },
}

impl Objective {
    /// The verdict over what was measured.
    pub fn judge(self, actual: Interval) -> Verdict {
        if actual.high <= self.0 {
            Verdict::Met
        } else if actual.low > self.0 {
            Verdict::Missed
        } else {
            Verdict::Undecided
        }
    }
}

impl Verdict {
    /// The word of a report.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Undecided => "undecided",
            Self::Invalid { .. } => "invalid",
        }
    }

    /// The worse of the two: a run that proves nothing outweighs a miss, a miss a doubt (whatever is still open, what was
    /// missed stays missed), a doubt a success.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        let (own, its) = (self.rank(), other.rank());
        match (self, other) {
            (Self::Invalid { why: mut all }, Self::Invalid { why: more }) => {
                all.extend(more);
                Self::Invalid { why: all }
            }
            (one, _) if own >= its => one,
            (_, two) => two,
        }
    }

    fn rank(&self) -> Option<usize> {
        Self::rank_of(self.word())
    }

    /// How bad a verdict is, by its word: the higher, the worse.
    pub fn rank_of(word: &str) -> Option<usize> {
        ["met", "undecided", "missed", "invalid"].iter().position(|known| *known == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interval_on_one_side_of_the_objective_decides() {
        let minute = Objective(Duration::from_mins(1));
        let between = |low, high| Interval::new(Duration::from_secs(low), Duration::from_secs(high));
        assert_eq!(minute.judge(between(12, 60)), Verdict::Met);
        assert_eq!(minute.judge(between(60, 61)), Verdict::Undecided);
        assert_eq!(minute.judge(between(61, 62)), Verdict::Missed);
    }

    #[test]
    fn the_worst_verdict_wins_and_reasons_add_up() {
        let invalid = |why: &str| Verdict::Invalid { why: vec![why.to_owned()] };
        assert_eq!(Verdict::Met.worst(Verdict::Missed), Verdict::Missed);
        assert_eq!(Verdict::Met.worst(Verdict::Undecided), Verdict::Undecided);
        assert_eq!(Verdict::Undecided.worst(Verdict::Missed), Verdict::Missed);
        assert_eq!(Verdict::Missed.worst(invalid("no proof")), invalid("no proof"));
        let both = invalid("no proof").worst(Verdict::Met).worst(invalid("no data"));
        assert_eq!(both, Verdict::Invalid { why: vec!["no proof".to_owned(), "no data".to_owned()] });
    }
}
