//! Whatever a namespace holds, what was restored of its snapshot is that namespace: over seeds, every built-in kind and
//! custom kinds with defaults and several versions, from the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]

mod cli_support;
mod control_support;
#[path = "snapshot_cases/csi.rs"]
mod csi;
#[path = "snapshot_cases/every_kind.rs"]
mod every_kind;
mod support;

use cli_support::Desk;
use control_support::control_plane;
use davit::snapshot::clean::Keep;
use davit::snapshot::diff::{compare_sets, schemas_of};
use davit::snapshot::map::Mapping;
use davit::snapshot::object::{self, Saved};
use serde_json::json;

const DEFINITIONS: &str = include_str!("fixtures/snapshot/widgets.yaml");

/// What people and tools wrote, and not what a controller made of it.
fn own(saved: Vec<Saved>) -> Vec<Saved> {
    saved.into_iter().filter(|one| object::controller(&one.body.open()).is_none()).collect()
}

async fn seeds(seeds: std::ops::Range<u64>, rounds: usize) {
    let plane = control_plane();
    plane.apply(DEFINITIONS);
    for name in ["widgets.example.com", "gizmos.example.com"] {
        plane.await_object(&["crd", name], |body| body["status"]["acceptedNames"]["kind"].is_string());
        support::wait_until(30, name, || plane.kubectl(&["get", name], "").is_ok());
    }
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    for seed in seeds {
        let (from, to) = (format!("all-{seed}"), format!("all-{seed}-copy"));
        plane.namespace(&from);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": every_kind::objects(seed, rounds)}).to_string();
        plane.kubectl(&["create", "-n", &from, "-f", "-"], &list).unwrap();
        let said = desk.davit(&["snapshot", "create", &from]);
        assert_eq!(said.code, 0, "seed {seed}: {}{}", said.stdout, said.stderr);
        let said = desk.davit(&["snapshot", "restore", &format!("{from}@latest"), "--into", &to]);
        assert_eq!(said.code, 0, "seed {seed}: {}{}", said.stdout, said.stderr);
        let mut before = own(plane.saved(&from).await);
        let mapping = Mapping { namespaces: [(from.clone(), to.clone())].into(), ..Mapping::default() };
        mapping.apply(&mut before).unwrap();
        let after = own(plane.saved(&to).await);
        let schemas = schemas_of(&[
            plane.related("customresourcedefinitions.apiextensions.k8s.io", "widgets.example.com"),
            plane.related("customresourcedefinitions.apiextensions.k8s.io", "gizmos.example.com"),
        ]);
        let diff = compare_sets(&before, &after, &schemas, &Keep::default());
        assert_eq!(diff.lines(), Vec::<String>::new(), "seed {seed}");
        assert!(diff.same >= (rounds * every_kind::SORTS) as u64, "seed {seed}: {} are the same", diff.same);
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
