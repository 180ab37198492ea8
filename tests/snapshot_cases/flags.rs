//! What is in the way of a restore, on a real API server: fields that never change, and kinds of several versions.

use crate::cli_support::{Desk, Said};
use crate::control_support::control_plane;
use crate::support::wait_until;
use serde_json::json;

const FIXED: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: OLD}}\n  \
template: {metadata: {labels: {app: OLD}}, spec: {containers: [{name: a, image: 'a:1'}]}}\n---\n\
apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  replicas: 0\n  serviceName: OLD\n  selector: {matchLabels: {app: db}}\n  \
template: {metadata: {labels: {app: db}}, spec: {containers: [{name: a, image: 'a:1'}]}}\n---\n\
apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sealed}\nimmutable: true\ndata: {a: OLD}\n";

fn desk() -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", control_plane().kubeconfig().to_str().unwrap());
    desk
}

fn told(said: &Said) -> String {
    format!("{}{}", said.stdout, said.stderr)
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_field_that_never_changes_is_refused_with_what_makes_the_object_anew() {
    let plane = control_plane();
    plane.namespace("fixed");
    let apply = |word: &str| {
        let yaml = FIXED.replace("OLD", word);
        plane.kubectl(&["create", "-n", "fixed", "-f", "-"], &yaml).unwrap();
    };
    apply("before");
    let desk = desk();
    let said = desk.davit(&["snapshot", "create", "fixed"]);
    assert_eq!(said.code, 0, "{}", told(&said));
    plane.kubectl(&["delete", "deployment/web", "statefulset/db", "configmap/sealed", "-n", "fixed"], "").unwrap();
    apply("after");

    let kinds = ["deployments.apps/web", "statefulsets.apps/db", "configmaps/sealed"];
    for mode in ["merge", "replace"] {
        let restore = ["snapshot", "restore", "fixed@latest", "--on-conflict", mode];
        for more in [&["--plan"][..], &[]] {
            let said = desk.davit(&[&restore[..], more].concat());
            assert_eq!(said.code, 1, "{mode} {more:?}: {}", told(&said));
            for kind in kinds {
                let hint = format!("(hint: --recreate {kind} deletes it and makes it anew)");
                assert!(said.stdout.contains(&hint), "{mode} {more:?}: {hint}\n{}", told(&said));
            }
        }
    }
    let said = desk.davit(&["snapshot", "restore", "fixed@latest", "--recreate", &kinds.join(",")]);
    assert!(said.code == 0 && said.stdout.contains("3 recreated"), "{}", told(&said));
    let there = plane.get(&["configmap", "sealed", "-n", "fixed"]).unwrap();
    assert_eq!(there["data"]["a"], "before");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_kind_of_istio_in_three_versions_is_saved_once_as_it_is_stored() {
    let plane = control_plane();
    plane.namespace("mesh");
    let version = |name: &str| {
        let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({"name": name, "served": true, "storage": name == "v1beta1", "schema": open})
    };
    let versions: Vec<_> = ["v1", "v1beta1", "v1alpha3"].into_iter().map(version).collect();
    // Another group than the real one, which other tests of this control plane define with one version.
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "virtualservices.networking.istio.example"}, "spec": {"group": "networking.istio.example",
            "scope": "Namespaced", "names": {"plural": "virtualservices", "kind": "VirtualService"}, "versions": versions}});
    plane.apply(&definition.to_string());
    let object = json!({"apiVersion": "networking.istio.example/v1alpha3", "kind": "VirtualService",
        "metadata": {"name": "web"}, "spec": {"hosts": ["web.example.com"]}});
    wait_until(30, "the kind", || plane.kubectl(&["create", "-n", "mesh", "-f", "-"], &object.to_string()).is_ok());
    let desk = desk();
    let (code, said) = desk.json(&["snapshot", "create", "mesh"]);
    assert_eq!(code, 0, "{said:#}");
    let kinds = said["points"][0]["kinds"].as_array().unwrap();
    let found: Vec<_> =
        kinds.iter().filter(|kind| kind["kind"] == "virtualservices.networking.istio.example").collect();
    assert_eq!(
        (found.len(), &found[0]["version"], &found[0]["objects"]),
        (1, &json!("v1beta1"), &json!(1)),
        "{said:#}"
    );
    let said = desk.davit(&["snapshot", "restore", "mesh@latest", "--into", "mesh-copy"]);
    assert_eq!(said.code, 0, "{}", told(&said));
    let copy = plane.get(&["virtualservices.v1.networking.istio.example", "web", "-n", "mesh-copy"]).unwrap();
    assert_eq!(copy["spec"]["hosts"], json!(["web.example.com"]));
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_pod_with_an_account_of_its_own_is_proven() {
    let plane = control_plane();
    plane.namespace("accounted");
    let pod = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {serviceAccountName: web, containers: [{name: a, image: 'a:1'}]}\n";
    plane.kubectl(&["create", "-n", "accounted", "-f", "-"], pod).unwrap();
    let desk = desk();
    let said = desk.davit(&["snapshot", "create", "accounted"]);
    assert_eq!(said.code, 0, "{}", told(&said));
    let (code, proof) = desk.json(&["snapshot", "verify", "accounted@latest", "--depth", "restored"]);
    assert_eq!((code, &proof["wrong"]), (0, &json!([])), "{proof:#}");
}
