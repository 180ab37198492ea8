//! What an observer writes down: samples, stalls, gaps, notices, and what became of each write.
//!
//! These are the words that the observer (which writes them) and the measurement (which reads them) share, and the lines
//! of the log in which they travel from one to the other. All times are offsets on the observer's one monotonic clock;
//! wall time is a label.

mod log;
mod lsn;
pub(crate) mod numbers;
pub(crate) mod packed;
mod write;

pub(crate) use log::nanos;
pub use log::{Entry, FORMAT, Observation, Series, StreamFacts};
pub use lsn::{parse_lsn, show_lsn};
pub use packed::PackedWrites;
pub use write::{Attempt, Outcome};

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

    /// How long it stood still in all.
    pub fn total(stalls: &[Self]) -> Duration {
        stalls.iter().map(Self::length).sum()
    }

    /// Whether it overlaps the time from the send of a probe to its end.
    pub fn touches(&self, sample: &Sample) -> bool {
        self.from < sample.ended && sample.sent < self.until
    }
}
