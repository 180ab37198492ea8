//! Two sets of objects, such as a point and what is live, compared object by object.

use super::super::clean::Keep;
use super::super::object::{Place, Saved};
use super::{Change, Shape, compare};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Schemas of custom kinds: by group-resource and version.
pub type Schemas = BTreeMap<(String, String), Value>;

/// Which side has an object that the other has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Only the left.
    Left,
    /// Only the right.
    Right,
}

/// How an object differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// It is on one side only.
    Only(Side),
    /// It is on both, and differs here.
    Changed(Vec<Change>),
}

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectDiff {
    /// Which.
    #[serde(flatten)]
    pub place: Place,
    /// How.
    #[serde(flatten)]
    pub difference: Difference,
}

/// What differs between two sets of objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Objects that are equal on both sides.
    pub same: u64,
    /// Objects that are not, by place.
    pub objects: Vec<ObjectDiff>,
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.objects.is_empty()
    }

    /// The differences as lines for people: `-` only left, `+` only right, `~` changed.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for object in &self.objects {
            let place = match &object.place.namespace {
                Some(namespace) => format!("{} in {namespace}", object.place),
                None => object.place.to_string(),
            };
            match &object.difference {
                Difference::Only(Side::Left) => lines.push(format!("- {place}")),
                Difference::Only(Side::Right) => lines.push(format!("+ {place}")),
                Difference::Changed(changes) => {
                    lines.push(format!("~ {place}"));
                    lines.extend(changes.iter().map(|change| format!("    {change}")));
                }
            }
        }
        lines
    }
}

/// Compares two sets. `schemas` tell what is known of custom kinds.
pub fn compare_sets(left: &[Saved], right: &[Saved], schemas: &Schemas, keep: &Keep) -> Diff {
    let by_place = |set: &'_ [Saved]| -> BTreeMap<Place, usize> {
        set.iter().enumerate().map(|(at, saved)| (saved.identity.place(), at)).collect()
    };
    let (lefts, rights) = (by_place(left), by_place(right));
    let places: BTreeSet<&Place> = lefts.keys().chain(rights.keys()).collect();
    let mut diff = Diff::default();
    for place in places {
        let difference = match (lefts.get(place), rights.get(place)) {
            (Some(one), Some(other)) => {
                let (one, other) = (&left[*one], &right[*other]);
                let key = (place.group_resource.clone(), one.kind.version.clone());
                let shape = Shape::of(&one.kind.group, schemas.get(&key));
                Difference::Changed(compare(&place.group_resource, shape, &one.body.open(), &other.body.open(), keep))
            }
            (Some(_), None) => Difference::Only(Side::Left),
            _ => Difference::Only(Side::Right),
        };
        if difference == Difference::Changed(Vec::new()) {
            diff.same += 1;
        } else {
            diff.objects.push(ObjectDiff { place: place.clone(), difference });
        }
    }
    diff
}

/// The schemas that definitions of custom kinds among `objects` carry.
pub fn schemas_of<'a>(objects: impl IntoIterator<Item = &'a Saved>) -> Schemas {
    let mut schemas = Schemas::new();
    for saved in objects {
        if saved.identity.resource != "customresourcedefinitions" || saved.identity.group != "apiextensions.k8s.io" {
            continue;
        }
        let body = saved.body.open();
        let versions = body.pointer("/spec/versions").and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
            if let Some(schema) = version.pointer("/schema/openAPIV3Schema") {
                // A definition is named after the group-resource that it defines.
                schemas.insert((saved.identity.name.clone(), name.to_owned()), schema.clone());
            }
        }
    }
    schemas
}
