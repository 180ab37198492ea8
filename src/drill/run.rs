//! A drill, from its first look to its report. The top function reads as the runbook.

use super::alerts;
use super::desk::{Desk, LOOK};
use super::kept::beside as files_beside;
use super::lag;
use super::means::Means;
use super::notebook::with_journal;
use super::observing::{Kept, Observing};
use super::person;
use super::plan::{Plan, Script};
use super::platform::Platform;
use super::recovery::{self, recover};
use super::store::{begin, store};
use super::verify::{Before, look_before, remove_table, verify};
use crate::chaos::{self, Ending, Injection, Witness};
use crate::error::{Error, Kind, Result};
use crate::journal::SharedProgress;
use crate::measure::{Interval, Recovery, Steady};
use crate::postgres::connect;
use crate::probe::ledger::Ledger;
use crate::report::journal::{Event, Line, Stage};
use crate::report::{DrillReport, drill};
use crate::repository::lease::Lease;
use crate::scenario::Place;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Probes settle for so long before they count: the first ones open connections and fill caches.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often the share of failed probes is held against the limit.
const ALARM: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody elsewhere says stop.
const STOP: Duration = Duration::from_secs(1);
/// Over how much time that share is taken.
const ALARM_WINDOW: Duration = Duration::from_secs(10);

/// What became of the recovery that is drilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovered {
    Done,
    Failed,
}

/// A drill that is over.
#[derive(Debug)]
pub struct Done {
    /// What it showed.
    pub report: DrillReport,
    /// Its journal.
    pub journal: Vec<Line>,
    /// Where its journal, its ledger and what its observer saw lie on this machine.
    pub folder: PathBuf,
}

/// Tells whoever runs the drill what is waited for before it begins: whose lease that is, and for how long it may take.
struct Waiting(SharedProgress);

#[async_trait]
impl Witness for Waiting {
    async fn line(&self, event: chaos::Event) -> Result<()> {
        if let chaos::Event::Waiting { why } = event {
            self.0.note(why);
        }
        Ok(())
    }
}

/// Executes a drill and reports it. Whatever happens after the injection, the fault is healed and read back.
///
/// # Errors
/// What could not even begin. What was begun ends with a report, and its verdict says how.
pub async fn run(means: &Means, plan: Plan) -> Result<Done> {
    // Somebody else may have begun since this was planned; nothing was touched yet.
    let lease = chaos::take_lease(&means.chaos, &Waiting(means.progress.clone())).await?;
    let done = Box::pin(execute(means, plan, &lease)).await;
    if let Err(error) = lease.release().await {
        tracing::warn!("{error}");
    }
    done
}

async fn execute(means: &Means, plan: Plan, lease: &Lease) -> Result<Done> {
    let Plan { script, fault, .. } = plan;
    let versions = versions(means, &script).await;
    let desk = Desk::open(means, script, versions, fault.seed.0)?;
    let before = look_before(&desk).await;
    let mut kept = Kept::default();
    let observing = match Observing::begin(&desk, &mut kept).await {
        Ok(begun) => begun,
        Err(error) => return Err(with_journal(refused(&desk, error, &kept).await, &desk.notebook)),
    };
    let over = CancellationToken::new();
    let acting = async {
        let outcome = Box::pin(act(&desk, fault, lease, &mut kept)).await;
        over.cancel();
        outcome
    };
    let beside =
        async { tokio::try_join!(Box::pin(lag::watch(&desk, &over)), Box::pin(alerts::watch(&desk, &over))).map(drop) };
    let (outcome, beside) = tokio::join!(acting, beside);
    let outcome = outcome.and(beside);
    let seen = observing.end(&desk).await;
    let ended = Box::pin(end(&desk, outcome.and(seen), &kept, &before)).await;
    ended.map_err(|error| with_journal(error, &desk.notebook))
}

