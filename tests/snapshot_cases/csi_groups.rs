//! Volumes that the storage snapshots at one instant, against the published definitions on a real API server. A thread
//! stands in for the snapshot controller and the driver: it names, owns, refuses and deletes as they do.

use crate::cli_support::{Desk, Said};
use crate::control_support::ControlPlane;
use crate::csi::{self, claim, claimed, meanwhile, status};
use crate::support::wait_until;
use davit::clock::{Clock, SharedClock, SystemClock};
use davit::cluster::{Cluster, Connect, Place};
use davit::journal::NoProgress;
use davit::repository::{Keys, OpenContext, Repository};
use davit::snapshot::collect::{self, Request};
use davit::snapshot::volumes::{self, Volumes};
use davit::store::OpenOptions;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The API in all its versions, and in its first one alone.
pub const NEWEST: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8@v8.7.0";
pub const OLDEST: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8@v8.2.0";
const IN_GROUP: &str = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";
const BOUND: &str = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-bound-protection";

pub fn definitions(plane: &ControlPlane, module: &str) {
    let kinds = ["volumegroupsnapshotclasses", "volumegroupsnapshotcontents", "volumegroupsnapshots"];
    csi::define(plane, module, "groupsnapshot.storage.k8s.io", kinds);
}

pub fn class(plane: &ControlPlane) {
    plane.apply(
        "apiVersion: groupsnapshot.storage.k8s.io/v1beta1\nkind: VolumeGroupSnapshotClass\nmetadata: {name: together}\n\
        driver: csi.davit.test\ndeletionPolicy: Delete\n",
    );
}

/// Claims of one group, and what it takes to snapshot them.
pub fn group(plane: &ControlPlane, namespace: &str, group: &str, claims: &[&str]) {
    class(plane);
    for name in claims {
        claim(plane, namespace, name, "csi.davit.test", &format!("labels: {{davit.dev/volume-group: {group}}}"));
    }
}

fn text<'a>(body: &'a Value, path: &str) -> &'a str {
    body.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} of {body:#}"))
}

fn all(plane: &ControlPlane, arguments: &[&str]) -> Vec<Value> {
    plane.get(arguments).map(|list| list["items"].as_array().unwrap().clone()).unwrap_or_default()
}

fn patch(plane: &ControlPlane, at: &[&str], patch: &Value) {
    // What is patched may be gone meanwhile.
    drop(plane.kubectl(&[&["patch"], at, &["--type", "merge", "-p", &patch.to_string()]].concat(), ""));
}

