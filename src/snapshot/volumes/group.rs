//! Claims that belong together: the storage snapshots them at one instant, by a `VolumeGroupSnapshot` that selects them by
//! their label.
//!
//! What cannot be had at one instant is missing. It is never snapshot one by one instead: whoever labels a group says that
//! volumes of different instants are no use to him.

use super::claims::{self, Claim};
use super::classes;
use super::csi::{self, Made, Of};
use crate::cluster::{ApiError, Cluster, Kind, Query, Write};
use crate::snapshot::facts::Missing;
use crate::snapshot::object;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GROUP: &str = "groupsnapshot.storage.k8s.io";
const DEFAULT: &str = "groupsnapshot.storage.kubernetes.io/is-default-class";
/// On a claim: the group of volumes that it is snapshot with. Empty: none, whatever Velero's label says.
pub const LABEL: &str = "davit.dev/volume-group";
/// The same, as Velero says it.
pub const VELERO_LABEL: &str = "velero.io/volume-group";

/// The kinds of this API, at the version that the cluster serves.
pub(super) struct Kinds {
    pub(super) snapshots: Kind,
    pub(super) contents: Kind,
    classes: Kind,
}

/// A group that was asked for.
pub(super) struct Asked<'a> {
    /// As its claims name it.
    pub(super) group: &'a str,
    /// The kinds of it and of its content.
    pub(super) kinds: [Kind; 2],
    /// The `VolumeGroupSnapshot`.
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) claims: Vec<&'a Claim>,
}

/// The group that a claim says it is of.
pub(super) fn of_claim(claim: &Value) -> Option<&str> {
    let group = object::label(claim, LABEL).or_else(|| object::label(claim, VELERO_LABEL));
    group.filter(|group| !group.is_empty())
}

/// What the cluster serves of this API; nothing if it does not know groups, or only as an experiment.
pub(super) async fn served(cluster: &Cluster) -> Result<Option<Kinds>, ApiError> {
    let found = cluster.discover().await?.kinds;
    let kind = |name: &str| {
        let mut kinds = found.iter().filter(|kind| kind.group == GROUP && !kind.version.contains("alpha"));
        kinds.find(|kind| kind.resource == name).cloned()
    };
    let kinds = (kind("volumegroupsnapshots"), kind("volumegroupsnapshotcontents"), kind("volumegroupsnapshotclasses"));
    let (Some(snapshots), Some(contents), Some(classes)) = kinds else { return Ok(None) };
    Ok(Some(Kinds { snapshots, contents, classes }))
}

/// The class of each driver.
pub(super) async fn classes(cluster: &Cluster, kinds: &Kinds) -> Result<BTreeMap<String, String>, String> {
    let classes = classes::clear(cluster, &kinds.classes, DEFAULT).await;
    classes.map_err(|why| format!("its group snapshot classes cannot be listed: {why}"))
}

/// Asks for a snapshot of each group of claims. What cannot be asked for is missing.
pub(super) async fn ask<'a>(of: &Of<'_>, claims: &[&'a Claim], made: &mut Made) -> Vec<Asked<'a>> {
    let mut groups: BTreeMap<&str, Vec<&'a Claim>> = BTreeMap::new();
    for claim in claims {
        groups.entry(claim.group.as_deref().unwrap_or_default()).or_default().push(claim);
    }
    if groups.is_empty() {
        return Vec::new();
    }
    let means = means(of.cluster).await;
    let mut asked = Vec::new();
    for (group, claims) in groups {
        let one = match &means {
            Ok((kinds, classes)) => ask_one(of, kinds, classes, (group, &claims)).await,
            Err(why) => Err(why.clone()),
        };
        match one {
            Ok(one) => {
                made.groups.push((one.kinds[0].clone(), one.name.clone()));
                asked.push(one);
            }
            Err(why) => missing(made, group, &claims, &why),
        }
    }
    asked
}

/// Names the claims of a group as missing.
pub(super) fn missing(made: &mut Made, group: &str, claims: &[&Claim], why: &str) {
    for claim in claims {
        let why = format!("it is of the volume group {group}, and {why}");
        made.missing.push(Missing { what: csi::what(claim), why });
    }
}

async fn means(cluster: &Cluster) -> Result<(Kinds, BTreeMap<String, String>), String> {
    let served = served(cluster).await.map_err(|why| format!("what the cluster serves cannot be asked: {why}"))?;
    let kinds = served.ok_or_else(|| {
        format!("the cluster knows no VolumeGroupSnapshots (hint: its snapshot controller brings {GROUP} with the feature CSIVolumeGroupSnapshot; without the label the claims are snapshot one by one, each at an instant of its own)")
    })?;
    let classes = classes(cluster, &kinds).await?;
    Ok((kinds, classes))
}

async fn ask_one<'a>(
    of: &Of<'_>,
    kinds: &Kinds,
    classes: &BTreeMap<String, String>,
    (group, claims): (&'a str, &[&'a Claim]),
) -> Result<Asked<'a>, String> {
    let (label, selected) = selected(of, group, claims).await?;
    let driver = one_driver(of.cluster, (label, group), &selected).await?;
    let class = classes.get(&driver).ok_or_else(|| {
        format!("there is no one VolumeGroupSnapshotClass for the driver {driver}: mark one with {DEFAULT}: \"true\"")
    })?;
    let name = of.name(&format!("group {group}"));
    let body = json!({
        "apiVersion": kinds.snapshots.api_version(),
        "kind": kinds.snapshots.kind,
        "metadata": {"name": name, "labels": of.labels()},
        // Of a selector the snapshot controller reads only these.
        "spec": {"volumeGroupSnapshotClassName": class, "source": {"selector": {"matchLabels": {label: group}}}}
    });
    match of.cluster.create(&kinds.snapshots, Some(of.namespace), &body, Write::default()).await {
        Ok(there) => Ok(Asked {
            group,
            kinds: [kinds.snapshots.clone(), kinds.contents.clone()],
            name,
            uid: object::uid(&there).to_owned(),
            claims: claims.to_vec(),
        }),
        Err(why) => Err(format!("its VolumeGroupSnapshot cannot be made: {why}")),
    }
}

