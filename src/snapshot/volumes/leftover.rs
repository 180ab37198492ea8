//! Snapshots of the storage whose point is gone: what [`super::csi`] told to stay stays for good otherwise, and costs.
//!
//! Only what carries the name of this repository is looked at, a group of them like a single one. It goes if no point names the run that made it, if nothing
//! else in the cluster stands on the same snapshot of the storage, and if it is older than any run may be: a run that is
//! still under way has no point yet either.

use super::csi::{REPOSITORY_LABEL, contents, snapshots};
use super::fate::{Known, group_handle, handle, standing};
use super::group;
use crate::cluster::{Cluster, Delete, Fault, Kind, Patch, Query, Write};
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::repository::intent::LONGEST_RUN;
use crate::snapshot::object;
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::{Value, json};

/// Without it the driver keeps what stands behind a content whose `VolumeSnapshot` went before.
const GOING: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
/// The same of a group. The storage's snapshots of its members go with it, and with nothing else.
const GROUP_GOING: &str = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-deleted";

/// A snapshot of the storage that a run of this repository had made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StorageSnapshot {
    /// `VolumeSnapshotContent`, `VolumeGroupSnapshotContent`, `VolumeSnapshot` or `VolumeGroupSnapshot`.
    pub kind: String,
    /// The namespace of a `VolumeSnapshot` or `VolumeGroupSnapshot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The run that made it.
    pub run: String,
    /// Whether it goes.
    pub goes: bool,
    /// Why, or why not.
    pub why: String,
    #[serde(skip)]
    pub(super) uid: String,
    #[serde(skip)]
    pub(super) at: Kind,
}

/// Finds every one of them and says what becomes of it; changes nothing.
pub async fn leftovers(cluster: &Cluster, repository: &Repository) -> Result<Vec<StorageSnapshot>> {
    let whose = format!("{REPOSITORY_LABEL}={}", repository.id());
    let groups = group::served(cluster).await.map_err(|why| why.during("asking the cluster what it serves"))?;
    let ours = labelled(cluster, &contents(), Some(&whose)).await?;
    let begun = labelled(cluster, &snapshots(), Some(&whose)).await?;
    let mut of_groups = [Vec::new(), Vec::new()];
    if let Some(kinds) = &groups {
        of_groups[0] = labelled(cluster, &kinds.contents, None).await?;
        of_groups[1] = labelled(cluster, &kinds.snapshots, Some(&whose)).await?;
    }
    // The points after the contents: what is made into a point meanwhile is seen. All of them: one that cannot be read may
    // need what nobody else names.
    let points = repository.points_in_full().await?;
    let points = points.iter().map(|point| (point.run.to_string().to_lowercase(), point.point().to_string())).collect();
    let all = labelled(cluster, &contents(), None).await?;
    let [group_contents, begun_groups] = &of_groups;
    let known = Known {
        points,
        handles: standing(&all, handle),
        groups: standing(group_contents, group_handle),
        oldest: repository.clock().now() - longest(),
    };
    let mut found: Vec<StorageSnapshot> = ours.iter().map(|body| known.content(body)).collect();
    if let Some(kinds) = &groups {
        let id = repository.id().to_string();
        let ours = group_contents.iter().filter(|body| object::label(body, REPOSITORY_LABEL) == Some(id.as_str()));
        found.extend(ours.map(|body| known.group_content(&kinds.contents, body)));
        // Before its members: they do not go while it is there.
        found.extend(
            begun_groups.iter().filter_map(|body| known.begun(&kinds.snapshots, body, "/spec/source/selector")),
        );
    }
    let claim = "/spec/source/persistentVolumeClaimName";
    found.extend(begun.iter().filter_map(|body| known.begun(&snapshots(), body, claim)));
    Ok(found)
}

/// Takes one away, with what stands behind it in the storage.
pub async fn remove(cluster: &Cluster, one: &StorageSnapshot) -> Result<()> {
    let doing = || format!("removing the {} {}", one.kind, one.name);
    let at = (one.namespace.as_deref(), one.name.as_str());
    if !one.at.namespaced {
        let going = if one.at.group == contents().group { GOING } else { GROUP_GOING };
        let patch =
            json!({"metadata": {"uid": one.uid, "annotations": {going: "yes"}}, "spec": {"deletionPolicy": "Delete"}});
        match cluster.patch(&one.at, at, Patch::Merge, &patch, Write::default()).await {
            Err(why) if why.fault == Fault::NotFound => return Ok(()),
            patched => patched.map_err(|why| why.during(doing()))?,
        };
    }
    let delete = Delete { uid: Some(&one.uid), ..Delete::default() };
    match cluster.delete(&one.at, at, delete, Write::default()).await {
        Err(why) if why.fault != Fault::NotFound => Err(why.during(doing())),
        _ => Ok(()),
    }
}

async fn labelled(cluster: &Cluster, kind: &Kind, labels: Option<&str>) -> Result<Vec<Value>> {
    let doing = || format!("listing {}", kind.group_resource());
    let mut listing = cluster.list(Query { labels, ..Query::all(kind) });
    let mut found = Vec::new();
    loop {
        match listing.next().await {
            Ok(Some(item)) => {
                found.push(serde_json::from_slice(&item).map_err(|why| Error::failed(doing()).because(why))?);
            }
            // A cluster without these kinds has none of these objects.
            Err(why) if why.fault == Fault::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(why.during(doing())),
            Ok(None) => return Ok(found),
        }
    }
}

fn longest() -> SignedDuration {
    SignedDuration::try_from(LONGEST_RUN).unwrap_or(SignedDuration::MAX)
}
