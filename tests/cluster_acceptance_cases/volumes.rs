//! Files of volumes, on real volumes of real pods: saved by a mover, lost with their namespace, and back before anything
//! runs that uses them.

use crate::cli_support::{Desk, Said};
use crate::support::cluster::{Cluster, Namespace};
use crate::support::wait_until;
use std::path::Path;

/// An application that makes itself at home in an empty volume.
pub const KEEPER: &str = "apiVersion: apps/v1
kind: StatefulSet
metadata: {name: keeper}
spec:
  serviceName: keeper
  replicas: 1
  selector: {matchLabels: {app: keeper}}
  template:
    metadata: {labels: {app: keeper}}
    spec:
      securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, fsGroupChangePolicy: OnRootMismatch}
      terminationGracePeriodSeconds: 0
      containers:
      - name: keeper
        image: davit.test/postgres:15
        imagePullPolicy: Never
        command: [sh, -c, '[ -e /data/kept ] || echo fresh >/data/fresh; touch /tmp/up; while :; do sleep 1; done']
        readinessProbe: {exec: {command: [cat, /tmp/up]}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 128Mi}}
";

/// Files that are not easy, made by the application's own account.
const FILES: &str = r#"
set -e
cd /data
echo kept >kept
mkdir -p deep/er
dd if=/dev/urandom of=deep/random bs=1M count=12 2>/dev/null
name=$(printf 'not \377 utf8\nand a line end')
echo odd >"deep/$name"
ln kept deep/second-name 2>/dev/null || cp -l kept deep/second-name
cp -P kept deep/er/copy
dd if=/dev/zero of=sparse bs=1 count=1 seek=50000000 2>/dev/null
chmod 0750 deep
chmod 0600 deep/random
touch -d '2001-02-03 04:05:06.789' deep/random
rm -f fresh
sync
"#;

/// What a program sees of the files.
const LOOK: &str = r#"
cd /data
look() {
  for f in "$1"/* "$1"/.[!.]*; do
    [ -e "$f" ] || continue
    case "$f" in */lost+found) continue ;; esac
    stat -c '%N %u %g %a %Y %s %h' -- "$f"
    if [ -d "$f" ]; then look "$f"; else sha256sum -- "$f"; fi
  done
}
look .
"#;

fn desk(cluster: &Cluster) -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    desk
}

fn ended(said: &Said, code: i32, text: &str) {
    let all = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, code, "{all}");
    assert!(all.contains(text), "{text:?} is not in\n{all}");
}

fn movers(namespace: &Namespace<'_>) -> String {
    namespace.kubectl("get pods -l davit.dev/mover -o name")
}

const IMAGE: [&str; 2] = ["--mover-image", "davit.test/davit:1"];

