//! Faults of pods and nodes that an API server takes, against a real control plane. Its nodes are only objects, so nothing
//! runs; what the server and its controllers do is the real thing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod chaos_support;
mod control_support;
mod support;

use chaos_support::{Diary, Site, healed};
use control_support::{ControlPlane, control_plane};
use davit::chaos::{self, Amount, GuardName, NoWitness, ReadBack, Request, Seed};
use davit::cluster::{Cluster, Connect, Place};
use davit::error::Kind;
use serde_json::{Value, json};
use support::cluster::kubeconfig_with;
use support::wait_until;
use tokio_util::sync::CancellationToken;

/// A namespace that lets faults in, with a Deployment of four pods that say that they are ready.
fn web(plane: &ControlPlane, namespace: &str) {
    plane.namespace(namespace);
    let annotations = ["davit.dev/chaos=allowed", "davit.dev/environment=staging"];
    plane.kubectl(&[&["annotate", "namespace", namespace][..], &annotations].concat(), "").unwrap();
    let yaml = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: {namespace}}}\n\
         spec: {{replicas: 4, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, \
         spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: web, image: web}}]}}}}}}\n"
    );
    plane.apply(&yaml);
    four_ready(plane, namespace);
}

fn pods(plane: &ControlPlane, namespace: &str) -> Vec<Value> {
    let list = plane.get(&["pods", "-n", namespace]).unwrap();
    let items = list["items"].as_array().unwrap().clone();
    items.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
}

/// Waits for four pods and has all of them say that they are ready, as a kubelet would.
fn four_ready(plane: &ControlPlane, namespace: &str) {
    wait_until(60, "four pods", || pods(plane, namespace).len() == 4);
    for pod in pods(plane, namespace) {
        say_ready(plane, &["pod", pod["metadata"]["name"].as_str().unwrap(), "-n", namespace], "Running");
    }
    // The disruption controller counts them.
    wait_until(60, "ready replicas", || {
        plane.get(&["deployment", "web", "-n", namespace]).unwrap()["status"]["readyReplicas"] == 4
    });
}

fn say_ready(plane: &ControlPlane, what: &[&str], phase: &str) {
    let status = format!(
        r#"{{"status": {{"phase": "{phase}", "conditions": [{{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T00:00:00Z"}}]}}}}"#
    );
    let all = [&["patch"][..], what, &["--subresource=status", "--type=strategic", "-p", &status]].concat();
    plane.kubectl(&all, "").unwrap();
}

fn uids(plane: &ControlPlane, namespace: &str) -> Vec<String> {
    pods(plane, namespace).iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
}

async fn site(plane: &ControlPlane) -> Site {
    let mut site = Site::new().await;
    site.means.cluster = Some(plane.connect());
    site
}

