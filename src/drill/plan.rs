//! What a drill will do: streams, fault, recovery. Reads and decides, changes nothing; this is the dry run.

use super::asking::{self, Asker};
use super::elsewhere::Seat;
use super::entry;
use super::hold;
use super::means::{Access, Means};
use super::namespace;
use crate::backup::restore::{self, Adjust, Existing, Part, Proof, Wanted};
use crate::chaos::{self, Amount, GuardName, Incident, Request, Seed, Server, Target, TargetKind, Window};
use crate::error::{Error, Kind, Result};
use crate::humane;
use crate::id::RunId;
use crate::postgres::{ConnInfo, connect};
use crate::probe::{Ask, StreamPlan};
use crate::repository::manifest::PointKind;
use crate::repository::{PointSpec, PointSummary};
use crate::scenario::{IncidentWish, ObserverWish, Place, RecoveryBy, Scenario, Victims};
use crate::secret::Secret;
use crate::units::Span;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// What the command line adds to a scenario.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Where victims and phase come from.
    pub seed: Option<u64>,
    /// Which one of how many.
    pub repetition: Option<(u32, u32)>,
    /// Guards that are lifted for this run.
    pub lifted: BTreeSet<GuardName>,
    /// The target's name again.
    pub confirmed: Option<String>,
}

/// What will be done, if it is not refused in the last moment.
pub struct Plan {
    /// Everything but the fault.
    pub script: Script,
    /// The fault, its victims, its guards.
    pub fault: chaos::Plan,
    /// What a restore will do, where one brings the service back.
    pub restore: Vec<String>,
    /// What is worth knowing, and no reason to refuse.
    pub notes: Vec<String>,
}

/// What a drill does around its fault.
pub struct Script {
    /// The drill.
    pub run: RunId,
    /// What somebody wrote down.
    pub scenario: Scenario,
    /// Its file.
    pub file: String,
    /// The secrets of its target.
    pub access: Access,
    /// What the command line added.
    pub choices: Choices,
    /// The streams of probes of the machine that runs the drill; the judged ones first.
    pub streams: Vec<Stream>,
    /// Who else observes, and what they ask.
    pub elsewhere: Vec<Elsewhere>,
    /// How long the fault holds on, where it does not end by itself.
    pub holds_for: Option<Duration>,
}

/// A stream of probes and what it counts for.
#[derive(Debug, Clone)]
pub struct Stream {
    /// What is asked.
    pub plan: StreamPlan,
    /// Whether the recovery time is judged by it.
    pub judged: bool,
    /// The path of users that it walks.
    pub path: &'static str,
}

/// An observer elsewhere, and what it asks.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Its name, with which the names of its streams begin, and how it is begun.
    pub wish: ObserverWish,
    /// The pod in which it is begun, where it is begun in one.
    pub seat: Option<Seat>,
    /// How the service is reached from there.
    pub clients: Secret,
    /// What it asks.
    pub streams: Vec<Stream>,
}

impl Elsewhere {
    /// Where it is, in a few words.
    pub(super) fn place(&self) -> String {
        self.seat.as_ref().map_or_else(|| self.wish.place(), Seat::place)
    }
}

