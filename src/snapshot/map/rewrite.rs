//! The places where the API itself names a namespace, a storage class or an image.

use super::super::object::Saved;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Writes another name wherever the API says that `from` is named.
pub(super) fn namespace(saved: &mut Saved, body: &mut Value, from: &str, to: &str) {
    if saved.identity.namespace.as_deref() == Some(from) {
        saved.identity.namespace = Some(to.to_owned());
        replace(body.pointer_mut("/metadata/namespace"), from, to);
    }
    let group_resource = saved.kind.group_resource();
    if group_resource == "namespaces" && saved.identity.name == from {
        to.clone_into(&mut saved.identity.name);
        replace(body.pointer_mut("/metadata/name"), from, to);
        let label = body.pointer_mut("/metadata/labels").and_then(|labels| labels.get_mut(NAME_LABEL));
        replace(label, from, to);
    }
    for path in namespace_paths(&group_resource) {
        each(body, path, &mut |value| replace(Some(value), from, to));
    }
    if saved.kind.group == "rbac.authorization.k8s.io" {
        each(body, &["subjects", "*", "name"], &mut |name| account(name, from, to));
    }
    selectors(body, from, to);
}

/// Where a kind names a namespace that is not its own.
pub(super) fn namespace_paths(group_resource: &str) -> &'static [&'static [&'static str]] {
    match group_resource {
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            &[&["subjects", "*", "namespace"]]
        }
        "persistentvolumes" => &[&["spec", "claimRef", "namespace"]],
        "mutatingwebhookconfigurations.admissionregistration.k8s.io"
        | "validatingwebhookconfigurations.admissionregistration.k8s.io" => {
            &[&["webhooks", "*", "clientConfig", "service", "namespace"]]
        }
        "apiservices.apiregistration.k8s.io" => &[&["spec", "service", "namespace"]],
        "customresourcedefinitions.apiextensions.k8s.io" => {
            &[&["spec", "conversion", "webhook", "clientConfig", "service", "namespace"]]
        }
        _ => &[],
    }
}

fn replace(value: Option<&mut Value>, from: &str, to: &str) {
    if let Some(value) = value
        && value == from
    {
        *value = Value::from(to);
    }
}

/// Accounts have names that say their namespace, as users and as a group.
fn account(name: &mut Value, from: &str, to: &str) {
    let Some(text) = name.as_str() else { return };
    let new = if text == format!("system:serviceaccounts:{from}") {
        format!("system:serviceaccounts:{to}")
    } else if let Some(account) = text.strip_prefix(&format!("system:serviceaccount:{from}:")) {
        format!("system:serviceaccount:{to}:{account}")
    } else {
        return;
    };
    *name = Value::from(new);
}

/// Selectors that choose a namespace by the label with its name, wherever they are.
fn selectors(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(map) => {
            if let Some(labels) = map.get_mut("matchLabels") {
                replace(labels.get_mut(NAME_LABEL), from, to);
            }
            if map.get("key").and_then(Value::as_str) == Some(NAME_LABEL)
                && let Some(values) = map.get_mut("values").and_then(Value::as_array_mut)
            {
                for value in values {
                    replace(Some(value), from, to);
                }
            }
            map.values_mut().for_each(|value| selectors(value, from, to));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| selectors(value, from, to)),
        _ => {}
    }
}

/// Calls `act` with everything that the path points to; `*` is every element.
fn each(value: &mut Value, path: &[&str], act: &mut dyn FnMut(&mut Value)) {
    match path {
        [] => act(value),
        ["*", rest @ ..] => {
            if let Value::Array(list) = value {
                for element in list {
                    each(element, rest, act);
                }
            }
        }
        [first, rest @ ..] => {
            if let Some(next) = value.get_mut(*first) {
                each(next, rest, act);
            }
        }
    }
}

/// Where a kind has the spec of its pods.
fn pod_spec(group_resource: &str) -> Option<&'static [&'static str]> {
    match group_resource {
        "pods" => Some(&["spec"]),
        "cronjobs.batch" => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        "podtemplates" => Some(&["template", "spec"]),
        "deployments.apps"
        | "replicasets.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "jobs.batch"
        | "replicationcontrollers" => Some(&["spec", "template", "spec"]),
        _ => None,
    }
}

/// Whether the kind is one whose images and storage classes are known.
pub(super) fn is_known(group_resource: &str) -> bool {
    pod_spec(group_resource).is_some()
        || ["persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io"].contains(&group_resource)
}

/// Gives claims and volumes other classes.
pub(super) fn storage(
    saved: &Saved,
    body: &mut Value,
    classes: &BTreeMap<String, String>,
    used: &mut BTreeSet<String>,
) {
    each_class(&saved.kind.group_resource(), body, &mut |value| {
        if let Some((from, to)) = value.as_str().and_then(|name| classes.get_key_value(name)) {
            used.insert(from.clone());
            *value = Value::from(to.as_str());
        }
    });
}

/// Calls `act` with every storage class that an object names.
pub(super) fn each_class(group_resource: &str, body: &mut Value, act: &mut dyn FnMut(&mut Value)) {
    const OLD_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
    match group_resource {
        "persistentvolumeclaims" | "persistentvolumes" => {
            each(body, &["spec", "storageClassName"], act);
            each(body, &["metadata", "annotations", OLD_ANNOTATION], act);
        }
        "statefulsets.apps" => {
            each(body, &["spec", "volumeClaimTemplates", "*", "spec", "storageClassName"], act);
        }
        _ => {}
    }
    if let Some(spec) = pod_spec(group_resource) {
        let claim = ["volumes", "*", "ephemeral", "volumeClaimTemplate", "spec", "storageClassName"];
        each(body, &[spec, &claim].concat(), act);
    }
}

/// Gives containers other images; the first mapping that fits counts.
pub(super) fn images(saved: &Saved, body: &mut Value, images: &[(String, String)], used: &mut BTreeSet<usize>) {
    let Some(spec) = pod_spec(&saved.kind.group_resource()) else { return };
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(body, &[spec, &[list, "*", "image"]].concat(), &mut |value| {
            let Some(image) = value.as_str() else { return };
            let fits = images
                .iter()
                .enumerate()
                .find_map(|(at, (from, to))| image_rest(image, from).map(|rest| (at, format!("{to}{rest}"))));
            if let Some((at, new)) = fits {
                used.insert(at);
                *value = Value::from(new);
            }
        });
    }
}

/// What follows `from` in an image's name, if the name begins with it at a border: `web` is not `website:1`.
pub(super) fn image_rest<'a>(image: &'a str, from: &str) -> Option<&'a str> {
    let rest = image.strip_prefix(from)?;
    (rest.is_empty() || from.ends_with('/') || rest.starts_with(['/', ':', '@'])).then_some(rest)
}
