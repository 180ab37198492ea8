//! Snapshots that the storage itself makes: a `VolumeSnapshot` of each claim, before the lists, so that it is among the
//! objects of the point together with the content that stands for it.
//!
//! The content is told to stay whatever becomes of the namespace, and the `VolumeSnapshot` is taken away again when the
//! lists are done: only the content, which belongs to the cluster, is left. It goes when its point is gone and somebody
//! says so (`leftover.rs`).

use super::claims::{Claim, Use};
use super::classes::{DEFAULT, classes, driver};
use super::{group, members};
use crate::clock::SharedClock;
use crate::cluster::{Cluster, Delete, Fault, Kind, Patch, Write};
use crate::id::Sha256;
use crate::snapshot::facts::Missing;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const GROUP: &str = "snapshot.storage.k8s.io";
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
    /// `VolumeGroupSnapshot`s, by their kind and name.
    pub(super) groups: Vec<(Kind, String)>,
    /// Names of the `VolumeSnapshot`s.
    pub(super) names: Vec<String>,
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

impl Of<'_> {
    /// What a snapshot of this is called.
    pub(super) fn name(&self, this: &str) -> String {
        let text = format!("{} {this}", self.run);
        format!("davit-{}", &Sha256::of(text.as_bytes()).to_string()[..16])
    }

    /// The labels of a claim's `VolumeSnapshot`: the claim's own, too, so that a selector that takes the claim takes it.
    pub(super) fn labels_of(&self, claim: &Claim) -> Value {
        let mut labels = claim.labels.as_object().cloned().unwrap_or_default();
        labels.extend(self.labels().as_object().cloned().unwrap_or_default());
        labels.into()
    }

    /// The labels of everything that is made.
    pub(super) fn labels(&self) -> Value {
        json!({RUN_LABEL: self.run.to_lowercase(), REPOSITORY_LABEL: self.repository})
    }
}

pub(super) fn kind(resource: &str, kind: &str, namespaced: bool) -> Kind {
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
    let mut wanted = Vec::new();
    for claim in claims {
        match &claim.of {
            Use::LeftOut(why) => made.notes.push(format!("{} left out: {why}", what(claim))),
            _ => wanted.push(claim),
        }
    }
    let (grouped, single): (Vec<&Claim>, Vec<&Claim>) = wanted.into_iter().partition(|claim| claim.group.is_some());
    let groups = group::ask(of, &grouped, &mut made).await;
    let mut asked = Vec::new();
    let classes = if single.is_empty() { Ok(BTreeMap::new()) } else { classes(of.cluster).await };
    for claim in single {
        match ask(of, claim, &classes).await {
            Ok(name) => {
                made.names.push(name.clone());
                asked.push((claim, name));
            }
            Err(why) => made.missing.push(Missing { what: what(claim), why }),
        }
    }
    let began = of.clock.monotonic();
    for group in groups {
        members::settle(of, group, began, &mut made).await;
    }
    for (claim, name) in asked {
        let settled = settle(of, &name, &claim.name, began).await;
        told(&mut made, claim, settled);
    }
    made
}

pub(super) fn what(claim: &Claim) -> String {
    format!("volume of claim {}", claim.name)
}

/// Says what came of the volume of a claim: its content, or why it has none.
pub(super) fn told(made: &mut Made, claim: &Claim, settled: Result<String, String>) {
    let what = what(claim);
    match settled {
        Ok(content) => {
            made.notes.extend(as_after_a_crash(&what, &claim.of));
            made.notes.push(format!(
                "{what}: its snapshot is {content}, which stays until davit sweep --volume-snapshots after its point is gone"
            ));
        }
        Err(why) => made.missing.push(Missing { what, why }),
    }
}

/// A snapshot of the storage is of one instant, and no writer knows of it.
fn as_after_a_crash(what: &str, of: &Use) -> Option<String> {
    let Use::Read { writers, .. } = of else { return None };
    (!writers.is_empty()).then(|| {
        format!(
            "{what}: {} could write while its snapshot was made, so it is as after a crash (hint: hooks before and after hold \
             writers; a PostgreSQL database is saved by davit backup)",
            writers.join(", ")
        )
    })
}

