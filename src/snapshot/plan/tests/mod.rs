//! The rules of a restore, each with the case that would do harm without it.

#![expect(clippy::needless_pass_by_value, reason = "the literals of a test are values")]

mod conflicts;
mod digest;
mod left;
mod prune;
mod volumes;
mod warnings;

use super::super::diff::schemas_of;
use super::super::object::{Place, Saved, SavedKind, group_resource};
use super::*;
use serde_json::{Value, json};

const MANAGER: &str = "davit-1";

fn kind(group_resource: &str) -> SavedKind {
    let (resource, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
    let cluster = [
        "namespaces",
        "persistentvolumes",
        "clusterroles",
        "storageclasses",
        "customresourcedefinitions",
        "validatingwebhookconfigurations",
    ];
    let name = resource.trim_end_matches('s');
    SavedKind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        kind: name[..1].to_uppercase() + &name[1..],
        namespaced: !cluster.contains(&resource),
    }
}

/// An object of the snapshot: `deployments.apps`, its name, and more of its body.
fn saved(group_resource: &str, name: &str, more: Value) -> Saved {
    let kind = kind(group_resource);
    let mut body = json!({"apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": name, "uid": format!("old-{name}"), "resourceVersion": "7"}});
    if kind.namespaced {
        body["metadata"]["namespace"] = json!("shop");
    }
    super::super::map::patch::merge(&mut body, &more);
    Saved::new(&kind, &body)
}

/// The live object of the same name, with more of its body.
fn live_of(saved: &Saved, more: Value) -> (Place, Value) {
    let mut body = saved.body.open();
    super::super::map::patch::merge(
        &mut body,
        &json!({"metadata": {"uid": format!("new-{}", saved.identity.name),
        "resourceVersion": "99", "ownerReferences": null}}),
    );
    super::super::map::patch::merge(&mut body, &more);
    (saved.identity.place(), body)
}

/// A cluster that serves every kind of the objects, and has `objects`.
fn cluster(saved: &[Saved], objects: impl IntoIterator<Item = (Place, Value)>) -> Live {
    let kind = |one: &Saved| {
        let key = group_resource(&one.kind.group, &one.kind.resource);
        (key, LiveKind { versions: ["v1".to_owned()].into(), creatable: true })
    };
    Live {
        kinds: saved.iter().map(kind).collect(),
        objects: objects.into_iter().map(|(place, body)| (place, body.into())).collect(),
        ..Live::default()
    }
}

fn options() -> Options {
    Options { manager: MANAGER.to_owned(), ..Options::default() }
}

fn mode(on_conflict: OnConflict) -> Options {
    Options { on_conflict, ..options() }
}

fn planned(saved: &[Saved], live: &Live, options: &Options) -> Plan {
    plan(saved.to_vec(), live, &schemas_of(saved), options)
}

/// `create configmaps/a; leave pods/b: …`
fn told(plan: &Plan) -> Vec<String> {
    plan.lines
        .iter()
        .map(|line| match line.action.why() {
            Some(why) => format!("{} {}: {why}", line.action.word(), line.place),
            None => format!("{} {}", line.action.word(), line.place),
        })
        .collect()
}

fn owned_by(owner: &Saved, controller: bool) -> Value {
    json!({"metadata": {"ownerReferences": [{"apiVersion": owner.kind.api_version(), "kind": owner.kind.kind,
        "name": owner.identity.name, "uid": owner.identity.uid, "controller": controller}]}})
}

#[test]
fn an_empty_cluster_gets_everything_clean_and_in_order() {
    let web = saved("deployments.apps", "web", json!({"spec": {"replicas": 1}, "status": {"replicas": 1}}));
    let all = [
        web,
        saved("configmaps", "a", json!({})),
        saved("namespaces", "shop", json!({"spec": {"finalizers": ["kubernetes"]}})),
    ];
    let plan = planned(&all, &cluster(&all, []), &options());
    assert_eq!(told(&plan), ["create deployments.apps/web", "create configmaps/a", "create namespaces/shop"]);
    let order: Vec<&[usize]> = plan.waves.iter().map(|(_, wave)| wave.as_slice()).collect();
    assert_eq!(order, [&[2][..], &[1], &[0]]);
    assert_eq!(
        plan.lines[0].body,
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 1}})
    );
    assert_eq!(plan.counts(), [("create", 3)].into());
}

