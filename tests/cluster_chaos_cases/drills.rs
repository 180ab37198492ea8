//! Drills from `scenarios/` on the cluster: only the target is another one, and times are short.

use crate::drill_support::{self, class, failed_probes, made_again, must_be_met, row, scenario, setting};
use crate::nodes::{Open, command, nodes};
use crate::stand::{IMAGE, Stand};
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use serde_json::{Value, json};
use std::path::Path;

/// Times are short, and the steady state is that of a machine that compiles and runs three nodes beside.
const QUICK: [&str; 8] = [
    "steady_state.for=4s",
    "steady_state.p95=3s",
    "steady_state.p99=3s",
    "steady_state.errors=10%",
    "load.deadline=3s",
    "limits.hold=4s",
    "limits.control_loop=500ms",
    "target.environment=staging",
];

/// The words that run a scenario against a stand.
fn words(stand: &Stand<'_>, name: &str, set: &[String]) -> Vec<String> {
    let (path, place) = (scenario(name), format!("target.cluster.namespace={}", stand.app.name));
    let mut words = vec!["drill", &path, "--report", "reports", "--set", &place];
    words.extend(["--helper-image", IMAGE, "--helper-namespace", &stand.helpers.name]);
    words.extend(["--helper-account", &stand.helpers.name]);
    words.extend(setting(QUICK.into_iter().chain(set.iter().map(String::as_str))));
    words.into_iter().map(str::to_owned).collect()
}

/// Runs a scenario against a stand; its report, which must be that of a met drill that was put back.
fn drill(stand: &Stand<'_>, name: &str, set: &[String], more: &[&str]) -> Value {
    let words = words(stand, name, set);
    let arguments: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let (code, report) = drill_support::drill(&stand.desk, &arguments);
    assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
    let written = made_again(&stand.desk, &report);
    if let Some(folder) = std::env::var_os("DAVIT_TEST_KEEP") {
        std::fs::write(Path::new(&folder).join(format!("{name}.json")), &written).unwrap();
    }
    let rto = row(&report, "rto");
    println!("{name}: recovered after {} to {} s", rto["actual"]["low"], rto["actual"]["high"]);
    // A node that comes back, and a pod that only begins, take their share of the requests before they can serve them.
    must_be_met(code, &report);
    report
}

fn high(report: &Value) -> f64 {
    row(report, "rto")["actual"]["high"].as_f64().unwrap()
}

fn low(report: &Value) -> f64 {
    row(report, "rto")["actual"]["low"].as_f64().unwrap()
}

