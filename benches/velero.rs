//! Saving and restoring a namespace of many objects beside Velero: one control plane, one S3 server, one run, in turns.
//!
//! `cargo bench --bench velero -- [OBJECTS [SAVES [RESTORES]]]`; `benches/velero.sh` runs it as the documentation quotes it.
//! It prints each figure with its rounds, and judges nothing but whether both brought everything back. Without numbers it
//! takes 200 objects once. Where Velero was not built it fails: a comparison with nothing would look like a good one.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints and stops")]
#![expect(clippy::disallowed_methods, reason = "it measures, and polls a process that tells nobody")]
#![allow(clippy::missing_docs_in_private_items, missing_docs, reason = "the modules of tests have their own rules")]

#[path = "../tests/control_support/mod.rs"]
mod control_support;
#[path = "../tests/snapshot_cases/generator.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use the rest of it")]
mod generator;
mod objects;
#[path = "peers/velero.rs"]
#[allow(unreachable_pub, reason = "a module of one benchmark")]
mod peer;
#[path = "../tests/support/mod.rs"]
mod support;

use control_support::ControlPlane;
use davit::cluster::{Kind, Query};
use futures_util::StreamExt;
use objects::{NAMESPACE, davit_in, listed_kinds, median, peak_of, settle, shown};
use peer::{Took, Velero};
use std::collections::BTreeSet;
use std::path::Path;
use support::s3::S3;

const BUCKET: &str = "davit";
/// What somebody who finds it slow may set: its defaults are 100 requests a second, as many at once, and one worker.
const RAISED: [&str; 3] = ["--client-qps=1000", "--client-burst=2000", "--item-block-worker-count=10"];

/// What both work on.
struct Bench {
    plane: ControlPlane,
    s3: S3,
    kinds: Vec<Kind>,
    directory: tempfile::TempDir,
    objects: usize,
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|text| text.parse().ok()).collect();
    let number = |at: usize, otherwise: usize| numbers.get(at).copied().unwrap_or(otherwise);
    if !objects::installed("velero") {
        return;
    }
    let (plane, s3) = (ControlPlane::start(), S3::start());
    peer::install(&plane, &s3).await;
    s3.plain_bucket(BUCKET).await;
    let kinds = listed_kinds(&plane).await;
    let bench = Bench { plane, s3, kinds, directory: tempfile::tempdir().unwrap(), objects: number(0, 200) };
    objects::make(&bench.plane, &bench.kinds, bench.objects).await;
    for (name, settings) in [("usual", &[][..]), ("raised", &RAISED[..])] {
        println!("== Velero with its {name} settings {}", settings.join(" "));
        // Two servers would both take each backup: the first one is gone when the second one starts.
        let velero = Velero::start(&bench.plane, &bench.s3, name, settings).await;
        bench.save(&velero, name, number(1, 1).max(1)).await;
        bench.restore(&velero, name, number(2, 1)).await;
    }
}

fn say(what: &str, took: &[&Took], peak: u64) {
    let of = |value: fn(&Took) -> f64| shown(&took.iter().map(|took| value(took)).collect::<Vec<_>>());
    let (seconds, own) = (of(|took| took.seconds), of(|took| took.own));
    let (items, warnings) = (took[0].items, took[0].warnings);
    println!(
        "{what}: {seconds} s, by its own timestamps {own} s; {items} items, {warnings} warnings; peak {peak} MiB so far"
    );
}

/// Medians beside each other.
fn compare(theirs: &[Took], ours: Vec<f64>) {
    let (ours, seconds) = (median(ours), median(theirs.iter().map(|took| took.seconds).collect()));
    let own = median(theirs.iter().map(|took| took.own).collect());
    println!("ratio of medians: {:.1}; of Velero's own timestamps: {:.1}", seconds / ours, own / ours);
}

impl Bench {
    /// Runs Davit on a repository in the bucket, or on one in a directory.
    fn davit(&self, own: &Path, in_bucket: bool, arguments: &[&str]) -> objects::Ran {
        let mut variables = self.s3.environment();
        if in_bucket {
            let name = own.file_name().unwrap().to_string_lossy();
            variables.push(("DAVIT_REPOSITORY", format!("s3://{BUCKET}/{name}")));
        }
        davit_in(&self.plane, own, &variables, arguments)
    }