/// Compares, puts back what is left, and reports. Where the journal cannot be written any more, what is left to put back is put
/// back all the same.
async fn end(desk: &Desk<'_>, outcome: Result<()>, kept: &Kept, before: &Before) -> Result<Done> {
    let mut told = Ok(());
    if let Err(error) = outcome {
        told = desk.notebook.note(Event::Aborted { why: error.to_string() });
    }
    if let Err(error) = verify(desk, kept, before).await {
        let what = format!("not everything could be compared: {error}");
        told = told.and(desk.notebook.note(Event::Surprise { what }));
    }
    let cleaned = clean_up(desk, kept).await;
    told.and(cleaned)?;
    match files_beside(&desk.folder) {
        Ok(files) => desk.notebook.note(Event::Files(files))?,
        Err(error) => desk.notebook.note(Event::Surprise { what: error.to_string() })?,
    }
    desk.notebook.note(Event::Ended)?;
    finish(desk).await
}

/// Nothing was broken when this went wrong, and what was made for it is taken away again: it is a refusal. Where that is not
/// proven a person is needed, whatever the reason was.
async fn refused(desk: &Desk<'_>, error: Error, kept: &Kept) -> Error {
    match remove_table(desk, kept).await {
        Ok(()) if error.kind() == Kind::Failed => error.as_kind(Kind::Refused),
        Ok(()) => error,
        Err(left) => left.during(format!("taking back what was made before this: {error}")).as_kind(Kind::Stuck),
    }
}

/// Steady state, fault, recovery, healing, steady state; and meanwhile a person may notice.
async fn act(desk: &Desk<'_>, fault: chaos::Plan, lease: &Lease, kept: &mut Kept) -> Result<()> {
    let beginning = desk.notebook.lines()?;
    begin(&desk.means.chaos.repository, &desk.script.run, &beginning).await?;
    desk.notebook.is_stored(beginning.len());
    let steady = unless_stopped(desk, steady_before(desk, kept)).await?;
    let Some(steady) = steady else { return Ok(()) };
    let (tell, over) = oneshot::channel();
    let striking = async {
        let outcome = Box::pin(strike(desk, fault, lease, kept, &steady)).await;
        // Nobody waits for this if a person has noticed.
        let _nobody = tell.send(outcome.as_ref().ok().copied().flatten());
        outcome.map(drop)
    };
    let (outcome, heard) = tokio::join!(striking, person::watch(desk, over));
    outcome.and(heard)
}

/// Fault, recovery, healing, steady state; when the fault took effect, if it is proven.
async fn strike(
    desk: &Desk<'_>,
    fault: chaos::Plan,
    lease: &Lease,
    kept: &mut Kept,
    steady: &BTreeMap<String, Steady>,
) -> Result<Option<Interval>> {
    let platform = Platform::before(desk).await;
    let (name, wait) = (super::plan::fault_of(&desk.script.scenario), fault.phase.as_secs_f64());
    desk.stage(Stage::Fault, &format!("{name} strikes, after a random wait of {wait:.1} s"))?;
    let injection = chaos::inject_in_drill(&desk.means.chaos, fault, &desk.notebook, lease).await?;
    let Some(effective) = injection.effective() else {
        // The report says that nothing was proven; what was done is undone all the same.
        heal(desk, injection).await?;
        return Ok(None);
    };
    if let Err(unwritten) = desk.struck(effective, evidence(&injection)) {
        heal(desk, injection).await?;
        return Err(unwritten);
    }
    desk.live.forget_before(effective.low.saturating_sub(WARM_UP));
    let back = CancellationToken::new();
    let coming_back = async {
        let _back = back.clone().drop_guard();
        if desk.script.holds_for.is_some() {
            Box::pin(come_back(desk, effective, steady, injection, kept)).await
        } else {
            Box::pin(recover_from(desk, effective, steady, injection, kept)).await
        }
    };
    let (outcome, watched) = tokio::join!(coming_back, platform.watch(desk, effective, &back));
    outcome.and(watched)?;
    steady_after(desk).await?;
    Ok(Some(effective))
}

/// Does something while no fault is held, unless somebody elsewhere says stop. A repository that is out of reach says nothing.
async fn unless_stopped<T>(desk: &Desk<'_>, what: impl Future<Output = Result<T>>) -> Result<T> {
    let stopped = async {
        while !matches!(desk.means.chaos.repository.fault_stop_asked(&desk.script.run).await, Ok(true)) {
            desk.means.clock().sleep(STOP).await;
        }
    };
    tokio::select! {
        biased;
        outcome = what => outcome,
        () = stopped => Err(Error::failed("running the drill: davit chaos stop")),
    }
}

