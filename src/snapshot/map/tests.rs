//! What is rewritten, what is reported, and what is left alone.

use super::super::object::SavedKind;
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

#[expect(clippy::needless_pass_by_value, reason = "the literals of a test are values")]
fn saved(group: &str, resource: &str, namespaced: bool, body: Value) -> Saved {
    let kind = SavedKind {
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        kind: resource.into(),
        namespaced,
    };
    Saved::new(&kind, &body)
}

fn into(to: &str) -> Mapping {
    Mapping { namespaces: [("shop".to_owned(), to.to_owned())].into(), ..Mapping::default() }
}

fn mapped(mapping: &Mapping, saved: Saved) -> (Saved, Mapped) {
    let mut all = [saved];
    let mapped = mapping.apply(&mut all).unwrap();
    let [saved] = all;
    (saved, mapped)
}

/// Objects of one namespace, and what they become in another one.
fn in_the_namespace() -> Vec<(Saved, Value)> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    vec![
        (
            saved(
                "",
                "namespaces",
                false,
                json!({"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}}}),
            ),
            json!({"metadata": {"name": "copy", "labels": {"kubernetes.io/metadata.name": "copy"}}}),
        ),
        (
            saved(
                "",
                "configmaps",
                true,
                json!({"metadata": {"name": "shop", "namespace": "shop"}, "data": {"a": "shop"}}),
            ),
            json!({"metadata": {"name": "shop", "namespace": "copy"}, "data": {"a": "shop"}}),
        ),
        (
            saved(
                RBAC,
                "rolebindings",
                true,
                json!({"metadata": {"name": "b", "namespace": "shop"}, "subjects": [
                {"kind": "ServiceAccount", "name": "web", "namespace": "shop"},
                {"kind": "ServiceAccount", "name": "web", "namespace": "other"},
                {"kind": "Group", "name": "system:serviceaccounts:shop"},
                {"kind": "User", "name": "system:serviceaccount:shop:web"}]}),
            ),
            json!({"metadata": {"name": "b", "namespace": "copy"}, "subjects": [
                {"kind": "ServiceAccount", "name": "web", "namespace": "copy"},
                {"kind": "ServiceAccount", "name": "web", "namespace": "other"},
                {"kind": "Group", "name": "system:serviceaccounts:copy"},
                {"kind": "User", "name": "system:serviceaccount:copy:web"}]}),
        ),
        (
            saved(
                "",
                "persistentvolumes",
                false,
                json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "shop", "name": "data"}}}),
            ),
            json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "copy", "name": "data"}}}),
        ),
    ]
}

/// Objects that name a namespace which is not theirs.
fn from_outside() -> Vec<(Saved, Value)> {
    vec![
        (
            saved(
                "networking.k8s.io",
                "networkpolicies",
                true,
                json!({"metadata": {"name": "p", "namespace": "other"}, "spec": {"ingress": [
                {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop", "app": "shop"}}},
                    {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "x"]}]}}]}]}}),
            ),
            json!({"metadata": {"name": "p", "namespace": "other"}, "spec": {"ingress": [
                {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "copy", "app": "shop"}}},
                    {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["copy", "x"]}]}}]}]}}),
        ),
        (
            saved(
                "admissionregistration.k8s.io",
                "validatingwebhookconfigurations",
                false,
                json!({"metadata": {"name": "w"}, "webhooks": [{"clientConfig": {"service": {"namespace": "shop", "name": "hook"}}}]}),
            ),
            json!({"metadata": {"name": "w"}, "webhooks": [{"clientConfig": {"service": {"namespace": "copy", "name": "hook"}}}]}),
        ),
        (
            saved(
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                false,
                json!({"metadata": {"name": "w"},
                "spec": {"conversion": {"webhook": {"clientConfig": {"service": {"namespace": "shop"}}}}}}),
            ),
            json!({"metadata": {"name": "w"}, "spec": {"conversion": {"webhook": {"clientConfig": {"service": {"namespace": "copy"}}}}}}),
        ),
    ]
}

#[test]
fn every_place_where_the_api_names_a_namespace_is_rewritten() {
    for (before, wanted) in in_the_namespace().into_iter().chain(from_outside()) {
        let goes_to = into("copy").goes_to(before.identity.place());
        let (after, told) = mapped(&into("copy"), before);
        assert_eq!(after.body, wanted);
        assert_eq!(after.identity.place(), goes_to);
        assert_eq!(told.unresolved, [], "{wanted}");
        let name = crate::snapshot::object::namespace(&after.body.open()).map(str::to_owned);
        assert_eq!(
            (after.identity.namespace, after.identity.name.as_str()),
            (name, after.body.open()["metadata"]["name"].as_str().unwrap())
        );
    }
}

