//! What differs and what only looks as if it did.

use super::super::object::{Saved, SavedKind};
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn built_in(kind: &str, left: &Value, right: &Value) -> Vec<String> {
    let changes = compare(kind, Shape::BuiltIn, left, right, &Keep::default());
    changes.iter().map(ToString::to_string).collect()
}

fn kind(group: &str, resource: &str) -> SavedKind {
    SavedKind {
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        kind: resource.into(),
        namespaced: true,
    }
}

#[test]
fn the_servers_fields_the_order_of_keyed_lists_and_spellings_of_amounts_are_no_difference() {
    let left = json!({"metadata": {"name": "web", "uid": "a", "resourceVersion": "1", "finalizers": ["x", "y"]},
        "spec": {"template": {"metadata": {"creationTimestamp": null, "labels": {"a": "b"}}, "spec": {
            "containers": [
                {"name": "web", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                 "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 443, "protocol": "TCP"}]},
                {"name": "log"}],
            "volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}]}},
            "strategy": {"rollingUpdate": {"maxSurge": 1}}},
        "status": {"replicas": 3}});
    let right = json!({"metadata": {"name": "web", "uid": "b", "resourceVersion": "7", "finalizers": ["y", "x"]},
        "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {
            "containers": [
                {"name": "log"},
                {"name": "web", "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
                 "ports": [{"containerPort": 443, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}]}],
            "volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1024Mi"}}]}},
            "strategy": {"rollingUpdate": {"maxSurge": "1"}}}});
    assert_eq!(built_in("deployments.apps", &left, &right), Vec::<String>::new());
}

#[test]
fn a_change_is_told_with_its_path() {
    let left = json!({"metadata": {"annotations": {"a.b/c": "1"}}, "spec": {"replicas": 3, "template": {"spec": {
        "containers": [{"name": "web", "image": "web:1"}, {"name": "old"}]}}}});
    let right = json!({"metadata": {"annotations": {"a.b/c": "2"}}, "spec": {"replicas": 1, "template": {"spec": {
        "containers": [{"name": "web", "image": "web:2"}]}}}});
    insta::assert_snapshot!(built_in("deployments.apps", &left, &right).join("\n"), @r#"
    metadata.annotations["a.b/c"]: "1" → "2"
    spec.replicas: 3 → 1
    spec.template.spec.containers[name=old]: {"name":"old"} → (none)
    spec.template.spec.containers[name=web].image: "web:1" → "web:2"
    "#);
}

#[test]
fn text_is_compared_as_text_wherever_it_is_the_users() {
    let data = |value| json!({"data": {"limits": value}, "metadata": {"labels": {"size": value}}});
    assert_eq!(built_in("configmaps", &data("1"), &data("1000m")).len(), 2);
    let selector = |value| json!({"spec": {"selector": {"matchLabels": {"max": value}}}});
    assert_eq!(built_in("deployments.apps", &selector("1"), &selector("1000m")).len(), 1);
    let empty = json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}});
    assert_eq!(built_in("pods", &empty, &json!({"spec": {"volumes": [{"name": "a"}]}})).len(), 1);
}

