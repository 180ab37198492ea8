//! The JSON schemas say what the code does: every scenario of the project is valid, every misspelt entry is not, and the
//! names that a schema knows are those that the reader knows.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use serde_json::{Value, json};
use std::path::Path;

/// A validator of what our schemas use: no more than it must be.
fn check(schema: &Value, root: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).ok_or("a broken $ref")?;
        return check(target, root, value, at);
    }
    if let Some(options) = schema["anyOf"].as_array() {
        let all: Vec<String> = options.iter().filter_map(|option| check(option, root, value, at).err()).collect();
        return if all.len() < options.len() { Ok(()) } else { Err(all.join(" and ")) };
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return Err(format!("{at}: {value} is not allowed"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_null(),
    };
    if !kinds.is_empty() && !kinds.iter().any(is) {
        return Err(format!("{at}: {value} is not {kinds:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => check(schema, root, inner, &format!("{at}.{name}"))?,
            None if schema["additionalProperties"] == json!(false) => return Err(format!("{at}: {name} is unknown")),
            None => {}
        }
    }
    for (number, inner) in value.as_array().into_iter().flatten().enumerate() {
        if schema.get("items").is_some() {
            check(&schema["items"], root, inner, &format!("{at}[{number}]"))?;
        }
    }
    Ok(())
}

fn valid(schema: &str, value: &Value) -> Result<(), String> {
    let schema: Value = serde_json::from_str(schema).unwrap();
    check(&schema, &schema, value, "")
}

fn scenarios() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        (path.display().to_string(), value)
    };
    std::fs::read_dir(folder).unwrap().map(read).collect()
}

#[test]
fn every_scenario_of_the_project_is_valid_and_a_misspelt_one_is_not() {
    for (path, scenario) in scenarios() {
        valid(davit::scenario::SCHEMA, &scenario).unwrap_or_else(|why| panic!("{path}: {why}"));
        for block in ["objectives", "target", "fault"] {
            let mut wrong = scenario.clone();
            wrong[block]["colour"] = json!("red");
            assert!(valid(davit::scenario::SCHEMA, &wrong).unwrap_err().contains("colour"), "{path}");
        }
    }
}

#[test]
fn every_scenario_of_the_project_names_a_fault_that_can_be_aimed_at_its_target() {
    let mut unknown = Vec::new();
    for (path, _) in scenarios() {
        let scenario = davit::scenario::load(Path::new(&path), &[]).unwrap();
        if let Err(error) = davit::drill::check(&scenario) {
            unknown.push(format!("{path}: {error}"));
        }
    }
    // A namespace that is deleted is restored by hand so far: the fault for it is not in the catalogue.
    assert_eq!(unknown.len(), 1, "{unknown:#?}");
    assert!(unknown[0].contains("namespace-delete"), "{unknown:#?}");
}
