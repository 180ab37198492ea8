//! Fuses in the cluster: what the API server took lasts until somebody takes it back, so a pod waits that does.
//!
//! A fuse knows the intent, and does after its time what the janitor would do. It has no repository, so the intent stays
//! open until somebody looks. Whoever heals takes it away.

use super::STARTED;
use crate::chaos::cluster::pods;
use crate::chaos::evidence::ReadBack;
use crate::chaos::fault::{Place, Rule, Scene};
use crate::chaos::intent::Intent;
use crate::chaos::means::Means;
use crate::chaos::target::Target;
use crate::cluster::{Delete, Fault as ApiFault, Kind, Write};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// What lighting a fuse and taking it away takes.
pub(in crate::chaos) const RBAC: Rule =
    Rule { group: "", resource: "pods", verbs: &["get", "create", "delete"], place: Place::Helper };
/// What ends such a fault when nobody is left who does.
pub(in crate::chaos) const FUSE: &str =
    "its fuse, a pod in the helpers' namespace, takes it back; without such a namespace only the intent does";
/// How long a fuse tries to undo.
const TRIES: Duration = Duration::from_mins(30);
/// How long it may take to be gone.
const GONE: Duration = Duration::from_mins(1);

fn name(scene: &Scene<'_>, number: u32) -> String {
    format!("davit-{}-{number}-fuse", scene.run.as_str().to_lowercase())
}

/// Whether there is a place for fuses.
pub(in crate::chaos) async fn is_possible(scene: &Scene<'_>) -> Result<bool> {
    let namespace = &scene.means.helper.namespace;
    match scene.means.cluster()?.get(&Kind::namespaces(), None, namespace).await {
        Ok(_) => Ok(true),
        Err(why) if why.fault == ApiFault::NotFound => Ok(false),
        Err(why) => Err(why.during(format!("looking for the namespace {namespace}"))),
    }
}

/// Lights one that burns down after `time`, and waits until it burns.
pub(in crate::chaos) async fn light(scene: &Scene<'_>, intent: &Intent, time: Duration) -> Result<()> {
    let (cluster, namespace) = (scene.means.cluster()?, scene.means.helper.namespace.as_str());
    let name = &name(scene, intent.number);
    let doing = || format!("starting the fuse {name} in {namespace}");
    let body = manifest(scene, intent, time)?;
    cluster.create(&pods(), Some(namespace), &body, Write::default()).await.map_err(|why| {
        let hint = "davit chaos rbac prints what the account of fuses needs; docs/chaos.md says how it is made";
        why.during(doing()).hint(hint)
    })?;
    let burns = || async move {
        let pod = cluster.get(&pods(), Some(namespace), name).await.map_err(|why| why.during("looking at a fuse"))?;
        Ok(pod["status"]["phase"] == "Running")
    };
    if scene.until(STARTED, burns).await? {
        return Ok(());
    }
    Err(Error::failed(format!("{}: it does not run", doing())))
}

fn manifest(scene: &Scene<'_>, intent: &Intent, time: Duration) -> Result<Value> {
    let helper = &scene.means.helper;
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let at = scene.means.clock.now().as_second().saturating_add(seconds);
    let orders = serde_json::to_string(intent).map_err(|why| Error::failed("writing a fuse's orders").because(why))?;
    let mut spec = json!({
        "serviceAccountName": helper.account,
        "restartPolicy": "OnFailure",
        "activeDeadlineSeconds": (time + TRIES).as_secs(),
        "terminationGracePeriodSeconds": 2,
        "tolerations": [{ "operator": "Exists" }],
        "containers": [{
            "name": "fuse",
            "image": helper.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["davit", "carrier", "fuse", "--at", at.to_string(), "--intent", orders],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true,
            },
        }],
    });
    if let (Target::Nodes { .. }, Some(node)) = (scene.target, intent.victim.facts["name"].as_str()) {
        // What empties a node must not take along what fills it again.
        let elsewhere = json!([{ "matchFields": [{ "key": "metadata.name", "operator": "NotIn", "values": [node] }] }]);
        spec["affinity"] = json!({
            "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": elsewhere } },
        });
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(scene, intent.number),
            "namespace": helper.namespace,
            "labels": { "app.kubernetes.io/managed-by": "davit", "davit.dev/run": scene.run, "davit.dev/mode": "fuse" },
        },
        "spec": spec,
    }))
}

/// Takes one away, if there is one, and waits until it is gone: a fuse that is left would burn into the next run.
pub(in crate::chaos) async fn extinguish(scene: &Scene<'_>, number: u32) -> Result<()> {
    let (cluster, namespace) = (scene.means.cluster()?, scene.means.helper.namespace.as_str());
    let name = &name(scene, number);
    let delete = Delete { grace_seconds: Some(1), ..Delete::default() };
    match cluster.delete(&pods(), (Some(namespace), name), delete, Write::default()).await {
        Ok(_) => {}
        Err(why) if why.fault == ApiFault::NotFound => return Ok(()),
        Err(why) => return Err(why.during(format!("deleting the fuse {name}"))),
    }
    let gone = || async move {
        match cluster.get(&pods(), Some(namespace), name).await {
            Ok(_) => Ok(false),
            Err(why) if why.fault == ApiFault::NotFound => Ok(true),
            Err(why) => Err(why.during(format!("looking at the fuse {name}"))),
        }
    };
    if scene.until(GONE, gone).await? {
        return Ok(());
    }
    Err(Error::failed(format!("deleting the fuse {name}: it does not go")))
}

/// What a fuse does in the end: undo what the intent says, and look.
pub async fn burn(means: &Means, intent: &Intent) -> Result<ReadBack> {
    let target = intent.target()?;
    let fault = intent.fault()?;
    let scene =
        Scene { means, run: &intent.run, target: &target, parameters: &intent.parameters, duration: intent.duration() };
    let prepared = intent.prepared();
    fault.heal(&scene, &prepared).await?;
    fault.read_back(&scene, &prepared).await
}
