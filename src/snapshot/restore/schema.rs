//! What the schema of a custom kind has against an object, for when the server cannot be asked yet.
//!
//! Types, required fields, enumerations and bounds are looked at. Patterns and rules in CEL are the server's.

use serde_json::Value;

/// Problems told of one object.
const PROBLEMS_MAX: usize = 10;

/// Everything that the schema has against the object.
pub(super) fn problems(schema: &Value, body: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    look(schema, body, &mut Vec::new(), &mut problems);
    problems.truncate(PROBLEMS_MAX);
    problems
}

fn look(schema: &Value, value: &Value, path: &mut Vec<String>, problems: &mut Vec<String>) {
    if problems.len() > PROBLEMS_MAX {
        return;
    }
    let shown = |path: &[String]| if path.is_empty() { "the object".to_owned() } else { path.join(".") };
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !fits(schema, value) {
        let wanted = schema["type"].as_str().unwrap_or("integer or string");
        problems.push(format!("{} is no {wanted}", shown(path)));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        problems.push(format!("{} is none of {}", shown(path), Value::from(allowed.clone())));
    }
    if let Some(number) = value.as_f64() {
        let beyond = schema["minimum"].as_f64().is_some_and(|least| number < least)
            || schema["maximum"].as_f64().is_some_and(|most| number > most);
        if beyond {
            problems.push(format!("{} is out of bounds", shown(path)));
        }
    }
    match value {
        Value::Object(map) => {
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !map.contains_key(required) {
                    problems.push(format!("{} has no {required}", shown(path)));
                }
            }
            for (name, value) in map {
                // Metadata is the server's own schema.
                if path.is_empty() && name == "metadata" {
                    continue;
                }
                let inner = schema["properties"]
                    .get(name)
                    .or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()));
                if let Some(inner) = inner {
                    path.push(name.clone());
                    look(inner, value, path, problems);
                    path.pop();
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (at, value) in list.iter().enumerate() {
                    path.push(at.to_string());
                    look(items, value, path, problems);
                    path.pop();
                }
            }
        }
        _ => {}
    }
}

fn fits(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_i64() || value.is_u64() || value.is_string();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("number") => value.is_number(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object",
            "required": ["size"], "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9},
                "mode": {"type": "string", "enum": ["a", "b"]},
                "port": {"x-kubernetes-int-or-string": true},
                "none": {"type": "string", "nullable": true},
                "list": {"type": "array", "items": {"type": "boolean"}},
                "more": {"type": "object", "additionalProperties": {"type": "string"}}}}}});
        let good = json!({"metadata": {"name": 3}, "spec": {"size": 3, "mode": "a", "port": "x", "none": null,
            "list": [true], "more": {"x": "y"}, "unknown": 1}});
        assert_eq!(problems(&schema, &good), Vec::<String>::new());
        let bad = json!({"spec": {"size": 10, "mode": "c", "port": true, "list": [true, 1], "more": {"x": 1}}});
        assert_eq!(
            problems(&schema, &bad),
            [
                "spec.list.1 is no boolean",
                "spec.mode is none of [\"a\",\"b\"]",
                "spec.more.x is no string",
                "spec.port is no integer or string",
                "spec.size is out of bounds",
            ]
        );
        assert_eq!(problems(&schema, &json!({})), ["the object has no spec"]);
        assert_eq!(problems(&schema, &json!({"spec": {}})), ["spec has no size"]);
        assert_eq!(problems(&schema, &json!([])), ["the object is no object"]);
    }
}
