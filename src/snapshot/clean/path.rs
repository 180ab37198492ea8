//! Paths into an object: read, set and remove what they point to.

use serde_json::{Map, Value};

/// One step: a field's name, or `*` for every element of a list or map.
pub type Step = &'static str;

/// Removes what `path` points to wherever `goes` says so; whether anything was removed. Lists keep no holes.
pub(super) fn remove(value: &mut Value, path: &[Step], goes: &dyn Fn(&Value) -> bool) -> bool {
    match (path, value) {
        (["*"], Value::Array(list)) => {
            let before = list.len();
            list.retain(|element| !goes(element));
            list.len() < before
        }
        ([last], Value::Object(map)) => map.get(*last).is_some_and(goes) && map.remove(*last).is_some(),
        (["*", rest @ ..], Value::Array(list)) => any_removed(list.iter_mut(), rest, goes),
        (["*", rest @ ..], Value::Object(map)) => any_removed(map.values_mut(), rest, goes),
        ([first, rest @ ..], Value::Object(map)) => map.get_mut(*first).is_some_and(|next| remove(next, rest, goes)),
        _ => false,
    }
}

/// Removes from every one of them; whether anything was removed.
fn any_removed<'a>(values: impl Iterator<Item = &'a mut Value>, path: &[Step], goes: &dyn Fn(&Value) -> bool) -> bool {
    let mut took = false;
    for value in values {
        took |= remove(value, path, goes);
    }
    took
}

/// What a path without `*` points to.
pub(super) fn get<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| value.get(*step))
}

/// Sets what a path without `*` points to; maps on the way are made.
pub fn set(value: &mut Value, path: &[Step], new: Value) {
    let Some((last, way)) = path.split_last() else { return };
    let mut here = value;
    for step in way {
        if !here.get(*step).is_some_and(Value::is_object) {
            let Some(map) = here.as_object_mut() else { return };
            map.insert((*step).to_owned(), Value::Object(Map::new()));
        }
        let Some(next) = here.get_mut(*step) else { return };
        here = next;
    }
    if let Some(map) = here.as_object_mut() {
        map.insert((*last).to_owned(), new);
    }
}

/// Adds to the map at `path` what the other object's map has besides.
pub(super) fn overlay(value: &mut Value, other: &Value, path: &[Step]) {
    let Some(Value::Object(more)) = get(other, path) else { return };
    let mut merged = get(value, path).and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, element) in more {
        merged.entry(key.clone()).or_insert_with(|| element.clone());
    }
    set(value, path, Value::Object(merged));
}