/// Decides what a scenario means now, and asks every guard. Nothing is changed.
///
/// # Errors
/// Exit 2 for what cannot be meant, exit 3 for what a guard refuses or what cannot be reached.
pub async fn plan(means: &Means, scenario: Scenario, file: &str, access: Access, choices: Choices) -> Result<Plan> {
    let run = RunId::at(means.clock().now());
    let names = means.chaos.resolver.as_ref().map(|resolver| resolver.address());
    let own = asking::streams(&scenario, &access.clients, access.ca.as_deref(), &Asker::Own { names })?;
    let mut notes = Vec::new();
    if own.iter().any(|stream| stream.plan.ask.is_sql()) {
        let conn = ConnInfo::parse(access.clients.reveal(), &means.chaos.postgres)?;
        notes = entry::look(&conn, &scenario, &own).await?;
    }
    let mut request = request(&scenario, &access, &choices, &run)?;
    let mut elsewhere = asking::elsewhere(&scenario, &access)?;
    for observer in &mut elsewhere {
        if let Some(pod) = &observer.wish.pod {
            let seat = Seat::find(means.chaos.cluster()?, pod).await;
            let seat = seat.map_err(|error| error.during(format!("planning the observer {}", observer.wish.name)))?;
            request.protected.insert(seat.namespace.clone());
            request.observed_from.insert(seat.node.clone());
            observer.seat = Some(seat);
        }
    }
    let fault = chaos::plan(&means.chaos, request).await?;
    if scenario.recovery.by == RecoveryBy::Promote {
        can_be_promoted(means, &access).await?;
    }
    let restore = match &scenario.recovery.by {
        RecoveryBy::Restore { provision, .. } => {
            let found = means.restore.repository.resolve(&point(&scenario)?).await?;
            fresh_enough(&found, scenario.guards.backup_age, means.clock().now())?;
            // The manifest opens with the writer's key, too; the rows do not, and after the fault that is too late to learn.
            for epoch in &found.epochs {
                let opens = means.restore.repository.refuse_wrong_reader(*epoch);
                opens.map_err(|error| error.during(format!("planning the restore of {}", found.source)))?;
            }
            match (found.kind, provision.is_empty()) {
                (PointKind::Namespace, _) => namespace::plan(means, &scenario, &found).await?,
                (_, true) => Box::pin(restore_plan(means, &scenario, &access)).await?.summary().steps,
                // The server that it goes into is made later; that the point is there can be known now.
                (_, false) => {
                    let (point, source, age) = (found.point(), &found.source, humane::time(found.snapshot_time));
                    let into = access.into.as_ref().or(access.primary.as_ref());
                    let into = into.map(|url| ConnInfo::parse(url.reveal(), &means.chaos.postgres)).transpose()?;
                    let into = into.map_or_else(String::new, |conn| format!(", into {}", conn.describe()));
                    vec![
                        format!("{} makes a server", provision.join(" ")),
                        format!("point {point} of {source}, of {age}{into}"),
                    ]
                }
            }
        }
        _ => Vec::new(),
    };
    let holds_for = (fault.facts.class == chaos::Class::Reversible).then_some(fault.request.duration);
    let file = file.to_owned();
    let script = Script { run, file, scenario, access, choices, streams: own, elsewhere, holds_for };
    Ok(Plan { script, fault, restore, notes })
}

/// Whether the point that is restored is as new as the scenario wants it: whatever the fault, more must not be lost.
fn fresh_enough(found: &PointSummary, limit: Option<Duration>, now: Timestamp) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    if now.duration_since(found.snapshot_time).unsigned_abs() <= limit {
        return Ok(());
    }
    let old = humane::age(found.snapshot_time, now);
    let what = format!("planning the restore: {} is {old} old, and {} are allowed", found.point(), Span(limit));
    Err(Error::refused(what)
        .hint("davit backup, then davit verify --depth restored; or change guards.backup_age of the scenario"))
}

/// Looks at the standby that is to take over: once the primary is gone it is too late to learn that there is none.
async fn can_be_promoted(means: &Means, access: &Access) -> Result<()> {
    let url =
        access.standby.as_ref().ok_or_else(|| Error::input("planning the promotion: the standby's URL is missing"))?;
    let conn = ConnInfo::parse(url.reveal(), &means.chaos.postgres)?;
    let doing = || format!("planning the promotion of {}", conn.describe());
    // Nothing was touched yet.
    let session = connect(&conn, "drill").await.map_err(|error| error.during(doing()).as_kind(Kind::Refused))?;
    let standby = session.is_standby();
    let allowed = chaos::may_promote(&session).await;
    session.close().await;
    let allowed = allowed.map_err(|error| error.during(doing()).as_kind(Kind::Refused))?;
    if standby {
        return allowed.says.map(drop).map_err(|why| Error::refused(format!("{}: {why}", doing())));
    }
    Err(Error::refused(format!("{}: it is no standby, and takes writes already", doing()))
        .hint("`standby: {url: …}` in the target names the server that follows the primary"))
}

/// What can be said about a scenario without looking at its target: whether its fault is known and may be aimed there, and
/// whether its recovery has what it needs.
pub fn check(scenario: &Scenario) -> Result<()> {
    let line = |line: u64| format!("reading line {line} of the scenario");
    let doing = || scenario.fault.line.map_or_else(|| "reading the fault of the scenario".to_owned(), line);
    let fault = chaos::find(fault_of(scenario)).map_err(|error| error.during(doing()))?;
    let facts = fault.facts();
    let (place, server) = (&scenario.target.place, fault.server());
    if !facts.targets.iter().any(|kind| can_aim(place, *kind, server)) {
        let kinds = facts.targets.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(" or ");
        let (kinds, hint) = match server {
            Server::Standby => ("a standby".to_owned(), "add `standby: {url: …}` to the target"),
            Server::Primary => (
                kinds,
                "add to the target what the fault is aimed at: primary, pods, node, proxy, resolver or pid_file",
            ),
        };
        let what = format!("aiming {} at {}: it is for {kinds}", facts.name, place.describe());
        return Err(Error::input(what).hint(hint));
    }
    if scenario.recovery.by == RecoveryBy::Promote && scenario.target.place.standby().is_none() {
        return Err(Error::input("planning the recovery: there is no standby to promote")
            .hint("add `standby: {url: …}` to the target"));
    }
    if scenario.nothing_is_judged() {
        return Err(Error::input("planning the drill: every objective is none, so that it could only be passed")
            .hint("say what is promised: objectives.rto, objectives.rpo, an alert, or a check"));
    }
    hold::check(scenario)?;
    guards(scenario)?;
    parameters(scenario, &facts).check(&facts)
}

