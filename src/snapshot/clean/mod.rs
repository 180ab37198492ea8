//! The table of what belongs to the server: fields that a restore leaves out and a comparison does not look at.
//!
//! Everything that is not in [`TABLE`] is the user's and comes back as it was. A row says for which kinds, which path
//! (`*` is every element of a list or map) and why; a row with a condition says when.

pub mod path;

use super::object;
use serde_json::Value;
use std::collections::BTreeSet;

pub use path::Step;

/// When a row of the table counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// For every object.
    Always,
    /// Unless the user wants the node ports that were.
    NodePortsNotKept,
    /// Unless the user wants this kind's status.
    StatusNotKept,
    /// Unless the value says that there is none on purpose (`clusterIP: None`).
    NotNone,
    /// For Secrets that hold an account's token.
    TokenSecret,
    /// Unless the claim names a volume that is restored with it.
    VolumeNotKept,
    /// Unless the maker of the Job chose the selector.
    SelectorIsGenerated,
    /// For the volume of an account's token that admission puts into every pod, and its mounts.
    NamedLikeTokenVolume,
}

/// One row: for these kinds, this path, for this reason.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `deployments.apps`; none at all means every kind.
    pub kinds: &'static [&'static str],
    /// The steps from the object's root; `*` is every element.
    pub path: &'static [Step],
    /// When it counts.
    pub when: When,
    /// Why the field is not the user's.
    pub why: &'static str,
}

const ALL: &[&str] = &[];
const META: &str = "metadata";
const NOTES: &str = "annotations";
const JOB: &[&str] = &["jobs.batch"];
const POD: &[&str] = &["pods"];
const SERVICE: &[&str] = &["services"];
const CLAIM: &[&str] = &["persistentvolumeclaims"];
const VOLUME: &[&str] = &["persistentvolumes"];
const WORKLOADS: &[&str] = &[
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "replicationcontrollers",
];

const fn row(kinds: &'static [&'static str], path: &'static [Step], why: &'static str) -> Row {
    Row { kinds, path, when: When::Always, why }
}

const fn only(when: When, kinds: &'static [&'static str], path: &'static [Step], why: &'static str) -> Row {
    Row { kinds, path, when, why }
}

