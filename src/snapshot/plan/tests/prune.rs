//! What `--prune` takes away, and what it never does.

use super::*;

fn pruning(covered: &[&str]) -> Options {
    Options { prune: true, covered: covered.iter().map(|kind| (*kind).to_owned()).collect(), ..options() }
}

fn extra(group_resource: &str, name: &str, more: Value) -> (Place, Value) {
    live_of(&saved(group_resource, name, json!({})), more)
}

#[test]
fn only_objects_of_kinds_that_the_snapshot_has_completely_go() {
    let all = [saved("configmaps", "kept", json!({}))];
    let live = cluster(
        &all,
        [
            live_of(&all[0], json!({})),
            extra("configmaps", "new", json!({})),
            extra("secrets", "unknown", json!({})),
            extra("events", "e", json!({})),
            (Place::in_namespace("configmaps", "other", "x"), json!({"metadata": {"name": "x", "namespace": "other"}})),
        ],
    );
    let plan = planned(&all, &live, &pruning(&["configmaps", "events"]));
    assert_eq!(told(&plan), ["same configmaps/kept", "prune configmaps/new"]);
    assert_eq!(plan.waves.last().unwrap().1, [1]);
    assert_eq!(told(&planned(&all, &live, &options())), ["same configmaps/kept"]);
}

#[test]
fn what_the_cluster_or_a_controller_makes_is_not_pruned() {
    let all = [saved("configmaps", "kept", json!({}))];
    let owned = json!({"metadata": {"ownerReferences": [{"kind": "X", "name": "x", "uid": "u", "controller": true}]}});
    let live = cluster(
        &all,
        [
            extra("configmaps", "kube-root-ca.crt", json!({})),
            extra("configmaps", "made", owned),
            extra("configmaps", "going", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            extra("serviceaccounts", "default", json!({})),
            extra("secrets", "token", json!({"type": "kubernetes.io/service-account-token"})),
        ],
    );
    let plan = planned(&all, &live, &pruning(&["configmaps", "serviceaccounts", "secrets"]));
    assert_eq!(plan.lines.iter().filter(|line| line.action == Action::Prune).count(), 0, "{:?}", told(&plan));
    assert_eq!(plan.lines.len(), 6);
}

#[test]
fn what_owns_a_claim_stays_because_the_data_would_go_with_it() {
    let all = [saved("configmaps", "kept", json!({}))];
    let owned = |uid: &str| json!({"metadata": {"ownerReferences": [{"kind": "X", "name": "x", "uid": uid}]}});
    let live = cluster(
        &all,
        [
            extra("clusters.postgresql.cnpg.io", "db", json!({})),
            extra("widgets.example.com", "part", owned("new-db")),
            extra("persistentvolumeclaims", "data", owned("new-part")),
            extra(
                "statefulsets.apps",
                "gone",
                json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}),
            ),
            extra("clusters.postgresql.cnpg.io", "empty", json!({})),
        ],
    );
    let plan = planned(&all, &live, &pruning(&["clusters.postgresql.cnpg.io", "statefulsets.apps"]));
    assert_eq!(
        told(&plan)[1..],
        [
            "leave clusters.postgresql.cnpg.io/db: the claim data and its data would go with it; delete it yourself",
            "prune clusters.postgresql.cnpg.io/empty",
            "leave statefulsets.apps/gone: its claims and their data would go with it (whenDeleted: Delete); delete it yourself",
        ]
    );
    assert_eq!(plan.lines[2].kind.kind, "Cluster");
}
