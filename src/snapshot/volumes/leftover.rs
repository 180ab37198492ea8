//! Snapshots of the storage whose point is gone: what [`super::csi`] told to stay stays for good otherwise, and costs.
//!
//! Only what carries the name of this repository is looked at. It goes if no point names the run that made it, if nothing
//! else in the cluster stands on the same snapshot of the storage, and if it is older than any run may be: a run that is
//! still under way has no point yet either.

use super::csi::{REPOSITORY_LABEL, RUN_LABEL, contents, snapshots};
use crate::cluster::{Cluster, Delete, Fault, Kind, Patch, Query, Write};
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::repository::intent::LONGEST_RUN;
use crate::snapshot::object;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Without it the driver keeps what stands behind a content whose `VolumeSnapshot` went before.
const GOING: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";

/// A snapshot of the storage that a run of this repository had made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StorageSnapshot {
    /// `VolumeSnapshotContent` or `VolumeSnapshot`.
    pub kind: String,
    /// The namespace of a `VolumeSnapshot`.
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
    uid: String,
}

/// Finds every one of them and says what becomes of it; changes nothing.
pub async fn leftovers(cluster: &Cluster, repository: &Repository) -> Result<Vec<StorageSnapshot>> {
    let whose = format!("{REPOSITORY_LABEL}={}", repository.id());
    let ours = labelled(cluster, &contents(), Some(&whose)).await?;
    let begun = labelled(cluster, &snapshots(), Some(&whose)).await?;
    // The points after the contents: what is made into a point meanwhile is seen.
    let points = repository.points(None).await?;
    let points = points.iter().map(|point| (point.run.to_string().to_lowercase(), point.point().to_string())).collect();
    let all = labelled(cluster, &contents(), None).await?;
    let known = Known { points, handles: handles(&all), oldest: repository.clock().now() - longest() };
    let mut found: Vec<StorageSnapshot> = ours.iter().map(|body| known.content(body)).collect();
    found.extend(begun.iter().filter_map(|body| known.snapshot(body)));
    Ok(found)
}

