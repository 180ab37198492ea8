//! A pod that is to be put on one node and no other: what the scheduler says to it is evidence.

use super::fuse::is_possible;
use crate::chaos::cluster::pods;
use crate::chaos::evidence::Proof;
use crate::chaos::fault::Scene;
use crate::cluster::{Delete, Fault as ApiFault, Write};
use crate::error::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the scheduler may take to answer.
const ANSWERED: Duration = Duration::from_secs(30);

fn name(scene: &Scene<'_>, node: &str) -> String {
    let node = &blake3::hash(node.as_bytes()).to_hex()[..8];
    format!("davit-{}-{node}-scout", scene.run.as_str().to_lowercase())
}

pub(super) fn manifest(scene: &Scene<'_>, node: &str) -> Value {
    let there = json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] }]);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(scene, node),
            "namespace": scene.means.helper.namespace,
            "labels": { "app.kubernetes.io/managed-by": "davit", "davit.dev/run": scene.run, "davit.dev/mode": "scout" },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "activeDeadlineSeconds": 60,
            "affinity": { "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": there } } },
            "containers": [{
                "name": "scout", "image": scene.means.helper.image, "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/true"],
            }],
        },
    })
}

/// Whether the scheduler turns a pod away from a node because of this taint.
pub(in crate::chaos) async fn turned_away(
    scene: &Scene<'_>,
    node: &str,
    taint: &str,
    asked: Duration,
) -> Result<Proof> {
    let (cluster, namespace) = (scene.means.cluster()?, scene.means.helper.namespace.as_str());
    if !is_possible(scene).await? {
        let why = format!("the scheduler could not be asked: there is no namespace {namespace} for a pod of ours");
        return Ok(Proof::Unproven { why });
    }
    let name = &name(scene, node);
    let made = cluster.create(&pods(), Some(namespace), &manifest(scene, node), Write::default()).await;
    made.map_err(|why| why.during(format!("making the pod {name}")))?;
    let look = || async move {
        let pod = cluster.get(&pods(), Some(namespace), name).await;
        let pod = pod.map_err(|why| why.during(format!("looking at the pod {name}")))?;
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let no = conditions.filter(|one| one["type"] == "PodScheduled" && one["status"] == "False");
        let mut no = no.filter_map(|one| one["message"].as_str()).filter(|message| message.contains(taint));
        Ok(no.next().map(|message| format!("the scheduler says: {message}")))
    };
    let proof = scene.look(asked, ANSWERED, "the scheduler turned no pod of ours away", look).await?;
    call_back(scene, node).await?;
    Ok(proof.since(asked))
}

/// Takes the pod away, if there is one.
pub(in crate::chaos) async fn call_back(scene: &Scene<'_>, node: &str) -> Result<()> {
    let (namespace, name) = (scene.means.helper.namespace.as_str(), name(scene, node));
    let delete = Delete { grace_seconds: Some(0), ..Delete::default() };
    match scene.means.cluster()?.delete(&pods(), (Some(namespace), &name), delete, Write::default()).await {
        Err(why) if why.fault != ApiFault::NotFound => Err(why.during(format!("deleting the pod {name}"))),
        _ => Ok(()),
    }
}