async fn ask(of: &Of<'_>, claim: &Claim, classes: &Result<BTreeMap<String, String>, String>) -> Result<String, String> {
    let classes = classes.as_ref().map_err(Clone::clone)?;
    let driver = driver(of.cluster, claim.volume.as_deref()).await?;
    let class = classes.get(&driver).ok_or_else(|| {
        format!("there is no one VolumeSnapshotClass for the driver {driver}: mark one with {DEFAULT}: \"true\"")
    })?;
    let name = of.name(&claim.name);
    let body = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "labels": of.labels_of(claim)},
        "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": claim.name}}
    });
    match of.cluster.create(&snapshots(), Some(of.namespace), &body, Write::default()).await {
        Ok(_) => Ok(name),
        Err(why) => Err(format!("its VolumeSnapshot cannot be made: {why}")),
    }
}

/// Waits until the storage is done, and has the content stay; gives its name.
pub(super) async fn settle(of: &Of<'_>, name: &str, claim: &str, began: Duration) -> Result<String, String> {
    let (content, _) = wait(of, &snapshots(), name, began).await?;
    let mut labels = of.labels();
    labels[CLAIM_LABEL] = label(claim).into();
    keep(of, &contents(), &content, &labels).await?;
    Ok(content)
}

/// Waits until the storage is done; the name of the content, and the object as it is then.
pub(super) async fn wait(of: &Of<'_>, kind: &Kind, name: &str, began: Duration) -> Result<(String, Value), String> {
    let word = &kind.kind;
    let bound = format!("bound{word}ContentName");
    let mut last = "nobody says why".to_owned();
    loop {
        let there = of.cluster.one(kind, Some(of.namespace), name).await;
        let there = there.map_err(|why| format!("its {word} cannot be looked at: {why}"))?;
        let Some(there) = there else { return Err(format!("its {word} was deleted by somebody")) };
        let status = &there["status"];
        if let Some(why) = status["error"]["message"].as_str() {
            why.clone_into(&mut last);
        }
        if let (Some(true), Some(content)) = (status["readyToUse"].as_bool(), status[&bound].as_str()) {
            return Ok((content.to_owned(), there));
        }
        if of.clock.monotonic().saturating_sub(began) > READY {
            return Err(format!("its snapshot is not ready within ten minutes: {last}"));
        }
        of.clock.sleep(LOOK_AGAIN).await;
    }
}

/// Has a content stay, and says whose it is.
pub(super) async fn keep(of: &Of<'_>, kind: &Kind, content: &str, labels: &Value) -> Result<(), String> {
    let patch = json!({"metadata": {"labels": labels}, "spec": {"deletionPolicy": "Retain"}});
    match of.cluster.patch(kind, (None, content), Patch::Merge, &patch, Write::default()).await {
        Ok(_) => Ok(()),
        Err(why) => Err(format!("its snapshot {content} would go with the namespace: {why}")),
    }
}

/// Names of objects may be longer than values of labels.
fn label(name: &str) -> &str {
    name.get(..name.len().min(63)).unwrap_or_default().trim_end_matches(['-', '.'])
}

/// Takes the `VolumeSnapshot`s away; their contents stay. What cannot be taken away, in words.
pub(in crate::snapshot) async fn close(of: &Of<'_>, made: &Made) -> Vec<String> {
    let cluster = of.cluster.insisting();
    let mut left = Vec::new();
    // A member of a group does not go before its group does.
    let single = made.names.iter().map(|name| (snapshots(), name));
    for (kind, name) in made.groups.iter().map(|(kind, name)| (kind.clone(), name)).chain(single) {
        match cluster.delete(&kind, (Some(of.namespace), name), Delete::default(), Write::default()).await {
            Err(why) if why.fault != Fault::NotFound => {
                left.push(format!("the {} {name} is left behind: {why}", kind.kind));
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
            pull_secrets: Vec::new(),
        };
        let said = as_after_a_crash("volume of claim data", &read(&["db-0", "db-1"])).unwrap();
        assert!(said.starts_with("volume of claim data: db-0, db-1 could write"), "{said}");
        assert!(said.contains("as after a crash") && said.contains("davit backup"), "{said}");
        assert_eq!(as_after_a_crash("volume", &read(&[])), None);
        assert_eq!(as_after_a_crash("volume", &Use::LeftOut(String::new())), None);
    }
}
