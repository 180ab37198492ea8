//! A copy of an open intent in the cluster that it is about, for whoever stands before a broken cluster and has no
//! repository at hand: what was done, to whom, and how it is undone. It is an index and nothing more: nothing reads it back,
//! and where it cannot be written the fault goes on, because the repository has the intent.

use super::intent::Intent;
use super::means::Means;
use crate::cluster::{Delete, Fault, Kind, Write};
use crate::id::RunId;
use serde_json::json;

/// Who writes copies.
const MANAGER: &str = "davit-chaos";

fn kind() -> Kind {
    Kind::known("", "v1", "configmaps", "ConfigMap")
}

/// Names of objects have small letters only.
fn name(run: &RunId, number: u32) -> String {
    format!("davit-intent-{}-{number}", run.as_str().to_lowercase())
}

/// Writes the copy into the namespace of the helper pods, if the cluster has it.
pub(super) async fn put(means: &Means, intent: &Intent) {
    let (Some(cluster), Some(_)) = (&means.cluster, &intent.cluster) else { return };
    let namespace = &means.helper.namespace;
    let body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name(&intent.run, intent.number),
            "labels": { "app.kubernetes.io/managed-by": "davit", "davit.dev/run": intent.run.as_str().to_lowercase() },
        },
        "data": {
            "run": intent.run.as_str(),
            "fault": intent.fault,
            "target": intent.target_shown(),
            "victim": intent.victim.shown,
            "undo": intent.undo,
            "began": intent.began.to_string(),
            "holder": intent.holder,
            "what-to-do": format!("davit chaos janitor --run {}", intent.run),
        },
    });
    let write = Write { field_manager: Some(MANAGER), ..Write::default() };
    match cluster.create(&kind(), Some(namespace), &body, write).await {
        Ok(_) => {}
        Err(why) if why.fault == Fault::Exists => {}
        Err(why) => tracing::debug!("no copy of the intent lies in namespace {namespace}: {why}"),
    }
}

/// Takes the copy away: its intent is closed.
pub(super) async fn remove(means: &Means, run: &RunId, number: u32) {
    let Some(cluster) = &means.cluster else { return };
    let (namespace, name) = (means.helper.namespace.as_str(), name(run, number));
    let removed = cluster.delete(&kind(), (Some(namespace), &name), Delete::default(), Write::default()).await;
    match removed {
        Ok(_) => {}
        Err(why) if why.fault == Fault::NotFound => {}
        Err(why) => tracing::debug!("the copy {name} of a closed intent stays in namespace {namespace}: {why}"),
    }
}
