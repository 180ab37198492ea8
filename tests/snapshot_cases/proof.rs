//! Proving a snapshot in a scratch namespace: what is found, and that nothing outside it notices.

use crate::control_support::{ControlPlane, control_plane};
use davit::snapshot::plan::Selector;
use davit::snapshot::verify::{Checked, Request, run};
use serde_json::json;
use std::collections::BTreeSet;

const REACHING: &str = include_str!("../fixtures/snapshot/reaching.yaml");
const OPERATORS: &str = include_str!("../fixtures/snapshot/operators.yaml");

fn request(saved: Vec<davit::snapshot::object::Saved>, namespace: &str, live: &[&str]) -> Request {
    Request {
        saved,
        namespace: namespace.to_owned(),
        scratch: format!("davit-verify-{namespace}"),
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