fn finalizers(body: &Value) -> Vec<&str> {
    body["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What the snapshot controller and the driver do of groups.
fn stand_in(plane: &ControlPlane, namespace: &str) {
    for group in all(plane, &["volumegroupsnapshots", "-n", namespace]) {
        if group["metadata"]["deletionTimestamp"].is_string() {
            delete(plane, &group);
        } else if group["status"]["readyToUse"] != true {
            make(plane, &group);
        }
    }
    for member in all(plane, &["volumesnapshots", "-n", namespace]) {
        let going = member["metadata"]["deletionTimestamp"].is_string();
        if !going || !finalizers(&member).contains(&IN_GROUP) {
            continue;
        }
        // A member does not go while its group is there.
        let group = text(&member, "/status/volumeGroupSnapshotName");
        if plane.get(&["volumegroupsnapshot", group, "-n", namespace]).is_none() {
            let content = text(&member, "/status/boundVolumeSnapshotContentName");
            let_go(plane, "volumesnapshotcontent", content);
            let name = text(&member, "/metadata/name");
            patch(plane, &["volumesnapshot", name, "-n", namespace], &json!({"metadata": {"finalizers": null}}));
        }
    }
}

/// A content goes with what is bound to it, unless it was told to stay.
fn let_go(plane: &ControlPlane, kind: &str, content: &str) {
    if plane.get(&[kind, content]).is_some_and(|there| there["spec"]["deletionPolicy"] == "Delete") {
        drop(plane.kubectl(&["delete", kind, content, "--wait=false", "--ignore-not-found"], ""));
    }
}

fn delete(plane: &ControlPlane, group: &Value) {
    let (name, namespace) = (text(group, "/metadata/name"), text(group, "/metadata/namespace"));
    if !finalizers(group).contains(&BOUND) {
        return;
    }
    let content = text(group, "/status/boundVolumeGroupSnapshotContentName");
    let_go(plane, "volumegroupsnapshotcontent", content);
    for member in all(plane, &["volumesnapshots", "-n", namespace]) {
        if member["metadata"]["ownerReferences"][0]["uid"] == group["metadata"]["uid"] {
            let member = text(&member, "/metadata/name");
            drop(plane.kubectl(&["delete", "volumesnapshot", member, "-n", namespace, "--wait=false"], ""));
        }
    }
    patch(plane, &["volumegroupsnapshot", name, "-n", namespace], &json!({"metadata": {"finalizers": null}}));
}

/// Snapshots every claim that the labels of the selector select; expressions are not looked at.
fn make(plane: &ControlPlane, group: &Value) {
    let (name, namespace) = (text(group, "/metadata/name"), text(group, "/metadata/namespace"));
    let uid = text(group, "/metadata/uid");
    let labels = group["spec"]["source"]["selector"]["matchLabels"].as_object().unwrap();
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}={}", value.as_str().unwrap())).collect();
    let claims = all(plane, &["pvc", "-n", namespace, "-l", &labels.join(",")]);
    let content = format!("groupsnapcontent-{uid}");
    let volume = |claim: &Value| format!("vol-{namespace}-{}", text(claim, "/metadata/name"));
    let handles: Vec<String> = claims.iter().map(volume).collect();
    let body = json!({"apiVersion": group["apiVersion"], "kind": "VolumeGroupSnapshotContent", "metadata": {"name": content},
        "spec": {"deletionPolicy": "Delete", "driver": "csi.davit.test", "source": {"volumeHandles": handles},
            "volumeGroupSnapshotClassName": "together", "volumeGroupSnapshotRef": {"apiVersion": group["apiVersion"],
            "kind": "VolumeGroupSnapshot", "name": name, "namespace": namespace, "uid": uid}}});
    plane.kubectl(&["create", "-f", "-"], &body.to_string()).unwrap();
    let oldest = text(group, "/apiVersion").ends_with("v1beta1");
    let list = if oldest { "volumeSnapshotHandlePairList" } else { "volumeSnapshotInfoList" };
    let infos: Vec<Value> = handles
        .iter()
        .map(|volume| json!({"volumeHandle": volume, "snapshotHandle": format!("snap-{volume}")}))
        .collect();
    let handle = format!("group-{uid}");
    let ready = json!({"readyToUse": true, "volumeGroupSnapshotHandle": handle, list: infos});
    status(plane, "volumegroupsnapshotcontent", namespace, &content, &ready);
    patch(plane, &["volumegroupsnapshot", name, "-n", namespace], &json!({"metadata": {"finalizers": [BOUND]}}));
    for (claim, volume) in claims.iter().zip(&handles) {
        member(plane, group, (text(claim, "/metadata/name"), volume), &handle);
    }
    let ready = json!({"readyToUse": true, "boundVolumeGroupSnapshotContentName": content, "creationTime": "2026-02-03T04:05:06Z"});
    status(plane, "volumegroupsnapshot", namespace, name, &ready);
}

fn member(plane: &ControlPlane, group: &Value, (claim, volume): (&str, &str), handle: &str) {
    let (name, namespace) = (text(group, "/metadata/name"), text(group, "/metadata/namespace"));
    let uid = text(group, "/metadata/uid");
    let (snapshot, content) = (format!("snapshot-{uid}-{claim}"), format!("snapcontent-{uid}-{claim}"));
    let api = "snapshot.storage.k8s.io/v1";
    let body = json!({"apiVersion": api, "kind": "VolumeSnapshot", "metadata": {"name": snapshot, "namespace": namespace,
        "finalizers": [IN_GROUP], "ownerReferences": [{"apiVersion": group["apiVersion"], "kind": "VolumeGroupSnapshot", "name": name, "uid": uid}]},
        "spec": {"source": {"persistentVolumeClaimName": claim}}});
    let made = plane.kubectl(&["create", "-o", "json", "-f", "-"], &body.to_string()).unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    let body = json!({"apiVersion": api, "kind": "VolumeSnapshotContent", "metadata": {"name": content,
        "annotations": {"groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle": handle}},
        "spec": {"deletionPolicy": "Delete", "driver": "csi.davit.test", "source": {"volumeHandle": volume},
            "volumeSnapshotRef": {"apiVersion": api, "kind": "VolumeSnapshot", "name": snapshot, "namespace": namespace, "uid": made["metadata"]["uid"]}}});
    plane.kubectl(&["create", "-f", "-"], &body.to_string()).unwrap();
    let ready =
        json!({"readyToUse": true, "snapshotHandle": format!("snap-{volume}"), "volumeGroupSnapshotHandle": handle});
    status(plane, "volumesnapshotcontent", namespace, &content, &ready);
    let ready = json!({"readyToUse": true, "boundVolumeSnapshotContentName": content, "volumeGroupSnapshotName": name});
    status(plane, "volumesnapshot", namespace, &snapshot, &ready);
}

/// Saves a namespace with its volumes while somebody stands in for the driver.
pub fn save(plane: &ControlPlane, desk: &Desk, namespace: &str, account: &str) -> Said {
    let both = || {
        csi::stand_in(plane, namespace);
        stand_in(plane, namespace);
    };
    meanwhile(both, || desk.davit(&["snapshot", "create", namespace, "--volumes", "csi", "--kubeconfig", account]))
}

/// Takes everything away that a run left in a namespace.
pub fn clear(plane: &ControlPlane, namespace: &str) {
    for kind in ["volumegroupsnapshots", "volumesnapshots"] {
        plane.kubectl(&["delete", kind, "--all", "-n", namespace, "--wait=false"], "").unwrap();
    }
    settled(plane, namespace);
}

/// Waits until what is going is gone.
fn settled(plane: &ControlPlane, namespace: &str) {
    wait_until(60, "groups and their members to go", || {
        stand_in(plane, namespace);
        let left = |kind: &str| all(plane, &[kind, "-n", namespace]);
        left("volumegroupsnapshots").is_empty() && left("volumesnapshots").is_empty()
    });
}

fn cluster(kubeconfig: &str) -> Cluster {
    let connect = Connect { place: Place::Files(vec![kubeconfig.into()]), context: None };
    Cluster::connect(&connect, SystemClock::shared(), CancellationToken::new()).unwrap()
}

/// What davit made so far in a namespace, of a kind.
fn made(plane: &ControlPlane, kind: &str, namespace: &str) -> usize {
    let mark = format!("create {kind} {namespace}/");
    plane.changes().iter().filter(|change| change.starts_with(&mark)).count()
}

/// The content that stands for the snapshot of a claim.
fn content_of(plane: &ControlPlane, claim: &str) -> Value {
    let found = all(plane, &["volumesnapshotcontents", "-l", &format!("davit.dev/claim={claim}")]);
    assert_eq!(found.len(), 1, "{claim}: {found:#?}");
    found[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
async fn claims_of_a_group_are_of_one_instant_come_back_and_go_together() {
    let plane = ControlPlane::start();
    csi::definitions(&plane);
    definitions(&plane, NEWEST);
    // `data` is of no group, `wal` of two by its labels, and of one by Davit's.
    claimed(&plane, "shop");
    group(&plane, "shop", "db", &["base"]);
    let both = "labels: {davit.dev/volume-group: db, velero.io/volume-group: other}";
    claim(&plane, "shop", "wal", "csi.davit.test", both);
    let skipped = "labels: {davit.dev/volume-group: db}, annotations: {davit.dev/volume: skip}";
    claim(&plane, "shop", "scratch", "csi.davit.test", skipped);
    claim(&plane, "shop", "files", "csi.davit.test", "labels: {velero.io/volume-group: files}");
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let account = csi::account(&plane, &desk, "shop");
    let plan = desk.davit(&["snapshot", "create", "shop", "--volumes", "csi", "--dry-run", "--kubeconfig", &account]);
    for line in [
        "volume of claim data: its storage would snapshot it\n",
        "volume of claim wal: its storage would snapshot it, at one instant with the others of the group db\n",
        "volume of claim scratch: left out: davit.dev/volume says skip\n",
    ] {
        assert!(plan.code == 0 && plan.stdout.contains(line), "{line}{}{}", plan.stdout, plan.stderr);
    }
    // With the rights that deploy/ gives, and no others.
    let said = save(&plane, &desk, "shop", &account);
    let words = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, 0, "{words}");
    let instant = "volumes of claims base, wal: they are of one instant (2026-02-03T04:05:06Z), as the volume group db";
    assert!(words.contains(instant), "{words}");
    assert!(words.contains("volumes of claims files: they are of one instant"), "{words}");
    assert!(words.contains("volume of claim scratch: it is left out of the volume group db"), "{words}");
    assert!(!words.contains("left behind"), "{words}");
    settled(&plane, "shop");
    assert_eq!((made(&plane, "volumegroupsnapshots", "shop"), made(&plane, "volumesnapshots", "shop")), (2, 1));
    // The contents outlive the namespace's objects, and that of the left out one does not.
    let groups = all(&plane, &["volumegroupsnapshotcontents", "-l", "davit.dev/run"]);
    assert_eq!(groups.len(), 2, "{groups:#?}");
    assert!(groups.iter().all(|group| group["spec"]["deletionPolicy"] == "Retain"), "{groups:#?}");
    let handles = ["base", "wal", "files", "data"].map(|claim| {
        let content = content_of(&plane, claim);
        assert_eq!(content["spec"]["deletionPolicy"], "Retain", "{content:#}");
        content["status"]["volumeGroupSnapshotHandle"].as_str().map(str::to_owned)
    });
    assert!(handles[0].is_some() && handles[0] == handles[1] && handles[2].is_some(), "{handles:?}");
    assert!(handles[2] != handles[0] && handles[3].is_none(), "{handles:?}");
    assert_eq!(all(&plane, &["volumesnapshotcontents"]).len(), 4);

    let said = desk.davit(&["snapshot", "restore", "shop@latest", "--into", "copy"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(all(&plane, &["volumegroupsnapshots", "-n", "copy"]), [] as [Value; 0], "no group is snapshot anew");
    for claim in ["base", "wal", "files", "data"] {
        let restored = plane.get(&["pvc", claim, "-n", "copy"]).unwrap();
        let snapshot = text(&restored, "/spec/dataSource/name");
        let snapshot = plane.get(&["volumesnapshot", snapshot, "-n", "copy"]).unwrap();
        assert!(snapshot["metadata"]["ownerReferences"].is_null() && finalizers(&snapshot).is_empty(), "{snapshot:#}");
        let begins = plane.get(&["volumesnapshotcontent", text(&snapshot, "/spec/source/volumeSnapshotContentName")]);
        let saved = content_of(&plane, claim);
        assert_eq!(begins.unwrap()["spec"]["source"]["snapshotHandle"], saved["status"]["snapshotHandle"], "{claim}");
    }
    let scratch = plane.get(&["pvc", "scratch", "-n", "copy"]).unwrap();
    assert!(scratch["spec"]["dataSource"].is_null(), "{scratch:#}");
    go_together(&plane, &desk).await;
}

/// Two contents of groups and four of claims go when no point needs them and nothing stands on them.
async fn go_together(plane: &ControlPlane, desk: &Desk) {
    let account = csi::sweeper(plane, desk);
    let said = desk.davit(&["sweep", "--volume-snapshots", "--kubeconfig", &account]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(said.stdout.matches("VolumeGroupSnapshotContent groupsnapcontent-").count(), 2, "{}", said.stdout);
    let later = csi::repository(desk, 3).await;
    let cluster = cluster(&account);
    let found = volumes::leftovers(&cluster, &later).await.unwrap();
    assert!(found.len() == 6 && found.iter().all(|one| one.why.ends_with(" needs it")), "{found:#?}");
    // As if the point were gone.
    let ours = ["label", "volumesnapshotcontents,volumegroupsnapshotcontents", "-l", "davit.dev/run", "--overwrite"];
    plane.kubectl(&[&ours[..], &["davit.dev/run=run-gone"]].concat(), "").unwrap();
    let found = volumes::leftovers(&cluster, &later).await.unwrap();
    assert!(found.len() == 6 && found.iter().all(|one| one.why.contains(" stands on ")), "{found:#?}");
    let restored = ["delete", "volumesnapshotcontents", "-l", "!davit.dev/run"];
    plane.kubectl(&restored, "").unwrap();
    let found = volumes::leftovers(&cluster, &later).await.unwrap();
    assert!(found.len() == 6 && found.iter().all(|one| one.goes), "{found:#?}");
    // As a driver does, somebody waits for the word that the storage's snapshots may go, too.
    for group in all(plane, &["volumegroupsnapshotcontents"]) {
        let held = json!({"metadata": {"finalizers": ["davit.test/driver"]}});
        patch(plane, &["volumegroupsnapshotcontent", text(&group, "/metadata/name")], &held);
    }
    for one in &found {
        volumes::remove(&cluster, one).await.unwrap();
    }
    assert_eq!(all(plane, &["volumesnapshotcontents"]), [] as [Value; 0]);
    let groups = all(plane, &["volumegroupsnapshotcontents"]);
    assert_eq!(groups.len(), 2, "{groups:#?}");
    for group in groups {
        let going = "/metadata/annotations/groupsnapshot.storage.kubernetes.io~1volumegroupsnapshot-being-deleted";
        assert_eq!((text(&group, going), text(&group, "/spec/deletionPolicy")), ("yes", "Delete"));
        assert!(group["metadata"]["deletionTimestamp"].is_string(), "{group:#}");
        // The storage still knows which snapshots go with it.
        assert!(group["status"]["volumeSnapshotInfoList"][0]["snapshotHandle"].is_string(), "{group:#}");
        let free = json!({"metadata": {"finalizers": null}});
        patch(plane, &["volumegroupsnapshotcontent", text(&group, "/metadata/name")], &free);
    }
}

#[test]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
fn a_group_that_cannot_have_one_instant_is_missing_and_never_snapshot_one_by_one() {
    let plane = ControlPlane::start();
    csi::definitions(&plane);
    claimed(&plane, "odd");
    let labels = "labels: {davit.dev/volume-group: db}";
    claim(&plane, "odd", "base", "csi.davit.test", labels);
    claim(&plane, "odd", "wal", "csi.davit.test", labels);
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let account = csi::account(&plane, &desk, "odd");
    let mut runs = 0;
    let mut misses = |why: &str| {
        let said = save(&plane, &desk, "odd", &account);
        runs += 1;
        let words = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.code, 1, "{why}: {words}");
        for claim in ["base", "wal"] {
            let line = format!("volume of claim {claim}: it is of the volume group db, and ");
            let line = words.lines().find(|text| text.contains(&line)).unwrap_or_else(|| panic!("{why}: {words}"));
            assert!(line.contains(why), "{why}: {line}");
        }
        // The claim of no group is saved all the same, and nobody else is.
        assert!(words.contains("volume of claim data: its snapshot is"), "{why}: {words}");
        assert_eq!(made(&plane, "volumesnapshots", "odd"), runs, "{why}");
        assert_eq!(made(&plane, "volumegroupsnapshots", "odd"), 0, "{why}");
    };
    misses("the cluster knows no VolumeGroupSnapshots");
    definitions(&plane, OLDEST);
    misses("there is no one VolumeGroupSnapshotClass for the driver csi.davit.test");
    class(&plane);
    claim(&plane, "odd", "archive", "other.davit.test", labels);
    misses(
        "claims of several drivers, which share no instant: csi.davit.test of base, wal; other.davit.test of archive",
    );
    plane.kubectl(&["delete", "pvc", "archive", "-n", "odd"], "").unwrap();
    plane.apply(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: later, namespace: odd, labels: {davit.dev/volume-group: db}}\n\
        spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}\n",
    );
    plane.await_object(&["pvc", "later", "-n", "odd"], |claim| claim["status"]["phase"] == "Pending");
    misses("davit.dev/volume-group=db selects the claim later, and it is bound to no volume");
    plane.kubectl(&["delete", "pvc", "later", "-n", "odd"], "").unwrap();
    plane
        .kubectl(&["label", "pvc", "wal", "-n", "odd", "davit.dev/volume-group-", "velero.io/volume-group=db"], "")
        .unwrap();
    misses("not one label selects all its claims");
    // With what it takes, the first version of the API does.
    plane.kubectl(&["label", "pvc", "base", "-n", "odd", "velero.io/volume-group=db"], "").unwrap();
    let said = save(&plane, &desk, "odd", &account);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(made(&plane, "volumegroupsnapshots", "odd"), 1);
}

/// A clock on which the waits between two looks take a minute, from when somebody has been told something.
#[derive(Debug)]
struct Hurried {
    real: SystemClock,
    ahead: Mutex<Duration>,
    told: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl Clock for Hurried {
    fn now(&self) -> jiff::Timestamp {
        self.real.now()
    }

    fn monotonic(&self) -> Duration {
        self.real.monotonic() + *self.ahead.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        if duration != Duration::from_secs(1) {
            return self.real.sleep(duration).await;
        }
        // Whoever asks whether the storage is ready asks again when it has told, and never later than a minute.
        let late = self.real.monotonic() + Duration::from_mins(1);
        while !self.told.load(Ordering::SeqCst) && self.real.monotonic() < late {
            self.real.sleep(Duration::from_millis(10)).await;
        }
        *self.ahead.lock().unwrap() += Duration::from_mins(1);
    }

    /// Leases are of the real time: whoever keeps one looks every second, too, and hurries nothing.
    async fn wait_until(&self, at: Duration) {
        self.real.sleep(at.saturating_sub(self.monotonic())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
async fn what_the_driver_says_against_a_group_is_said_and_nothing_of_it_stays() {
    let plane = ControlPlane::start();
    csi::definitions(&plane);
    definitions(&plane, NEWEST);
    plane.namespace("full");
    group(&plane, "full", "db", &["base", "wal"]);
    let desk = Desk::with_repository();
    let told = Arc::new(AtomicBool::new(false));
    let hurried = Hurried { real: SystemClock::new(), ahead: Mutex::default(), told: Arc::clone(&told) };
    let clock: SharedClock = Arc::new(hurried);
    let folder = desk.path().join("davit-repository").display().to_string();
    let store = davit::store::open(&folder, &OpenOptions::default(), clock.clone()).await.unwrap();
    let keys = Keys::load(&desk.path().join("davit-keys")).unwrap();
    let repository = Repository::open(store, keys, OpenContext::new(clock)).await.unwrap();
    let mut request = Request::new("full");
    (request.volumes, request.lease_term) = (Volumes::Csi, Duration::from_hours(12));
    let plan = collect::plan(request, &cluster(plane.kubeconfig().to_str().unwrap())).await.unwrap();
    let refuse = || {
        for group in all(&plane, &["volumegroupsnapshots", "-n", "full"]) {
            let error = json!({"readyToUse": false, "error": {"message": "the array has no room for two"}});
            status(&plane, "volumegroupsnapshot", "full", text(&group, "/metadata/name"), &error);
            told.store(true, Ordering::SeqCst);
        }
    };
    let report = tokio::task::block_in_place(|| {
        // Once: afterwards it goes.
        let once = || {
            if !told.load(Ordering::SeqCst) {
                refuse();
            }
        };
        let cancel = CancellationToken::new();
        let run = collect::run(&plan, &repository, NoProgress::shared(), &cancel);
        meanwhile(once, || tokio::runtime::Handle::current().block_on(run).unwrap())
    });
    assert!(!report.complete, "{report:#?}");
    let missing: BTreeSet<(&str, &str)> =
        report.missing.iter().map(|one| (one.what.as_str(), one.why.as_str())).collect();
    let why =
        "it is of the volume group db, and its snapshot is not ready within ten minutes: the array has no room for two";
    assert_eq!(missing, [("volume of claim base", why), ("volume of claim wal", why)].into());
    for kind in ["volumegroupsnapshots", "volumesnapshots"] {
        assert_eq!(all(&plane, &[kind, "-n", "full"]), [] as [Value; 0]);
    }
}
