//! Volumes: data of others are never put at risk.

use super::*;

fn volume(name: &str, more: Value) -> Saved {
    let spec = json!({"spec": {"csi": {"driver": "ebs", "volumeHandle": name}, "persistentVolumeReclaimPolicy": "Delete",
        "claimRef": {"namespace": "shop", "name": "data", "uid": "old"}}});
    let mut one = saved("persistentvolumes", name, spec);
    one.body.change(|body| super::super::super::map::patch::merge(body, &more));
    one
}

fn claim(class: &str) -> Saved {
    saved("persistentvolumeclaims", "data", json!({"spec": {"volumeName": "pv-1", "storageClassName": class}}))
}

fn with_volumes(all: &[Saved], volumes: &[Value]) -> Live {
    Live { volumes: volumes.to_vec(), ..cluster(all, []) }
}

#[test]
fn a_volume_made_by_hand_comes_back_with_its_claim_and_is_retained() {
    let all = [volume("pv-1", json!({})), claim("")];
    let plan = planned(&all, &cluster(&all, []), &options());
    assert_eq!(told(&plan), ["create persistentvolumes/pv-1", "create persistentvolumeclaims/data"]);
    assert_eq!(plan.lines[0].body.open()["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(plan.lines[0].body.open()["spec"]["claimRef"], json!({"namespace": "shop", "name": "data"}));
    assert_eq!(plan.lines[1].body.open()["spec"]["volumeName"], "pv-1");
}

#[test]
fn a_volume_is_never_made_when_what_is_behind_it_backs_another() {
    let all = [volume("pv-1", json!({})), claim("")];
    let other = json!({"metadata": {"name": "theirs"}, "spec": {"csi": {"driver": "ebs", "volumeHandle": "pv-1"}}});
    assert_eq!(
        told(&planned(&all, &with_volumes(&all, &[other]), &options())),
        [
            "leave persistentvolumes/pv-1: what is behind it already backs the volume theirs",
            "refuse persistentvolumeclaims/data: what is behind its volume pv-1 already backs the volume theirs",
        ]
    );
}

#[test]
fn a_provisioned_volume_is_provisioned_anew_and_said_to_be_empty() {
    let provisioned = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "ebs"}}});
    let all = [volume("pv-1", provisioned), claim("fast")];
    let plan = planned(&all, &cluster(&all, []), &options());
    assert_eq!(
        told(&plan),
        [
            "leave persistentvolumes/pv-1: its class provisions a new one; its data come back from a snapshot of the volume",
            "create persistentvolumeclaims/data",
        ]
    );
    assert!(plan.lines[1].body.open()["spec"].get("volumeName").is_none());
    assert_eq!(plan.lines[1].notes, ["its volume is provisioned anew and is empty"]);
}

#[test]
fn a_claim_whose_volume_is_bound_elsewhere_is_refused_and_never_takes_it() {
    let all = [claim("")];
    let bound = json!({"metadata": {"name": "pv-1"}, "spec": {"claimRef": {"namespace": "other", "name": "theirs"}}});
    assert_eq!(
        told(&planned(&all, &with_volumes(&all, std::slice::from_ref(&bound)), &options())),
        ["refuse persistentvolumeclaims/data: its volume pv-1 is bound to persistentvolumeclaims/theirs in other"]
    );
    let mut provisioned = bound;
    provisioned["metadata"]["annotations"] = json!({"pv.kubernetes.io/provisioned-by": "ebs"});
    let all = [claim("fast")];
    let plan = planned(&all, &with_volumes(&all, &[provisioned]), &options());
    assert_eq!(told(&plan), ["create persistentvolumeclaims/data"]);
    assert!(plan.lines[0].body.open()["spec"].get("volumeName").is_none());
    let own = json!({"metadata": {"name": "pv-1"}, "spec": {"claimRef": {"namespace": "shop", "name": "data"}}});
    let all = [claim("")];
    assert_eq!(
        planned(&all, &with_volumes(&all, &[own]), &options()).lines[0].body.open()["spec"]["volumeName"],
        "pv-1"
    );
}

