//! Stages that overlap: each begins with its first piece of work and ends with its last.

use super::table::Table;
use super::work::Work;
use super::{large_objects, load, readback};
use crate::journal::{Amount, SharedProgress, Stage};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Indexes and the constraints on them.
pub(super) const INDEXES: Stage = "indexes";
/// Foreign keys.
pub(super) const FOREIGN_KEYS: Stage = "foreign-keys";
/// Planner statistics.
pub(super) const ANALYZE: Stage = "analyze";

/// What is left of each stage.
pub(super) struct Stages {
    progress: SharedProgress,
    left: Mutex<BTreeMap<Stage, Left>>,
}

#[derive(Default)]
struct Left {
    pieces: usize,
    begun: bool,
    amount: Amount,
}

impl Stages {
    /// The stages of some work over these tables.
    pub(super) fn new<'w>(work: impl Iterator<Item = &'w Work>, tables: &[Table], progress: &SharedProgress) -> Self {
        let mut left: BTreeMap<Stage, Left> = BTreeMap::new();
        for work in work {
            let (stage, amount) = of(work);
            let left = left.entry(stage).or_default();
            left.pieces += 1;
            left.amount += amount;
        }
        let rows: u64 = tables.iter().map(|table| table.rows.rows).sum();
        let bytes: u64 = tables.iter().map(|table| table.bytes).sum();
        for stage in [load::STAGE, readback::STAGE] {
            if let Some(left) = left.get_mut(stage) {
                left.amount = Amount { items: tables.len() as u64, rows, bytes };
            }
        }
        Self { progress: progress.clone(), left: Mutex::new(left) }
    }

    /// A piece of work begins.
    pub(super) fn begin(&self, work: &Work) {
        let stage = of(work).0;
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = all.get_mut(stage).filter(|left| !left.begun) {
            left.begun = true;
            self.progress.began(stage, left.amount);
        }
    }

    /// A piece of work has ended.
    pub(super) fn end(&self, work: &Work) {
        let stage = of(work).0;
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = all.get_mut(stage) {
            left.pieces -= 1;
            if left.pieces == 0 {
                self.progress.ended(stage, left.amount);
            }
        }
    }
}

/// Which stage a piece of work is of, and how much of it.
fn of(work: &Work) -> (Stage, Amount) {
    let items = |count: usize| Amount::items(count as u64);
    match work {
        Work::Load { .. } | Work::LoadShare { .. } => (load::STAGE, Amount::default()),
        Work::LargeObjects => (large_objects::STAGE, Amount::default()),
        Work::Build(_) => (INDEXES, items(1)),
        Work::Define(all) => (INDEXES, items(all.len())),
        Work::Reference(all) => (FOREIGN_KEYS, items(all.len())),
        Work::Hold { .. } => (FOREIGN_KEYS, items(1)),
        Work::Analyze { tables } => (ANALYZE, items(tables.len())),
        Work::ReadBack { .. } => (readback::STAGE, Amount::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::journal::{Event, NoProgress, Recorder};

    #[test]
    fn a_stage_begins_with_its_first_piece_and_ends_with_its_last() {
        let work = [Work::Analyze { tables: vec![0, 1] }, Work::LargeObjects, Work::Analyze { tables: vec![2] }];
        let recorder = Recorder::new(SystemClock::shared(), NoProgress::shared());
        let stages = Stages::new(work.iter(), &[], &(recorder.clone() as SharedProgress));
        for piece in [&work[0], &work[1], &work[2]] {
            stages.begin(piece);
        }
        for piece in [&work[0], &work[2]] {
            stages.end(piece);
        }
        let events: Vec<Event> = recorder.events().into_iter().map(|stamped| stamped.event).collect();
        let amount = Amount::items(3);
        let expected = [
            Event::StageBegan { stage: ANALYZE, total: amount },
            Event::StageBegan { stage: large_objects::STAGE, total: Amount::default() },
            Event::StageEnded { stage: ANALYZE, done: amount },
        ];
        assert_eq!(events, expected);
    }
}
