//! `node-taint`: a taint of our own drives pods off a node that do not tolerate it.

use super::{MANAGER, PATCHES, READS, TARGETS, candidates, has_taint, name, now, objections, there};
use crate::chaos::cluster::{list, nodes, pods};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Place, Prepared, Rule, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::helper::fuse::{self, FUSE};
use crate::chaos::helper::{room, scout};
use crate::chaos::select::Victim;
use crate::cluster::{Fault as ApiFault, Patch, Write};
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// How long pods may take to be driven off.
const DRIVEN_OFF: Duration = Duration::from_mins(2);
/// How often a change is tried again that somebody else came before.
const ATTEMPTS: u32 = 10;
/// Nobody else uses it.
const KEY: &str = "davit.dev/chaos";

#[derive(Debug)]
pub(in crate::chaos) struct Taint;

const PODS: Rule = Rule { group: "", resource: "pods", verbs: &["list"], place: Place::Cluster };

#[async_trait]
impl Fault for Taint {
    fn facts(&self) -> Facts {
        Facts {
            name: "node-taint",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "a taint of our own drives pods off a node that do not tolerate it; disruption budgets are not asked",
            needs: "patch on nodes, list on pods in the whole cluster",
            proof: "no pod is left on the node that does not tolerate the taint; for NoSchedule, the scheduler says no to a pod of ours",
            heals: "our own taint is taken away",
            expires: FUSE,
            parameters: &[Parameter { name: "effect", default: Some("NoExecute"), what: "NoExecute or NoSchedule" }],
            rbac: &[READS, PATCHES, PODS, fuse::RBAC],
            many: true,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        effect(scene)?;
        candidates(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        let mut findings = objections(scene, victims).await?;
        if let (Some(victim), "NoSchedule") = (victims.first(), effect(scene)?) {
            findings.extend(room::of_scout(scene, name(victim)?).await?);
        }
        Ok(findings)
    }

    fn proving(&self, _scene: &Scene<'_>) -> Result<Option<Duration>> {
        Ok(Some(DRIVEN_OFF))
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        if has_taint(&there(scene, &victim).await?, KEY) {
            return Err(Error::refused(format!("tainting {}: another run has done so", victim.shown))
                .hint("davit chaos janitor undoes what is left of it"));
        }
        let undo = format!("take the taint {KEY} off {}", victim.shown);
        Ok(Prepared { victim, prior: json!({ "value": scene.run }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let taint = json!({ "key": KEY, "value": scene.run, "effect": effect(scene)? });
        change(scene, &prepared.victim, |taints| taints.push(taint.clone())).await?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let (node, effect) = (name(&prepared.victim)?, effect(scene)?);
        if effect == "NoSchedule" {
            return scout::turned_away(scene, node, KEY, asked).await;
        }
        let look = || async move {
            if !has_taint(&there(scene, &prepared.victim).await?, KEY) {
                return Ok(None);
            }
            let all = list(scene.means.cluster()?, &pods(), None, None).await?;
            let left =
                all.iter().filter(|pod| pod["spec"]["nodeName"] == node && !tolerates(pod) && !is_static(pod)).count();
            Ok((left == 0).then(|| format!("no pod is left on node {node} that does not tolerate {KEY}:{effect}")))
        };
        scene.look(asked, DRIVEN_OFF, "pods were left that do not tolerate the taint", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        scout::call_back(scene, name(&prepared.victim)?).await?;
        match now(scene, &prepared.victim).await? {
            Some(node) if has_taint(&node, KEY) => {
                change(scene, &prepared.victim, |taints| taints.retain(|taint| taint["key"] != KEY)).await
            }
            _ => Ok(()),
        }
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let shown = &prepared.victim.shown;
        Ok(match now(scene, &prepared.victim).await? {
            Some(node) if has_taint(&node, KEY) => ReadBack::Not { why: format!("{shown} still carries {KEY}") },
            Some(_) => ReadBack::AsBefore { seen: format!("{shown} does not carry {KEY} any more") },
            None => ReadBack::NothingToUndo { seen: format!("{shown} was removed from the cluster") },
        })
    }
}

fn effect<'a>(scene: &Scene<'a>) -> Result<&'a str> {
    match scene.parameters.get("effect").unwrap_or("NoExecute") {
        effect @ ("NoExecute" | "NoSchedule") => Ok(effect),
        other => Err(Error::input(format!("reading the parameter effect={other:?}")).hint("NoExecute or NoSchedule")),
    }
}

/// Changes the list of taints as a whole, and only if nobody else changed the node meanwhile.
async fn change(scene: &Scene<'_>, victim: &Victim, edit: impl Fn(&mut Vec<Value>) + Send + Sync) -> Result<()> {
    let (cluster, name) = (scene.means.cluster()?, name(victim)?);
    let write = Write { field_manager: Some(MANAGER), ..Write::default() };
    for _ in 0..ATTEMPTS {
        let node = there(scene, victim).await?;
        let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        edit(&mut taints);
        let taints = if taints.is_empty() { Value::Null } else { Value::Array(taints) };
        let body = json!({
            "metadata": { "uid": victim.key, "resourceVersion": node["metadata"]["resourceVersion"] },
            "spec": { "taints": taints },
        });
        match cluster.patch(&nodes(), (None, name), Patch::Merge, &body, write).await {
            Ok(_) => return Ok(()),
            Err(why) if why.fault == ApiFault::Conflict => {}
            Err(why) => return Err(why.during(format!("changing the taints of node {name}"))),
        }
    }
    Err(Error::failed(format!("changing the taints of node {name}: somebody else changes it all the time")))
}

fn tolerates(pod: &Value) -> bool {
    pod["spec"]["tolerations"].as_array().into_iter().flatten().any(|one| {
        let key = one["key"].as_str();
        let effect = one["effect"].as_str();
        let any_key = key.is_none_or(str::is_empty) && one["operator"] == "Exists";
        // A toleration that ends is none: the pod goes a little later.
        (any_key || key == Some(KEY))
            && effect.is_none_or(|effect| effect == "NoExecute")
            && one["tolerationSeconds"].is_null()
    })
}

fn is_static(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
        || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}
