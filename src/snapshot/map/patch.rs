//! Patches of JSON documents: lists of operations (RFC 6902) and merge patches (RFC 7396).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// One operation of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Operation {
    /// Puts a value where nothing is, or between two elements of a list.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Takes a value away.
    Remove {
        /// Where.
        path: String,
    },
    /// Puts a value where another one is.
    Replace {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Takes a value from one place to another.
    Move {
        /// Where it is.
        from: String,
        /// Where it goes.
        path: String,
    },
    /// Puts a copy of a value to another place.
    Copy {
        /// Where it is.
        from: String,
        /// Where the copy goes.
        path: String,
    },
    /// Stops quietly unless the value is this one.
    Test {
        /// Where.
        path: String,
        /// What must be there.
        value: Value,
    },
}

/// Why a list of operations was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchError {
    /// A `test` did not hold: the document is not meant.
    NotMeant,
    /// An operation cannot be done.
    Impossible {
        /// Its number, from 1.
        number: usize,
        /// Why.
        why: String,
    },
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMeant => f.write_str("a test of the patch does not hold"),
            Self::Impossible { number, why } => write!(f, "operation {number}: {why}"),
        }
    }
}

impl std::error::Error for PatchError {}

impl Operation {
    /// The paths it names.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::Add { path, .. } | Self::Remove { path } | Self::Replace { path, .. } | Self::Test { path, .. } => {
                vec![path]
            }
            Self::Move { from, path } | Self::Copy { from, path } => vec![from, path],
        }
    }

    fn apply(&self, document: &mut Value) -> Result<bool, String> {
        match self {
            Self::Add { path, value } => add(document, path, value.clone())?,
            Self::Remove { path } => drop(remove(document, path)?),
            Self::Replace { path, value } => {
                *document.pointer_mut(path).ok_or_else(|| nothing_at(path))? = value.clone();
            }
            Self::Move { from, path } => {
                if path.starts_with(&format!("{from}/")) {
                    return Err(format!("{from} cannot be moved into itself"));
                }
                let value = remove(document, from)?;
                add(document, path, value)?;
            }
            Self::Copy { from, path } => {
                let value = document.pointer(from).cloned().ok_or_else(|| nothing_at(from))?;
                add(document, path, value)?;
            }
            Self::Test { path, value } => return Ok(document.pointer(path) == Some(value)),
        }
        Ok(true)
    }
}

/// Carries out all operations, or none.
pub fn apply(document: &mut Value, operations: &[Operation]) -> Result<(), PatchError> {
    let mut changed = document.clone();
    for (at, operation) in operations.iter().enumerate() {
        match operation.apply(&mut changed) {
            Ok(true) => {}
            Ok(false) => return Err(PatchError::NotMeant),
            Err(why) => return Err(PatchError::Impossible { number: at + 1, why }),
        }
    }
    *document = changed;
    Ok(())
}

/// Applies a merge patch: maps are merged, `null` removes, everything else replaces.
pub fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(serde_json::Map::new());
    }
    let Some(map) = document.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The merge patch that turns what `from` says into what `to` says; fields that only `from` has stay.
pub fn addition(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            let changed =
                to.iter().filter(|(_, value)| !value.is_null()).filter_map(|(name, value)| match from.get(name) {
                    Some(there) => addition(there, value).map(|patch| (name.clone(), patch)),
                    None => Some((name.clone(), value.clone())),
                });
            let patch: serde_json::Map<String, Value> = changed.collect();
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (from, to) if from == to => None,
        (_, to) => Some(to.clone()),
    }
}

fn nothing_at(path: &str) -> String {
    format!("nothing is at {path}")
}

