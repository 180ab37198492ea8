//! What is asked of a snapshot.

use super::hooks::HookRule;
use crate::id::{RunId, SourceName};
use crate::repository::lease::TERM;
use crate::snapshot::facts::Scope;
use crate::snapshot::volumes::Volumes;
use jiff::Timestamp;
use std::time::Duration;

/// Which namespace, as which source, and what of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The namespace.
    pub namespace: String,
    /// The source whose point it becomes.
    pub source: SourceName,
    /// What the point is to hold.
    pub scope: Scope,
    /// The only retention tier that may keep it.
    pub tier: Option<String>,
    /// Bind the source to this namespace although it was bound to another one.
    pub rebind: bool,
    /// Until when the point is to be locked at least.
    pub lock_until: Option<Timestamp>,
    /// The run, where it has a name already.
    pub run: Option<RunId>,
    /// Who runs this, for the message to a second runner.
    pub holder: String,
    /// After how long without a sign of life another runner may take over.
    pub lease_term: Duration,
    /// Whether hooks are run.
    pub hooks: bool,
    /// Hooks that the settings give.
    pub rules: Vec<HookRule>,
    /// How volumes are saved.
    pub volumes: Volumes,
}

impl Request {
    /// All of a namespace, with what it leans on, as a source of the same name.
    pub fn new(namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        Self {
            source: SourceName::from_database(&namespace),
            namespace,
            scope: Scope { with_cluster: true, ..Scope::default() },
            tier: None,
            rebind: false,
            lock_until: None,
            run: None,
            holder: "unknown".to_owned(),
            lease_term: TERM,
            hooks: true,
            rules: Vec::new(),
            volumes: Volumes::None,
        }
    }
}
