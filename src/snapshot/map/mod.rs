//! Another namespace, other storage classes, other images, the user's own changes: what an object becomes on its way.
//!
//! Places where the API says that a namespace is named are rewritten. Everything else that looks like the old
//! namespace (a host name in a variable, a field of a custom resource) is reported and left: guessing would break
//! what meant another thing.

pub mod modify;
pub mod patch;
mod rewrite;
mod unresolved;

pub use modify::Rules;
pub use unresolved::Unresolved;

use super::object::{Place, Saved};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of objects.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    /// Namespaces that get another name.
    pub namespaces: BTreeMap<String, String>,
    /// Storage classes that are another one in the new cluster.
    pub storage_classes: BTreeMap<String, String>,
    /// Images: what their names begin with, and what they begin with then.
    pub images: Vec<(String, String)>,
    /// The user's rules.
    pub rules: Rules,
}

/// What mapping a set of objects did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapped {
    /// What names the old namespace and was left.
    pub unresolved: Vec<Unresolved>,
    /// Mappings and rules that met nothing, in the words of the flags.
    pub unused: Vec<String>,
    /// Of these, rules that no object could meet: a kind or a name that is written wrongly, and what to look at.
    pub unmet: Vec<modify::Unmet>,
}

/// Reads `old=new`, as the flags give it.
pub fn pair(flag: &str, text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err(Error::input(format!("reading {flag} {text:?}: it is not old=new"))),
    }
}

/// The storage classes that an object names.
pub fn classes(group_resource: &str, body: &mut Value) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    rewrite::each_class(group_resource, body, &mut |value| named.extend(value.as_str().map(str::to_owned)));
    named
}

/// Which mappings met something.
#[derive(Debug, Default)]
struct Used {
    storage_classes: BTreeSet<String>,
    images: BTreeSet<usize>,
    rules: BTreeSet<u64>,
}

impl Mapping {
    /// Maps objects in place.
    pub fn apply(&self, objects: &mut [Saved]) -> Result<Mapped> {
        let mut used = Used::default();
        let mut mapped = Mapped::default();
        for saved in objects.iter_mut().filter(|_| !self.is_empty()) {
            let mut body = saved.body.open();
            used.rules.extend(self.rules.apply(saved, &mut body)?);
            rewrite::storage(saved, &mut body, &self.storage_classes, &mut used.storage_classes);
            rewrite::images(saved, &mut body, &self.images, &mut used.images);
            for (from, to) in &self.namespaces {
                rewrite::namespace(saved, &mut body, from, to);
            }
            self.look(saved, &body, &mut mapped.unresolved);
            saved.body = body.into();
        }
        mapped.unused = self.unused(&used);
        let kinds: BTreeSet<String> = objects.iter().map(|one| one.kind.group_resource()).collect();
        mapped.unmet = self.rules.unmet(&used.rules, &kinds);
        Ok(mapped)
    }

    /// Where what was at `place` goes.
    pub fn goes_to(&self, mut place: Place) -> Place {
        let named = if place.group_resource == "namespaces" { Some(&mut place.name) } else { place.namespace.as_mut() };
        if let Some(named) = named
            && let Some(to) = self.namespaces.get(named.as_str())
        {
            named.clone_from(to);
        }
        place
    }

    fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.storage_classes.is_empty() && self.images.is_empty() && self.rules.is_empty()
    }

    /// Looks for what was left as it is and may point to the old place.
    fn look(&self, saved: &Saved, body: &Value, found: &mut Vec<Unresolved>) {
        for from in self.namespaces.keys() {
            unresolved::namespaces(saved, body, from, found);
        }
        let is_class = |text: &str| self.storage_classes.contains_key(text);
        let is_image = |text: &str| self.images.iter().any(|(from, _)| rewrite::image_rest(text, from).is_some());
        unresolved::values(saved, body, &["storageClass", "storageClassName"], "storage class", is_class, found);
        unresolved::values(saved, body, &["image", "imageName"], "image", is_image, found);
    }

    fn unused(&self, used: &Used) -> Vec<String> {
        let classes = self.storage_classes.iter().filter(|(from, _)| !used.storage_classes.contains(*from));
        let images = self.images.iter().enumerate().filter(|(at, _)| !used.images.contains(at));
        let rules = self.rules.lines().into_iter().filter(|line| !used.rules.contains(line));
        classes
            .map(|(from, to)| format!("--map-storage-class {from}={to}"))
            .chain(images.map(|(_, (from, to))| format!("--map-image {from}={to}")))
            .chain(rules.map(|line| format!("the rule of --modify in line {line}")))
            .collect()
    }
}

#[cfg(test)]
mod tests;
