//! What `retain` would do: for each point why it stays or goes, which locks must grow, what a lock keeps.
//!
//! Planning reads and decides; it changes nothing. The plan is a value: what `--dry-run` prints is what runs.

use super::policy::{self, Decision, PointFacts, Rules};
use super::purge::locked_until;
use crate::error::{Error, Result};
use crate::id::{PointId, RunId, SourceName};
use crate::repository::intent::{self, Folder};
use crate::repository::{Evidence, PointSummary, RecordError, Repository, Verified, layout};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How far ahead a held point is locked.
const HELD_AHEAD: Duration = Duration::from_hours(24 * 30);

/// Which rules hold for which source.
#[derive(Debug, Clone, Default)]
pub struct RulesBySource {
    /// For sources that have none of their own; without it they lose nothing.
    pub others: Option<Rules>,
    /// For single sources.
    pub sources: BTreeMap<SourceName, Rules>,
}

impl RulesBySource {
    /// The same rules for every source.
    pub fn for_all(rules: Rules) -> Self {
        Self { others: Some(rules), sources: BTreeMap::new() }
    }

    /// The rules of one source.
    pub fn of(&self, source: &SourceName) -> Rules {
        self.sources.get(source).or(self.others.as_ref()).cloned().unwrap_or_default()
    }
}

/// What becomes of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "fate")]
pub enum Fate {
    /// It stays.
    Stays,
    /// It stays, and its locks are extended before it counts as kept that long.
    Promoted {
        /// Until when it is locked then.
        lock_until: Timestamp,
    },
    /// It is removed.
    Goes,
    /// No rule keeps it, but a lock does; it goes when that ends.
    Locked {
        /// When.
        until: Timestamp,
    },
}

/// One point of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointPlan {
    /// The point as it was when the plan was made.
    pub point: PointSummary,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// Why, in words.
    pub reasons: String,
}

/// One source of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourcePlan {
    /// The source.
    pub source: SourceName,
    /// The rules.
    pub rules: Rules,
    /// Its points, newest first.
    pub points: Vec<PointPlan>,
    /// Points that an earlier run took away and whose remains a crash left.
    pub remains: Vec<PointId>,
}

impl SourcePlan {
    /// The points that are removed.
    pub fn going(&self) -> impl Iterator<Item = &PointPlan> {
        self.points.iter().filter(|point| point.fate == Fate::Goes)
    }
}

/// What one `retain` does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetainPlan {
    /// The run that will do it.
    pub run: RunId,
    /// The instant it was decided for.
    pub made: Timestamp,
    /// Source by source.
    pub sources: Vec<SourcePlan>,
}

impl RetainPlan {
    /// How many points are removed.
    pub fn going(&self) -> usize {
        self.sources.iter().map(|source| source.going().count()).sum()
    }
}

/// Decides about every point of the repository.
pub async fn plan(repository: &Repository, rules: &RulesBySource) -> Result<RetainPlan> {
    plan_at(repository, rules, repository.clock().now()).await
}

/// The same for an instant that was fixed before.
pub(super) async fn plan_at(repository: &Repository, rules: &RulesBySource, made: Timestamp) -> Result<RetainPlan> {
    let run = RunId::at(made);
    let mut points: BTreeMap<SourceName, Vec<PointSummary>> = BTreeMap::new();
    for point in repository.points_in_full().await? {
        points.entry(point.source.clone()).or_default().push(point);
    }
    let folders = Folders::read(repository).await?;
    let names: BTreeSet<SourceName> = points.keys().chain(folders.0.keys()).cloned().collect();
    let mut sources = Vec::new();
    for source in names {
        let points = points.remove(&source).unwrap_or_default();
        let folders = folders.0.get(&source).map_or(&[][..], Vec::as_slice);
        sources.push(plan_source(repository, source, rules, points, folders, made).await?);
    }
    Ok(RetainPlan { run, made, sources })
}

async fn plan_source(
    repository: &Repository,
    source: SourceName,
    rules: &RulesBySource,
    points: Vec<PointSummary>,
    folders: &[Folder],
    now: Timestamp,
) -> Result<SourcePlan> {
    let rules = rules.of(&source);
    let tombstones = repository.tombstones(&source).await?;
    let remains = folders.iter().map(|folder| folder.point.clone()).filter(|point| tombstones.contains_key(point));
    let remains = remains.collect();
    let mut facts: Vec<PointFacts> = points.iter().map(facts_of).collect();
    let decisions = decide_on_all_evidence(repository, &source, &mut facts, folders, &rules, now).await?;
    let mut plans = Vec::with_capacity(points.len());
    for (point, decision) in points.into_iter().zip(decisions) {
        let fate = fate_of(repository, &point, &decision, now).await?;
        let reasons = match fate {
            Fate::Locked { until } => format!("locked until {until}, stays; {}", decision.reasons.join("; ")),
            _ => decision.words(),
        };
        plans.push(PointPlan { point, fate, reasons });
    }
    Ok(SourcePlan { source, rules, points: plans, remains })
}

