//! What a drill is to do, read from a file that a person can read. Pure.
//!
//! [`read`] turns the text of a scenario into a [`Scenario`], or into everything that is wrong with it, each with its line
//! and the nearest name. Whether its fault is known and its target exists is decided by whoever plans the drill.

mod alerts;
mod amounts;
mod expect;
mod observers;
mod overrides;
mod query;
mod raw;
mod schema;
mod settle;
mod target;
mod theory;

#[cfg(test)]
mod tests;

pub use alerts::{AlertHow, AlertWish};
pub use amounts::{Aim, Rate, Share, Victims};
pub use expect::{Expect, Expected};
pub use observers::{ObserverPod, ObserverWish};
pub use overrides::Override;
pub use query::Query;
pub use schema::SCHEMA;
pub use target::{ClusterTarget, Place, ProcessTarget, ResolverTarget, ServerTarget, Target};
pub use theory::Theory;

use crate::error::{Error, Result};
use crate::id::Sha256;
use crate::measure::SteadyRule;
use crate::secret::SecretRef;
use crate::units::Bytes;
use crate::yaml::Problem;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A drill as somebody wrote it down.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What happens, in a few words.
    pub title: String,
    /// Why anybody should want to know.
    pub why: String,
    /// What is expected, as a sentence that the drill may refute.
    pub hypothesis: String,
    /// Who looks after what the drill shows.
    pub owner: Option<String>,
    /// What is wanted.
    pub objectives: Objectives,
    /// What is broken, and how its users reach it.
    pub target: Target,
    /// What normal is.
    pub steady_state: SteadyState,
    /// What is asked of the service meanwhile.
    pub load: Load,
    /// What is done to it.
    pub fault: FaultWish,
    /// How it is to come back.
    pub recovery: Recovery,
    /// Who observes besides the machine that runs the drill.
    pub observers: Vec<ObserverWish>,
    /// How long phases of the recovery can take by the settings of what is broken.
    pub theory: Vec<Theory>,
    /// Alerts that the fault is to set off.
    pub alerts: Vec<AlertWish>,
    /// What else must be true at the end.
    pub checks: Vec<Check>,
    /// What is put back at the end besides the fault itself.
    pub cleanup: Vec<Step>,
    /// What else must allow it.
    pub guards: Guards,
    /// When to stop.
    pub limits: Limits,
    /// Drills of this hash are one series: their figures may stand beside each other.
    pub series: Sha256,
}

/// What is wanted; an aim that does not apply is [`Aim::None`], and said so in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Objectives {
    /// At most so long until the service is restored.
    pub rto: Aim,
    /// At most so much time of acknowledged writes lost.
    pub rpo: Aim,
    /// At most so long until the system notices.
    pub detection: Aim,
    /// At most so long until it is as redundant as before.
    pub redundancy: Aim,
    /// At most so long until a person says that they noticed.
    pub acknowledgement: Aim,
}

/// What normal is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SteadyState {
    /// For how long it is looked at before and after.
    pub span: Duration,
    /// What must hold.
    pub rule: SteadyRule,
}

/// What is asked of the service while it is observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Probes per second and stream.
    pub probes: Rate,
    /// Each probe's deadline.
    pub deadline: Duration,
    /// Writes per second that a ledger keeps; none, and no loss can be measured.
    pub writes: Option<Rate>,
}

/// The fault as the file names it.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultWish {
    /// Its name in the catalogue of faults.
    pub name: String,
    /// Where the file names it.
    pub line: Option<u64>,
    /// For how long, where it does not end by itself.
    pub lasts: Option<Duration>,
    /// How many of those that match.
    pub victims: Victims,
    /// What only this fault understands.
    pub with: BTreeMap<String, Value>,
}

/// How the service is to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// By whom or what.
    pub by: RecoveryBy,
    /// How long people need until they decide; the drill waits as long before it acts.
    pub decision: Duration,
    /// Whether the recovery time ends with its command, too, and not with the service alone.
    pub rto_ends: RtoEnds,
}

/// With what the recovery time of `run command` ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RtoEnds {
    /// When the service behaves as before.
    #[default]
    Service,
    /// When the command has ended well, too: it is what has to be done in time, such as a backup.
    Command,
}

/// By whom or what a service comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryBy {
    /// By itself: the platform notices and acts, the drill only watches.
    Platform,
    /// Davit restores a recovery point.
    Restore {
        /// `latest-verified`, `latest`, or the id of a point.
        point: String,
        /// The source whose points they are.
        source: String,
        /// Only these tables, where they are missing; otherwise the whole database, beside the broken one and then swapped.
        tables: Vec<String>,
        /// The server that it goes into; the primary where none is named.
        into: Option<SecretRef>,
        /// The program that makes that server, where there is none yet.
        provision: Vec<String>,
    },
    /// A standby becomes the primary.
    Promote,
    /// Somebody's own program: its words, no shell.
    Command(Vec<String>),
}

impl RecoveryBy {
    /// Its command as a report calls it, where it is one.
    pub fn command(&self) -> Option<String> {
        match self {
            Self::Command(words) => Some(words.join(" ")),
            _ => None,
        }
    }

    /// The words of a scenario file.
    pub fn words(&self) -> String {
        match self {
            Self::Platform => "platform".to_owned(),
            Self::Restore { point, .. } => format!("restore from {point}"),
            Self::Promote => "promote standby".to_owned(),
            Self::Command(_) => "run command".to_owned(),
        }
    }

