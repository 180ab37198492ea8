//! A namespace that is deleted on purpose, against a real control plane: refused until everything is in place, proven, and
//! brought back from its snapshot.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod control_support;
mod support;

use cli_support::{Desk, Said};
use control_support::{ControlPlane, control_plane};
use serde_json::Value;
use std::process::Stdio;
use support::cluster::kubeconfig_with;
use support::wait_until;

/// A namespace with two pods that nobody runs, a setting and a secret.
fn shop(plane: &ControlPlane, namespace: &str) -> Desk {
    plane.namespace(namespace);
    plane.apply(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: {namespace}}}\n\
         spec: {{replicas: 2, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, \
         spec: {{containers: [{{name: web, image: web}}]}}}}}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: {namespace}}}\ndata: {{colour: green}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: payment, namespace: {namespace}}}\nstringData: {{key: swordfish}}\n"
    ));
    plane.await_object(&["deployment", "web", "-n", namespace], |web| web["status"]["replicas"] == 2);
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    desk
}

fn inject(desk: &Desk, namespace: &str, more: &[&str]) -> Said {
    let target = format!("namespace/{namespace}");
    desk.davit(&[&["chaos", "inject", "namespace-delete", "--target", &target][..], more].concat())
}

fn annotate(plane: &ControlPlane, namespace: &str, annotation: &str) {
    plane.kubectl(&["annotate", "namespace", namespace, annotation], "").unwrap();
}

fn uid(plane: &ControlPlane, namespace: &str) -> Option<String> {
    plane.get(&["namespace", namespace]).map(|found| found["metadata"]["uid"].as_str().unwrap().to_owned())
}