fn web(stand: &Stand<'_>, door: u32) -> Vec<String> {
    let clients = format!("target.cluster.clients=http://{}/healthz", stand.door(door, "web"));
    vec![clients, "target.cluster.pods=app=web".to_owned()]
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_pod_of_a_web_service_is_deleted_and_a_container_of_it_killed() {
    let cluster = Cluster::shared();
    let stand = Stand::with_web(&cluster, "drill-web");
    let mut set = web(&stand, 1);
    set.push("target.in=cluster".to_owned());
    let report = drill(&stand, "web-pod-kill", &set, &[]);
    // Its objectives are those of the file.
    let redundancy = row(&report, "redundancy");
    assert_eq!(
        (redundancy["objective"].as_f64(), redundancy["verdict"].as_str()),
        (Some(300.0), Some("met")),
        "{redundancy:#}"
    );
    assert_eq!(row(&report, "rto")["objective"].as_f64(), Some(900.0));
    stand.app.wait_rollout("deployment/web");
    let report = drill(&stand, "container-kill", &web(&stand, 1), &[]);
    assert!(report["timeline"].to_string().contains("ended at"), "{:#}", report["timeline"]);
    stand.no_helper_is_left();
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_drill_is_watched_from_a_pod_too_and_the_report_says_what_that_one_saw() {
    let cluster = Cluster::shared();
    let stand = Stand::with_web(&cluster, "drill-watched");
    let watch = cluster.namespace("drill-watch");
    let run = format!("run watcher --image {IMAGE} --image-pull-policy Never --restart Never --command -- sleep 3600");
    watch.kubectl(&run);
    watch.kubectl("wait pod/watcher --for=condition=Ready --timeout=300s");
    let clients = format!("http://web.{}/healthz", stand.app.name);
    let mut set = web(&stand, 1);
    let pod = format!("{}/run=watcher", watch.name);
    set.push(format!("observers={}", json!([{"name": "inside", "pod": pod, "clients": clients}])));
    let report = drill(&stand, "web-pod-kill", &set, &[]);
    let observers = report["observers"].as_array().unwrap();
    let inside = observers.iter().find(|observer| observer["name"] == "inside").unwrap();
    assert_eq!((inside["whole"].as_bool(), inside["verdict"].as_str()), (Some(true), Some("met")), "{inside:#}");
    let error = inside["clock_error"].as_f64().unwrap();
    assert!(error > 0.0 && error < 1.0, "{inside:#}");
    let asked = report["streams"].as_array().unwrap().iter().filter(|stream| stream["observer"] == "inside");
    let answered: u64 = asked.map(|stream| stream["good"].as_u64().unwrap()).sum();
    assert!(answered > 20, "the pod asked by the service's name: {:#}", report["streams"]);

    // Where it runs, nothing may be broken.
    let node = watch.kubectl("get pod watcher -o jsonpath={.spec.nodeName}");
    set.push(format!("target.cluster.node={node}"));
    let refused = |name: &str, set: &[String], more: &[&str]| {
        let words = words(&stand, name, set);
        let words = words.iter().map(String::as_str).chain(["--dry-run"]);
        let arguments: Vec<&str> = words.chain(more.iter().copied()).collect();
        let said = stand.desk.davit(&arguments);
        assert_eq!(said.code, 3, "{}{}", said.stdout, said.stderr);
        said.stderr
    };
    assert!(refused("node-drain", &set, &[]).contains(&format!("an observer runs on node {node}")));
    let there = [&set[..], &[format!("target.cluster.namespace={}", watch.name)]].concat();
    assert!(refused("web-pod-kill", &there, &[]).contains("observers run there"));
    // Whoever sees the pod and may begin nothing in it learns that from the plan.
    let account = stand.kubeconfig_of_account();
    watch
        .kubectl(&format!("create rolebinding viewer --clusterrole view --serviceaccount {0}:{0}", stand.helpers.name));
    let said = refused("web-pod-kill", &set, &["--kubeconfig", account.to_str().unwrap()]);
    assert!(said.contains("may not begin anything in it"), "{said}");
}

/// A database that may be broken, and a port for its clients on every node.
fn database(stand: &Stand<'_>) -> String {
    stand.app.apply_fixture("postgres.yaml");
    stand.app.kubectl("create service nodeport clients --tcp=5432:5432");
    stand.app.kubectl(r#"patch service clients -p {"spec":{"selector":{"app":"postgres"}}}"#);
    stand.app.wait_rollout("statefulset/postgres");
    stand.app.psql("postgres-0", "CREATE DATABASE shop");
    format!("postgres://postgres@{}/shop", stand.door(1, "clients"))
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn the_primarys_pod_is_deleted_under_writers_and_no_acknowledged_write_is_lost() {
    let cluster = Cluster::shared();
    let mut stand = Stand::new(&cluster, "drill-db");
    let url = database(&stand);
    stand.desk.set("ECOTRACK_DATABASE_URL", &url).set("ECOTRACK_ADMIN_URL", &url);
    // A kept connection is answered by the next server within seconds: only an answer in time is one.
    // It stands alone, so that nothing shows when it is redundant again.
    let alone = "objectives.redundancy=none";
    let set = ["target.cluster.pods=app=postgres", "load.writes=40/s", "load.deadline=1s", alone].map(str::to_owned);
    let report = drill(&stand, "database-pod-kill", &set, &["--lift", "quorum"]);
    assert_eq!(class(&report, "lost") + class(&report, "phantom") + class(&report, "duplicate"), 0);
    assert!(report["integrity"]["acknowledged"].as_u64().unwrap() > 100, "{:#}", report["integrity"]);
    assert!(low(&report) > 0.0 && high(&report) < 240.0, "{:#}", report["objectives"]);
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_service_that_is_cut_off_from_its_database_comes_back_with_the_way() {
    let cluster = Cluster::shared();
    let stand = Stand::with_web(&cluster, "drill-apart");
    database(&stand);
    let url = format!("http://{}/reaches/clients:5432", stand.door(2, "web"));
    let set = [
        format!("target.cluster.clients={url}"),
        "target.cluster.pods=app=postgres".to_owned(),
        "target.cluster.peers=app=web".to_owned(),
        "fault.lasts=5s".to_owned(),
    ];
    let report = drill(&stand, "service-database-partition", &set, &["--lift", "quorum"]);
    assert!(low(&report) > 4.0 && high(&report) < 30.0, "{:#}", report["objectives"]);
    stand.no_helper_is_left();
}

pub fn a_node_is_drained_and_another_one_lost_and_the_service_goes_on() {
    let cluster = Cluster::alone();
    let stand = Stand::with_web(&cluster, "drill-node");
    let _open = Open::all(&cluster);
    stand.account(&["node-drain"]);
    stand.app.kubectl("create pdb web --selector app=web --min-available 2");
    wait_until(30, "the budget being counted", || {
        stand.app.kubectl("get pdb web -o jsonpath={.status.disruptionsAllowed}") == "1"
    });
    let before = nodes(&cluster);
    let mut set = web(&stand, 1);
    set.extend(["fault.lasts=3s".to_owned(), "target.cluster.node=node-2".to_owned()]);
    drill(&stand, "node-drain", &set, &[]);
    assert_eq!(nodes(&cluster), before);
    stand.app.wait_rollout("deployment/web");

    // One node's power fails: its door is another one, and one of three pods is on it.
    stand.app.kubectl(concat!(
        r#"patch deployment web -p {"spec":{"template":{"spec":{"topologySpreadConstraints":[{"maxSkew":1,"#,
        r#""topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"DoNotSchedule","#,
        r#""labelSelector":{"matchLabels":{"app":"web"}}}]}}}}"#,
    ));
    stand.app.kubectl("scale deployment web --replicas 0");
    wait_until(30, "no pods", || stand.app.kubectl("get pods -l app=web -o name").is_empty());
    stand.app.kubectl("scale deployment web --replicas 3");
    stand.app.wait_rollout("deployment/web");
    assert!(stand.app.kubectl("get pods -l app=web -o wide --no-headers").contains("node-3"));
    let off = command(&cluster, "do", &["node 3 off"]);
    let on = command(&cluster, "undo", &["node 3 on"]);
    // The control plane misses a node seconds later; nobody answers at its kubelet's port at once.
    let kubelet = stand.door(3, "web").split(':').next().unwrap().to_owned();
    let silent = format!("! timeout 1 bash -c ': </dev/tcp/{kubelet}/10250' 2>/dev/null\n");
    stand.desk.write("is-silent", &silent);
    let proof = format!("proof=sh {}", stand.desk.path().join("is-silent").display());
    let mut set = web(&stand, 1);
    set.extend([off, on, proof].map(|parameter| format!("fault.with.{parameter}")));
    // Longer than the control plane takes to miss a node.
    set.extend(["fault.lasts=12s".to_owned(), "target.cluster.node=node-3".to_owned()]);
    let report = drill(&stand, "node-lost", &set, &[]);
    assert!(failed_probes(&report) > 0, "{:#}", report["streams"]);
    assert!(high(&report) < 240.0, "{:#}", report["objectives"]);
    wait_until(60, "the nodes as before", || nodes(&cluster) == before);
}
