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
fn a_claim_of_a_class_that_nobody_has_waits_and_is_refused_only_where_the_user_named_that_class() {
    let claim = |spec: Value| saved("persistentvolumeclaims", "data", json!({ "spec": spec }));
    let fast = [claim(json!({"storageClassName": "fast"}))];
    let with = |classes: &[(&str, bool)], volumes: &[Value]| {
        let classes = classes.iter().map(|(name, default)| ((*name).to_owned(), *default)).collect();
        Live { classes: Some(classes), ..with_volumes(&fast, volumes) }
    };
    let mapped = Options { mapped_classes: ["fast".to_owned()].into(), ..options() };
    let notes = |live: &Live, all: &[Saved]| planned(all, live, &options()).lines[0].notes.clone();

    let near = with(&[("fsat", false)], &[]);
    assert_eq!(
        told(&planned(&fast, &near, &mapped)),
        [
            "refuse persistentvolumeclaims/data: --map-storage-class names a class that the cluster does not have: fast, did \
          you mean fsat?"
        ]
    );
    assert_eq!(planned(&fast, &near, &mapped).nowhere().count(), 1);
    let plan = planned(&fast, &near, &options());
    assert_eq!((told(&plan), plan.nowhere().count()), (vec!["create persistentvolumeclaims/data".to_owned()], 0));
    assert!(plan.lines[0].notes[0].starts_with("the cluster has no storage class fast"), "{:?}", plan.lines[0].notes);
    // There, not looked at, or a volume that waits for a claim: any one, or the one that it was prepared for.
    let waits = json!({"metadata": {"name": "pv"}, "spec": {"storageClassName": "fast"}});
    let prepared =
        |claim: Value| json!({"metadata": {"name": "pv"}, "spec": {"storageClassName": "fast", "claimRef": claim}});
    let waits_by_name = prepared(json!({"namespace": "shop", "name": "data"}));
    let bound = with(&[], &[prepared(json!({"namespace": "shop", "name": "data", "uid": "gone"}))]);
    assert_eq!(planned(&fast, &bound, &mapped).nowhere().count(), 1, "that one waits for nobody");
    let unseen = Live { classes: None, ..near.clone() };
    for live in [with(&[("fast", false)], &[]), unseen, with(&[], &[waits]), with(&[], &[waits_by_name])] {
        assert_eq!(told(&planned(&fast, &live, &mapped)), ["create persistentvolumeclaims/data"]);
        assert_eq!(notes(&live, &fast), Vec::<String>::new());
    }
    // One that comes with the snapshot.
    let come = [fast[0].clone(), saved("storageclasses.storage.k8s.io", "fast", json!({}))];
    let live = Live { classes: Some(BTreeMap::new()), ..cluster(&come, []) };
    assert_eq!(told(&planned(&come, &live, &mapped))[0], "create persistentvolumeclaims/data");
    // One that names none waits for a default one, and one that wants none at all does not.
    let (none, empty) = ([claim(json!({}))], [claim(json!({"storageClassName": ""}))]);
    assert!(notes(&near, &none)[0].starts_with("it names no storage class"), "{:?}", notes(&near, &none));
    assert_eq!(notes(&with(&[("slow", true)], &[]), &none), Vec::<String>::new());
    assert_eq!(notes(&near, &empty), Vec::<String>::new());
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

/// A live volume that names the claim `data` of the shop with the uid `gone`.
fn released(more: Value) -> Value {
    let claim = json!({"namespace": "shop", "name": "data", "uid": "gone", "resourceVersion": "5"});
    let mut body = json!({"metadata": {"name": "pv-1", "uid": "of-pv-1", "resourceVersion": "9"},
        "spec": {"persistentVolumeReclaimPolicy": "Retain", "claimRef": claim}});
    super::super::super::map::patch::merge(&mut body, &more);
    body
}

fn frees(plan: &Plan) -> Option<Freed> {
    plan.lines.iter().find_map(|line| line.frees.clone())
}

#[test]
fn a_volume_that_waits_for_a_claim_that_is_gone_is_freed_for_the_one_that_comes_back() {
    let provisioned = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "ebs"}}});
    for (class, more) in [("", json!({})), ("fast", provisioned)] {
        let all = [claim(class)];
        let live = with_volumes(&all, &[released(more)]);
        let plan = planned(&all, &live, &options());
        assert_eq!(told(&plan), ["create persistentvolumeclaims/data"]);
        assert_eq!(plan.lines[0].body.open()["spec"]["volumeName"], "pv-1");
        let freed = Freed { volume: "pv-1".to_owned(), uid: "of-pv-1".to_owned(), of: "gone".to_owned() };
        assert_eq!(frees(&plan), Some(freed));
        assert!(plan.lines[0].notes[0].contains("a PATCH of persistentvolumes/pv-1"), "{:?}", plan.lines[0].notes);
        // Whoever agreed to a plan without it did not agree to it.
        let without = with_volumes(&all, &[released(json!({"spec": {"claimRef": {"uid": null}}}))]);
        let other = planned(&all, &without, &options());
        assert_eq!((frees(&other), told(&other)), (None, told(&plan)));
        assert_ne!(plan.digest(&options()), other.digest(&options()));
    }
}