/// What the catalogue says about a point, as the policy wants it.
fn facts_of(point: &PointSummary) -> PointFacts {
    let mut facts = PointFacts {
        point: point.link.point.clone(),
        time: point.snapshot_time,
        tier: point.tier.clone(),
        hold: point.hold.as_ref().map(|hold| hold.reason.clone()),
        verified: None,
        damaged: false,
        incomplete: point.missing() > 0,
    };
    judge(&mut facts, &point.verified);
    facts
}

/// A verification that found something wrong counts until a later one, at least as deep, found all well.
fn judge(facts: &mut PointFacts, verified: &[Verified]) {
    let good = || verified.iter().filter(|seen| seen.ok);
    facts.verified = good().map(|seen| seen.depth).max();
    facts.damaged = verified
        .iter()
        .filter(|seen| !seen.ok)
        .any(|bad| !good().any(|good| good.depth >= bad.depth && good.when > bad.when));
    if facts.incomplete {
        facts.damaged = true;
        facts.verified = None;
    }
}

/// The catalogue is a copy that a crash can leave behind what lies beside a point. So the evidence of whatever is to
/// go is read before that is decided, again until nothing goes whose evidence was not read.
async fn decide_on_all_evidence(
    repository: &Repository,
    source: &SourceName,
    facts: &mut [PointFacts],
    folders: &[Folder],
    rules: &Rules,
    now: Timestamp,
) -> Result<Vec<Decision>> {
    let folders: BTreeMap<&PointId, &Folder> = folders.iter().map(|folder| (&folder.point, folder)).collect();
    let mut read = BTreeSet::new();
    loop {
        let decisions = policy::decide(facts, rules, now);
        let unread: Vec<usize> = (0..facts.len())
            .filter(|&index| !decisions[index].keep && read.insert(facts[index].point.clone()))
            .collect();
        if unread.is_empty() {
            return Ok(decisions);
        }
        for index in unread {
            let Some(folder) = folders.get(&facts[index].point) else { continue };
            let mut seen = Vec::new();
            for entry in &folder.evidence {
                let run = entry.key.as_str().rsplit('/').next().unwrap_or_default().parse::<RunId>();
                let Ok(run) = run else { continue };
                match repository.evidence(source, &folder.point, &run).await {
                    // What could not be decided speaks neither for the point nor against it.
                    Ok(Some(evidence)) if evidence.is_undecided() => {}
                    Ok(Some(evidence)) => {
                        let Evidence { depth, ok, when, .. } = evidence;
                        seen.push(Verified { run, depth, ok, when, damaged: Vec::new() });
                    }
                    // What nobody who may sign wrote speaks neither for the point nor against it.
                    Ok(None) | Err(RecordError::Damaged { .. }) => {}
                    Err(error) => return Err(Error::from(error).during(format!("reading the evidence of {source}"))),
                }
            }
            if !seen.is_empty() {
                judge(&mut facts[index], &seen);
            }
        }
    }
}

/// A hold has no end, so its point is locked ahead of time, again and again, as long as it is held.
fn held_until(point: &PointSummary, now: Timestamp) -> Option<Timestamp> {
    let held = point.hold.is_some() && point.lock_until < Some(now + HELD_AHEAD / 2);
    held.then(|| now + HELD_AHEAD)
}

async fn fate_of(repository: &Repository, point: &PointSummary, decision: &Decision, now: Timestamp) -> Result<Fate> {
    if decision.keep {
        let promised = decision.promised_until.max(held_until(point, now));
        return Ok(match promised.filter(|_| repository.settings().lock.is_some()) {
            Some(lock_until) if point.lock_until < promised => Fate::Promoted { lock_until },
            _ => Fate::Stays,
        });
    }
    let mut until = None;
    let (source, id) = (&point.source, point.point());
    for key in [layout::intent(source, id), layout::signature(source, id), layout::manifest(source, id)] {
        until = until.max(locked_until(repository.store().as_ref(), &key, now).await?);
    }
    Ok(until.map_or(Fate::Goes, |until| Fate::Locked { until }))
}

/// Every point's folder, by source.
struct Folders(BTreeMap<SourceName, Vec<Folder>>);

impl Folders {
    async fn read(repository: &Repository) -> Result<Self> {
        let mut by_source: BTreeMap<SourceName, Vec<Folder>> = BTreeMap::new();
        for folder in intent::survey(repository.store().as_ref()).await? {
            by_source.entry(folder.source.clone()).or_default().push(folder);
        }
        Ok(Self(by_source))
    }
}