fn request(fault: &str, target: &str) -> Request {
    Request::new(fault, target.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the control plane of the test cluster: make test"]
async fn deleted_pods_are_the_ones_of_the_seed_and_their_successors_are_none_of_them() {
    let plane = control_plane();
    web(plane, "chaos-delete");
    let site = site(plane).await;
    let mut wanted = request("pod-delete", "chaos-delete/deployment/web");
    wanted.amount = Amount::Percent(50);
    wanted = wanted.capped(2, 50);
    wanted.seed = Some(Seed(11));
    let plan = chaos::plan(&site.means, wanted.clone()).await.unwrap();
    let victims: Vec<String> = plan.victims().into_iter().map(|victim| victim.key).collect();
    assert_eq!(victims.len(), 2);
    assert_eq!(uids(plane, "chaos-delete").len(), 4, "a plan changes nothing");
    let diary = Diary::default();
    let injection = site.inject(wanted.clone(), &diary).await;
    assert!(victims.iter().all(|victim| !uids(plane, "chaos-delete").contains(victim)));
    healed(&injection.heal(&diary).await);
    four_ready(plane, "chaos-delete");

    // All of them would leave nobody.
    wanted.amount = Amount::All;
    wanted = wanted.capped(10, 100);
    let refusal = site.refusal(wanted).await;
    assert!(refusal.kind() == Kind::Refused && refusal.to_string().contains("guard quorum"), "{refusal}");
    // The default caps leave a pod that stands alone in peace, and more than there are is no wish to be cut down.
    let mut five = request("pod-delete", "chaos-delete/pods/app=web");
    five.amount = Amount::Count(5);
    assert!(site.refusal(five).await.to_string().contains("5 were asked for, and there are 4 candidates"));
    let nobody = site.refusal(request("pod-delete", "chaos-delete/pods/app=nobody")).await;
    assert!(nobody.to_string().contains("there is nothing"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the control plane of the test cluster: make test"]
async fn a_disruption_budget_refuses_before_anything_is_touched() {
    let plane = control_plane();
    web(plane, "chaos-evict");
    let budget = |least: u32| {
        plane.apply(&format!(
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: web, namespace: chaos-evict}}\n\
             spec: {{minAvailable: {least}, selector: {{matchLabels: {{app: web}}}}}}\n"
        ));
        wait_until(60, "the budget being counted", || {
            let budget = plane.get(&["pdb", "web", "-n", "chaos-evict"]).unwrap();
            budget["status"]["disruptionsAllowed"] == 4 - least
        });
    };
    budget(4);
    let site = site(plane).await;
    let evict = || request("pod-evict", "chaos-evict/pods");
    let before = uids(plane, "chaos-evict");
    let refusal = site.refusal(evict()).await;
    assert!(refusal.to_string().contains("guard disruption-budget"), "{refusal}");
    assert_eq!(uids(plane, "chaos-evict"), before);
    budget(3);
    let diary = Diary::default();
    let injection = site.inject(evict(), &diary).await;
    let seen = &injection.proofs()[0].evidence().unwrap().seen;
    assert!(seen.contains("is gone"), "{seen}");
    healed(&injection.heal(&diary).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the control plane of the test cluster: make test"]
async fn a_workload_without_pods_gets_exactly_its_pods_back_also_from_the_janitor() {
    let plane = control_plane();
    web(plane, "chaos-scale");
    let site = site(plane).await;
    let scale = || request("scale-to-zero", "chaos-scale/deployment/web").lifting(GuardName::Quorum);
    let refusal = site.refusal(request("scale-to-zero", "chaos-scale/deployment/web")).await;
    assert!(refusal.to_string().contains("guard quorum") && refusal.hint_text().unwrap().contains("--lift quorum"));
    let diary = Diary::default();
    let injection = site.inject(scale(), &diary).await;
    assert!(pods(plane, "chaos-scale").is_empty());
    healed(&injection.heal(&diary).await);
    four_ready(plane, "chaos-scale");

    let injection = site.inject(scale(), &diary).await;
    drop(injection);
    healed(&chaos::janitor(&site.means, None, &NoWitness).await.unwrap().healing);
    four_ready(plane, "chaos-scale");
    assert_eq!(chaos::janitor(&site.means, None, &NoWitness).await.unwrap().healing.healed, []);
}

/// Three nodes that say that they are ready.
fn nodes(plane: &ControlPlane, purpose: &str) -> Vec<String> {
    let names: Vec<String> = (1..=3).map(|number| format!("{purpose}-{number}")).collect();
    for name in &names {
        plane.apply(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{for: {purpose}}}, annotations: \
             {{davit.dev/chaos: allowed, davit.dev/environment: staging}}}}\n"
        ));
        say_ready(plane, &["node", name], "Running");
    }
    names
}

fn remove(plane: &ControlPlane, nodes: &[String]) {
    for name in nodes {
        plane.kubectl(&["delete", "node", name], "").unwrap();
    }
}

/// What a fault of nodes could forget to undo.
fn spec(plane: &ControlPlane, node: &str) -> String {
    let mut spec = plane.get(&["node", node]).unwrap()["spec"].clone();
    let ours = |taint: &Value| {
        !taint["key"].as_str().unwrap().contains("not-ready") && !taint["key"].as_str().unwrap().contains("unreachable")
    };
    let taints: Vec<Value> =
        spec["taints"].as_array().into_iter().flatten().filter(|taint| ours(taint)).cloned().collect();
    spec["taints"] = Value::Array(taints);
    spec.to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the control plane of the test cluster: make test"]
async fn nodes_are_cordoned_tainted_and_drained_and_are_as_before_afterwards() {
    let plane = control_plane();
    let names = nodes(plane, "chaos-node");
    let site = site(plane).await;
    let target = format!("node/{}", names[0]);
    let aimed = |fault: &str| {
        // The other tests of this file make nodes, too.
        request(fault, &target).capped(1, 100).lifting(GuardName::Quorum)
    };
    let before = spec(plane, &names[0]);
    let diary = Diary::default();
    let injection = site.inject(aimed("node-cordon"), &diary).await;
    assert!(spec(plane, &names[0]).contains("unschedulable"));
    healed(&injection.heal(&diary).await);
    assert_eq!(spec(plane, &names[0]), before);

    // What somebody else cordoned is not ours.
    plane.kubectl(&["cordon", &names[0]], "").unwrap();
    let refusal = site.refusal(aimed("node-cordon")).await;
    assert!(refusal.to_string().contains("somebody else has done so"), "{refusal}");
    plane.kubectl(&["uncordon", &names[0]], "").unwrap();
    wait_until(30, "the node as before", || spec(plane, &names[0]) == before);

    // A pod on the node that tolerates nothing is driven off by the taint, and by a drain.
    plane.namespace("chaos-node");
    let pod = || {
        plane.apply(&format!(
            "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {{name: here, namespace: chaos-node}}\n\
             spec: {{replicas: 1, selector: {{matchLabels: {{app: here}}}}, template: {{metadata: {{labels: {{app: here}}}}, \
             spec: {{nodeName: {}, terminationGracePeriodSeconds: 0, containers: [{{name: c, image: i}}]}}}}}}\n",
            names[0]
        ));
        wait_until(60, "a pod", || pods(plane, "chaos-node").len() == 1);
    };
    pod();
    let first = uids(plane, "chaos-node");
    // It is made again with the node's name on it, as no scheduler would.
    plane.kubectl(&["scale", "rs/here", "-n", "chaos-node", "--replicas=1"], "").unwrap();
    let orphan = plane.kubectl(&["delete", "rs/here", "-n", "chaos-node", "--cascade=orphan"], "");
    orphan.unwrap();
    let injection = site.inject(aimed("node-taint"), &diary).await;
    assert!(!uids(plane, "chaos-node").iter().any(|uid| first.contains(uid)), "the pod was driven off");
    healed(&injection.heal(&diary).await);
    assert_eq!(spec(plane, &names[0]), before);

    let injection = site.inject(aimed("node-drain"), &diary).await;
    drop(injection);
    assert!(spec(plane, &names[0]).contains("unschedulable"));
    healed(&chaos::janitor(&site.means, None, &NoWitness).await.unwrap().healing);
    assert_eq!(spec(plane, &names[0]), before);
    remove(plane, &names);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the control plane of the test cluster: make test"]
async fn a_node_is_stopped_by_a_command_of_the_user_and_comes_back_by_another() {
    let plane = control_plane();
    let names = nodes(plane, "chaos-stop");
    let site = site(plane).await;
    let power = site.directory.path().join("power");
    std::fs::write(&power, "on").unwrap();
    let write = |word: &str| format!("test \"$NODE\" = {} && echo {word} > {}", names[1], power.display());
    let stop = || {
        request("node-stop", &format!("node/{}", names[1]))
            .with("do", &write("off"))
            .with("undo", &write("on"))
            .with("proof", &format!("grep -q off {}", power.display()))
            .lifting(GuardName::Quorum)
            .capped(1, 100)
    };
    let says = |word: &str| std::fs::read_to_string(&power).unwrap().trim() == word;
    // Its kubelet has spoken before the fault, and speaks again only once the undo is done.
    let speak = |number: u32| {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": names[1], "namespace": "kube-node-lease"},
            "spec": {"renewTime": format!("2026-11-01T00:00:00.{number:06}Z")}});
        plane.kubectl(&["apply", "-f", "-"], &lease.to_string()).unwrap();
    };
    speak(0);
    let diary = Diary::default();
    let injection = site.inject(stop(), &diary).await;
    assert!(says("off"));
    drop(injection);
    let mut cleaning = Box::pin(chaos::janitor(&site.means, None, &NoWitness));
    let mut number = 0;
    let cleaned = loop {
        tokio::select! {
            cleaned = &mut cleaning => break cleaned.unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => if says("on") {
                number += 1;
                speak(number);
            }
        }
    };
    healed(&cleaned.healing);
    assert!(says("on"));
    let ReadBack::AsBefore { seen } = &cleaned.healing.healed[0].read_back else { panic!("{cleaned:?}") };
    assert!(number > 0 && seen.contains("its kubelet has spoken since the undo"), "{seen}");
    // Without an undo it cannot be planned.
    let refusal = site.refusal(request("node-stop", &format!("node/{}", names[1])).with("do", "true")).await;
    assert!(refusal.kind() == Kind::Input && refusal.to_string().contains("undo"), "{refusal}");
    remove(plane, &names);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the control plane of the test cluster: make test"]
async fn an_account_with_exactly_the_printed_roles_injects_and_one_without_is_refused() {
    let plane = control_plane();
    web(plane, "chaos-rbac");
    plane.namespace("chaos-rbac-home");
    plane.kubectl(&["create", "serviceaccount", "drills", "-n", "chaos-rbac-home"], "").unwrap();
    let token = plane.kubectl(&["create", "token", "drills", "-n", "chaos-rbac-home"], "").unwrap();
    let mut site = site(plane).await;
    let administrators = plane.kubectl(&["config", "view", "--raw", "-o", "json"], "").unwrap();
    let file = site.directory.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig_with(&token, &administrators)).unwrap();
    let connect = Connect { place: Place::Files(vec![file]), context: None };
    site.means.cluster = Some(Cluster::connect(&connect, site.means.clock.clone(), CancellationToken::new()).unwrap());
    let evict = || request("pod-evict", "chaos-rbac/pods");
    assert_eq!(site.refusal(evict()).await.kind(), Kind::Refused);

    let roles = |aim: [&str; 2]| {
        let mut davit = std::process::Command::new(env!("CARGO_BIN_EXE_davit"));
        davit.args(["chaos", "rbac", "pod-evict", "--account", "drills", "--helper-namespace", "chaos-rbac-home"]);
        let output = davit.args(aim).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let await_right = |verb: &str, resource: &str, part: &str| {
        wait_until(30, &format!("{verb} {resource}"), || {
            let (part, user) = (format!("--subresource={part}"), "--as=system:serviceaccount:chaos-rbac-home:drills");
            let may = plane.kubectl(&["auth", "can-i", verb, resource, &part, "-n", "chaos-rbac", user], "");
            may.is_ok_and(|said| said.trim() == "yes")
        });
    };
    let yaml = roles(["--namespace", "chaos-rbac"]);
    assert!(yaml.contains("pods/eviction") && !yaml.contains('*') && !yaml.contains("deployments"), "{yaml}");
    plane.kubectl(&["apply", "-f", "-"], &yaml).unwrap();
    await_right("create", "pods", "eviction");
    // Whose pods are meant by their workload must be allowed to read that.
    let of_workload = || request("pod-evict", "chaos-rbac/deployment/web");
    let refusal = site.refusal(of_workload()).await;
    assert!(refusal.kind() == Kind::Refused && refusal.to_string().contains("deployments"), "{refusal}");
    let more = roles(["--target", "chaos-rbac/deployment/web"]);
    assert!(more.contains("deployments") && !more.contains('*'), "{more}");
    plane.kubectl(&["apply", "-f", "-"], &more).unwrap();
    await_right("get", "deployments", "");
    chaos::plan(&site.means, of_workload()).await.unwrap();
    let diary = Diary::default();
    let injection = site.inject(evict(), &diary).await;
    healed(&injection.heal(&diary).await);
    // What they do not allow is refused by name.
    let refusal = site.refusal(request("pod-delete", "chaos-rbac/pods")).await;
    assert!(
        refusal.to_string().contains("guard permission: the account may not delete pods in chaos-rbac"),
        "{refusal}"
    );
    let hint = refusal.hint_text().unwrap();
    assert!(hint.contains("davit chaos rbac"), "{hint}");
}
