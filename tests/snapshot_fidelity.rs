//! Whatever a namespace holds, what was restored of its snapshot is that namespace: over seeds, every built-in kind and
//! custom kinds with defaults and several versions, from the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]

mod cli_support;
mod control_support;
#[path = "snapshot_cases/csi.rs"]
mod csi;
#[path = "snapshot_cases/csi_groups.rs"]
mod csi_groups;
#[path = "snapshot_cases/doctor.rs"]
mod doctor;
#[path = "snapshot_cases/every_kind.rs"]
mod every_kind;
mod support;

use cli_support::Desk;
use control_support::{ControlPlane, control_plane};
use davit::cluster::Kind;
use davit::snapshot::clean::Keep;
use davit::snapshot::diff::{compare_sets, schemas_of};
use davit::snapshot::map::Mapping;
use davit::snapshot::object::{self, Saved};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DEFINITIONS: [&str; 2] =
    [include_str!("fixtures/snapshot/widgets.yaml"), include_str!("fixtures/snapshot/parcels.yaml")];
const CUSTOM: [&str; 3] = ["widgets.example.com", "gizmos.example.com", "parcels.example.com"];

/// Kinds in namespaces that can be made, and of which the generator has none.
const LEFT_OUT: [(&str, &str); 5] = [
    ("bindings", "a command in the form of a kind: nothing is kept"),
    ("localsubjectaccessreviews.authorization.k8s.io", "a question in the form of a kind: nothing is kept"),
    ("events", "they tell about the moment, and are never saved"),
    ("events.events.k8s.io", "they tell about the moment, and are never saved"),
    ("leases.coordination.k8s.io", "they tell about the moment, and are never saved"),
];

/// Kinds whose status is written again by a controller as soon as the object is there: what is asked for comes back, and
/// does not stay.
const OF_CONTROLLERS: [(&str, &str); 11] = [
    ("deployments.apps", "its generation as the controller saw it, and its conditions with their times"),
    ("statefulsets.apps", "its revisions are named after the new object"),
    ("daemonsets.apps", "its generation as the controller saw it"),
    ("replicasets.apps", "its generation as the controller saw it"),
    ("replicationcontrollers", "its generation as the controller saw it"),
    ("jobs.batch", "its conditions with their times"),
    ("cronjobs.batch", "what of it runs now"),
    ("horizontalpodautoscalers.autoscaling", "its conditions with their times"),
    ("poddisruptionbudgets.policy", "its conditions with their times"),
    ("resourcequotas", "what is used now"),
    ("persistentvolumeclaims", "whether a volume is bound to it now"),
];

/// What people and tools wrote, and not what a controller made of it.
fn own(saved: Vec<Saved>) -> Vec<Saved> {
    saved.into_iter().filter(|one| object::controller(&one.body.open()).is_none()).collect()
}

fn define(plane: &ControlPlane) {
    for definition in DEFINITIONS {
        plane.apply(definition);
    }
    for name in CUSTOM {
        plane.await_object(&["crd", name], |body| body["status"]["acceptedNames"]["kind"].is_string());
        support::wait_until(30, name, || plane.kubectl(&["get", name], "").is_ok());
    }
}

fn desk(plane: &ControlPlane) -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    desk
}

fn make(plane: &ControlPlane, namespace: &str, objects: &[Value]) {
    plane.namespace(namespace);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    plane.kubectl(&["create", "-n", namespace, "-f", "-"], &list).unwrap();
}