/// Every field that the server, its controllers or its admission own.
pub const TABLE: &[Row] = &[
    row(ALL, &[META, "uid"], "the server gives each object a new one"),
    row(ALL, &[META, "resourceVersion"], "the server counts changes itself"),
    row(ALL, &[META, "generation"], "the server counts changes of the spec itself"),
    row(ALL, &[META, "creationTimestamp"], "the time of the restore"),
    row(ALL, &[META, "deletionTimestamp"], "an object cannot be made half deleted"),
    row(ALL, &[META, "deletionGracePeriodSeconds"], "an object cannot be made half deleted"),
    row(ALL, &[META, "selfLink"], "an address that old servers wrote"),
    row(ALL, &[META, "managedFields"], "the server writes down who set what"),
    row(
        ALL,
        &[META, "ownerReferences"],
        "the owners have new uids; references are made anew when the owners are there",
    ),
    only(When::StatusNotKept, ALL, &["status"], "controllers report the state of the world as it is now"),
    // Workloads.
    row(WORKLOADS, &["spec", "template", META, "creationTimestamp"], "a null that the server writes"),
    row(&["cronjobs.batch"], &["spec", "jobTemplate", META, "creationTimestamp"], "a null that the server writes"),
    row(
        &["cronjobs.batch"],
        &["spec", "jobTemplate", "spec", "template", META, "creationTimestamp"],
        "a null that the server writes",
    ),
    row(
        &["statefulsets.apps"],
        &["spec", "volumeClaimTemplates", "*", META, "creationTimestamp"],
        "a null that the server writes",
    ),
    row(
        &["statefulsets.apps"],
        &["spec", "volumeClaimTemplates", "*", "status"],
        "controllers report the state of the world as it is now",
    ),
    row(
        &["deployments.apps", "replicasets.apps"],
        &[META, NOTES, "deployment.kubernetes.io/revision"],
        "the controller counts revisions itself",
    ),
    row(
        &["daemonsets.apps"],
        &[META, NOTES, "deprecated.daemonset.template.generation"],
        "the controller counts revisions itself",
    ),
    // Jobs: the selector and its label are the uid of the Job that was.
    only(When::SelectorIsGenerated, JOB, &["spec", "selector"], "made from the uid of the old Job"),
    only(
        When::SelectorIsGenerated,
        JOB,
        &["spec", "template", META, "labels", "controller-uid"],
        "the uid of the old Job",
    ),
    only(
        When::SelectorIsGenerated,
        JOB,
        &["spec", "template", META, "labels", "batch.kubernetes.io/controller-uid"],
        "the uid of the old Job",
    ),
    only(When::SelectorIsGenerated, JOB, &[META, "labels", "controller-uid"], "the uid of the old Job"),
    only(
        When::SelectorIsGenerated,
        JOB,
        &[META, "labels", "batch.kubernetes.io/controller-uid"],
        "the uid of the old Job",
    ),
    row(JOB, &[META, NOTES, "batch.kubernetes.io/job-tracking"], "the controller's own mark"),
    // Pods.
    row(POD, &["spec", "nodeName"], "the scheduler chooses a node that is there"),
    row(POD, &["spec", "priority"], "admission takes it from the priority class"),
    row(POD, &["spec", "ephemeralContainers"], "cannot be given when a pod is made"),
    only(When::NamedLikeTokenVolume, POD, &["spec", "volumes", "*"], "admission puts the account's token in"),
    only(
        When::NamedLikeTokenVolume,
        POD,
        &["spec", "containers", "*", "volumeMounts", "*"],
        "admission puts the account's token in",
    ),
    only(
        When::NamedLikeTokenVolume,
        POD,
        &["spec", "initContainers", "*", "volumeMounts", "*"],
        "admission puts the account's token in",
    ),
    // Services.
    only(When::NotNone, SERVICE, &["spec", "clusterIP"], "the cluster assigns an address that is free"),
    only(When::NotNone, SERVICE, &["spec", "clusterIPs"], "the cluster assigns an address that is free"),
    only(
        When::NodePortsNotKept,
        SERVICE,
        &["spec", "ports", "*", "nodePort"],
        "the cluster assigns a port that is free; --keep-node-ports keeps it",
    ),
    only(
        When::NodePortsNotKept,
        SERVICE,
        &["spec", "healthCheckNodePort"],
        "the cluster assigns a port that is free; --keep-node-ports keeps it",
    ),
    // Volumes.
    row(CLAIM, &[META, NOTES, "pv.kubernetes.io/bind-completed"], "the binding of the old claim"),
    row(CLAIM, &[META, NOTES, "pv.kubernetes.io/bound-by-controller"], "the binding of the old claim"),
    row(CLAIM, &[META, NOTES, "volume.kubernetes.io/selected-node"], "a node of the old cluster"),
    row(CLAIM, &[META, NOTES, "volume.kubernetes.io/storage-provisioner"], "the controller finds the provisioner"),
    row(CLAIM, &[META, NOTES, "volume.beta.kubernetes.io/storage-provisioner"], "the controller finds the provisioner"),
    only(When::VolumeNotKept, CLAIM, &["spec", "volumeName"], "the volume is provisioned anew"),
    row(VOLUME, &["spec", "claimRef", "uid"], "the claim has a new one"),
    row(VOLUME, &["spec", "claimRef", "resourceVersion"], "the claim has a new one"),
    row(VOLUME, &[META, NOTES, "pv.kubernetes.io/bound-by-controller"], "the binding of the old claim"),
    // Accounts and their tokens.
    only(When::TokenSecret, &["secrets"], &["data"], "the cluster writes a token of its own"),
    only(
        When::TokenSecret,
        &["secrets"],
        &[META, NOTES, "kubernetes.io/service-account.uid"],
        "with the old account's uid the secret would be deleted at once",
    ),
    // Endpoints and namespaces.
    row(
        &["endpoints"],
        &[META, NOTES, "endpoints.kubernetes.io/last-change-trigger-time"],
        "the controller writes when it looked",
    ),
    row(&["namespaces"], &["spec", "finalizers"], "the server puts its own there"),
    row(&["namespaces"], &[META, NOTES, "openshift.io/sa.scc.uid-range"], "the cluster assigns a range that is free"),
    row(&["namespaces"], &[META, NOTES, "openshift.io/sa.scc.mcs"], "the cluster assigns a range that is free"),
    row(
        &["namespaces"],
        &[META, NOTES, "openshift.io/sa.scc.supplemental-groups"],
        "the cluster assigns a range that is free",
    ),
];

