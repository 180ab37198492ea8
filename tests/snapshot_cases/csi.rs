//! Snapshots that the storage makes, against the published definitions on a real API server. No CSI driver is at hand, so
//! a thread stands in for the snapshot controller and the driver: it answers as they do.

use crate::cli_support::{Desk, Said};
use crate::control_support::{ControlPlane, control_plane};
use crate::csi_groups;
use davit::clock::{SharedClock, SimClock, SystemClock};
use davit::cluster::{Cluster, Connect, Place};
use davit::repository::{Keys, OpenContext, Repository};
use davit::snapshot::volumes;
use davit::store::OpenOptions;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// The published definitions, as the Go module of the API brings them.
const MODULE: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8@v8.2.0";

pub fn definitions(plane: &ControlPlane) {
    define(
        plane,
        MODULE,
        "snapshot.storage.k8s.io",
        ["volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots"],
    );
}

/// Applies published definitions of a group.
pub fn define(plane: &ControlPlane, module: &str, group: &str, kinds: [&str; 3]) {
    let output = Command::new("go").args(["mod", "download", "-json", module]).current_dir("/").output().unwrap();
    let about: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = format!("{}/config/crd", about["Dir"].as_str().unwrap_or_else(|| panic!("{about}")));
    for kind in kinds {
        let file = format!("{folder}/{group}_{kind}.yaml");
        plane.kubectl(&["apply", "--server-side", "-f", &file], "").unwrap();
        crate::support::wait_until(30, kind, || plane.kubectl(&["get", kind, "-A"], "").is_ok());
    }
}

pub fn status(plane: &ControlPlane, kind: &str, namespace: &str, name: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    let arguments = ["patch", kind, name, "-n", namespace, "--subresource", "status", "--type", "merge", "-p", &patch];
    plane.kubectl(&arguments, "").unwrap();
}

/// What the snapshot controller and the driver do of it: a content for each snapshot of a claim, and that it is ready.
/// Members of a group are made with their group.
pub fn stand_in(plane: &ControlPlane, namespace: &str) {
    let all = plane.get(&["volumesnapshots", "-n", namespace]).unwrap();
    for snapshot in all["items"].as_array().unwrap() {
        let name = snapshot["metadata"]["name"].as_str().unwrap();
        let is_single = snapshot["metadata"]["ownerReferences"].is_null()
            && snapshot["spec"]["source"]["persistentVolumeClaimName"].is_string();
        if snapshot["status"]["readyToUse"] == true || !is_single {
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

/// A namespace with a claim whose volume a driver serves.
pub fn claimed(plane: &ControlPlane, namespace: &str) {
    plane.namespace(namespace);
    plane.apply(
        "apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotClass\nmetadata: {name: fast}\ndriver: csi.davit.test\ndeletionPolicy: Delete\n---\n\
        apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: fast}\nprovisioner: csi.davit.test\n",
    );
    claim(plane, namespace, "data", "csi.davit.test", "");
}

/// A claim, with more in its metadata, and a volume that a driver serves.
pub fn claim(plane: &ControlPlane, namespace: &str, name: &str, driver: &str, metadata: &str) {
    let yaml = "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: pv-SPACE-NAME, annotations: {pv.kubernetes.io/provisioned-by: DRIVER}}\n\
        spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: fast, persistentVolumeReclaimPolicy: Retain,\n\
        \x20 csi: {driver: DRIVER, volumeHandle: vol-SPACE-NAME}, claimRef: {namespace: SPACE, name: NAME}}\n---\n\
        apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: NAME, namespace: SPACE, METADATA}\n\
        spec: {accessModes: [ReadWriteOnce], storageClassName: fast, volumeName: pv-SPACE-NAME, resources: {requests: {storage: 1Gi}}}\n";
    let yaml = yaml.replace("SPACE", namespace).replace("NAME", name).replace("DRIVER", driver);
    plane.apply(&yaml.replace("METADATA", metadata));
    plane.await_object(&["pvc", name, "-n", namespace], |claim| claim["status"]["phase"] == "Bound");
}

/// Saves a namespace with its volumes while somebody stands in for the driver.
fn save(plane: &ControlPlane, desk: &Desk, namespace: &str, account: &str, more: &[&str]) -> Said {
    let create = ["snapshot", "create", namespace, "--volumes", "csi", "--kubeconfig", account];
    meanwhile(|| stand_in(plane, namespace), || desk.davit(&[&create, more].concat()))
}

/// Does something while something else is done over and over, however the first ends.
pub fn meanwhile<T>(over_and_over: impl Fn() + Sync, then: impl FnOnce() -> T) -> T {
    struct Ended<'a>(&'a AtomicBool);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                over_and_over();
            }
        });
        let _ended = Ended(&done);
        then()
    })
}

