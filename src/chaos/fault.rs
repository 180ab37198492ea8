//! What a fault is, and the list of all of them.

use super::evidence::{Proof, ReadBack};
use super::host::Machine;
use super::means::Means;
use super::parameters::Parameters;
use super::select::Victim;
use super::target::{Target, TargetKind};
use super::{Evidence, database, helper, host, namespace, network, node, pod};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::measure::Interval;
use crate::postgres::{self, ConnInfo, Session};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::any::Any;
use std::time::Duration;

/// How a fault ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Over at once; whoever was hit comes back by itself.
    SelfHealing,
    /// Lasts for a time, and is then undone exactly.
    Reversible,
    /// Cannot be undone, only recovered from by other means than data: a promotion, a rebuilt standby.
    OneWay,
    /// Destroys data: only a restore brings them back. Wants a disposable target and a fresh verified backup.
    Irreversible,
}

/// A parameter of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is without being given; `None` if it must be given.
    pub default: Option<&'static str>,
    /// What it means.
    pub what: &'static str,
}

/// What an account in a cluster must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Plural, with `/subresource` where it is one.
    pub resource: &'static str,
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// In which namespace: the target's, the helper's, or none (of the cluster).
    pub place: Place,
}

/// Where a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The namespace of the target.
    Target,
    /// The namespace of the helper pods.
    Helper,
    /// The namespace in which kubelets say that they live.
    Heartbeats,
    /// The whole cluster.
    Cluster,
}

/// A server of a database that is kept more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The one that takes writes.
    Primary,
    /// One that follows it.
    Standby,
}

/// What is known of a fault before it meets a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Its name: `lock-storm`.
    pub name: &'static str,
    /// How it ends.
    pub class: Class,
    /// What it can be aimed at.
    pub targets: &'static [TargetKind],
    /// What it does.
    pub summary: &'static str,
    /// What it needs at its target.
    pub needs: &'static str,
    /// What proves that it took effect.
    pub proof: &'static str,
    /// How it heals.
    pub heals: &'static str,
    /// What ends it when nobody is left to heal it.
    pub expires: &'static str,
    /// What it can be told.
    pub parameters: &'static [Parameter],
    /// What an account in a cluster must be allowed.
    pub rbac: &'static [Rule],
    /// Whether it hits as many as asked for; else the target as a whole is its one victim.
    pub many: bool,
}

/// What one fault meets: the means, and what was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The means.
    pub means: &'a Means,
    /// The run.
    pub run: &'a RunId,
    /// What it is aimed at.
    pub target: &'a Target,
    /// What it was told.
    pub parameters: &'a Parameters,
    /// How long it lasts.
    pub duration: Duration,
}

/// What is known before the effect: all that healing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Who is hit.
    pub victim: Victim,
    /// How it was before.
    pub prior: Value,
    /// What undoing does, in words: the dry run prints it.
    pub undo: String,
}

/// What carries a fault as long as it lasts: sessions, processes. Dropping it lets go.
#[derive(Default)]
pub struct Held {
    /// What the proof needs to know of it.
    pub notes: Value,
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

/// One fault.
///
/// `heal` and `read_back` are given nothing but what lies in the repository: they work the same in the runner, in another
/// process and on another day, and may be called any number of times.
#[async_trait]
pub trait Fault: Send + Sync + std::fmt::Debug {
    /// What is known of it before it meets a target.
    fn facts(&self) -> Facts;

    /// Which server of a database it strikes, where a service names several.
    fn server(&self) -> Server {
        Server::Primary
    }

    /// Everything it could hit now, each with what tells it from all others.
    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>>;

