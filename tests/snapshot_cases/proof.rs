//! Proving a snapshot in a scratch namespace: what is found, and that nothing outside it notices.

use crate::cli_support::Desk;
use crate::control_support::{ControlPlane, control_plane};
use davit::snapshot::plan::Selector;
use davit::snapshot::verify::{Checked, Request, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const REACHING: &str = include_str!("../fixtures/snapshot/reaching.yaml");
const OPERATORS: &str = include_str!("../fixtures/snapshot/operators.yaml");

fn request(saved: Vec<davit::snapshot::object::Saved>, namespace: &str, live: &[&str]) -> Request {
    Request {
        saved,
        namespace: namespace.to_owned(),
        scratch: format!("davit-verify-{namespace}"),
        holder: "this test".to_owned(),
        live: live.iter().map(|text| Selector::parse(text)).collect(),
    }
}

fn wrong(checked: &Checked) -> Vec<String> {
    checked.wrong.iter().map(|(place, why)| format!("{place}: {why}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn what_reaches_out_of_a_namespace_is_only_asked_about_and_nothing_is_left_behind() {
    // One of its own: every change that is seen is of this test.
    let plane = ControlPlane::start();
    plane.namespace("reach");
    plane.apply(OPERATORS);
    for name in ["virtualservices.networking.istio.io", "clusters.postgresql.cnpg.io"] {
        plane.await_object(&["crd", name], |body| body["status"]["acceptedNames"]["kind"].is_string());
    }
    crate::support::wait_until(30, "the objects", || {
        plane.kubectl(&["apply", "--server-side", "-n", "reach", "-f", "-"], REACHING).is_ok()
    });
    let saved = plane.saved("reach").await;
    let before = plane.changes().len();
    let checked = run(&plane.means(), request(saved, "reach", &[])).await.unwrap();
    assert_eq!(wrong(&checked), Vec::<String>::new());
    assert!(checked.live >= 4 && checked.dry_run >= 4, "{}", checked.counts());
    assert!(plane.get(&["namespace", "davit-verify-reach"]).is_none());

    // Every change that was asked for is one in the scratch namespace, of a kind that does nothing by itself.
    let changes = plane.changes().split_off(before);
    let outside: Vec<&String> = changes
        .iter()
        .filter(|change| {
            !change.contains(" davit-verify-reach/")
                && !change.contains("namespaces /davit-verify-reach")
                && *change != "create namespaces /"
        })
        .collect();
    assert_eq!(outside, Vec::<&String>::new());
    let kinds: BTreeSet<&str> = changes.iter().filter_map(|change| change.split(' ').nth(1)).collect();
    for kind in ["ingresses", "virtualservices", "clusters", "persistentvolumeclaims", "pods", "daemonsets"] {
        assert!(!kinds.contains(kind), "{changes:#?}");
    }
    for kind in ["configmaps", "services", "deployments", "cronjobs"] {
        assert!(kinds.contains(kind), "{changes:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn an_object_that_the_server_takes_no_longer_or_changes_is_found() {
    let plane = control_plane();
    plane.namespace("spoilt");
    plane.kubectl(&["apply", "--server-side", "-n", "spoilt", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\ndata: {a: b}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 80}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: changed}\n").unwrap();
    let mut saved = plane.saved("spoilt").await;
    for one in &mut saved {
        match one.identity.name.as_str() {
            "bad" => one.body.change(|body| body["spec"]["ports"][0]["port"] = json!(0)),
            // A field that this server does not know is dropped on the way.
            "changed" => one.body.change(|body| body["newField"] = json!(1)),
            _ => {}
        }
    }
    let checked = run(&plane.means(), request(saved, "spoilt", &[])).await.unwrap();
    let told = wrong(&checked);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("services/bad: the server answered 422")), "{told:?}");
    assert!(
        told.iter().any(|line| line == "secrets/changed: it came back as something else: newField: (hidden) → (none)"),
        "{told:?}"
    );
    assert!(checked.live >= 1);
    assert!(plane.get(&["namespace", "davit-verify-spoilt"]).is_none());
}

/// An account that may do all that proving needs, but make policies of the network and give rights that it has not.
const SHORT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: verifier, namespace: short}\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: short}\nrules:\n\
    - {apiGroups: ['*'], resources: ['*'], verbs: [get, list]}\n\
    - {apiGroups: [''], resources: ['*'], verbs: [create, patch, delete]}\n\
    - {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [create]}\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: short}\n\
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: short}\n\
    subjects: [{kind: ServiceAccount, name: verifier, namespace: short}]\n";

const OF_EVERYBODY: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: short}\ndata: {a: b}\n---\n\
    apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: door, namespace: short}\nspec: {podSelector: {}}\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: more, namespace: short}\nrules: [{apiGroups: [''], resources: [pods], verbs: [watch]}]\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: all, namespace: short}\n\
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: ServiceAccount, name: nobody}]\n";

const OF_THE_HOST: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: host, namespace: short}\n\
    spec: {hostNetwork: true, nodeSelector: {kubernetes.io/hostname: nowhere}, containers: [{name: a, image: none.invalid/a}]}\n";

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn an_account_without_a_right_says_nothing_of_the_snapshot_and_admission_does() {
    let plane = control_plane();
    plane.namespace("short");
    plane.apply(SHORT);
    plane.apply(OF_EVERYBODY);
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let said = desk.davit(&["snapshot", "create", "short"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let verify = ["snapshot", "verify", "short@latest", "--depth", "restored"];
    let said = desk.davit(&verify);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);

    let token = plane.kubectl(&["create", "token", "verifier", "-n", "short"], "").unwrap();
    let account = desk.path().join("verifier");
    let config = std::fs::read_to_string(plane.kubeconfig()).unwrap().replace("davit-test-token", token.trim());
    std::fs::write(&account, config).unwrap();
    let short = [&verify[..], &["--kubeconfig", account.to_str().unwrap()]].concat();
    let (code, proof) = desk.json(&short);
    assert_eq!((code, &proof["ok"], &proof["wrong"]), (6, &Value::Null, &json!([])), "{proof:#}");
    let undecided = proof["undecided"].as_object().unwrap();
    let told: BTreeSet<&str> = undecided.keys().map(|why| why.split(" (hint").next().unwrap()).collect();
    let lacking = ["bind roles", "create networkpolicies.networking.k8s.io", "escalate roles"].map(|lacks| {
        let group = if lacks.ends_with("roles") { ".rbac.authorization.k8s.io" } else { "" };
        format!("this account may not {lacks}{group}")
    });
    assert_eq!(told, lacking.iter().map(String::as_str).collect(), "{proof:#}");
    assert!(undecided.keys().all(|why| why.ends_with("(hint: the role davit-restore may)")), "{proof:#}");

    // What nobody may make there, whatever account asks, is no longer what could be restored.
    plane.apply(OF_THE_HOST);
    plane.kubectl(&["label", "namespace", "short", "pod-security.kubernetes.io/enforce=baseline"], "").unwrap();
    let said = desk.davit(&["snapshot", "create", "short"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    for arguments in [&verify[..], &short] {
        let (code, proof) = desk.json(arguments);
        assert_eq!((code, &proof["ok"]), (1, &json!(false)), "{proof:#}");
        assert_eq!(proof["wrong"].as_array().unwrap().len(), 1, "{proof:#}");
        assert!(proof["wrong"].to_string().contains("violates PodSecurity"), "{proof:#}");
    }
    assert!(plane.get(&["namespaces", "-l", "davit.dev/scratch"]).unwrap()["items"].as_array().unwrap().is_empty());
}
