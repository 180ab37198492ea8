//! Taking away chunks that no manifest names, in two phases, because a running backup may be about to name one again.
//!
//! Phase one writes a mark. Phase two waits for every run that may still commit and does not honour the mark; a run
//! that is older than the longest run allowed is closed first, so that it can never commit. Then all manifests are
//! read again, and what is *still* unreferenced goes. If anything cannot be listed, read or understood, nothing is
//! deleted. Where nobody has to be waited for, both phases are one run.

mod clean;
mod listing;
mod run;
mod world;

pub use listing::Garbage;
pub use run::{SweepReport, run};
pub use world::OpenRun;

use super::purge::locked_until;
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, RunId, Sha256, SourceName};
use crate::repository::mark::{self, ChunkName};
use crate::repository::{Repository, intent};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use jiff::Timestamp;
use listing::Listing;
use serde::Serialize;
use std::collections::HashSet;
use std::time::Duration;
use world::World;

/// How many requests of one kind run at the same time.
const SIDE_BY_SIDE: usize = 16;

/// What a sweep obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepOptions {
    /// A run that is open for longer than this is closed: it can never commit then.
    pub longest_run: Duration,
    /// Journals of runs that are over are kept this long.
    pub keep_journals: Duration,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self { longest_run: intent::LONGEST_RUN, keep_journals: Duration::from_hours(24 * 90) }
    }
}

/// A mark of an earlier sweep, and what may go by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarkPlan {
    /// The mark.
    pub mark: RunId,
    /// What goes.
    pub takes: Vec<Garbage>,
    /// How many of its chunks a point names again; they stay.
    pub named_again: usize,
    /// For whom it waits; empty means that it is taken now.
    pub waits_for: Vec<OpenRun>,
}

/// An unreferenced chunk that a lock keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockedGarbage {
    /// The chunk.
    #[serde(flatten)]
    pub chunk: Garbage,
    /// Until when.
    pub until: Timestamp,
}

/// What a crash left, or what is no longer of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Leftover {
    /// What a run stored in its point's folder that can never commit. The word that closed it stays.
    Point {
        /// The source.
        source: SourceName,
        /// The point.
        point: PointId,
    },
    /// The journal of a run that is over.
    Journal(RunId),
}

/// What one `sweep` does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepPlan {
    /// When it was made.
    pub made: Timestamp,
    /// Committed points whose manifests were read.
    pub points: usize,
    /// Chunks in the repository.
    pub chunks: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Runs that have been open for too long: closed, so that they can never commit.
    pub closes: Vec<OpenRun>,
    /// Marks of earlier sweeps.
    pub marks: Vec<MarkPlan>,
    /// Chunks to mark now.
    pub finds: Vec<Garbage>,
    /// For whom taking these waits; empty means that they are taken at once.
    pub finds_wait_for: Vec<OpenRun>,
    /// Unreferenced chunks that stay, because a lock keeps them.
    pub locked: Vec<LockedGarbage>,
    /// What else goes.
    pub leftovers: Vec<Leftover>,
    #[serde(skip)]
    known: HashSet<Sha256>,
    #[serde(skip)]
    options: SweepOptions,
}

impl SweepPlan {
    /// Bytes that are freed now.
    pub fn takes_bytes(&self) -> u64 {
        let by_marks = self.marks.iter().filter(|mark| mark.waits_for.is_empty()).flat_map(|mark| &mark.takes);
        let found = self.finds.iter().filter(|_| self.finds_wait_for.is_empty());
        by_marks.chain(found).map(|chunk| chunk.bytes).sum()
    }
}

/// Finds out what nobody names. Reads every manifest and changes nothing.
pub async fn plan(repository: &Repository, options: &SweepOptions) -> Result<SweepPlan> {
    plan_or_fail(repository, options).await.map_err(nothing_deleted)
}

/// Whatever stopped a sweep, it stopped before anything was deleted, and a script has to see a failure.
fn nothing_deleted(error: Error) -> Error {
    error.as_kind(Kind::Failed).during("sweeping (nothing was deleted)")
}

async fn plan_or_fail(repository: &Repository, options: &SweepOptions) -> Result<SweepPlan> {
    let made = repository.clock().now();
    let store = repository.store().as_ref();
    let mut marks = Vec::new();
    for id in mark::list(store).await? {
        marks.extend(mark::read(store, &id).await?);
    }
    // The chunks before the manifests: what is named by a point that is committed meanwhile is not marked.
    let mut listing = Listing::read(repository).await?;
    let mut world = World::read(repository).await?;
    let nothing_known = HashSet::new();
    world.name_chunks(repository, &nothing_known, &mut |name| listing.note_used(&name)).await?;

    let now = store.clock().await.map_err(|error| error.explain("asking the store for the time"))?;
    let closes = world.take_overdue(now, options.longest_run);
    let marked: HashSet<ChunkName> = marks.iter().flat_map(|mark| &mark.chunks).copied().collect();
    let (finds, locked) = part_locked(repository, listing.all_garbage(&marked), now.unwrap_or(made)).await?;
    let marks = marks
        .into_iter()
        .map(|mark| MarkPlan {
            takes: mark.chunks.iter().filter_map(|name| listing.garbage(name)).collect(),
            named_again: mark.chunks.iter().filter(|name| listing.is_used(name)).count(),
            waits_for: world.waits_for(&mark.id),
            mark: mark.id,
        })
        .collect();
    let leftovers = clean::find(repository, &world, &closes, options, now.unwrap_or(made)).await?;
    Ok(SweepPlan {
        made,
        points: world.committed.len(),
        chunks: listing.len(),
        bytes: listing.bytes(),
        closes,
        marks,
        finds,
        finds_wait_for: world.open.clone(),
        locked,
        leftovers,
        known: world.manifests(),
        options: *options,
    })
}

/// Parts what may go from what a lock keeps. A locked chunk is not even marked: a backup may still use it again.
async fn part_locked(
    repository: &Repository,
    garbage: Vec<Garbage>,
    now: Timestamp,
) -> Result<(Vec<Garbage>, Vec<LockedGarbage>)> {
    if repository.settings().lock.is_none() && !repository.features().object_lock {
        return Ok((garbage, Vec::new()));
    }
    let store = repository.store().as_ref();
    let mut looks = futures_util::stream::iter(garbage)
        .map(|chunk| {
            async move { Ok::<_, Error>((locked_until(store, &chunk.name.key()?, now).await?, chunk)) }.boxed()
        })
        .buffered(SIDE_BY_SIDE);
    let (mut free, mut locked) = (Vec::new(), Vec::new());
    while let Some((until, chunk)) = looks.try_next().await? {
        match until {
            None => free.push(chunk),
            Some(until) => locked.push(LockedGarbage { chunk, until }),
        }
    }
    Ok((free, locked))
}
