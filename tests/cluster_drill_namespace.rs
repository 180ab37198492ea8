//! A namespace of a real cluster is deleted and restored in a drill, and how long nobody was answered is measured from outside
//! of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and shows what it measured"
)]

mod cli_support;
mod drill_support;
mod support;

use cli_support::Desk;
use drill_support::{drill, made_again, must_be_met, row, scenario, setting};
use support::cluster::Cluster;
use support::wait_until;

const SERVICE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: davit.test/service:1
        imagePullPolicy: Never
        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: payment}}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: green}
---
apiVersion: v1
kind: Secret
metadata: {name: payment}
stringData: {KEY: swordfish}
";

fn succeed(desk: &Desk, arguments: &[&str]) {
    let said = desk.davit(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_namespace_is_deleted_and_restored_and_how_long_it_took_is_measured_from_outside() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("drill");
    let name = namespace.name.as_str();
    namespace.apply(SERVICE);
    namespace.wait_rollout("deployment/web");
    for annotation in ["davit.dev/chaos=allowed", "davit.dev/environment=staging", "davit.dev/disposable=true"] {
        cluster.kubectl(&format!("annotate namespace {name} {annotation}"));
    }
    let port = namespace.kubectl("get service web -o jsonpath={.spec.ports[0].nodePort}");
    let slot = std::fs::read_to_string(cluster.folder().join("slot")).unwrap();
    let clients = format!("http://198.18.{}.11:{port}/healthz", slot.trim());
    let before = cluster.kubectl(&format!("get namespace {name} -o jsonpath={{.metadata.uid}}"));

    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    succeed(&desk, &["snapshot", "create", name]);
    succeed(&desk, &["snapshot", "verify", &format!("{name}@latest"), "--depth", "restored"]);
    let path = scenario("namespace-deleted");
    let set = [
        format!("target.cluster.clients={clients}"),
        format!("target.cluster.namespace={name}"),
        "target.cluster.pods=app=web".to_owned(),
        format!("recovery.source={name}"),
        "recovery.decision=500ms".to_owned(),
        "steady_state.for=5s".to_owned(),
        "limits.hold=6s".to_owned(),
        "limits.control_loop=500ms".to_owned(),
    ];
    let settings = setting(set.iter().map(String::as_str));
    let arguments = [&["drill", path.as_str(), "--report", "reports"], &settings[..]].concat();
    let planned = desk.davit(&[&arguments[..], &["--dry-run"]].concat());
    assert_eq!(planned.code, 0, "{}{}", planned.stdout, planned.stderr);
    assert!(planned.stdout.contains("restore: wait until nothing of the old namespace"), "{}", planned.stdout);
    assert_eq!(cluster.kubectl(&format!("get namespace {name} -o jsonpath={{.metadata.uid}}")), before);

    let (code, report) = drill(&desk, &arguments);
    let report = &report;
    must_be_met(code, report);
    // It was gone for longer than its pods took to end, and the figure has both its bounds.
    let time = &row(report, "rto")["actual"];
    let (low, high) = (time["low"].as_f64().unwrap(), time["high"].as_f64().unwrap());
    assert!(0.5 < low && low <= high && high < 240.0, "{time}");
    let service = row(report, "service");
    assert!(service["actual"]["low"].as_f64().unwrap() > 0.5, "clients felt it: {service}");
    let phases: Vec<&str> =
        report["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    for phase in [
        "detection",
        "decision",
        "old namespace gone",
        "fetch and plan",
        "objects made and read back",
        "first good answer",
    ] {
        assert!(phases.contains(&phase), "{phase} is not in {phases:?}");
    }
    assert!(report["restore"]["objects"].as_u64().unwrap() >= 6, "{}", report["restore"]);
    assert_eq!(row(report, "redundancy")["verdict"], "met", "{report:#}");
    assert_eq!(report["cleanup"]["proven"], true);
    // It is another namespace, with the same content at the same door.
    assert_ne!(cluster.kubectl(&format!("get namespace {name} -o jsonpath={{.metadata.uid}}")), before);
    assert_eq!(namespace.kubectl("get secret payment -o jsonpath={.data.KEY}"), "c3dvcmRmaXNo");
    assert_eq!(namespace.kubectl("get service web -o jsonpath={.spec.ports[0].nodePort}"), port);
    wait_until(60, "all pods", || namespace.kubectl("get deployment web -o jsonpath={.status.readyReplicas}") == "2");
    made_again(&desk, report);
    eprintln!("{}", report["verdict"]["sentence"]);
}
