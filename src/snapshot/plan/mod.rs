//! What a restore would do, object by object, before it does anything.
//!
//! Pure: saved objects, what is live, and what the user asked for go in; lines come out. A line is one object and one
//! action. What may be asked of the server without changing anything (dry runs) fills the marks afterwards; a restore
//! then executes exactly these lines.

mod additions;
mod classes;
mod decide;
mod digest;
mod gitops;
mod mixed;
mod owners;
mod prune;
mod quota;
mod volumes;
mod webhooks;

pub use decide::NEVER_DELETED;
pub(super) use decide::has_ended;
pub use digest::untold;
pub use gitops::tracked_by;
pub use mixed::mixed;
pub use owners::{OwnerAt, OwnerLink};
pub use volumes::{Freed, is_provisioned};
pub(super) use webhooks::selects;
pub use webhooks::{DeadWebhook, dead_webhooks};

use super::body::Body;
use super::clean::Keep;
use super::diff::{Change, Schemas};
use super::map::modify;
use super::object::{self, Identity, Place, Saved, SavedKind};
use super::order;
use super::volumes::Movers;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What becomes of objects that are there already and differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The restore does not begin.
    #[default]
    Fail,
    /// They stay as they are.
    Skip,
    /// What the snapshot says is patched in; what only the live object has stays.
    Merge,
    /// They become what the snapshot says, in place.
    Replace,
}

/// Objects as a user names them: `deployments.apps/web`, `secrets/*`, `jobs.batch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    kind: String,
    name: Option<String>,
}

impl Selector {
    /// Reads `KIND` or `KIND/NAME`; `*` stands for any characters in both.
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((kind, name)) => Self { kind: kind.to_owned(), name: Some(name.to_owned()) },
            None => Self { kind: text.to_owned(), name: None },
        }
    }

    /// Whether it means what is at `place`.
    pub fn means(&self, place: &Place) -> bool {
        modify::means_kind(&self.kind, &place.group_resource)
            && self.name.as_ref().is_none_or(|name| modify::matches(name, &place.name))
    }

    /// Whether it means all of a kind.
    pub fn means_all_of(&self, group_resource: &str) -> bool {
        self.name.is_none() && modify::means_kind(&self.kind, group_resource)
    }
}

/// Whether any selector means what is at `place`.
pub fn any_means(selectors: &[Selector], place: &Place) -> bool {
    selectors.iter().any(|selector| selector.means(place))
}

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What becomes of objects that are there and differ.
    pub on_conflict: OnConflict,
    /// Kinds that are deleted and made anew where they differ.
    pub recreate: Vec<Selector>,
    /// Whether objects that the snapshot does not have go away.
    pub prune: bool,
    /// Only these objects; none at all means every one.
    pub only: Vec<Selector>,
    /// Cluster-scoped objects that may be changed.
    pub include_cluster: Vec<Selector>,
    /// Kinds that are restored although their controller would make them.
    pub restore_derived: Vec<Selector>,
    /// What is kept although the server owns it.
    pub keep: Keep,
    /// Kinds whose status comes back.
    pub with_status: Vec<Selector>,
    /// Whether objects that Argo CD or Flux tracks are left to it.
    pub skip_gitops: bool,
    /// Whether the managers that applied fields get them back.
    pub keep_managers: bool,
    /// The field manager of this restore: `davit-` and its run.
    pub manager: String,
    /// Kinds that the snapshot has completely; only of these is it known what is absent.
    pub covered: BTreeSet<String>,
    /// Claims whose files the restore puts back into the volumes that it makes.
    pub files: BTreeSet<String>,
    /// What puts them there, where somebody says so.
    pub movers: Movers,
    /// What the digest of a plan says of mapped objects that its lines only name.
    pub untold: String,
    /// Storage classes that the user named in place of others.
    pub mapped_classes: BTreeSet<String>,
    /// Claims, by what is made only so that they can begin with it.
    pub made_for: BTreeMap<Place, Place>,
    /// The namespace that this is only a proof of, elsewhere: its claims keep their volumes.
    pub proof_of: Option<String>,
}

/// A kind that the live cluster serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveKind {
    /// Versions that are served.
    pub versions: BTreeSet<String>,
    /// Whether its objects can be made.
    pub creatable: bool,
}

/// What is live, as far as the plan needs it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Kinds by group-resource.
    pub kinds: BTreeMap<String, LiveKind>,
    /// Objects in the namespaces that are restored into, and the cluster-scoped ones of the kinds in the snapshot.
    pub objects: BTreeMap<Place, Body>,
    /// Every persistent volume.
    pub volumes: Vec<Value>,
    /// Every storage class, and whether it is the default one; nothing where they could not be looked at.
    pub classes: Option<BTreeMap<String, bool>>,
    /// Admission webhooks that would refuse because nobody answers.
    pub webhooks: Vec<DeadWebhook>,
    /// Argo CD's applications by name.
    pub applications: BTreeSet<String>,
}

/// What is done with an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action", content = "why")]
pub enum Action {
    /// It is made.
    Create,
    /// What the snapshot says is patched into the live object.
    Merge,
    /// The live object becomes what the snapshot says.
    Replace,
    /// The live object is deleted and made anew.
    Recreate,
    /// It is there and equal.
    Same,
    /// It is not touched, for this reason.
    Leave(String),
    /// It is deleted, because the snapshot does not have it.
    Prune,
    /// It cannot be restored, for this reason.
    Refuse(String),
}

