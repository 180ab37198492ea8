//! `node-cordon`: new pods are not put on a node.

use super::{MANAGER, PATCHES, READS, TARGETS, candidates, has_taint, name, now, objections, there};
use crate::chaos::cluster::nodes;
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::helper::fuse::{self, FUSE};
use crate::chaos::select::Victim;
use crate::cluster::{Patch, Write};
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// The controller that follows `unschedulable` looks at once; its restart takes some seconds.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// What that controller puts on a node, which shows that the scheduler will see it.
const TAINT: &str = "node.kubernetes.io/unschedulable";

#[derive(Debug)]
pub(in crate::chaos) struct Cordon;

#[async_trait]
impl Fault for Cordon {
    fn facts(&self) -> Facts {
        Facts {
            name: "node-cordon",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "no new pods are put on a node",
            needs: "patch on nodes",
            proof: "the node controller has tainted the node as unschedulable",
            heals: "the node takes pods again",
            expires: FUSE,
            parameters: &[],
            rbac: &[READS, PATCHES, fuse::RBAC],
            many: true,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        candidates(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        objections(scene, victims).await
    }

    fn proving(&self, _scene: &Scene<'_>) -> Result<Option<Duration>> {
        Ok(Some(SOON))
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        refuse_cordoned(&there(scene, &victim).await?, &victim)?;
        let undo = format!("uncordon {}", victim.shown);
        Ok(Prepared { victim, prior: json!({ "unschedulable": false }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        set(scene, &prepared.victim, true).await?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        cordoned(scene, &prepared.victim, asked).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        uncordon(scene, &prepared.victim).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        takes_pods(scene, &prepared.victim).await
    }
}

/// What somebody else cordoned is not ours to uncordon.
pub(super) fn refuse_cordoned(node: &Value, victim: &Victim) -> Result<()> {
    if node["spec"]["unschedulable"] == true {
        return Err(Error::refused(format!("cordoning {}: somebody else has done so", victim.shown)));
    }
    Ok(())
}

/// Cordons a node, or lets it take pods again.
pub(super) async fn set(scene: &Scene<'_>, victim: &Victim, unschedulable: bool) -> Result<()> {
    let name = name(victim)?;
    let value = if unschedulable { json!(true) } else { Value::Null };
    // The uid makes the server refuse a node that took the name over.
    let body = json!({ "metadata": { "uid": victim.key }, "spec": { "unschedulable": value } });
    let write = Write { field_manager: Some(MANAGER), ..Write::default() };
    let done = scene.means.cluster()?.patch(&nodes(), (None, name), Patch::Merge, &body, write).await;
    let doing = if unschedulable { "cordoning" } else { "uncordoning" };
    done.map(drop).map_err(|why| why.during(format!("{doing} node {name}")))
}

/// Looks for what the node controller makes of it.
pub(super) async fn cordoned(scene: &Scene<'_>, victim: &Victim, asked: Duration) -> Result<Proof> {
    let look = || async move {
        let node = there(scene, victim).await?;
        Ok(has_taint(&node, TAINT).then(|| format!("{} is tainted {TAINT}", victim.shown)))
    };
    scene.look(asked, SOON, "the node was not tainted as unschedulable", look).await
}

/// Lets the node take pods again, if it is still there.
pub(super) async fn uncordon(scene: &Scene<'_>, victim: &Victim) -> Result<()> {
    match now(scene, victim).await? {
        Some(node) if node["spec"]["unschedulable"] == true => set(scene, victim, false).await,
        _ => Ok(()),
    }
}

/// Looks whether the node takes pods again.
pub(super) async fn takes_pods(scene: &Scene<'_>, victim: &Victim) -> Result<ReadBack> {
    let open = || async move {
        Ok(now(scene, victim)
            .await?
            .is_none_or(|node| node["spec"]["unschedulable"] != true && !has_taint(&node, TAINT)))
    };
    if !scene.until(SOON, open).await? {
        return Ok(ReadBack::Not { why: format!("{} still takes no pods", victim.shown) });
    }
    Ok(match now(scene, victim).await? {
        Some(_) => ReadBack::AsBefore { seen: format!("{} takes pods, and its taint is gone", victim.shown) },
        None => ReadBack::NothingToUndo { seen: format!("{} was removed from the cluster", victim.shown) },
    })
}
