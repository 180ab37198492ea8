//! Guards: what may refuse a fault. All are on unless they are lifted by name for one run, and each looks at a source of
//! truth outside the request: the target itself, the repository, the cluster, a clock.

mod backup;
mod incident;
mod standing;
mod window;

pub use incident::Incident;
pub use window::Window;

use super::fault::{Class, Facts, Fault, Scene};
use super::intent::{OpenIntent, open_intents};
use super::request::{Amount, Caps, Request};
use super::select::{self, Victim};
use super::target::Target;
use crate::error::{Error, Result};
use crate::repository::lease::Lease;
use serde::{Deserialize, Serialize};
use standing::Standing;
use std::fmt;
use std::str::FromStr;

/// The guards by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardName {
    /// The target says that faults may hit it.
    OptIn,
    /// The namespace is none that everything else stands on.
    ProtectedNamespace,
    /// The target says which environment it belongs to, and it is the one that was meant.
    Environment,
    /// A production target was named twice.
    Production,
    /// Now is a time at which faults are allowed.
    Window,
    /// No more are hit than the caps allow.
    Caps,
    /// Enough healthy ones are left.
    Quorum,
    /// A pod disruption budget would allow it.
    DisruptionBudget,
    /// The target says that its data may be destroyed.
    Disposable,
    /// There is a fresh backup of it that was restored and compared.
    VerifiedBackup,
    /// No incident is open.
    Incident,
    /// No fault of an earlier run is left.
    OpenIntent,
    /// No other drill runs.
    Lease,
    /// The account may inject it, and undo it.
    Permission,
    /// The primary does not live on beside a standby that is promoted.
    SplitBrain,
}

/// How a guard can be made to say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lift {
    /// By naming it for this run.
    ByName,
    /// Only by changing what it looks at.
    Only(&'static str),
}

/// What a guard found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which guard.
    pub guard: GuardName,
    /// `Ok` with what it saw, `Err` with why not.
    pub says: Result<String, String>,
    /// What makes it say yes, where that is known better than by its name.
    pub how: Option<String>,
}

/// A guard that did not stand in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Which.
    pub guard: GuardName,
    /// What it saw; where it was lifted, why it would have refused.
    pub seen: String,
    /// Whether it was lifted for this run.
    pub lifted: bool,
}

const NAMES: [(GuardName, &str); 15] = [
    (GuardName::OptIn, "opt-in"),
    (GuardName::ProtectedNamespace, "protected-namespace"),
    (GuardName::Environment, "environment"),
    (GuardName::Production, "production"),
    (GuardName::Window, "window"),
    (GuardName::Caps, "caps"),
    (GuardName::Quorum, "quorum"),
    (GuardName::DisruptionBudget, "disruption-budget"),
    (GuardName::Disposable, "disposable"),
    (GuardName::VerifiedBackup, "verified-backup"),
    (GuardName::Incident, "incident"),
    (GuardName::OpenIntent, "open-intent"),
    (GuardName::Lease, "lease"),
    (GuardName::Permission, "permission"),
    (GuardName::SplitBrain, "split-brain"),
];

/// What makes three guards say yes, of a database and in a cluster.
const DISPOSABLE: [&str; 2] = [
    "mark it: UPDATE davit.environment SET disposable = true",
    "mark it: kubectl annotate namespace NAME davit.dev/disposable=true",
];
const VERIFIED: [&str; 2] = [
    "davit backup, then davit verify --depth restored",
    "davit snapshot create, then davit snapshot verify --depth restored",
];
const PERMITTED: [&str; 2] =
    ["davit chaos list says what each fault needs", "davit chaos rbac prints the exact roles that a fault needs"];

