//! Saving a namespace, step by step. Nothing counts before the last one, the signature.

use super::LISTS as SIDE_BY_SIDE;
use super::binding;
use super::fill::{Fill, LISTS};
use super::hooks::{self, Ran, When};
use super::kinds::{self, Of, Outcome};
use super::output::{self, Outputs};
use super::plan::{self, SnapshotPlan};
use super::related::{self, References};
use super::report::SnapshotReport;
use crate::cluster::{Kind, Query};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::journal::{Amount, Progress, Recorder, SharedProgress};
use crate::repository::lease::{Claim, Lease};
use crate::repository::manifest::{ObjectLine, PointKind};
use crate::repository::{BeginPoint, Committed, PointWriter, Repository};
use crate::rowsum::RowSum;
use crate::snapshot::facts::{Coverage, Missing, PointFacts, kind as line};
use crate::snapshot::volumes::{self, Open, Taken, Volumes, csi};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PREPARE: &str = "prepare";
const COMMIT: &str = "commit";
const CHECK: &str = "check";

/// Takes the snapshot that `plan` describes. One that misses something is committed and says so: read its report.
///
/// # Errors
/// What kept it from being committed at all.
pub async fn run(
    plan: &SnapshotPlan,
    repository: &Repository,
    progress: SharedProgress,
    cancel: &CancellationToken,
) -> Result<SnapshotReport> {
    let clock = repository.clock();
    let recorder = Recorder::new(Arc::clone(clock), progress);
    let began = clock.monotonic();
    let claim = Claim::of_source(&plan.source, &plan.request.holder, plan.request.lease_term);
    if let Some(words) = Lease::wait_for(repository.store(), clock, &claim).await? {
        recorder.note(words);
    }
    let lease = Lease::acquire(repository.store(), clock, &claim, cancel).await?;
    let stop = cancel.child_token();
    let mut take = Box::pin(async {
        let plan = &Box::pin(plan_again(plan)).await?;
        let rebind = plan.request.rebind || binding::came_back(plan, repository, recorder.as_ref()).await?;
        Run { plan, repository, recorder: &recorder, began, rebind }.take(&stop).await
    });
    let outcome = tokio::select! {
        outcome = &mut take => outcome,
        () = lease.lost().cancelled() => {
            // The lists end, and what was frozen for them is thawed; whether a commit under way counts, the chain says.
            stop.cancel();
            let doing = format!("saving namespace {}", plan.request.namespace);
            take.await.map_err(|_| lease.loss().during(doing))
        }
    };
    let mut warnings = Vec::new();
    lease.release_or_warn(&mut warnings).await;
    let mut report = outcome?;
    report.warnings.extend(warnings);
    Ok(report)
}

/// The plan as it is by now: other namespaces were saved since it was made, or another runner was waited for. A definition, a
/// claim or a pod that came meanwhile would be missing, and nobody would know.
async fn plan_again(old: &SnapshotPlan) -> Result<SnapshotPlan> {
    let name = &old.request.namespace;
    let doing = || format!("saving namespace {name}: looking at it again");
    let there = old.cluster.one(&Kind::namespaces(), None, name).await.map_err(|why| why.during(doing()))?;
    if there.is_none() {
        return Err(gone(name));
    }
    let new = plan::plan(old.request.clone(), &old.cluster).await.map_err(|why| why.during(doing()))?;
    if new.namespace_uid == old.namespace_uid { Ok(new) } else { Err(made_again(name)) }
}

fn gone(namespace: &str) -> Error {
    Error::failed(format!("saving namespace {namespace}: it is gone since the run began"))
        .hint("an earlier point has what it held: davit points")
}

fn made_again(namespace: &str) -> Error {
    Error::failed(format!("saving namespace {namespace}: it was deleted and made again meanwhile"))
        .hint("the same command saves the one that is there now")
}

struct Run<'a> {
    plan: &'a SnapshotPlan,
    repository: &'a Repository,
    recorder: &'a Arc<Recorder>,
    began: Duration,
    /// Whether the source is bound to the namespace that is here, whatever it was bound to.
    rebind: bool,
}

/// What was saved, and what was not.
#[derive(Default)]
struct Content {
    instant: Option<(Timestamp, String)>,
    coverage: Coverage,
    missing: Vec<Missing>,
}

