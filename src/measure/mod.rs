//! How long recovery took and how much was lost: pure functions of what an observer wrote down.
//!
//! Nothing here looks at a clock, a network or a file, so that a report can be computed again from a stored journal and
//! comes out the same. A figure is never a point: it is an interval that contains the truth, and a verdict over an
//! objective is met, missed, undecided or invalid.
//!
//! All times are offsets on the observer's one monotonic clock; wall time is a label and does not enter.

pub mod agreement;
pub mod confidence;
pub mod hold;
pub mod instants;
pub mod interval;
pub mod ledger;
pub mod loss;
pub mod outage;
mod partial;
pub mod ranks;
pub mod remote;
pub mod sample;
pub mod steady;
pub mod thin;
pub mod verdict;

pub use agreement::Agreement;
pub use hold::Hold;
pub use instants::{Instant, Timeline};
pub use interval::Interval;
pub use ledger::{Attempt, Classes, Outcome, Read, Writes};
pub use loss::{Loss, Shape};
pub use outage::{Outage, Recovery};
pub use sample::{Answer, Sample, Stall};
pub use steady::{Steady, SteadyRule};
pub use verdict::{Objective, Verdict};

#[cfg(test)]
mod tests;