impl GuardName {
    /// Its name.
    pub fn word(self) -> &'static str {
        NAMES.iter().find(|(guard, _)| *guard == self).map_or("", |(_, name)| name)
    }

    /// How it can be made to say yes.
    pub const fn lift(self) -> Lift {
        match self {
            Self::Disposable => Lift::Only(
                "mark it: UPDATE davit.environment SET disposable = true, or the annotation davit.dev/disposable=true",
            ),
            Self::VerifiedBackup => Lift::Only(
                "davit backup, then davit verify --depth restored; of a namespace davit snapshot create, then davit snapshot verify --depth restored",
            ),
            Self::OpenIntent => Lift::Only("davit chaos status shows it; davit chaos janitor undoes it"),
            Self::Lease => Lift::Only("let the other drill end, or davit chaos stop its run"),
            Self::Production => Lift::Only("name it again with --confirm"),
            Self::Permission => Lift::Only(PERMITTED[1]),
            _ => Lift::ByName,
        }
    }
}

impl GuardName {
    /// [`Self::lift`] in the words of what is to be hit.
    fn lifted_at(self, target: &Target) -> Lift {
        let place = usize::from(target.kind().in_cluster());
        match self {
            Self::Disposable => Lift::Only(DISPOSABLE[place]),
            Self::VerifiedBackup => Lift::Only(VERIFIED[place]),
            Self::Permission => Lift::Only(PERMITTED[place]),
            Self::Caps => Lift::Only(
                "raise --max-count or --max-percent, in a scenario fault.victims; or --lift caps for this run",
            ),
            other => other.lift(),
        }
    }
}

impl fmt::Display for GuardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for GuardName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some((guard, _)) = NAMES.iter().find(|(_, name)| *name == text) {
            return match guard.lift() {
                Lift::ByName => Ok(*guard),
                Lift::Only(how) => {
                    Err(Error::input(format!("lifting the guard {text}: it cannot be lifted for a run")).hint(how))
                }
            };
        }
        let liftable = NAMES.iter().filter(|(guard, _)| guard.lift() == Lift::ByName).map(|(_, name)| *name);
        let liftable = liftable.collect::<Vec<_>>().join(", ");
        Err(Error::input(format!("lifting the guard {text:?}: there is none of this name"))
            .hint(format!("these can be lifted: {liftable}")))
    }
}

impl Finding {
    /// A guard that has nothing against it.
    pub fn yes(guard: GuardName, seen: impl Into<String>) -> Self {
        Self { guard, says: Ok(seen.into()), how: None }
    }

    /// A guard that refuses.
    pub fn no(guard: GuardName, why: impl Into<String>) -> Self {
        Self { guard, says: Err(why.into()), how: None }
    }

    /// One or the other.
    pub fn of(guard: GuardName, good: bool, seen: impl Into<String>) -> Self {
        let seen = seen.into();
        Self { guard, says: if good { Ok(seen) } else { Err(seen) }, how: None }
    }

    /// The same with what makes it say yes.
    #[must_use]
    pub fn made_by(mut self, how: impl Into<String>) -> Self {
        self.how = Some(how.into());
        self
    }
}

