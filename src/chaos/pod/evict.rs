//! `pod-evict`: asks the server to evict pods, which it refuses where a disruption budget would be broken.

use super::{READS, TARGETS, candidates, fact, gone_in_time, objections, standing, without_undo};
use crate::chaos::cluster::pods;
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Place, Prepared, Rule, Scene};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::select::Victim;
use crate::cluster::{ApiError, Cluster, Fault as ApiFault, Write};
use crate::error::Result;
use async_trait::async_trait;
use serde_json::json;
use std::time::Duration;

#[derive(Debug)]
pub(in crate::chaos) struct Eviction;

const RBAC: [Rule; 3] =
    [READS[0], READS[1], Rule { group: "", resource: "pods/eviction", verbs: &["create"], place: Place::Target }];

/// Asks for the eviction of exactly one pod, or whether it would be allowed.
pub(in crate::chaos) async fn evict(
    cluster: &Cluster,
    (namespace, name): (&str, &str),
    uid: &str,
    dry_run: bool,
) -> Result<(), ApiError> {
    let mut body = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": name, "namespace": namespace },
        "deleteOptions": { "preconditions": { "uid": uid } },
    });
    if dry_run {
        body["deleteOptions"]["dryRun"] = json!(["All"]);
    }
    let write = Write { dry_run, subresource: Some("eviction"), ..Write::default() };
    cluster.ask(&pods(), (Some(namespace), name), &body, write).await.map(drop)
}

#[async_trait]
impl Fault for Eviction {
    fn facts(&self) -> Facts {
        Facts {
            name: "pod-evict",
            class: Class::SelfHealing,
            targets: TARGETS,
            summary: "evicts pods, as the drain of a node does; disruption budgets are kept",
            needs: "create on pods/eviction",
            proof: "the pod of this uid is gone: its node has said that its containers ended",
            heals: "the pod's controller makes another one",
            expires: "at once",
            parameters: &[],
            rbac: &RBAC,
            many: true,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        candidates(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        let mut findings = objections(scene, victims).await?;
        let cluster = scene.means.cluster()?;
        for victim in victims {
            let (namespace, name) = (fact(victim, "namespace")?, fact(victim, "name")?);
            match evict(cluster, (namespace, name), &victim.key, true).await {
                Ok(()) => {}
                Err(why) if matches!(why.fault, ApiFault::HeldUp | ApiFault::TooMany) => {
                    findings.push(Finding::no(GuardName::DisruptionBudget, format!("{}: {why}", victim.shown)));
                }
                Err(why) => return Err(why.during(format!("asking whether pod {name} may be evicted"))),
            }
        }
        Ok(findings)
    }

    async fn prepare(&self, _scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        Ok(without_undo(victim))
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let victim = &prepared.victim;
        let (namespace, name) = (fact(victim, "namespace")?, fact(victim, "name")?);
        let asked = evict(scene.means.cluster()?, (namespace, name), &victim.key, false).await;
        asked.map_err(|why| why.during(format!("evicting pod {name}")))?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        gone_in_time(scene, &prepared.victim, asked).await
    }

    async fn heal(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        Ok(ReadBack::NothingToUndo { seen: standing(scene, &prepared.victim).await? })
    }
}
