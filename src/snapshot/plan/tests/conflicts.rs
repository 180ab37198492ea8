//! Objects that are there already.

use super::*;
use proptest::prelude::*;

fn web(replicas: u64) -> Saved {
    saved("deployments.apps", "web", json!({"metadata": {"labels": {"app": "web"}}, "spec": {"replicas": replicas}}))
}

#[test]
fn an_object_that_is_there_and_equal_is_left_in_every_mode() {
    let all = [web(3)];
    let there = live_of(&all[0], json!({"status": {"replicas": 3}, "metadata": {"generation": 4}}));
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Merge, OnConflict::Replace] {
        assert_eq!(
            told(&planned(&all, &cluster(&all, [there.clone()]), &mode(on_conflict))),
            ["same deployments.apps/web"]
        );
    }
}

#[test]
fn an_object_that_differs_is_treated_as_the_mode_says() {
    let all = [web(3)];
    let there = live_of(
        &all[0],
        json!({"spec": {"replicas": 5, "paused": true},
        "metadata": {"ownerReferences": [{"kind": "X", "name": "x", "uid": "u"}]}}),
    );
    let one = |options: &Options| {
        let plan = planned(&all, &cluster(&all, [there.clone()]), options);
        assert_eq!(
            plan.conflicts().count(),
            usize::from(options.on_conflict == OnConflict::Fail && options.recreate.is_empty())
        );
        let line = plan.lines[0].clone();
        let changes: Vec<String> = line.changes.iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["spec.paused: true → (none)", "spec.replicas: 5 → 3"]);
        line
    };
    assert_eq!(one(&options()).action, Action::Refuse("it is there and differs".to_owned()));
    assert_eq!(
        one(&mode(OnConflict::Skip)).action,
        Action::Leave("it is there and differs (--on-conflict skip)".to_owned())
    );
    let merge = one(&mode(OnConflict::Merge));
    assert_eq!((merge.action, merge.body.open()), (Action::Merge, json!({"spec": {"replicas": 3}})));
    let replace = one(&mode(OnConflict::Replace));
    assert_eq!(replace.action, Action::Replace);
    assert_eq!(replace.body.open()["spec"], json!({"replicas": 3}));
    assert_eq!(
        replace.body.open()["metadata"],
        json!({"name": "web", "namespace": "shop", "labels": {"app": "web"}, "resourceVersion": "99", "uid": "new-web",
            "ownerReferences": [{"kind": "X", "name": "x", "uid": "u"}]})
    );
    let recreate = one(&Options { recreate: vec![Selector::parse("deployments")], ..options() });
    assert_eq!((recreate.action, recreate.mark), (Action::Recreate, Mark::Recreate));
}

#[test]
fn a_namespace_a_definition_a_volume_and_a_claim_are_recreated_and_pruned_by_no_mode() {
    let all = [
        saved("namespaces", "shop", json!({"metadata": {"labels": {"a": "1"}}})),
        saved("customresourcedefinitions.apiextensions.k8s.io", "w.example.com", json!({"spec": {"a": 1}})),
        saved("persistentvolumes", "pv", json!({"spec": {"capacity": {"storage": "1Gi"}}})),
        saved("persistentvolumeclaims", "data", json!({"spec": {"storageClassName": "fast"}})),
    ];
    let live = all.iter().map(|one| live_of(one, json!({"spec": {"a": 2}, "metadata": {"labels": {"a": "2"}}})));
    let live = cluster(&all, live.collect::<Vec<_>>());
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Merge, OnConflict::Replace] {
        let options = Options {
            recreate: vec![Selector::parse("*")],
            include_cluster: vec![Selector::parse("*")],
            prune: true,
            covered: all.iter().map(|one| one.kind.group_resource()).collect(),
            ..mode(on_conflict)
        };
        for saved in [&all[..], &all[..1]] {
            let plan = planned(saved, &live, &options);
            let deletes = |line: &&Line| matches!(line.action, Action::Recreate | Action::Prune);
            assert_eq!(plan.lines.iter().filter(deletes).count(), 0, "{:?}", told(&plan));
        }
    }
}

