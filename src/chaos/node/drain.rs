//! `node-drain`: cordons a node and evicts its pods, one after another as disruption budgets allow.

use super::cordon::{SOON, cordoned, refuse_cordoned, set, takes_pods, uncordon};
use super::{PATCHES, READS, TARGETS, candidates, name, objections, there};
use crate::chaos::cluster::{list, meta, pods};
use crate::chaos::evidence::{Evidence, Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Place, Prepared, Rule, Scene};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::helper::fuse::{self, FUSE};
use crate::chaos::pod::evict::evict;
use crate::chaos::select::Victim;
use crate::cluster::Fault as ApiFault;
use crate::error::Result;
use crate::measure::Interval;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Between two rounds of evictions: a budget takes a moment to allow the next.
const ROUND: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::chaos) struct Drain;

/// A pod that has to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leaver {
    namespace: String,
    name: String,
    uid: String,
}

const EVICTS: Rule = Rule { group: "", resource: "pods/eviction", verbs: &["create"], place: Place::Cluster };
const PODS: Rule = Rule { group: "", resource: "pods", verbs: &["list"], place: Place::Cluster };

#[async_trait]
impl Fault for Drain {
    fn facts(&self) -> Facts {
        Facts {
            name: "node-drain",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "cordons a node and evicts its pods; disruption budgets are kept, DaemonSets stay",
            needs: "patch on nodes, list on pods and create on pods/eviction in the whole cluster",
            proof: "every pod that had to go is gone from the node, and the node is tainted as unschedulable",
            heals: "the node takes pods again; pods do not move back by themselves",
            expires: FUSE,
            parameters: &[Parameter {
                name: "within",
                default: Some("300"),
                what: "seconds that all evictions may take",
            }],
            rbac: &[READS, PATCHES, EVICTS, PODS, fuse::RBAC],
            many: true,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        scene.parameters.read::<u64>("within", 300)?;
        candidates(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        let mut findings = objections(scene, victims).await?;
        for victim in victims {
            let all = on_node(scene, name(victim)?).await?;
            // What is going already goes anyhow.
            for pod in all.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
                let shown = format!("pod {}/{} on {}", meta(&pod, "namespace"), meta(&pod, "name"), victim.shown);
                if is_lonely(&pod) {
                    let why = format!("{shown} has no controller: nobody makes it again");
                    findings.push(Finding::no(GuardName::Quorum, why));
                } else if meta(&pod, "namespace") == "kube-system" {
                    findings.push(Finding::no(GuardName::ProtectedNamespace, format!("{shown} would be evicted")));
                }
            }
        }
        Ok(findings)
    }

    fn proving(&self, scene: &Scene<'_>) -> Result<Option<Duration>> {
        Ok(Some(SOON + Duration::from_secs(scene.parameters.read("within", 300)?)))
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        refuse_cordoned(&there(scene, &victim).await?, &victim)?;
        let leavers: Vec<Leaver> = on_node(scene, name(&victim)?).await?.iter().map(leaver).collect();
        let undo = format!("uncordon {}; its {} pods have moved and stay where they are", victim.shown, leavers.len());
        Ok(Prepared { victim, prior: json!({ "unschedulable": false, "leavers": leavers }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        set(scene, &prepared.victim, true).await?;
        Ok(Held::nothing())
    }

    /// Evictions are asked for here, because a budget may hold them up for long: what is gone is the proof.
    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let tainted = cordoned(scene, &prepared.victim, asked).await?;
        let Proof::Proven(Evidence { seen, .. }) = &tainted else { return Ok(tainted) };
        let (clock, cluster) = (&scene.means.clock, scene.means.cluster()?);
        let node = name(&prepared.victim)?;
        let limit = Duration::from_secs(scene.parameters.read("within", 300)?);
        let began = clock.monotonic();
        let mut not_yet = asked;
        let mut held_up = String::new();
        loop {
            let looked = clock.monotonic();
            let left = on_node(scene, node).await?;
            if left.is_empty() {
                let seen = format!("no pod that had to go is left on node {node}; {seen}");
                return Ok(Proof::Proven(Evidence { seen, effective: Interval::new(not_yet, clock.monotonic()) }));
            }
            not_yet = looked;
            if clock.monotonic().saturating_sub(began) > limit || scene.means.cancel.is_cancelled() {
                let why = format!("{} pods are still on node {node}{held_up}", left.len());
                return Ok(Proof::Unproven { why });
            }
            for pod in left.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
                let Leaver { namespace, name, uid } = leaver(pod);
                match evict(cluster, (&namespace, &name), &uid, false).await {
                    Ok(()) => {}
                    Err(why) if matches!(why.fault, ApiFault::HeldUp | ApiFault::TooMany) => {
                        held_up = format!("; {namespace}/{name}: {why}");
                    }
                    Err(why) if matches!(why.fault, ApiFault::NotFound | ApiFault::Conflict) => {}
                    Err(why) => return Err(why.during(format!("evicting pod {namespace}/{name}"))),
                }
            }
            clock.sleep(ROUND).await;
        }
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        uncordon(scene, &prepared.victim).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        takes_pods(scene, &prepared.victim).await
    }
}

/// The pods of a node that a drain moves: not those of a `DaemonSet`, not the node's own, not the ended ones.
async fn on_node(scene: &Scene<'_>, node: &str) -> Result<Vec<Value>> {
    let all = list(scene.means.cluster()?, &pods(), None, None).await?;
    Ok(all.into_iter().filter(|pod| pod["spec"]["nodeName"] == node && has_to_go(pod)).collect())
}

fn has_to_go(pod: &Value) -> bool {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let mirror = pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let daemon = owners.into_iter().flatten().any(|owner| owner["kind"] == "DaemonSet" && owner["controller"] == true);
    !ended && !mirror && !daemon
}

fn is_lonely(pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    !owners.into_iter().flatten().any(|owner| owner["controller"] == true)
}

fn leaver(pod: &Value) -> Leaver {
    let of = |field: &str| meta(pod, field).to_owned();
    Leaver { namespace: of("namespace"), name: of("name"), uid: of("uid") }
}
