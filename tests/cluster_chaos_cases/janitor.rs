//! The runner is killed (kill -9) right after a line of its journal: the janitor, as a command of its own, leaves the pods,
//! the workload and the nodes as they were. The runner is this test program, called again with orders in its environment.

use crate::chaos_support::{make_repository, means, obey, orders, two_lines, was_killed};
use crate::inside::inside;
use crate::nodes::{Open, node, nodes, verbs_of};
use crate::stand::{IMAGE, Stand, desk};
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use davit::chaos::{GuardName, Request};
use davit::cluster::{Connect, Place};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::thread;
use tokio_util::sync::CancellationToken;

/// Not a test by itself: what the tests below call again as a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn runner() {
    let Some(orders) = orders() else { return };
    let text = |name: &str| orders[name].as_str().unwrap().to_owned();
    let mut means = means(Path::new(&text("directory"))).await;
    let connect = Connect { place: Place::Files(vec![PathBuf::from(text("kubeconfig"))]), context: None };
    let cluster = davit::cluster::Cluster::connect(&connect, means.clock.clone(), CancellationToken::new());
    means.cluster = Some(cluster.unwrap());
    means.helper.image = IMAGE.to_owned();
    means.helper.namespace = text("helpers");
    means.helper.account = text("helpers");
    let one_pod = |request: Request| request.lifting(GuardName::Quorum).capped(1, 100);
    obey(&orders, &means, one_pod).await;
}

/// One fault against one pod, workload or node.
struct Case {
    fault: &'static str,
    target: String,
    parameters: Value,
    place: Where,
}