/// What the user wants to keep although the server owns it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// Node ports of Services.
    pub node_ports: bool,
    /// Kinds (`deployments.apps`) whose status comes back, and kinds whose status is no subresource but the user's data.
    pub status: BTreeSet<String>,
    /// Whether the claim at hand keeps the volume it names.
    pub volume: bool,
}

/// Takes everything out of `body` that the server owns; returns the rows that took something.
pub fn clean(group_resource: &str, body: &mut Value, keep: &Keep) -> Vec<&'static Row> {
    let token = group_resource == "secrets" && is_token_secret(body);
    let own_selector = body.pointer("/spec/manualSelector") == Some(&Value::Bool(true));
    let mut took = Vec::new();
    for row in TABLE {
        if !row.kinds.is_empty() && !row.kinds.contains(&group_resource) {
            continue;
        }
        let counts = match row.when {
            When::Always | When::NotNone | When::NamedLikeTokenVolume => true,
            When::NodePortsNotKept => !keep.node_ports,
            When::StatusNotKept => !keep.status.contains(group_resource),
            When::TokenSecret => token,
            When::VolumeNotKept => !keep.volume,
            When::SelectorIsGenerated => !own_selector,
        };
        if counts && path::remove(body, row.path, &|value| goes(row.when, value)) {
            took.push(row);
        }
    }
    // What is left of a map that only the server wrote into is not a difference.
    for emptied in ["annotations", "labels"] {
        if let Some(metadata) = body.get_mut(META).and_then(Value::as_object_mut)
            && metadata.get(emptied).and_then(Value::as_object).is_some_and(serde_json::Map::is_empty)
        {
            metadata.remove(emptied);
        }
    }
    took
}

fn goes(when: When, value: &Value) -> bool {
    match when {
        When::NotNone => match value {
            Value::Array(all) => all.iter().all(|one| one != "None"),
            one => one != "None",
        },
        // The name that the ServiceAccount admission plugin gives, with five letters of its own.
        When::NamedLikeTokenVolume => {
            let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
            name.strip_prefix("kube-api-access-").is_some_and(|rest| rest.len() == 5)
        }
        _ => true,
    }
}

/// Whether a Secret holds a token that the cluster makes for an account.
pub fn is_token_secret(body: &Value) -> bool {
    body.get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token")
}

/// Gives `wanted`, which is to replace `live`, the fields of the table that the server put into the live object: an
/// in-place PUT without them would be refused (a claim's volume, a Job's selector, a Service's address).
pub fn carry_over(group_resource: &str, wanted: &mut Value, live: &Value) {
    for row in TABLE.iter().filter(|row| row.kinds.contains(&group_resource) && row.path.first() == Some(&"spec")) {
        if row.path.contains(&"*") {
            continue;
        }
        if let Some(value) = path::get(live, row.path)
            && path::get(wanted, row.path).is_none()
        {
            path::set(wanted, row.path, value.clone());
        }
    }
    if group_resource == "jobs.batch" {
        path::overlay(wanted, live, &["spec", "template", META, "labels"]);
    }
}

/// Whether the server owns the field of `group_resource` at `path`, in any circumstances.
pub fn is_servers(group_resource: &str, path: &[&str]) -> bool {
    TABLE.iter().any(|row| {
        (row.kinds.is_empty() || row.kinds.contains(&group_resource))
            && row.path.len() <= path.len()
            && row.path.iter().zip(path).all(|(step, here)| *step == "*" || step == here)
    })
}

/// Whether the object is one that the cluster makes in every namespace and that no restore should touch.
pub fn made_by_the_cluster(group_resource: &str, body: &Value) -> Option<&'static str> {
    match (group_resource, object::name(body)) {
        ("configmaps", "kube-root-ca.crt" | "openshift-service-ca.crt") => {
            Some("the cluster writes its own CA into every namespace")
        }
        ("configmaps", "istio-ca-root-cert" | "linkerd-identity-trust-roots") => {
            Some("the mesh writes its own CA into every namespace")
        }
        _ => None,
    }
}

/// Whether the account is one that the cluster makes in every namespace: restoring one is adding to it.
pub fn is_default_account(group_resource: &str, name: &str) -> bool {
    group_resource == "serviceaccounts" && ["default", "builder", "deployer", "pipeline"].contains(&name)
}

#[cfg(test)]
mod tests;