    /// Each round into a repository of its own: a second snapshot would find everything stored already, which a second
    /// backup of Velero's does not.
    async fn save(&self, velero: &Velero, settings: &str, rounds: usize) {
        let (mut theirs, mut ours, mut local, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for round in 0..rounds {
            let took = velero.backup(&format!("{settings}-{round}"), NAMESPACE).await;
            assert!(took.items >= self.objects as u64, "Velero saved {} of {}", took.items, self.objects);
            theirs.push(took);
            for (name, in_bucket, seconds) in [("bucket", true, &mut ours), ("directory", false, &mut local)] {
                let own = self.directory.path().join(format!("{settings}-{name}-{round}"));
                std::fs::create_dir(&own).unwrap();
                self.davit(&own, in_bucket, &["init"]);
                let ran = self.davit(&own, in_bucket, &["snapshot", "create", NAMESPACE]);
                seconds.push(ran.seconds);
                peak = peak.max(ran.peak);
            }
        }
        say("Velero, backup", &theirs.iter().collect::<Vec<_>>(), peak_of(velero.pid()));
        println!("davit snapshot create, the whole process: {} s to the same S3 server, peak {peak} MiB", shown(&ours));
        println!("                                          {} s to a directory", shown(&local));
        compare(&theirs, ours);
    }

    async fn restore(&self, velero: &Velero, settings: &str, rounds: usize) {
        if rounds == 0 {
            return;
        }
        let (mut theirs, mut ours, mut peak) = (Vec::new(), Vec::new(), 0);
        let own = self.directory.path().join(format!("{settings}-bucket-0"));
        for round in 0..rounds {
            let into = format!("{settings}-by-velero-{round}");
            theirs.push(velero.restore(&format!("{settings}-0"), NAMESPACE, &into).await);
            self.judge_and_remove(&into).await;
            let (point, into) = (format!("{NAMESPACE}@latest"), format!("{settings}-by-davit-{round}"));
            let ran = self.davit(&own, true, &["snapshot", "restore", &point, "--into", &into]);
            ours.push(ran.seconds);
            peak = peak.max(ran.peak);
            self.judge_and_remove(&into).await;
        }
        say("Velero, restore", &theirs.iter().collect::<Vec<_>>(), peak_of(velero.pid()));
        println!("davit snapshot restore from the same S3 server, the whole process, its list-and-compare inside:");
        println!("                {} s, peak {peak} MiB", shown(&ours));
        compare(&theirs, ours);
    }

    /// Every object that was made must be there by kind and name. Then they go, so that the next restore meets the cluster
    /// that this one met: Velero lists all objects of all namespaces before it restores, and keeps them in memory.
    async fn judge_and_remove(&self, namespace: &str) {
        settle(&self.plane, &self.kinds, namespace).await;
        let (there, wanted) = (self.names(namespace).await, self.names(NAMESPACE).await);
        let made = objects::names(self.objects);
        assert!(made.is_subset(&wanted), "what is restored is not what was made");
        let missing: Vec<_> = made.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "{namespace}: {} of {} are missing: {:?}",
            missing.len(),
            made.len(),
            missing.first()
        );
        println!("{namespace}: all {} are there, {} objects with what controllers made", made.len(), there.len());
        self.plane.kubectl(&["delete", "namespace", namespace], "").unwrap();
    }

    /// Kinds and names of what is in a namespace.
    async fn names(&self, namespace: &str) -> BTreeSet<(String, String)> {
        let cluster = self.plane.connect();
        let lists = self.kinds.iter().map(|kind| {
            let cluster = &cluster;
            async move {
                let mut listing = cluster.list(Query { namespace: Some(namespace), ..Query::all(kind) });
                let mut names = Vec::new();
                while let Some(item) = listing.next().await.unwrap() {
                    let body: serde_json::Value = serde_json::from_slice(&item).unwrap();
                    names.push((kind.kind.clone(), body["metadata"]["name"].as_str().unwrap().to_owned()));
                }
                names
            }
        });
        futures_util::stream::iter(lists).buffer_unordered(4).collect::<Vec<_>>().await.concat().into_iter().collect()
    }
}
