//! Cluster-scoped objects that the namespace leans on: found by what its objects refer to, saved and marked.

use super::fill::Fill;
use super::kinds::{self, Of, Outcome, Rule};
use crate::cluster::Kind;
use crate::error::Result;
use crate::snapshot::pack::Entry;
use futures_util::future::try_join_all;
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Fields that name a cluster-scoped object: the field, the only kind it counts in, what it names.
const FIELDS: [(&str, Option<&str>, &str); 8] = [
    ("\"volumeName\"", Some("persistentvolumeclaims"), VOLUMES),
    ("\"storageClassName\"", None, CLASSES),
    ("\"priorityClassName\"", None, "priorityclasses.scheduling.k8s.io"),
    ("\"runtimeClassName\"", None, "runtimeclasses.node.k8s.io"),
    ("\"ingressClassName\"", None, "ingressclasses.networking.k8s.io"),
    ("\"kubernetes.io/ingress.class\"", None, "ingressclasses.networking.k8s.io"),
    ("\"volumeSnapshotClassName\"", None, "volumesnapshotclasses.snapshot.storage.k8s.io"),
    ("\"boundVolumeSnapshotContentName\"", None, "volumesnapshotcontents.snapshot.storage.k8s.io"),
];
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";
const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
const ROLE_BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
const WEBHOOKS: [&str; 2] = [
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];

/// The cluster-scoped kinds that are looked at for what a namespace leans on.
pub(super) fn looked_at() -> BTreeSet<&'static str> {
    let fields = FIELDS.iter().map(|(_, _, target)| *target);
    fields.chain([ROLES, BINDINGS, DEFINITIONS]).chain(WEBHOOKS).collect()
}

/// What objects refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Names of cluster-scoped objects, by kind.
    names: BTreeMap<&'static str, BTreeSet<String>>,
    /// Custom kinds, as group and kind.
    custom: BTreeSet<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

impl References {
    /// Notes what one object refers to. It looks for the fields in the text: names are plain there, and most objects
    /// have none of them.
    pub(super) fn scan(&mut self, kind: &Kind, object: &[u8], custom_groups: &BTreeSet<String>) {
        for (field, only, target) in FIELDS {
            if only.is_some_and(|only| only != kind.group_resource()) {
                continue;
            }
            for at in memmem::find_iter(object, field.as_bytes()) {
                if let Some(name) = string_after(&object[at + field.len()..]).filter(|name| !name.is_empty()) {
                    self.names.entry(target).or_default().insert(name.to_owned());
                }
            }
        }
        if [ROLE_BINDINGS, BINDINGS].contains(&kind.group_resource().as_str()) {
            self.note_role(object);
        }
        self.scan_custom(kind, object, custom_groups);
    }

    fn note_role(&mut self, object: &[u8]) {
        let Ok(binding) = serde_json::from_slice::<Binding>(object) else { return };
        if binding.role_ref.kind == "ClusterRole" {
            self.names.entry(ROLES).or_default().insert(binding.role_ref.name);
        }
    }

    /// Custom kinds that are named by `apiVersion` (or, without a version, `apiGroup` or `group`) and `kind`: owners, scale
    /// targets, backends, data sources, references of other operators.
    fn scan_custom(&mut self, kind: &Kind, object: &[u8], custom_groups: &BTreeSet<String>) {
        let foreign = ["\"apiVersion\"", "\"apiGroup\"", "\"group\""].iter().any(|field| {
            memmem::find_iter(object, field).any(|at| {
                let group = string_after(&object[at + field.len()..]).map(group_of);
                group.is_some_and(|group| group != kind.group && custom_groups.contains(group))
            })
        });
        if foreign && let Ok(value) = serde_json::from_slice::<Value>(object) {
            self.walk(&value, custom_groups);
        }
    }

    fn walk(&mut self, value: &Value, custom_groups: &BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str);
                let groups = ["apiVersion", "apiGroup", "group"].into_iter().filter_map(text).map(group_of);
                if let (Some(group), Some(kind)) =
                    (groups.into_iter().find(|group| custom_groups.contains(*group)), text("kind"))
                {
                    self.custom.insert((group.to_owned(), kind.to_owned()));
                }
                fields.values().for_each(|field| self.walk(field, custom_groups));
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, custom_groups)),
            _ => {}
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (kind, names) in other.names {
            self.names.entry(kind).or_default().extend(names);
        }
        self.custom.extend(other.custom);
    }

    fn names(&self, kind: &str) -> BTreeSet<String> {
        self.names.get(kind).cloned().unwrap_or_default()
    }
}

