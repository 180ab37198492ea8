//! What the lists of one snapshot share: the point being made, the instant, room in memory, numbers.

use super::plan::SnapshotPlan;
use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress, Stage};
use crate::repository::PointWriter;
use crate::repository::manifest::ObjectLine;
use crate::snapshot::facts::{KindCoverage, KindFacts, kind as line};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The stage in which objects are listed and stored.
pub(super) const LISTS: Stage = "lists";

/// Packs on their way to the store hold at most this much memory together, in units of `UNIT`.
const ROOM: usize = 32 << 20;
const UNIT: usize = 64 << 10;

/// How a kind was cut in the last point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) cut_every: u32,
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

/// What the lists of one snapshot share.
pub(super) struct Fill<'a> {
    pub(super) plan: &'a SnapshotPlan,
    pub(super) writer: Arc<PointWriter>,
    pub(super) resource_version: String,
    pub(super) before: BTreeMap<(String, bool), Before>,
    pub(super) custom_groups: BTreeSet<String>,
    progress: SharedProgress,
    objects: AtomicU32,
    room: Arc<Semaphore>,
}

impl<'a> Fill<'a> {
    pub(super) fn new(
        plan: &'a SnapshotPlan,
        writer: Arc<PointWriter>,
        resource_version: String,
        progress: SharedProgress,
    ) -> Self {
        let custom = plan.kinds.iter().chain(&plan.cluster_kinds).filter(|kind| kind.custom);
        Self {
            custom_groups: custom.map(|kind| kind.group.clone()).collect(),
            before: writer.previous_objects().iter().filter_map(before).collect(),
            plan,
            writer,
            resource_version,
            progress,
            objects: AtomicU32::new(0),
            room: Arc::new(Semaphore::new(ROOM / UNIT)),
        }
    }

    /// The number of the next object of the manifest.
    pub(super) fn number(&self) -> u32 {
        self.objects.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until a pack of this size may be held in memory.
    pub(super) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT).clamp(1, ROOM / UNIT);
        let permits = u32::try_from(units).unwrap_or(1);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        room.map_err(|why| Error::failed("waiting for room in memory").because(why))
    }

    /// One kind was read.
    pub(super) fn read(&self, coverage: &KindCoverage) {
        self.progress.advanced(LISTS, Amount { items: 1, rows: coverage.objects, bytes: coverage.bytes });
    }
}

fn before(object: &ObjectLine) -> Option<((String, bool), Before)> {
    let related = match object.kind.as_str() {
        line::OBJECTS => false,
        line::RELATED => true,
        _ => return None,
    };
    let facts: KindFacts = serde_json::from_value(object.details.clone()).ok()?;
    let before = Before { cut_every: facts.cut_every, objects: object.rows.rows, bytes: object.bytes };
    Some(((object.name.clone(), related), before))
}
