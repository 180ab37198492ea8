//! Faults of nodes: what the API server takes (cordon, drain, taint), and what a command of the user does (stop, reboot,
//! the kubelet's end).

mod cordon;
mod drain;
mod driver;
mod taint;

use super::cluster::{self, is_ready, list, meta, nodes};
use super::fault::{Fault, Place, Rule, Scene};
use super::guard::{Finding, GuardName};
use super::select::Victim;
use super::target::{RUNNING, Target, TargetKind};
use crate::cluster::Fault as ApiFault;
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// All faults of nodes.
pub(super) const FAULTS: [&dyn Fault; 6] = [
    &cordon::Cordon,
    &drain::Drain,
    &taint::Taint,
    &driver::Driver::KUBELET_STOP,
    &driver::Driver::REBOOT,
    &driver::Driver::STOP,
];

const TARGETS: &[TargetKind] = &[TargetKind::Nodes];
/// Who writes fields of nodes.
const MANAGER: &str = "davit-chaos";
const READS: Rule = Rule { group: "", resource: "nodes", verbs: &["get", "list"], place: Place::Cluster };
const PATCHES: Rule = Rule { group: "", resource: "nodes", verbs: &["patch"], place: Place::Cluster };

async fn candidates(scene: &Scene<'_>) -> Result<Vec<Victim>> {
    let Target::Nodes { name, labels } = scene.target else {
        return Err(Error::input(format!("reading {} as nodes", scene.target)));
    };
    if let Some((namespace, pods)) = labels.as_deref().and_then(running) {
        let pods = list(scene.means.cluster()?, &cluster::pods(), Some(namespace), Some(pods)).await?;
        let on = |node: &&Value| pods.iter().any(|pod| pod["spec"]["nodeName"] == meta(node, "name"));
        let found = list(scene.means.cluster()?, &nodes(), None, None).await?;
        return Ok(found.iter().filter(on).map(victim).collect());
    }
    let found = list(scene.means.cluster()?, &nodes(), None, labels.as_deref()).await?;
    Ok(found.iter().filter(|node| name.as_deref().is_none_or(|name| meta(node, "name") == name)).map(victim).collect())
}

/// `running:NAMESPACE/LABELS`, which is no selector: the nodes on which these pods run.
fn running(labels: &str) -> Option<(&str, &str)> {
    labels.strip_prefix(RUNNING)?.split_once('/')
}

fn victim(node: &Value) -> Victim {
    let name = meta(node, "name");
    let facts = json!({ "name": name, "annotations": node["metadata"]["annotations"] });
    Victim::new(meta(node, "uid"), format!("node {name}")).with(facts)
}

/// Whether enough nodes are left, and none that the control plane runs on is hit.
async fn objections(scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
    let all = list(scene.means.cluster()?, &nodes(), None, None).await?;
    Ok(vec![quorum(&all, victims)])
}

fn quorum(all: &[Value], victims: &[Victim]) -> Finding {
    let guard = GuardName::Quorum;
    let hit = |node: &Value| victims.iter().any(|victim| victim.key == meta(node, "uid"));
    let control = |node: &&Value| {
        let labels = node["metadata"]["labels"].as_object();
        labels.is_some_and(|labels| labels.contains_key("node-role.kubernetes.io/control-plane"))
    };
    if let Some(node) = all.iter().filter(|node| hit(node)).find(control) {
        return Finding::no(guard, format!("the control plane runs on node {}", meta(node, "name")));
    }
    let serves = |node: &&Value| is_ready(node) && node["spec"]["unschedulable"] != true && !hit(node);
    let (left, least) = (all.iter().filter(serves).count(), all.len() / 2 + 1);
    let seen =
        format!("{left} of {} nodes would be left that are ready and take pods, and {least} are needed", all.len());
    Finding::of(guard, left >= least, seen)
}

fn name(victim: &Victim) -> Result<&str> {
    victim.facts["name"].as_str().ok_or_else(|| Error::failed(format!("reading the name of {}", victim.shown)))
}

/// The node as it is now; `None` if it is gone or another one has its name.
async fn now(scene: &Scene<'_>, victim: &Victim) -> Result<Option<Value>> {
    let name = name(victim)?;
    match scene.means.cluster()?.get(&nodes(), None, name).await {
        Ok(node) if meta(&node, "uid") == victim.key => Ok(Some(node)),
        Ok(_) => Ok(None),
        Err(why) if why.fault == ApiFault::NotFound => Ok(None),
        Err(why) => Err(why.during(format!("reading node {name}"))),
    }
}

/// The same, where it must be there.
async fn there(scene: &Scene<'_>, victim: &Victim) -> Result<Value> {
    now(scene, victim).await?.ok_or_else(|| Error::refused(format!("reading {}: it is gone", victim.shown)))
}

fn has_taint(node: &Value, key: &str) -> bool {
    node["spec"]["taints"].as_array().into_iter().flatten().any(|taint| taint["key"] == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32, ready: &str, more: &Value) -> Value {
        let mut node = json!({
            "metadata": { "name": format!("node-{number}"), "uid": format!("uid-{number}"), "labels": {} },
            "spec": {}, "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        if let (Some(spec), Some(more)) = (node["spec"].as_object_mut(), more["spec"].as_object()) {
            spec.extend(more.clone());
        }
        node
    }

    #[test]
    fn a_majority_of_nodes_stays_and_the_control_plane_too() {
        let plain = json!({});
        let mut all = vec![node(1, "True", &plain), node(2, "True", &plain), node(3, "True", &plain)];
        let one = [victim(&all[0])];
        assert!(quorum(&all, &one).says.is_ok());
        assert!(quorum(&all, &[victim(&all[0]), victim(&all[1])]).says.is_err());
        all[2] = node(3, "False", &plain);
        assert!(quorum(&all, &one).says.is_err(), "one is down already");
        all[2] = node(3, "True", &json!({ "spec": { "unschedulable": true } }));
        assert!(quorum(&all, &one).says.is_err(), "one takes no pods");
        all[2] = node(3, "True", &plain);
        all[0]["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = json!("");
        assert!(quorum(&all, &one).says.unwrap_err().contains("control plane"));
    }
}
