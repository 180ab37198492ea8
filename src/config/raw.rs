//! `davit.yaml` as it is written: everything optional, nothing checked but its shape.

use crate::backup::take::{EngineChoice, MinContent, TablePattern};
use crate::retention::policy::Rules;
use crate::secret::SecretRef;
use crate::snapshot::collect::OnError;
use crate::store::LockMode;
use crate::units::{Bytes, Span};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The whole file.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// `s3://bucket/prefix`, or a directory.
    pub repository: Option<Spanned<String>>,
    /// Where `writer.key` and `reader.key` are.
    pub keys: Option<Spanned<PathBuf>>,
    /// Where this machine remembers the newest sequence numbers it saw.
    pub state: Option<Spanned<PathBuf>>,
    /// Where throw-away servers are made.
    pub scratch: Option<Spanned<PathBuf>>,
    /// How many things are done at once.
    pub jobs: Option<Spanned<u32>>,
    /// Most bytes per second that are read from a server, and most that go to and come from the store.
    pub limit_rate: Option<Spanned<Bytes>>,
    /// How long an application may wait behind our locks.
    pub lock_budget: Option<Spanned<Span>>,
    /// How long a snapshot may be held.
    pub snapshot_budget: Option<Spanned<Span>>,
    /// For how long a call to the store that fails in passing is tried again.
    pub retry_budget: Option<Spanned<Span>>,
    /// How long a runner that died keeps the next one of its source waiting.
    pub lease_term: Option<Spanned<Span>>,
    /// How many transactions old a snapshot may become.
    pub xmin_age_budget: Option<Spanned<u64>>,
    /// Directories with PostgreSQL client programs, looked at before `PATH`.
    pub client_tools: Option<Spanned<Vec<PathBuf>>>,
    /// Whether and how `init` has objects locked.
    pub object_lock: Option<Spanned<ObjectLock>>,
    /// How long points are kept, for sources that do not say.
    pub retention: Option<Spanned<Rules>>,
    /// What is backed up, by name.
    #[serde(default)]
    pub sources: BTreeMap<String, Spanned<RawSource>>,
    /// Commands that run in pods around snapshots of their namespace.
    #[serde(default)]
    pub hooks: Vec<Spanned<RawHook>>,
}

/// Commands that run in some pods around a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawHook {
    /// The namespace.
    pub namespace: String,
    /// Which pods of it, by their labels.
    pub pods: String,
    /// Which container; the pod's default one if not said.
    pub container: Option<String>,
    /// Program and arguments to run before the lists.
    pub before: Option<Vec<String>>,
    /// Program and arguments to run after the lists, whatever came of them.
    pub after: Option<Vec<String>>,
    /// Program and arguments whose output becomes a source of its own.
    pub output: Option<Vec<String>>,
    /// The last part of that source's name; the pod's name if not said.
    pub name: Option<String>,
    /// Whether no output at all is well.
    #[serde(default)]
    pub allow_empty: bool,
    /// What a failure means.
    #[serde(default)]
    pub on_error: OnError,
    /// How long a command may take.
    pub timeout: Option<Span>,
}

/// Whether and how objects are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectLock {
    /// Not at all.
    Off,
    /// As [`LockMode::Governance`].
    Governance,
    /// As [`LockMode::Compliance`].
    Compliance,
}

impl ObjectLock {
    /// The mode to lock with, if any.
    pub const fn mode(self) -> Option<LockMode> {
        match self {
            Self::Off => None,
            Self::Governance => Some(LockMode::Governance),
            Self::Compliance => Some(LockMode::Compliance),
        }
    }
}

/// One source.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    /// Where the server is.
    pub url: Spanned<SecretRef>,
    /// Which databases: the one of the URL, a list, or `all`.
    pub databases: Option<Spanned<Databases>>,
    /// What is left out.
    pub exclude: Option<Spanned<Exclude>>,
    /// How rows are read.
    pub engine: Option<Spanned<EngineChoice>>,
    /// Whether rows of unlogged tables are backed up.
    pub unlogged: Option<Spanned<bool>>,
    /// What a point must hold at least; less, and it is not committed.
    pub min_content: Option<Spanned<MinContent>>,
    /// Overrides of the values above the sources.
    pub jobs: Option<Spanned<u32>>,
    /// Most bytes per second.
    pub limit_rate: Option<Spanned<Bytes>>,
    /// How long an application may wait behind our locks.
    pub lock_budget: Option<Spanned<Span>>,
    /// How long a snapshot may be held.
    pub snapshot_budget: Option<Spanned<Span>>,
    /// How many transactions old a snapshot may become.
    pub xmin_age_budget: Option<Spanned<u64>>,
    /// How long its points are kept.
    pub retention: Option<Spanned<Rules>>,
    /// SQL files that `verify --depth restored` runs.
    pub checks: Option<Spanned<Vec<PathBuf>>>,
}

/// What is left out of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclude {
    /// Tables (`schema.table`, `*` stands for anything) whose definition and rows are left out.
    #[serde(default)]
    pub tables: Vec<TablePattern>,
    /// Tables of which only the rows are left out.
    #[serde(default)]
    pub rows: Vec<TablePattern>,
}

/// Which databases of a server are one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Databases {
    /// The one that the URL names.
    #[default]
    OfUrl,
    /// These.
    List(Vec<String>),
    /// All that allow connections, with roles and tablespaces.
    All,
}

impl<'de> Deserialize<'de> for Databases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DatabasesVisitor)
    }
}

struct DatabasesVisitor;

impl<'de> Visitor<'de> for DatabasesVisitor {
    type Value = Databases;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all` or a list of databases such as [shop, billing]")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Databases, E> {
        match text {
            "all" => Ok(Databases::All),
            _ => Err(E::custom(format!("`all` or a list of databases belongs here; for one database write [{text}]"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Databases, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            names.push(name);
        }
        if names.is_empty() {
            return Err(de::Error::custom("the list of databases is empty, so there is nothing to back up"));
        }
        Ok(Databases::List(names))
    }
}
