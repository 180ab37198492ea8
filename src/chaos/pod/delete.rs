//! `pod-delete` and `pod-force-delete`.

use super::{READS, TARGETS, candidates, fact, gone_in_time, objections, standing, without_undo};
use crate::chaos::cluster::pods;
use crate::chaos::evidence::{Evidence, Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Place, Prepared, Rule, Scene};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::helper::{Orders, ended_on_node, forget, fuse, room};
use crate::chaos::select::Victim;
use crate::cluster::{Delete, Write};
use crate::error::Result;
use crate::measure::Interval;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug)]
pub(in crate::chaos) struct Deletion {
    forced: bool,
}

impl Deletion {
    pub(super) const GRACEFUL: Self = Self { forced: false };
    pub(super) const FORCED: Self = Self { forced: true };
}

const RBAC: [Rule; 3] =
    [READS[0], READS[1], Rule { group: "", resource: "pods", verbs: &["delete"], place: Place::Target }];

const FORCED_RBAC: [Rule; 4] = [RBAC[0], RBAC[1], RBAC[2], fuse::RBAC];

#[async_trait]
impl Fault for Deletion {
    fn facts(&self) -> Facts {
        let common = Facts {
            name: "pod-delete",
            class: Class::SelfHealing,
            targets: TARGETS,
            summary: "deletes pods; their containers get the signal to end",
            needs: "delete on pods",
            proof: "the pod of this uid is gone: its node has said that its containers ended",
            heals: "the pod's controller makes another one",
            expires: "at once",
            parameters: &[Parameter { name: "grace", default: Some(""), what: "seconds to end [the pod's own]" }],
            rbac: &RBAC,
            many: true,
        };
        if !self.forced {
            return common;
        }
        Facts {
            name: "pod-force-delete",
            summary: "deletes pods without waiting for their nodes: containers may run on for a while",
            proof: "the pod of this uid is gone from the server, and a helper on its node sees no process of it",
            needs: "delete on pods; the helper's namespace: privileged pods on the victim's node",
            parameters: &[],
            rbac: &FORCED_RBAC,
            ..common
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        if !self.forced {
            scene.parameters.read::<u32>("grace", 0)?;
        }
        candidates(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        let mut findings = objections(scene, victims).await?;
        if self.forced {
            let keeps_state = victims.iter().find(|victim| victim.facts["owner"]["kind"] == "StatefulSet");
            findings.push(match keeps_state {
                Some(victim) => {
                    let why = format!("{} may run on beside its successor of the same name", victim.shown);
                    Finding::no(GuardName::SplitBrain, why)
                }
                None => Finding::yes(GuardName::SplitBrain, "no victim belongs to a StatefulSet"),
            });
            if let Some(victim) = victims.iter().find(|victim| victim.facts["node"].is_string()) {
                findings.extend(room::of_helper(scene, victim).await?);
            }
        }
        Ok(findings)
    }

    async fn prepare(&self, _scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let prior = if self.forced { json!(Orders::gone(&victim)) } else { Value::Null };
        Ok(Prepared { prior, ..without_undo(victim) })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let victim = &prepared.victim;
        let (namespace, name) = (fact(victim, "namespace")?, fact(victim, "name")?);
        let grace: Option<u32> = match scene.parameters.get("grace").filter(|text| !text.is_empty()) {
            _ if self.forced => Some(0),
            // Zero would be a forced deletion.
            Some(_) => Some(scene.parameters.read::<u32>("grace", 1)?.max(1)),
            None => None,
        };
        // Only this very pod: a successor may have its name already.
        let delete = Delete { uid: Some(&victim.key), grace_seconds: grace, ..Delete::default() };
        let asked = scene.means.cluster()?.delete(&pods(), (Some(namespace), name), delete, Write::default()).await;
        asked.map_err(|why| why.during(format!("deleting pod {name}")))?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let gone = gone_in_time(scene, &prepared.victim, asked).await?;
        let (Proof::Proven(seen), true) = (&gone, self.forced && !prepared.prior.is_null()) else { return Ok(gone) };
        if !ended_on_node(scene, prepared).await? {
            return Ok(Proof::Unproven { why: format!("{}, but it still runs on its node", seen.seen) });
        }
        let seen = format!("{}, and no process of it runs on its node", seen.seen);
        Ok(Proof::Proven(Evidence { seen, effective: Interval::new(asked, scene.means.clock.monotonic()) }))
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        if prepared.prior.is_null() { Ok(()) } else { forget(scene, prepared).await }
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        Ok(ReadBack::NothingToUndo { seen: standing(scene, &prepared.victim).await? })
    }
}
