//! What a drill will do: streams, fault, recovery. Reads and decides, changes nothing; this is the dry run.

use super::hold;
use super::means::{Access, Means};
use super::namespace;
use crate::backup::restore::{self, Adjust, Existing, Part, Proof, Wanted};
use crate::chaos::{self, Amount, GuardName, Incident, Request, Seed, Target, TargetKind, Window};
use crate::error::{Error, Kind, Result};
use crate::id::RunId;
use crate::postgres::ConnInfo;
use crate::probe::{Ask, Connection, StreamPlan};
use crate::repository::PointSpec;
use crate::repository::manifest::PointKind;
use crate::scenario::{IncidentWish, Place, RecoveryBy, Scenario, Victims};
use crate::units::Span;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
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
    /// The streams of probes; the judged ones first.
    pub streams: Vec<Stream>,
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

/// Decides what a scenario means now, and asks every guard. Nothing is changed.
///
/// # Errors
/// Exit 2 for what cannot be meant, exit 3 for what a guard refuses or what cannot be reached.
pub async fn plan(means: &Means, scenario: Scenario, file: &str, access: Access, choices: Choices) -> Result<Plan> {
    let run = RunId::at(means.clock().now());
    let names = means.chaos.resolver.as_ref().map(|resolver| resolver.address());
    let streams = streams(&scenario, &access, names)?;
    let request = request(&scenario, &access, &choices, &run)?;
    let fault = chaos::plan(&means.chaos, request).await?;
    let restore = match &scenario.recovery.by {
        RecoveryBy::Restore { provision, .. } => {
            let found = means.restore.repository.resolve(&point(&scenario)?).await?;
            match (found.kind, provision.is_empty()) {
                (PointKind::Namespace, _) => namespace::plan(means, &scenario, &found).await?,
                (_, true) => Box::pin(restore_plan(means, &scenario, &access)).await?.summary().steps,
                // The server that it goes into is made later; that the point is there can be known now.
                (_, false) => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    let holds_for = (fault.facts.class == chaos::Class::Reversible).then_some(fault.request.duration);
    let script = Script { run, file: file.to_owned(), scenario, access, choices, streams, holds_for };
    Ok(Plan { script, fault, restore })
}

/// What can be said about a scenario without looking at its target: whether its fault is known and may be aimed there, and
/// whether its recovery has what it needs.
pub fn check(scenario: &Scenario) -> Result<()> {
    let facts = chaos::find(&scenario.fault.name)
        .map_err(|error| error.during(format!("reading line {} of the scenario", scenario.fault.line)))?
        .facts();
    let aims = facts.targets.iter().any(|kind| can_aim(&scenario.target.place, *kind));
    if !aims {
        let kinds = facts.targets.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(" or ");
        return Err(Error::input(format!(
            "aiming {} at {}: it is for {kinds}",
            facts.name,
            scenario.target.place.describe()
        ))
        .hint("add to the target what the fault is aimed at: primary, pods, node, proxy or resolver"));
    }
    if scenario.recovery.by == RecoveryBy::Promote && scenario.target.place.standby().is_none() {
        return Err(Error::input("planning the recovery: there is no standby to promote")
            .hint("add `standby: {url: …}` to the target"));
    }
    hold::check(scenario)?;
    guards(scenario)?;
    parameters(scenario, &facts).check(&facts)
}

/// Whether a place has something of this kind.
fn can_aim(place: &Place, kind: TargetKind) -> bool {
    match (kind, place) {
        (TargetKind::Database, place) => place.primary().is_some(),
        (TargetKind::Link, Place::Processes(target)) => target.proxy.is_some(),
        (TargetKind::Resolver, Place::Processes(target)) => target.resolver.is_some(),
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
    let facts = chaos::find(&scenario.fault.name)?.facts();
    let kind = facts.targets.iter().copied().find(|kind| can_aim(&scenario.target.place, *kind));
    let kind = kind.ok_or_else(|| Error::input(format!("aiming {}: the target has nothing for it", facts.name)))?;
    let mut request = Request::new(&scenario.fault.name, aimed(scenario, access, kind)?);
    request.parameters = parameters(scenario, &facts);
    if let Some(lasts) = scenario.fault.lasts {
        request.duration = lasts;
    }
    request.amount = match scenario.fault.victims {
        Victims::Count(count) => Amount::Count(count as usize),
        Victims::Percent(percent) => Amount::Percent(percent),
        Victims::All => Amount::All,
    };
    // What the scenario asks for is its own cap: it says how many, in the open.
    if let Victims::Count(count) = scenario.fault.victims {
        request.caps = Some(chaos::Caps { count: count as usize, percent: 100 });
    }
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

fn aimed(scenario: &Scenario, access: &Access, kind: TargetKind) -> Result<Target> {
    let text = match (kind, &scenario.target.place) {
        (TargetKind::Database, _) => {
            let url =
                access.primary.as_ref().ok_or_else(|| Error::input("aiming at the database: its URL is missing"))?;
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

/// The streams of probes that the path of users asks for.
fn streams(scenario: &Scenario, access: &Access, names: Option<SocketAddr>) -> Result<Vec<Stream>> {
    let (every, deadline) = (scenario.load.probes.period(), scenario.load.deadline);
    let stream = |name: &str, ask: Ask, judged: bool, path: &'static str| Stream {
        plan: StreamPlan::new(name, ask).paced(every, deadline).asking(names),
        judged,
        path,
    };
    let (fresh, pooled) = ("new connections", "kept connections");
    let url = access.clients.reveal();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let all = match scheme {
        Some("postgres" | "postgresql") | None if scheme.is_some() || url.contains('=') => {
            if names.is_some() {
                return Err(Error::input("planning the probes: clients of a database ask this machine for names")
                    .hint("with a `resolver`, `clients` is an http://, https://, tcp:// or dns:// URL"));
            }
            let write = writes(scenario);
            let ask = |connection, write| Ask::Sql { connection, write };
            let mut all = vec![
                stream("sql-new", ask(Connection::Fresh, write), true, fresh),
                stream("sql-kept", ask(Connection::Pooled, write), true, pooled),
            ];
            if write {
                all.push(stream("sql-reads", ask(Connection::Fresh, false), false, "reads"));
            }
            all
        }
        Some("http" | "https") => {
            let ask = |connection| Ask::Http { url: url.to_owned(), connection, status: None, contains: None };
            vec![
                stream("http-new", ask(Connection::Fresh), true, fresh),
                stream("http-kept", ask(Connection::Pooled), true, pooled),
            ]
        }
        Some("tcp") => {
            let address = url.trim_start_matches("tcp://").to_owned();
            vec![stream("tcp", Ask::Tcp { address, send: None, expect: None }, true, fresh)]
        }
        Some("dns") => {
            let name = url.trim_start_matches("dns://").to_owned();
            vec![stream("dns", Ask::Dns { name, server: None, expect: Vec::new() }, true, "names")]
        }
        _ => {
            return Err(Error::input("reading the target's `clients`: it is no URL that can be probed")
                .hint("write postgres://…, http://…, https://…, tcp://HOST:PORT or dns://NAME"));
        }
    };
    all.iter().try_for_each(|stream| stream.plan.check())?;
    Ok(all)
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
    let read = |secret: &crate::secret::Secret| ConnInfo::parse(secret.reveal(), &means.chaos.postgres);
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
        if let Some(writes) = load.writes {
            lines.push(format!("load: {} writes a second, each in the ledger", writes.0));
        }
        lines.extend(self.fault.lines().into_iter().map(|line| format!("fault: {line}")));
        let decision = if recovery.decision.is_zero() {
            String::new()
        } else {
            format!(", {} after it was noticed", Span(recovery.decision))
        };
        lines.push(format!("recovery: {}{decision}", recovery.by.words()));
        lines.extend(self.restore.iter().map(|step| format!("restore: {step}")));
        lines.push(format!(
            "watched for at most {}; restored once it behaves for {}",
            Span(limits.watch),
            Span(limits.hold)
        ));
        lines.extend(hold::remark(&self.script.scenario).map(|remark| format!("note: {remark}")));
        lines
    }
}

impl Script {
    /// The names of the streams by which the recovery time is judged.
    pub(super) fn judged(&self) -> Vec<String> {
        self.streams.iter().filter(|stream| stream.judged).map(|stream| stream.plan.name.clone()).collect()
    }
}