/// The place that holds what a path ends in, and the path's last step.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (way, last) = path.rsplit_once('/').ok_or_else(|| format!("{path:?} does not begin with a slash"))?;
    let holder = document.pointer_mut(way).ok_or_else(|| nothing_at(way))?;
    Ok((holder, last.replace("~1", "/").replace("~0", "~")))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (holder, last) = parent(document, path)?;
    match holder {
        Value::Object(map) => drop(map.insert(last, value)),
        Value::Array(elements) if last == "-" => elements.push(value),
        Value::Array(elements) => {
            let at = position(&last).filter(|at| *at <= elements.len()).ok_or_else(|| nothing_at(path))?;
            elements.insert(at, value);
        }
        _ => return Err(nothing_at(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let (holder, last) = parent(document, path)?;
    let taken = match holder {
        Value::Object(map) => map.remove(&last),
        Value::Array(elements) => position(&last).filter(|at| *at < elements.len()).map(|at| elements.remove(at)),
        _ => None,
    };
    taken.ok_or_else(|| nothing_at(path))
}

/// A place in a list, as the RFC writes it: no sign, no leading zero.
fn position(text: &str) -> Option<usize> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|digit| digit.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patched(document: &Value, operations: Value) -> Result<Value, PatchError> {
        let operations: Vec<Operation> = serde_json::from_value(operations).unwrap();
        let mut document = document.clone();
        apply(&mut document, &operations).map(|()| document)
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        let document = json!({"a": {"b/c": 1, "list": [1, 2]}, "x~y": 0});
        for (operations, wanted) in [
            (
                json!([{"op": "add", "path": "/a/new", "value": 3}]),
                json!({"a": {"b/c": 1, "list": [1, 2], "new": 3}, "x~y": 0}),
            ),
            (
                json!([{"op": "add", "path": "/a/list/-", "value": 3}]),
                json!({"a": {"b/c": 1, "list": [1, 2, 3]}, "x~y": 0}),
            ),
            (
                json!([{"op": "add", "path": "/a/list/0", "value": 0}]),
                json!({"a": {"b/c": 1, "list": [0, 1, 2]}, "x~y": 0}),
            ),
            (json!([{"op": "remove", "path": "/a/b~1c"}]), json!({"a": {"list": [1, 2]}, "x~y": 0})),
            (
                json!([{"op": "replace", "path": "/x~0y", "value": 5}]),
                json!({"a": {"b/c": 1, "list": [1, 2]}, "x~y": 5}),
            ),
            (json!([{"op": "move", "from": "/a/list", "path": "/l"}]), json!({"a": {"b/c": 1}, "l": [1, 2], "x~y": 0})),
            (
                json!([{"op": "copy", "from": "/x~0y", "path": "/z"}]),
                json!({"a": {"b/c": 1, "list": [1, 2]}, "x~y": 0, "z": 0}),
            ),
            (json!([{"op": "test", "path": "/x~0y", "value": 0}, {"op": "remove", "path": "/a"}]), json!({"x~y": 0})),
        ] {
            assert_eq!(patched(&document, operations.clone()).unwrap(), wanted, "{operations}");
        }
    }

    #[test]
    fn an_operation_that_cannot_be_done_leaves_the_document_as_it_was() {
        let document = json!({"a": [1], "b": 1});
        for operations in [
            json!([{"op": "remove", "path": "/b"}, {"op": "replace", "path": "/c", "value": 1}]),
            json!([{"op": "remove", "path": "/b"}, {"op": "add", "path": "/a/7", "value": 1}]),
            json!([{"op": "remove", "path": "/b"}, {"op": "add", "path": "/a/01", "value": 1}]),
            json!([{"op": "remove", "path": "/b"}, {"op": "move", "from": "/a", "path": "/a/0"}]),
        ] {
            let error = patched(&document, operations.clone()).unwrap_err();
            assert!(matches!(error, PatchError::Impossible { number: 2, .. }), "{operations}: {error}");
        }
        let test = json!([{"op": "remove", "path": "/b"}, {"op": "test", "path": "/a/0", "value": 2}]);
        assert_eq!(patched(&document, test), Err(PatchError::NotMeant));
    }

    #[test]
    fn a_merge_patch_merges_maps_and_removes_what_is_null() {
        let mut document = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        merge(&mut document, &json!({"a": {"b": null, "c": [3]}, "e": {"f": 1, "g": null}}));
        assert_eq!(document, json!({"a": {"c": [3]}, "d": 1, "e": {"f": 1}}));
    }

    proptest! {
        #[test]
        fn an_addition_brings_what_is_wanted_and_takes_nothing_away(
            from in proptest::collection::btree_map("[a-d]", 0i64..4, 0..4),
            to in proptest::collection::btree_map("[a-d]", 0i64..4, 0..4),
        ) {
            let (before, wanted) = (json!({"spec": from}), json!({"spec": to}));
            let mut after = before.clone();
            if let Some(patch) = addition(&before, &wanted) {
                merge(&mut after, &patch);
            }
            for (name, value) in &to {
                prop_assert_eq!(&after["spec"][name], value);
            }
            for name in from.keys() {
                prop_assert!(after["spec"].get(name).is_some());
            }
            prop_assert_eq!(addition(&after, &wanted), None);
        }
    }
}
