//! From probes to the bounds of an outage.
//!
//! A good probe proves that the service was up at some instant between its send and its acknowledgement; a bad one that it
//! was not up all the time between its send and its end. From these two sentences alone follow bounds that contain the
//! truth; nothing is estimated. A background error may lie right at the edge of an outage, so the lower bound does
//! without the outermost failure on either side.
//!
//! Where a part of the service is gone no two probes in a row need fail: the module `partial` is about that.

use super::hold::Hold;
use super::interval::Interval;
use super::partial::{self, Partial};
use super::sample::{Sample, Stall, evidence};
use super::thin::Kept;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What became of the service after the fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "recovery", rename_all = "kebab-case")]
pub enum Recovery {
    /// No probe was sent after the fault: nothing is known.
    NoData,
    /// No two probes in a row failed, and within no hold more than in the steady state: there was no outage longer than this, and
    /// perhaps none.
    Brief {
        /// The longest time from the send of a good probe to the acknowledgement of the next one; where a part of the service may
        /// have been gone, until no probe failed any more.
        longest: Duration,
        /// How many failed, each on its own.
        failures: u64,
        /// From the first failure to the last one, where over a longer time there were more than chance explains: a small part of
        /// the service may have been gone.
        perhaps: Option<Span>,
    },
    /// It came back.
    Restored(Outage),
    /// It was not back, or not confirmed to be, when the observation ended.
    NotRestored {
        /// The recovery takes at least this long.
        at_least: Duration,
        /// When it was last seen failing.
        last_failure: Duration,
        /// The times it was down.
        spans: Vec<Span>,
    },
}

/// One outage with its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// When users first felt it.
    pub onset: Interval,
    /// The first success after the onset, whether or not it lasted.
    pub first_success: Option<Duration>,
    /// When the service was restored: the end of the recovery time.
    pub restored: Interval,
    /// From the proven fault to the restored service.
    pub recovery_time: Interval,
    /// Every time it was down, the ones after the restoration included; they do not move it.
    pub spans: Vec<Span>,
    /// Whether only a part of the requests failed: then its bounds depend on how often that part was met.
    #[serde(default)]
    pub in_part: bool,
}

/// Failures that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The send of the first one.
    pub first_sent: Duration,
    /// The send of the last one.
    pub last_sent: Duration,
    /// How many.
    pub failures: u64,
    /// How long the service was down.
    pub length: Interval,
}

impl Recovery {
    /// The recovery time; `None` where there is no upper bound to it or nothing is known.
    pub fn time(&self) -> Option<Interval> {
        match self {
            Self::Brief { longest, .. } => Some(Interval::new(Duration::ZERO, *longest)),
            Self::Restored(outage) => Some(outage.recovery_time),
            Self::NoData | Self::NotRestored { .. } => None,
        }
    }
}

/// What the samples of one stream say about the time after `fault`, the interval in which the fault was proven to take
/// effect.
pub fn recovery(samples: &[Sample], stalls: &[Stall], fault: Interval, hold: &Hold) -> Recovery {
    let all = evidence(samples, stalls);
    judge(&all, fault, hold, || {
        let probes = all.iter().filter(|sample| sample.ended >= fault.low).count() as u64;
        (longest_gap(&all, fault), probes)
    })
}

/// The same from what a [`super::thin::Thinner`] has kept.
pub fn recovery_of(kept: &Kept, fault: Interval, hold: &Hold) -> Recovery {
    let all: Vec<&Sample> = kept.samples.iter().collect();
    judge(&all, fault, hold, || (kept.longest, kept.probes))
}

/// The same from an observer whose clock is known only up to `error`, its probes being shifted onto ours.
///
/// On its clock the fault is known less exactly by that much, and on ours so is what it saw. What lies between two of its
/// own readings (an outage's length, the longest gap) is as exact as if it were ours.
pub fn recovery_from(kept: &Kept, fault: Interval, error: Duration, hold: &Hold) -> Recovery {
    let mut seen = recovery_of(kept, fault.widened(error), hold);
    if let Recovery::Restored(outage) = &mut seen {
        outage.onset = outage.onset.widened(error);
        outage.restored = outage.restored.widened(error);
    }
    seen
}

