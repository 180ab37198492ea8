//! `scale-to-zero`: takes all pods of a workload away for a time.

use super::{GONE, READS, TARGETS};
use crate::chaos::cluster::{list, meta, pods, selector, workload};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Place, Prepared, Rule, Scene};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::helper::fuse::{self, FUSE};
use crate::chaos::select::Victim;
use crate::chaos::target::{PodChoice, Target};
use crate::cluster::{Cluster, Fault as ApiFault, Kind, Patch, Write};
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug)]
pub(in crate::chaos) struct ScaleToZero;

#[derive(Debug, Serialize, Deserialize)]
struct Prior {
    replicas: u64,
    selector: String,
}

const RBAC: [Rule; 6] = [
    READS[0],
    Rule { group: "apps", resource: "deployments", verbs: &["get"], place: Place::Target },
    Rule { group: "apps", resource: "statefulsets", verbs: &["get"], place: Place::Target },
    Rule { group: "apps", resource: "deployments/scale", verbs: &["patch"], place: Place::Target },
    Rule { group: "apps", resource: "statefulsets/scale", verbs: &["patch"], place: Place::Target },
    fuse::RBAC,
];

/// Who writes the number of replicas.
const MANAGER: &str = "davit-chaos";

#[async_trait]
impl Fault for ScaleToZero {
    fn facts(&self) -> Facts {
        Facts {
            name: "scale-to-zero",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "takes all pods of a Deployment or StatefulSet away for a time",
            needs: "patch on its scale; an autoscaler of the same workload works against it",
            proof: "no pod of its selector is left",
            heals: "the recorded number of replicas is put back",
            expires: FUSE,
            parameters: &[],
            rbac: &RBAC,
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let (kind, namespace, name) = place(scene)?;
        let Some(found) = find(scene.means.cluster()?, &kind, namespace, name).await? else { return Ok(Vec::new()) };
        // What has no pods loses none.
        if replicas(&found) == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![Victim::new(meta(&found, "uid"), format!("{} {name}", kind.kind))])
    }

    async fn objections(&self, _scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        let all = victims.iter().map(|victim| format!("no pod of {} would be left", victim.shown));
        Ok(all.map(|why| Finding::no(GuardName::Quorum, why)).collect())
    }

    fn proving(&self, _scene: &Scene<'_>) -> Result<Option<Duration>> {
        Ok(Some(GONE))
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let (kind, namespace, name) = place(scene)?;
        let found = find(scene.means.cluster()?, &kind, namespace, name).await?;
        let found = found.filter(|found| meta(found, "uid") == victim.key);
        let found = found.ok_or_else(|| Error::refused(format!("reading {}: it is gone", victim.shown)))?;
        let prior = Prior { replicas: replicas(&found), selector: selector(&found["spec"]["selector"]) };
        let undo = format!("scale it back to {}", prior.replicas);
        Ok(Prepared { victim, prior: json!(prior), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let (kind, namespace, name) = place(scene)?;
        scale(scene.means.cluster()?, &kind, (namespace, name), 0).await?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let (_, namespace, name) = place(scene)?;
        let prior: Prior = prepared.prior()?;
        let (cluster, prior) = (scene.means.cluster()?, &prior);
        let look = || async move {
            let left = list(cluster, &pods(), Some(namespace), Some(&prior.selector)).await?;
            Ok(left.is_empty().then(|| format!("no pod of {name} is left ({})", prior.selector)))
        };
        scene.look(asked, GONE, "pods were left", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let (kind, namespace, name) = place(scene)?;
        let prior: Prior = prepared.prior()?;
        let cluster = scene.means.cluster()?;
        let Some(found) = find(cluster, &kind, namespace, name).await? else { return Ok(()) };
        // Another number than ours was set by somebody else, and another workload of the name is none of ours.
        if meta(&found, "uid") == prepared.victim.key && replicas(&found) == 0 {
            scale(cluster, &kind, (namespace, name), prior.replicas).await?;
        }
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let (kind, namespace, name) = place(scene)?;
        let prior: Prior = prepared.prior()?;
        let found = find(scene.means.cluster()?, &kind, namespace, name).await?;
        Ok(match found {
            Some(found) if meta(&found, "uid") != prepared.victim.key => {
                ReadBack::NothingToUndo { seen: "it was replaced by another one of its name".to_owned() }
            }
            None => ReadBack::NothingToUndo { seen: "it was deleted meanwhile".to_owned() },
            Some(found) if replicas(&found) == prior.replicas => {
                ReadBack::AsBefore { seen: format!("it wants {} replicas again", prior.replicas) }
            }
            Some(found) if replicas(&found) > 0 => {
                ReadBack::NothingToUndo { seen: format!("somebody else has scaled it to {}", replicas(&found)) }
            }
            Some(_) => ReadBack::Not { why: format!("it still wants no replicas, and wanted {}", prior.replicas) },
        })
    }
}

fn place<'a>(scene: &Scene<'a>) -> Result<(Kind, &'a str, &'a str)> {
    match scene.target {
        Target::Pods { namespace, choice: PodChoice::Workload { kind, name } }
            if ["deployments", "statefulsets"].contains(&kind.as_str()) =>
        {
            Ok((workload(kind), namespace, name))
        }
        other => Err(Error::input(format!("scaling {other}: it is no Deployment or StatefulSet"))
            .hint("a target is NAMESPACE/deployment/NAME or NAMESPACE/statefulset/NAME")),
    }
}

async fn find(cluster: &Cluster, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
    match cluster.get(kind, Some(namespace), name).await {
        Ok(found) => Ok(Some(found)),
        Err(why) if why.fault == ApiFault::NotFound => Ok(None),
        Err(why) => Err(why.during(format!("reading {} {name}", kind.kind))),
    }
}

fn replicas(object: &Value) -> u64 {
    object["spec"]["replicas"].as_u64().unwrap_or(1)
}

async fn scale(cluster: &Cluster, kind: &Kind, (namespace, name): (&str, &str), replicas: u64) -> Result<()> {
    let write = Write { field_manager: Some(MANAGER), subresource: Some("scale"), ..Write::default() };
    let body = json!({ "spec": { "replicas": replicas } });
    let done = cluster.patch(kind, (Some(namespace), name), Patch::Merge, &body, write).await;
    done.map(drop).map_err(|why| why.during(format!("scaling {} {name} to {replicas}", kind.kind)))
}