/// What takes a pod or its container away: on one machine, a process does.
const KILLS: [&str; 3] = ["pod-delete", "pod-force-delete", "container-kill"];

/// The fault that a scenario names; where a process of this machine stands for a pod, the one that does the same to it.
pub fn fault_of(scenario: &Scenario) -> &str {
    let name = scenario.fault.name.as_str();
    match &scenario.target.place {
        Place::Processes(target) if target.pid_file.is_some() && KILLS.contains(&name) => "process-kill",
        _ => name,
    }
}

/// Whether a place has something of this kind.
fn can_aim(place: &Place, kind: TargetKind, server: Server) -> bool {
    match (kind, place) {
        (TargetKind::Database, place) => match server {
            Server::Primary => place.primary().is_some(),
            Server::Standby => place.standby().is_some(),
        },
        (TargetKind::Link, Place::Processes(target)) => target.proxy.is_some(),
        (TargetKind::Resolver, Place::Processes(target)) => target.resolver.is_some(),
        (TargetKind::Process, Place::Processes(target)) => target.pid_file.is_some(),
        (kind, Place::Cluster(_)) => kind.in_cluster(),
        _ => false,
    }
}

/// When faults are allowed, and who knows of incidents.
fn guards(scenario: &Scenario) -> Result<(Vec<Window>, Option<Incident>)> {
    let guards = &scenario.guards;
    let windows = guards.windows.iter().map(|text| text.parse::<Window>()).collect::<Result<_>>()?;
    let incident = guards.incident.clone().map(|incident| match incident {
        IncidentWish::Command(command) => Incident::Command(command),
        IncidentWish::File(file) => Incident::File(file),
        IncidentWish::Url(url) => Incident::Url(url),
    });
    Ok((windows, incident))
}

fn parameters(scenario: &Scenario, facts: &chaos::Facts) -> chaos::Parameters {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let given = scenario.fault.with.iter().map(|(name, value)| (name.clone(), text(value)));
    // What the target says of itself is what the fault is told, where it wants to know.
    let known = |name: &str| facts.parameters.iter().any(|parameter| parameter.name == name);
    let of_target = match &scenario.target.place {
        Place::Cluster(target) => vec![("container", &target.container), ("peers", &target.peers)],
        Place::Processes(_) => Vec::new(),
    };
    let of_target = of_target.into_iter().filter(|(name, _)| known(name));
    of_target.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).chain(given).collect()
}

/// What is asked of chaos.
fn request(scenario: &Scenario, access: &Access, choices: &Choices, run: &RunId) -> Result<Request> {
    check(scenario)?;
    let fault = chaos::find(fault_of(scenario))?;
    let (facts, server) = (fault.facts(), fault.server());
    let kind = facts.targets.iter().copied().find(|kind| can_aim(&scenario.target.place, *kind, server));
    let kind = kind.ok_or_else(|| Error::input(format!("aiming {}: the target has nothing for it", facts.name)))?;
    let mut request = Request::new(facts.name, aimed(scenario, access, kind, server)?);
    request.parameters = parameters(scenario, &facts);
    // Who waits for a standby is known by its primary, and the target names that one.
    if let (Server::Standby, Some(primary)) = (server, &access.primary)
        && facts.parameters.iter().any(|parameter| parameter.name == "primary")
        && request.parameters.get("primary").is_none()
    {
        request.parameters.set("primary", primary.reveal());
    }
    if let Some(lasts) = scenario.fault.lasts {
        request.duration = lasts;
    }
    // What the scenario asks for is its own cap: it says how many, in the open.
    let (amount, most, percent) = match scenario.fault.victims {
        Victims::Count(count) => (Amount::Count(count as usize), Some(count as usize), 100),
        Victims::Percent(percent) => (Amount::Percent(percent), None, percent),
        Victims::All => (Amount::Percent(100), None, 100),
    };
    request.amount = amount;
    (request.max_count, request.max_percent) = (most, Some(percent));
    let limits = &scenario.limits;
    request.abort.extend(limits.abort_below.map(chaos::Condition::ReadyBelow));
    request.abort.extend(limits.abort_after.map(chaos::Condition::LongerThan));
    let (windows, incident) = guards(scenario)?;
    (request.windows, request.incident) = (windows, incident);
    request.protected.extend(scenario.guards.protect.iter().cloned());
    if let Some(age) = scenario.guards.backup_age {
        request.backup_age = age;
    }
    request.seed = choices.seed.map(Seed);
    request.control_loop = scenario.limits.control_loop;
    request.environment = Some(scenario.target.environment.clone());
    request.confirmed.clone_from(&choices.confirmed);
    request.lifted.clone_from(&choices.lifted);
    request.run = Some(run.clone());
    Ok(request)
}