/// Asks every guard that has a say before victims are known.
pub(super) async fn before(scene: &Scene<'_>, facts: &Facts, request: &Request) -> Result<Vec<Finding>> {
    let mut findings = vec![window::ask(&request.windows, scene.means.clock.now())];
    findings.extend(match &request.incident {
        Some(incident) => Some(incident.ask().await),
        None => None,
    });
    let open = open_intents(scene.means).await?;
    let runs: std::collections::BTreeSet<&str> = open.iter().map(|intent| intent.run.as_str()).collect();
    let lease = Lease::holder(scene.means.repository.store(), &scene.means.clock, super::LEASE);
    let living = if open.is_empty() { None } else { lease.await? };
    let runs = runs.into_iter().collect::<Vec<_>>().join(", ");
    findings.push(match (open.len(), living) {
        (0, _) => Finding::yes(GuardName::OpenIntent, "no fault of an earlier run is left"),
        // The lease names a runner that was killed until somebody takes it over: that there is a name proves no life.
        (_, Some(holder)) if !open.iter().any(OpenIntent::is_fault) => Finding::no(
            GuardName::OpenIntent,
            format!(
                "the ledger's table of run {runs}, whose runner ({holder}) lives or was killed, is not proven to be gone"
            ),
        ),
        // While its runner lives there is nothing to clean up, and the janitor would be refused.
        (count, Some(holder)) => Finding::no(
            GuardName::OpenIntent,
            format!(
                "{count} not proven undone, of run {runs}, whose runner ({holder}) lives or died a moment ago: davit chaos \
                 stop RUN ends one that lives"
            ),
        ),
        (count, None) => Finding::no(GuardName::OpenIntent, format!("{count} not proven undone, of run {runs}")),
    });
    if let Some(namespace) = scene.target.namespace() {
        findings.push(protected(namespace, &scene.means.helper.namespace, request));
    }
    findings.extend(standing::of_our_own(scene.target, request));
    if let Some(standing) = Standing::read(scene).await? {
        findings.extend(standing.ask(request));
        if facts.class == Class::Irreversible {
            findings.push(standing.disposable());
            findings.push(backup::ask(scene, request.backup_age).await?);
        }
    }
    Ok(findings)
}

/// Asks the guards that look at who is hit.
pub(super) async fn after(
    scene: &Scene<'_>,
    fault: &dyn Fault,
    request: &Request,
    candidates: usize,
    victims: &[Victim],
) -> Result<Vec<Finding>> {
    let caps = caps(&fault.facts(), request);
    let most = select::most(caps, candidates);
    let said = match caps {
        Caps { count: None, percent } => format!("the cap is {percent} %"),
        Caps { count: Some(count), percent } => format!("the caps are {count} and {percent} %"),
    };
    let seen = format!("{} of {candidates}; {said}, rounded down: {most}", victims.len());
    let mut findings = vec![Finding::of(GuardName::Caps, victims.len() <= most, seen)];
    if let Target::Nodes { .. } = scene.target {
        findings.extend(victims.iter().flat_map(|node| Standing::of_node(node).ask(request)));
        if !request.observed_from.is_empty() {
            findings.push(observed_from(victims, request));
        }
    }
    findings.extend(fault.objections(scene, victims).await?);
    Ok(findings)
}

/// The most that this request may hit.
pub(super) fn caps(facts: &Facts, request: &Request) -> Caps {
    let usual = match request.amount {
        _ if !facts.many => Caps { count: Some(1), percent: 100 },
        // Whoever asks for a part says how many: only the cap in percent is left to say.
        Amount::Percent(_) => Caps { count: None, ..Caps::default() },
        Amount::Count(_) | Amount::All => Caps::default(),
    };
    Caps { count: request.max_count.or(usual.count), percent: request.max_percent.unwrap_or(usual.percent) }
}

fn protected(namespace: &str, helper: &str, request: &Request) -> Finding {
    const ALWAYS: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
    let why = if ALWAYS.contains(&namespace) {
        "everything in the cluster stands on it"
    } else if namespace == helper || namespace == "davit" {
        "it is Davit's own"
    } else if request.protected.contains(namespace) {
        "observers run there"
    } else {
        return Finding::yes(GuardName::ProtectedNamespace, format!("{namespace} is none of the protected ones"));
    };
    Finding::no(GuardName::ProtectedNamespace, format!("the namespace {namespace} is protected: {why}"))
}

/// A node that goes takes its observer with it.
fn observed_from(nodes: &[Victim], request: &Request) -> Finding {
    let name = |node: &Victim| node.facts["name"].as_str().map(str::to_owned);
    match nodes.iter().filter_map(name).find(|name| request.observed_from.contains(name)) {
        Some(node) => Finding::no(GuardName::ProtectedNamespace, format!("an observer runs on node {node}")),
        None => Finding::yes(GuardName::ProtectedNamespace, "no observer runs on a node that is hit"),
    }
}