/// The group of `group/version`, and of a group alone.
fn group_of(text: &str) -> &str {
    text.split_once('/').map_or(text, |(group, _)| group)
}

/// The string value that follows a field's name.
fn string_after(text: &[u8]) -> Option<&str> {
    let rest = text.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Saves what the namespace leans on.
pub(super) async fn take(
    fill: &Fill<'_>,
    mut found: References,
    present: &BTreeSet<String>,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Outcome>> {
    let definitions = definitions(fill, &found, present);
    found.names.entry(DEFINITIONS).or_default().extend(definitions);
    let namespace = &fill.plan.request.namespace;
    let binds = |_: &Entry, object: &[u8]| binds_namespace(object, namespace);
    let selects = |_: &Entry, object: &[u8]| selects_namespace(object, labels);
    let by_name: Vec<&str> = found.names.keys().copied().filter(|kind| *kind != CLASSES && *kind != ROLES).collect();
    let first = async { try_join_all(by_name.iter().map(|kind| named(fill, kind, found.names(kind)))).await };
    let rules = async {
        let rules: [(&str, Rule<'_>); 3] = [(BINDINGS, &binds), (WEBHOOKS[0], &selects), (WEBHOOKS[1], &selects)];
        try_join_all(rules.iter().map(|(kind, rule)| by_rule(fill, kind, *rule))).await
    };
    let (first, rules) = futures_util::try_join!(first, rules)?;
    let mut outcomes: Vec<Outcome> = first.into_iter().chain(rules).flatten().collect();
    for outcome in &mut outcomes {
        found.merge(std::mem::take(&mut outcome.references));
    }
    // What the volumes and the bindings name in their turn.
    for kind in [CLASSES, ROLES] {
        outcomes.extend(named(fill, kind, found.names(kind)).await?);
    }
    Ok(outcomes)
}

/// Names of the definitions of custom kinds that are in the namespace or are referred to.
fn definitions(fill: &Fill<'_>, found: &References, present: &BTreeSet<String>) -> BTreeSet<String> {
    let plan = fill.plan;
    let all = plan.kinds.iter().chain(&plan.cluster_kinds).filter(|kind| kind.custom);
    let wanted = all.filter(|kind| {
        present.contains(&kind.group_resource()) || found.custom.contains(&(kind.group.clone(), kind.kind.clone()))
    });
    wanted.map(Kind::group_resource).collect()
}

async fn named(fill: &Fill<'_>, kind: &str, names: BTreeSet<String>) -> Result<Option<Outcome>> {
    let kind = fill.plan.cluster_kinds.iter().find(|known| known.group_resource() == kind);
    let Some(kind) = kind.filter(|_| !names.is_empty()) else { return Ok(None) };
    let missing = std::sync::Mutex::new(names.clone());
    let wanted = |entry: &Entry, _: &[u8]| {
        missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&entry.name);
        names.contains(&entry.name)
    };
    let mut outcome = kinds::take(fill, kind, Of::Related(&wanted)).await?;
    let missing = missing.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !missing.is_empty() && outcome.coverage.error.is_none() {
        let names = missing.into_iter().collect::<Vec<_>>().join(", ");
        outcome.coverage.note = Some(format!("referred to, and not there: {names}"));
    }
    Ok(Some(outcome))
}

async fn by_rule(fill: &Fill<'_>, kind: &str, rule: Rule<'_>) -> Result<Option<Outcome>> {
    match fill.plan.cluster_kinds.iter().find(|known| known.group_resource() == kind) {
        Some(kind) => kinds::take(fill, kind, Of::Related(rule)).await.map(Some),
        None => Ok(None),
    }
}

/// Whether a binding names an account of the namespace, or all of them.
fn binds_namespace(object: &[u8], namespace: &str) -> bool {
    let Ok(binding) = serde_json::from_slice::<Binding>(object) else { return false };
    binding.subjects.unwrap_or_default().iter().any(|subject| match subject.kind.as_str() {
        "ServiceAccount" => subject.namespace.as_deref() == Some(namespace),
        "Group" => subject.name == format!("system:serviceaccounts:{namespace}"),
        "User" => subject.name.starts_with(&format!("system:serviceaccount:{namespace}:")),
        _ => false,
    })
}

#[derive(Deserialize)]
struct Webhooks {
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    #[serde(default)]
    namespace_selector: Option<Selector>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

/// Whether a webhook is called for objects of the namespace.
fn selects_namespace(object: &[u8], labels: &BTreeMap<String, String>) -> bool {
    let Ok(configuration) = serde_json::from_slice::<Webhooks>(object) else { return false };
    let mut hooks = configuration.webhooks.into_iter();
    hooks.any(|webhook| matches(&webhook.namespace_selector.unwrap_or_default(), labels))
}

fn matches(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    let holds = |expression: &Expression| {
        let value = labels.get(&expression.key);
        match expression.operator.as_str() {
            "In" => value.is_some_and(|value| expression.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !expression.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => true,
        }
    };
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, resource: &str) -> Kind {
        let mut kind = Kind::namespaces();
        (kind.group, kind.resource) = (group.to_owned(), resource.to_owned());
        kind
    }

    fn scanned(group: &str, resource: &str, object: &str) -> References {
        let mut references = References::default();
        references.scan(&kind(group, resource), object.as_bytes(), &BTreeSet::from(["acme.io".to_owned()]));
        references
    }

    #[test]
    fn an_object_tells_what_it_leans_on_and_managed_fields_do_not() {
        let claim = r#"{"spec":{"storageClassName":"fast","volumeName":"pv-1"},"metadata":{"managedFields":[{"fieldsV1":{"f:spec":{"f:storageClassName":{}}}}]}}"#;
        let found = scanned("", "persistentvolumeclaims", claim);
        assert_eq!(found.names(VOLUMES), BTreeSet::from(["pv-1".to_owned()]));
        assert_eq!(found.names(CLASSES), BTreeSet::from(["fast".to_owned()]));
        let pod = r#"{"spec":{"priorityClassName" : "high","volumes":[{"volumeName":"no"}]}}"#;
        let found = scanned("", "pods", pod);
        assert_eq!(found.names("priorityclasses.scheduling.k8s.io"), BTreeSet::from(["high".to_owned()]));
        assert!(found.names(VOLUMES).is_empty());
    }

    #[test]
    fn custom_kinds_that_are_only_referred_to_are_found() {
        let scaler = r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","spec":{"scaleTargetRef":{"apiVersion":"acme.io/v1","kind":"Engine","name":"x"}}}"#;
        let found = scanned("autoscaling", "horizontalpodautoscalers", scaler);
        assert_eq!(found.custom, BTreeSet::from([("acme.io".to_owned(), "Engine".to_owned())]));
        for named in ["apiGroup", "group"] {
            let backend = format!(
                r#"{{"apiVersion":"networking.k8s.io/v1","spec":{{"backend":{{"resource":{{"{named}":"acme.io","kind":"Bucket","name":"x"}}}}}}}}"#
            );
            let found = scanned("networking.k8s.io", "ingresses", &backend);
            assert_eq!(found.custom, BTreeSet::from([("acme.io".to_owned(), "Bucket".to_owned())]), "{named}");
        }
    }

    #[test]
    fn a_role_binding_leads_to_its_cluster_role() {
        let binding = r#"{"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"edit"}}"#;
        let found = scanned("rbac.authorization.k8s.io", "rolebindings", binding);
        assert_eq!(found.names(ROLES), BTreeSet::from(["edit".to_owned()]));
    }

    #[test]
    fn a_binding_of_any_account_of_the_namespace_counts() {
        let binding =
            |subject: &str| format!(r#"{{"roleRef":{{"kind":"ClusterRole","name":"x"}},"subjects":[{subject}]}}"#);
        let names = |subject: &str| binds_namespace(binding(subject).as_bytes(), "shop");
        assert!(names(r#"{"kind":"ServiceAccount","name":"web","namespace":"shop"}"#));
        assert!(names(r#"{"kind":"Group","name":"system:serviceaccounts:shop"}"#));
        assert!(names(r#"{"kind":"User","name":"system:serviceaccount:shop:web"}"#));
        assert!(!names(r#"{"kind":"ServiceAccount","name":"web","namespace":"other"}"#));
        assert!(!names(r#"{"kind":"Group","name":"system:serviceaccounts:shopping"}"#));
    }

    #[test]
    fn a_webhook_counts_if_its_selector_takes_the_namespace() {
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let hook = |selector: &str| format!(r#"{{"webhooks":[{{"namespaceSelector":{selector}}}]}}"#);
        let takes = |selector: &str| selects_namespace(hook(selector).as_bytes(), &labels);
        assert!(takes("{}") && takes(r#"{"matchLabels":{"team":"shop"}}"#));
        assert!(takes(r#"{"matchExpressions":[{"key":"other","operator":"DoesNotExist"}]}"#));
        assert!(!takes(r#"{"matchLabels":{"team":"other"}}"#));
        assert!(!takes(r#"{"matchExpressions":[{"key":"team","operator":"NotIn","values":["shop"]}]}"#));
        assert!(selects_namespace(br#"{"webhooks":[{}]}"#, &labels));
        assert!(!selects_namespace(br#"{"webhooks":[]}"#, &labels));
    }
}
