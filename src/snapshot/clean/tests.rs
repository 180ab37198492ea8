//! One test per row of the table, and that nothing else is touched.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, json};

/// A value that the row's condition lets go.
fn value_for(row: &Row) -> Value {
    match row.when {
        When::NotNone if row.path.ends_with(&["clusterIPs"]) => json!(["10.0.0.1"]),
        When::NotNone => json!("10.0.0.1"),
        When::NamedLikeTokenVolume => json!({"name": "kube-api-access-x7k2p"}),
        _ => json!("of the server"),
    }
}

/// An object that has only what the path points to, twice where it says `*`.
fn object_with(path: &[Step], value: Value) -> Value {
    match path {
        [] => value,
        ["*", rest @ ..] => json!([object_with(rest, value.clone()), object_with(rest, value)]),
        [first, rest @ ..] => {
            let mut map = Map::new();
            map.insert((*first).to_owned(), object_with(rest, value));
            Value::Object(map)
        }
    }
}

fn merged(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merged(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn found(value: &Value, path: &[Step]) -> usize {
    match path {
        [] => 1,
        ["*", rest @ ..] => value.as_array().map_or(0, |list| list.iter().map(|one| found(one, rest)).sum()),
        [first, rest @ ..] => value.get(first).map_or(0, |next| found(next, rest)),
    }
}

/// What a row needs around it to count.
fn circumstances(row: &Row) -> Value {
    match row.when {
        When::TokenSecret => json!({"type": "kubernetes.io/service-account-token"}),
        _ => json!({}),
    }
}

#[test]
fn every_row_takes_what_it_says_from_its_kinds_and_from_no_other() {
    for row in TABLE {
        let mut body = object_with(row.path, value_for(row));
        merged(&mut body, circumstances(row));
        let kinds = if row.kinds.is_empty() { &["widgets.example.com"][..] } else { row.kinds };
        for kind in kinds {
            let mut one = body.clone();
            let took = clean(kind, &mut one, &Keep::default());
            assert_eq!(found(&one, row.path), 0, "{kind} {:?} is left", row.path);
            assert!(took.iter().any(|by| by.path == row.path), "{kind} {:?} was taken by another row", row.path);
            assert!(is_servers(kind, row.path), "{kind} {:?}", row.path);
        }
        if !row.kinds.is_empty() {
            let mut other = body.clone();
            clean("widgets.example.com", &mut other, &Keep::default());
            assert_ne!(found(&other, row.path), 0, "{:?} went from a kind that the row does not name", row.path);
        }
        assert!(!row.why.is_empty() && !row.why.ends_with('.'), "{:?}", row.path);
    }
}

#[test]
fn no_two_rows_say_the_same() {
    for (at, row) in TABLE.iter().enumerate() {
        for other in &TABLE[at + 1..] {
            let same = row.path == other.path
                && (row.kinds.is_empty()
                    || other.kinds.is_empty()
                    || row.kinds.iter().any(|kind| other.kinds.contains(kind)));
            assert!(!same, "{:?} twice", row.path);
        }
    }
}

#[test]
fn what_the_user_asks_to_keep_stays() {
    let service = json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}], "healthCheckNodePort": 31000,
        "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}, "status": {"loadBalancer": {}}});
    let mut kept = service.clone();
    let keep = Keep { node_ports: true, status: ["services".to_owned()].into(), volume: false };
    clean("services", &mut kept, &keep);
    assert_eq!(
        kept,
        json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}], "healthCheckNodePort": 31000},
            "status": {"loadBalancer": {}}})
    );
    let mut cleaned = service;
    clean("services", &mut cleaned, &Keep::default());
    assert_eq!(cleaned, json!({"spec": {"ports": [{"port": 80}]}}));
}

#[test]
fn a_headless_service_stays_headless_and_a_chosen_selector_stays_chosen() {
    let mut service = json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}});
    assert!(clean("services", &mut service, &Keep::default()).is_empty());
    let mut job = json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"job": "mine"}}}});
    assert!(clean("jobs.batch", &mut job, &Keep::default()).is_empty());
}

#[test]
fn an_opaque_secret_keeps_its_data_and_a_claim_its_volume_if_that_comes_too() {
    let mut secret = json!({"type": "Opaque", "data": {"a": "Yg=="}});
    assert!(clean("secrets", &mut secret, &Keep::default()).is_empty());
    let mut claim = json!({"spec": {"volumeName": "pv-1"}});
    assert!(clean("persistentvolumeclaims", &mut claim, &Keep { volume: true, ..Keep::default() }).is_empty());
}

#[test]
fn a_users_volume_that_is_named_a_little_like_a_token_stays() {
    let body = json!({"spec": {"volumes": [{"name": "kube-api-access-of-mine"}, {"name": "kube-api-access-ab1de"}]}});
    let mut cleaned = body;
    clean("pods", &mut cleaned, &Keep::default());
    assert_eq!(cleaned, json!({"spec": {"volumes": [{"name": "kube-api-access-of-mine"}]}}));
}

#[test]
fn a_replacement_takes_over_what_the_server_assigned_and_never_the_rest() {
    let live = json!({"spec": {"volumeName": "pv-1", "resources": {"requests": {"storage": "1Gi"}}}});
    let mut wanted = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    carry_over("persistentvolumeclaims", &mut wanted, &live);
    assert_eq!(wanted, json!({"spec": {"volumeName": "pv-1", "resources": {"requests": {"storage": "2Gi"}}}}));

    let live = json!({"spec": {"selector": {"matchLabels": {"controller-uid": "new"}},
        "template": {"metadata": {"labels": {"controller-uid": "new", "app": "live"}}}}});
    let mut wanted = json!({"spec": {"template": {"metadata": {"labels": {"app": "web"}}}}});
    carry_over("jobs.batch", &mut wanted, &live);
    assert_eq!(wanted["spec"]["selector"], live["spec"]["selector"]);
    assert_eq!(wanted["spec"]["template"]["metadata"]["labels"], json!({"controller-uid": "new", "app": "web"}));
}

proptest! {
    #[test]
    fn cleaning_twice_is_cleaning_once(
        rows in proptest::collection::vec(0..TABLE.len(), 0..8),
        kind in proptest::sample::select(&["pods", "services", "jobs.batch", "secrets", "persistentvolumeclaims", "widgets.example.com"][..]),
    ) {
        let mut body = json!({"metadata": {"name": "a", "labels": {"app": "a"}}, "spec": {"own": 1}});
        for row in rows {
            let row = &TABLE[row];
            merged(&mut body, object_with(row.path, value_for(row)));
            merged(&mut body, circumstances(row));
        }
        clean(kind, &mut body, &Keep::default());
        let once = body.clone();
        prop_assert!(clean(kind, &mut body, &Keep::default()).is_empty());
        prop_assert_eq!(&body, &once);
        prop_assert_eq!(&once["metadata"]["name"], "a");
        prop_assert_eq!(&once["metadata"]["labels"]["app"], "a");
    }
}
