//! What the API says about the values of a kind: which lists are matched by a key, and which values are amounts.

use super::super::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeSet;

/// Where knowledge about values comes from.
#[derive(Debug, Clone, Copy, Default)]
pub enum Shape<'a> {
    /// A kind of Kubernetes itself: the tables below.
    BuiltIn,
    /// A custom kind: its schema.
    Schema(&'a Value),
    /// Nothing is known: lists are compared in their order, values as they are written.
    #[default]
    Unknown,
}

/// How the elements of two lists find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// By their place.
    Place,
    /// By the values of these fields.
    Keys(Vec<String>),
    /// Their order says nothing.
    Set,
}

/// Lists of built-in kinds and the fields that tell their elements apart (`x-kubernetes-list-map-keys` of the API).
const KEYS: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("imagePullSecrets", &["name"]),
    ("secrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("resourceClaims", &["name"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("webhooks", &["name"]),
    ("conditions", &["type"]),
];

/// Maps whose values are amounts.
const AMOUNTS: &[&str] = &[
    "limits",
    "requests",
    "hard",
    "used",
    "capacity",
    "allocatable",
    "allocatedResources",
    "overhead",
    "podFixed",
    "default",
    "defaultRequest",
    "max",
    "min",
    "maxLimitRequestRatio",
];

/// Fields that are amounts.
const AMOUNT_FIELDS: &[&str] = &["sizeLimit", "divisor", "averageValue", "value"];

/// Maps whose values are text and nothing else.
const TEXTS: &[&str] = &["labels", "annotations", "matchLabels", "nodeSelector", "data", "stringData", "parameters"];

impl<'a> Shape<'a> {
    /// The shape of a kind that is known by its group and, for custom kinds, its schema.
    pub fn of(group: &str, schema: Option<&'a Value>) -> Self {
        const GROUPS: [&str; 9] = [
            "rbac.authorization.k8s.io",
            "networking.k8s.io",
            "storage.k8s.io",
            "discovery.k8s.io",
            "scheduling.k8s.io",
            "node.k8s.io",
            "admissionregistration.k8s.io",
            "apiextensions.k8s.io",
            "coordination.k8s.io",
        ];
        match schema {
            Some(schema) => Self::Schema(schema),
            None if !group.contains('.') || GROUPS.contains(&group) => Self::BuiltIn,
            None => Self::Unknown,
        }
    }

    /// The shape of a field.
    pub(super) fn field(self, way: &[&str], name: &str) -> Self {
        match self {
            // Metadata is the same for every kind.
            _ if way.is_empty() && name == "metadata" => Shape::BuiltIn,
            Self::Schema(schema) => {
                let own = schema.get("properties").and_then(|properties| properties.get(name));
                own.or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()))
                    .map_or(Shape::Unknown, Shape::Schema)
            }
            known => known,
        }
    }

    /// The shape of a list's element.
    pub(super) fn element(self) -> Self {
        match self {
            Self::Schema(schema) => schema.get("items").map_or(Shape::Unknown, Shape::Schema),
            known => known,
        }
    }

    /// How the elements of two lists that lie at `way` find each other.
    pub(super) fn matching(self, way: &[&str], left: &[Value], right: &[Value]) -> Match {
        let wanted = match self {
            Self::BuiltIn => built_in(way, left, right),
            Self::Schema(schema) => from_schema(schema),
            Self::Unknown => Match::Place,
        };
        match wanted {
            Match::Keys(keys) if !(are_unique(&keys, left) && are_unique(&keys, right)) => Match::Place,
            wanted => wanted,
        }
    }

    /// Whether two values that lie at `way` mean the same.
    pub(super) fn same(self, way: &[&str], left: &Value, right: &Value) -> bool {
        if left == right {
            return true;
        }
        if let (Value::Number(left), Value::Number(right)) = (left, right) {
            return left.as_f64() == right.as_f64();
        }
        let (amount, either) = match self {
            Self::Unknown => (false, false),
            Self::BuiltIn => {
                let plain = way.iter().any(|field| TEXTS.contains(field));
                (!plain && is_amount(way), !plain && way.first() == Some(&"spec"))
            }
            Self::Schema(schema) => {
                let either = schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
                // Amounts in a generated schema are the int-or-string with a pattern.
                (either && schema.get("pattern").is_some(), either)
            }
        };
        let (Some(left), Some(right)) = (scalar(left), scalar(right)) else { return false };
        (either && left == right)
            || (amount && Quantity::parse(&left).is_some() && Quantity::parse(&left) == Quantity::parse(&right))
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_amount(way: &[&str]) -> bool {
    match way {
        [.., parent, _] if AMOUNTS.contains(parent) => true,
        [.., field] => AMOUNT_FIELDS.contains(field),
        [] => false,
    }
}

fn built_in(way: &[&str], left: &[Value], right: &[Value]) -> Match {
    let Some(field) = way.last() else { return Match::Place };
    let keys = |keys: &[&str]| Match::Keys(keys.iter().map(|key| (*key).to_owned()).collect());
    match *field {
        "finalizers" => Match::Set,
        "ports" => {
            let all = |field| left.iter().chain(right).all(|port| port.get(field).is_some());
            if all("containerPort") {
                keys(&["containerPort", "protocol"])
            } else if all("port") && way.len() == 2 {
                keys(&["port", "protocol"])
            } else {
                Match::Place
            }
        }
        field => KEYS.iter().find(|(name, _)| *name == field).map_or(Match::Place, |(_, names)| keys(names)),
    }
}

fn from_schema(schema: &Value) -> Match {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Match::Set,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let keys: Vec<String> =
                keys.into_iter().flatten().filter_map(|key| key.as_str().map(str::to_owned)).collect();
            if keys.is_empty() { Match::Place } else { Match::Keys(keys) }
        }
        _ => Match::Place,
    }
}

/// The key of an element as it is shown; `None` if the first field of the key is missing.
pub(super) fn key_of(keys: &[String], element: &Value) -> Option<String> {
    element.get(keys.first()?)?;
    let shown = keys.iter().filter_map(|key| Some(format!("{key}={}", scalar(element.get(key)?)?)));
    Some(shown.collect::<Vec<_>>().join(","))
}

fn are_unique(keys: &[String], list: &[Value]) -> bool {
    let mut seen = BTreeSet::new();
    list.iter().all(|element| key_of(keys, element).is_some_and(|key| seen.insert(key)))
}
