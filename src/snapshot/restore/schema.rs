//! What the schema of a kind has against an object, for when the server cannot be asked yet: that of its definition, or
//! that of the server's `OpenAPI` document for built-in kinds.
//!
//! Types, required fields, enumerations and bounds are looked at. Patterns and rules in CEL are the server's.

use crate::cluster::Kind;
use serde_json::Value;

/// Problems told of one object.
const PROBLEMS_MAX: usize = 10;

/// Everything that the schema has against the object.
pub(super) fn problems(schema: &Value, body: &Value) -> Vec<String> {
    problems_in(&Value::Null, schema, body)
}

/// The same with a schema that refers to others of its document.
pub(super) fn problems_in(document: &Value, schema: &Value, body: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    look(document, schema, body, &mut Vec::new(), &mut problems);
    problems.truncate(PROBLEMS_MAX);
    problems
}

/// The schema of a kind in an `OpenAPI` document.
pub(super) fn of_kind<'a>(document: &'a Value, kind: &Kind) -> Option<&'a Value> {
    let wanted =
        |one: &Value| one["group"] == *kind.group && one["version"] == *kind.version && one["kind"] == *kind.kind;
    let means = |schema: &&Value| {
        schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.iter().any(wanted))
    };
    document.pointer("/components/schemas")?.as_object()?.values().find(means)
}

/// Follows a schema to the one it stands for. `allOf` with one part is how a default is put beside a reference.
fn resolved<'a>(document: &'a Value, mut schema: &'a Value) -> &'a Value {
    // A document may refer in circles.
    for _ in 0..8 {
        if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
            schema = only;
        }
        let name = schema["$ref"].as_str().and_then(|text| text.strip_prefix("#/components/schemas/"));
        match name.and_then(|name| document.pointer("/components/schemas")?.get(name)) {
            Some(found) => schema = found,
            None => return schema,
        }
    }
    schema
}

fn look(document: &Value, schema: &Value, value: &Value, path: &mut Vec<String>, problems: &mut Vec<String>) {
    if problems.len() > PROBLEMS_MAX {
        return;
    }
    let schema = resolved(document, schema);
    let shown = |path: &[String]| if path.is_empty() { "the object".to_owned() } else { path.join(".") };
    // In a built-in kind `null` is as good as nothing.
    if value.is_null() && (schema["nullable"] == true || !document.is_null()) {
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
                // Metadata is the server's own schema; a status is not what is sent.
                if path.is_empty() && (name == "metadata" || name == "status") {
                    continue;
                }
                let inner = schema["properties"]
                    .get(name)
                    .or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()));
                if let Some(inner) = inner {
                    path.push(name.clone());
                    look(document, inner, value, path, problems);
                    path.pop();
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (at, value) in list.iter().enumerate() {
                    path.push(at.to_string());
                    look(document, items, value, path, problems);
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
    if let Some(one_of) = schema["oneOf"].as_array() {
        return one_of.iter().any(|one| fits(one, value));
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
    fn a_built_in_kind_is_held_against_the_document_of_the_server() {
        let document = json!({"components": {"schemas": {
            "io.k8s.api.apps.v1.Deployment": {
                "type": "object",
                "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Deployment"}],
                "properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/Spec"}], "default": {}}}},
            "Spec": {"type": "object", "required": ["selector"], "properties": {
                "replicas": {"type": "integer"},
                "surge": {"allOf": [{"$ref": "#/components/schemas/IntOrString"}]},
                "circle": {"$ref": "#/components/schemas/Circle"}}},
            "IntOrString": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
            "Circle": {"$ref": "#/components/schemas/Circle"}}}});
        let mut kind = Kind::namespaces();
        (kind.group, kind.kind) = ("apps".to_owned(), "Deployment".to_owned());
        let schema = of_kind(&document, &kind).unwrap();
        let good = json!({"spec": {"selector": {}, "replicas": 2, "surge": "25%", "circle": 1}});
        assert_eq!(problems_in(&document, schema, &good), Vec::<String>::new());
        let bad = json!({"spec": {"replicas": "two", "surge": true}});
        let wanted = ["spec has no selector", "spec.replicas is no integer", "spec.surge is no integer or string"];
        assert_eq!(problems_in(&document, schema, &bad), wanted);
        kind.kind = "Other".to_owned();
        assert!(of_kind(&document, &kind).is_none());
    }

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