#[test]
fn a_claim_that_is_there_and_waits_gets_its_volume_and_any_other_leaves_it_alone() {
    let all = [claim("")];
    let there = |more: Value| Live { volumes: vec![released(json!({}))], ..cluster(&all, [live_of(&all[0], more)]) };
    let waiting = planned(&all, &there(json!({})), &options());
    assert_eq!(
        (told(&waiting), frees(&waiting).is_some()),
        (vec!["same persistentvolumeclaims/data".to_owned()], true)
    );
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    for (more, options) in [
        (json!({"metadata": {"uid": "gone"}}), options()),
        (json!({"spec": {"volumeName": "pv-2"}}), mode(OnConflict::Merge)),
        (label, mode(OnConflict::Skip)),
    ] {
        let plan = planned(&all, &there(more.clone()), &options);
        assert_eq!(frees(&plan), None, "{more}: {:?}", told(&plan));
        assert!(!plan.lines[0].notes.iter().any(|note| note.contains("PATCH")), "{:?}", plan.lines[0].notes);
    }
    // A proof touches no volume, whatever it names.
    let proof = Options { proof_of: Some("origin".to_owned()), ..options() };
    assert_eq!(frees(&planned(&all, &with_volumes(&all, &[released(json!({}))]), &proof)), None);
    // Into another namespace the volume stays with the name that it waits for.
    let elsewhere = released(json!({"spec": {"claimRef": {"namespace": "origin"}}}));
    let plan = planned(&all, &with_volumes(&all, &[elsewhere]), &options());
    assert!(frees(&plan).is_none() && told(&plan)[0].starts_with("refuse "), "{:?}", told(&plan));
}

#[test]
fn a_volume_whose_data_are_being_deleted_is_not_given_to_a_claim() {
    let deleting = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let provisioned = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "ebs"}}});
    for more in [deleting, going] {
        let by_hand = [claim("")];
        let plan = planned(&by_hand, &with_volumes(&by_hand, &[released(more.clone())]), &options());
        assert!(frees(&plan).is_none() && told(&plan)[0].starts_with("refuse "), "{:?}", told(&plan));
        let by_class = [claim("fast")];
        let mut volume = released(more);
        super::super::super::map::patch::merge(&mut volume, &provisioned);
        let plan = planned(&by_class, &with_volumes(&by_class, &[volume]), &options());
        assert_eq!(told(&plan), ["create persistentvolumeclaims/data"]);
        assert!(frees(&plan).is_none() && plan.lines[0].body.open()["spec"].get("volumeName").is_none());
        assert_eq!(plan.lines[0].notes, ["its volume is provisioned anew and is empty"]);
    }
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