fn done(desk: &Desk, arguments: &[&str]) {
    let said = desk.davit(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
}

/// How a namespace differs from its copy, and how many objects are the same.
async fn differences(plane: &ControlPlane, from: &str, to: &str, keep: &Keep) -> (Vec<String>, u64) {
    let mut before = own(plane.saved(from).await);
    let mapping = Mapping { namespaces: [(from.to_owned(), to.to_owned())].into(), ..Mapping::default() };
    mapping.apply(&mut before).unwrap();
    let after = own(plane.saved(to).await);
    let schemas = schemas_of(&CUSTOM.map(|name| plane.related("customresourcedefinitions.apiextensions.k8s.io", name)));
    let diff = compare_sets(&before, &after, &schemas, keep);
    (diff.lines(), diff.same)
}

async fn seeds(seeds: std::ops::Range<u64>, rounds: usize) {
    let plane = control_plane();
    define(plane);
    let desk = desk(plane);
    for seed in seeds {
        let (from, to) = (format!("all-{seed}"), format!("all-{seed}-copy"));
        make(plane, &from, &every_kind::objects(seed, rounds));
        done(&desk, &["snapshot", "create", &from]);
        done(&desk, &["snapshot", "restore", &format!("{from}@latest"), "--into", &to]);
        let (lines, same) = differences(plane, &from, &to, &Keep::default()).await;
        assert_eq!(lines, Vec::<String>::new(), "seed {seed}");
        assert!(same >= (rounds * every_kind::SORTS) as u64, "seed {seed}: {same} are the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn every_kind_of_object_comes_back_as_it_was() {
    seeds(0..4, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: forty random namespaces on a control plane"]
async fn soak_every_kind_of_object_comes_back_as_it_was_over_forty_seeds() {
    seeds(100..140, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn there_is_an_object_of_every_kind_that_a_namespace_can_have() {
    let plane = control_plane();
    define(plane);
    let objects = every_kind::objects(1, 1);
    let kinds = plane.connect().discover().await.unwrap().kinds;
    let made = |kind: &Kind| {
        let is = |object: &Value| {
            let (group, _) = object["apiVersion"].as_str().unwrap().rsplit_once('/').unwrap_or(("", "v1"));
            group == kind.group && object["kind"] == kind.kind
        };
        objects.iter().any(is)
    };
    let possible = kinds.iter().filter(|kind| kind.namespaced && kind.verbs.contains("create") && !kind.custom);
    let without: BTreeSet<String> = possible.filter(|kind| !made(kind)).map(Kind::group_resource).collect();
    assert_eq!(without, LEFT_OUT.iter().map(|(name, _)| (*name).to_owned()).collect());
    let custom = kinds.iter().filter(|kind| CUSTOM.contains(&kind.group_resource().as_str()));
    assert_eq!(custom.filter(|kind| made(kind)).count(), CUSTOM.len());

    // What tells about the moment is in no point.
    let moment = [
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}, "spec": {"holderIdentity": "a"}}),
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "it"}, "reason": "Test",
            "involvedObject": {"kind": "ConfigMap", "name": "a", "namespace": "moment"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stays"}}),
    ];
    make(plane, "moment", &moment);
    let desk = desk(plane);
    done(&desk, &["snapshot", "create", "moment"]);
    done(&desk, &["snapshot", "restore", "moment@latest", "--into", "moment-copy"]);
    let copied = plane.kubectl(&["get", "leases,events,configmaps", "-n", "moment-copy", "-o", "name"], "").unwrap();
    assert_eq!(copied.lines().collect::<Vec<_>>(), ["configmap/kube-root-ca.crt", "configmap/stays"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn what_was_reported_of_objects_comes_back_where_it_is_asked_for() {
    let plane = control_plane();
    define(plane);
    let desk = desk(plane);
    let objects = every_kind::objects(11, 2);
    make(plane, "reported", &objects);
    let mut said = 0;
    for (at, object) in objects.iter().enumerate() {
        let Some(status) = every_kind::status(at as u64, object["kind"].as_str().unwrap()) else { continue };
        // No address is given to a Service of another type.
        if object["kind"] == "Service" && object["spec"]["type"] != "LoadBalancer" {
            continue;
        }
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let patch = json!({"status": status}).to_string();
        let arguments = ["patch", kind, name, "-n", "reported", "--subresource", "status", "--type", "merge", "-p"];
        plane.kubectl(&[&arguments[..], &[&patch]].concat(), "").unwrap();
        said += 1;
    }
    assert!(said >= 10, "{said}");
    done(&desk, &["snapshot", "create", "reported"]);
    done(&desk, &["snapshot", "restore", "reported@latest", "--into", "unreported"]);
    done(&desk, &["snapshot", "restore", "reported@latest", "--into", "reported-copy", "--with-status", "*"]);
    let kinds = plane.connect().discover().await.unwrap().kinds;
    let reporting = kinds.iter().filter(|kind| kind.namespaced && kind.subresources.contains("status"));
    let reporting: BTreeSet<String> = reporting.map(Kind::group_resource).collect();
    let rewritten: BTreeSet<String> = OF_CONTROLLERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(rewritten.is_subset(&reporting), "{reporting:?}");
    let keep = Keep { status: &reporting - &rewritten, ..Keep::default() };
    let (lines, same) = differences(plane, "reported", "reported-copy", &keep).await;
    assert_eq!(lines, Vec::<String>::new());
    assert!(same >= (2 * every_kind::SORTS) as u64, "{same}");
    let (lines, _) = differences(plane, "reported", "unreported", &keep).await;
    assert!(lines.len() >= said, "nobody asked for a status: {lines:#?}");
}
