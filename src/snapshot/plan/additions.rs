//! What only a live object has, where this restore made the object: did the server and its controllers add it, or somebody
//! else?
//!
//! The server says of each field who set it (`managedFields`). What it filled in itself when the object was made counts as
//! set by whoever made it, or by nobody.

use super::super::clean::Keep;
use super::super::diff::{self, Change, Seen, Shape};
use super::super::object;
use serde_json::{Map, Value};

/// Controllers write under the name of their program; these stand in many of them. Whoever has another name is somebody:
/// a difference too many is looked at by a person, one too few is not.
const IN_NAMES_OF_CONTROLLERS: [&str; 6] =
    ["controller", "operator", "provisioner", "scheduler", "autoscaler", "pilot-discovery"];

/// Controllers whose names say nothing, and clusters in one program, which is all of its controllers.
const CONTROLLERS: [&str; 6] = ["kubelet", "manager", "cainjector", "k3s", "k0s", "kubelite"];

/// Whether one of `changes` (live on the left) is something that somebody else added to `there`.
pub(super) fn by_others(kind: &str, shape: Shape<'_>, there: &Value, changes: &[Change], own: &str) -> bool {
    let added: Vec<&str> =
        changes.iter().filter(|one| one.right == Seen::Absent).map(|one| one.path.as_str()).collect();
    if added.is_empty() {
        return false;
    }
    let mut without = there.clone();
    for fields in fields_of_others(there, own) {
        take_out(&mut without, fields);
    }
    let theirs = diff::compare(kind, shape, there, &without, &Keep::default());
    theirs.iter().any(|one| added.iter().any(|path| is_within(path, &one.path) || is_within(&one.path, path)))
}

/// What each manager set that is neither this restore nor a controller. Subresources are nobody's wish: a status, a scale.
fn fields_of_others<'a>(there: &'a Value, own: &'a str) -> impl Iterator<Item = &'a Map<String, Value>> {
    let entries = object::metadata(there).and_then(|metadata| metadata.get("managedFields")?.as_array());
    let text = |entry: &'a Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    let others = entries.into_iter().flatten().filter(move |entry| {
        let manager = text(entry, "manager");
        manager != own && !is_controller(manager) && text(entry, "subresource").is_empty()
    });
    others.filter_map(|entry| entry.get("fieldsV1")?.as_object())
}

fn is_controller(manager: &str) -> bool {
    manager.starts_with("kube-")
        || CONTROLLERS.contains(&manager)
        || IN_NAMES_OF_CONTROLLERS.iter().any(|word| manager.contains(word))
}

/// Takes out of `value` what a set of fields names: `f:` a field, `k:` an element by its keys, `v:` one by its value, `i:`
/// one by its place.
fn take_out(value: &mut Value, fields: &Map<String, Value>) {
    match value {
        Value::Object(map) => {
            for (step, inner) in fields {
                if let Some(name) = step.strip_prefix("f:")
                    && map.get_mut(name).is_some_and(|value| goes(value, inner))
                {
                    map.remove(name);
                }
            }
        }
        Value::Array(list) => {
            let mut at = 0;
            list.retain_mut(|element| {
                let mut named = fields.iter().filter(|(step, _)| is_element(step, at, element)).map(|(_, inner)| inner);
                let gone = named.next().is_some_and(|inner| goes(element, inner));
                at += 1;
                !gone
            });
        }
        _ => {}
    }
}

/// Takes out what is named inside; whether nothing is left of the value.
fn goes(value: &mut Value, inner: &Value) -> bool {
    let inside = inner.as_object().filter(|inner| inner.keys().any(|step| step != "."));
    let Some(inside) = inside else { return true };
    take_out(value, inside);
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn is_element(step: &str, at: usize, element: &Value) -> bool {
    let Some((how, what)) = step.split_once(':') else { return false };
    match (how, serde_json::from_str::<Value>(what)) {
        ("k", Ok(Value::Object(keys))) => keys.iter().all(|(name, value)| element.get(name) == Some(value)),
        ("v", Ok(value)) => *element == value,
        ("i", Ok(value)) => value.as_u64() == Some(at as u64),
        _ => false,
    }
}

/// Whether `path` is `outer` or something in it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn added(there: &Value, wanted: &Value) -> bool {
        let changes = diff::compare("deployments.apps", Shape::BuiltIn, there, wanted, &Keep::default());
        by_others("deployments.apps", Shape::BuiltIn, there, &changes, "davit-1")
    }

    fn entry(manager: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": "Update", "fieldsV1": fields})
    }

    #[test]
    fn an_addition_is_of_whoever_set_it() {
        let wanted = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {
            "containers": [{"name": "web", "image": "w:1"}]}}}});
        let there = |manager: &str| {
            json!({"metadata": {"name": "web", "annotations": {"note": "x"}, "finalizers": ["f"], "managedFields": [
                    entry("davit-1", &json!({"f:spec": {"f:revisionHistoryLimit": {}, "f:template": {"f:spec": {
                        "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}}}})),
                    entry(manager, &json!({"f:metadata": {"f:annotations": {".": {}, "f:note": {}},
                        "f:finalizers": {"v:\"f\"": {}}}}))]},
                "spec": {"revisionHistoryLimit": 10, "template": {"spec": {"containers": [{"name": "web", "image": "w:1"}]}}}})
        };
        for controller in ["davit-1", "kube-controller-manager", "metallb-controller", "manager", "k3s"] {
            assert!(!added(&there(controller), &wanted), "{controller}");
        }
        for somebody in ["kubectl-edit", "kubectl", "helm", "davit-2", "Mozilla"] {
            assert!(added(&there(somebody), &wanted), "{somebody}");
        }
    }

    #[test]
    fn an_element_of_a_list_is_found_by_its_keys_and_what_somebody_set_to_the_wanted_value_is_no_addition() {
        let containers = |names: &[&str]| -> Value {
            names.iter().map(|name| json!({"name": name, "image": "w:1"})).collect::<Vec<_>>().into()
        };
        let there = |names: &[&str], by: &str| {
            let key = format!("k:{{\"name\":\"{by}\"}}");
            json!({"metadata": {"managedFields": [entry("kubectl-edit", &json!({"f:spec": {"f:template": {"f:spec": {
                    "f:containers": {key: {".": {}, "f:image": {}, "f:name": {}}}}}}}))]},
                "spec": {"template": {"spec": {"containers": containers(names)}}}})
        };
        let wanted = json!({"spec": {"template": {"spec": {"containers": containers(&["web"])}}}});
        assert!(added(&there(&["web", "side"], "side"), &wanted));
        // Admission put it in when this restore made the pod.
        assert!(!added(&there(&["web", "side"], "web"), &wanted));
        assert!(!added(&there(&["web"], "web"), &wanted));
    }
}
