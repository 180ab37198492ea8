//! What is in the way of a restore, on a real API server: fields that never change, and kinds of several versions.

use crate::cli_support::{Desk, Said};
use crate::control_support::control_plane;
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
