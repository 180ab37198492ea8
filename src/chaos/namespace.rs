//! `namespace-delete`: deletes a namespace with everything in it, as a script with the wrong variable does.

use super::cluster::{list, meta, pods};
use super::evidence::{Proof, ReadBack};
use super::fault::{Class, Facts, Fault, Held, Place, Prepared, Rule, Scene};
use super::select::Victim;
use super::target::{Target, TargetKind};
use crate::cluster::{Cluster, Delete, Fault as ApiFault, Kind, Write};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::humane::counted;
use crate::measure::Interval;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// All faults of namespaces.
pub(super) const FAULTS: [&dyn Fault; 1] = [&NamespaceDelete];

/// How long pods may take to end: the longest grace period that people usually give them, and what their nodes take.
const GONE: Duration = Duration::from_mins(5);

#[derive(Debug)]
struct NamespaceDelete;

/// A role in a namespace may allow to read and to delete that namespace itself, and no other one.
const RBAC: [Rule; 3] = [
    Rule { group: "", resource: "namespaces", verbs: &["get", "delete"], place: Place::Target },
    Rule { group: "", resource: "pods", verbs: &["list"], place: Place::Target },
    Rule { group: "", resource: "persistentvolumeclaims", verbs: &["list"], place: Place::Target },
];

#[async_trait]
impl Fault for NamespaceDelete {
    fn facts(&self) -> Facts {
        Facts {
            name: "namespace-delete",
            class: Class::Irreversible,
            targets: &[TargetKind::Namespace],
            summary: "deletes a namespace with everything in it",
            needs: "delete on it; a namespace marked disposable; a fresh snapshot of it that was restored and compared, \
                    with the files of its volumes",
            proof: "none of its pods is left; of a namespace without pods, that it is gone itself",
            heals: "not: the namespace is restored from its snapshot",
            expires: "never",
            parameters: &[],
            rbac: &RBAC,
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let name = name(scene)?;
        let Some(found) = find(scene.means.cluster()?, name).await? else { return Ok(Vec::new()) };
        if is_going(&found) {
            return Err(Error::refused(format!("choosing the namespace {name}: it is being deleted already")));
        }
        Ok(vec![Victim::new(meta(&found, "uid"), format!("namespace {name}"))])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let left = list(scene.means.cluster()?, &pods(), Some(name(scene)?), None).await?;
        let undo = format!(
            "nothing undoes it: {} with {} is restored from its snapshot",
            victim.shown,
            counted(left.len() as u64, "pod")
        );
        Ok(Prepared { victim, prior: json!({ "pods": left.len() }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let (cluster, name) = (scene.means.cluster()?, name(scene)?);
        let there = uids(&list(cluster, &pods(), Some(name), None).await?);
        // Another namespace of the name, made meanwhile, is none that was meant.
        let only = Delete { uid: Some(&prepared.victim.key), ..Delete::default() };
        let done = cluster.delete(&Kind::namespaces(), (None, name), only, Write::default()).await;
        done.map_err(|why| why.during(format!("deleting the namespace {name}")))?;
        Ok(Held::nothing().noting(json!(there)))
    }

    /// Users lose it between the last look at which nothing was going and the first one that finds no pod: a pod that is
    /// told to end is led to by nobody any more, and serves nobody when it is gone.
    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        let there: BTreeSet<String> = serde_json::from_value(held.notes.clone()).unwrap_or_default();
        let (cluster, name, clock) = (scene.means.cluster()?, name(scene)?, &scene.means.clock);
        let whole = Mutex::new(asked);
        let (there, whole, uid) = (&there, &whole, prepared.victim.key.as_str());
        let look = || async move {
            let looked = clock.monotonic();
            if there.is_empty() {
                let found = find(cluster, name).await?;
                let gone = found.is_none_or(|found| meta(&found, "uid") != uid);
                return Ok(gone.then(|| format!("the namespace {name} ({uid}) is gone; it had no pods")));
            }
            let left = match list(cluster, &pods(), Some(name), None).await {
                Ok(left) => left,
                Err(why) if why.kind() == ErrorKind::Refused => return gone_unseen(cluster, name, uid, why).await,
                Err(why) => return Err(why),
            };
            let left: Vec<&Value> = left.iter().filter(|pod| there.contains(meta(pod, "uid"))).collect();
            if left.len() == there.len() && !left.iter().any(|pod| is_going(pod)) {
                *whole.lock().unwrap_or_else(PoisonError::into_inner) = looked;
            }
            Ok(left.is_empty().then(|| format!("none of the {} of {name} is left", counted(there.len() as u64, "pod"))))
        };
        let proof = scene.look(asked, GONE, "pods of the namespace were left", look).await?;
        let whole = *whole.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match proof {
            Proof::Proven(mut evidence) if !there.is_empty() => {
                evidence.effective = Interval::new(whole, evidence.effective.high);
                Proof::Proven(evidence)
            }
            other => other,
        })
    }

    async fn heal(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let name = name(scene)?;
        let seen = match find(scene.means.cluster()?, name).await? {
            None => format!("the namespace {name} is gone until it is restored"),
            Some(found) if meta(&found, "uid") != prepared.victim.key => format!("there is a namespace {name} again"),
            Some(found) if is_going(&found) => format!("the namespace {name} is still going{}", kept_by(&found)),
            Some(_) => return Ok(ReadBack::AsBefore { seen: format!("the namespace {name} was not deleted") }),
        };
        Ok(ReadBack::NothingToUndo { seen })
    }
}

fn name<'a>(scene: &Scene<'a>) -> Result<&'a str> {
    match scene.target {
        Target::Namespace(name) => Ok(name),
        other => Err(Error::input(format!("reading {other} as a namespace")).hint("a target is namespace/NAME")),
    }
}

async fn find(cluster: &Cluster, name: &str) -> Result<Option<Value>> {
    match cluster.get(&Kind::namespaces(), None, name).await {
        Ok(found) => Ok(Some(found)),
        Err(why) if why.fault == ApiFault::NotFound => Ok(None),
        Err(why) => Err(why.during(format!("reading the namespace {name}"))),
    }
}

/// A role that lies in the namespace goes with it, often before its pods do. Then the namespace itself is looked at: it
/// goes only when nothing is left in it.
async fn gone_unseen(cluster: &Cluster, name: &str, uid: &str, denied: Error) -> Result<Option<String>> {
    match find(cluster, name).await? {
        Some(found) if meta(&found, "uid") != uid => {}
        Some(found) if is_going(&found) => return Ok(None),
        Some(_) => return Err(denied),
        None => {}
    }
    Ok(Some(format!(
        "the namespace {name} ({uid}) is gone with its pods; the role that let them be listed went before them"
    )))
}

fn is_going(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn uids(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().map(|object| meta(object, "uid").to_owned()).collect()
}

/// What keeps a namespace from going, in the words of the control plane.
fn kept_by(namespace: &Value) -> String {
    let conditions = namespace["status"]["conditions"].as_array().into_iter().flatten();
    let said = conditions.filter(|one| one["status"] == "True").filter_map(|one| one["message"].as_str());
    let said: Vec<&str> = said.collect();
    if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) }
}
