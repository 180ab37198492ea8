//! What a restore meets in a cluster of others, on a real API server: volumes, ports and applications that are somebody's, and
//! a person who is asked.

use crate::cli_support::{Desk, Said};
use crate::control_support::{ControlPlane, control_plane};
use crate::support::wait_until;
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

fn desk() -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", control_plane().kubeconfig().to_str().unwrap());
    desk
}

fn ended(said: &Said, code: i32, text: &str) {
    let all = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, code, "{all}");
    assert!(all.contains(text), "{text:?} is not in\n{all}");
}

fn make(plane: &ControlPlane, namespace: &str, yaml: &str) {
    plane.kubectl(&["create", "-n", namespace, "-f", "-"], yaml).unwrap();
}

fn saved(plane: &ControlPlane, namespace: &str, yaml: &str) -> Desk {
    plane.namespace(namespace);
    make(plane, namespace, yaml);
    let desk = desk();
    ended(&desk.davit(&["snapshot", "create", namespace]), 0, "saved namespace");
    desk
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_volume_is_not_made_when_what_is_behind_it_backs_another_one_by_now() {
    let plane = control_plane();
    let volume = |name: &str, namespace: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec:\n  capacity: {{storage: 1Gi}}\n  \
             accessModes: [ReadWriteOnce]\n  storageClassName: ''\n  persistentVolumeReclaimPolicy: Retain\n  \
             nfs: {{server: 192.0.2.1, path: /behind}}\n  claimRef: {{namespace: {namespace}, name: data}}\n"
        )
    };
    plane.namespace("behind");
    plane.apply(&volume("behind-old", "behind"));
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], \
        storageClassName: '', volumeName: behind-old, resources: {requests: {storage: 1Gi}}}\n";
    make(plane, "behind", claim);
    plane.await_object(&["pvc", "data", "-n", "behind"], |claim| claim["status"]["phase"] == "Bound");
    let desk = desk();
    ended(&desk.davit(&["snapshot", "create", "behind"]), 0, "saved namespace");
    plane.kubectl(&["delete", "namespace", "behind"], "").unwrap();
    plane.kubectl(&["delete", "pv", "behind-old"], "").unwrap();
    // Somebody uses the same directory under another name.
    plane.apply(&volume("behind-new", "elsewhere"));

    let restore = ["snapshot", "restore", "behind@latest"];
    for more in [&["--plan"][..], &[]] {
        let said = desk.davit(&[&restore[..], more].concat());
        ended(&said, 1, "what is behind its volume behind-old already backs the volume behind-new");
    }
    let (_, plan) = desk.json(&[&restore[..], &["--plan"]].concat());
    let lines = plan["plan"]["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["name"] == "behind-old").unwrap();
    assert_eq!(
        (&line["action"], &line["why"]),
        (&"leave".into(), &"what is behind it already backs the volume behind-new".into())
    );
    assert!(plane.get(&["pv", "behind-old"]).is_none() && plane.get(&["pvc", "data", "-n", "behind"]).is_none());
    // When it is free again the same command makes both.
    plane.kubectl(&["delete", "pv", "behind-new"], "").unwrap();
    ended(&desk.davit(&restore), 0, "2 created");
    plane.await_object(&["pvc", "data", "-n", "behind"], |claim| claim["status"]["phase"] == "Bound");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn what_an_application_of_argo_tracks_is_told_and_left_to_it_where_somebody_says_so() {
    let plane = control_plane();
    plane.apply(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: applications.argoproj.io}\nspec:\n  \
         group: argoproj.io\n  scope: Namespaced\n  names: {plural: applications, kind: Application}\n  versions:\n  \
         - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}\n",
    );
    plane.namespace("argo-home");
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: tracked-shop}\n\
        spec: {project: default, destination: {namespace: tracked}}\n";
    wait_until(30, "the kind", || plane.kubectl(&["create", "-n", "argo-home", "-f", "-"], application).is_ok());
    // By its annotation; by the label that every chart sets, of which one names an application that is there.
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: by-annotation, annotations: {argocd.argoproj.io/tracking-id: 'tracked-shop:/ConfigMap:tracked/by-annotation'}}\n---\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata: {name: by-label, labels: {app.kubernetes.io/instance: tracked-shop}}\n---\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-a-chart, labels: {app.kubernetes.io/instance: some-release}}\n";
    let desk = saved(plane, "tracked", objects);
    let there = |namespace: &str| {
        let names = ["by-annotation", "by-label", "of-a-chart"];
        names.map(|name| plane.get(&["configmap", name, "-n", namespace]).is_some())
    };
    let into = |namespace: &'static str| ["snapshot", "restore", "tracked@latest", "--into", namespace];
    let told = "Argo CD's application tracked-shop tracks 2 of the objects and may change or remove them";
    ended(&desk.davit(&[&into("tracked-all")[..], &["--plan"]].concat()), 0, told);
    ended(&desk.davit(&into("tracked-all")), 0, told);
    assert_eq!(there("tracked-all"), [true; 3]);
    let said = desk.davit(&[&into("tracked-rest")[..], &["--skip-gitops"]].concat());
    ended(&said, 0, " left");
    assert!(!said.stderr.contains(told), "{}", said.stderr);
    assert_eq!(there("tracked-rest"), [false, false, true]);
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn services_get_their_node_ports_back_only_if_asked_and_if_they_are_free() {
    let plane = control_plane();
    let port = |namespace: &str| {
        let service = plane.get(&["service", "door", "-n", namespace]);
        service.and_then(|service| service["spec"]["ports"][0]["nodePort"].as_u64())
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: door}\nspec: {type: NodePort, ports: [{port: 80, nodePort: 31987}]}\n";
    let desk = saved(plane, "ports", service);
    let restore = |into: &str, more: &[&str]| {
        desk.davit(&[&["snapshot", "restore", "ports@latest", "--into", into][..], more].concat())
    };
    ended(&restore("ports-new", &[]), 0, "restored point");
    assert!(port("ports-new").is_some_and(|port| port != 31987), "{:?}", port("ports-new"));
    ended(&restore("ports-kept", &["--keep-node-ports"]), 1, "provided port is already allocated");
    plane.kubectl(&["delete", "service", "door", "-n", "ports"], "").unwrap();
    ended(&restore("ports-kept", &["--keep-node-ports"]), 0, "restored point");
    assert_eq!(port("ports-kept"), Some(31987));
}

