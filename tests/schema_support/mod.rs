//! Whether a document is what a JSON schema of ours says, for the words of JSON Schema that our schemas use. A word that is
//! not known here stops the test: nothing is taken for checked that was not.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use serde_json::{Value, json};
use std::path::Path;

/// What is looked at below, and what only explains.
const KNOWN: [&str; 19] = [
    "$ref",
    "anyOf",
    "enum",
    "const",
    "type",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "maximum",
    "pattern",
    "$schema",
    "$defs",
    "title",
    "description",
];

/// A schema of `docs/report-schema`, by its name.
pub fn schema(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report-schema");
    let text = std::fs::read_to_string(folder.join(format!("{name}.schema.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What is wrong with a document; nothing where it is valid.
pub fn problems(name: &str, document: &Value) -> Vec<String> {
    let schema = schema(name);
    let mut problems = Vec::new();
    check(&schema, &schema, document, "", &mut problems);
    problems
}

/// Stops the test where a document is not valid.
pub fn must_be(name: &str, document: &Value) {
    let problems = problems(name, document);
    assert!(problems.is_empty(), "no valid {name}: {problems:#?}\n{document:#}");
}

/// Words of a schema that nobody here understands.
pub fn strange(schema: &Value) -> Vec<String> {
    let mut strange = Vec::new();
    for (word, inner) in schema.as_object().into_iter().flatten() {
        match word.as_str() {
            "properties" | "$defs" => strange.extend(inner.as_object().unwrap().values().flat_map(self::strange)),
            "items" => strange.extend(self::strange(inner)),
            "additionalProperties" if inner.is_object() => strange.extend(self::strange(inner)),
            "anyOf" => strange.extend(inner.as_array().unwrap().iter().flat_map(self::strange)),
            known if KNOWN.contains(&known) => {}
            other => strange.push(other.to_owned()),
        }
    }
    strange
}

/// The bound that a value does not keep to, if there is one.
fn out_of_bounds(schema: &Value, value: &Value) -> Option<String> {
    let sizes = [
        ("minItems", value.as_array().map(Vec::len)),
        ("minLength", value.as_str().map(|text| text.chars().count())),
        ("minProperties", value.as_object().map(serde_json::Map::len)),
    ];
    let small = sizes
        .into_iter()
        .find(|(word, size)| schema[word].as_u64().zip(*size).is_some_and(|(least, size)| (size as u64) < least));
    let number = value.as_f64();
    let low = schema["minimum"].as_f64().zip(number).is_some_and(|(least, number)| number < least);
    let high = schema["maximum"].as_f64().zip(number).is_some_and(|(most, number)| number > most);
    let word = small.map(|(word, _)| word).or(low.then_some("minimum")).or(high.then_some("maximum"))?;
    Some(format!("{word} {}", schema[word]))
}

fn check(schema: &Value, root: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    let unknown = schema.as_object().into_iter().flatten().find(|(word, _)| !KNOWN.contains(&word.as_str()));
    assert!(unknown.is_none(), "{at}: {unknown:?} is not understood here");
    if let Some(reference) = schema["$ref"].as_str() {
        let target =
            root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} is nowhere"));
        check(target, root, value, at, problems);
    }
    if let Some(options) = schema["anyOf"].as_array() {
        let all: Vec<Vec<String>> = options
            .iter()
            .map(|option| {
                let mut found = Vec::new();
                check(option, root, value, at, &mut found);
                found
            })
            .collect();
        if all.iter().all(|found| !found.is_empty()) {
            problems.extend(all.into_iter().flatten());
        }
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        problems.push(format!("{at}: {value} is not allowed"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        problems.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    problems.extend(out_of_bounds(schema, value).map(|bound| format!("{at}: {value} is out of {bound}")));
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !fits(pattern, text)
    {
        problems.push(format!("{at}: {text:?} does not fit {pattern}"));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind, value)) {
        problems.push(format!("{at}: {value} is not {kinds:?}"));
        return;
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            problems.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => check(schema, root, inner, &at, problems),
            (None, closed) if *closed == json!(false) => problems.push(format!("{at} is unknown")),
            (None, others) if others.is_object() => check(others, root, inner, &at, problems),
            (None, _) => {}
        }
    }
    for (number, inner) in value.as_array().into_iter().flatten().enumerate() {
        if schema.get("items").is_some() {
            check(&schema["items"], root, inner, &format!("{at}[{number}]"), problems);
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other} is no type of JSON"),
    }
}

/// The few patterns that our schemas have.
fn fits(pattern: &str, text: &str) -> bool {
    let number_then = |number: fn(char) -> bool, ends: &dyn Fn(&str) -> bool| {
        let rest = text.trim_start_matches(number);
        rest.len() < text.len() && ends(rest.strip_prefix(' ').unwrap_or(rest))
    };
    let digit = |c: char| c.is_ascii_digit();
    let decimal = |c: char| c.is_ascii_digit() || c == '.';
    let word = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase());
    match pattern {
        "^[0-9]+ ?[a-z]+$" => number_then(digit, &word),
        "^[0-9]+ ?[A-Za-z]+$" => number_then(digit, &|rest| word(&rest.to_ascii_lowercase())),
        "^([0-9]+ ?[a-z]+|none)$" => text == "none" || number_then(digit, &word),
        "^[0-9.]+ ?%$" => number_then(decimal, &|rest| rest == "%"),
        "^[0-9.]+ ?/s$" => number_then(decimal, &|rest| rest == "/s"),
        other => panic!("the pattern {other} is not understood here"),
    }
}