/// What proves that the fault took effect, in the words of its proofs.
fn evidence(injection: &Injection) -> String {
    let seen = injection.proofs().iter().filter_map(|proof| Some(proof.evidence()?.seen.clone()));
    seen.collect::<Vec<_>>().join("; ")
}

/// Looks at the steady state; nothing where it is not met, and then nothing is injected.
async fn steady_before(desk: &Desk<'_>, kept: &Kept) -> Result<Option<BTreeMap<String, Steady>>> {
    let scenario = &desk.script.scenario;
    desk.stage(Stage::SteadyBefore, "looking at what normal is")?;
    desk.sleep(WARM_UP).await?;
    let from = desk.now();
    desk.sleep(scenario.steady_state.span).await?;
    // Probes that were sent last have until their deadline.
    desk.sleep(scenario.load.deadline).await?;
    let until = from + scenario.steady_state.span;
    desk.notebook.note(Event::Steady { after: false, from, until })?;
    let judged = desk.script.judged_everywhere();
    let lost = desk.live.all_lost();
    let lost: Vec<String> = lost.into_iter().map(|name| format!("the observer {name} ended early")).collect();
    let rule = scenario.steady_state.rule;
    let written = match &kept.ledger {
        Some(path) if rule.throughput.is_some() => Steady::acknowledged(Ledger::reread(path)?.settled(), (from, until)),
        _ => None,
    };
    let steady = |name: &str| desk.live.steady(name, from, until).with_writes(written, (from, until));
    let seen: BTreeMap<String, Steady> = judged.into_iter().map(|name| (name.clone(), steady(&name))).collect();
    let misses = seen.values().flat_map(|steady| steady.misses(&rule));
    let misses: Vec<String> = if lost.is_empty() { misses.collect() } else { lost };
    if misses.is_empty() {
        return Ok(Some(seen));
    }
    desk.means.progress.warn(format!("{}; nothing is injected", misses.join("; ")), None);
    Ok(None)
}

/// Holds the fault, lets the service come back, and waits until that is believed.
async fn come_back(
    desk: &Desk<'_>,
    effective: Interval,
    steady: &BTreeMap<String, Steady>,
    held: Injection,
    kept: &mut Kept,
) -> Result<()> {
    // What is held is put back when its time is over, or the drill is given up, whatever the recovery still does.
    let failed = CancellationToken::new();
    let holding = async {
        let ending = tokio::select! {
            ending = held.watch(&desk.notebook, alarm(desk)) => Some(ending),
            // Nothing is left to wait for.
            () = failed.cancelled() => None,
        };
        heal(desk, held).await.map(|()| ending)
    };
    let recovering = async {
        let recovered = try_to_recover(desk, effective, kept).await;
        if !matches!(recovered, Ok(Recovered::Done)) {
            failed.cancel();
        }
        recovered
    };
    let (ending, recovered) = tokio::join!(holding, recovering);
    let recovered = match ending? {
        Some(Ending::TimeUp) | None => recovered?,
        // The notebook has the reason already.
        Some(Ending::Stopped { .. } | Ending::Aborted { .. }) => return Ok(()),
    };
    unless_stopped(desk, believed(desk, effective, steady, recovered)).await
}

/// Waits until the recovery is believed.
async fn believed(
    desk: &Desk<'_>,
    effective: Interval,
    steady: &BTreeMap<String, Steady>,
    recovered: Recovered,
) -> Result<()> {
    desk.stage(Stage::Hold, "waiting until the recovery is believed")?;
    restored(desk, effective, steady, recovered).await
}