#[test]
fn a_proof_beside_the_original_asks_about_a_claim_without_the_volume_that_the_original_holds() {
    let bound =
        |name: &str| json!({"metadata": {"name": "pv-1"}, "spec": {"claimRef": {"namespace": "origin", "name": name}}});
    let proof = Options { proof_of: Some("origin".to_owned()), ..options() };
    let all = [claim("")];
    let plan = planned(&all, &with_volumes(&all, &[bound("data")]), &proof);
    assert_eq!(told(&plan), ["create persistentvolumeclaims/data"]);
    assert!(plan.lines[0].body.open()["spec"].get("volumeName").is_none());
    let plan = planned(&all, &with_volumes(&all, &[bound("another")]), &proof);
    assert!(told(&plan)[0].starts_with("refuse persistentvolumeclaims/data: its volume pv-1 is bound to"));
    let plan = planned(&all, &with_volumes(&all, &[bound("data")]), &options());
    assert!(told(&plan)[0].starts_with("refuse "), "a restore elsewhere would never be bound");
}

#[test]
fn a_claim_that_nothing_could_bind_is_refused() {
    let all = [claim("")];
    let plan = planned(&all, &cluster(&all, []), &options());
    assert!(
        told(&plan)[0].starts_with("refuse persistentvolumeclaims/data: its volume pv-1 is neither there"),
        "{:?}",
        told(&plan)
    );
}

#[test]
fn a_claim_with_data_keeps_its_volume_in_every_mode() {
    let all = [claim("fast")];
    let there =
        live_of(&all[0], json!({"spec": {"volumeName": "pv-live", "resources": {"requests": {"storage": "9Gi"}}}}));
    let replaced = planned(&all, &cluster(&all, [there.clone()]), &mode(OnConflict::Replace));
    assert_eq!(replaced.lines[0].body.open()["spec"]["volumeName"], "pv-live");
    let merged = planned(&all, &cluster(&all, [there]), &mode(OnConflict::Merge));
    assert_eq!(told(&merged), ["same persistentvolumeclaims/data"]);
}

#[test]
fn how_a_claim_that_is_there_began_is_no_difference_and_nothing_is_made_for_it() {
    let (snapshots, contents) =
        ("volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io");
    let source = json!({"kind": "VolumeSnapshot", "name": "davit-1"});
    let begins = json!({"spec": {"storageClassName": "fast", "dataSource": source, "dataSourceRef": source}});
    let all = [
        saved("persistentvolumeclaims", "data", begins),
        saved(snapshots, "davit-1", json!({})),
        saved(contents, "davit-2", json!({})),
    ];
    let claim = all[0].identity.place();
    let made_for: BTreeMap<Place, Place> = [1, 2].map(|at| (all[at].identity.place(), claim.clone())).into();
    let mode = |on_conflict| Options { on_conflict, made_for: made_for.clone(), ..options() };
    let without = json!({"spec": {"dataSource": null, "dataSourceRef": null}});
    let other =
        json!({"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "old"}, "dataSourceRef": null}});
    for live in [without, other] {
        for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Merge, OnConflict::Replace] {
            let plan = planned(&all, &cluster(&all, [live_of(&all[0], live.clone())]), &mode(on_conflict));
            let noted = plan.lines.iter().find(|line| line.place == claim).unwrap();
            assert!(noted.notes[0].starts_with("it is there, so its volume is left as it is"), "{:?}", noted.notes);
            let mut told = told(&plan);
            told.sort();
            let why = "persistentvolumeclaims/data is there and keeps its volume; only a new one would begin with it";
            assert_eq!(
                told,
                [
                    format!("leave {contents}/davit-2: {why}"),
                    format!("leave {snapshots}/davit-1: {why}"),
                    "same persistentvolumeclaims/data".to_owned()
                ]
            );
        }
    }
    // A claim that this restore made before it was interrupted waits for its snapshot.
    let ours = json!({"metadata": {"managedFields": [{"manager": MANAGER, "operation": "Update"}]}});
    for there in [vec![live_of(&all[0], ours)], vec![]] {
        let plan = planned(&all, &cluster(&all, there), &mode(OnConflict::Fail));
        assert_eq!(plan.lines.iter().filter(|line| line.action == Action::Create && line.place != claim).count(), 2);
    }
}
