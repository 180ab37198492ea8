//! What one probe saw, and when its observer was not looking.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How one probe ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Acknowledged within its deadline.
    Good,
    /// An answer or a broken connection that says no; what it said.
    Refused(String),
    /// Nothing until the deadline.
    Silent,
    /// It was due and not sent: as many probes as allowed were out already, or the observer could not.
    NotSent,
}

/// One probe of an open-loop stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When it should have been sent; latency counts from here, so that a stalled service cannot hide.
    pub due: Duration,
    /// When it was sent, stamped right before.
    pub sent: Duration,
    /// When its end was seen, stamped right after.
    pub ended: Duration,
    /// How it ended.
    pub answer: Answer,
}

impl Sample {
    /// Whether the service was up at some instant between `sent` and `ended`.
    pub fn good(&self) -> bool {
        self.answer == Answer::Good
    }

    /// Whether the service was not up all the time between `sent` and `ended`.
    pub fn bad(&self) -> bool {
        matches!(self.answer, Answer::Refused(_) | Answer::Silent)
    }

    /// From when it was due until its end was seen.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.due)
    }
}

/// A time during which the observer itself stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// The last sign of life before.
    pub from: Duration,
    /// The first one after.
    pub until: Duration,
}

impl Stall {
    /// How long it stood still.
    pub fn length(&self) -> Duration {
        self.until.saturating_sub(self.from)
    }

    fn touches(&self, sample: &Sample) -> bool {
        self.from < sample.ended && sample.sent < self.until
    }
}

/// The samples that are evidence, in the order in which they were sent.
///
/// A probe that ran into its deadline while its observer stood still says nothing about the service: it is left out, and
/// the gap widens the bounds. One that was answered counts, however late the answer was looked at.
pub fn evidence<'a>(samples: &'a [Sample], stalls: &[Stall]) -> Vec<&'a Sample> {
    let void = |sample: &Sample| sample.answer == Answer::Silent && stalls.iter().any(|stall| stall.touches(sample));
    let mut kept: Vec<&Sample> =
        samples.iter().filter(|sample| sample.answer != Answer::NotSent && !void(sample)).collect();
    kept.sort_by_key(|sample| sample.sent);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sent: u64, ended: u64, answer: Answer) -> Sample {
        let ms = Duration::from_millis;
        Sample { due: ms(sent), sent: ms(sent), ended: ms(ended), answer }
    }

    #[test]
    fn a_deadline_that_passed_while_the_observer_stood_still_is_no_evidence() {
        let stall = Stall { from: Duration::from_millis(500), until: Duration::from_millis(1700) };
        let samples = [
            sample(100, 400, Answer::Silent),
            sample(450, 1701, Answer::Silent),
            sample(460, 1702, Answer::Good),
            sample(470, 1703, Answer::Refused("reset".to_owned())),
            sample(1800, 1800, Answer::NotSent),
        ];
        let kept: Vec<u128> = evidence(&samples, &[stall]).iter().map(|sample| sample.sent.as_millis()).collect();
        assert_eq!(kept, [100, 460, 470]);
        assert_eq!(stall.length(), Duration::from_millis(1200));
    }
}