    /// Whether the recovery time ends when the data are validated, and not when the service answers.
    pub const fn ends_validated(&self) -> bool {
        matches!(self, Self::Restore { .. })
    }
}

/// Something that must be true at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What a report calls it.
    pub name: String,
    /// How it is found out.
    pub how: CheckHow,
}

/// How a check is found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckHow {
    /// A query through the path of clients that gives no rows, or one true.
    Sql(String),
    /// A URL that answers with this status.
    Http {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
    },
    /// A program that exits with 0.
    Command(Vec<String>),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What a report calls it.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// What else must allow the fault, beside what the target says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// When it may strike, such as `Mon-Fri 09:00-17:00 Europe/Berlin`; at any time if there is none.
    pub windows: Vec<String>,
    /// Who knows whether an incident is open.
    pub incident: Option<IncidentWish>,
    /// Namespaces in which observers run.
    pub protect: Vec<String>,
    /// How old the backup may be that an irreversible fault relies on.
    pub backup_age: Option<Duration>,
}

/// Who knows whether an incident is open.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentWish {
    /// A command of the shell that ends with 0 when none is.
    Command(String),
    /// A file that is empty or says `none` when none is.
    File(PathBuf),
    /// A URL that answers with nothing, or with `none`, when none is.
    Url(String),
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// For how long the recovery is awaited, and each program of it and each check.
    pub watch: Duration,
    /// How long each command of the cleanup may take.
    pub cleanup: Duration,
    /// How long the service must behave before it counts as restored.
    pub hold: Duration,
    /// The slowest control loop that plays a part: the fault is injected at a random moment within it.
    pub control_loop: Duration,
    /// The share of failed probes at which the drill gives up and heals.
    pub abort_errors: Option<Share>,
    /// The number of ready pods of the target below which the fault is put back.
    pub abort_below: Option<usize>,
    /// How long the fault may take in all, its proof included, before it is put back.
    pub abort_after: Option<Duration>,
    /// How far a standby may be behind for the service to be as redundant as before.
    pub replica_lag: Bytes,
    /// The availability that is promised, for the error budget.
    pub availability: Share,
}

impl Scenario {
    /// Whether nothing that it measures could be missed.
    pub fn nothing_is_judged(&self) -> bool {
        let Objectives { rto, rpo, detection, redundancy, acknowledgement } = self.objectives;
        let aims = [rto, rpo, detection, redundancy, acknowledgement];
        aims.iter().all(|aim| aim.objective().is_none()) && self.alerts.is_empty() && self.checks.is_empty()
    }

    /// The programs of this machine that it runs: what each is for, and its words.
    pub fn programs(&self) -> Vec<(String, &[String])> {
        let recovery = match &self.recovery.by {
            RecoveryBy::Command(command) => Some(("the recovery".to_owned(), command.as_slice())),
            RecoveryBy::Restore { provision, .. } if !provision.is_empty() => {
                Some(("the server that is restored into".to_owned(), provision.as_slice()))
            }
            _ => None,
        };
        let checks = self.checks.iter().filter_map(|check| match &check.how {
            CheckHow::Command(command) => Some((format!("the check {}", check.name), command.as_slice())),
            _ => None,
        });
        let alerts = self.alerts.iter().filter_map(|alert| match &alert.how {
            AlertHow::Command(command) => Some((format!("the alert {}", alert.name), command.as_slice())),
            AlertHow::Alertmanager { .. } => None,
        });
        let cleanup = self.cleanup.iter().map(|step| (format!("the cleanup {}", step.name), step.command.as_slice()));
        recovery.into_iter().chain(checks).chain(alerts).chain(cleanup).collect()
    }
}

/// Reads the text of the scenario in `file`, with some of its values replaced.
pub fn read(text: &str, file: &Path, overrides: &[Override]) -> Result<Scenario> {
    let (scenario, problems) = examine(text, overrides)?;
    let count = problems.len();
    match (scenario, problems.into_iter().next()) {
        (Some(scenario), None) => Ok(scenario),
        (_, Some(first)) => {
            let first =
                if count > 1 { first.or_hint(format!("it has {count} problems; this is the first")) } else { first };
            Err(first.into_error(file))
        }
        (None, None) => Err(Error::input(format!("reading {}: it is empty", file.display()))
            .hint("davit config schema scenario says what belongs into it; scenarios/ has examples")),
    }
}

/// The same, with every problem.
pub fn examine(text: &str, overrides: &[Override]) -> Result<(Option<Scenario>, Vec<Problem>)> {
    settle::examine(text, overrides)
}

/// Reads a scenario file.
pub fn load(file: &Path, overrides: &[Override]) -> Result<Scenario> {
    let text = std::fs::read_to_string(file).map_err(|why| {
        let why = Error::input(format!("reading the scenario {}", file.display())).because(why);
        match near_file(file) {
            Some(near) => why.hint(format!("did you mean {}?", near.display())),
            None => why.hint("name a file such as scenarios/pod-kill.yaml"),
        }
    })?;
    read(&text, file, overrides)
}

/// A file of nearly the same name beside the one that is not there.
fn near_file(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = file.file_name()?.to_str()?;
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    crate::yaml::nearest(wanted, names.iter().map(String::as_str)).map(|near| folder.join(near))
}
