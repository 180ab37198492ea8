//! How much was lost: in time, in writes, in bytes of the log, and in what shape.

use super::interval::Interval;
use super::ledger::{Attempt, Classes, Outcome, Writes};
use super::verdict::{Objective, Verdict};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Which part of the acknowledged writes is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Nothing.
    None,
    /// The end before the fault: what replication had not carried over yet.
    Suffix,
    /// Writes are missing before others that survived: corruption, or a restore that is not whole. A time says nothing then.
    Holes,
    /// Writes acknowledged after the fault are missing: two servers answered, or the recovery threw away what one of them had
    /// taken. A time says nothing then.
    BeyondFault,
    /// Everything since the recovery point that was restored, up to the recovery: what restores do, and no surprise.
    SincePoint,
}

/// What was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Acknowledged writes that are missing.
    pub count: u64,
    /// Of so many acknowledged ones.
    pub acknowledged: u64,
    /// Their shape.
    pub shape: Shape,
    /// The age, at the fault, of the oldest lost write: the recovery point that was reached.
    pub age: Interval,
    /// The age of the newest lost write, which says little: it is nearly always close to nothing.
    pub newest: Option<Duration>,
    /// Bytes of the log that the survivor did not have, where both positions are known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
}

/// The loss that `classes` say, for a fault that took effect within `fault`.
pub fn loss(attempts: &dyn Writes, classes: &Classes, fault: Interval) -> Loss {
    let acknowledged = || attempts.each().filter(|attempt| attempt.outcome == Outcome::Ok);
    let mut lost: Option<(Duration, Duration)> = None;
    let mut beyond = false;
    // Where nothing is lost, nobody unpacks a day of writes to find that out.
    if !classes.lost.is_empty() {
        for write in acknowledged().filter(|attempt| classes.lost.contains(&attempt.id)) {
            let (oldest, newest) = lost.unwrap_or((write.ended, write.ended));
            lost = Some((oldest.min(write.ended), newest.max(write.ended)));
            beyond |= write.invoked > fault.high;
        }
    }
    let Some((oldest, newest)) = lost else {
        let none = Interval::exact(Duration::ZERO);
        let count = classes.acknowledged;
        return Loss { count: 0, acknowledged: count, shape: Shape::None, age: none, newest: None, bytes: None };
    };
    let (mut holes, mut safe) = (false, Duration::ZERO);
    for write in acknowledged().filter(|attempt| !classes.lost.contains(&attempt.id)) {
        holes |= write.invoked > oldest && write.ended < fault.low;
        // The newest write of which it is known that it and every one acknowledged before it survive.
        if write.ended < oldest {
            safe = safe.max(write.invoked);
        }
    }
    let shape = match (beyond, holes) {
        (true, _) => Shape::BeyondFault,
        (false, true) => Shape::Holes,
        (false, false) => Shape::Suffix,
    };
    Loss {
        count: classes.lost.len() as u64,
        acknowledged: classes.acknowledged,
        shape,
        age: Interval { low: fault.low.saturating_sub(oldest), high: fault.high.saturating_sub(safe) },
        newest: Some(fault.high.saturating_sub(newest)),
        bytes: None,
    }
}

impl Loss {
    /// Adds the bytes between the last acknowledged position on the old timeline and the fork.
    #[must_use]
    pub fn with_fork(mut self, attempts: &dyn Writes, old_timeline: u32, fork: u64) -> Self {
        let on_old = attempts.each().filter(|attempt| acknowledged_on(attempt, old_timeline));
        let last = on_old.filter_map(|attempt| attempt.lsn).map(|(_, after)| after).max();
        self.bytes = last.map(|last| last.saturating_sub(fork));
        self
    }

    /// Judges the loss. A shape to which a time does not apply is a miss, whatever the seconds.
    pub fn judge(&self, objective: Objective) -> Verdict {
        match self.shape {
            Shape::None => Verdict::Met,
            Shape::Suffix | Shape::SincePoint => objective.judge(self.age),
            Shape::Holes | Shape::BeyondFault => Verdict::Missed,
        }
    }
}

/// Writes that contradict the fork: a lost one that lies wholly before it, a surviving one that lies wholly after it on
/// the old timeline. Each is a finding of its own.
pub fn contradictions(attempts: &dyn Writes, classes: &Classes, old_timeline: u32, fork: u64) -> Vec<u64> {
    let on_old = attempts.each().filter(|attempt| acknowledged_on(attempt, old_timeline));
    let wrong = on_old.filter(|attempt| match attempt.lsn {
        Some((_, after)) if classes.lost.contains(&attempt.id) => after <= fork,
        Some((before, _)) => before >= fork,
        None => false,
    });
    wrong.map(|attempt| attempt.id).collect()
}

fn acknowledged_on(attempt: &Attempt, timeline: u32) -> bool {
    attempt.outcome == Outcome::Ok && attempt.timeline == Some(timeline)
}
