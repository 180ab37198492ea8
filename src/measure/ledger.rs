//! What became of every write that was attempted.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

pub use crate::observation::{Attempt, Outcome};

/// The writes of a run, as often as somebody looks: a day of them is not held unpacked.
pub trait Writes {
    /// One after another.
    fn each(&self) -> Box<dyn Iterator<Item = Attempt> + '_>;
}

impl Writes for Vec<Attempt> {
    fn each(&self) -> Box<dyn Iterator<Item = Attempt> + '_> {
        Box::new(self.iter().cloned())
    }
}

/// A whole read of the table, made from its rows: each an id and the payload that stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Spans of ids, from and to, in order. They stand for writes that were tried, each of which is there once as it was
    /// written.
    written: Vec<(u64, u64)>,
    /// Each other id with the payloads that stand there (more than one: it is there more than once).
    rows: HashMap<u64, Vec<u64>>,
}

impl FromIterator<(u64, u64)> for Read {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(rows: T) -> Self {
        let mut read = Self::default();
        for (id, payload) in rows {
            read.rows.entry(id).or_default().push(payload);
        }
        read
    }
}

impl Read {
    /// The same with spans of ids, from and to, of which every one that was tried is there once as it was written.
    #[must_use]
    pub fn with_written(mut self, mut spans: Vec<(u64, u64)>) -> Self {
        spans.sort_unstable();
        self.written = spans;
        self
    }

    /// Whether a row with this id is there; a write with it was tried.
    pub fn has(&self, id: u64) -> bool {
        let next = self.written.partition_point(|span| span.0 <= id);
        let within = next.checked_sub(1).and_then(|at| self.written.get(at)).is_some_and(|span| id <= span.1);
        within || self.rows.contains_key(&id)
    }
}

/// Every id of a run in its class. A write may be in several: duplicated and mutated, for example.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classes {
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Acknowledged and not there.
    pub lost: BTreeSet<u64>,
    /// Of unknown outcome and there: fine.
    pub recovered: BTreeSet<u64>,
    /// Of unknown outcome and not there: fine, and said.
    pub vanished: BTreeSet<u64>,
    /// Refused and there all the same.
    pub zombie: BTreeSet<u64>,
    /// There, and nobody wrote it.
    pub phantom: BTreeSet<u64>,
    /// There more than once.
    pub duplicate: BTreeSet<u64>,
    /// There with something else in it.
    pub mutated: BTreeSet<u64>,
    /// Acknowledged, missing in an earlier read, there in the last one.
    pub stale: BTreeSet<u64>,
    /// Acknowledged after the fault by a server that is not on the surviving timeline.
    pub split_ack: BTreeSet<u64>,
}

impl Classes {
    /// Whether nothing is there that should not be, and nothing is missing.
    pub fn clean(&self) -> bool {
        self.lost.is_empty() && self.strange().is_empty()
    }

    /// The classes, besides loss, that no honest server fills, with their number.
    pub fn strange(&self) -> BTreeMap<&'static str, usize> {
        let all = [
            ("zombie", &self.zombie),
            ("phantom", &self.phantom),
            ("duplicate", &self.duplicate),
            ("mutated", &self.mutated),
            ("stale", &self.stale),
            ("split-ack", &self.split_ack),
        ];
        all.into_iter().filter(|(_, ids)| !ids.is_empty()).map(|(name, ids)| (name, ids.len())).collect()
    }
}

/// What is known about the recovery when the reads are compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Survivor {
    /// The timeline that survived, where it is known.
    pub timeline: Option<u32>,
    /// When the fault had certainly taken effect.
    pub fault: Duration,
}

/// Compares what was attempted with the whole reads after the run, the last one deciding.
pub fn classify(attempts: &dyn Writes, reads: &[Read], survivor: Survivor) -> Classes {
    let nothing = Read::default();
    let (last, earlier) = reads.split_last().map_or((&nothing, reads), |(last, earlier)| (last, earlier));
    let mut classes = Classes::default();
    // Whatever was tried of those rows that are told one by one.
    let mut tried = HashSet::new();
    for attempt in attempts.each() {
        if let Some(payloads) = last.rows.get(&attempt.id) {
            tried.insert(attempt.id);
            if payloads.iter().any(|payload| *payload != attempt.payload) {
                classes.mutated.insert(attempt.id);
            }
        }
        let there = last.has(attempt.id);
        let class = match (attempt.outcome, there) {
            (Outcome::Ok, true) | (Outcome::Fail, false) => None,
            (Outcome::Ok, false) => Some(&mut classes.lost),
            (Outcome::Unknown, true) => Some(&mut classes.recovered),
            (Outcome::Unknown, false) => Some(&mut classes.vanished),
            (Outcome::Fail, true) => Some(&mut classes.zombie),
        };
        if let Some(class) = class {
            class.insert(attempt.id);
        }
        if attempt.outcome == Outcome::Ok {
            classes.acknowledged += 1;
            if there && earlier.iter().any(|read| !read.has(attempt.id)) {
                classes.stale.insert(attempt.id);
            }
            if split(&attempt, survivor) {
                classes.split_ack.insert(attempt.id);
            }
        }
    }
    for (id, payloads) in &last.rows {
        if !tried.contains(id) {
            classes.phantom.insert(*id);
        }
        if payloads.len() > 1 {
            classes.duplicate.insert(*id);
        }
    }
    classes
}

fn split(attempt: &Attempt, survivor: Survivor) -> bool {
    let elsewhere = matches!((attempt.timeline, survivor.timeline), (Some(own), Some(surviving)) if own != surviving);
    elsewhere && attempt.invoked > survivor.fault
}
