//! The runner is killed (kill -9) right after a line of its journal: the janitor, as a command of its own, leaves the pods,
//! the workload and the nodes as they were. The runner is this test program, called again with orders in its environment.

use crate::chaos_support::{healed, make_repository, means};
use crate::inside::inside;
use crate::nodes::{Open, nodes};
use crate::stand::{IMAGE, Stand, desk};
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use async_trait::async_trait;
use davit::chaos::{self, Caps, Event, GuardName, Request, Witness};
use davit::cluster::{Connect, Place};
use davit::error::Result;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Ends the process right after a line was written, as `kill -9` does.
struct Killer {
    line: u32,
    written: AtomicU32,
}

#[async_trait]
impl Witness for Killer {
    async fn line(&self, _event: Event) -> Result<()> {
        if self.written.fetch_add(1, Ordering::SeqCst) + 1 == self.line {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        Ok(())
    }
}

/// Not a test by itself: what the tests below call again as a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn runner() {
    let Ok(orders) = std::env::var("DAVIT_TEST_RUNNER") else { return };
    let orders: Value = serde_json::from_str(&orders).unwrap();
    let text = |name: &str| orders[name].as_str().unwrap();
    let mut means = means(Path::new(text("directory"))).await;
    let connect = Connect { place: Place::Files(vec![PathBuf::from(text("kubeconfig"))]), context: None };
    let cluster = davit::cluster::Cluster::connect(&connect, means.clock.clone(), CancellationToken::new());
    means.cluster = Some(cluster.unwrap());
    means.helper.image = IMAGE.to_owned();
    means.helper.namespace = text("helpers").to_owned();
    means.helper.account = text("helpers").to_owned();
    let mut request = Request::new(text("fault"), text("target").parse().unwrap()).lasting(Duration::from_secs(20));
    request = request.lifting(GuardName::Quorum);
    request.caps = Some(Caps { count: 1, percent: 100 });
    for (name, value) in orders["parameters"].as_object().unwrap() {
        request.parameters.set(name, value.as_str().unwrap());
    }
    let killer = Killer { line: u32::try_from(orders["line"].as_u64().unwrap()).unwrap(), written: AtomicU32::new(0) };
    let plan = chaos::plan(&means, request).await.unwrap();
    let injection = chaos::inject(&means, plan, &killer).await.unwrap();
    assert!(injection.effective().is_some(), "{:?}", injection.proofs());
    healed(&injection.heal(&killer).await);
}

/// One fault against one pod, workload or node.
struct Case {
    fault: &'static str,
    target: String,
    parameters: Value,
    /// The pod whose inside must be as before.
    uid: Option<String>,
}

/// What a fault could change and an undo could forget.
fn snapshot(stand: &Stand<'_>, case: &Case) -> String {
    let scale = "jsonpath={.spec.replicas} {.status.readyReplicas} {.metadata.uid}";
    let output = stand.app.kubectl_command().args(["get", "deployment", "web", "-o", scale]).output().unwrap();
    let workload = String::from_utf8(output.stdout).unwrap();
    // Beside a pod that is hit others of its workload may be hit, too.
    match &case.uid {
        Some(uid) => inside(uid),
        None => format!("{workload}\n{}", nodes(stand.cluster)),
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
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "janitor::runner", "--nocapture"]).env("DAVIT_TEST_RUNNER", orders.to_string());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{} after line {line}: {:?}: {said}", case.fault, output.status);

    let open = desk.json(&["chaos", "status"]).1["open"].as_array().unwrap().len();
    let helpers = ["--helper-namespace", &stand.helpers.name, "--helper-image", IMAGE];
    let (code, undone) = desk.json(&[&["chaos", "janitor"][..], &helpers].concat());
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
            Case { fault, target, parameters, uid: Some(uid) }
        })
        .collect()
}

fn of_workload(stand: &Stand<'_>) -> Case {
    let target = format!("{}/deployment/web", stand.app.name);
    Case { fault: "scale-to-zero", target, parameters: json!({}), uid: None }
}

fn of_nodes() -> Vec<Case> {
    let case = |fault| Case { fault, target: "node/node-2".to_owned(), parameters: json!({}), uid: None };
    vec![case("node-cordon"), case("node-taint"), case("node-drain")]
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
        for (number, case) in (0u32..).zip(&cases) {
            let stand = &stand;
            // Between the first effect and its undo, where it matters most: two of the lines 4 to 8.
            scope.spawn(move || {
                for line in [4 + number % 2, 6 + number % 3] {
                    assert!(killed_after(stand, case, line), "{} has a line {line}", case.fault);
                }
            });
        }
    });
    stand.account(&["scale-to-zero"]);
    let case = of_workload(&stand);
    for line in [5, 6] {
        assert!(killed_after(&stand, &case, line), "scale-to-zero has a line {line}");
    }
    stand.no_helper_is_left();
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn killed_after_two_lines_of_every_fault_of_nodes_the_janitor_leaves_all_as_it_was() {
    let cluster = Cluster::alone();
    let stand = Stand::with_web(&cluster, "killed-nodes");
    let _open = Open::all(&cluster);
    stand.account(&["node-cordon", "node-taint", "node-drain"]);
    for (number, case) in (0u32..).zip(of_nodes()) {
        for line in [4 + number % 2, 6 + number % 3] {
            assert!(killed_after(&stand, &case, line), "{} has a line {line}", case.fault);
        }
    }
    stand.no_helper_is_left();
}

#[test]
#[ignore = "soak: half an hour; needs root on Linux and the test cluster"]
fn soak_killed_after_every_line_of_every_fault_the_janitor_leaves_all_as_it_was() {
    let cluster = Cluster::alone();
    let stand = six(&cluster, "soak-killed");
    let _open = Open::all(&cluster);
    stand.account(&["scale-to-zero", "node-cordon", "node-taint", "node-drain"]);
    let every_line = |case: &Case| {
        let mut line = 1;
        while killed_after(&stand, case, line) {
            line += 1;
        }
        assert!(line > 9, "{} wrote only {line} lines", case.fault);
        line - 1
    };
    let cases = of_pods(&stand);
    let mut kills: u32 = thread::scope(|scope| {
        let all: Vec<_> = cases.iter().map(|case| scope.spawn(|| every_line(case))).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    kills += every_line(&of_workload(&stand));
    for case in of_nodes() {
        kills += every_line(&case);
    }
    println!("{kills} kills of {} faults, all undone", cases.len() + 4);
    stand.no_helper_is_left();
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
    let helpers = ["--helper-namespace", &stand.helpers.name, "--helper-image", IMAGE];
    assert_eq!(stand.desk.json(&[&["chaos", "janitor"][..], &helpers].concat()).0, 0);
    stand.no_helper_is_left();
}