fn save(desk: &Desk, name: &str, more: &[&str]) -> Said {
    desk.davit(&[&["snapshot", "create", name, "--volumes", "files"][..], &IMAGE, more].concat())
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn files_of_a_volume_are_back_before_anything_runs_that_uses_them() {
    let cluster = Cluster::shared();
    cluster.load_davit(Path::new(env!("CARGO_BIN_EXE_davit")));
    let namespace = cluster.namespace("files");
    let name = namespace.name.as_str();
    namespace.apply(KEEPER);
    namespace.wait_rollout("statefulset/keeper");
    namespace.exec("keeper-0", &["sh", "-c", FILES]);
    let look = || namespace.exec("keeper-0", &["sh", "-c", LOOK]);
    let before = look();
    assert!(before.contains("deep/random") && before.contains("second-name"), "{before}");

    let desk = desk(&cluster);
    let saved = save(&desk, name, &[]);
    ended(&saved, 0, "volume of data-keeper-0: ");
    ended(&saved, 0, "keeper-0 could write while it was read");
    assert_eq!(movers(&namespace), "", "no mover is left");
    let shown = desk.json(&["snapshot", "show", &format!("{name}@latest")]).1;
    let pods = shown["coverage"]["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == "pods").unwrap();
    assert_eq!(pods["objects"], 1, "a mover is in no snapshot");
    // The same files again are not stored again.
    let again = desk.json(&[&["snapshot", "create", name, "--volumes", "files"][..], &IMAGE].concat()).1;
    let new = again["points"][0]["bytes_new"].as_u64().unwrap();
    assert!(new < 1 << 20, "{new} bytes are new");

    cluster.kubectl(&format!("delete namespace {name} --timeout=300s"));
    let point = format!("{name}@latest");
    ended(&desk.davit(&["snapshot", "restore", &point]), 0, "are back in its volume");
    namespace.wait_rollout("statefulset/keeper");
    assert_eq!(look(), before);
    assert_eq!(movers(&namespace), "");
    let sparse = namespace.exec("keeper-0", &["stat", "-c", "%b", "/data/sparse"]);
    assert!(sparse.parse::<u64>().unwrap() < 100, "{sparse} blocks of a hole");

    // A claim with data keeps them in every mode.
    namespace.exec("keeper-0", &["sh", "-c", "echo newer >/data/kept; sync"]);
    for mode in ["skip", "merge", "replace"] {
        let said = desk.davit(&["snapshot", "restore", &point, "--on-conflict", mode]);
        assert!(said.code <= 1, "{}{}", said.stdout, said.stderr);
        assert_eq!(namespace.exec("keeper-0", &["cat", "/data/kept"]), "newer", "{mode}");
    }
    // Beside the live one, under another name.
    let copy = format!("{name}-copy");
    ended(&desk.davit(&["snapshot", "restore", &point, "--into", &copy]), 0, "are back in its volume");
    let arguments = ["exec", "-n", &copy, "keeper-0", "--", "cat", "/data/kept"];
    let mut text = String::new();
    wait_until(60, "the copy", || {
        let output = cluster.kubectl_command().args(arguments).output().unwrap();
        text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success()
    });
    assert_eq!(text, "kept");
    cluster.kubectl(&format!("delete namespace {copy} --wait=false"));
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn what_a_mover_cannot_read_or_must_not_makes_the_snapshot_incomplete() {
    let cluster = Cluster::shared();
    cluster.load_davit(Path::new(env!("CARGO_BIN_EXE_davit")));
    let namespace = cluster.namespace("unread");
    let name = namespace.name.as_str();
    namespace.apply_fixture("postgres.yaml");
    namespace.apply(KEEPER);
    namespace.wait_rollout("statefulset/postgres");
    namespace.wait_rollout("statefulset/keeper");
    namespace
        .exec("keeper-0", &["sh", "-c", "echo kept >/data/kept; echo x >/data/closed; chmod 000 /data/closed; sync"]);
    let desk = desk(&cluster);
    let said = save(&desk, name, &[]);
    ended(&said, 1, "MISSING  volume of claim data-keeper-0: 1 of its files could not be read: closed: ");
    ended(&said, 1, "MISSING  volume of claim data-postgres-0: ");
    ended(&said, 1, "a PostgreSQL data directory is there");
    assert_eq!(movers(&namespace), "");
    // What was left out on purpose is told and makes nothing incomplete.
    namespace.kubectl("annotate pvc data-postgres-0 davit.dev/volume=skip");
    namespace.exec("keeper-0", &["chmod", "600", "/data/closed"]);
    ended(&save(&desk, name, &[]), 0, "volume of claim data-postgres-0 left out: davit.dev/volume says skip");
    // An image that is nowhere.
    let said = desk.davit(&["snapshot", "create", name, "--volumes", "files", "--mover-image", "davit.test/none:1"]);
    ended(&said, 1, "its mover pod does not start: ErrImage");
    assert_eq!(movers(&namespace), "");
    let plan = desk.davit(&[&["snapshot", "create", name, "--dry-run", "--volumes", "files"][..], &IMAGE].concat());
    ended(&plan, 0, "volume of claim data-keeper-0: its files would be read on node-");
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn both_claims_of_a_pod_come_back_on_the_one_node_where_it_can_run() {
    let cluster = Cluster::shared();
    cluster.load_davit(Path::new(env!("CARGO_BIN_EXE_davit")));
    let namespace = cluster.namespace("pinned");
    let name = namespace.name.as_str();
    let nodes = cluster.kubectl("get nodes -o name");
    let desk = desk(&cluster);
    // Each node once: a mover that ran wherever it liked would not be there three times.
    for (number, node) in nodes.lines().map(|line| line.strip_prefix("node/").unwrap()).enumerate() {
        let pinned = KEEPER
            .replace("keeper", &format!("keeper{number}"))
            .replace(
                "      containers:",
                &format!("      nodeSelector: {{kubernetes.io/hostname: {node}}}\n      containers:"),
            )
            .replace(
                "[{name: data, mountPath: /data}]",
                "[{name: data, mountPath: /data}, {name: wal, mountPath: /wal}]",
            );
        let second = pinned.split("volumeClaimTemplates:\n").nth(1).unwrap().replace("name: data", "name: wal");
        namespace.apply(&format!("{pinned}{second}"));
        namespace.wait_rollout(&format!("statefulset/keeper{number}"));
        let pod = format!("keeper{number}-0");
        namespace.exec(&pod, &["sh", "-c", "rm -f /data/fresh; echo kept >/data/kept; echo kept >/wal/kept; sync"]);
    }
    ended(&save(&desk, name, &[]), 0, "volume of wal-keeper2-0: ");
    let copy = format!("{name}-copy");
    let said = desk.davit(&["snapshot", "restore", &format!("{name}@latest"), "--into", &copy]);
    for number in 0..3 {
        for claim in ["data", "wal"] {
            ended(&said, 0, &format!("persistentvolumeclaims/{claim}-keeper{number}-0: "));
        }
        cluster.kubectl(&format!("rollout status statefulset/keeper{number} -n {copy} --timeout=300s"));
        let kept = cluster.kubectl(&format!("exec -n {copy} keeper{number}-0 -- cat /data/kept /wal/kept"));
        assert_eq!(kept.split_whitespace().collect::<Vec<_>>(), ["kept", "kept"]);
    }
    cluster.kubectl(&format!("delete namespace {copy} --wait=false"));
}
