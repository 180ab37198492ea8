//! What became of every write.

use super::facts::Facts;
use super::model::{ClassRow, Integrity};
use crate::humane::count;
use crate::measure::agreement::agreement;
use crate::measure::ledger::{Survivor, classify};
use crate::measure::loss::{contradictions, loss};
use crate::measure::{Classes, Interval, Loss, Outcome, Shape, Writes, confidence};
use crate::report::journal::Restored;
use crate::report::words::{bounds, secs};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

/// So many ids of a class help to find it; more only fill a page.
const EXAMPLES: usize = 10;
/// So many gaps between writes are looked at.
const GAPS: usize = 100;

/// What the ledger and the reads say together.
pub(super) struct Compared {
    pub(super) classes: Classes,
    pub(super) loss: Loss,
    /// Lost ones that were acknowledged after the fault, and for how long after it.
    pub(super) later: Option<(u64, Duration)>,
    pub(super) row: Integrity,
    /// What contradicts itself.
    pub(super) findings: Vec<String>,
}

/// Compares; nothing without a ledger, a proven fault and a read.
pub(super) fn compare(facts: &Facts<'_>, fault: Interval) -> Option<Compared> {
    if !facts.ledger || facts.reads.is_empty() {
        return None;
    }
    let attempts = &facts.attempts;
    let reads: Vec<_> = facts.reads.iter().map(|read| read.read()).collect();
    let survivor = Survivor { timeline: facts.survival.and_then(|survival| survival.after), fault: fault.high };
    let classes = classify(attempts, &reads, survivor);
    let mut loss = loss(attempts, &classes, fault);
    // The ledger is younger than the point: a restore of that point took all of it away.
    if loss.count > 0 && facts.restored.is_some_and(took_the_ledger) {
        loss.shape = Shape::SincePoint;
    }
    let later = later(attempts, &classes, fault);
    let mut findings = Vec::new();
    let (mut log, mut log_agrees, mut history) = (None, None, None);
    if let Some(survival) = facts.survival {
        if let (Some(before), Some(fork)) = (survival.before, survival.fork) {
            loss = loss.with_fork(attempts, before, fork);
            let wrong = contradictions(attempts, &classes, before, fork);
            if !wrong.is_empty() {
                findings.push(format!(
                    "{} contradict the fork at {}: {}",
                    count(wrong.len() as u64),
                    lsn(fork),
                    ids(&wrong)
                ));
            }
            let after = survival.after.map_or_else(|| "?".to_owned(), |after| after.to_string());
            history = Some(format!("timeline {before} until {}, then timeline {after}", lsn(fork)));
        }
        if let Some(commits) = &survival.old_commits {
            let agree = agreement(attempts, &classes, &commits.iter().copied().collect());
            log_agrees = Some(agree.whole());
            log = Some(format!(
                "the old server's log has {} committed after the fork; the ledger misses {} of them ({} lost, {} vanished)",
                count(commits.len() as u64),
                count(agree.both.len() as u64),
                count(classes.lost.len() as u64),
                count(classes.vanished.len() as u64)
            ));
            if !agree.whole() {
                findings.push(format!(
                    "the ledger and the server's log disagree: {} only in the ledger, {} only in the log",
                    count(agree.only_ledger.len() as u64),
                    count(agree.only_log.len() as u64)
                ));
            }
        }
    }
    let Tally { failed, unknown, resolution } = Tally::of(attempts, fault);
    let missing = !classes.lost.is_empty();
    let row = Integrity {
        attempted: attempts.count(),
        acknowledged: classes.acknowledged,
        failed,
        unknown,
        reads: reads.len() as u64,
        classes: rows(&classes),
        shape: shape(loss.shape).0.to_owned(),
        shape_means: shape(loss.shape).1.to_owned(),
        loss_seconds: missing.then(|| bounds(loss.age)),
        newest_lost_seconds: loss.newest.map(secs),
        loss_bytes: loss.bytes,
        lost_after_fault: later.map_or(0, |(count, _)| count),
        resolution_seconds: resolution.map(secs),
        history,
        log_agrees,
        log,
        confidence: (!missing).then(|| confidence::sentence(1)),
    };
    Some(Compared { classes, loss, later, row, findings })
}

