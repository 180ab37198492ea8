//! A namespace as what a drill restores: looked at before anything happens, and brought back into its own place.

use super::desk::{Desk, LOOK};
use super::means::Means;
use super::recovery::first_answer;
use crate::cluster::{Cluster, Fault, Kind};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::humane::counted;
use crate::measure::{Instant, Interval};
use crate::report::journal::{Event, RestorePhase, Restored};
use crate::repository::PointSummary;
use crate::scenario::{Place, Scenario};
use crate::snapshot::clean::Keep;
use crate::snapshot::facts::KindCoverage;
use crate::snapshot::map::Mapping;
use crate::snapshot::plan::Options;
use crate::snapshot::restore::{self, IN_FLIGHT, RestoreReport};
use crate::snapshot::{load, show, volumes};
use std::time::Duration;

/// Objects that failed are named in an error so many at a time; the run's own log has all of them.
const NAMED: usize = 3;

/// What restoring this point will do, in lines; refuses what could not end well.
pub(super) async fn plan(means: &Means, scenario: &Scenario, point: &PointSummary) -> Result<Vec<String>> {
    let place = namespace(scenario)?;
    let repository = &means.restore.repository;
    let shown = show::show(repository, point).await?;
    let doing = || format!("planning the restore of {} from point {}", place, point.point());
    if shown.facts.namespace != place {
        return Err(Error::input(format!("{}: it is of the namespace {}", doing(), shown.facts.namespace))
            .hint("the scenario's target says which namespace is broken, its recovery which source is restored"));
    }
    if let Some(selector) = &shown.facts.scope.selector {
        return Err(Error::refused(format!("{}: it has only what has the labels {selector}", doing()))
            .hint("davit snapshot create without --selector saves all of it"));
    }
    if let Some(first) = shown.missing.first() {
        return Err(Error::refused(format!("{}: it is incomplete: {}: {}", doing(), first.what, first.why))
            .hint("davit snapshot show says what is missing"));
    }
    may_restore(means.chaos.cluster()?, &shown.coverage.kinds, &doing()).await?;
    let mut lines = vec![
        format!("wait until nothing of the old namespace {place} is left"),
        format!("{} of point {} into the namespace {place}", counted(shown.objects, "object"), point.point()),
    ];
    let filled = shown.coverage.volumes.len() as u64;
    if filled > 0 {
        lines.push(format!("the files of {}, before anything runs", counted(filled, "volume")));
    }
    lines.push("read every object back, and wait for the first good answer".to_owned());
    Ok(lines)
}

/// Refuses an account that could not make again what it is about to lose. It is asked about the whole cluster: what is bound
/// inside the namespace goes with it.
async fn may_restore(cluster: &Cluster, kinds: &[KindCoverage], doing: &str) -> Result<()> {
    let own = kinds.iter().filter(|one| !one.related && one.objects > one.derived).map(|one| one.kind.as_str());
    for kind in own.chain(["namespaces"]) {
        let (resource, group) = kind.split_once('.').unwrap_or((kind, ""));
        for verb in ["create", "list"] {
            let may = cluster.may(verb, (group, resource), None).await;
            if !may.map_err(|why| why.during(doing).as_kind(ErrorKind::Refused))? {
                return Err(Error::refused(format!(
                    "{doing}: this account may not {verb} {kind} once the namespace and its RoleBindings are gone"
                ))
                .hint("deploy/components/restore has the roles that a restore takes, for the whole cluster"));
            }
        }
    }
    Ok(())
}

/// The namespace that a scenario is about.
fn namespace(scenario: &Scenario) -> Result<&str> {
    match &scenario.target.place {
        Place::Cluster(target) => Ok(&target.namespace),
        Place::Processes(_) => Err(Error::input("planning the restore of a namespace: the target is no cluster")
            .hint("write `cluster: {clients: …, namespace: …}` in the target")),
    }
}