/// The label that all claims of a group carry, and every claim of the namespace that it selects: also those that this
/// snapshot leaves out.
async fn selected(of: &Of<'_>, group: &str, claims: &[&Claim]) -> Result<(&'static str, Vec<Value>), String> {
    let kind = Kind {
        resource: "persistentvolumeclaims".to_owned(),
        kind: "PersistentVolumeClaim".to_owned(),
        namespaced: true,
        ..Kind::namespaces()
    };
    for label in [LABEL, VELERO_LABEL] {
        let labels = format!("{label}={group}");
        let query = Query { namespace: Some(of.namespace), labels: Some(&labels), ..Query::all(&kind) };
        let found =
            claims::all(of.cluster, query).await.map_err(|why| format!("its claims cannot be listed: {why}"))?;
        if claims.iter().all(|claim| found.iter().any(|found| object::name(found) == claim.name)) {
            return Ok((label, found));
        }
    }
    Err(format!("not one label selects all its claims (hint: give each of them {LABEL}: {group})"))
}

/// The driver of all claims that a label selects. One that the storage cannot snapshot fails the group as a whole, so it
/// is said before anything is asked for.
async fn one_driver(cluster: &Cluster, (label, group): (&str, &str), selected: &[Value]) -> Result<String, String> {
    let mut drivers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for claim in selected {
        let name = object::name(claim);
        let volume = claim["spec"]["volumeName"].as_str().filter(|_| claim["status"]["phase"] == "Bound");
        match classes::driver(cluster, volume).await {
            Ok(driver) => drivers.entry(driver).or_default().push(name),
            Err(why) => {
                return Err(format!(
                    "{label}={group} selects the claim {name}, and {why}: a group is snapshot as a whole or not at all \
                     (hint: take the label from that claim)"
                ));
            }
        }
    }
    if drivers.len() > 1 {
        let drivers: Vec<String> =
            drivers.iter().map(|(driver, claims)| format!("{driver} of {}", claims.join(", "))).collect();
        return Err(format!(
            "{label}={group} selects claims of several drivers, which share no instant: {} (hint: make a group of the \
             claims of each driver)",
            drivers.join("; ")
        ));
    }
    drivers.into_keys().next().ok_or_else(|| "none of its claims is there any more".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_of_the_group_that_davits_label_names_and_else_of_veleros() {
        let of = |labels: Value| of_claim(&json!({"metadata": {"labels": labels}})).map(str::to_owned);
        assert_eq!(of(json!({LABEL: "db", VELERO_LABEL: "other"})).as_deref(), Some("db"));
        assert_eq!(of(json!({VELERO_LABEL: "other"})).as_deref(), Some("other"));
        assert_eq!(of(json!({LABEL: "", VELERO_LABEL: "other"})), None, "this is how a claim leaves Velero's group");
        assert_eq!(of(json!({"app": "db"})), None);
    }
}
