//! A saved `VolumeSnapshot` on the way into a cluster: made again as it was, it would take a new snapshot of an empty
//! claim. So it is pointed at what the storage has already, and the claim that was snapshot begins with that.

use super::csi::RUN_LABEL;
use crate::id::Sha256;
use crate::snapshot::object::{self, Place, Saved};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const CLAIMS: &str = "persistentvolumeclaims";
/// On a member of a group; only the deletion of its group lifts it.
const IN_GROUP: &str = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";

/// What a snapshot of the storage is restored from.
struct Handle {
    content: String,
    body: Value,
}

/// Points every saved `VolumeSnapshot` that the storage had finished at its handle, by a content of its own, and the claims
/// of those that this point made at them. Runs after the namespaces were mapped. Gives the claims by what is made only so
/// that they can begin with it.
pub(in crate::snapshot) fn rewire(saved: &mut [Saved]) -> BTreeMap<Place, Place> {
    let contents: BTreeMap<String, usize> =
        indexes(saved, CONTENTS).map(|at| (saved[at].identity.name.clone(), at)).collect();
    let mut begins_with: BTreeMap<(Option<String>, String), String> = BTreeMap::new();
    let mut made_for = BTreeMap::new();
    for at in indexes(saved, SNAPSHOTS).collect::<Vec<_>>() {
        let mut body = saved[at].body.open();
        let bound = body.pointer("/status/boundVolumeSnapshotContentName").and_then(Value::as_str);
        let Some(content) = bound.and_then(|name| contents.get(name)).copied() else { continue };
        let Some(handle) = handle(&saved[content].body.open(), &saved[at]) else { continue };
        let claim = body.pointer("/spec/source/persistentVolumeClaimName").and_then(Value::as_str).map(str::to_owned);
        let ours = object::label(&body, RUN_LABEL).is_some();
        let (namespace, name) = (saved[at].identity.namespace.clone(), saved[at].identity.name.clone());
        body["spec"]["source"] = json!({"volumeSnapshotContentName": handle.content});
        if let Some(fields) = body.as_object_mut() {
            fields.remove("status");
        }
        leave_group(&mut body);
        saved[at].body = body.into();
        saved[content].identity.name.clone_from(&handle.content);
        saved[content].body = handle.body.into();
        if let (true, Some(claim)) = (ours, claim) {
            let of = Place { group_resource: CLAIMS.to_owned(), namespace: namespace.clone(), name: claim.clone() };
            made_for.extend([at, content].map(|at| (saved[at].identity.place(), of.clone())));
            begins_with.insert((namespace, claim), name);
        }
    }
    for at in indexes(saved, CLAIMS).collect::<Vec<_>>() {
        let place = (saved[at].identity.namespace.clone(), saved[at].identity.name.clone());
        if let Some(snapshot) = begins_with.get(&place) {
            let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot});
            saved[at].body.change(|body| {
                body["spec"]["dataSource"] = source.clone();
                body["spec"]["dataSourceRef"] = source;
            });
        }
    }
    made_for
}

/// A member of a group comes back as a snapshot by itself: nobody makes its group again.
fn leave_group(body: &mut Value) {
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for (field, is_of_group) in [
        ("ownerReferences", (|owner| owner["kind"] == "VolumeGroupSnapshot") as fn(&Value) -> bool),
        ("finalizers", |finalizer| finalizer == IN_GROUP),
    ] {
        let Some(all) = metadata.get_mut(field).and_then(Value::as_array_mut) else { continue };
        all.retain(|one| !is_of_group(one));
        // The server keeps no empty list.
        if all.is_empty() {
            metadata.remove(field);
        }
    }
}

fn indexes<'a>(saved: &'a [Saved], kind: &'a str) -> impl Iterator<Item = usize> + 'a {
    saved.iter().enumerate().filter(move |(_, one)| one.kind.group_resource() == kind).map(|(at, _)| at)
}

