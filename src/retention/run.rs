//! Does what a plan of `retain` says, and nothing else.
//!
//! Locks grow before a point counts as promoted. A point goes in an order that a crash cannot spoil: its signed
//! tombstone first, so that it exists no more, then its signature, so that nobody takes it for whole, then the rest.

use super::plan::{self, Fate, PointPlan, RetainPlan, RulesBySource, SourcePlan};
use super::purge::{Purged, purge};
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, SourceName};
use crate::repository::{PointSummary, Repository, intent, layout};
use crate::store::{Lock, StoreError};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;

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
    for planned in &source.points {
        let point = planned.point.point();
        match planned.fate {
            Fate::Promoted { lock_until } => match lock(repository, &planned.point, lock_until).await {
                Ok(()) => report.promoted.push(point.clone()),
                // A damaged point is not promoted; the others are.
                Err(error) if error.kind() == Kind::CheckFailed => {
                    report.problems.push(format!("{point} is not locked until {lock_until}: {error}"));
                }
                Err(error) => return Err(error.during(format!("locking {point} until {lock_until}"))),
            },
            Fate::Locked { until } => report.locked.push((point.clone(), until)),
            Fate::Stays | Fate::Goes => {}
        }
    }
    Ok(())
}

/// Locks a point with all it names, and what holds it.
async fn lock(repository: &Repository, point: &PointSummary, until: Timestamp) -> Result<()> {
    let (Some(mode), Some(_)) = (repository.settings().lock, &point.hold) else {
        return repository.lock_point(point, until).await.map(drop);
    };
    let key = layout::hold(point.point());
    match repository.store().extend_lock(&key, None, Lock { mode, until }).await {
        // A hold that somebody took away still holds as long as the catalogue knows it.
        Ok(()) | Err(StoreError::NotFound(_)) => repository.lock_point(point, until).await.map(drop),
        Err(error) => Err(error.explain(format!("locking {key}"))),
    }
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
        match clear(repository, &source.source, point).await.map_err(unfinished)? {
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
        match clear(repository, &source.source, point).await.map_err(unfinished)? {
            Purged::Gone => report.finished.push(point.clone()),
            Purged::Locked(Some(until)) => report.locked.push((point.clone(), until)),
            Purged::Locked(None) => {}
        }
    }
    Ok(())
}

/// The points are gone and their remains are not: that is no refusal any more, whatever the store says.
fn unfinished(error: Error) -> Error {
    let more = "the points that were to go are listed no more; davit retain goes on where it was";
    let hint = error.hint_text().map_or_else(|| more.to_owned(), |hint| format!("{hint}; {more}"));
    error.as_kind(Kind::Failed).hint(hint)
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