/// A claim that begins with a snapshot of the storage, and what was made for it.
fn beginning(spec: Value) -> (Saved, Options) {
    let mut claim = claim("fast");
    let source = json!({"kind": "VolumeSnapshot", "name": "davit-1"});
    claim.body.change(|body| {
        body["spec"]["dataSource"] = source;
        super::super::super::map::patch::merge(body, &json!({ "spec": spec }));
    });
    let snapshot = Place::in_namespace("volumesnapshots.snapshot.storage.k8s.io", "shop", "davit-1");
    let made_for = [(snapshot, claim.identity.place())].into();
    (claim, Options { made_for, ..options() })
}

#[test]
fn a_claim_that_begins_with_a_snapshot_gets_a_new_volume_and_the_one_of_before_keeps_its_data() {
    let (claim, options) = beginning(json!({}));
    let provisioned = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "ebs"}}});
    let begins = "its volume begins with what the snapshot davit-1 holds";
    let free = json!({"spec": {"claimRef": null}});
    for more in [json!({}), provisioned.clone(), free] {
        let all = [claim.clone()];
        let plan = planned(&all, &with_volumes(&all, &[released(more.clone())]), &options);
        assert_eq!(told(&plan), ["create persistentvolumeclaims/data"]);
        // A claim that names a volume is bound to it, whatever it begins with.
        assert!(plan.lines[0].body.open()["spec"].get("volumeName").is_none(), "{more}");
        assert_eq!((frees(&plan), plan.lines[0].notes.as_slice()), (None, &[begins.to_owned()][..]), "{more}");
    }
    // One that was made by hand is not made again for it: it would wait for the claim.
    let all = [volume("pv-1", json!({})), claim.clone()];
    let plan = planned(&all, &cluster(&all, []), &options);
    assert_eq!(
        told(&plan),
        [
            "leave persistentvolumes/pv-1: persistentvolumeclaims/data gets a new volume, which begins with its snapshot",
            "create persistentvolumeclaims/data"
        ]
    );
    // The same command goes on after it was interrupted, also where the new volume is there.
    let ours = json!({"metadata": {"managedFields": [{"manager": MANAGER, "operation": "Update"}]},
        "spec": {"volumeName": "pv-new"}});
    let all = [claim];
    let there = cluster(&all, [live_of(&all[0], ours)]);
    let live = Live { volumes: vec![released(provisioned)], ..there };
    let plan = planned(&all, &live, &options);
    assert_eq!((told(&plan), frees(&plan)), (vec!["same persistentvolumeclaims/data".to_owned()], None));
    assert_eq!(plan.lines[0].notes, [begins]);
}

#[test]
fn a_claim_that_could_not_begin_with_its_snapshot_is_refused() {
    let (claim, options) = beginning(json!({}));
    let all = [claim];
    let waits = released(json!({"metadata": {"name": "other"}, "spec": {"claimRef": {"uid": null}}}));
    let plan = planned(&all, &with_volumes(&all, &[waits]), &options);
    let why = "refuse persistentvolumeclaims/data: the volume other waits for a claim of this name";
    assert!(told(&plan)[0].starts_with(why) && plan.lines[0].notes.is_empty(), "{:?}", told(&plan));
    let (claim, options) = beginning(json!({"storageClassName": ""}));
    let all = [claim];
    let plan = planned(&all, &with_volumes(&all, &[released(json!({}))]), &options);
    let why =
        "refuse persistentvolumeclaims/data: it begins with a snapshot, and has no class that makes a volume of one";
    assert!(told(&plan)[0].starts_with(why), "{:?}", told(&plan));
}

#[test]
fn a_claim_that_keeps_its_volume_is_not_said_to_begin_with_anything() {
    let (claim, _) = beginning(json!({}));
    let all = [claim];
    let plan = planned(&all, &with_volumes(&all, &[released(json!({}))]), &options());
    assert_eq!(plan.lines[0].body.open()["spec"]["volumeName"], "pv-1");
    assert!(frees(&plan).is_some() && plan.lines[0].notes.len() == 1, "{:?}", plan.lines[0].notes);
    assert!(plan.lines[0].notes[0].contains("a PATCH of persistentvolumes/pv-1"), "{:?}", plan.lines[0].notes);
}
