//! Snapshots that the storage makes, against the published definitions on a real API server. No CSI driver is at hand, so
//! a thread stands in for the snapshot controller and the driver: it answers as they do.

use crate::cli_support::Desk;
use crate::control_support::{ControlPlane, control_plane};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// The published definitions, as the Go module of the API brings them.
const MODULE: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8@v8.2.0";

fn definitions(plane: &ControlPlane) {
    let output = Command::new("go").args(["mod", "download", "-json", MODULE]).current_dir("/").output().unwrap();
    let about: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = format!("{}/config/crd", about["Dir"].as_str().unwrap_or_else(|| panic!("{about}")));
    for kind in ["volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots"] {
        let file = format!("{folder}/snapshot.storage.k8s.io_{kind}.yaml");
        plane.kubectl(&["apply", "--server-side", "-f", &file], "").unwrap();
        crate::support::wait_until(30, kind, || plane.kubectl(&["get", kind, "-A"], "").is_ok());
    }
}

fn status(plane: &ControlPlane, kind: &str, namespace: &str, name: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    let arguments = ["patch", kind, name, "-n", namespace, "--subresource", "status", "--type", "merge", "-p", &patch];
    plane.kubectl(&arguments, "").unwrap();
}

/// What the snapshot controller and the driver do of it: a content for each snapshot of a claim, and that it is ready.
fn stand_in(plane: &ControlPlane, namespace: &str) {
    let all = plane.get(&["volumesnapshots", "-n", namespace]).unwrap();
    for snapshot in all["items"].as_array().unwrap() {
        let name = snapshot["metadata"]["name"].as_str().unwrap();
        if snapshot["status"]["readyToUse"] == true || snapshot["spec"]["source"]["persistentVolumeClaimName"].is_null()
        {
            continue;
        }
        let uid = snapshot["metadata"]["uid"].as_str().unwrap();
        let content = format!("snapcontent-{uid}");
        let body = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": {"name": content},
            "spec": {"deletionPolicy": "Delete", "driver": "csi.davit.test", "source": {"volumeHandle": "vol-1"},
                "volumeSnapshotClassName": "fast", "volumeSnapshotRef": {"apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot", "name": name, "namespace": namespace, "uid": uid}}});
        plane.kubectl(&["create", "-f", "-"], &body.to_string()).unwrap();
        let ready = json!({"readyToUse": true, "snapshotHandle": format!("snap-{uid}"), "restoreSize": 1 << 30});
        status(plane, "volumesnapshotcontent", namespace, &content, &ready);
        status(
            plane,
            "volumesnapshot",
            namespace,
            name,
            &json!({"readyToUse": true, "boundVolumeSnapshotContentName": content}),
        );
    }
}

#[test]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
fn storage_makes_the_snapshots_they_outlive_the_namespace_and_claims_begin_with_them() {
    let plane = control_plane();
    definitions(plane);
    plane.namespace("stored");
    plane.apply("apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotClass\nmetadata: {name: fast}\ndriver: csi.davit.test\ndeletionPolicy: Delete\n---\n\
        apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: fast}\nprovisioner: csi.davit.test\n---\n\
        apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: pv-stored, annotations: {pv.kubernetes.io/provisioned-by: csi.davit.test}}\n\
        spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: fast, persistentVolumeReclaimPolicy: Retain,\n\
        \x20 csi: {driver: csi.davit.test, volumeHandle: vol-1}, claimRef: {namespace: stored, name: data}}\n---\n\
        apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: stored}\n\
        spec: {accessModes: [ReadWriteOnce], storageClassName: fast, volumeName: pv-stored, resources: {requests: {storage: 1Gi}}}\n");
    plane.await_object(&["pvc", "data", "-n", "stored"], |claim| claim["status"]["phase"] == "Bound");
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let done = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                stand_in(plane, "stored");
            }
        });
        let said = desk.davit(&["snapshot", "create", "stored", "--volumes", "csi"]);
        done.store(true, Ordering::SeqCst);
        said
    });
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("which stays until it is deleted"), "{}", said.stderr);
    assert_eq!(
        plane.get(&["volumesnapshots", "-n", "stored"]).unwrap()["items"],
        json!([]),
        "nothing is left in the namespace"
    );
    let contents = plane.get(&["volumesnapshotcontents", "-l", "davit.dev/claim=data"]).unwrap();
    let content = &contents["items"][0];
    assert_eq!(content["spec"]["deletionPolicy"], "Retain", "{contents:#}");

    let said = desk.davit(&["snapshot", "restore", "stored@latest", "--into", "stored-copy"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let snapshots = plane.get(&["volumesnapshots", "-n", "stored-copy"]).unwrap();
    let snapshot = &snapshots["items"][0];
    let made = snapshot["spec"]["source"]["volumeSnapshotContentName"].as_str().unwrap();
    let made = plane.get(&["volumesnapshotcontent", made]).unwrap();
    assert_eq!(made["spec"]["source"]["snapshotHandle"], content["status"]["snapshotHandle"]);
    assert_eq!(made["spec"]["volumeSnapshotRef"]["namespace"], "stored-copy");
    assert_eq!(made["spec"]["deletionPolicy"], "Retain");
    let claim = plane.get(&["pvc", "data", "-n", "stored-copy"]).unwrap();
    assert_eq!(claim["spec"]["dataSource"]["name"], snapshot["metadata"]["name"], "{claim:#}");
    assert!(claim["spec"]["volumeName"].is_null(), "{claim:#}");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_volume_that_nothing_can_snapshot_makes_the_point_incomplete() {
    let plane = ControlPlane::start();
    plane.namespace("bare");
    plane.apply("apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: pv-bare}\n\
        spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, storageClassName: '',\n\
        \x20 hostPath: {path: /nowhere}, claimRef: {namespace: bare, name: data}}\n---\n\
        apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: bare}\n\
        spec: {accessModes: [ReadWriteOnce], storageClassName: '', volumeName: pv-bare, resources: {requests: {storage: 1Gi}}}\n");
    plane.await_object(&["pvc", "data", "-n", "bare"], |claim| claim["status"]["phase"] == "Bound");
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let said = desk.davit(&["snapshot", "create", "bare", "--volumes", "csi"]);
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("its snapshot controller is not installed"), "{}", said.stdout);
    definitions(&plane);
    let said = desk.davit(&["snapshot", "create", "bare", "--volumes", "csi"]);
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("no CSI driver serves it"), "{}", said.stdout);
}