/// Runs a command on a terminal, at which this is typed.
fn at_a_terminal(desk: &Desk, arguments: &[&str], typed: &str) -> (i32, String) {
    let davit = desk.command(arguments);
    let words = std::iter::once(davit.get_program()).chain(davit.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    // `script` of util-linux gives the command a terminal, and ends as it does.
    let mut terminal = std::process::Command::new("script");
    terminal.args(["--quiet", "--return", "--echo", "never", "--command", &line.join(" "), "/dev/null"]);
    terminal.current_dir(desk.path()).env_clear();
    terminal.envs(davit.get_envs().filter_map(|(name, value)| Some((name, value?))));
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn what_is_pruned_at_a_terminal_goes_only_when_the_name_was_typed_twice() {
    let plane = control_plane();
    let desk = saved(plane, "typed", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n");
    make(plane, "typed", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: newer}\n");
    let there = |name: &str| -> Option<Value> { plane.get(&["configmap", name, "-n", "typed"]) };
    let prune = ["snapshot", "restore", "typed@latest", "--prune"];
    for typed in ["typos\n", "typed\ntypo\n", "\n", "yes\nyes\n"] {
        let (code, said) = at_a_terminal(&desk, &prune, typed);
        assert!(code == 3 && said.contains("another name was typed"), "{typed:?}: {code} {said}");
        assert!(
            said.contains("prune configmaps/newer in typed") && said.contains("1 object will be deleted"),
            "{said}"
        );
        assert!(there("newer").is_some(), "{typed:?}");
    }
    let (code, said) = at_a_terminal(&desk, &prune, "typed\ntyped\n");
    assert!(code == 0 && said.contains("Type typed again: ") && said.contains("1 pruned"), "{code} {said}");
    assert!(there("newer").is_none() && there("kept").is_some());
}
