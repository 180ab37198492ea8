//! The kinds that a cluster serves, by their names.

use super::super::object::{Place, SavedKind};
use super::super::plan::LiveKind;
use crate::cluster::{Discovered, Kind};
use std::collections::BTreeMap;

/// The kinds that a cluster serves.
#[derive(Debug, Clone, Default)]
pub struct Kinds(BTreeMap<String, Kind>);

impl Kinds {
    /// The kinds of a discovery.
    pub fn of(discovered: &Discovered) -> Self {
        Self(discovered.kinds.iter().map(|kind| (kind.group_resource(), kind.clone())).collect())
    }

    /// A kind by its group-resource, at the version the cluster prefers or stores.
    pub fn get(&self, group_resource: &str) -> Option<&Kind> {
        self.0.get(group_resource)
    }

    /// A kind at the version its objects were saved in.
    pub fn saved(&self, saved: &SavedKind) -> Option<Kind> {
        let kind = self.0.get(&saved.group_resource())?;
        Some(Kind { version: saved.version.clone(), ..kind.clone() })
    }

    /// The same as far as a plan needs it.
    pub fn live(&self) -> BTreeMap<String, LiveKind> {
        let live = |kind: &Kind| LiveKind {
            versions: kind.served.iter().cloned().collect(),
            creatable: kind.verbs.contains("create"),
        };
        self.0.iter().map(|(name, kind)| (name.clone(), live(kind))).collect()
    }

    /// What a place is called, for messages.
    pub fn shown(place: &Place) -> String {
        match &place.namespace {
            Some(namespace) => format!("{place} in {namespace}"),
            None => place.to_string(),
        }
    }
}
