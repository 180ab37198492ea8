//! Storage classes: whether a claim that is made could ever be bound.

use super::super::object::Saved;
use super::{Live, Options};
use crate::yaml::nearest;
use serde_json::Value;
use std::collections::BTreeSet;

/// What a line is refused with whose class the user named, and nobody has.
pub(super) const NOWHERE: &str = "--map-storage-class names a class that the cluster does not have";

/// What is known of classes.
pub(super) struct Classes {
    /// Those that are there, or come with the snapshot; nothing where that could not be looked at.
    known: Option<BTreeSet<String>>,
    /// Whether one of them is for claims that name none.
    default: bool,
    /// Classes of volumes that wait for a claim: nobody needs to provision those.
    waiting: BTreeSet<String>,
    /// Classes that the user gave to claims.
    mapped: BTreeSet<String>,
}

impl Classes {
    pub(super) fn of(saved: &[Saved], live: &Live, options: &Options) -> Self {
        let class = |body: &Value| body.pointer("/spec/storageClassName").and_then(Value::as_str).map(str::to_owned);
        let come = saved.iter().filter(|one| one.kind.group_resource() == "storageclasses.storage.k8s.io");
        let come = come.map(|one| one.identity.name.clone());
        let made = saved.iter().filter(|one| one.kind.group_resource() == "persistentvolumes");
        let made = made.map(|one| one.body.open()).filter(|body| !super::is_provisioned(body));
        // One that was prepared for a claim that is to come names it, without its uid.
        let free = live.volumes.iter().filter(|body| !super::volumes::is_bound(body));
        let waiting = made.map(|body| class(&body)).chain(free.map(class)).map(Option::unwrap_or_default).collect();
        let there = live.classes.as_ref();
        Self {
            known: there.map(|there| there.keys().cloned().chain(come).collect()),
            default: there.is_some_and(|there| there.values().any(|default| *default)),
            waiting,
            mapped: options.mapped_classes.clone(),
        }
    }

    /// Why nothing can ever be bound, where that is certain: the user named a class that nobody has.
    pub(super) fn refusal<'a>(&self, classes: impl IntoIterator<Item = &'a String>) -> Option<String> {
        let mut named = classes.into_iter().filter(|class| self.mapped.contains(*class));
        let (class, near) = named.find_map(|class| Some((class, self.lacks(class)?)))?;
        Some(format!("{NOWHERE}: {class}{near}"))
    }

    /// What is to be known of a claim that would wait.
    pub(super) fn note(&self, class: Option<&str>) -> Option<String> {
        match class {
            Some(class) => self.lacks(class).map(|near| {
                format!("the cluster has no storage class {class}{near}: it waits until there is one, or a volume of it (--map-storage-class)")
            }),
            None if self.known.is_some() && !self.default && !self.waiting.contains("") => {
                Some("it names no storage class, and the cluster has no default one: it waits until there is".to_owned())
            }
            None => None,
        }
    }

    /// The nearest class, in words, if there is none of that name. A claim without any (`""`) needs none.
    fn lacks(&self, class: &str) -> Option<String> {
        let known = self.known.as_ref()?;
        if class.is_empty() || known.contains(class) || self.waiting.contains(class) {
            return None;
        }
        Some(match nearest(class, known.iter().map(String::as_str)) {
            Some(near) => format!(", did you mean {near}?"),
            None if known.is_empty() => String::new(),
            None => format!(" (it has {})", known.iter().cloned().collect::<Vec<_>>().join(", ")),
        })
    }
}
