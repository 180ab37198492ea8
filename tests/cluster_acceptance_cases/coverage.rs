//! What `kubectl get all,configmap,secret` misses of a namespace: the table of the documentation, held to a real cluster.

use super::accounts::{Beside, leaning};
use crate::cli_support::Desk;
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use std::collections::BTreeMap;

/// `ingresses.networking.k8s.io` of `ingress.networking.k8s.io`.
fn plural(name: &str) -> String {
    let (kind, group) = name.split_once('.').map_or((name, String::new()), |(kind, group)| (kind, format!(".{group}")));
    let many = match kind {
        kind if kind.ends_with('s') => format!("{kind}es"),
        kind if kind.ends_with('y') => format!("{}ies", &kind[..kind.len() - 1]),
        kind => format!("{kind}s"),
    };
    format!("{many}{group}")
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn the_table_of_what_kubectl_misses_is_true() {
    let cluster = Cluster::shared();
    let namespace = leaning(&cluster, "sample");
    let _beside = Beside(&cluster, namespace.name.clone());
    namespace.apply_fixture("sample.yaml");
    wait_until(30, "what the controllers make of it", || !namespace.kubectl("get replicasets -o name").is_empty());
    let mut theirs: BTreeMap<String, u64> = BTreeMap::new();
    for line in namespace.kubectl("get all,configmap,secret -o name").lines() {
        *theirs.entry(plural(line.split('/').next().unwrap())).or_default() += 1;
    }
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    let said = desk.davit(&["snapshot", "create", &namespace.name]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let shown = desk.json(&["snapshot", "show", &format!("{}@latest", namespace.name)]).1;
    let mut ours: BTreeMap<String, u64> = BTreeMap::new();
    for kind in shown["coverage"]["kinds"].as_array().unwrap() {
        let count = kind["objects"].as_u64().unwrap();
        if count > 0 {
            *ours.entry(kind["kind"].as_str().unwrap().to_owned()).or_default() += count;
        }
    }
    for (kind, count) in &theirs {
        assert!(
            ours.get(kind).is_some_and(|ours| ours >= count),
            "{kind}: kubectl has {count}, davit {:?}",
            ours.get(kind)
        );
    }
    let lines: Vec<String> = ours
        .iter()
        .map(|(kind, count)| format!("| {kind} | {} | {count} |", theirs.get(kind).copied().unwrap_or(0)))
        .collect();
    let (them, us): (u64, u64) = (theirs.values().sum(), ours.values().sum());
    let table = format!("|---|---|---|\n{}\n| all of them | {them} | {us} |\n", lines.join("\n"));
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kubernetes.md")).unwrap();
    assert!(page.contains(&table), "docs/kubernetes.md should have:\n{table}");
}
