//! Does what a plan of `retain` says, and nothing else.
//!
//! Locks grow before a point counts as promoted. A point goes in an order that a crash cannot spoil: its signed
//! tombstone first, so that it exists no more, then its signature, so that nobody takes it for whole, then the rest.

use super::plan::{self, Fate, PointPlan, RetainPlan, RulesBySource, SourcePlan};
use super::purge::{Purged, purge};
use crate::error::{Error, Result};
use crate::id::{PointId, SourceName};
use crate::repository::manifest::Line;
use crate::repository::mark::ChunkName;
use crate::repository::{Repository, intent, layout, lock};
use crate::store::{Lock, ObjectKey, Store, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};

/// How many chunks are locked at the same time.
const SIDE_BY_SIDE: usize = 16;

/// What one `retain` did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RetainReport {
    /// Points that are gone.
    pub removed: Vec<PointId>,
    /// Points whose locks were extended.
    pub promoted: Vec<PointId>,
    /// Points that no rule keeps, but a lock does.
    pub locked: Vec<(PointId, Timestamp)>,
    /// Points of earlier runs whose remains were removed now.
    pub finished: Vec<PointId>,
    /// What could not be done and does not hinder the rest; not empty means exit 1.
    pub problems: Vec<String>,
}

/// Executes a plan. If somebody held or damaged a point meanwhile, so that one of the planned ones would not go any
/// more, nothing is changed.
pub async fn run(repository: &Repository, plan: &RetainPlan) -> Result<RetainReport> {
    refuse_a_changed_world(repository, plan).await?;
    let mut report = RetainReport::default();
    for source in &plan.sources {
        promote(repository, source, &mut report).await?;
        remove(repository, plan, source, &mut report).await?;
        finish(repository, source, &mut report).await?;
    }
    Ok(report)
}

/// Plans once more for the same instant: every point that goes must still go.
async fn refuse_a_changed_world(repository: &Repository, plan: &RetainPlan) -> Result<()> {
    if plan.going() == 0 {
        return Ok(());
    }
    let rules = plan.sources.iter().map(|source| (source.source.clone(), source.rules.clone())).collect();
    let now = plan::plan_at(repository, &RulesBySource { others: None, sources: rules }, plan.made).await?;
    let fresh = |planned: &PointPlan| {
        let sources = now.sources.iter().flat_map(|source| &source.points);
        sources.into_iter().find(|point| point.point.link == planned.point.link)
    };
    for planned in plan.sources.iter().flat_map(SourcePlan::going) {
        let point = planned.point.point();
        let change = match fresh(planned) {
            Some(found) if found.fate == Fate::Goes => continue,
            Some(found) => found.reasons.clone(),
            None => "somebody else took it away".to_owned(),
        };
        return Err(Error::refused(format!("removing {point} as planned: the plan is out of date: {change}"))
            .hint("run davit retain again; it plans anew"));
    }
    Ok(())
}

/// Extends the locks of points that stay longer than they are locked.
async fn promote(repository: &Repository, source: &SourcePlan, report: &mut RetainReport) -> Result<()> {
    let Some(mode) = repository.settings().lock else { return Ok(()) };
    for planned in &source.points {
        let point = planned.point.point();
        match planned.fate {
            Fate::Promoted { lock_until } => {
                let lock = Lock { mode, until: lock::step_end(lock_until) };
                match extend(repository, &source.source, point, lock).await? {
                    None => {
                        repository.note_locked(&source.source, point, lock.until).await?;
                        report.promoted.push(point.clone());
                    }
                    Some(missing) => {
                        report.problems.push(format!("{point} is not locked until {lock_until}: {missing}"));
                    }
                }
            }
            Fate::Locked { until } => report.locked.push((point.clone(), until)),
            Fate::Stays | Fate::Goes => {}
        }
    }
    Ok(())
}