/// Has an account without one verb on one kind of storage, and gives it back afterwards. The role is as deploy/ has it.
fn without<T>(
    plane: &ControlPlane,
    role: &[&str],
    account: &str,
    (verb, kind): (&str, &str),
    then: impl FnOnce() -> T,
) -> T {
    let whole = plane.get(role).unwrap();
    let mut fewer = whole.clone();
    let rules = fewer["rules"].as_array_mut().unwrap().iter_mut();
    let mut taken = 0;
    for rule in rules.filter(|rule| rule["resources"].as_array().unwrap().contains(&json!(kind))) {
        let verbs = rule["verbs"].as_array_mut().unwrap();
        taken += verbs.len();
        verbs.retain(|have| have != verb);
        taken -= verbs.len();
    }
    assert_eq!(taken, 1, "{verb} {kind} is not in {whole:#}");
    fewer["rules"].as_array_mut().unwrap().retain(|rule| rule["verbs"] != json!([]));
    held(plane, (&whole, &fewer), account, (verb, kind), then)
}

/// Has a role with fewer rights for a while, from when the server knows of it.
fn held<T>(
    plane: &ControlPlane,
    (whole, fewer): (&Value, &Value),
    account: &str,
    (verb, kind): (&str, &str),
    then: impl FnOnce() -> T,
) -> T {
    let set = |role: &Value, wanted: bool| {
        let mut role = role.clone();
        role["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        plane.kubectl(&["replace", "-f", "-"], &role.to_string()).unwrap();
        let namespace = whole["metadata"]["namespace"].as_str().map(|namespace| format!("--namespace={namespace}"));
        let inside = namespace.unwrap_or_else(|| "--all-namespaces".to_owned());
        let group = if kind.contains("group") { "groupsnapshot" } else { "snapshot" };
        let (full, user) =
            (format!("{kind}.{group}.storage.k8s.io"), format!("--as=system:serviceaccount:davit:{account}"));
        let ask = ["auth", "can-i", verb, &full, &user, &inside];
        crate::support::wait_until(20, &format!("{verb} {kind}: {wanted}"), || {
            plane.kubectl(&ask, "").is_ok() == wanted
        });
    };
    set(fewer, false);
    let said = then();
    set(whole, true);
    said
}

/// The same for a kind that a role only lists, beside others.
fn without_kind<T>(plane: &ControlPlane, role: &[&str], account: &str, kind: &str, then: impl FnOnce() -> T) -> T {
    let whole = plane.get(role).unwrap();
    let mut fewer = whole.clone();
    for rule in fewer["rules"].as_array_mut().unwrap() {
        rule["resources"].as_array_mut().unwrap().retain(|have| have != kind);
    }
    let none = |rule: &Value| rule["resources"] == json!([]);
    fewer["rules"].as_array_mut().unwrap().retain(|rule| !none(rule));
    held(plane, (&whole, &fewer), account, ("list", kind), then)
}

/// The account of backups, with what deploy/ gives it in this namespace; the kubeconfig that is it.
pub fn account(plane: &ControlPlane, desk: &Desk, namespace: &str) -> String {
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
pub fn sweeper(plane: &ControlPlane, desk: &Desk) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/components/sweep/sweep.yaml");
    plane.namespace("davit");
    plane.apply(&std::fs::read_to_string(file).unwrap());
    kubeconfig_of(plane, desk, "davit-sweep")
}

/// The repository of a desk, as it looks so many days from now.
pub async fn repository(desk: &Desk, days: i64) -> Repository {
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
    claimed(plane, "stored");
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let account = account(plane, &desk, "stored");
    // With the rights that deploy/ gives, and no others.
    let said = save(plane, &desk, "stored", &account, &[]);
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
    compared(plane, &desk, &account);
    over_itself(plane, &desk);

    // A selector that takes the claim takes its snapshot, too: else it would come back empty.
    plane.kubectl(&["label", "pvc", "data", "-n", "stored", "app=data"], "").unwrap();
    let said = save(plane, &desk, "stored", &account, &["--selector", "app=data"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let said = desk.davit(&["snapshot", "restore", "stored@latest", "--into", "stored-chosen", "--plan"]);
    assert!(said.stdout.contains("its volume begins with what the snapshot davit-"), "{}", said.stdout);
}

/// Where its claim still is, a point restores without a word about it: how a claim once began is no difference.
fn over_itself(plane: &ControlPlane, desk: &Desk) {
    let there = || {
        (plane.get(&["pvc", "data", "-n", "stored"]), plane.get(&["volumesnapshotcontents"]).unwrap()["items"].clone())
    };
    let before = there();
    for mode in ["fail", "skip", "merge", "replace"] {
        let restore = ["snapshot", "restore", "stored@latest", "--on-conflict", mode];
        let plan = desk.davit(&[&restore[..], &["--plan"]].concat());
        assert_eq!(plan.code, 0, "{mode}: {}{}", plan.stdout, plan.stderr);
        assert!(plan.stdout.contains("  same      persistentvolumeclaims/data"), "{mode}: {}", plan.stdout);
        let said = desk.davit(&restore);
        assert_eq!(said.code, 0, "{mode}: {}{}", said.stdout, said.stderr);
        assert!(
            said.stdout.contains("nothing was there to do") || !said.stdout.contains(" created"),
            "{}",
            said.stdout
        );
        assert_eq!(there(), before, "{mode}");
        assert_eq!(plane.get(&["volumesnapshots", "-n", "stored"]).unwrap()["items"], json!([]), "{mode}");
    }
}

/// What a run asked the storage for is taken away after it, and is another in each run: no difference in the namespace.
fn compared(plane: &ControlPlane, desk: &Desk, account: &str) {
    let live = desk.davit(&["snapshot", "diff", "stored@latest", "--live"]);
    assert_eq!(live.code, 0, "{}{}", live.stdout, live.stderr);
    let said = save(plane, desk, "stored", account, &[]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let points = desk.json(&["points"]).1;
    let ids: Vec<&str> =
        points["points"].as_array().unwrap().iter().map(|one| one["point"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    let said = desk.davit(&["snapshot", "diff", ids[0], ids[1]]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    // Somebody else's snapshot is an object like any other.
    let theirs = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "theirs", "namespace": "stored"},
        "spec": {"source": {"persistentVolumeClaimName": "data"}}});
    plane.kubectl(&["create", "-f", "-"], &theirs.to_string()).unwrap();
    let live = desk.davit(&["snapshot", "diff", "stored@latest", "--live"]);
    assert!(
        live.code == 1 && live.stdout.contains("+ volumesnapshots.snapshot.storage.k8s.io/theirs in stored"),
        "{}",
        live.stdout
    );
    plane.kubectl(&["delete", "volumesnapshot", "theirs", "-n", "stored"], "").unwrap();
}

/// A role, what is taken from it, and how saving ends without it.
type Case<'a> = (&'a [&'a str], (&'a str, &'a str), i32, &'a str);

#[test]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
fn saving_by_the_storage_needs_each_verb_of_its_roles() {
    let plane = ControlPlane::start();
    definitions(&plane);
    csi_groups::definitions(&plane, csi_groups::NEWEST);
    claimed(&plane, "verbs");
    csi_groups::group(&plane, "verbs", "db", &["one", "two"]);
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let account = account(&plane, &desk, "verbs");
    let inside = ["role", "davit-storage-snapshots", "-n", "verbs"];
    let outside = ["clusterrole", "davit-storage-snapshots"];
    let related = ["clusterrole", "davit-backup-cluster"];
    let save = || csi_groups::save(&plane, &desk, "verbs", &account);
    let cases: [Case<'_>; 10] = [
        (&inside, ("create", "volumesnapshots"), 1, "its VolumeSnapshot cannot be made"),
        (&inside, ("delete", "volumesnapshots"), 0, "is left behind"),
        (&inside, ("patch", "volumesnapshots"), 1, "cannot be labelled, so no restore would know it"),
        (&inside, ("create", "volumegroupsnapshots"), 1, "its VolumeGroupSnapshot cannot be made"),
        (&inside, ("delete", "volumegroupsnapshots"), 0, "the VolumeGroupSnapshot davit-"),
        (&outside, ("patch", "volumesnapshotcontents"), 1, "would go with the namespace"),
        (&outside, ("patch", "volumegroupsnapshotcontents"), 1, "groupsnapcontent-"),
        (&outside, ("list", "volumegroupsnapshotclasses"), 1, "its group snapshot classes cannot be listed"),
        (&related, ("list", "volumesnapshotclasses"), 1, "its snapshot classes cannot be listed"),
        (&related, ("list", "volumesnapshotcontents"), 1, "MISSING  volumesnapshotcontents"),
    ];
    let mut tried = BTreeSet::new();
    for (role, (verb, kind), code, text) in cases {
        tried.insert(format!("{verb} {kind}"));
        let said = if role == related {
            without_kind(&plane, role, "davit-backup", kind, save)
        } else {
            without(&plane, role, "davit-backup", (verb, kind), save)
        };
        let all = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.code, code, "without {verb} {kind}: {all}");
        assert!(all.contains(text), "without {verb} {kind}: {all}");
        csi_groups::clear(&plane, "verbs");
    }
    // No verb of the roles is left out above, and with all of them it is whole.
    for role in [&inside[..], &outside] {
        for rule in plane.get(role).unwrap()["rules"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                let right = format!("{} {}", verb.as_str().unwrap(), rule["resources"][0].as_str().unwrap());
                assert!(tried.contains(&right), "{right}");
            }
        }
    }
    let said = save();
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(!said.stdout.contains("is left behind"), "{}", said.stdout);
}

/// What a run that is gone left in the namespace `going` and in the cluster, in the order in which it goes.
fn left_by_a_run(plane: &ControlPlane, labels: &Value) {
    let (api, groups) = ("snapshot.storage.k8s.io/v1", "groupsnapshot.storage.k8s.io/v1beta1");
    let left = [
        json!({"apiVersion": api, "kind": "VolumeSnapshotContent", "metadata": {"name": "free", "labels": labels},
            "spec": {"deletionPolicy": "Retain", "driver": "csi.davit.test", "source": {"snapshotHandle": "snap-1"},
                "volumeSnapshotRef": {"name": "free", "namespace": "going"}}}),
        json!({"apiVersion": groups, "kind": "VolumeGroupSnapshotContent", "metadata": {"name": "free-group", "labels": labels},
            "spec": {"deletionPolicy": "Retain", "driver": "csi.davit.test", "source": {"volumeHandles": ["vol-1"]},
                "volumeGroupSnapshotRef": {"name": "free", "namespace": "going"}}}),
        json!({"apiVersion": groups, "kind": "VolumeGroupSnapshot", "metadata": {"name": "begun-group", "namespace": "going", "labels": labels},
            "spec": {"source": {"selector": {"matchLabels": {"davit.dev/volume-group": "db"}}}}}),
        json!({"apiVersion": api, "kind": "VolumeSnapshot", "metadata": {"name": "begun", "namespace": "going", "labels": labels},
            "spec": {"source": {"persistentVolumeClaimName": "data"}}}),
    ];
    for one in &left {
        plane.kubectl(&["create", "-f", "-"], &one.to_string()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
async fn taking_away_what_the_storage_keeps_needs_each_verb_of_its_role() {
    let plane = ControlPlane::start();
    definitions(&plane);
    csi_groups::definitions(&plane, csi_groups::OLDEST);
    plane.namespace("going");
    let desk = Desk::with_repository();
    let account = sweeper(&plane, &desk);
    let later = repository(&desk, 3).await;
    let labels = json!({"davit.dev/run": "run-gone", "davit.dev/repository": later.id().to_string()});
    left_by_a_run(&plane, &labels);
    let connect = Connect { place: Place::Files(vec![account.into()]), context: None };
    let cluster = Cluster::connect(&connect, SystemClock::shared(), CancellationToken::new()).unwrap();
    let sweep = |there: usize| {
        let (cluster, later) = (&cluster, &later);
        async move {
            let found = volumes::leftovers(cluster, later).await?;
            assert_eq!(found.iter().filter(|one| one.goes).count(), there, "{found:#?}");
            for one in &found {
                volumes::remove(cluster, one).await?;
            }
            Ok::<_, davit::error::Error>(())
        }
    };
    let role = ["clusterrole", "davit-sweep"];
    // What is missing, and how many of the four are still there when it is: they go in the order above.
    let rights = [
        (("list", "volumesnapshotcontents"), 4),
        (("list", "volumesnapshots"), 4),
        (("list", "volumegroupsnapshotcontents"), 4),
        (("list", "volumegroupsnapshots"), 4),
        (("patch", "volumesnapshotcontents"), 4),
        (("delete", "volumesnapshotcontents"), 4),
        (("patch", "volumegroupsnapshotcontents"), 4),
        (("delete", "volumegroupsnapshotcontents"), 3),
        (("delete", "volumegroupsnapshots"), 3),
        (("delete", "volumesnapshots"), 2),
    ];
    for ((verb, kind), there) in rights {
        let swept = without(&plane, &role, "davit-sweep", (verb, kind), || {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(sweep(there)))
        });
        let why = format!("{:?}", swept.unwrap_err());
        assert!(
            why.contains(&format!("cannot {verb} resource \\\"{kind}\\\""))
                || why.contains(&format!("cannot {verb} resource \"{kind}\"")),
            "without {verb} {kind}: {why}"
        );
        assert!(plane.get(&["volumesnapshot", "begun", "-n", "going"]).is_some(), "without {verb} {kind}");
    }
    let begun = volumes::leftovers(&cluster, &later).await.unwrap();
    assert_eq!(begun.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["begun"]);
    volumes::remove(&cluster, &begun[0]).await.unwrap();
    assert!(plane.get(&["volumesnapshot", "begun", "-n", "going"]).is_none());
    let all: usize = plane.get(&role).unwrap()["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["verbs"].as_array().unwrap().len())
        .sum();
    assert_eq!(all, rights.len(), "each verb of the role was tried");
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
