//! What faults of pods and nodes share: finding pods by what a person wrote, and asking what the account may do.

use super::fault::{Place, Rule, Scene};
use super::target::{PodChoice, Target};
use crate::cluster::{Cluster, Fault, Kind, Query};
use crate::error::{Error, Result};
use serde_json::Value;

/// Pods.
pub(crate) fn pods() -> Kind {
    Kind::known("", "v1", "pods", "Pod")
}

/// Services.
pub(super) fn services() -> Kind {
    Kind::known("", "v1", "services", "Service")
}

/// Nodes.
pub(super) fn nodes() -> Kind {
    Kind::known("", "v1", "nodes", "Node")
}

/// Pod disruption budgets.
pub(super) fn budgets() -> Kind {
    Kind::known("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
}

/// Where each kubelet renews a lease in its node's name.
pub(crate) const HEARTBEATS: &str = "kube-node-lease";

/// Leases.
pub(super) fn leases() -> Kind {
    Kind::known("coordination.k8s.io", "v1", "leases", "Lease")
}

/// Claims of volumes.
pub(super) fn claims() -> Kind {
    Kind::known("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
}

/// `deployments` and its like.
pub(super) fn workload(resource: &str) -> Kind {
    let kind = match resource {
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        "daemonsets" => "DaemonSet",
        _ => "ReplicaSet",
    };
    Kind::known("apps", "v1", resource, kind)
}

/// What the account may not do of what a fault and its undo take: `delete pods in shop`.
pub(super) async fn missing(scene: &Scene<'_>, rules: &[Rule]) -> Result<Vec<String>> {
    let cluster = scene.means.cluster()?;
    let mut missing = Vec::new();
    for rule in rules {
        let namespace = match (rule.place, scene.target) {
            (Place::Target, target) => target.namespace().map(str::to_owned),
            (Place::Helper, _) => Some(scene.means.helper.namespace.clone()),
            (Place::Heartbeats, _) => Some(HEARTBEATS.to_owned()),
            (Place::Cluster, _) => None,
        };
        for verb in rule.verbs {
            let may = cluster.may(verb, (rule.group, rule.resource), namespace.as_deref()).await;
            if !may.map_err(|why| why.during("asking what this account may do"))? {
                let place = namespace.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
                missing.push(format!("{verb} {}{place}", rule.resource));
            }
        }
    }
    Ok(missing)
}

/// All objects of a kind in a namespace.
pub(crate) async fn list(
    cluster: &Cluster,
    kind: &Kind,
    namespace: Option<&str>,
    labels: Option<&str>,
) -> Result<Vec<Value>> {
    let doing = || format!("listing {}", kind.group_resource());
    let mut found = Vec::new();
    let mut listing = cluster.list(Query { namespace, labels, ..Query::all(kind) });
    while let Some(bytes) = listing.next().await.map_err(|why| why.during(doing()))? {
        let object = serde_json::from_slice(&bytes).map_err(|why| Error::failed(doing()).because(why))?;
        found.push(object);
    }
    Ok(found)
}

/// The pods that a target means; ended ones do not count.
pub(super) async fn target_pods(scene: &Scene<'_>) -> Result<Vec<Value>> {
    let cluster = scene.means.cluster()?;
    let Target::Pods { namespace, choice } = scene.target else {
        return Err(Error::input(format!("reading {} as pods", scene.target)));
    };
    let namespace = Some(namespace.as_str());
    let found = match choice {
        PodChoice::All => list(cluster, &pods(), namespace, None).await?,
        PodChoice::Labels(labels) => list(cluster, &pods(), namespace, Some(labels)).await?,
        PodChoice::Named(name) => match cluster.get(&pods(), namespace, name).await {
            Ok(pod) => vec![pod],
            Err(why) if why.fault == Fault::NotFound => Vec::new(),
            Err(why) => return Err(why.during(format!("reading the pod {name}"))),
        },
        PodChoice::Workload { kind, name } => {
            let owner = match cluster.get(&workload(kind), namespace, name).await {
                Ok(owner) => owner,
                Err(why) if why.fault == Fault::NotFound => return Ok(Vec::new()),
                Err(why) => return Err(why.during(format!("reading {}", scene.target))),
            };
            let labels = selector(&owner["spec"]["selector"]);
            list(cluster, &pods(), namespace, Some(&labels)).await?
        }
    };
    let ended = |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    Ok(found.into_iter().filter(|pod| !ended(pod)).collect())
}

/// How many pods of the target are ready.
pub(super) async fn ready(scene: &Scene<'_>) -> Result<usize> {
    Ok(target_pods(scene).await?.iter().filter(|pod| is_ready(pod)).count())
}

/// Whether a pod is ready and is not going.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

/// A label selector as the text of a query.
pub(super) fn selector(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten().map(|one| {
        let key = one["key"].as_str().unwrap_or_default();
        let values =
            one["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        match one["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        }
    });
    equal.chain(expressions).collect::<Vec<_>>().join(",")
}

/// Whether labels fit a selector.
pub(super) fn fits(selector: &Value, labels: &Value) -> bool {
    let has = |key: &str| labels[key].as_str();
    let equal =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| has(key) == value.as_str());
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten().all(|one| {
        let is = has(one["key"].as_str().unwrap_or_default());
        let among = one["values"].as_array().into_iter().flatten().any(|value| is.is_some() && value.as_str() == is);
        match one["operator"].as_str() {
            Some("In") => among,
            Some("NotIn") => !among,
            Some("Exists") => is.is_some(),
            Some("DoesNotExist") => is.is_none(),
            _ => false,
        }
    });
    equal && expressions
}

/// A text of an object's metadata.
pub(super) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_is_written_for_the_server_and_means_the_same_here() {
        let one = json!({
            "matchLabels": { "app": "web" },
            "matchExpressions": [
                { "key": "tier", "operator": "In", "values": ["front", "edge"] },
                { "key": "canary", "operator": "DoesNotExist" },
                { "key": "zone", "operator": "Exists" },
                { "key": "zone", "operator": "NotIn", "values": ["c"] },
            ],
        });
        assert_eq!(selector(&one), "app=web,tier in (front,edge),!canary,zone,zone notin (c)");
        assert!(fits(&one, &json!({ "app": "web", "tier": "edge", "zone": "a" })));
        for other in [
            json!({ "app": "db", "tier": "edge", "zone": "a" }),
            json!({ "app": "web", "tier": "back", "zone": "a" }),
            json!({ "app": "web", "tier": "edge", "zone": "a", "canary": "1" }),
            json!({ "app": "web", "tier": "edge" }),
            json!({ "app": "web", "tier": "edge", "zone": "c" }),
        ] {
            assert!(!fits(&one, &other), "{other}");
        }
        assert_eq!(selector(&json!({})), "");
    }
}