impl Run<'_> {
    async fn take(&self, cancel: &CancellationToken) -> Result<SnapshotReport> {
        let progress: SharedProgress = self.recorder.clone();
        progress.began(PREPARE, Amount::default());
        let writer = Arc::new(self.begin().await?);
        progress.ended(PREPARE, Amount::items(writer.known_chunks() as u64));
        let content = match Box::pin(self.fill(&writer, cancel)).await {
            Ok(content) => content,
            Err(error) => {
                // If we die here, the next run sees an intent without a signature, and uses what was stored.
                writer.abandon().await?;
                return Err(error);
            }
        };
        progress.began(COMMIT, Amount::default());
        let seconds = self.repository.clock().monotonic().saturating_sub(self.began).as_secs_f64();
        let committed = writer.commit(seconds).await?;
        progress.ended(COMMIT, Amount::items(1));
        progress.began(CHECK, Amount::items(committed.end.chunks));
        self.repository.check_committed(&self.plan.source, &committed).await?;
        progress.ended(CHECK, Amount::items(committed.end.chunks));
        Ok(self.report(&writer, committed, content))
    }

    async fn begin(&self) -> Result<PointWriter> {
        let (plan, now) = (self.plan, self.repository.clock().now());
        let run = plan.request.run.clone().unwrap_or_else(|| RunId::at(now));
        let mut begin = BeginPoint::new(plan.source.clone(), PointKind::Namespace, plan.identity.clone(), run, now);
        begin.rebind = self.rebind;
        begin.tier.clone_from(&plan.request.tier);
        begin.lock_until = plan.request.lock_until;
        self.repository.begin(begin).await
    }

    /// Hooks, lists, hooks; then what the objects lean on, and an account of it all.
    async fn fill(&self, writer: &Arc<PointWriter>, cancel: &CancellationToken) -> Result<Content> {
        let (plan, namespace) = (self.plan, &self.plan.request.namespace);
        let before = hooks::run(&plan.cluster, namespace, &plan.hooks, &When::Before).await;
        let open = Open::default();
        // Before the lists, so that they hold what is made here.
        let made = match plan.request.volumes {
            Volumes::Csi => csi::take(&self.storage(writer.run().as_str()), &plan.claims).await,
            _ => csi::Made::default(),
        };
        let listed = tokio::select! {
            listed = self.read(writer, &open) => listed,
            () = cancel.cancelled() => Err(Error::failed(format!("saving namespace {namespace}: the run was stopped"))),
        };
        let mut left = open.close(&plan.cluster, namespace).await;
        left.extend(csi::close(&self.storage(writer.run().as_str()), &made).await);
        // Whatever came of the lists: what was frozen before them is thawed.
        let after = hooks::run(&plan.cluster, namespace, &plan.hooks, &When::After).await;
        let (instant, outcomes, outputs, volumes) = listed?;
        let mut content = self.account(outcomes, outputs);
        content.instant = Some(instant);
        content.missing.extend(volumes.missing.into_iter().chain(made.missing));
        content.coverage.volumes = volumes.volumes;
        content.coverage.notes.extend(volumes.notes.into_iter().chain(made.notes).chain(left));
        for Ran { outcomes, missing } in [before, after] {
            content.coverage.hooks.extend(outcomes);
            content.missing.extend(missing);
        }
        self.write_account(writer, &mut content).await?;
        Ok(content)
    }

    async fn read(
        &self,
        writer: &Arc<PointWriter>,
        open: &Open,
    ) -> Result<((Timestamp, String), Vec<Outcome>, Outputs, Taken)> {
        let outputs = output::take(self.plan, self.repository, (self.began, self.rebind)).await?;
        let (taken, version, namespace) = self.instant().await?;
        writer.set_snapshot(taken, to_value(&self.facts(&version))?)?;
        let fill = Fill::new(self.plan, Arc::clone(writer), version.clone(), self.recorder.clone());
        let progress: SharedProgress = self.recorder.clone();
        progress.began(LISTS, Amount::items(self.plan.kinds.len() as u64));
        let mut outcomes: Vec<Outcome> = futures_util::stream::iter(&self.plan.kinds)
            .map(|kind| kinds::take(&fill, kind, Of::Namespace))
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        outcomes.push(self.namespace_itself(&fill).await?);
        if self.plan.request.scope.with_cluster {
            let mut found = References::default();
            for outcome in &mut outcomes {
                found.merge(std::mem::take(&mut outcome.references));
            }
            let present = outcomes.iter().filter(|outcome| outcome.coverage.objects > 0);
            let present: BTreeSet<String> = present.map(|outcome| outcome.coverage.kind.clone()).collect();
            let labels = labels_of(&namespace);
            outcomes.extend(Box::pin(related::take(&fill, found, &present, &labels)).await?);
        }
        let objects = outcomes.iter().map(|outcome| outcome.coverage.objects).sum();
        let bytes = outcomes.iter().map(|outcome| outcome.coverage.bytes).sum();
        progress.ended(LISTS, Amount { items: outcomes.len() as u64, rows: objects, bytes });
        let volumes = self.volumes(&fill, open).await?;
        Ok(((taken, version), outcomes, outputs, volumes))
    }

    /// The storage of this namespace, for snapshots that it makes itself.
    fn storage<'a>(&'a self, run: &'a str) -> csi::Of<'a> {
        let (plan, clock) = (self.plan, self.repository.clock());
        let repository = self.repository.id().to_string();
        csi::Of { cluster: &plan.cluster, clock, namespace: &plan.request.namespace, run, repository }
    }

    /// The files of volumes: before what was frozen is thawed.
    async fn volumes(&self, fill: &Fill<'_>, open: &Open) -> Result<Taken> {
        let plan = self.plan;
        let means = volumes::Means {
            cluster: &plan.cluster,
            clock: self.repository.clock(),
            namespace: &plan.request.namespace,
            writer: &fill.writer,
            open,
        };
        volumes::take(&means, &plan.request.volumes, &plan.claims, || fill.number()).await
    }

    /// The namespace's own object: cluster-scoped, so not promised to whoever asked for what is inside it only.
    async fn namespace_itself(&self, fill: &Fill<'_>) -> Result<Outcome> {
        let request = &self.plan.request;
        let mut outcome = kinds::take(fill, &Kind::namespaces(), Of::One(&request.namespace)).await?;
        if !request.scope.with_cluster {
            outcome.coverage.note = outcome.coverage.error.take();
        }
        Ok(outcome)
    }

    /// The instant of all lists: the resource version of a consistent one.
    async fn instant(&self) -> Result<(Timestamp, String, Value)> {
        let (plan, namespaces) = (self.plan, Kind::namespaces());
        let name = &plan.request.namespace;
        let doing = || format!("saving namespace {name}: asking for the instant");
        let mut listing = plan.cluster.list(Query { name: Some(name), ..Query::all(&namespaces) });
        let object: Option<Value>;
        let mut version = None;
        match listing.next().await {
            Ok(item) => {
                object = item.and_then(|item| serde_json::from_slice(&item).ok());
                while listing.next().await.map_err(|why| why.during(doing()))?.is_some() {}
                version = listing.resource_version().map(str::to_owned);
            }
            // Whoever administers one namespace cannot list all; any list of its own tells the instant as well.
            Err(why) if why.fault == crate::cluster::Fault::Forbidden => {
                for kind in &plan.kinds {
                    let mut listing = plan.cluster.list(Query { namespace: Some(name), ..Query::all(kind) });
                    while let Ok(Some(_)) = listing.next().await {}
                    version = listing.resource_version().map(str::to_owned);
                    if version.is_some() {
                        break;
                    }
                }
                // After the list: a namespace that is there now was there at its instant.
                let found = plan.cluster.one(&namespaces, None, name).await;
                object = found.map_err(|why| why.during(doing()))?;
            }
            Err(why) => return Err(why.during(doing())),
        }
        let version = version.filter(|version| !version.is_empty());
        let version = version.ok_or_else(|| Error::failed(format!("{}: no list can be read", doing())))?;
        // Lists of what is gone are empty, and those of what is going lack something: neither is a point of the namespace.
        let Some(object) = object else {
            return Err(gone(name));
        };
        plan::refuse_terminating(&object, name)?;
        if object["metadata"]["uid"].as_str().unwrap_or_default() != plan.namespace_uid {
            return Err(made_again(name));
        }
        Ok((self.repository.clock().now(), version, object))
    }

    fn facts(&self, resource_version: &str) -> PointFacts {
        let plan = self.plan;
        PointFacts {
            namespace: plan.request.namespace.clone(),
            namespace_uid: plan.namespace_uid.clone(),
            cluster_uid: plan.cluster_uid.clone(),
            server: plan.cluster.describe(),
            server_version: plan.server_version.clone(),
            scope: plan.request.scope.clone(),
            resource_version: resource_version.to_owned(),
        }
    }

    /// Counts what is derived, and gathers what is missing.
    fn account(&self, outcomes: Vec<Outcome>, outputs: Outputs) -> Content {
        let plan = self.plan;
        let known: HashSet<String> =
            outcomes.iter().flat_map(|outcome| outcome.uids.iter().map(|(uid, _)| uid.clone())).collect();
        let mut missing = outputs.missing;
        let mut coverage = Coverage {
            left_out: plan.left_out.clone(),
            outputs: outputs.points,
            notes: plan.notes.clone(),
            ..Coverage::default()
        };
        for Outcome { coverage: mut kind, uids, .. } in outcomes {
            let made = uids.iter().filter(|(_, maker)| maker.as_ref().is_some_and(|maker| known.contains(maker)));
            kind.derived = made.count() as u64;
            if let Some(why) = &kind.error {
                missing.push(Missing { what: kind.kind.clone(), why: why.clone() });
            }
            coverage.kinds.push(kind);
        }
        coverage.kinds.sort_by(|one, other| (one.related, &one.kind).cmp(&(other.related, &other.kind)));
        if let Some(selector) = &plan.request.scope.selector
            && coverage.kinds.iter().all(|kind| kind.related || kind.objects == 0)
        {
            coverage.notes.push(format!(
                "--selector {selector} met no object of the namespace, so nothing of it is in the point (kubectl -n {} get all \
                 --show-labels tells the labels)",
                plan.request.namespace
            ));
        }
        missing.extend(plan.unseen());
        Content { instant: None, coverage, missing }
    }

    /// Writes the account into the manifest. What is missing has lines of its own, so that lists of points show it.
    async fn write_account(&self, writer: &PointWriter, content: &mut Content) -> Result<()> {
        content.missing.sort();
        content.missing.dedup();
        // Numbers from the other end: those from 0 belong to what has chunks.
        let first = u32::MAX - 1 - u32::try_from(content.missing.len()).unwrap_or(0);
        let lines = content.missing.iter().map(|missing| (line::MISSING, missing.what.clone(), to_value(missing)));
        let account = (line::COVERAGE, "coverage".to_owned(), to_value(&content.coverage));
        for ((kind, name, details), number) in lines.chain([account]).zip(first..) {
            let object = ObjectLine {
                object: number,
                kind: kind.to_owned(),
                name,
                rows: RowSum::default(),
                bytes: 0,
                ranges: 0,
                chunks: 0,
                details: details?,
            };
            writer.add_object(object).await?;
        }
        Ok(())
    }

    fn report(&self, writer: &PointWriter, committed: Committed, content: Content) -> SnapshotReport {
        let (plan, end) = (self.plan, &committed.end);
        let Content { instant, coverage, missing } = content;
        let (snapshot_time, resource_version) = instant.unwrap_or_default();
        let sum = |count: fn(&crate::snapshot::facts::KindCoverage) -> u64| coverage.kinds.iter().map(count).sum();
        let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
        for (reason, count) in coverage.kinds.iter().flat_map(|kind| &kind.left_out) {
            *left_out.entry(reason.clone()).or_default() += count;
        }
        let mut warnings = coverage.notes.clone();
        let notes = coverage.kinds.iter().filter_map(|kind| Some(format!("{}: {}", kind.kind, kind.note.as_ref()?)));
        warnings.extend(notes);
        warnings.extend(committed.warnings);
        SnapshotReport {
            point: committed.point,
            source: plan.source.clone(),
            run: writer.run().clone(),
            sequence: committed.sequence,
            manifest_sha256: committed.manifest_sha256.to_string(),
            namespace: plan.request.namespace.clone(),
            server: plan.cluster.describe(),
            snapshot_time,
            resource_version,
            complete: missing.is_empty(),
            missing,
            objects: sum(|kind| kind.objects),
            related: sum(|kind| if kind.related { kind.objects } else { 0 }),
            derived: sum(|kind| kind.derived),
            left_out,
            outputs: coverage.outputs,
            hooks: coverage.hooks,
            volumes: coverage.volumes,
            kinds: coverage.kinds,
            amounts: end.amounts(),
            seconds: self.repository.clock().monotonic().saturating_sub(self.began).as_secs_f64(),
            phases: self.recorder.phases(),
            verified_listed: true,
            warnings,
        }
    }
}

fn labels_of(namespace: &Value) -> BTreeMap<String, String> {
    let labels = namespace["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn to_value<T: Serialize>(facts: &T) -> Result<Value> {
    serde_json::to_value(facts).map_err(|why| Error::failed("describing the point").because(why))
}
