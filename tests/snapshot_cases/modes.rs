//! Objects that are there already: what each mode does to them, and what no mode does.

use super::restore::{assert_whole, fill, into, made, options, restored};
use crate::control_support::control_plane;
use davit::snapshot::map::Mapping;
use davit::snapshot::object::Place;
use davit::snapshot::plan::{Action, Mark, OnConflict, Options, Selector};
use davit::snapshot::restore::{self, prepare};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn each_mode_does_what_it_says_to_what_is_there_and_nothing_else() {
    let plane = control_plane();
    plane.namespace("modes");
    let config = |name: &str, data: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{a: b}}}}\ndata: {{{data}}}\n---\n"
        )
    };
    fill(plane, "modes", &(config("same", "a: '1'") + &config("changed", "a: '1'") + &config("gone", "a: '1'")));
    let saved = plane.saved("modes").await;
    let disturb = || {
        plane
            .kubectl(
                &[
                    "patch",
                    "configmap",
                    "changed",
                    "-n",
                    "modes",
                    "--type",
                    "merge",
                    "-p",
                    r#"{"data":{"a":"2","live":"x"},"metadata":{"labels":{"live":"x"}}}"#,
                ],
                "",
            )
            .unwrap();
        plane.kubectl(&["delete", "configmap", "gone", "-n", "modes", "--ignore-not-found"], "").unwrap();
    };
    disturb();
    let here = Mapping::default();
    let means = plane.means();
    let fail = prepare(&means, saved.clone(), &here, options()).await.unwrap();
    let refused = restore::run(&means, &fail).await.unwrap_err();
    assert_eq!(refused.kind().exit_code(), 3);
    assert!(refused.to_string().contains("configmaps/changed in modes"), "{refused}");
    assert!(plane.get(&["configmap", "gone", "-n", "modes"]).is_none());
    let now = || plane.get(&["configmap", "changed", "-n", "modes"]).unwrap();

    let (_, report) = restored(plane, &saved, &here, Options { on_conflict: OnConflict::Skip, ..options() }).await;
    assert_whole(&report);
    assert_eq!((report.created, now()["data"].clone()), (1, json!({"a": "2", "live": "x"})));

    disturb();
    let (_, report) = restored(plane, &saved, &here, Options { on_conflict: OnConflict::Merge, ..options() }).await;
    assert_whole(&report);
    assert_eq!((report.created, report.merged, now()["data"].clone()), (1, 1, json!({"a": "1", "live": "x"})));
    assert_eq!(now()["metadata"]["labels"], json!({"a": "b", "live": "x"}));
    // What a merge left is no part of it: the mark of the restore is on the object by now, and replacing takes it away.
    let fail = prepare(&means, saved.clone(), &here, options()).await.unwrap();
    assert_eq!(fail.plan.conflicts().count(), 1);
    let (_, report) = restored(plane, &saved, &here, Options { on_conflict: OnConflict::Replace, ..options() }).await;
    assert_whole(&report);
    assert_eq!((report.replaced, now()["data"].clone()), (1, json!({"a": "1"})));

    disturb();
    let uid = now()["metadata"]["uid"].clone();
    let (_, report) = restored(plane, &saved, &here, Options { on_conflict: OnConflict::Replace, ..options() }).await;
    assert_whole(&report);
    assert_eq!((report.replaced, now()["data"].clone()), (1, json!({"a": "1"})));
    assert_eq!(
        (now()["metadata"]["uid"].clone(), now()["metadata"]["labels"].clone()),
        (uid.clone(), json!({"a": "b"}))
    );

    disturb();
    let recreate = Options { recreate: vec![Selector::parse("configmaps")], ..options() };
    let (_, report) = restored(plane, &saved, &here, recreate).await;
    assert_whole(&report);
    assert_eq!((report.recreated, now()["data"].clone()), (1, json!({"a": "1"})));
    assert_ne!(now()["metadata"]["uid"], uid);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn a_change_between_plan_and_restore_is_told_and_stays() {
    let plane = control_plane();
    plane.namespace("between");
    fill(plane, "between", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: changed}\ndata: {a: '1'}\n");
    let saved = plane.saved("between").await;
    let change = |value: &str| {
        let patch = format!(r#"{{"data":{{"a":"{value}"}}}}"#);
        plane
            .kubectl(&["patch", "configmap", "changed", "-n", "between", "--type", "merge", "-p", &patch], "")
            .unwrap();
    };
    change("2");
    let means = plane.means();
    for on_conflict in [OnConflict::Replace, OnConflict::Merge] {
        let prepared =
            prepare(&means, saved.clone(), &Mapping::default(), Options { on_conflict, ..options() }).await.unwrap();
        change(if on_conflict == OnConflict::Replace { "3" } else { "4" });
        let report = restore::run(&means, &prepared).await.unwrap();
        assert_eq!(report.failed.len(), 1, "{report:#?}");
        assert_eq!(report.failed[0].why, "it was changed after the plan was made");
    }
    assert_eq!(plane.get(&["configmap", "changed", "-n", "between"]).unwrap()["data"]["a"], "4");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn a_claim_with_data_survives_every_mode_and_volumes_are_never_taken_from_others() {
    let plane = control_plane();
    plane.namespace("volumes");
    let volume = |name: &str, claim: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec:\n  capacity: {{storage: 1Gi}}\n  \
accessModes: [ReadWriteOnce]\n  storageClassName: ''\n  persistentVolumeReclaimPolicy: Delete\n  \
nfs: {{server: 192.0.2.1, path: /{name}}}\n  claimRef: {{namespace: volumes, name: {claim}}}\n---\n"
        )
    };
    plane.apply(&volume("restore-pv", "data"));
    fill(
        plane,
        "volumes",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: '', volumeName: restore-pv, resources: {requests: {storage: 1Gi}}}\n",
    );
    let claim = plane.await_object(&["pvc", "data", "-n", "volumes"], |claim| claim["status"]["phase"] == "Bound");
    let mut saved = plane.saved("volumes").await;
    saved.push(plane.related("persistentvolumes", "restore-pv"));
    plane.kubectl(&["label", "pvc", "data", "-n", "volumes", "live=x"], "").unwrap();
    for mode in [OnConflict::Skip, OnConflict::Merge, OnConflict::Replace] {
        let options = Options {
            on_conflict: mode,
            recreate: vec![Selector::parse("*")],
            prune: true,
            include_cluster: vec![Selector::parse("*")],
            covered: ["persistentvolumeclaims".to_owned(), "persistentvolumes".to_owned()].into(),
            ..options()
        };
        let (_, report) = restored(plane, &saved, &Mapping::default(), options).await;
        assert_whole(&report);
        let now = plane.get(&["pvc", "data", "-n", "volumes"]).unwrap();
        assert_eq!(now["metadata"]["uid"], claim["metadata"]["uid"], "{mode:?}");
        assert_eq!((&now["spec"]["volumeName"], &now["status"]["phase"]), (&json!("restore-pv"), &json!("Bound")));
    }
    // Into another namespace of the same cluster the volume stays where it is.
    let means = plane.means();
    let copy = prepare(&means, saved.clone(), &into("volumes", "volumes-copy"), options()).await.unwrap();
    let told: Vec<String> =
        copy.plan.lines.iter().filter_map(|line| Some(format!("{}: {}", line.place, line.action.why()?))).collect();
    assert!(
        told.iter().any(|line| line.starts_with(
            "persistentvolumeclaims/data: its volume restore-pv is bound to persistentvolumeclaims/data in volumes"
        )),
        "{told:?}"
    );
    let report = restore::run(&means, &copy).await.unwrap();
    assert_eq!(report.failed.len(), 1, "{report:#?}");

    // Lost and made again: the volume comes with its claim, and is retained from now on.
    plane
        .kubectl(
            &[
                "patch",
                "pv",
                "restore-pv",
                "--type",
                "merge",
                "-p",
                r#"{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}"#,
            ],
            "",
        )
        .unwrap();
    plane.kubectl(&["delete", "namespace", "volumes"], "").unwrap();
    plane.kubectl(&["delete", "pv", "restore-pv"], "").unwrap();
    let (_, report) = restored(plane, &saved, &Mapping::default(), options()).await;
    assert_whole(&report);
    plane.await_object(&["pvc", "data", "-n", "volumes"], |claim| claim["status"]["phase"] == "Bound");
    let volume = plane.get(&["pv", "restore-pv"]).unwrap();
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn a_volume_that_is_retained_is_bound_to_its_claim_again_when_only_the_namespace_was_lost() {
    let plane = control_plane();
    plane.namespace("retained");
    plane.apply(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: retained-pv}\nspec:\n  capacity: {storage: 1Gi}\n  \
accessModes: [ReadWriteOnce]\n  storageClassName: ''\n  persistentVolumeReclaimPolicy: Retain\n  \
nfs: {server: 192.0.2.1, path: /retained}\n",
    );
    fill(
        plane,
        "retained",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: '', volumeName: retained-pv, resources: {requests: {storage: 1Gi}}}\n",
    );
    let claim = || plane.await_object(&["pvc", "data", "-n", "retained"], |claim| claim["status"]["phase"] == "Bound");
    let mut uid = claim()["metadata"]["uid"].clone();
    let mut saved = plane.saved("retained").await;
    saved.push(plane.related("persistentvolumes", "retained-pv"));
    // The second disaster is no other than the first.
    for _ in 0..2 {
        plane.kubectl(&["delete", "namespace", "retained"], "").unwrap();
        plane.await_object(&["pv", "retained-pv"], |volume| volume["status"]["phase"] == "Released");
        let (_, report) = restored(plane, &saved, &Mapping::default(), options()).await;
        assert_whole(&report);
        let now = claim()["metadata"]["uid"].clone();
        let volume = plane.await_object(&["pv", "retained-pv"], |volume| volume["status"]["phase"] == "Bound");
        assert_eq!(volume["spec"]["claimRef"]["uid"], now);
        assert!(
            report.notes.iter().any(|note| note.contains("a PATCH of persistentvolumes/retained-pv")),
            "{report:#?}"
        );
        assert_ne!(now, uid);
        uid = now;
    }
    // One that waits since it was made by hand is helped by the same command.
    plane.kubectl(&["delete", "namespace", "retained"], "").unwrap();
    plane.await_object(&["pv", "retained-pv"], |volume| volume["status"]["phase"] == "Released");
    plane.namespace("retained");
    let waiting: Vec<_> =
        saved.iter().filter(|one| one.kind.group_resource() == "persistentvolumeclaims").cloned().collect();
    fill(
        plane,
        "retained",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: '', volumeName: retained-pv, resources: {requests: {storage: 1Gi}}}\n",
    );
    let (_, report) = restored(plane, &waiting, &Mapping::default(), options()).await;
    assert_whole(&report);
    assert_eq!((report.created, report.same), (0, 1));
    claim();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn pruning_removes_exactly_what_the_plan_listed() {
    let plane = control_plane();
    plane.namespace("prune");
    fill(plane, "prune", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {a: '1'}\n");
    let saved = plane.saved("prune").await;
    let extra =
        |name: &str| fill(plane, "prune", &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n"));
    extra("new");
    fill(
        plane,
        "prune",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: uncovered}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}\n",
    );
    let options = Options {
        prune: true,
        covered: ["configmaps", "persistentvolumeclaims", "serviceaccounts"].map(str::to_owned).into(),
        ..options()
    };
    let means = plane.means();
    let mut prepared = prepare(&means, saved.clone(), &Mapping::default(), options).await.unwrap();
    restore::check(&means, &mut prepared).await.unwrap();
    let pruned: Vec<(&str, &Mark)> = prepared
        .plan
        .lines
        .iter()
        .filter(|line| line.action == Action::Prune)
        .map(|line| (line.place.name.as_str(), &line.mark))
        .collect();
    assert_eq!(pruned, [("new", &Mark::Checked)]);
    extra("later");
    // The object of the plan is replaced by another one of its name: that one was not agreed to.
    plane.kubectl(&["delete", "configmap", "new", "-n", "prune"], "").unwrap();
    extra("new");
    let report = restore::run(&means, &prepared).await.unwrap();
    assert_eq!(report.failed[0].why, "it is another object than the one that was planned for", "{report:#?}");
    for (kind, name) in
        [("configmap", "new"), ("configmap", "later"), ("configmap", "kept"), ("secret", "uncovered"), ("pvc", "data")]
    {
        assert!(plane.get(&[kind, name, "-n", "prune"]).is_some(), "{name}");
    }
    let again = Options { prune: true, covered: ["configmaps".to_owned()].into(), ..prepared.options.clone() };
    let (_, report) = restored(plane, &saved, &Mapping::default(), again).await;
    assert_whole(&report);
    assert_eq!(report.pruned, 2);
    assert!(plane.get(&["configmap", "new", "-n", "prune"]).is_none());
    assert!(plane.get(&["configmap", "kube-root-ca.crt", "-n", "prune"]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn accounts_of_the_cluster_are_merged_and_objects_of_the_cluster_only_compared() {
    let plane = control_plane();
    plane.namespace("accounts");
    plane
        .kubectl(
            &[
                "patch",
                "serviceaccount",
                "default",
                "-n",
                "accounts",
                "--type",
                "merge",
                "-p",
                r#"{"imagePullSecrets":[{"name":"registry"}]}"#,
            ],
            "",
        )
        .unwrap();
    plane.apply("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: restore-reader}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n");
    let mut saved = plane.saved("accounts").await;
    saved.push(plane.related("clusterroles.rbac.authorization.k8s.io", "restore-reader"));
    plane.kubectl(&["patch", "clusterrole", "restore-reader", "--type", "merge", "-p", r#"{"rules":[]}"#], "").unwrap();
    made(plane, "accounts-copy");
    let (_, report) = restored(
        plane,
        &saved,
        &into("accounts", "accounts-copy"),
        Options { on_conflict: OnConflict::Replace, ..options() },
    )
    .await;
    assert_whole(&report);
    let account = plane.get(&["serviceaccount", "default", "-n", "accounts-copy"]).unwrap();
    assert_eq!(account["imagePullSecrets"], json!([{"name": "registry"}]));
    let role = || plane.get(&["clusterrole", "restore-reader"]).unwrap()["rules"].clone();
    assert_eq!(role()[0], Value::Null);
    assert!(
        report
            .left
            .iter()
            .any(|one| one.place == Place::in_cluster("clusterroles.rbac.authorization.k8s.io", "restore-reader")
                && one.why.contains("differs"))
    );
    let named = Options {
        include_cluster: vec![Selector::parse("clusterroles/restore-reader")],
        on_conflict: OnConflict::Replace,
        ..options()
    };
    let (_, report) = restored(plane, &saved, &into("accounts", "accounts-copy"), named).await;
    assert_whole(&report);
    assert_eq!(role()[0]["verbs"], json!(["get"]));
}