/// `whole` says of all probes, of which only some may be here, the longest gap and how many were made since the fault.
fn judge(all: &[&Sample], fault: Interval, hold: &Hold, whole: impl FnOnce() -> (Duration, u64)) -> Recovery {
    if !all.iter().any(|sample| sample.sent >= fault.low) {
        return Recovery::NoData;
    }
    let pair = onset(all, fault);
    let partial = Partial::find(all, fault, hold);
    let first = pair.into_iter().chain(partial.as_ref().map(|partial| partial.first)).min();
    let Some(onset) = first else {
        let failures = all.iter().filter(|sample| sample.bad() && sample.ended >= fault.low).count() as u64;
        let (longest, probes) = whole();
        let perhaps = partial::perhaps(all, probes, fault, hold);
        let longest = perhaps.iter().map(|span| span.length.high).fold(longest, Duration::max);
        return Recovery::Brief { longest, failures, perhaps };
    };
    let restored = (onset + 1..all.len()).find(|at| hold.confirms(&all[*at..]) == Some(true));
    // What failed in part after it was restored is another time that it was down.
    if let Some(partial) = partial.filter(|partial| restored.is_none_or(|restored| partial.first < restored)) {
        return partial.after(pair, all).judge(all, fault, hold, restored);
    }
    let spans = spans(all, onset);
    let Some(restored) = restored else {
        let last_failure = all.iter().filter(|sample| sample.bad()).map(|sample| sample.sent).max().unwrap_or_default();
        let at_least = last_bad_but_one(&all[onset..]).saturating_sub(fault.high);
        return Recovery::NotRestored { at_least, last_failure, spans };
    };
    let end = end_bounds(&all[onset..], restored - onset, fault);
    Recovery::Restored(Outage {
        onset: onset_bounds(all, onset, fault),
        first_success: all[onset..].iter().find(|sample| sample.good()).map(|sample| sample.ended),
        restored: end,
        recovery_time: end.since(fault),
        spans,
        in_part: false,
    })
}

/// The first failure of the outage: the first of two in a row after the fault.
fn onset(all: &[&Sample], fault: Interval) -> Option<usize> {
    let failed = |at: usize| all[at].bad() && all[at].ended >= fault.low;
    (0..all.len().saturating_sub(1)).find(|at| failed(*at) && failed(*at + 1))
}

/// When users first felt it: after the last good probe was sent, before the first failure was seen.
fn onset_bounds(all: &[&Sample], onset: usize, fault: Interval) -> Interval {
    let before = all[..onset].iter().rev().find(|sample| sample.good()).map_or(Duration::ZERO, |sample| sample.sent);
    let seen = all[onset..].iter().filter(|sample| sample.bad()).map(|sample| sample.ended).min();
    Interval::new(before.max(fault.low), seen.unwrap_or(fault.high).max(fault.low))
}

/// When it was restored: after the last failure before that was sent, before the first acknowledgement of a probe that
/// was sent after that failure and after the fault.
fn end_bounds(since_onset: &[&Sample], restored: usize, fault: Interval) -> Interval {
    let failures = || since_onset[..restored].iter().filter(|sample| sample.bad());
    let last_sent = failures().map(|sample| sample.sent).max().unwrap_or_default().max(fault.high);
    // A connection that was refused or broke was down when that was seen, not only when it was begun.
    let refused = failures()
        .filter(|sample| matches!(sample.answer, super::Answer::Refused(_)))
        .map(|sample| sample.ended)
        .max()
        .unwrap_or_default();
    let proof = since_onset[restored..]
        .iter()
        .filter(|sample| sample.good() && sample.sent > last_sent && sample.sent >= refused)
        .map(|sample| sample.ended)
        .min();
    let low = last_bad_but_one(&since_onset[..restored]);
    Interval::new(low, proof.unwrap_or(since_onset[restored].ended).max(low))
}

/// The last send but one among the failures: the last one may be a background error right after the end.
fn last_bad_but_one(samples: &[&Sample]) -> Duration {
    let mut sends = samples.iter().rev().filter(|sample| sample.bad()).map(|sample| sample.sent);
    sends.next();
    sends.next().unwrap_or_default()
}

/// The longest time after the fault in which no probe proves that the service was up.
fn longest_gap(all: &[&Sample], fault: Interval) -> Duration {
    let good: Vec<&&Sample> = all.iter().filter(|sample| sample.good()).collect();
    let touched = |pair: &&[&&Sample]| pair[1].ended >= fault.low;
    let pairs = good.windows(2).filter(touched).map(|pair| pair[1].ended.saturating_sub(pair[0].sent));
    let first = all.first().map_or(fault.low, |sample| sample.sent);
    let alone = good.first().map(|only| only.ended.saturating_sub(first));
    pairs.max().or(alone).unwrap_or_default()
}

/// Failures that follow each other, from the onset on.
pub(super) fn spans(all: &[&Sample], onset: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = onset;
    while at < all.len() {
        let run = all[at..].iter().take_while(|sample| sample.bad()).count();
        if run > 0 {
            spans.push(span(all, at, run));
        }
        at += run.max(1);
    }
    spans
}

fn span(all: &[&Sample], at: usize, run: usize) -> Span {
    let failures = &all[at..at + run];
    let (first, last) = (failures[0].sent, failures[run - 1].sent);
    // The first failure and the last one may be background errors beside the outage: it lasted from the end of another one
    // at the latest until the send of another one at least.
    let seen = failures[1..].iter().map(|sample| sample.ended).min().unwrap_or(last);
    let surely = last_bad_but_one(failures).saturating_sub(seen);
    let up_before = all[..at].iter().rev().find(|sample| sample.good()).map_or(first, |sample| sample.sent);
    let ended = failures.iter().map(|sample| sample.ended).max().unwrap_or(last);
    let up_after = all[at + run..].iter().find(|sample| sample.good()).map_or(ended, |sample| sample.ended);
    Span {
        first_sent: first,
        last_sent: last,
        failures: run as u64,
        length: Interval { low: surely, high: up_after.saturating_sub(up_before).max(surely) },
    }
}