/// Takes one away, with what stands behind it in the storage.
pub async fn remove(cluster: &Cluster, one: &StorageSnapshot) -> Result<()> {
    let doing = || format!("removing the {} {}", one.kind, one.name);
    let kind = if one.namespace.is_some() { snapshots() } else { contents() };
    let at = (one.namespace.as_deref(), one.name.as_str());
    if one.namespace.is_none() {
        let patch =
            json!({"metadata": {"uid": one.uid, "annotations": {GOING: "yes"}}, "spec": {"deletionPolicy": "Delete"}});
        match cluster.patch(&kind, at, Patch::Merge, &patch, Write::default()).await {
            Err(why) if why.fault == Fault::NotFound => return Ok(()),
            patched => patched.map_err(|why| why.during(doing()))?,
        };
    }
    let delete = Delete { uid: Some(&one.uid), ..Delete::default() };
    match cluster.delete(&kind, at, delete, Write::default()).await {
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

/// What it is decided by.
struct Known {
    /// Points by the label of their run.
    points: BTreeMap<String, String>,
    /// Names of contents by the snapshot of the storage that they stand for.
    handles: BTreeMap<String, BTreeSet<String>>,
    oldest: Timestamp,
}

impl Known {
    fn content(&self, body: &Value) -> StorageSnapshot {
        let name = object::name(body);
        let others = handle(body).and_then(|handle| self.handles.get(handle)).into_iter().flatten();
        let mut others = others.filter(|other| *other != name);
        let why = match (self.made_by(body), others.next()) {
            (Err(why), _) => Err(why),
            (Ok(_), Some(other)) => Err(format!("the content {other} stands on the same snapshot of the storage")),
            (Ok(why), None) => Ok(why),
        };
        of("VolumeSnapshotContent", body, why)
    }

    /// A `VolumeSnapshot` lives as long as the lists of its run. One that a restore made has a content as its source.
    fn snapshot(&self, body: &Value) -> Option<StorageSnapshot> {
        body.pointer("/spec/source/persistentVolumeClaimName")?;
        let why = if self.is_old(body) {
            Ok("its run is over and left it behind".to_owned())
        } else {
            Err("its run may still be under way".to_owned())
        };
        Some(of("VolumeSnapshot", body, why))
    }

    /// Why the run that made it needs it no more, or why it does.
    fn made_by(&self, body: &Value) -> Result<String, String> {
        let run = object::label(body, RUN_LABEL).unwrap_or_default();
        match self.points.get(run) {
            Some(point) => Err(format!("{point} needs it")),
            None if !self.is_old(body) => Err("its run may still be under way".to_owned()),
            None => Ok("no point names its run".to_owned()),
        }
    }

    fn is_old(&self, body: &Value) -> bool {
        let made = body.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        made.and_then(|made| made.parse::<Timestamp>().ok()).is_some_and(|made| made < self.oldest)
    }
}

fn of(kind: &str, body: &Value, why: Result<String, String>) -> StorageSnapshot {
    StorageSnapshot {
        kind: kind.to_owned(),
        namespace: object::namespace(body).map(str::to_owned),
        name: object::name(body).to_owned(),
        run: object::label(body, RUN_LABEL).unwrap_or_default().to_owned(),
        goes: why.is_ok(),
        why: why.unwrap_or_else(|why| why),
        uid: object::uid(body).to_owned(),
    }
}

fn handles(all: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut handles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for body in all {
        if let Some(handle) = handle(body) {
            handles.entry(handle.to_owned()).or_default().insert(object::name(body).to_owned());
        }
    }
    handles
}

fn handle(body: &Value) -> Option<&str> {
    let of = |path| body.pointer(path).and_then(Value::as_str);
    of("/status/snapshotHandle").or_else(|| of("/spec/source/snapshotHandle"))
}

fn longest() -> SignedDuration {
    SignedDuration::try_from(LONGEST_RUN).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str, run: &str, made: &str, handle: &str) -> Value {
        json!({"metadata": {"name": name, "uid": "u", "creationTimestamp": made, "labels": {RUN_LABEL: run}},
            "status": {"snapshotHandle": handle}})
    }

    #[test]
    fn only_what_no_point_and_nothing_else_needs_goes_and_not_before_its_run_must_be_over() {
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
        let all = [
            content("needed", "r1", old, "s1"),
            content("free", "r2", old, "s2"),
            content("young", "r3", young, "s3"),
            content("shared", "r4", old, "s4"),
            json!({"metadata": {"name": "restored"}, "spec": {"source": {"snapshotHandle": "s4"}}}),
        ];
        let points = [("r1".to_owned(), "shop-1".to_owned())].into();
        let known = Known { points, handles: handles(&all), oldest: "2026-01-03T00:00:00Z".parse().unwrap() };
        let fates: Vec<_> = all[..4].iter().map(|body| known.content(body)).map(|one| (one.goes, one.why)).collect();
        assert_eq!(
            fates,
            [
                (false, "shop-1 needs it".to_owned()),
                (true, "no point names its run".to_owned()),
                (false, "its run may still be under way".to_owned()),
                (false, "the content restored stands on the same snapshot of the storage".to_owned()),
            ]
        );
    }

    #[test]
    fn a_volume_snapshot_goes_when_its_run_left_it_behind_and_never_if_a_restore_made_it() {
        let known = Known {
            points: BTreeMap::new(),
            handles: BTreeMap::new(),
            oldest: "2026-01-03T00:00:00Z".parse().unwrap(),
        };
        let body = |source: Value, made: &str| json!({"metadata": {"name": "s", "namespace": "shop", "creationTimestamp": made}, "spec": {"source": source}});
        let claim = json!({"persistentVolumeClaimName": "data"});
        assert!(known.snapshot(&body(claim.clone(), "2026-01-01T00:00:00Z")).unwrap().goes);
        assert!(!known.snapshot(&body(claim, "2026-01-04T00:00:00Z")).unwrap().goes);
        let content = json!({"volumeSnapshotContentName": "c"});
        assert_eq!(known.snapshot(&body(content, "2026-01-01T00:00:00Z")), None);
    }
}