/// Lets the service come back from a fault that is over when it has struck. Who gives the drill up is obeyed at once: what there
/// is to undo is undone, and nobody waits for the service any more. A recovery that has begun goes on: it is what helps.
async fn recover_from(
    desk: &Desk<'_>,
    effective: Interval,
    steady: &BTreeMap<String, Steady>,
    struck: Injection,
    kept: &mut Kept,
) -> Result<()> {
    let (given_up, over) = (CancellationToken::new(), CancellationToken::new());
    let watching = async {
        tokio::select! {
            _why = struck.watch_for_stop(&desk.notebook, alarm(desk)) => given_up.cancel(),
            () = over.cancelled() => {}
        }
        heal(desk, struck).await
    };
    let coming_back = async {
        let _over = over.clone().drop_guard();
        let recovered = try_to_recover(desk, effective, kept).await?;
        if given_up.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            outcome = believed(desk, effective, steady, recovered) => outcome,
            () = given_up.cancelled() => Ok(()),
        }
    };
    let (healed, back) = tokio::join!(watching, coming_back);
    healed.and(back)
}

/// Brings the service back. That this fails is what somebody runs a drill to find out, and no reason to end it: the service
/// may come back without it. Only who says stop ends the drill.
async fn try_to_recover(desk: &Desk<'_>, effective: Interval, kept: &mut Kept) -> Result<Recovered> {
    match recover(desk, effective, kept).await {
        Ok(()) => Ok(Recovered::Done),
        Err(stopped) if desk.means.cancel().is_cancelled() => Err(stopped),
        Err(error) => {
            desk.means.progress.warn(format!("the recovery failed: {error}"), None);
            desk.notebook.note(Event::RecoveryFailed { why: error.to_string() })?;
            Ok(Recovered::Failed)
        }
    }
}

/// Ends a fault early where too many probes fail.
async fn alarm(desk: &Desk<'_>) -> String {
    let Some(most) = desk.script.scenario.limits.abort_errors else { return std::future::pending().await };
    let judged = desk.script.judged_everywhere();
    loop {
        desk.means.clock().sleep(ALARM).await;
        let since = desk.now().saturating_sub(ALARM_WINDOW);
        if let Some(failing) = desk.live.failing(&judged, since).filter(|failing| *failing > most.0) {
            return format!("{:.0} % of the probes fail, at most {:.0} % may", failing * 100.0, most.0 * 100.0);
        }
    }
}

/// Waits until every judged stream is back for as long as the rule asks, or the time for it is over. What an observer does not
/// see any more is not waited for; the report says that it is open.
async fn restored(
    desk: &Desk<'_>,
    effective: Interval,
    steady: &BTreeMap<String, Steady>,
    recovered: Recovered,
) -> Result<()> {
    let settled = desk.now();
    let limits = &desk.script.scenario.limits;
    let end = match recovered {
        Recovered::Done => effective.high + limits.watch,
        // Nobody brings it back any more; whether it is back without that shows within the hold.
        Recovered::Failed => (effective.high + limits.watch).min(settled + limits.hold * 2),
    };
    let back = |(name, steady): (&String, &Steady)| {
        if desk.live.is_lost(name) {
            return true;
        }
        match desk.live.recovery(name, effective, &desk.hold(*steady)) {
            Recovery::Restored(_) => true,
            // Not down so far; an outage may still begin while the hold has not passed.
            Recovery::Brief { .. } => desk.now() >= settled + limits.hold,
            Recovery::NoData | Recovery::NotRestored { .. } => false,
        }
    };
    while !steady.iter().all(back) {
        if desk.now() > end {
            let watched = crate::units::Span(end.saturating_sub(effective.high));
            desk.means.progress.warn(format!("not restored after {watched}: no longer watched"), None);
            return Ok(());
        }
        desk.sleep(LOOK * 5).await?;
    }
    desk.means.progress.note("restored".to_owned());
    Ok(())
}

/// Undoes the fault. A journal that cannot be written any more keeps nothing from being put back.
async fn heal(desk: &Desk<'_>, injection: Injection) -> Result<()> {
    let told = desk.stage(Stage::Healing, "what was broken is put back and looked at");
    // What is not proven to be healed is in the notebook, and makes the report exit 5.
    let healing = injection.heal(&desk.notebook).await;
    if !healing.is_proven() {
        desk.means.progress.warn(
            "HEALING IS NOT PROVEN: the target may still be broken".to_owned(),
            Some("davit chaos status shows what is open; davit chaos janitor tries again".to_owned()),
        );
    }
    told
}