fn aimed(scenario: &Scenario, access: &Access, kind: TargetKind, server: Server) -> Result<Target> {
    let text = match (kind, &scenario.target.place) {
        (TargetKind::Database, _) => {
            let url = match server {
                Server::Primary => &access.primary,
                Server::Standby => &access.standby,
            };
            let url = url.as_ref().ok_or_else(|| Error::input("aiming at the database: its URL is missing"))?;
            return Ok(Target::Database(url.clone()));
        }
        (TargetKind::Pods, Place::Cluster(target)) => match &target.pods {
            Some(labels) => format!("{}/pods/{labels}", target.namespace),
            None => format!("{}/pods", target.namespace),
        },
        (TargetKind::Namespace, Place::Cluster(target)) => format!("namespace/{}", target.namespace),
        (TargetKind::Nodes, Place::Cluster(target)) => match (&target.node, &target.pods) {
            (Some(node), _) => format!("node/{node}"),
            (None, Some(labels)) => format!("nodes/running:{}/{labels}", target.namespace),
            (None, None) => "nodes".to_owned(),
        },
        (TargetKind::Process, Place::Processes(target)) => {
            format!("pid:{}", target.pid_file.as_deref().unwrap_or(Path::new("")).display())
        }
        (TargetKind::Link, Place::Processes(target)) => {
            let to = target.proxy.as_ref().map(|proxy| proxy.to.as_str()).unwrap_or_default();
            format!("tcp://{to}")
        }
        (_, _) => {
            let host = access.clients.reveal().split_once("://").map_or("", |(_, rest)| rest);
            let host = host.split(['/', '?']).next().unwrap_or_default();
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            let name = host.rsplit_once(':').map_or(host, |(host, _)| host);
            if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
                return Err(Error::input(format!(
                    "aiming {} at {name}: it is an address, and no name",
                    scenario.fault.name
                ))
                .hint("`clients` names the service as its users do: http://shop.example.com/health"));
            }
            format!("dns://{name}")
        }
    };
    text.parse()
}

/// Whether a ledger is kept: where writes are asked for, or where a loss has to be judged.
pub(super) fn writes(scenario: &Scenario) -> bool {
    scenario.load.writes.is_some() || scenario.objectives.rpo.objective().is_some()
}

/// Which recovery point is restored.
pub(super) fn point(scenario: &Scenario) -> Result<PointSpec> {
    match &scenario.recovery.by {
        RecoveryBy::Restore { point, source, .. } if point.starts_with("latest") => format!("{source}@{point}").parse(),
        RecoveryBy::Restore { point, .. } => point.parse(),
        _ => Err(Error::failed("planning a restore: the scenario asks for none")),
    }
}

/// The restore that brings the service back, planned against what is there now.
pub(super) async fn restore_plan(means: &Means, scenario: &Scenario, access: &Access) -> Result<restore::RestorePlan> {
    let RecoveryBy::Restore { tables, .. } = &scenario.recovery.by else {
        return Err(Error::failed("planning a restore: the scenario asks for none"));
    };
    let read = |secret: &Secret| ConnInfo::parse(secret.reveal(), &means.chaos.postgres);
    let (into, existing) = match (&access.into, &access.primary) {
        (Some(into), _) => (read(into)?, Existing::Create),
        (None, Some(primary)) if tables.is_empty() => {
            let primary = read(primary)?;
            let name = primary.database().to_owned();
            (primary, Existing::Replace(name))
        }
        (None, Some(primary)) => (read(primary)?, Existing::Fill),
        (None, None) => {
            return Err(Error::input("planning the restore: it is not said where it goes")
                .hint("write `into: URL` beside `by`, or `primary: {url: …}` in the target"));
        }
    };
    let wanted = Wanted {
        database: None,
        tables: tables.clone(),
        part: Part::Whole,
        adjust: Adjust::default(),
        existing,
        proof: Proof::ReadBack,
        with_globals: false,
        allow_damage: false,
    };
    restore::plan(&means.restore, &point(scenario)?, &into, wanted).await.map_err(|error| match error.kind() {
        // Nothing was touched yet.
        Kind::Failed => error.as_kind(Kind::Refused),
        _ => error,
    })
}

