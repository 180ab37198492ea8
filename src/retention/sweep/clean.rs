//! What crashes left in points' folders, and journals of runs that are over.

use super::world::{OpenRun, World};
use super::{Leftover, SIDE_BY_SIDE, SweepOptions};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::repository::intent::{Folder, folder_name};
use crate::repository::{Repository, layout};
use crate::retention::purge::purge;
use crate::store::{ObjectKey, StoreContext};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Finds what can go besides chunks: folders of runs that can never commit, and journals that nobody needs.
pub(super) async fn find(
    repository: &Repository,
    world: &World,
    closes: &[OpenRun],
    options: &SweepOptions,
    now: Timestamp,
) -> Result<Vec<Leftover>> {
    let overdue = closes.iter().flat_map(|open| {
        let point = Leftover::Point { source: open.source.clone(), point: open.point.clone() };
        std::iter::once(point).chain(open.run.clone().map(Leftover::Journal))
    });
    let aborted = world.aborted.iter().filter(|folder| folder.remains().next().is_some());
    let aborted =
        aborted.map(|Folder { source, point, .. }| Leftover::Point { source: source.clone(), point: point.clone() });
    let mut leftovers: Vec<Leftover> = aborted.chain(overdue).collect();

    let doing = || "listing the journals".to_owned();
    let open: BTreeSet<&RunId> = world.open.iter().filter_map(|open| open.run.as_ref()).collect();
    let names = repository.store().folders(layout::JOURNALS).await.doing(doing)?;
    let mut runs: Vec<RunId> = names.iter().filter_map(|name| name.parse().ok()).collect();
    runs.retain(|run| !open.contains(run));
    let mut ages = futures_util::stream::iter(runs)
        .map(|run| async move { Ok::<_, Error>((newest_batch(repository, &run).await?, run)) }.boxed())
        .buffered(SIDE_BY_SIDE);
    while let Some((newest, run)) = ages.try_next().await? {
        let age = newest.map(|newest| now.duration_since(newest).max(SignedDuration::ZERO).unsigned_abs());
        let journal = Leftover::Journal(run);
        if age.is_some_and(|age| age > options.keep_journals) && !leftovers.contains(&journal) {
            leftovers.push(journal);
        }
    }
    Ok(leftovers)
}

async fn newest_batch(repository: &Repository, run: &RunId) -> Result<Option<Timestamp>> {
    let mut batches = repository.store().list(&layout::journal(run));
    let mut newest = None;
    while let Some(batch) = batches.try_next().await.doing(|| format!("listing the journal of {run}"))? {
        newest = newest.max(Some(batch.modified));
    }
    Ok(newest)
}

/// Takes one leftover away. Of a closed run everything goes but the word that closed it; the intent goes last, so
/// that a crash leaves a folder that is still understood.
pub(super) async fn take(repository: &Repository, leftover: &Leftover) -> Result<()> {
    let store = repository.store().as_ref();
    let (folder, spared, last) = match leftover {
        Leftover::Point { source, point } => {
            (folder_name(source, point), Some(layout::signature(source, point)), Some(layout::intent(source, point)))
        }
        Leftover::Journal(run) => (layout::journal(run), None, None),
    };
    let mut keys: Vec<ObjectKey> = Vec::new();
    let mut listing = store.list(&folder);
    while let Some(entry) = listing.try_next().await.doing(|| format!("listing {folder}"))? {
        keys.extend(Some(entry.key).filter(|key| Some(key) != spared.as_ref()));
    }
    drop(listing);
    keys.sort_by_key(|key| Some(key) == last.as_ref());
    for key in keys {
        // What a lock keeps goes at a later sweep.
        purge(store, &key).await?;
    }
    Ok(())
}
