//! Does what a plan of `sweep` says, or less: what somebody names meanwhile stays.

use super::listing::Garbage;
use super::world::{OpenRun, World};
use super::{Leftover, SIDE_BY_SIDE, SweepPlan, clean, nothing_deleted};
use crate::error::{Error, Kind, Result};
use crate::id::RunId;
use crate::repository::Repository;
use crate::repository::intent::{self, Closed};
use crate::repository::mark::{self, ChunkName, Mark};
use crate::retention::purge::{Purged, purge};
use crate::store::{Put, StoreContext};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// What one `sweep` did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SweepReport {
    /// Chunks that are gone.
    pub taken: usize,
    /// Their bytes.
    pub taken_bytes: u64,
    /// Chunks that are marked and wait for a run to end.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// For which runs they wait.
    pub waits_for: Vec<OpenRun>,
    /// Chunks that a point names again since they were marked.
    pub named_again: usize,
    /// Chunks that a lock keeps.
    pub locked: usize,
    /// Runs that were closed because they took too long.
    pub closed: Vec<OpenRun>,
    /// What else went.
    pub leftovers: Vec<Leftover>,
}

/// Executes a plan. Nothing goes that the plan does not name.
pub async fn run(repository: &Repository, plan: &SweepPlan) -> Result<SweepReport> {
    run_or_fail(repository, plan).await.map_err(|error| error.as_kind(Kind::Failed))
}

async fn run_or_fail(repository: &Repository, plan: &SweepPlan) -> Result<SweepReport> {
    let named_again = plan.marks.iter().map(|mark| mark.named_again).sum();
    let mut report = SweepReport { named_again, ..SweepReport::default() };
    let marks = prepare(repository, plan, &mut report).await.map_err(nothing_deleted)?;
    // The second look comes after the last mark was put, and reads all manifests again.
    let (world, used) = look_again(repository, plan, &marks).await.map_err(nothing_deleted)?;
    for (mark, chunks) in &marks {
        let blockers: Vec<OpenRun> = world.waits_for(mark);
        if blockers.is_empty() {
            take(repository, mark, chunks, &used, &mut report).await?;
        } else {
            report.waiting += chunks.len();
            report.waiting_bytes += chunks.iter().map(|chunk| chunk.bytes).sum::<u64>();
            let new: Vec<OpenRun> = blockers.into_iter().filter(|open| !report.waits_for.contains(open)).collect();
            report.waits_for.extend(new);
        }
    }
    for leftover in &plan.leftovers {
        if is_still_over(&world, leftover) {
            clean::take(repository, leftover).await?;
            report.leftovers.push(leftover.clone());
        }
    }
    Ok(report)
}

/// Closes runs that take too long and puts the marks; gives every mark with what the plan wants to take by it.
async fn prepare(
    repository: &Repository,
    plan: &SweepPlan,
    report: &mut SweepReport,
) -> Result<BTreeMap<RunId, Vec<Garbage>>> {
    let store = repository.store().as_ref();
    for open in &plan.closes {
        // If we die after this, the run can never commit, and the next sweep finds its folder closed.
        if intent::close(store, &open.source, &open.point).await? == Closed::Aborted {
            report.closed.push(open.clone());
        }
    }
    let mut marks: BTreeMap<RunId, Vec<Garbage>> =
        plan.marks.iter().map(|mark| (mark.mark.clone(), mark.takes.clone())).collect();
    for chunks in plan.finds.chunks(mark::MOST_CHUNKS) {
        let made = repository.clock().now();
        let names = chunks.iter().map(|chunk| chunk.name).collect();
        let mark = Mark { repository: repository.id(), id: RunId::at(made), made, chunks: names };
        let put = Put::new(mark.bytes()?);
        store.put_new(&Mark::key(&mark.id)?, put).await.doing(|| format!("putting mark {}", mark.id))?;
        marks.insert(mark.id, chunks.to_vec());
    }
    Ok(marks)
}

/// What is named now of what the plan wants to take. A manifest never changes, so those that the plan has read name
/// what they named; every one that was committed since is read.
async fn look_again(
    repository: &Repository,
    plan: &SweepPlan,
    marks: &BTreeMap<RunId, Vec<Garbage>>,
) -> Result<(World, HashSet<ChunkName>)> {
    let wanted: HashSet<ChunkName> = marks.values().flatten().map(|chunk| chunk.name).collect();
    let mut world = World::read(repository).await?;
    let mut used = HashSet::new();
    let mut note = |name| {
        if wanted.contains(&name) {
            used.insert(name);
        }
    };
    world.name_chunks(repository, &plan.known, &mut note).await?;
    Ok((world, used))
}

/// Takes what still nobody names, and the mark itself once nothing of it is left to take.
async fn take(
    repository: &Repository,
    mark: &RunId,
    chunks: &[Garbage],
    used: &HashSet<ChunkName>,
    report: &mut SweepReport,
) -> Result<()> {
    let store = repository.store().as_ref();
    let (free, named): (Vec<Garbage>, Vec<Garbage>) = chunks.iter().partition(|chunk| !used.contains(&chunk.name));
    report.named_again += named.len();
    let mut purged = futures_util::stream::iter(free)
        .map(|chunk| async move { Ok::<_, Error>((purge(store, &chunk.name.key()?).await?, chunk.bytes)) }.boxed())
        .buffer_unordered(SIDE_BY_SIDE);
    let mut locked = 0;
    while let Some((purged, bytes)) = purged.try_next().await? {
        match purged {
            Purged::Gone => {
                report.taken += 1;
                report.taken_bytes += bytes;
            }
            Purged::Locked(_) => locked += 1,
        }
    }
    report.locked += locked;
    // While a condemned chunk exists its mark must, too: another sweep may be about to delete it, and no backup may
    // name it meanwhile. If we die before the mark is gone, the next sweep finds nothing to take by it and removes it.
    if locked == 0 {
        purge(store, &Mark::key(mark)?).await?;
    }
    Ok(())
}

/// A run that committed after all keeps its folder.
fn is_still_over(world: &World, leftover: &Leftover) -> bool {
    match leftover {
        Leftover::Point { source, point } => {
            world.aborted.iter().any(|folder| folder.source == *source && folder.point == *point)
        }
        Leftover::Journal(_) => true,
    }
}
