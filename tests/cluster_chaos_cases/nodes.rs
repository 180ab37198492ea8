//! Faults of nodes. They harm what others stand on, so nobody else uses that cluster meanwhile.

use crate::accounts::each_verb_is_needed;
use crate::stand::{IMAGE, Stand, inject, proven, refused};
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use serde_json::{Value, json};

/// Lets faults hit every node, for as long as it lives.
pub struct Open<'a>(&'a Cluster);

impl<'a> Open<'a> {
    pub fn all(cluster: &'a Cluster) -> Self {
        cluster.kubectl("annotate nodes --all --overwrite davit.dev/chaos=allowed davit.dev/environment=staging");
        Self(cluster)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.try_kubectl("annotate nodes --all davit.dev/chaos- davit.dev/environment-");
    }
}

/// What a fault of nodes could forget to undo: taints, `unschedulable`, and whether they are Ready, of all three.
pub fn nodes(cluster: &Cluster) -> String {
    let list: Value = serde_json::from_str(&cluster.kubectl("get nodes -o json")).unwrap();
    list["items"].as_array().unwrap().iter().map(spec).collect::<Vec<_>>().join("\n")
}

/// The same of one.
pub fn node(cluster: &Cluster, name: &str) -> String {
    spec(&serde_json::from_str(&cluster.kubectl(&format!("get node {name} -o json"))).unwrap())
}

fn spec(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array().unwrap();
    let ready = &conditions.iter().find(|one| one["type"] == "Ready").unwrap()["status"];
    format!("{} {} {ready}", node["spec"]["unschedulable"], node["spec"]["taints"])
}

/// A command of the test cluster as the parameter of a fault.
pub fn command(cluster: &Cluster, parameter: &str, verbs: &[&str]) -> String {
    format!("{parameter}={}", verbs_of(cluster, verbs))
}

/// Verbs of `cluster.sh` as one command.
pub fn verbs_of(cluster: &Cluster, verbs: &[&str]) -> String {
    let script = format!("{}/tests/cluster/cluster.sh", env!("CARGO_MANIFEST_DIR"));
    let lines = verbs.iter().map(|verb| {
        let (verb, rest) = verb.split_once(' ').unwrap();
        format!("{script} {verb} {} {rest}", cluster.name)
    });
    lines.collect::<Vec<_>>().join(" && ")
}

pub fn nodes_are_cordoned_tainted_and_drained_as_budgets_allow_and_are_as_before() {
    let cluster = Cluster::alone();
    let mut stand = Stand::with_web(&cluster, "nodes");
    let _open = Open::all(&cluster);
    let before = nodes(&cluster);
    stand.account(&["node-cordon", "node-taint", "node-drain"]);
    let hit = |fault: &str, more: &[&str]| inject(&stand.desk, &stand.helpers.name, fault, "node/node-2", more);
    refused(&hit("node-cordon", &["--environment", "production"]), "environment");
    assert!(proven(&hit("node-cordon", &[])).contains("is tainted"));
    assert_eq!(nodes(&cluster), before);

    let on_node = || stand.app.kubectl("get pods -l app=web -o wide --no-headers").matches("node-2").count();
    assert!(proven(&hit("node-taint", &["--set", "effect=NoSchedule"])).contains("untolerated taint"));
    assert!(on_node() > 0, "nobody had to go");
    assert!(proven(&hit("node-taint", &[])).contains("no pod is left on node node-2"));
    assert_eq!(nodes(&cluster), before);
    stand.app.wait_rollout("deployment/web");

    // A budget that allows nothing holds the drain up: unproven, and undone.
    stand.app.kubectl("scale deployment web --replicas 6");
    stand.app.wait_rollout("deployment/web");
    stand.app.kubectl("create pdb web --selector app=web --min-available 6");
    wait_until(30, "the budget being counted", || {
        stand.app.kubectl("get pdb web -o jsonpath={.status.currentHealthy}") == "6"
    });
    let there = on_node();
    let (code, document) = hit("node-drain", &["--set", "within=2"]);
    assert_eq!((code, document["healed"][0]["read_back"].as_str()), (6, Some("as-before")), "{document:#}");
    assert_eq!(on_node(), there, "the budget was kept");
    stand.app.kubectl("delete pdb web");
    stand.app.kubectl("create pdb web --selector app=web --min-available 5");
    wait_until(30, "the budget being counted", || {
        stand.app.kubectl("get pdb web -o jsonpath={.status.disruptionsAllowed}") == "1"
    });
    assert!(proven(&hit("node-drain", &[])).contains("no pod that had to go is left"));
    assert_eq!((on_node(), nodes(&cluster)), (0, before.clone()));
    each_verb_is_needed(&mut stand, "node-drain", "node/node-2", &[]);
    assert_eq!(nodes(&cluster), before);

    // The harness stands for whatever stops a kubelet: an SSH call, a cloud's command.
    let stop = command(&cluster, "do", &["hold node-3-kubelet", "kill node-3 kubelet"]);
    let start = command(&cluster, "undo", &["release node-3-kubelet"]);
    let more = ["--set", &stop, "--set", &start];
    let seen = proven(&inject(&stand.desk, &stand.helpers.name, "kubelet-stop", "node/node-3", &more));
    assert!(seen.contains("misses the heartbeat of node node-3"), "{seen}");
    wait_until(30, "the nodes as before", || nodes(&cluster) == before);

    // It stays whatever becomes of its node, so that a slow reboot moves it nowhere.
    let stays = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stays"}, "spec": {
        "nodeName": "node-3", "tolerations": [{"operator": "Exists"}], "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "3600"]}]}});
    stand.app.apply(&stays.to_string());
    stand.app.kubectl("wait pod/stays --for=condition=Ready --timeout=300s");
    let container = || stand.app.kubectl("get pod stays -o jsonpath={.status.containerStatuses[0].containerID}");
    let began = container();
    let reboot = command(&cluster, "do", &["node 3 reboot"]);
    let seen = proven(&inject(&stand.desk, &stand.helpers.name, "node-reboot", "node/node-3", &["--set", &reboot]));
    assert!(seen.contains("node node-3 has another boot id"), "{seen}");
    wait_until(120, "its pod being begun again", || {
        let now = container();
        !now.is_empty() && now != began
    });
    wait_until(60, "the nodes as before", || nodes(&cluster) == before);
    stand.no_helper_is_left();
}