/// What must be as before.
enum Where {
    /// The inside of the pod of this uid: beside it others of its workload may be hit, too.
    Pod(String),
    Workload,
    Node(&'static str),
}

/// What a fault could change and an undo could forget.
fn snapshot(stand: &Stand<'_>, case: &Case) -> String {
    match &case.place {
        Where::Pod(uid) => inside(uid),
        Where::Workload => {
            let scale = "jsonpath={.spec.replicas} {.status.readyReplicas} {.metadata.uid}";
            let output = stand.app.kubectl_command().args(["get", "deployment", "web", "-o", scale]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        }
        Where::Node(name) => node(stand.cluster, name),
    }
}

/// Runs it and kills the runner after a line; `false` if there is no such line, and the run ended well.
fn killed_after(stand: &Stand<'_>, case: &Case, line: u32) -> bool {
    let mut desk = desk(stand.cluster);
    let directory = tempfile::tempdir().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(make_repository(directory.path()));
    let repository = directory.path().join("repository");
    let keys = directory.path().join("keys");
    desk.set("DAVIT_REPOSITORY", repository.to_str().unwrap()).set("DAVIT_KEYS", keys.to_str().unwrap());
    let before = snapshot(stand, case);
    let orders = json!({
        "directory": directory.path(), "fault": case.fault, "target": case.target, "parameters": case.parameters,
        "line": line, "kubeconfig": stand.cluster.kubeconfig(), "helpers": stand.helpers.name,
    });
    let killed = was_killed("janitor::runner", &orders);

    let open = desk.json(&["chaos", "status"]).1["open"].as_array().unwrap().len();
    // Which helpers undo it is in the intent.
    let (code, undone) = desk.json(&["chaos", "janitor"]);
    assert_eq!(
        (code, undone["healed"].as_array().unwrap().len()),
        (0, open),
        "{} after line {line}: {undone:#}",
        case.fault
    );
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
    wait_until(60, &format!("{} after line {line} leaving all as it was", case.fault), || {
        snapshot(stand, case) == before
    });
    killed
}

/// The faults of pods that last, each against a pod of its own.
fn of_pods(stand: &Stand<'_>) -> Vec<Case> {
    let pods = stand.pods("app=web");
    let parameters = [
        ("pod-unready", json!({})),
        ("cpu-pressure", json!({"amount": "1"})),
        ("memory-pressure", json!({"amount": "16"})),
        ("disk-pressure", json!({"amount": "8"})),
        ("pod-partition", json!({})),
        ("pod-latency", json!({"port": "8080"})),
    ];
    assert!(pods.len() >= parameters.len());
    let with_pods = parameters.into_iter().zip(pods);
    with_pods
        .map(|((fault, parameters), (uid, name))| {
            let target = format!("{}/pod/{name}", stand.app.name);
            Case { fault, target, parameters, place: Where::Pod(uid) }
        })
        .collect()
}

fn of_workload(stand: &Stand<'_>) -> Case {
    let target = format!("{}/deployment/web", stand.app.name);
    Case { fault: "scale-to-zero", target, parameters: json!({}), place: Where::Workload }
}

fn of_node(fault: &'static str, name: &'static str, parameters: Value) -> Case {
    Case { fault, target: format!("node/{name}"), parameters, place: Where::Node(name) }
}

/// What the API of the cluster does to nodes.
fn of_nodes() -> [Case; 3] {
    let case = |fault, name| of_node(fault, name, json!({}));
    [case("node-cordon", "node-3"), case("node-taint", "node-2"), case("node-drain", "node-2")]
}

/// What a command does to nodes. The harness stands for whatever stops one: an SSH call, a cloud's command.
fn of_drivers(cluster: &Cluster) -> [Case; 2] {
    let commands = |act: &[&str], undo: &[&str]| json!({"do": verbs_of(cluster, act), "undo": verbs_of(cluster, undo)});
    let kubelet = commands(&["hold node-3-kubelet", "kill node-3 kubelet"], &["release node-3-kubelet"]);
    let power = commands(&["node 2 off"], &["node 2 on"]);
    [of_node("kubelet-stop", "node-3", kubelet), of_node("node-stop", "node-2", power)]
}

/// Six pods of the web service.
fn six<'a>(cluster: &'a Cluster, purpose: &str) -> Stand<'a> {
    let stand = Stand::with_web(cluster, purpose);
    stand.app.kubectl("scale deployment web --replicas 6");
    stand.app.wait_rollout("deployment/web");
    stand
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn killed_after_two_lines_of_every_fault_of_pods_the_janitor_leaves_all_as_it_was() {
    let cluster = Cluster::shared();
    let stand = six(&cluster, "killed");
    let cases = of_pods(&stand);
    thread::scope(|scope| {
        for case in &cases {
            let stand = &stand;
            scope.spawn(move || {
                for line in two_lines(case.fault) {
                    assert!(killed_after(stand, case, line), "{} has a line {line}", case.fault);
                }
            });
        }
    });
    stand.account(&["scale-to-zero"]);
    let case = of_workload(&stand);
    for line in two_lines(case.fault) {
        assert!(killed_after(&stand, &case, line), "scale-to-zero has a line {line}");
    }
    stand.no_helper_is_left();
}

pub fn killed_after_two_lines_of_every_fault_of_nodes_the_janitor_leaves_all_as_it_was() {
    let cluster = Cluster::alone();
    let stand = Stand::with_web(&cluster, "killed-nodes");
    let _open = Open::all(&cluster);
    stand.account(&["node-cordon", "node-taint", "node-drain"]);
    let before = nodes(&cluster);
    let twice = |case: &Case| {
        for line in two_lines(case.fault) {
            assert!(killed_after(&stand, case, line), "{} has a line {line}", case.fault);
        }
    };
    let [cordon, taint, drain] = of_nodes();
    thread::scope(|scope| {
        scope.spawn(|| twice(&cordon));
        twice(&taint);
    });
    // It drives the fuses of others off, too, so it has none beside it.
    twice(&drain);
    let [kubelet, power] = of_drivers(&cluster);
    thread::scope(|scope| {
        scope.spawn(|| twice(&kubelet));
        twice(&power);
    });
    // The control plane hears of a kubelet that was away only when that one reports again.
    wait_until(60, "all nodes being as before", || nodes(&cluster) == before);
    stand.app.wait_rollout("deployment/web");
    stand.no_helper_is_left();
}

#[test]
#[ignore = "soak: half an hour; needs root on Linux and the test cluster"]
fn soak_killed_after_every_line_of_every_fault_the_janitor_leaves_all_as_it_was() {
    let cluster = Cluster::alone();
    let stand = six(&cluster, "soak-killed");
    let _open = Open::all(&cluster);
    stand.account(&["scale-to-zero", "node-cordon", "node-taint", "node-drain"]);
    let cases = of_pods(&stand);
    let mut kills: u32 = thread::scope(|scope| {
        let all: Vec<_> = cases.iter().map(|case| scope.spawn(|| every_line(&stand, case))).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    kills += every_line(&stand, &of_workload(&stand));
    for case in of_nodes() {
        kills += every_line(&stand, &case);
    }
    println!("{kills} kills of {} faults, all undone", cases.len() + 4);
    stand.no_helper_is_left();
}

#[test]
#[ignore = "soak: ten minutes; needs root on Linux and the test cluster"]
fn soak_killed_after_every_line_of_every_command_for_nodes_the_janitor_leaves_all_as_it_was() {
    let cluster = Cluster::alone();
    let stand = Stand::new(&cluster, "soak-drivers");
    let _open = Open::all(&cluster);
    let before = nodes(&cluster);
    let [kubelet, power] = of_drivers(&cluster);
    let kills = thread::scope(|scope| {
        let kubelet = scope.spawn(|| every_line(&stand, &kubelet));
        every_line(&stand, &power) + kubelet.join().unwrap()
    });
    assert_eq!(nodes(&cluster), before);
    println!("{kills} kills of 2 faults, all undone");
}

/// How often the runner was killed.
fn every_line(stand: &Stand<'_>, case: &Case) -> u32 {
    let mut line = 1;
    while killed_after(stand, case, line) {
        line += 1;
    }
    assert!(line > 9, "{} wrote only {line} lines", case.fault);
    line - 1
}

#[test]
#[ignore = "soak: a minute of waiting; needs root on Linux and the test cluster"]
fn soak_a_killed_runner_without_a_janitor_is_outlived_by_its_fuse() {
    let cluster = Cluster::alone();
    let stand = Stand::with_web(&cluster, "fuse");
    let _open = Open::all(&cluster);
    stand.account(&["scale-to-zero", "node-cordon", "node-taint", "node-drain"]);
    let before = nodes(&cluster);
    let mut child = stand
        .desk
        .command(&["chaos", "inject", "node-cordon", "--target", "node/node-2", "--for", "2s", "--max-percent", "100"])
        .args(["--helper-image", IMAGE, "--helper-namespace", &stand.helpers.name])
        .args(["--helper-account", &stand.helpers.name])
        .spawn()
        .unwrap();
    wait_until(60, "the node being cordoned", || nodes(&cluster) != before);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(120, "the fuse uncordoning it", || nodes(&cluster) == before);
    // The intent is open until somebody looks.
    assert_eq!(stand.desk.davit(&["chaos", "status"]).code, 1);
    assert_eq!(stand.desk.json(&["chaos", "janitor"]).0, 0);
    stand.no_helper_is_left();
}
