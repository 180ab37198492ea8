//! What is saved and restored is what was, whatever a namespace holds; and how quickly.

use super::generator;
use crate::control_support::{ControlPlane, control_plane};
use davit::cluster::{Kind, Write};
use davit::snapshot::clean::Keep;
use davit::snapshot::diff::{Schemas, compare_sets};
use davit::snapshot::map::Mapping;
use davit::snapshot::object::{self, Saved};
use davit::snapshot::plan::Options;
use davit::snapshot::restore::{self, prepare};
use futures_util::StreamExt;
use serde_json::Value;
use std::time::Instant;

fn into(from: &str, to: &str) -> Mapping {
    Mapping { namespaces: [(from.to_owned(), to.to_owned())].into(), ..Mapping::default() }
}

fn options(name: &str) -> Options {
    Options { manager: restore::manager(&[name]), ..Options::default() }
}

/// What the user wrote, of a set of objects.
fn own(saved: &[Saved]) -> Vec<Saved> {
    saved.iter().filter(|one| object::controller(&one.body.open()).is_none()).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn a_restored_snapshot_of_any_namespace_is_that_namespace() {
    let plane = control_plane();
    for seed in 1..=4u64 {
        let (from, to) = (format!("seed-{seed}"), format!("seed-{seed}-copy"));
        plane.namespace(&from);
        let wanted = generator::objects(seed, 80);
        plane.kubectl(&["create", "-n", &from, "-f", "-"], &generator::list(&wanted)).unwrap();
        let saved = plane.saved(&from).await;
        let means = plane.means();
        let prepared = prepare(&means, saved.clone(), &into(&from, &to), options(&from)).await.unwrap();
        let report = restore::run(&means, &prepared).await.unwrap();
        assert_eq!((&report.failed, &report.diverged), (&vec![], &vec![]), "seed {seed}");
        let mut before = own(&saved);
        into(&from, &to).apply(&mut before).unwrap();
        let after = own(&plane.saved(&to).await);
        let diff = compare_sets(&before, &after, &Schemas::new(), &Keep::default());
        assert_eq!(diff.lines(), Vec::<String>::new(), "seed {seed}");
        assert!(diff.same > 80, "seed {seed}: {}", diff.same);
    }
}

/// The bodies that a restore posts, posted by as many plain connections and nothing else.
async fn raw(plane: &ControlPlane, kinds: &[Kind], bodies: &[(String, Value)], namespace: &str, width: usize) -> f64 {
    let cluster = plane.connect();
    let began = Instant::now();
    let posts = bodies.iter().map(|(name, body)| {
        let kind = kinds.iter().find(|kind| kind.group_resource() == *name).unwrap();
        let cluster = &cluster;
        async move { cluster.create(kind, Some(namespace), body, Write::default()).await.map(drop) }
    });
    let results: Vec<_> = futures_util::stream::iter(posts).buffer_unordered(width).collect().await;
    let seconds = began.elapsed().as_secs_f64();
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
    seconds
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: ten thousand objects on a control plane of its own"]
async fn soak_a_restore_of_many_objects_keeps_pace_with_plain_connections() {
    const OBJECTS: usize = 10_000;
    let plane = control_plane();
    plane.namespace("many");
    let wanted = generator::objects(7, OBJECTS);
    let kinds = plane.connect().discover().await.unwrap().kinds;
    let resource = |body: &Value| {
        let version = body["apiVersion"].as_str().unwrap();
        kinds
            .iter()
            .find(|kind| kind.kind == body["kind"].as_str().unwrap() && kind.api_version() == version)
            .unwrap()
            .group_resource()
    };
    let bodies: Vec<(String, Value)> = wanted.iter().map(|body| (resource(body), body.clone())).collect();
    raw(plane, &kinds, &bodies, "many", 16).await;
    let saved = plane.saved("many").await;
    plane.namespace("raw");
    let means = plane.means();
    let prepared = prepare(&means, saved.clone(), &into("many", "restored"), options("many")).await.unwrap();
    let posted: Vec<(String, Value)> = prepared
        .plan
        .lines
        .iter()
        .filter(|line| line.place.namespace.is_some() && line.action.acts() && line.place.name != "default")
        .map(|line| {
            let mut body = line.body.open();
            body["metadata"]["namespace"] = "raw".into();
            (line.place.group_resource.clone(), body)
        })
        .collect();
    let plain = raw(plane, &kinds, &posted, "raw", 16).await;
    let began = Instant::now();
    let report = restore::run(&means, &prepared).await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!((&report.failed, &report.diverged), (&vec![], &vec![]));
    let (made, count) = (report.created, posted.len());
    println!("plain: {count} in {plain:.1} s; restore: {made} in {seconds:.1} s, read back and compared");
    assert!(plain / seconds >= 0.8, "{:.2} of plain connections", plain / seconds);
}