async fn steady_after(desk: &Desk<'_>) -> Result<()> {
    let scenario = &desk.script.scenario;
    desk.stage(Stage::SteadyAfter, "looking whether normal is back")?;
    let from = desk.now();
    let span = scenario.steady_state.span.min(Duration::from_secs(30));
    desk.sleep(span).await?;
    desk.sleep(scenario.load.deadline).await?;
    desk.notebook.note(Event::Steady { after: true, from, until: from + span })
}

/// What the scenario puts back, and what the drill itself has left in the target.
async fn clean_up(desk: &Desk<'_>, kept: &Kept) -> Result<()> {
    let mut told = Ok(());
    for step in &desk.script.scenario.cleanup {
        let from = desk.now();
        let doing = recovery::running(&step.command);
        let limit = (desk.script.scenario.limits.cleanup, "limits.cleanup says how long each command may take");
        let outcome = recovery::limited(desk, &doing, limit, recovery::run(&step.command)).await;
        let noted = desk.notebook.step(&step.name, from, &outcome);
        let healed = desk.notebook.note(Event::Healing(crate::report::journal::Healing {
            nothing: false,
            what: step.name.clone(),
            proven: outcome.is_ok(),
            detail: outcome.as_ref().map_or_else(ToString::to_string, Clone::clone),
        }));
        told = told.and(noted).and(healed);
    }
    // What is not proven to be gone is in the notebook, and makes the report exit 5.
    match remove_table(desk, kept).await {
        Err(error) if error.kind() != Kind::Stuck => told.and(Err(error)),
        _ => told,
    }
}

/// The report, from the journal alone; both go into the repository.
async fn finish(desk: &Desk<'_>) -> Result<Done> {
    let journal = desk.notebook.lines().map_err(|error| with_journal(error, &desk.notebook))?;
    let report = drill::of(&journal)?;
    store(&desk.means.chaos.repository, &journal, desk.notebook.stored(), &report).await?;
    Ok(Done { report, journal, folder: desk.folder.clone() })
}

/// What a report says of a database: its words, and the settings they are read from.
const ASKED: [(&str, &str); 4] = [
    ("PostgreSQL", "server_version"),
    ("synchronous_commit", "synchronous_commit"),
    ("synchronous_standby_names", "synchronous_standby_names"),
    ("max_connections", "max_connections"),
];

/// What the report says of the thing that was broken.
async fn versions(means: &Means, script: &Script) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    if matches!(script.scenario.target.place, Place::Cluster(_))
        && let Ok(cluster) = means.chaos.cluster()
        && let Ok(version) = cluster.version().await
    {
        versions.insert("Kubernetes".to_owned(), version.git);
    }
    let Some(primary) = &script.access.primary else { return versions };
    let Ok(conn) = crate::postgres::ConnInfo::parse(primary.reveal(), &means.chaos.postgres) else { return versions };
    let Ok(session) = connect(&conn, "drill").await else { return versions };
    for (name, setting) in ASKED {
        if let Ok(row) = session.row("asking for a setting", "SELECT pg_catalog.current_setting($1)", &[&setting]).await
        {
            let value: String = row.get(0);
            versions.insert(name.to_owned(), if value.is_empty() { "none".to_owned() } else { value });
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::journal::{Level, NoProgress, Recorder};

    #[tokio::test]
    async fn who_waits_for_the_lease_of_a_dead_runner_says_so() {
        let recorder = Recorder::new(SystemClock::shared(), NoProgress::shared());
        let witness = Waiting(recorder.clone());
        for event in [chaos::Event::Waiting { why: "it runs out in 30 s".to_owned() }, chaos::Event::LeaseReleased] {
            witness.line(event).await.unwrap();
        }
        let told: Vec<_> = recorder.events().into_iter().map(|stamped| stamped.event).collect();
        let note = crate::journal::Event::Note { level: Level::Info, text: "it runs out in 30 s".to_owned() };
        assert_eq!(told, [note]);
    }
}
