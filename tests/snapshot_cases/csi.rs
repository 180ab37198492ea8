//! Snapshots that the storage makes, against the published definitions on a real API server. No CSI driver is at hand, so
//! a thread stands in for the snapshot controller and the driver: it answers as they do.

use crate::cli_support::Desk;
use crate::control_support::{ControlPlane, control_plane};
use davit::clock::{SharedClock, SimClock, SystemClock};
use davit::cluster::{Cluster, Connect, Place};
use davit::repository::{Keys, OpenContext, Repository};
use davit::snapshot::volumes;
use davit::store::OpenOptions;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

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

/// The account of backups, with what deploy/ gives it in this namespace; the kubeconfig that is it.
fn account(plane: &ControlPlane, desk: &Desk, namespace: &str) -> String {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let read = |file: &str| std::fs::read_to_string(deploy.join(file)).unwrap();
    plane.apply(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: davit}\n---\n\
        apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: davit-backup, namespace: davit}\n",
    );
    plane.apply(&read("base/roles.yaml"));
    let component = read("components/volumes/volumes.yaml");
    plane.apply(&component.replace("namespace: shop", &format!("namespace: {namespace}")));
    plane.apply(&format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: davit-backup, namespace: {namespace}}}\n\
        roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: davit-backup-namespace}}\n\
        subjects: [{{kind: ServiceAccount, name: davit-backup, namespace: davit}}]\n"));
    kubeconfig_of(plane, desk, "davit-backup")
}

fn kubeconfig_of(plane: &ControlPlane, desk: &Desk, account: &str) -> String {
    let token = plane.kubectl(&["create", "token", account, "-n", "davit", "--duration=1h"], "").unwrap();
    let config = std::fs::read_to_string(plane.kubeconfig()).unwrap().replace("davit-test-token", token.trim());
    let file = desk.path().join(account);
    std::fs::write(&file, config).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The account that takes away what the storage made, with what deploy/ gives it.
fn sweeper(plane: &ControlPlane, desk: &Desk) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/components/sweep/sweep.yaml");
    plane.namespace("davit");
    plane.apply(&std::fs::read_to_string(file).unwrap());
    kubeconfig_of(plane, desk, "davit-sweep")
}

/// The repository of a desk, as it looks so many days from now.
async fn repository(desk: &Desk, days: i64) -> Repository {
    let clock: SharedClock =
        Arc::new(SimClock::at(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)));
    let place = desk.path().join("davit-repository").display().to_string();
    let store = davit::store::open(&place, &OpenOptions::default(), clock.clone()).await.unwrap();
    let keys = Keys::load(&desk.path().join("davit-keys")).unwrap();
    Repository::open(store, keys, OpenContext::new(clock)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
async fn what_the_storage_keeps_goes_when_no_point_needs_it_and_only_then() {
    let plane = ControlPlane::start();
    definitions(&plane);
    plane.namespace("swept");
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let said = desk.json(&["snapshot", "create", "swept"]);
    assert_eq!(said.0, 0, "{:#}", said.1);
    let run = said.1["points"][0]["run"].as_str().unwrap().to_lowercase();
    let ours = repository(&desk, 0).await.id().to_string();
    let content = |name: &str, run: &str, repository: &str, handle: &str| {
        let body = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
            "metadata": {"name": name, "labels": {"davit.dev/run": run, "davit.dev/repository": repository}},
            "spec": {"deletionPolicy": "Retain", "driver": "csi.davit.test", "source": {"snapshotHandle": handle},
                "volumeSnapshotRef": {"name": name, "namespace": "swept"}}});
        plane.kubectl(&["create", "-f", "-"], &body.to_string()).unwrap();
    };
    content("needed", &run, &ours, "snap-1");
    content("free", "run-gone", &ours, "snap-2");
    content("others", "run-gone", &"0".repeat(32), "snap-3");
    content("shared", "run-gone", &ours, "snap-4");
    let restored = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": {"name": "restored"},
        "spec": {"deletionPolicy": "Retain", "driver": "csi.davit.test", "source": {"snapshotHandle": "snap-4"},
            "volumeSnapshotRef": {"name": "restored", "namespace": "swept"}}});
    plane.kubectl(&["create", "-f", "-"], &restored.to_string()).unwrap();
    // A run that may still be under way keeps what it made.
    let account = sweeper(&plane, &desk);
    let said = desk.davit(&["sweep", "--volume-snapshots", "--kubeconfig", &account]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(
        said.stdout.contains("VolumeSnapshotContent free stays: its run may still be under way"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("VolumeSnapshotContent needed stays: "), "{}", said.stdout);
    assert!(!said.stdout.contains("others"), "{}", said.stdout);

    let connect = Connect { place: Place::Files(vec![account.into()]), context: None };
    let cluster = Cluster::connect(&connect, SystemClock::shared(), CancellationToken::new()).unwrap();
    let found = volumes::leftovers(&cluster, &repository(&desk, 3).await).await.unwrap();
    let going: Vec<_> = found.iter().filter(|one| one.goes).collect();
    assert_eq!(going.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["free"], "{found:#?}");
    // As a driver does, somebody waits for the word that the storage's snapshot may go, too.
    let finalizer = r#"{"metadata":{"finalizers":["davit.test/driver"]}}"#;
    plane.kubectl(&["patch", "volumesnapshotcontent", "free", "--type", "merge", "-p", finalizer], "").unwrap();
    for one in &going {
        volumes::remove(&cluster, one).await.unwrap();
    }
    let going = plane.get(&["volumesnapshotcontent", "free"]).unwrap();
    assert_eq!(going["spec"]["deletionPolicy"], "Delete");
    assert_eq!(going["metadata"]["annotations"]["snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"], "yes");
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let none = r#"{"metadata":{"finalizers":null}}"#;
    plane.kubectl(&["patch", "volumesnapshotcontent", "free", "--type", "merge", "-p", none], "").unwrap();
    for name in ["needed", "others", "shared", "restored"] {
        let there = plane.get(&["volumesnapshotcontent", name]).unwrap();
        assert_eq!(
            (&there["spec"]["deletionPolicy"], &there["metadata"]["deletionTimestamp"]),
            (&json!("Retain"), &Value::Null)
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
    let account = account(plane, &desk, "stored");
    let done = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                stand_in(plane, "stored");
            }
        });
        // With the rights that deploy/ gives, and no others.
        let arguments = ["snapshot", "create", "stored", "--volumes", "csi", "--kubeconfig", &account];
        let said = desk.davit(&arguments);
        done.store(true, Ordering::SeqCst);
        said
    });
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("which stays until davit sweep --volume-snapshots"), "{}", said.stderr);
    assert_eq!(
        plane.get(&["volumesnapshots", "-n", "stored"]).unwrap()["items"],
        json!([]),
        "nothing is left in the namespace"
    );
    let contents = plane.get(&["volumesnapshotcontents", "-l", "davit.dev/claim=data"]).unwrap();
    let content = &contents["items"][0];
    assert_eq!(content["spec"]["deletionPolicy"], "Retain", "{contents:#}");

    let said = desk.davit(&["snapshot", "restore", "stored@latest", "--into", "stored-copy", "--plan"]);
    assert!(
        said.code == 0 && said.stdout.contains("its volume begins with what the snapshot davit-"),
        "{}",
        said.stdout
    );
    assert!(!said.stdout.contains("is empty"), "{}", said.stdout);
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