/// A content of its own for where the snapshot goes: the one of before is bound for good to the one of before.
fn handle(content: &Value, snapshot: &Saved) -> Option<Handle> {
    let handle = content.pointer("/status/snapshotHandle").and_then(Value::as_str)?;
    let driver = content["spec"]["driver"].as_str()?;
    let namespace = snapshot.identity.namespace.as_deref()?;
    let text = format!("{namespace} {} {handle}", snapshot.identity.name);
    let name = format!("davit-{}", &Sha256::of(text.as_bytes()).to_string()[..16]);
    let mut spec = json!({
        // Whatever becomes of the namespace, the storage keeps the snapshot.
        "deletionPolicy": "Retain",
        "driver": driver,
        "source": {"snapshotHandle": handle},
        "volumeSnapshotRef": {"name": snapshot.identity.name, "namespace": namespace}
    });
    for field in ["volumeSnapshotClassName", "sourceVolumeMode"] {
        if let Some(value) = content["spec"].get(field) {
            spec[field] = value.clone();
        }
    }
    let body = json!({"apiVersion": content["apiVersion"], "kind": "VolumeSnapshotContent", "metadata": {"name": name}, "spec": spec});
    Some(Handle { content: name, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::object::SavedKind;

    #[expect(clippy::needless_pass_by_value, reason = "the literals of a test are values")]
    fn saved(group_resource: &str, body: Value) -> Saved {
        let (resource, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
        let kind = SavedKind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            kind: String::new(),
            namespaced: group_resource != CONTENTS,
        };
        Saved::new(&kind, &body)
    }

    fn shop(label: &str) -> Vec<Saved> {
        vec![
            saved(
                SNAPSHOTS,
                json!({"metadata": {"name": "davit-1", "namespace": "copy", "labels": {label: "r"}},
                "spec": {"volumeSnapshotClassName": "fast", "source": {"persistentVolumeClaimName": "data"}},
                "status": {"readyToUse": true, "boundVolumeSnapshotContentName": "snapcontent-7"}}),
            ),
            saved(CLAIMS, json!({"metadata": {"name": "data", "namespace": "copy"}, "spec": {"volumeName": "pv-1"}})),
            saved(CLAIMS, json!({"metadata": {"name": "other", "namespace": "copy"}, "spec": {}})),
            saved(
                CONTENTS,
                json!({"apiVersion": "snapshot.storage.k8s.io/v1", "metadata": {"name": "snapcontent-7"},
                "spec": {"driver": "ebs", "deletionPolicy": "Delete", "source": {"volumeHandle": "vol-1"}, "volumeSnapshotRef": {"uid": "old"}},
                "status": {"snapshotHandle": "snap-1"}}),
            ),
        ]
    }

    #[test]
    fn a_snapshot_of_ours_is_what_its_claim_begins_with() {
        let mut all = shop(RUN_LABEL);
        let made_for = rewire(&mut all);
        let content = all[3].body.open();
        let claim = all[1].identity.place();
        assert_eq!(made_for, [0, 3].map(|at| (all[at].identity.place(), claim.clone())).into());
        assert_eq!(content["spec"]["source"], json!({"snapshotHandle": "snap-1"}));
        assert_eq!(content["spec"]["deletionPolicy"], "Retain");
        assert_eq!(content["spec"]["volumeSnapshotRef"], json!({"name": "davit-1", "namespace": "copy"}));
        assert_ne!(content["metadata"]["name"], "snapcontent-7", "that one is bound to the one of before");
        assert_eq!(all[3].identity.name, content["metadata"]["name"].as_str().unwrap());
        assert_eq!(
            all[0].body.open()["spec"]["source"],
            json!({"volumeSnapshotContentName": content["metadata"]["name"]})
        );
        assert!(all[0].body.open()["status"].is_null());
        assert_eq!(all[1].body.open()["spec"]["dataSource"]["name"], "davit-1");
        assert!(all[2].body.open()["spec"]["dataSource"].is_null());
    }

    #[test]
    fn a_member_of_a_group_comes_back_without_it() {
        let mut all = shop(RUN_LABEL);
        all[0].body.change(|body| {
            body["metadata"]["ownerReferences"] = json!([{"kind": "VolumeGroupSnapshot", "name": "davit-2", "uid": "g"},
                {"kind": "Widget", "name": "w", "uid": "w"}]);
            body["metadata"]["finalizers"] = json!([IN_GROUP, "example.com/mine"]);
        });
        rewire(&mut all);
        let metadata = &all[0].body.open()["metadata"];
        assert_eq!(metadata["ownerReferences"], json!([{"kind": "Widget", "name": "w", "uid": "w"}]));
        assert_eq!(metadata["finalizers"], json!(["example.com/mine"]));
        let mut all = shop(RUN_LABEL);
        all[0].body.change(|body| body["metadata"]["finalizers"] = json!([IN_GROUP]));
        rewire(&mut all);
        assert!(all[0].body.open()["metadata"].get("finalizers").is_none());
    }

    #[test]
    fn somebody_elses_snapshot_is_kept_and_its_claim_is_not_touched() {
        let mut all = shop("app");
        assert_eq!(rewire(&mut all), BTreeMap::new());
        assert!(all[0].body.open()["spec"]["source"]["volumeSnapshotContentName"].is_string());
        assert!(all[1].body.open()["spec"]["dataSource"].is_null());
        // One without any label, too.
        let mut all = shop("app");
        all[0].body.change(|body| drop(body["metadata"].as_object_mut().map(|metadata| metadata.remove("labels"))));
        rewire(&mut all);
        assert!(all[1].body.open()["spec"]["dataSource"].is_null());
    }

    #[test]
    fn a_snapshot_that_the_storage_had_not_finished_stays_as_it_is() {
        let mut all = shop(RUN_LABEL);
        all[3].body.change(|body| body["status"] = Value::Null);
        let before = all.clone();
        rewire(&mut all);
        assert_eq!(all, before);
    }
}
