//! What a live object becomes when a snapshot is merged into it.

use super::shape::{self, Match, Shape};
use serde_json::{Map, Value};

/// `live` with everything that `wanted` says; what only the live object has stays. Lists with a merge key are merged
/// element by element, all others are replaced.
pub fn merged(shape: Shape<'_>, live: &Value, wanted: &Value) -> Value {
    values(shape, &mut Vec::new(), live, wanted)
}

fn values(shape: Shape<'_>, way: &mut Vec<String>, live: &Value, wanted: &Value) -> Value {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => Value::Object(maps(shape, way, live, wanted)),
        (Value::Array(live), Value::Array(wanted)) => Value::Array(lists(shape, way, live, wanted)),
        // A value that means the same stays as it is written: it is no change.
        (live, wanted) if shape.same(&fields(way), live, wanted) => live.clone(),
        (_, wanted) => wanted.clone(),
    }
}

fn fields(way: &[String]) -> Vec<&str> {
    way.iter().map(String::as_str).collect()
}

fn maps(
    shape: Shape<'_>,
    way: &mut Vec<String>,
    live: &Map<String, Value>,
    wanted: &Map<String, Value>,
) -> Map<String, Value> {
    let mut all = live.clone();
    for (name, value) in wanted.iter().filter(|(_, value)| !value.is_null()) {
        let inner = shape.field(&fields(way), name);
        let merged = match live.get(name) {
            Some(there) => {
                way.push(name.clone());
                let merged = values(inner, way, there, value);
                way.pop();
                merged
            }
            None => value.clone(),
        };
        all.insert(name.clone(), merged);
    }
    all
}

fn lists(shape: Shape<'_>, way: &mut Vec<String>, live: &[Value], wanted: &[Value]) -> Vec<Value> {
    match shape.matching(&fields(way), live, wanted) {
        Match::Place => wanted.to_vec(),
        Match::Set => live.iter().chain(wanted.iter().filter(|value| !live.contains(value))).cloned().collect(),
        Match::Keys(keys) => {
            let key = |value: &Value| shape::key_of(&keys, value).unwrap_or_default();
            let with = |there: &Value| wanted.iter().find(|value| key(value) == key(there));
            let mut all: Vec<Value> = live
                .iter()
                .map(|there| match with(there) {
                    Some(value) => values(shape.element(), way, there, value),
                    None => there.clone(),
                })
                .collect();
            all.extend(wanted.iter().filter(|value| !live.iter().any(|there| key(there) == key(value))).cloned());
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_only_the_live_object_has_stays_and_everything_wanted_is_there() {
        let live = json!({"metadata": {"labels": {"a": "1", "live": "x"}, "finalizers": ["f"]}, "spec": {"replicas": 5,
            "template": {"spec": {"containers": [{"name": "side", "image": "s:1"}, {"name": "web", "image": "w:1",
                "env": [{"name": "A", "value": "1"}], "resources": {"limits": {"cpu": "1000m"}}}], "args": ["a", "b"]}}}});
        let wanted = json!({"metadata": {"labels": {"a": "2"}, "finalizers": ["g"]}, "spec": {"replicas": 3,
            "template": {"spec": {"containers": [{"name": "web", "image": "w:2",
                "env": [{"name": "B", "value": "2"}], "resources": {"limits": {"cpu": "1"}}}], "args": ["c"]}}}});
        assert_eq!(
            merged(Shape::BuiltIn, &live, &wanted),
            json!({"metadata": {"labels": {"a": "2", "live": "x"}, "finalizers": ["f", "g"]}, "spec": {"replicas": 3,
                "template": {"spec": {"containers": [{"name": "side", "image": "s:1"}, {"name": "web", "image": "w:2",
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "resources": {"limits": {"cpu": "1000m"}}}], "args": ["c"]}}}})
        );
    }
}