#[test]
fn a_kind_that_the_cluster_does_not_serve_is_refused_with_what_it_serves() {
    let mut hpa = saved("horizontalpodautoscalers.autoscaling", "web", json!({}));
    std::sync::Arc::make_mut(&mut hpa.kind).version = "v2".to_owned();
    let all = [hpa, saved("widgets.example.com", "w", json!({})), saved("gizmos.example.com", "g", json!({}))];
    let definition = saved(
        "customresourcedefinitions.apiextensions.k8s.io",
        "gizmos.example.com",
        json!({"spec": {"versions": [{"name": "v1", "served": true}]}}),
    );
    let mut live = cluster(&all, []);
    live.kinds.remove("widgets.example.com");
    live.kinds.remove("gizmos.example.com");
    let with = [all.to_vec(), vec![definition.clone()]].concat();
    live.kinds.extend(cluster(&[definition], []).kinds);
    assert_eq!(
        told(&planned(&with, &live, &options())),
        [
            "refuse horizontalpodautoscalers.autoscaling/web: the cluster does not serve autoscaling/v2; of \
             horizontalpodautoscalers.autoscaling it serves v1",
            "refuse widgets.example.com/w: the cluster has no widgets.example.com: its definition is neither there nor \
             in the snapshot",
            "create gizmos.example.com/g",
            "create customresourcedefinitions.apiextensions.k8s.io/gizmos.example.com",
        ]
    );
}

#[test]
fn owners_are_named_with_the_uids_they_will_have_and_never_with_the_old_ones() {
    let web = saved("deployments.apps", "web", json!({}));
    let early = saved("configmaps", "early", owned_by(&web, false));
    let child = saved("deployments.apps", "child", owned_by(&web, false));
    let strange = saved(
        "deployments.apps",
        "strange",
        json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "Configmap", "name": "live", "uid": "old"},
        {"apiVersion": "v1", "kind": "Configmap", "name": "gone", "uid": "old2"}]}}),
    );
    let all = [early, child, strange, web];
    let there = live_of(&saved("configmaps", "live", json!({})), json!({}));
    let plan = planned(&all, &cluster(&all, [there]), &options());
    let at = |line: usize| plan.lines[line].owners.iter().map(|link| link.at.clone()).collect::<Vec<_>>();
    assert_eq!(at(0), [OwnerAt::Later(3)]);
    assert_eq!(at(1), [OwnerAt::Before(3)]);
    assert_eq!(at(2), [OwnerAt::Live("new-live".to_owned())]);
    assert_eq!(plan.lines[2].notes, ["its owner Configmap gone is not restored; the reference is left out"]);
    let text = serde_json::to_string(&plan.lines.iter().map(|line| &line.body).collect::<Vec<_>>()).unwrap();
    assert!(!text.contains("old"), "{text}");
    assert_eq!(plan.lines[1].owners[0].with("u")["uid"], "u");
    assert!(plan.lines[1].owners[0].reference.get("uid").is_none());
}

#[test]
fn selectors_mean_kinds_and_names() {
    let place = Place::in_namespace("deployments.apps", "shop", "web");
    for text in ["deployments.apps", "deployments", "*", "*.apps/web", "deployments/w*"] {
        assert!(Selector::parse(text).means(&place), "{text}");
    }
    for text in ["apps", "deployments/api", "pods", "deployments.batch/web"] {
        assert!(!Selector::parse(text).means(&place), "{text}");
    }
    let all = [
        saved("deployments.apps", "web", json!({})),
        saved("secrets", "s", json!({})),
        saved("namespaces", "shop", json!({})),
    ];
    let only = Options { only: vec![Selector::parse("secrets/s")], ..options() };
    assert_eq!(told(&planned(&all, &cluster(&all, []), &only)), ["create secrets/s", "create namespaces/shop"]);
}

#[test]
fn a_status_comes_back_where_it_is_asked_for_or_is_the_users_own() {
    let widget = saved("widgets.example.com", "w", json!({"status": {"phase": "x"}}));
    let gizmo = saved("gizmos.example.com", "g", json!({"status": {"phase": "x"}}));
    let definition = |name: &str, version: Value| {
        let mut version = version;
        version["name"] = json!("v1");
        version["served"] = json!(true);
        saved("customresourcedefinitions.apiextensions.k8s.io", name, json!({"spec": {"versions": [version]}}))
    };
    let all = [
        widget,
        gizmo,
        definition("widgets.example.com", json!({"subresources": {"status": {}}})),
        definition("gizmos.example.com", json!({})),
    ];
    let with = Options { with_status: vec![Selector::parse("*")], ..options() };
    let plan = planned(&all, &cluster(&all, []), &with);
    assert_eq!(
        (&plan.lines[0].body.open().get("status"), &plan.lines[0].status),
        (&None, &Some(json!({"phase": "x"})))
    );
    assert_eq!((&plan.lines[1].body.open()["status"], &plan.lines[1].status), (&json!({"phase": "x"}), &None));
    let without = planned(&all, &cluster(&all, []), &options());
    assert_eq!(
        (without.lines[0].status.clone(), without.lines[1].body.open()["status"].clone()),
        (None, json!({"phase": "x"}))
    );
}
