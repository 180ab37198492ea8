//! Faults of pods that the API server takes: deletion, eviction, scaling.

mod delete;
pub(super) mod evict;
mod scale;

use super::cluster::{budgets, fits, is_ready, list, meta, pods, target_pods};
use super::evidence::Proof;
use super::fault::{Fault, Place, Prepared, Rule, Scene};
use super::guard::{Finding, GuardName};
use super::select::Victim;
use super::target::{Target, TargetKind};
use crate::cluster::Fault as ApiFault;
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// All faults of pods.
pub(super) const FAULTS: [&dyn Fault; 4] =
    [&delete::Deletion::GRACEFUL, &delete::Deletion::FORCED, &evict::Eviction, &scale::ScaleToZero];

const TARGETS: &[TargetKind] = &[TargetKind::Pods];

/// How long a pod may take to end, beyond its own grace period.
const GONE: Duration = Duration::from_mins(1);

/// What every fault of pods reads.
pub(super) const READS: [Rule; 2] = [
    Rule { group: "", resource: "pods", verbs: &["get", "list"], place: Place::Target },
    Rule { group: "policy", resource: "poddisruptionbudgets", verbs: &["list"], place: Place::Target },
];

/// A pod that its controller makes again: there is nothing to remember and nothing to undo.
fn without_undo(victim: Victim) -> Prepared {
    Prepared { victim, prior: Value::Null, undo: "nothing; its controller makes another one".to_owned() }
}

/// That a pod is gone within its own grace period and what its node takes.
async fn gone_in_time(scene: &Scene<'_>, victim: &Victim, asked: Duration) -> Result<Proof> {
    let grace = Duration::from_secs(victim.facts["grace"].as_u64().unwrap_or(30));
    gone(scene, victim, asked, GONE + grace).await
}

/// The pods of the target that are not going already.
pub(super) async fn candidates(scene: &Scene<'_>) -> Result<Vec<Victim>> {
    let found = target_pods(scene).await?;
    let here = found.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(here.map(victim).collect())
}

fn victim(pod: &Value) -> Victim {
    let (name, node) = (meta(pod, "name"), pod["spec"]["nodeName"].as_str());
    let place = node.map_or_else(|| "on no node yet".to_owned(), |node| format!("on {node}"));
    let facts = json!({
        "name": name,
        "namespace": meta(pod, "namespace"),
        "node": node,
        "owner": owner(pod),
        "labels": pod["metadata"]["labels"],
        "grace": pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30),
    });
    Victim::new(meta(pod, "uid"), format!("pod {name} {place}")).with(facts)
}

/// What makes a pod again when it is gone: kind and uid of its controller.
fn owner(pod: &Value) -> Option<Value> {
    let owners = pod["metadata"]["ownerReferences"].as_array()?;
    let controller = owners.iter().find(|owner| owner["controller"] == true)?;
    Some(json!({ "kind": controller["kind"], "name": controller["name"], "uid": controller["uid"] }))
}

/// Whether enough is left: of every controller's pods, and for every disruption budget.
pub(super) async fn objections(scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
    let cluster = scene.means.cluster()?;
    let Target::Pods { namespace, .. } = scene.target else { return Ok(Vec::new()) };
    let all = list(cluster, &pods(), Some(namespace), None).await?;
    let budgets = list(cluster, &budgets(), Some(namespace), None).await?;
    Ok(vec![quorum(&all, victims), disruption(&budgets, victims)])
}

fn quorum(all: &[Value], victims: &[Victim]) -> Finding {
    let guard = GuardName::Quorum;
    let hit = |pod: &Value| victims.iter().any(|victim| victim.key == meta(pod, "uid"));
    let mut seen = Vec::new();
    for victim in victims {
        let owner = &victim.facts["owner"];
        if owner.is_null() {
            return Finding::no(guard, format!("{} has no controller: nobody makes it again", victim.shown));
        }
        let of_it = |pod: &&Value| self::owner(pod).is_some_and(|other| other["uid"] == owner["uid"]);
        let together: Vec<&Value> = all.iter().filter(of_it).collect();
        let left = together.iter().filter(|pod| is_ready(pod) && !hit(pod)).count();
        // What keeps state decides by majority; anything else needs one that serves.
        let least = if owner["kind"] == "StatefulSet" { together.len() / 2 + 1 } else { 1 };
        let name =
            format!("{} {}", owner["kind"].as_str().unwrap_or_default(), owner["name"].as_str().unwrap_or_default());
        let text = format!("{left} ready pods of {name} would be left, and {least} are needed");
        if left < least {
            return Finding::no(guard, text);
        }
        seen.push(text);
    }
    seen.dedup();
    Finding::yes(guard, seen.join("; "))
}