/// Brings the namespace back, and waits until users are answered from it.
pub(super) async fn bring_back(desk: &Desk<'_>, point: &PointSummary, mut phases: Vec<RestorePhase>) -> Result<()> {
    let (place, cluster) = (namespace(&desk.script.scenario)?.to_owned(), desk.means.chaos.cluster()?);
    let mut phase = |name: &str, from: Duration, until: Duration, bytes: u64| {
        phases.push(RestorePhase { name: name.to_owned(), from, until, bytes });
    };
    let start = desk.now();
    let gone = wait_until_gone(desk, cluster, &place).await;
    desk.notebook.step("wait until the old namespace is gone", start, &gone)?;
    gone?;
    let fetch = desk.now();
    phase("old namespace gone", start, fetch, 0);
    let prepared = prepare(desk, cluster, point).await;
    let told = prepared.as_ref().map(|(_, prepared, _)| counted(prepared.plan.acting().count() as u64, "object"));
    desk.notebook.step("fetch and plan", fetch, &told.map_err(|error| Error::failed(error.to_string())))?;
    let (means, prepared, volumes) = prepared?;
    let objects = desk.now();
    phase("fetch and plan", fetch, objects, point.end.bytes);
    let restored = Box::pin(restore::run_with(&means, &prepared, Some(&volumes))).await.and_then(whole);
    let told = restored.as_ref().map(|report| format!("{} from point {}", made(report), point.point()));
    desk.notebook.step(
        "restore the recovery point",
        objects,
        &told.map_err(|error| Error::failed(error.to_string())),
    )?;
    let report = restored?;
    let from = desk.now();
    phase("objects made and read back", objects, from, point.end.bytes);
    let answered = first_answer(desk, from).await?;
    phase("first good answer", from, answered, 0);
    let newest = desk.means.restore.repository.resolve(&format!("{}@latest", point.source).parse()?).await?;
    desk.notebook.note(Event::Restored(Box::new(Restored {
        point: point.point().to_string(),
        source: point.source.to_string(),
        snapshot_time: point.snapshot_time,
        phases,
        rows: 0,
        objects: Some(report.changed() + report.same),
        bytes: point.end.bytes,
        bytes_today: newest.end.bytes,
        proof: "every object was read back and is what was saved".to_owned(),
        ledger_covered: false,
        tables: Vec::new(),
    })))?;
    let validated = Interval::exact(answered.max(desk.now()));
    desk.notebook.mark(Instant::Validated, validated, "every object was read back, and the first request was answered")
}

async fn prepare(
    desk: &Desk<'_>,
    cluster: &Cluster,
    point: &PointSummary,
) -> Result<(restore::Means, restore::Prepared, volumes::Stored)> {
    let repository = &desk.means.restore.repository;
    let loaded = load::load(repository, point, load::Managers::Dropped).await?;
    let volumes = volumes::stored(repository, point, volumes::Movers::default()).await?;
    let options = Options {
        // The old ports are free again, and clients outside of the cluster know them.
        keep: Keep { node_ports: true, ..Keep::default() },
        manager: restore::manager(&[&restore::identity(point), &cluster.uid().await?, ""]),
        files: volumes.claims(),
        ..Options::default()
    };
    let means = restore::Means {
        cluster: cluster.clone(),
        clock: desk.means.clock().clone(),
        progress: desk.means.progress.clone(),
        cancel: desk.means.cancel().clone(),
        in_flight: IN_FLIGHT,
    };
    let prepared = restore::prepare(&means, loaded.objects, &Mapping::default(), options).await?;
    Ok((means, prepared, volumes))
}

/// Nothing can be made in a namespace that is going.
async fn wait_until_gone(desk: &Desk<'_>, cluster: &Cluster, name: &str) -> Result<String> {
    let limit = desk.script.scenario.limits.watch;
    let began = desk.now();
    loop {
        match cluster.get(&Kind::namespaces(), None, name).await {
            Err(why) if why.fault == Fault::NotFound => return Ok(format!("{name} is gone")),
            // Somebody has made it anew already: what is in it is compared, and conflicts refuse the restore.
            Ok(there) if there["metadata"]["deletionTimestamp"].is_null() => {
                return Ok(format!("there is a new {name}"));
            }
            Ok(_) if desk.now().saturating_sub(began) < limit => desk.sleep(LOOK * 5).await?,
            Ok(_) => {
                return Err(Error::failed(format!("waiting until the namespace {name} is gone: it is still going"))
                    .hint(format!("kubectl get namespace {name} -o yaml says what keeps it")));
            }
            Err(why) => return Err(why.during(format!("looking at the namespace {name}"))),
        }
    }
}

fn made(report: &RestoreReport) -> String {
    counted(report.changed() + report.same, "object")
}

/// Refuses to call something restored of which anything is missing.
fn whole(report: RestoreReport) -> Result<RestoreReport> {
    if report.kind().is_none() {
        return Ok(report);
    }
    let wrong = report.failed.iter().chain(&report.diverged);
    let named: Vec<String> = wrong.clone().take(NAMED).map(|one| format!("{}: {}", one.place, one.why)).collect();
    let count = wrong.count() as u64;
    Err(Error::check(format!(
        "restoring the namespace: {} not restored: {}",
        counted(count, "object"),
        named.join("; ")
    )))
}