impl Plan {
    /// What it will do, line by line.
    pub fn lines(&self) -> Vec<String> {
        let Scenario { title, hypothesis, objectives, steady_state, load, recovery, limits, target, .. } =
            &self.script.scenario;
        let mut lines = vec![
            title.clone(),
            format!("hypothesis: {hypothesis}"),
            format!("objectives: RTO {}, RPO {}", objectives.rto, objectives.rpo),
            format!("target: {}", target.place.describe()),
            format!("steady state: looked at for {} before and after", Span(steady_state.span)),
        ];
        for Stream { plan, judged, .. } in &self.script.streams {
            let shown = if *judged { "" } else { " (shown only)" };
            lines.push(format!("probes: {}, every {}{shown}", plan.describe(), Span(plan.every)));
        }
        for observer in &self.script.elsewhere {
            let asked: Vec<String> = observer.streams.iter().map(|stream| stream.plan.describe()).collect();
            lines.push(format!("observer {}, {}: {}", observer.wish.name, observer.place(), asked.join("; ")));
        }
        if let Some(writes) = load.writes {
            lines.push(format!("load: {} writes a second, each in the ledger", writes.0));
        }
        for alert in &self.script.scenario.alerts {
            let (within, how) = (Span(alert.within), alert.how.words());
            lines.push(format!("alert {}: expected within {within} of the fault; asked: {how}", alert.name));
        }
        lines.extend(self.fault.lines().into_iter().map(|line| format!("fault: {line}")));
        let decision = if recovery.decision.is_zero() {
            String::new()
        } else {
            format!(", {} after it was noticed", Span(recovery.decision))
        };
        let command = recovery.by.command().map_or_else(String::new, |words| format!(": {words}"));
        lines.push(format!("recovery: {}{command}{decision}", recovery.by.words()));
        lines.extend(self.restore.iter().map(|step| format!("restore: {step}")));
        lines.push(format!(
            "watched for at most {}; restored once it behaves for {}",
            Span(limits.watch),
            Span(limits.hold)
        ));
        let notes = hold::remark(&self.script.scenario).into_iter().chain(self.notes.iter().cloned());
        lines.extend(notes.map(|note| format!("note: {note}")));
        lines.extend(self.script.unasked().map(|tables| {
            format!(
                "note: no probe asks for {tables}: that others cannot use what the fault strikes will not be seen; give the target \
                 a `query` that reads it"
            )
        }));
        lines
    }
}

impl Script {
    /// Tables that the fault strikes and that no probe asks for.
    pub(super) fn unasked(&self) -> Option<String> {
        let everywhere = self.elsewhere.iter().flat_map(|observer| &observer.streams);
        asking::unasked(&self.scenario, self.streams.iter().chain(everywhere))
    }

    /// How many writes a second are asked for: those of the load, and of the probes that write.
    pub(super) fn writes(&self) -> Option<f64> {
        let load = self.scenario.load.writes?.0;
        let writing = self.streams.iter().filter(|stream| matches!(stream.plan.ask, Ask::Sql { write: true, .. }));
        Some(load + writing.map(|stream| 1.0 / stream.plan.every.as_secs_f64()).sum::<f64>())
    }

    /// The names of the streams by which this machine judges the recovery time.
    pub(super) fn judged(&self) -> Vec<String> {
        judged(&self.streams).collect()
    }

    /// The names of the streams by which anybody does.
    pub(super) fn judged_everywhere(&self) -> Vec<String> {
        let elsewhere = self.elsewhere.iter().flat_map(|observer| judged(&observer.streams));
        judged(&self.streams).chain(elsewhere).collect()
    }
}

fn judged(streams: &[Stream]) -> impl Iterator<Item = String> {
    streams.iter().filter(|stream| stream.judged).map(|stream| stream.plan.name.clone())
}