fn succeed(desk: &Desk, arguments: &[&str]) {
    let said = desk.davit(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
}

#[test]
#[ignore = "needs the control plane of the test cluster: make test"]
fn a_namespace_is_deleted_only_with_a_proven_snapshot_and_comes_back_from_it() {
    let plane = control_plane();
    let name = "gone-and-back";
    let desk = shop(plane, name);
    let before = uid(plane, name);
    let refused = |more: &[&str], wanted: &[&str]| {
        let said = inject(&desk, name, more);
        assert_eq!(said.code, 3, "{}{}", said.stdout, said.stderr);
        for text in wanted {
            assert!(said.stderr.contains(text), "{text} is not in {}", said.stderr);
        }
        assert_eq!(uid(plane, name), before, "a refusal changes nothing");
    };
    refused(&[], &["guard opt-in", "guard environment", "guard disposable", "guard verified-backup"]);
    annotate(plane, name, "davit.dev/chaos=allowed");
    annotate(plane, name, "davit.dev/environment=staging");
    refused(&[], &["guard disposable", "no backup of this namespace"]);
    refused(&["--lift", "opt-in"], &["guard disposable"]);
    assert_eq!(inject(&desk, name, &["--lift", "disposable"]).code, 2, "what it protects cannot be lifted");
    annotate(plane, name, "davit.dev/disposable=true");
    succeed(&desk, &["snapshot", "create", name]);
    refused(
        &[],
        &[
            "no backup of this namespace was restored and compared",
            " was not restored and compared",
            "davit snapshot verify --depth restored",
        ],
    );
    succeed(&desk, &["snapshot", "verify", &format!("{name}@latest"), "--depth", "restored"]);
    refused(&["--backup-age", "0s"], &["guard verified-backup"]);
    refused(&["--environment", "production"], &["guard environment"]);
    refused(&["--protect", name], &["guard protected-namespace"]);
    let planned = inject(&desk, name, &["--dry-run"]);
    assert!(planned.code == 0 && planned.stdout.contains("nothing undoes it"), "{planned:?}");
    assert_eq!(uid(plane, name), before, "a dry run changes nothing");

    let target = format!("namespace/{name}");
    let (code, document) = desk.json(&["chaos", "inject", "namespace-delete", "--target", &target]);
    assert_eq!((code, document["proven"].as_bool()), (0, Some(true)), "{document:#}");
    let seen = document["proofs"][0]["seen"].as_str().unwrap();
    assert!(seen.contains("none of the 2 pods"), "{seen}");
    assert_eq!(document["healed"][0]["read_back"], "nothing-to-undo");
    wait_until(60, "the namespace being gone", || uid(plane, name).is_none());
    // Nothing is left to undo: its intent is closed.
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
    let nothing = inject(&desk, name, &[]);
    assert!(nothing.code == 2 && nothing.stderr.contains("there is none of that name"), "{nothing:?}");

    succeed(&desk, &["snapshot", "restore", &format!("{name}@latest-verified")]);
    assert!(uid(plane, name).is_some_and(|now| Some(now) != before));
    let secret = plane.get(&["secret", "payment", "-n", name]).unwrap();
    assert_eq!(secret["data"]["key"], "c3dvcmRmaXNo");
    // What was saved of the old namespace is no backup of the new one.
    let said = inject(&desk, name, &[]);
    assert!(said.code == 3 && said.stderr.contains("the repository has no backup of this namespace; "), "{said:?}");
    assert!(said.stderr.contains("was restored and compared, but it is of another namespace"), "{said:?}");
}

#[test]
#[ignore = "needs the control plane of the test cluster: make test"]
fn a_copy_of_an_open_intent_lies_in_the_cluster_until_it_is_closed() {
    let plane = control_plane();
    let (name, home) = ("copied", "copied-home");
    let mut desk = shop(plane, name);
    desk.set("DAVIT_LEASE_TERM", "15s");
    plane.namespace(home);
    for annotation in ["davit.dev/chaos=allowed", "davit.dev/environment=staging"] {
        annotate(plane, name, annotation);
    }
    let target = format!("{name}/deployment/web");
    let scale =
        ["chaos", "inject", "scale-to-zero", "--target", &target, "--lift", "quorum", "--helper-namespace", home];
    plane.kubectl(&["create", "serviceaccount", "davit-chaos", "-n", home], "").unwrap();
    let mut child = desk.command(&[&scale[..], &["--for", "5m"]].concat()).spawn().unwrap();
    // There is no node here: what a kubelet would say of the fuse, the test says.
    let fuse = || {
        let listed = plane.get(&["pods", "-n", home, "-l", "davit.dev/mode=fuse"]).unwrap();
        listed["items"][0]["metadata"]["name"].as_str().map(str::to_owned)
    };
    wait_until(60, "the fuse", || fuse().is_some());
    let running = r#"{"status":{"phase":"Running"}}"#;
    plane.kubectl(&["patch", "pod", &fuse().unwrap(), "-n", home, "--subresource=status", "-p", running], "").unwrap();
    let copies = || {
        let listed = plane.get(&["configmaps", "-n", home, "-l", "app.kubernetes.io/managed-by=davit"]).unwrap();
        listed["items"].as_array().unwrap().clone()
    };
    wait_until(30, "the copy", || copies().len() == 1);
    wait_until(60, "no pods", || plane.get(&["pods", "-n", name]).unwrap()["items"].as_array().unwrap().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let copy = &copies()[0]["data"];
    assert_eq!((copy["fault"].as_str(), copy["undo"].as_str()), (Some("scale-to-zero"), Some("scale it back to 2")));
    let janitor = copy["what-to-do"].as_str().unwrap();
    let mut words: Vec<&str> = janitor.split(' ').skip(1).collect();
    words.extend(["--helper-namespace", home]);
    succeed(&desk, &words);
    assert!(copies().is_empty(), "{:#?}", copies());
    assert_eq!(plane.get(&["deployment", "web", "-n", name]).unwrap()["spec"]["replicas"], 2);
}

#[test]
#[ignore = "needs the control plane of the test cluster: make test"]
fn a_volume_whose_files_nobody_saved_keeps_its_namespace() {
    let plane = control_plane();
    let name = "gone-volume";
    let desk = shop(plane, name);
    for annotation in ["davit.dev/chaos=allowed", "davit.dev/environment=staging", "davit.dev/disposable=true"] {
        annotate(plane, name, annotation);
    }
    plane.apply(&format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], \
         persistentVolumeReclaimPolicy: Retain, storageClassName: '', hostPath: {{path: /nowhere}}, \
         claimRef: {{namespace: {name}, name: data}}}}\n---\n\
         apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data, namespace: {name}}}\n\
         spec: {{accessModes: [ReadWriteOnce], storageClassName: '', volumeName: {name}, resources: {{requests: {{storage: 1Gi}}}}}}\n"
    ));
    plane.await_object(&["pvc", "data", "-n", name], |claim| claim["status"]["phase"] == "Bound");
    succeed(&desk, &["snapshot", "create", name]);
    succeed(&desk, &["snapshot", "verify", &format!("{name}@latest"), "--depth", "restored"]);
    let said = inject(&desk, name, &["--dry-run"]);
    assert!(said.code == 3 && said.stderr.contains("1 of its volumes would be lost"), "{said:?}");
    // Its owner says that nobody will miss it.
    plane.kubectl(&["annotate", "pvc", "data", "-n", name, "davit.dev/volume=skip"], "").unwrap();
    let said = inject(&desk, name, &["--dry-run"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
#[ignore = "needs the control plane of the test cluster: make test"]
fn an_account_with_the_printed_roles_may_delete_that_namespace_and_no_other() {
    let plane = control_plane();
    let (name, other, home) = ("gone-rbac", "gone-not", "gone-home");
    let mut desk = shop(plane, name);
    for namespace in [other, home] {
        plane.namespace(namespace);
    }
    for annotation in ["davit.dev/chaos=allowed", "davit.dev/environment=staging", "davit.dev/disposable=true"] {
        annotate(plane, name, annotation);
        annotate(plane, other, annotation);
    }
    for namespace in [name, other] {
        succeed(&desk, &["snapshot", "create", namespace]);
        succeed(&desk, &["snapshot", "verify", &format!("{namespace}@latest"), "--depth", "restored"]);
    }
    let roles = desk.davit(&[
        "chaos",
        "rbac",
        "namespace-delete",
        "--namespace",
        name,
        "--account",
        "drills",
        "--helper-namespace",
        home,
    ]);
    assert!(roles.code == 0 && !roles.stdout.contains('*'), "{roles:?}");
    plane.kubectl(&["apply", "-f", "-"], &roles.stdout).unwrap();
    plane.kubectl(&["create", "serviceaccount", "drills", "-n", home], "").unwrap();
    let token = plane.kubectl(&["create", "token", "drills", "-n", home], "").unwrap();
    let administrators = plane.kubectl(&["config", "view", "--raw", "-o", "json"], "").unwrap();
    desk.write("account", &kubeconfig_with(&token, &administrators));
    let file = desk.path().join("account");
    desk.set("KUBECONFIG", file.to_str().unwrap());
    wait_until(30, "the roles in force", || inject(&desk, name, &["--dry-run"]).code == 0);
    let said = inject(&desk, other, &["--dry-run"]);
    assert!(said.code == 3, "{said:?}");
    // It may not make again what it would delete: a drill that is to bring it back is refused before anything is gone.
    let file_of_drill = format!("{}/scenarios/namespace-deleted.yaml", env!("CARGO_MANIFEST_DIR"));
    let set = [
        "target.cluster.clients=http://127.0.0.1:9/".to_owned(),
        format!("target.cluster.namespace={name}"),
        "target.cluster.pods=app=web".to_owned(),
        format!("recovery.source={name}"),
    ];
    let settings: Vec<&str> = set.iter().flat_map(|set| ["--set", set.as_str()]).collect();
    let plan = [&["drill", file_of_drill.as_str(), "--dry-run", "--helper-namespace", home], &settings[..]].concat();
    let said = desk.davit(&plan);
    assert!(said.code == 3 && said.stderr.contains("this account may not create "), "{said:?}");
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    succeed(&desk, &plan);
    desk.set("KUBECONFIG", file.to_str().unwrap());
    // The role lies in the namespace and goes with it: after the pods in newer control planes, in older ones in any order.
    let pods = plane.get(&["pods", "-n", name]).unwrap();
    let slow = pods["items"][0]["metadata"]["name"].as_str().unwrap();
    let finalizers = |list: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{list}}}}}"#);
        plane.kubectl(&["patch", "pod", slow, "-n", name, "--type=merge", "-p", &patch], "").unwrap();
    };
    finalizers(r#"["davit.dev/slow"]"#);
    let words = ["chaos", "inject", "namespace-delete", "--target", &format!("namespace/{name}"), "--output", "json"];
    let child = desk.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    plane.await_object(&["pod", slow, "-n", name], |pod| !pod["metadata"]["deletionTimestamp"].is_null());
    let before = plane.lists_refused("pods", name);
    plane.kubectl(&["delete", "role", "drills", "-n", name], "").unwrap();
    // The server goes by its own copy of the roles, which is a moment behind, and a list that it has let in may read later.
    wait_until(30, "the role out of force", || plane.lists_refused("pods", name) > before);
    finalizers("null");
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&said.stdout).unwrap();
    let seen = document["proofs"][0]["seen"].as_str().unwrap();
    assert!(seen.contains("is gone with its pods"), "{seen}");
}
