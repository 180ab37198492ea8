//! Snapshots that the storage itself makes: a `VolumeSnapshot` of each claim, before the lists, so that it is among the
//! objects of the point together with the content that stands for it.
//!
//! The content is told to stay whatever becomes of the namespace, and the `VolumeSnapshot` is taken away again when the
//! lists are done: only the content, which belongs to the cluster, is left. It goes when its point is gone and somebody
//! says so (`leftover.rs`).

use super::claims::{Claim, Use};
use crate::clock::SharedClock;
use crate::cluster::{ApiError, Cluster, Delete, Fault, Kind, Patch, Query, Write};
use crate::id::Sha256;
use crate::snapshot::facts::Missing;
use crate::snapshot::object;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const GROUP: &str = "snapshot.storage.k8s.io";
const DEFAULT: &str = "snapshot.storage.kubernetes.io/is-default-class";
/// Cloud providers take seconds to minutes.
const READY: Duration = Duration::from_mins(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// On a content and its `VolumeSnapshot`: the run that made it.
pub(in crate::snapshot) const RUN_LABEL: &str = "davit.dev/run";
/// On both: the repository whose run that was. Nobody takes away what another repository's points need.
pub(in crate::snapshot) const REPOSITORY_LABEL: &str = "davit.dev/repository";
/// On a content: the claim whose snapshot it is.
const CLAIM_LABEL: &str = "davit.dev/claim";

/// What was made.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Made {
    /// Names of the `VolumeSnapshot`s.
    pub(in crate::snapshot) names: Vec<String>,
    pub(in crate::snapshot) missing: Vec<Missing>,
    pub(in crate::snapshot) notes: Vec<String>,
}

/// Of which namespace of which cluster, in which run.
pub(in crate::snapshot) struct Of<'a> {
    pub(in crate::snapshot) cluster: &'a Cluster,
    pub(in crate::snapshot) clock: &'a SharedClock,
    pub(in crate::snapshot) namespace: &'a str,
    pub(in crate::snapshot) run: &'a str,
    pub(in crate::snapshot) repository: String,
}

fn kind(resource: &str, kind: &str, namespaced: bool) -> Kind {
    Kind {
        group: GROUP.to_owned(),
        resource: resource.to_owned(),
        kind: kind.to_owned(),
        namespaced,
        ..Kind::namespaces()
    }
}

pub(super) fn snapshots() -> Kind {
    kind("volumesnapshots", "VolumeSnapshot", true)
}

pub(super) fn contents() -> Kind {
    kind("volumesnapshotcontents", "VolumeSnapshotContent", false)
}

/// Makes a snapshot of the volume of each claim. All are asked for before any is waited for.
pub(in crate::snapshot) async fn take(of: &Of<'_>, claims: &[Claim]) -> Made {
    let mut made = Made::default();
    let mut asked = Vec::new();
    let classes = classes(of.cluster).await;
    for claim in claims {
        let what = format!("volume of claim {}", claim.name);
        if let Use::LeftOut(why) = &claim.of {
            made.notes.push(format!("{what} left out: {why}"));
            continue;
        }
        match ask(of, claim, &classes).await {
            Ok(name) => {
                made.names.push(name.clone());
                asked.push((claim, name, what));
            }
            Err(why) => made.missing.push(Missing { what, why }),
        }
    }
    let began = of.clock.monotonic();
    for (claim, name, what) in asked {
        match settle(of, &name, &claim.name, began).await {
            Ok(content) => {
                made.notes.extend(as_after_a_crash(&what, &claim.of));
                made.notes.push(format!("{what}: its snapshot is {content}, which stays until davit sweep --volume-snapshots after its point is gone"));
            }
            Err(why) => made.missing.push(Missing { what, why }),
        }
    }
    made
}

/// A snapshot of the storage is of one instant, and no writer knows of it.
fn as_after_a_crash(what: &str, of: &Use) -> Option<String> {
    let Use::Read { writers, .. } = of else { return None };
    (!writers.is_empty()).then(|| {
        format!(
            "{what}: {} wrote while its snapshot was made, so it is as after a crash (hint: hooks before and after hold \
             writers; a PostgreSQL database is saved by davit backup)",
            writers.join(", ")
        )
    })
}

/// The class of each driver: its default one, or its only one.
pub(super) async fn classes(cluster: &Cluster) -> Result<BTreeMap<String, String>, String> {
    let kind = kind("volumesnapshotclasses", "VolumeSnapshotClass", false);
    let mut listing = cluster.list(Query::all(&kind));
    let mut found: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    loop {
        match listing.next().await {
            Ok(Some(item)) => {
                let class: Value = serde_json::from_slice(&item).unwrap_or_default();
                let driver = class["driver"].as_str().unwrap_or_default().to_owned();
                let default = object::annotation(&class, DEFAULT) == Some("true");
                found.entry(driver).or_default().push((!default, object::name(&class).to_owned()));
            }
            Ok(None) => break,
            Err(why) if why.fault == Fault::NotFound => {
                return Err("the cluster knows no VolumeSnapshots: its snapshot controller is not installed".to_owned());
            }
            Err(why) => return Err(format!("its snapshot classes cannot be listed: {why}")),
        }
    }
    let one = |(driver, mut classes): (String, Vec<(bool, String)>)| {
        classes.sort();
        let clear = classes.len() == 1 || classes.iter().filter(|(other, _)| !other).count() == 1;
        clear.then(|| (driver, classes.swap_remove(0).1))
    };
    Ok(found.into_iter().filter_map(one).collect())
}