impl Action {
    /// Whether something is changed in the cluster.
    pub const fn acts(&self) -> bool {
        matches!(self, Self::Create | Self::Merge | Self::Replace | Self::Recreate | Self::Prune)
    }

    /// The word for people.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Merge => "merge",
            Self::Replace => "replace",
            Self::Recreate => "recreate",
            Self::Same => "same",
            Self::Leave(_) => "leave",
            Self::Prune => "prune",
            Self::Refuse(_) => "refuse",
        }
    }

    /// The reason, where there is one.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Leave(why) | Self::Refuse(why) => Some(why),
            _ => None,
        }
    }
}

/// What the server says to a line before anything is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mark", content = "mark_why")]
pub enum Mark {
    /// Nothing is asked of it.
    #[default]
    None,
    /// Its dry run accepted the change.
    Checked,
    /// It could not be asked, because this is missing.
    Unchecked(String),
    /// Its dry run refused, for this reason.
    Refused(String),
    /// It is deleted first, so a dry run would only say that it is there.
    Recreate,
}

/// One object and what is done with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Where the object is or goes.
    #[serde(flatten)]
    pub place: Place,
    /// Its kind.
    #[serde(skip)]
    pub kind: Arc<SavedKind>,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// What the server says to it.
    #[serde(flatten)]
    pub mark: Mark,
    /// What differs: live on the left, the snapshot on the right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What else is worth knowing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What is sent: the whole object, or the patch of a merge.
    #[serde(skip)]
    pub body: Body,
    /// The status that follows.
    #[serde(skip)]
    pub status: Option<Value>,
    /// Its owners.
    #[serde(skip)]
    pub owners: Vec<OwnerLink>,
    /// The live object that the line is about.
    #[serde(skip)]
    pub live: Option<Body>,
    /// The uid it had when it was saved.
    #[serde(skip)]
    pub saved_uid: String,
    /// Whether it came along from outside the namespace.
    #[serde(skip)]
    pub related: bool,
    /// Which other tool puts the object back by itself.
    #[serde(skip)]
    pub tracker: Option<String>,
    /// The volume that is freed for this claim before anything else; the notes tell it.
    #[serde(skip)]
    pub frees: Option<Freed>,
}

impl Line {
    /// A line of which nothing is known yet but what it is about.
    fn about(place: Place, kind: Arc<SavedKind>, action: Action, live: Option<Body>) -> Self {
        Self {
            place,
            kind,
            action,
            mark: Mark::None,
            changes: Vec::new(),
            notes: Vec::new(),
            body: Body::default(),
            status: None,
            owners: Vec::new(),
            live,
            saved_uid: String::new(),
            related: false,
            tracker: None,
            frees: None,
        }
    }

    /// The uid of the live object; empty if there is none.
    pub fn live_uid(&self) -> String {
        self.live.as_ref().map(|live| object::uid(&live.open()).to_owned()).unwrap_or_default()
    }

    /// Whether there is a live object and `manager` is among its field managers.
    pub fn is_managed_by(&self, manager: &str) -> bool {
        self.live.as_ref().is_some_and(|live| object::is_managed_by(&live.open(), manager))
    }
}

/// What a restore would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// One per object.
    pub lines: Vec<Line>,
    /// Indexes of lines; a wave begins when the one before it is done.
    #[serde(skip)]
    pub waves: Vec<(order::Tier, Vec<usize>)>,
    /// What is worth knowing before it begins.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Lines that make the restore not begin: what is there and differs, where the user did not say what to do.
    pub fn conflicts(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| matches!(&line.action, Action::Refuse(why) if why == decide::EXISTS))
    }

    /// Lines that make the restore not begin: what could never be bound, because of a class that the user named.
    pub fn nowhere(&self) -> impl Iterator<Item = (&Line, &str)> {
        self.lines.iter().filter_map(|line| match &line.action {
            Action::Refuse(why) if why.starts_with(classes::NOWHERE) => Some((line, why.as_str())),
            _ => None,
        })
    }

    /// Lines that change something.
    pub fn acting(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.action.acts())
    }

    /// How many lines have each word.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for line in &self.lines {
            *counts.entry(line.action.word()).or_insert(0) += 1;
        }
        counts
    }
}

/// Plans a restore of `saved`, which was mapped already and goes into the plan.
pub fn plan(mut saved: Vec<Saved>, live: &Live, schemas: &Schemas, options: &Options) -> Plan {
    let facts = decide::Facts::gather(&saved, live, schemas, options);
    let wanted: Vec<usize> = (0..saved.len()).filter(|at| facts.is_wanted(&saved[*at])).collect();
    let asked: Vec<&Saved> = wanted.iter().map(|at| &saved[*at]).collect();
    let order = order::order(&asked);
    let owned = owners::Owned::of(&asked);
    let mut lines = Vec::with_capacity(wanted.len());
    for at in wanted {
        lines.push(facts.line(at, &mut saved[at]));
        // A line says which object it is about; twice that would be twenty megabytes. Only pruning asks again.
        if !options.prune {
            saved[at].identity = Identity::default();
        }
    }
    let mut warnings = quota::limit(&mut lines, live);
    owners::link(&mut lines, &owned, live, &order);
    warnings.extend(webhooks::warn(&lines, live));
    warnings.extend(gitops::warn(&lines));
    let mut waves = order.waves;
    if options.prune {
        let first = lines.len();
        lines.extend(prune::lines(&saved, live, options));
        waves.push((order::Tier::Quotas, (first..lines.len()).collect()));
    }
    Plan { lines, waves, warnings }
}

#[cfg(test)]
mod tests;