    /// What must not be, besides the guards that all faults have: each a name, and why not.
    async fn objections(&self, _scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<super::Finding>> {
        Ok(Vec::new())
    }

    /// What is left in place by the API server until somebody takes it back wants a fuse: how long proving it may take,
    /// so that the fuse does not burn into the fault itself. `None` for what ends by itself.
    fn proving(&self, _scene: &Scene<'_>) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// Reads how a victim is now; changes nothing. What cannot be undone later is refused here.
    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared>;

    /// Brings what will carry it to its place. No victim is touched before [`Fault::inject`]: what fails here has begun nothing.
    async fn arrive(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    /// Takes back what came with [`Fault::arrive`] where [`Fault::inject`] was never called, and says what is left. `None` if
    /// nothing comes before the effect: then it is healed and read back like all others.
    async fn leave(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<Option<ReadBack>> {
        Ok(None)
    }

    /// Asks for the effect.
    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held>;

    /// Looks for evidence of its own that it took effect; `asked` is the instant before [`Fault::inject`].
    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof>;

    /// Undoes it.
    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()>;

    /// Looks whether all is as it was.
    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack>;
}

/// How long after its time a carrier ends by itself: the runner heals first, on time.
const GRACE: Duration = Duration::from_secs(5);

/// How often is looked for something that will come true soon.
const LOOK: Duration = Duration::from_millis(50);

impl Scene<'_> {
    /// When a carrier ends by itself.
    pub fn expiry(&self) -> Duration {
        self.duration + GRACE
    }

    /// The name by which this run's carriers are found again, on a server or a machine.
    pub fn mark(&self) -> String {
        format!("chaos-{}", self.run)
    }

    /// The name that sessions of this run have on a server.
    pub fn application(&self) -> String {
        format!("davit/{}", self.mark())
    }

    /// Where the database is.
    pub fn database(&self) -> Result<ConnInfo> {
        match self.target {
            Target::Database(url) => ConnInfo::parse(url.reveal(), &self.means.postgres),
            other => Err(Error::input(format!("reading {other} as a database"))),
        }
    }

    /// A session whose name tells that it belongs to Davit, and not that it carries a fault.
    pub async fn session(&self) -> Result<Session> {
        postgres::connect(&self.database()?, "chaos").await
    }

    /// A session that carries a fault of this run.
    pub async fn carrier(&self) -> Result<Session> {
        postgres::connect(&self.database()?, &self.mark()).await
    }

    /// Looks until something is seen or the time is over: the interval goes from the beginning of the last look that
    /// did not see it (or from `asked`) to the end of the first one that did.
    pub async fn look<F, Fut>(&self, asked: Duration, limit: Duration, why_not: &str, mut look: F) -> Result<Proof>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<Option<String>>> + Send,
    {
        let clock = &self.means.clock;
        let began = clock.monotonic();
        let mut not_yet = asked;
        loop {
            let looked = clock.monotonic();
            if let Some(seen) = look().await? {
                let effective = Interval::new(not_yet, clock.monotonic());
                return Ok(Proof::Proven(Evidence { seen, effective }));
            }
            not_yet = looked;
            if clock.monotonic().saturating_sub(began) >= limit {
                return Ok(Proof::Unproven { why: format!("{why_not} within {} s", limit.as_secs()) });
            }
            clock.sleep(LOOK).await;
        }
    }

    /// Waits until something holds; `false` if the time is over first.
    pub async fn until<F, Fut>(&self, limit: Duration, mut holds: F) -> Result<bool>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<bool>> + Send,
    {
        let clock = &self.means.clock;
        let began = clock.monotonic();
        while !holds().await? {
            if clock.monotonic().saturating_sub(began) >= limit {
                return Ok(false);
            }
            clock.sleep(LOOK).await;
        }
        Ok(true)
    }
}

impl Held {
    /// Nothing has to be held.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Holds on to something.
    #[must_use]
    pub fn keep(mut self, carrier: impl Any + Send + Sync) -> Self {
        self.keep.push(Box::new(carrier));
        self
    }

    /// A carrier of this type, if one is held.
    pub fn carrier<T: Any>(&self) -> Option<&T> {
        self.keep.iter().find_map(|carrier| carrier.downcast_ref())
    }

    /// The same with notes for the proof.
    #[must_use]
    pub fn noting(mut self, notes: Value) -> Self {
        self.notes = notes;
        self
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({} carriers, {})", self.keep.len(), self.notes)
    }
}

impl Prepared {
    /// Why nothing of it can be undone or seen from here: it is about files or processes of another machine. Intents of
    /// older versions name none.
    pub(super) fn elsewhere(&self, here: &Machine) -> Option<String> {
        let noted: Machine = serde_json::from_value(self.prior.get("machine")?.clone()).ok()?;
        let there = &noted.host;
        (!here.is(&noted))
            .then(|| format!("it was done on {there}, and this is {}: run davit chaos janitor on {there}", here.host))
    }

    /// What was noted before the effect, as the fault that noted it reads it.
    pub fn prior<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.prior.clone())
            .map_err(|why| Error::failed(format!("reading the intent about {}", self.victim.shown)).because(why))
    }
}

/// All faults, in the order of the list.
pub fn all() -> Vec<&'static dyn Fault> {
    let in_cluster = [&pod::FAULTS[..], &helper::FAULTS, &node::FAULTS, &namespace::FAULTS].concat();
    [&database::FAULTS[..], &in_cluster, &host::FAULTS, &network::FAULTS].concat()
}

/// The fault of a name.
pub fn find(name: &str) -> Result<&'static dyn Fault> {
    if let Some(found) = all().into_iter().find(|fault| fault.facts().name == name) {
        return Ok(found);
    }
    let near = all().into_iter().map(|fault| fault.facts().name).min_by_key(|known| strsim::levenshtein(known, name));
    let error = Error::input(format!("looking for the fault {name:?}: there is none of this name"));
    Err(match near {
        Some(near) if strsim::levenshtein(near, name) <= name.len().max(4) / 2 => {
            error.hint(format!("did you mean {near}? davit chaos list names all of them"))
        }
        _ => error.hint("davit chaos list names all of them"),
    })
}

impl Class {
    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SelfHealing => "self-healing",
            Self::Reversible => "reversible",
            Self::OneWay => "one-way",
            Self::Irreversible => "irreversible",
        }
    }
}