/// Lets a run pass, or refuses it with all that stands in its way.
pub(super) fn judge(request: &Request, findings: Vec<Finding>) -> Result<Vec<Allowed>> {
    let mut allowed = Vec::new();
    let mut refused = Vec::new();
    for Finding { guard, says, how } in findings {
        match says {
            Ok(seen) => allowed.push(Allowed { guard, seen, lifted: false }),
            Err(why) if guard.lift() == Lift::ByName && request.lifted.contains(&guard) => {
                allowed.push(Allowed { guard, seen: why, lifted: true });
            }
            Err(why) => refused.push((guard, why, how)),
        }
    }
    if refused.is_empty() {
        return Ok(allowed);
    }
    let why: Vec<String> = refused.iter().map(|(guard, why, _)| format!("guard {guard}: {why}")).collect();
    let mut how: Vec<String> = refused
        .iter()
        .map(|(guard, _, how)| match (how, guard.lifted_at(&request.target)) {
            (Some(how), _) => how.clone(),
            (None, Lift::ByName) => format!("--lift {guard} for this run"),
            (None, Lift::Only(how)) => how.to_owned(),
        })
        .collect();
    how.dedup();
    Err(Error::refused(format!("asking whether {} may hit {}: {}", request.fault, request.target, why.join("; ")))
        .hint(how.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::new("pod-delete", "shop/pods".parse().unwrap())
    }

    #[test]
    fn a_refusal_names_every_guard_and_how_it_is_lifted() {
        let findings = vec![
            Finding::no(GuardName::OptIn, "it does not"),
            Finding::no(GuardName::Disposable, "it is not"),
            Finding::yes(GuardName::Window, "always"),
        ];
        let error = judge(&request(), findings.clone()).unwrap_err();
        assert_eq!(error.kind().exit_code(), 3);
        assert_eq!(
            error.to_string(),
            "asking whether pod-delete may hit shop/pods: guard opt-in: it does not; guard disposable: it is not"
        );
        let hint = error.hint_text().unwrap();
        assert!(hint.starts_with("--lift opt-in for this run; mark it"), "{hint}");
        // What is lifted is recorded; what cannot be lifted stays, whatever the request says.
        let mut lifted = request().lifting(GuardName::OptIn).lifting(GuardName::Disposable);
        let error = judge(&lifted, findings).unwrap_err();
        assert!(!error.to_string().contains("opt-in") && error.to_string().contains("disposable"));
        lifted.lifted.clear();
        assert!(judge(&lifted, vec![Finding::yes(GuardName::Window, "always")]).unwrap().iter().all(|one| !one.lifted));
    }

    #[test]
    fn every_guard_reads_back_or_says_how_else_it_is_satisfied() {
        for (guard, name) in NAMES {
            match (guard.lift(), name.parse::<GuardName>()) {
                (Lift::ByName, Ok(read)) => assert_eq!(read, guard),
                (Lift::Only(how), Err(error)) => assert_eq!(error.hint_text(), Some(how)),
                (_, other) => panic!("{name}: {other:?}"),
            }
            assert_eq!(serde_json::to_value(guard).unwrap(), name);
        }
        assert!("nonsense".parse::<GuardName>().is_err());
    }

    #[test]
    fn what_everything_stands_on_is_protected() {
        let mut request = request();
        request.protected.insert("watchers".to_owned());
        for (namespace, good) in
            [("kube-system", false), ("davit", false), ("davit-chaos", false), ("watchers", false), ("shop", true)]
        {
            assert_eq!(protected(namespace, "davit-chaos", &request).says.is_ok(), good, "{namespace}");
        }
        request.observed_from.insert("node-2".to_owned());
        let nodes = ["node-1", "node-2"].map(|name| Victim::new(name, name).with(serde_json::json!({ "name": name })));
        assert!(observed_from(&nodes[..1], &request).says.is_ok());
        assert!(observed_from(&nodes, &request).says.unwrap_err().contains("an observer runs on node node-2"));
    }
}
