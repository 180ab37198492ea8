//! What differs between two objects, or two sets of them, in the sense of the API and not of bytes.
//!
//! Fields of the server are not looked at, lists are matched by their merge key where the API defines one, and two
//! spellings of one amount are equal. Of a Secret only the paths are told, never a value.

mod merge;
mod sets;
mod shape;

pub use merge::merged;
pub use sets::{Diff, Difference, ObjectDiff, Schemas, Side, compare_sets, schemas_of};
pub use shape::Shape;

use super::clean::{self, Keep};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use shape::Match;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Values are shown up to this many characters; the whole of them is in the snapshot.
const SHOWN_CHARS: usize = 120;

/// A value on one side of a difference.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Nothing is there.
    Absent,
    /// Something is there that is not for showing.
    Hidden,
    /// This is there.
    Value(Value),
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Hidden => serializer.serialize_str("(hidden)"),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("(none)"),
            Self::Hidden => f.write_str("(hidden)"),
            Self::Value(value) => {
                let text = value.to_string();
                match text.char_indices().nth(SHOWN_CHARS) {
                    Some((end, _)) => write!(f, "{}…", &text[..end]),
                    None => f.write_str(&text),
                }
            }
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where: `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// What is on the left.
    pub left: Seen,
    /// What is on the right.
    pub right: Seen,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left == Seen::Hidden && self.right == Seen::Hidden {
            return write!(f, "{}: another value (hidden)", self.path);
        }
        write!(f, "{}: {} → {}", self.path, self.left, self.right)
    }
}

/// Compares two objects of one kind. Neither need be cleaned before.
pub fn compare(group_resource: &str, shape: Shape<'_>, left: &Value, right: &Value, keep: &Keep) -> Vec<Change> {
    let cleaned = |body: &Value| {
        let mut body = without_managers(body);
        clean::clean(group_resource, &mut body, keep);
        body
    };
    let mut walk = Walk { secret: group_resource == "secrets", path: Vec::new(), changes: Vec::new() };
    walk.values(shape, &cleaned(left), &cleaned(right));
    walk.changes
}

/// A copy without the server's account of who set what: it is half of an object, and nothing of it is compared.
fn without_managers(body: &Value) -> Value {
    let Value::Object(fields) = body else { return body.clone() };
    let copy = |(name, value): (&String, &Value)| match value {
        Value::Object(metadata) if name == "metadata" => {
            let kept = metadata.iter().filter(|(field, _)| *field != "managedFields");
            (name.clone(), Value::Object(kept.map(|(field, value)| (field.clone(), value.clone())).collect()))
        }
        value => (name.clone(), value.clone()),
    };
    Value::Object(fields.iter().map(copy).collect())
}

/// Whether everything that `wanted` says is so in `there`, which may say more.
pub fn holds(group_resource: &str, shape: Shape<'_>, wanted: &Value, there: &Value, keep: &Keep) -> bool {
    compare(group_resource, shape, wanted, there, keep).iter().all(|change| change.left == Seen::Absent)
}

/// A step into an object, as it is shown.
#[derive(Debug, Clone)]
enum Step {
    Field(String),
    Element(String),
}

struct Walk {
    secret: bool,
    path: Vec<Step>,
    changes: Vec<Change>,
}

impl Walk {
    fn values(&mut self, shape: Shape<'_>, left: &Value, right: &Value) {
        match (left, right) {
            (Value::Object(left), Value::Object(right)) => self.maps(shape, left, right),
            (Value::Array(left), Value::Array(right)) => self.lists(shape, left, right),
            _ if shape.same(&self.fields(), left, right) => {}
            _ => self.note(Some(left), Some(right)),
        }
    }

    fn maps(&mut self, shape: Shape<'_>, left: &Map<String, Value>, right: &Map<String, Value>) {
        let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        // The API server writes null and leaves out for the same thing.
        let there = |value: &&Value| !value.is_null();
        for name in names {
            let (left, right) = (left.get(name).filter(there), right.get(name).filter(there));
            // Most are equal, and what a field means need not be known for that.
            if left == right {
                continue;
            }
            let inner = shape.field(&self.fields(), name);
            self.path.push(Step::Field(name.clone()));
            match (left, right) {
                (Some(left), Some(right)) => self.values(inner, left, right),
                (left, right) => self.note(left, right),
            }
            self.path.pop();
        }
    }

    fn lists(&mut self, shape: Shape<'_>, left: &[Value], right: &[Value]) {
        let fields = self.fields();
        let element = shape.element();
        match shape.matching(&fields, left, right) {
            Match::Place => {
                for at in 0..left.len().max(right.len()) {
                    self.pair(element, at.to_string(), left.get(at), right.get(at));
                }
            }
            Match::Keys(keys) => {
                let (left, right) = (by_key(&keys, left), by_key(&keys, right));
                let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
                for name in names {
                    self.pair(element, name.clone(), left.get(name).copied(), right.get(name).copied());
                }
            }
            Match::Set => {
                for value in left.iter().filter(|value| !right.contains(value)) {
                    self.pair(element, value.to_string(), Some(value), None);
                }
                for value in right.iter().filter(|value| !left.contains(value)) {
                    self.pair(element, value.to_string(), None, Some(value));
                }
            }
        }
    }

    fn pair(&mut self, shape: Shape<'_>, name: String, left: Option<&Value>, right: Option<&Value>) {
        self.path.push(Step::Element(name));
        match (left, right) {
            (Some(left), Some(right)) if left == right => {}
            (Some(left), Some(right)) => self.values(shape, left, right),
            (left, right) => self.note(left, right),
        }
        self.path.pop();
    }

    fn note(&mut self, left: Option<&Value>, right: Option<&Value>) {
        let hidden = self.is_hidden();
        let seen = |value: Option<&Value>| match value {
            None => Seen::Absent,
            Some(_) if hidden => Seen::Hidden,
            Some(value) => Seen::Value(value.clone()),
        };
        self.changes.push(Change { path: self.shown(), left: seen(left), right: seen(right) });
    }

    /// The fields that lead here, lists left out.
    fn fields(&self) -> Vec<&str> {
        let field = |step: &'_ Step| matches!(step, Step::Field(_));
        self.path
            .iter()
            .filter(|step| field(step))
            .map(|step| match step {
                Step::Field(name) | Step::Element(name) => name.as_str(),
            })
            .collect()
    }

    /// Annotations count too: `kubectl apply` leaves a copy of the whole Secret in one.
    fn is_hidden(&self) -> bool {
        self.secret
            && match self.fields().as_slice() {
                ["type" | "immutable" | "kind" | "apiVersion", ..] => false,
                ["metadata", field, ..] => !["labels", "name", "namespace", "finalizers"].contains(field),
                _ => true,
            }
    }

    fn shown(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Element(name) => text.extend(["[", name, "]"]),
                Step::Field(name) if name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                Step::Field(name) => text.extend(["[", &format!("{name:?}"), "]"]),
            }
        }
        text
    }
}

fn by_key<'a>(keys: &[String], list: &'a [Value]) -> BTreeMap<String, &'a Value> {
    list.iter().map(|value| (shape::key_of(keys, value).unwrap_or_default(), value)).collect()
}

#[cfg(test)]
mod tests;