/// Locks every chunk of a point, then its manifest and signature; tells what is missing.
async fn extend(repository: &Repository, source: &SourceName, point: &PointId, lock: Lock) -> Result<Option<String>> {
    let mut reader = repository.read_point(source, point).await?;
    let mut seen = HashSet::new();
    while let Some(line) = reader.next().await? {
        let Line::Range(range) = line else { continue };
        let names = range.chunks.iter().map(|chunk| ChunkName { id: chunk.id, nonce: chunk.nonce });
        let new: Vec<ObjectKey> =
            names.filter(|name| seen.insert(*name)).map(|name| name.key()).collect::<Result<_>>()?;
        if let Some(missing) = lock_all(repository.store().as_ref(), new, lock).await? {
            return Ok(Some(missing));
        }
    }
    // The signature last: while its lock is short, the point is not called promoted.
    let rest = vec![layout::manifest(source, point)];
    if let Some(missing) = lock_all(repository.store().as_ref(), rest, lock).await? {
        return Ok(Some(missing));
    }
    lock_all(repository.store().as_ref(), vec![layout::signature(source, point)], lock).await
}

async fn lock_all(store: &dyn Store, keys: Vec<ObjectKey>, lock: Lock) -> Result<Option<String>> {
    let extend = |key: ObjectKey| async move {
        match store.extend_lock(&key, None, lock).await {
            Ok(()) => Ok(None),
            Err(StoreError::NotFound(_)) => Ok(Some(format!("{key} is missing"))),
            Err(error) => Err(error.explain(format!("locking {key}"))),
        }
    };
    let found: Vec<Option<String>> =
        futures_util::stream::iter(keys).map(extend).buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
    Ok(found.into_iter().flatten().next())
}

/// Takes the points away that go.
async fn remove(
    repository: &Repository,
    plan: &RetainPlan,
    source: &SourcePlan,
    report: &mut RetainReport,
) -> Result<()> {
    let going: Vec<_> = source.going().map(|planned| (planned.point.clone(), planned.reasons.clone())).collect();
    if going.is_empty() {
        return Ok(());
    }
    // If we die before this, nothing happened. If we die after it, the points are gone and the next run finds their
    // remains by the tombstones.
    repository.entomb(&source.source, &plan.run, &going).await?;
    for (summary, _) in going {
        let point = summary.point();
        match clear(repository, &source.source, point).await? {
            Purged::Gone => report.removed.push(point.clone()),
            Purged::Locked(until) => {
                report.problems.push(format!("{point} was locked meanwhile; its remains go when that ends"));
                report.locked.extend(until.map(|until| (point.clone(), until)));
            }
        }
    }
    Ok(())
}

/// Removes what crashed runs left of points that they took away.
async fn finish(repository: &Repository, source: &SourcePlan, report: &mut RetainReport) -> Result<()> {
    let tombstones = repository.tombstones(&source.source).await?;
    for point in source.remains.iter().filter(|point| tombstones.contains_key(*point)) {
        match clear(repository, &source.source, point).await? {
            Purged::Gone => report.finished.push(point.clone()),
            Purged::Locked(Some(until)) => report.locked.push((point.clone(), until)),
            Purged::Locked(None) => {}
        }
    }
    Ok(())
}

/// Empties a point's folder. The intent goes first: without it nobody takes the folder for a run under way once the
/// signature is gone. The signature goes next, so that what is left is no point to anybody.
async fn clear(repository: &Repository, source: &SourceName, point: &PointId) -> Result<Purged> {
    let store = repository.store().as_ref();
    let first = [layout::intent(source, point), layout::signature(source, point), layout::manifest(source, point)];
    for key in &first {
        if let locked @ Purged::Locked(_) = purge(store, key).await? {
            return Ok(locked);
        }
    }
    let folder = intent::folder_name(source, point);
    let mut rest = BTreeSet::new();
    let mut listing = store.list(&folder);
    while let Some(entry) = listing.try_next().await.map_err(|error| error.explain(format!("listing {folder}")))? {
        rest.insert(entry.key);
    }
    drop(listing);
    for key in rest {
        if let locked @ Purged::Locked(_) = purge(store, &key).await? {
            return Ok(locked);
        }
    }
    Ok(Purged::Gone)
}
