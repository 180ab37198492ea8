//! Admission webhooks that refuse because nobody answers: the restore's creates would fail one by one.

use super::super::object::{self, Place};
use super::{Line, Live};
use crate::cluster::Kind;
use serde_json::Value;
use std::collections::BTreeMap;

/// A webhook that fails closed and has nobody behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadWebhook {
    /// Name of its configuration and its own.
    pub name: String,
    /// Why nobody answers.
    pub why: String,
    rules: Vec<Value>,
    namespaces: Value,
}

/// Finds the dead webhooks among configurations. `ready` says whether a service (namespace and name) has an endpoint
/// that is ready; a webhook with a URL is not judged.
pub fn dead_webhooks(configurations: &[Value], ready: impl Fn(&str, &str) -> bool) -> Vec<DeadWebhook> {
    let mut dead = Vec::new();
    for configuration in configurations {
        let webhooks = configuration.get("webhooks").and_then(Value::as_array);
        for webhook in webhooks.into_iter().flatten() {
            // Fail is the default of admissionregistration.k8s.io/v1.
            let policy = webhook.get("failurePolicy").and_then(Value::as_str).unwrap_or("Fail");
            let service = webhook.pointer("/clientConfig/service");
            let text = |field: &str| service.and_then(|service| service.get(field)?.as_str()).unwrap_or_default();
            if policy != "Fail" || service.is_none() || ready(text("namespace"), text("name")) {
                continue;
            }
            let own = webhook.get("name").and_then(Value::as_str).unwrap_or_default();
            dead.push(DeadWebhook {
                name: format!("{own} of {}", object::name(configuration)),
                why: format!("its service {} in {} has no endpoint that is ready", text("name"), text("namespace")),
                rules: webhook.get("rules").and_then(Value::as_array).cloned().unwrap_or_default(),
                namespaces: webhook.get("namespaceSelector").cloned().unwrap_or_default(),
            });
        }
    }
    dead
}

impl DeadWebhook {
    /// Whether it would be asked about a line.
    fn is_asked(&self, line: &Line, labels: &BTreeMap<String, String>) -> bool {
        let namespaced = line.place.namespace.is_some();
        let operation = if namespaced || line.live.is_none() { "CREATE" } else { "UPDATE" };
        let kind = [&line.kind.group, &line.kind.version, &line.kind.resource].map(String::as_str);
        let rule = self.rules.iter().any(|rule| {
            (lists(rule, "operations", operation) || lists(rule, "operations", "UPDATE") && line.live.is_some())
                && means(rule, kind, namespaced)
        });
        rule && (!namespaced || selects(&self.namespaces, labels))
    }

    /// Whether it refuses to let objects of this kind into the namespace with this name and body.
    pub fn keeps_out(&self, kind: &Kind, (name, namespace): (&str, &Value)) -> bool {
        let named = [&kind.group, &kind.version, &kind.resource].map(String::as_str);
        let asked = |rule: &Value| lists(rule, "operations", "CREATE") && means(rule, named, kind.namespaced);
        self.rules.iter().any(asked) && selects(&self.namespaces, &labels_of(name, namespace))
    }
}

fn lists(rule: &Value, field: &str, wanted: &str) -> bool {
    let values = rule.get(field).and_then(Value::as_array);
    values.is_some_and(|values| values.iter().any(|value| value == wanted || value == "*"))
}

/// The server reads `pods/*` and `*/*` as the objects themselves with all their parts.
fn lists_resource(rule: &Value, wanted: &str) -> bool {
    let values = rule.get("resources").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut whole = values.map(|value| value.strip_suffix("/*").unwrap_or(value));
    whole.any(|value| value == wanted || value == "*")
}

/// Whether a rule means a kind, by group, version and plural.
fn means(rule: &Value, [group, version, resource]: [&str; 3], namespaced: bool) -> bool {
    let scope = if namespaced { "Namespaced" } else { "Cluster" };
    let scoped = rule.get("scope").and_then(Value::as_str).unwrap_or("*");
    lists(rule, "apiGroups", group)
        && lists(rule, "apiVersions", version)
        && lists_resource(rule, resource)
        && (scoped == "*" || scoped == scope)
}

fn labels_of(name: &str, namespace: &Value) -> BTreeMap<String, String> {
    let found = object::metadata(namespace).and_then(|metadata| metadata.get("labels")?.as_object());
    let found = found.into_iter().flatten();
    let mut all: BTreeMap<String, String> =
        found.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    // The server puts this label on every namespace.
    all.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    all
}

/// Whether a label selector means something with these labels.
pub(in crate::snapshot) fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    exact.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(&text(value)))
        && expressions.into_iter().flatten().all(|expression| {
            let label = labels.get(&text(&expression["key"]));
            let values = expression.get("values").and_then(Value::as_array);
            let among = || {
                label.is_some_and(|label| {
                    values.is_some_and(|values| values.iter().any(|value| value == label.as_str()))
                })
            };
            match expression["operator"].as_str() {
                Some("In") => among(),
                Some("NotIn") => !among(),
                Some("Exists") => label.is_some(),
                Some("DoesNotExist") => label.is_none(),
                _ => true,
            }
        })
}

/// One warning for each dead webhook that would be asked.
pub(super) fn warn(lines: &[Line], live: &Live) -> Vec<String> {
    let mut labels: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let in_snapshot = lines.iter().filter(|line| line.place.group_resource == "namespaces");
    for (name, body) in in_snapshot.map(|line| (line.place.name.as_str(), &line.body)).chain(
        live.objects.iter().filter(|(place, _)| is_namespace(place)).map(|(place, body)| (place.name.as_str(), body)),
    ) {
        labels.insert(name, labels_of(name, &body.open()));
    }
    let mut warnings = Vec::new();
    for webhook in &live.webhooks {
        let none = BTreeMap::new();
        let asked = lines.iter().filter(|line| line.action.acts()).filter(|line| {
            let namespace = line.place.namespace.as_deref().unwrap_or_default();
            webhook.is_asked(line, labels.get(namespace).unwrap_or(&none))
        });
        let count = asked.count();
        if count > 0 {
            warnings.push(format!("the webhook {} will refuse {count} of the objects: {}", webhook.name, webhook.why));
        }
    }
    warnings
}

fn is_namespace(place: &Place) -> bool {
    place.group_resource == "namespaces"
}