#[test]
fn what_names_the_old_namespace_elsewhere_is_reported_and_left() {
    let body = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
        "gateway": {"namespace": "shop"}, "watch": {"namespaces": ["shop", "x"]},
        "url": "http://db.shop.svc:80/", "title": "the shop"}});
    let (after, told) = mapped(&into("copy"), saved("example.com", "widgets", true, body.clone()));
    assert_eq!(after.body.open()["spec"], body["spec"]);
    let told: Vec<String> = told.unresolved.iter().map(|one| format!("{}: {}", one.path, one.names)).collect();
    assert_eq!(
        told,
        [
            "spec.gateway.namespace: namespace shop",
            "spec.url: a host in namespace shop",
            "spec.watch.namespaces.0: namespace shop"
        ]
    );
}

#[test]
fn of_a_secret_that_names_a_host_only_the_key_is_told() {
    let value = STANDARD.encode("postgres://eva:hunter2@db.shop:5432/shop");
    let secret =
        saved("", "secrets", true, json!({"metadata": {"name": "s", "namespace": "shop"}, "data": {"url": value}}));
    let (_, told) = mapped(&into("copy"), secret);
    assert_eq!(told.unresolved.len(), 1);
    assert_eq!(told.unresolved[0].path, "data.url");
    assert_eq!(told.unresolved[0].place, Place::in_namespace("secrets", "copy", "s"));
    assert!(!format!("{told:?}").contains("hunter2"));
}

#[test]
fn classes_and_images_are_mapped_where_they_are_meant() {
    let mapping = Mapping {
        storage_classes: [("gp2".to_owned(), "gp3".to_owned()), ("never".to_owned(), "x".to_owned())].into(),
        images: vec![
            ("old.io/".to_owned(), "new.io/".to_owned()),
            ("web".to_owned(), "site".to_owned()),
            ("no".to_owned(), "x".to_owned()),
        ],
        ..Mapping::default()
    };
    let stateful = saved(
        "apps",
        "statefulsets",
        true,
        json!({"metadata": {"name": "db", "namespace": "n"}, "spec": {
        "template": {"spec": {
            "containers": [{"image": "old.io/a:1"}, {"image": "web:2"}, {"image": "website:2"}],
            "initContainers": [{"image": "web@sha256:00"}],
            "volumes": [{"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "gp2"}}}}]}},
        "volumeClaimTemplates": [{"spec": {"storageClassName": "gp2"}}, {"spec": {"storageClassName": "io1"}}]}}),
    );
    let (after, told) = mapped(&mapping, stateful);
    assert_eq!(
        after.body.open()["spec"],
        json!({"template": {"spec": {
            "containers": [{"image": "new.io/a:1"}, {"image": "site:2"}, {"image": "website:2"}],
            "initContainers": [{"image": "site@sha256:00"}],
            "volumes": [{"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "gp3"}}}}]}},
        "volumeClaimTemplates": [{"spec": {"storageClassName": "gp3"}}, {"spec": {"storageClassName": "io1"}}]})
    );
    assert_eq!(told.unused, ["--map-storage-class never=x", "--map-image no=x"]);
    let custom = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"storage": {"storageClass": "gp2"}, "imageName": "old.io/pg:15"}});
    let (after, told) = mapped(&mapping, saved("postgresql.cnpg.io", "clusters", true, custom.clone()));
    assert_eq!(after.body, custom);
    let paths: Vec<&str> = told.unresolved.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["spec.storage.storageClass", "spec.imageName"]);
}

#[test]
fn a_pair_is_old_and_new() {
    assert_eq!(pair("--map-image", "a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
    for wrong in ["a", "=b", "a=", "="] {
        let error = pair("--map-image", wrong).unwrap_err();
        assert_eq!(error.to_string(), format!("reading --map-image {wrong:?}: it is not old=new"));
    }
}

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

proptest! {
    #[test]
    fn mapping_there_and_back_is_nothing(name in "[a-z]{1,5}", other in "[a-z]{1,5}") {
        prop_assume!(name != "copy" && other != "copy" && name != other);
        let body = json!({"metadata": {"name": "b", "namespace": name}, "subjects": [
            {"kind": "ServiceAccount", "name": "web", "namespace": name},
            {"kind": "Group", "name": format!("system:serviceaccounts:{other}")}]});
        let before = saved("rbac.authorization.k8s.io", "rolebindings", true, body);
        let there = Mapping { namespaces: [(name.clone(), "copy".to_owned())].into(), ..Mapping::default() };
        let back = Mapping { namespaces: [("copy".to_owned(), name)].into(), ..Mapping::default() };
        let (after, _) = mapped(&there, before.clone());
        prop_assert_ne!(&after.body, &before.body);
        let (again, _) = mapped(&back, after);
        prop_assert_eq!(again, before);
    }
}