#[test]
fn keys_that_are_twice_in_a_list_fall_back_to_the_order() {
    let list = |values: [&str; 2]| {
        json!({"spec": {"containers": [{"env": [
        {"name": "A", "value": values[0]}, {"name": "A", "value": values[1]}]}]}})
    };
    assert_eq!(
        built_in("pods", &list(["1", "2"]), &list(["1", "3"])),
        [r#"spec.containers[0].env[1].value: "2" → "3""#]
    );
}

#[test]
fn nothing_of_a_secret_is_shown_but_its_keys() {
    let left = json!({"metadata": {"annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"password\":\"aHVudGVyMg==\"}}"}},
        "type": "Opaque", "data": {"password": "aHVudGVyMg==", "user": "ZXZh"}});
    let right = json!({"metadata": {}, "type": "Opaque", "data": {"password": "c3dvcmRmaXNo", "host": "ZGI="}});
    let shown = built_in("secrets", &left, &right).join("\n");
    insta::assert_snapshot!(shown, @r"
    data.host: (none) → (hidden)
    data.password: another value (hidden)
    data.user: (hidden) → (none)
    metadata.annotations: (hidden) → (none)
    ");
    let json = serde_json::to_string(&compare("secrets", Shape::BuiltIn, &left, &right, &Keep::default())).unwrap();
    for value in ["aHVudGVyMg", "c3dvcmRmaXNo", "ZXZh", "ZGI="] {
        assert!(!json.contains(value) && !shown.contains(value), "{value} is shown");
    }
    // A Secret that is broken in shape shows no more.
    let broken = built_in("secrets", &json!({"data": "aHVudGVyMg=="}), &json!(["ZGI="]));
    assert_eq!(broken, [": another value (hidden)"]);
}

#[test]
fn the_schema_of_a_custom_kind_says_how_its_lists_are_matched() {
    let schema = json!({"properties": {"spec": {"properties": {
        "rules": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["host", "port"], "items": {}},
        "tags": {"x-kubernetes-list-type": "set"},
        "steps": {"items": {}},
        "port": {"x-kubernetes-int-or-string": true},
        "size": {"x-kubernetes-int-or-string": true, "pattern": "^x"}}}}});
    let body = |rules: Value, tags: Value, steps: Value, port: Value, size: &str| json!({"spec": {"rules": rules, "tags": tags, "steps": steps, "port": port, "size": size}});
    let one = json!([{"host": "a", "port": 1, "to": "x"}, {"host": "a", "port": 2, "to": "y"}]);
    let turned = json!([{"host": "a", "port": 2, "to": "y"}, {"host": "a", "port": 1, "to": "x"}]);
    let left = body(one, json!(["p", "q"]), json!(["1", "2"]), json!(80), "1Gi");
    let right = body(turned, json!(["q", "p"]), json!(["2", "1"]), json!("80"), "1024Mi");
    let changes = compare("widgets.example.com", Shape::Schema(&schema), &left, &right, &Keep::default());
    let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["spec.steps[0]", "spec.steps[1]"]);
    assert_eq!(compare("widgets.example.com", Shape::Unknown, &left, &right, &Keep::default()).len(), 10);
}

#[test]
fn sets_are_compared_object_by_object() {
    let saved = |resource: &str, name: &str, value: &str| {
        Saved::new(kind("", resource), &json!({"metadata": {"name": name, "namespace": "n"}, "data": {"a": value}}))
    };
    let left = [saved("configmaps", "both", "1"), saved("configmaps", "gone", "1"), saved("secrets", "key", "x")];
    let right = [saved("configmaps", "both", "2"), saved("configmaps", "new", "1"), saved("secrets", "key", "x")];
    let diff = compare_sets(&left, &right, &Schemas::new(), &Keep::default());
    assert_eq!(diff.same, 1);
    insta::assert_snapshot!(diff.lines().join("\n"), @r#"
    ~ configmaps/both in n
        data.a: "1" → "2"
    - configmaps/gone in n
    + configmaps/new in n
    "#);
}

#[test]
fn what_is_wanted_holds_when_the_cluster_added_to_it_and_not_when_it_changed_it() {
    let wanted = json!({"spec": {"a": 1}});
    let holds = |there| holds("widgets.example.com", Shape::Unknown, &wanted, &there, &Keep::default());
    assert!(holds(json!({"metadata": {"uid": "u", "finalizers": ["f"]}, "spec": {"a": 1, "b": 2}, "status": {}})));
    assert!(!holds(json!({"spec": {"a": 2}})));
    assert!(!holds(json!({"spec": {}})));
}

/// Any JSON of a small depth.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0i64..5).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(
                proptest::sample::select(&["spec", "name", "containers", "ports", "limits", "data"][..])
                    .prop_map(str::to_owned),
                inner,
                0..4
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_object_equals_itself_and_a_difference_is_seen_from_both_sides(left in values(), right in values()) {
        for shape in [Shape::BuiltIn, Shape::Unknown] {
            let diff = |left: &Value, right: &Value| compare("widgets.example.com", shape, left, right, &Keep::default());
            prop_assert_eq!(diff(&left, &left), vec![]);
            let (there, back) = (diff(&left, &right), diff(&right, &left));
            prop_assert_eq!(there.len(), back.len());
            let paths = |changes: &[Change]| changes.iter().map(|change| change.path.clone()).collect::<BTreeSet<_>>();
            prop_assert_eq!(paths(&there), paths(&back));
        }
    }

    #[test]
    fn no_value_of_a_secret_is_ever_told(left in values(), right in values()) {
        let wrap = |data: &Value| json!({"data": data, "stringData": data, "metadata": {"annotations": data}});
        for change in compare("secrets", Shape::BuiltIn, &wrap(&left), &wrap(&right), &Keep::default()) {
            prop_assert!(!matches!(change.left, Seen::Value(_)) && !matches!(change.right, Seen::Value(_)));
        }
    }
}