/// Whether a restore put the point in the place of the ledger, too: one of single tables left it alone.
fn took_the_ledger(restored: &Restored) -> bool {
    !restored.ledger_covered && restored.tables.is_empty()
}

/// Lost writes that were acknowledged after the fault: how many, and until how long after it.
fn later(attempts: &dyn Writes, classes: &Classes, fault: Interval) -> Option<(u64, Duration)> {
    if classes.lost.is_empty() {
        return None;
    }
    let later = attempts.each().filter(|write| classes.lost.contains(&write.id) && write.invoked > fault.high);
    let (count, last) = later.fold((0, None), |(count, last), write| (count + 1, last.max(Some(write.ended))));
    Some((count, last?.saturating_sub(fault.low)))
}

/// What is counted of all writes.
#[derive(Default)]
struct Tally {
    failed: u64,
    unknown: u64,
    /// The longest time between two acknowledged writes that follow each other before the fault.
    resolution: Option<Duration>,
}

impl Tally {
    fn of(attempts: &dyn Writes, fault: Interval) -> Self {
        let mut tally = Self::default();
        // The last hundred gaps say how dense writes were when it mattered.
        let mut latest = BinaryHeap::with_capacity(GAPS + 2);
        for attempt in attempts.each() {
            match attempt.outcome {
                Outcome::Fail => tally.failed += 1,
                Outcome::Unknown => tally.unknown += 1,
                Outcome::Ok if attempt.ended < fault.low => {
                    latest.push(Reverse(attempt.ended));
                    if latest.len() > GAPS + 1 {
                        latest.pop();
                    }
                }
                Outcome::Ok => {}
            }
        }
        let latest = latest.into_sorted_vec();
        tally.resolution = latest.windows(2).map(|pair| pair[0].0.saturating_sub(pair[1].0)).max();
        tally
    }
}

fn rows(classes: &Classes) -> Vec<ClassRow> {
    let row = |class: &str, means: &str, ids: &BTreeSet<u64>, fine: bool| ClassRow {
        class: class.to_owned(),
        means: means.to_owned(),
        count: ids.len() as u64,
        fine,
        examples: ids.iter().take(EXAMPLES).copied().collect(),
    };
    vec![
        row("lost", "acknowledged and not there", &classes.lost, false),
        row("recovered", "of unknown outcome and there", &classes.recovered, true),
        row("vanished", "of unknown outcome and not there", &classes.vanished, true),
        row("zombie", "refused and there all the same", &classes.zombie, false),
        row("phantom", "there, and nobody wrote it", &classes.phantom, false),
        row("duplicate", "there more than once", &classes.duplicate, false),
        row("mutated", "there with something else in it", &classes.mutated, false),
        row("stale", "missing in an earlier read, there in the last one", &classes.stale, false),
        row("split-ack", "acknowledged after the fault by a server that did not survive", &classes.split_ack, false),
    ]
}

/// The word of a shape, and what it means.
pub(super) fn shape(shape: Shape) -> (&'static str, &'static str) {
    match shape {
        Shape::None => ("none", "no acknowledged write is missing"),
        Shape::Suffix => ("suffix", "the last writes before the fault are missing, as when replication lags"),
        Shape::Holes => ("holes", "writes are missing before others that survived: no time describes such a loss"),
        Shape::BeyondFault => (
            "beyond-fault",
            "writes acknowledged after the fault are missing: two servers answered, or the recovery threw away what one of them \
             had taken; no time describes that",
        ),
        Shape::SincePoint => (
            "since-point",
            "every write between the recovery point and the recovery is missing, those acknowledged after the fault among them: \
             the restore put the point in the place of what was there",
        ),
    }
}

/// A position as PostgreSQL writes it.
fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF)
}

fn ids(all: &[u64]) -> String {
    let mut text: Vec<String> = all.iter().take(EXAMPLES).map(u64::to_string).collect();
    if all.len() > EXAMPLES {
        text.push("…".to_owned());
    }
    text.join(", ")
}
