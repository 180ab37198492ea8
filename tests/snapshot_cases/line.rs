//! Snapshots from the command line against a real control plane: saved, compared, restored, pruned, proven.

use crate::cli_support::{Desk, Said};
use crate::control_support::control_plane;
use async_compression::tokio::write::GzipEncoder;
use serde_json::json;
use std::path::Path;
use tokio::io::AsyncWriteExt;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: green}\n---\n\
apiVersion: v1\nkind: Secret\nmetadata: {name: payment}\ndata: {key: c3dvcmRmaXNo}\n---\n\
apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  \
template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: 'a:1'}]}}\n";

fn desk() -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", control_plane().kubeconfig().to_str().unwrap());
    desk
}

fn ended(said: &Said, code: i32, text: &str) {
    assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
    assert!(
        said.stdout.contains(text) || said.stderr.contains(text),
        "{text:?} is not in\n{}{}",
        said.stdout,
        said.stderr
    );
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_namespace_is_saved_compared_restored_pruned_and_proven() {
    let plane = control_plane();
    plane.namespace("line");
    let apply = |yaml: &str| plane.kubectl(&["apply", "-n", "line", "-f", "-"], yaml).unwrap();
    apply(CONFIG);
    plane.await_object(&["replicasets", "-n", "line"], |sets| sets["items"][0]["status"]["replicas"] == 1);
    let desk = desk();
    ended(&desk.davit(&["snapshot", "create", "line"]), 0, "");
    let diff = desk.davit(&["snapshot", "diff", "line@latest"]);
    ended(&diff, 0, "no difference");

    let plan = desk.davit(&["snapshot", "restore", "line@latest", "--into", "line-copy", "--plan", "--with-namespace"]);
    ended(&plan, 0, "create    deployments.apps/web  checked");
    ended(&plan, 0, "leave     replicasets.apps/");
    assert!(!plan.stdout.contains("unchecked"), "{}", plan.stdout);
    let restored = desk.davit(&["snapshot", "restore", "line@latest", "--into", "line-copy"]);
    ended(&restored, 0, "restored point");
    assert_eq!(plane.get(&["configmap", "settings", "-n", "line-copy"]).unwrap()["data"]["colour"], "green");
    ended(&desk.davit(&["snapshot", "restore", "line@latest", "--into", "line-copy"]), 0, "there already");

    plane
        .kubectl(
            &["patch", "configmap", "settings", "-n", "line", "--type", "merge", "-p", r#"{"data":{"colour":"red"}}"#],
            "",
        )
        .unwrap();
    plane
        .kubectl(
            &["patch", "secret", "payment", "-n", "line", "--type", "merge", "-p", r#"{"data":{"key":"b3RoZXI="}}"#],
            "",
        )
        .unwrap();
    apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n");
    let diff = desk.davit(&["snapshot", "diff", "line@latest", "--live"]);
    ended(&diff, 1, "data.colour: \"green\" → \"red\"");
    ended(&diff, 1, "+ configmaps/new in line");
    ended(&diff, 1, "data.key: another value (hidden)");
    assert!(!diff.stdout.contains("c3dvcmRmaXNo") && !diff.stdout.contains("b3RoZXI="));
    let restore = |more: &[&str]| desk.davit(&[&["snapshot", "restore", "line@latest"], more].concat());
    ended(&restore(&[]), 3, "from the snapshot");
    let prune = ["--on-conflict", "replace", "--prune"];
    ended(&restore(&prune), 3, "nobody is here to agree");
    ended(&restore(&[&prune[..], &["--yes-prune", "other"]].concat()), 3, "--yes-prune names other");
    assert!(plane.get(&["configmap", "new", "-n", "line"]).is_some());
    ended(&restore(&[&prune[..], &["--yes-prune", "line"]].concat()), 0, "1 pruned");
    assert!(plane.get(&["configmap", "new", "-n", "line"]).is_none());
    ended(&desk.davit(&["snapshot", "diff", "line@latest"]), 0, "no difference");
    proven(&desk);
}

/// The proof, and what the repository knows afterwards.
fn proven(desk: &Desk) {
    let proven = desk.davit(&["snapshot", "verify", "line@latest", "--depth", "restored"]);
    ended(&proven, 0, "restored and compared");
    ended(&proven, 0, " live, ");
    ended(&desk.davit(&["points"]), 0, "restored");
    ended(&desk.davit(&["snapshot", "create", "line"]), 0, "");
    let points = desk.json(&["points"]).1;
    let ids: Vec<String> =
        points["points"].as_array().unwrap().iter().map(|point| point["point"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    ended(&desk.davit(&["snapshot", "diff", &ids[0], &ids[1]]), 0, "no difference");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn what_cannot_be_meant_is_refused_before_anything_is_changed() {
    let plane = control_plane();
    plane.namespace("input");
    plane.kubectl(&["apply", "-n", "input", "-f", "-"], CONFIG).unwrap();
    let desk = desk();
    ended(&desk.davit(&["snapshot", "create", "input"]), 0, "");
    desk.write("modify.yaml", "rules:\n- kind: configmaps\n  patch: [{op: replace, path: data, value: 1}]\n");
    let restore = |more: &[&str]| desk.davit(&[&["snapshot", "restore", "input@latest"], more].concat());
    ended(
        &restore(&["--modify", "modify.yaml"]),
        2,
        "reading modify.yaml: line 3: the path \"data\" does not begin with a slash",
    );
    ended(&restore(&["--into", "Not_A_Name"]), 2, "no namespace can be called so");
    ended(&restore(&["--map-image", "web"]), 2, "it is not old=new");
    ended(&restore(&["--recreate", "persistentvolumeclaims"]), 2, "no restore ever deletes one");
    ended(&restore(&["--kubeconfig", "none"]), 2, "reading the kubeconfig none");
    ended(&restore(&["--context", "tset"]), 2, "it has no context");
    ended(&desk.davit(&["snapshot", "restore", "velero:nowhere"]), 2, "it names no backup");
    desk.write(
        "modify.yaml",
        "rules:\n- kind: configmaps\n  name: settings\n  patch: [{op: replace, path: /data/colour, value: blue}]\n",
    );
    ended(&restore(&["--into", "input-copy", "--modify", "modify.yaml", "--only", "configmaps"]), 0, "restored point");
    assert_eq!(plane.get(&["configmap", "settings", "-n", "input-copy"]).unwrap()["data"]["colour"], "blue");
    assert!(plane.get(&["deployment", "web", "-n", "input-copy"]).is_none());
}

fn entry(name: &str, body: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000755");
    block[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.extend(body);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn velero_backup(at: &Path, name: &str, phase: &str) {
    let folder = at.join("backups").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let description = json!({"kind": "Backup", "metadata": {"name": name}, "spec": {"includedNamespaces": ["old"]},
        "status": {"phase": phase, "formatVersion": "1.1.0"}});
    std::fs::write(folder.join("velero-backup.json"), description.to_string()).unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "old", "uid": "n"}});
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "old", "uid": "c",
        "resourceVersion": "7", "managedFields": []}, "data": {"colour": "green"}});
    let mut tar = entry("metadata/version", b"1.1.0\n");
    tar.extend(entry("resources/namespaces/cluster/old.json", namespace.to_string().as_bytes()));
    tar.extend(entry("resources/configmaps/namespaces/old/settings.json", config.to_string().as_bytes()));
    tar.resize(tar.len() + 1024, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let packed = runtime.block_on(async {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(&tar).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    });
    std::fs::write(folder.join(format!("{name}.tar.gz")), packed).unwrap();
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn what_velero_left_is_listed_shown_compared_and_restored() {
    let plane = control_plane();
    let desk = desk();
    velero_backup(&desk.path().join("bucket"), "daily", "Completed");
    velero_backup(&desk.path().join("bucket"), "broken", "Failed");
    let list = desk.davit(&["snapshot", "import", "velero", "bucket"]);
    ended(&list, 0, "1 backup can be restored");
    ended(&list, 0, "NOT USABLE: it did not come to its end: Failed");
    ended(&desk.davit(&["snapshot", "import", "velero", "bucket", "--show", "daily"]), 0, "configmaps");
    let shown = |arguments: &[&str]| desk.davit(&[&["snapshot"][..], arguments].concat()).stdout;
    assert_eq!(shown(&["show", "velero:bucket/daily"]), shown(&["import", "velero", "bucket", "--show", "daily"]));
    ended(
        &desk.davit(&["snapshot", "verify", "velero:bucket/daily"]),
        2,
        "--depth restored puts its objects to a cluster",
    );
    ended(
        &desk.davit(&["snapshot", "restore", "velero:bucket/broken", "--into", "veleroed"]),
        3,
        "did not come to its end",
    );
    ended(
        &desk.davit(&["snapshot", "restore", "velero:bucket/daily", "--into", "veleroed"]),
        0,
        "restored Velero backup daily",
    );
    assert_eq!(plane.get(&["configmap", "settings", "-n", "veleroed"]).unwrap()["data"]["colour"], "green");
    ended(&desk.davit(&["snapshot", "diff", "velero:bucket/daily", "--live"]), 1, "- configmaps/settings in old");
    let tar = desk.path().join("bucket/backups/daily/daily.tar.gz");
    let whole = std::fs::read(&tar).unwrap();
    std::fs::write(&tar, &whole[..whole.len() / 2]).unwrap();
    ended(&desk.davit(&["snapshot", "restore", "velero:bucket/daily", "--into", "truncated"]), 1, "it is truncated");
    assert!(plane.get(&["namespace", "truncated"]).is_none());
    desk.write("schedule.yaml", "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: cloudflow-daily-backup}\nspec:\n  schedule: 0 2 * * *\n  template: {includedNamespaces: [cloudflow], ttl: 720h0m0s, snapshotVolumes: true, storageLocation: default}\n");
    let translated = desk.davit(&["snapshot", "import", "velero", "schedule.yaml"]);
    ended(&translated, 0, "command: davit snapshot create cloudflow --volumes csi");
    ended(&translated, 0, "keep_within: 30 days");
    ended(&translated, 0, "no equivalent: spec.template.storageLocation");
    assert!(!translated.stdout.contains("snapshotVolumes"), "{}", translated.stdout);
}