async fn ask(of: &Of<'_>, claim: &Claim, classes: &Result<BTreeMap<String, String>, String>) -> Result<String, String> {
    let classes = classes.as_ref().map_err(Clone::clone)?;
    let volume = claim.volume.as_deref().ok_or("it is bound to no volume")?;
    let volumes =
        Kind { resource: "persistentvolumes".to_owned(), kind: "PersistentVolume".to_owned(), ..Kind::namespaces() };
    let volume =
        of.cluster.one(&volumes, None, volume).await.map_err(|why| format!("its volume cannot be looked at: {why}"))?;
    let driver = volume.as_ref().and_then(|volume| volume["spec"]["csi"]["driver"].as_str());
    let driver =
        driver.ok_or("no CSI driver serves it, so nothing can snapshot it (--volumes files saves its files)")?;
    let class = classes.get(driver).ok_or_else(|| {
        format!("there is no one VolumeSnapshotClass for the driver {driver}: mark one with {DEFAULT}: \"true\"")
    })?;
    let text = format!("{} {}", of.run, claim.name);
    let name = format!("davit-{}", &Sha256::of(text.as_bytes()).to_string()[..16]);
    let body = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "labels": {RUN_LABEL: of.run.to_lowercase(), REPOSITORY_LABEL: of.repository}},
        "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": claim.name}}
    });
    match of.cluster.create(&snapshots(), Some(of.namespace), &body, Write::default()).await {
        Ok(_) => Ok(name),
        Err(why) => Err(format!("its VolumeSnapshot cannot be made: {why}")),
    }
}

/// Waits until the storage is done, and has the content stay; gives its name.
async fn settle(of: &Of<'_>, name: &str, claim: &str, began: Duration) -> Result<String, String> {
    let looked = |why: ApiError| format!("its VolumeSnapshot cannot be looked at: {why}");
    let mut last = "nobody says why".to_owned();
    loop {
        let there = of.cluster.one(&snapshots(), Some(of.namespace), name).await.map_err(looked)?;
        let Some(there) = there else { return Err("its VolumeSnapshot was deleted by somebody".to_owned()) };
        let status = &there["status"];
        if let Some(why) = status["error"]["message"].as_str() {
            why.clone_into(&mut last);
        }
        if let (Some(true), Some(content)) =
            (status["readyToUse"].as_bool(), status["boundVolumeSnapshotContentName"].as_str())
        {
            let labels =
                json!({RUN_LABEL: of.run.to_lowercase(), REPOSITORY_LABEL: of.repository, CLAIM_LABEL: label(claim)});
            let patch = json!({"metadata": {"labels": labels}, "spec": {"deletionPolicy": "Retain"}});
            let kept = of.cluster.patch(&contents(), (None, content), Patch::Merge, &patch, Write::default()).await;
            return match kept {
                Ok(_) => Ok(content.to_owned()),
                Err(why) => Err(format!("its snapshot {content} would go with the namespace: {why}")),
            };
        }
        if of.clock.monotonic().saturating_sub(began) > READY {
            return Err(format!("its snapshot is not ready within ten minutes: {last}"));
        }
        of.clock.sleep(LOOK_AGAIN).await;
    }
}

/// Names of objects may be longer than values of labels.
fn label(name: &str) -> &str {
    name.get(..name.len().min(63)).unwrap_or_default().trim_end_matches(['-', '.'])
}

/// Takes the `VolumeSnapshot`s away; their contents stay. What cannot be taken away, in words.
pub(in crate::snapshot) async fn close(of: &Of<'_>, names: &[String]) -> Vec<String> {
    let cluster = of.cluster.insisting();
    let mut left = Vec::new();
    for name in names {
        match cluster.delete(&snapshots(), (Some(of.namespace), name), Delete::default(), Write::default()).await {
            Err(why) if why.fault != Fault::NotFound => {
                left.push(format!("the VolumeSnapshot {name} is left behind: {why}"));
            }
            _ => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_a_running_pod_may_write_to_is_as_after_a_crash() {
        let read = |writers: &[&str]| Use::Read {
            node: None,
            account: super::super::Account::default(),
            writers: writers.iter().map(|name| (*name).to_owned()).collect(),
            tolerations: Value::Null,
        };
        let said = as_after_a_crash("volume of claim data", &read(&["db-0", "db-1"])).unwrap();
        assert!(said.starts_with("volume of claim data: db-0, db-1 wrote"), "{said}");
        assert!(said.contains("as after a crash") && said.contains("davit backup"), "{said}");
        assert_eq!(as_after_a_crash("volume", &read(&[])), None);
        assert_eq!(as_after_a_crash("volume", &Use::LeftOut(String::new())), None);
    }
}