fn disruption(budgets: &[Value], victims: &[Victim]) -> Finding {
    let guard = GuardName::DisruptionBudget;
    for budget in budgets {
        let hit = victims.iter().filter(|victim| fits(&budget["spec"]["selector"], &victim.facts["labels"])).count();
        let allowed = budget["status"]["disruptionsAllowed"].as_u64().unwrap_or(0);
        if hit as u64 > allowed {
            let name = meta(budget, "name");
            return Finding::no(
                guard,
                format!("the budget {name} allows {allowed} disruptions now, and {hit} would be hit"),
            );
        }
    }
    Finding::yes(guard, format!("{} budgets allow it", budgets.len()))
}

/// A text of what is known of a victim.
pub(super) fn fact<'a>(victim: &'a Victim, name: &str) -> Result<&'a str> {
    victim.facts[name].as_str().ok_or_else(|| Error::failed(format!("reading the {name} of {}", victim.shown)))
}

/// Waits until the pod of exactly this uid is gone from the server. A graceful deletion is only finished when the node
/// has said that its containers ended.
async fn gone(scene: &Scene<'_>, victim: &Victim, asked: Duration, limit: Duration) -> Result<Proof> {
    let (namespace, name) = (fact(victim, "namespace")?, fact(victim, "name")?);
    let cluster = scene.means.cluster()?;
    let look = || async move {
        match cluster.get(&pods(), Some(namespace), name).await {
            Ok(pod) if meta(&pod, "uid") != victim.key => {
                Ok(Some(format!("pod {name} has another uid; {} is gone", victim.key)))
            }
            Ok(_) => Ok(None),
            Err(why) if why.fault == ApiFault::NotFound => Ok(Some(format!("pod {name} ({}) is gone", victim.key))),
            Err(why) => Err(why.during(format!("looking for pod {name}"))),
        }
    };
    // Its containers ended some time before the server took it away.
    Ok(scene.look(asked, limit, "the pod was not gone", look).await?.since(asked))
}

/// How the pods of the same controller stand.
pub(super) async fn standing(scene: &Scene<'_>, victim: &Victim) -> Result<String> {
    let namespace = fact(victim, "namespace")?;
    let all = list(scene.means.cluster()?, &pods(), Some(namespace), None).await?;
    let together: Vec<&Value> =
        all.iter().filter(|pod| owner(pod).is_some_and(|other| other["uid"] == victim.facts["owner"]["uid"])).collect();
    let ready = together.iter().filter(|pod| is_ready(pod)).count();
    Ok(format!("{ready} of {} pods of its controller are ready", together.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(number: u32, owner: &str, ready: &str) -> Value {
        json!({
            "metadata": {
                "name": format!("p-{number}"), "namespace": "shop", "uid": format!("uid-{number}"), "labels": { "app": "x" },
                "ownerReferences": [{ "kind": owner, "name": "x", "uid": "owner", "controller": true }],
            },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    fn says(owner: &str, ready: [&str; 3], hit: &[usize]) -> bool {
        let all: Vec<Value> = (0..3).map(|n| pod(n, owner, ready[n as usize])).collect();
        let victims: Vec<Victim> = hit.iter().map(|at| victim(&all[*at])).collect();
        quorum(&all, &victims).says.is_ok()
    }

    #[test]
    fn what_keeps_state_keeps_its_majority_and_what_serves_keeps_one() {
        let up = ["True"; 3];
        assert!(says("StatefulSet", up, &[0]) && !says("StatefulSet", up, &[0, 1]));
        assert!(!says("StatefulSet", ["True", "False", "True"], &[0]));
        assert!(says("ReplicaSet", up, &[0, 1]) && !says("ReplicaSet", up, &[0, 1, 2]));
        assert!(!says("ReplicaSet", ["True", "False", "False"], &[0]));
        let mut lonely = pod(1, "StatefulSet", "True");
        lonely["metadata"]["ownerReferences"] = Value::Null;
        assert!(quorum(&[lonely.clone()], &[victim(&lonely)]).says.unwrap_err().contains("nobody makes it again"));
    }

    #[test]
    fn a_budget_counts_all_that_are_hit_at_once() {
        let victims: Vec<Victim> = (0..2).map(|n| victim(&pod(n, "ReplicaSet", "True"))).collect();
        let budget = |allowed: u32, app: &str| {
            json!({ "metadata": { "name": "b" }, "spec": { "selector": { "matchLabels": { "app": app } } },
                    "status": { "disruptionsAllowed": allowed } })
        };
        assert!(disruption(&[budget(2, "x")], &victims).says.is_ok());
        assert!(disruption(&[budget(1, "x")], &victims).says.is_err());
        assert!(disruption(&[budget(0, "other")], &victims).says.is_ok());
    }
}