#[test]
fn what_this_restore_made_before_it_was_interrupted_is_known_again() {
    let all = [web(3)];
    let managed = |manager: &str, more: Value| {
        let mut there = live_of(
            &all[0],
            json!({"metadata": {"managedFields": [{"manager": manager, "operation": "Update"}],
            "annotations": {"controller": "added"}}}),
        );
        super::super::super::map::patch::merge(&mut there.1, &more);
        told(&planned(&all, &cluster(&all, [there]), &options()))
    };
    assert_eq!(managed(MANAGER, json!({})), ["same deployments.apps/web"]);
    assert_eq!(managed("kubectl", json!({})), ["refuse deployments.apps/web: it is there and differs"]);
    assert_eq!(
        managed(MANAGER, json!({"spec": {"replicas": 9}})),
        ["refuse deployments.apps/web: it is there and differs"]
    );
}

#[test]
fn what_somebody_added_to_what_this_restore_made_or_merged_is_a_difference() {
    let all = [web(3)];
    let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
    let noted = json!({"f:metadata": {"f:annotations": {".": {}, "f:note": {}}}});
    let there = |who: &str| {
        let managers = [entry(MANAGER, json!({"f:spec": {"f:replicas": {}}})), entry(who, noted.clone())];
        live_of(&all[0], json!({"metadata": {"managedFields": managers, "annotations": {"note": "x"}}}))
    };
    let of = |who: &str, mode_is: OnConflict| planned(&all, &cluster(&all, [there(who)]), &mode(mode_is));
    assert_eq!(told(&of("kubectl-edit", OnConflict::Fail)), ["refuse deployments.apps/web: it is there and differs"]);
    let replace = of("kubectl-edit", OnConflict::Replace);
    assert_eq!(told(&replace), ["replace deployments.apps/web"]);
    assert_eq!(replace.lines[0].body.open()["metadata"].get("annotations"), None);
    assert_eq!(told(&of("kubectl-edit", OnConflict::Merge)), ["same deployments.apps/web"]);
    for on_conflict in [OnConflict::Fail, OnConflict::Replace] {
        let plan = of("kube-controller-manager", on_conflict);
        assert_eq!(told(&plan), ["same deployments.apps/web"]);
        assert_eq!(plan.lines[0].changes, []);
    }
}

#[test]
fn an_object_that_is_going_away_is_not_taken_for_one_that_is_there() {
    let all = [web(3)];
    let there = live_of(&all[0], json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    let plan = planned(&all, &cluster(&all, [there]), &mode(OnConflict::Replace));
    assert_eq!(told(&plan), ["refuse deployments.apps/web: it is being deleted; try again when it is gone"]);
    assert_eq!(plan.conflicts().count(), 0);
}

fn bodies() -> impl Strategy<Value = Value> {
    let field = proptest::option::of(0i64..3);
    (field.clone(), field.clone(), field).prop_map(|(a, b, c)| {
        let mut spec = serde_json::Map::new();
        for (name, value) in [("a", a), ("b", b), ("c", c)] {
            if let Some(value) = value {
                spec.insert(name.to_owned(), json!(value));
            }
        }
        json!({"spec": spec})
    })
}

proptest! {
    #[test]
    fn whatever_is_there_merging_ends_with_all_that_was_saved_and_replacing_with_nothing_else(
        before in bodies(), now in bodies(),
    ) {
        let all = [saved("configmaps", "a", before.clone())];
        let fresh = saved("configmaps", "a", now.clone());
        let there = live_of(&fresh, json!({}));
        let live = cluster(&all, [there.clone()]);
        let merged = planned(&all, &live, &mode(OnConflict::Merge));
        let mut after = there.1.clone();
        if merged.lines[0].action == Action::Merge {
            super::super::super::map::patch::merge(&mut after, &merged.lines[0].body.open());
        }
        for (name, value) in before["spec"].as_object().unwrap() {
            prop_assert_eq!(&after["spec"][name], value);
        }
        let replaced = planned(&all, &live, &mode(OnConflict::Replace));
        if replaced.lines[0].action == Action::Replace {
            prop_assert_eq!(&replaced.lines[0].body.open()["spec"], &before["spec"]);
        } else {
            prop_assert_eq!(&now["spec"], &before["spec"]);
        }
    }
}
