//! Saving and restoring a namespace of many objects beside plain requests for the same objects, on a real control plane.
//!
//! `cargo bench --bench namespace -- [OBJECTS [ROUNDS]]`; `benches/namespace.sh` runs it as the documentation quotes it.
//! It prints each figure with its rounds, and judges nothing. Without numbers it takes 200 objects once, so that
//! `make bench` and a build of everything have something to do.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and stops where it cannot go on")]
#![expect(clippy::disallowed_methods, reason = "it measures, and polls a process that tells nobody")]
#![allow(clippy::missing_docs_in_private_items, missing_docs, reason = "the modules of tests have their own rules")]

#[path = "../tests/control_support/mod.rs"]
mod control_support;
#[path = "../tests/snapshot_cases/generator.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use the rest of it")]
mod generator;
mod objects;
#[path = "../tests/support/mod.rs"]
mod support;

use control_support::ControlPlane;
use davit::cluster::{Kind, Patch, Write};
use davit::snapshot::map::Mapping;
use davit::snapshot::plan::Options;
use davit::snapshot::restore::{manager, prepare};
use futures_util::StreamExt;
use objects::{CONNECTIONS, NAMESPACE, Ran, davit, listed_kinds, make, median, post, settle, shown};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

const PAGE: usize = 500;

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|text| text.parse().ok()).collect();
    let objects = numbers.first().copied().unwrap_or(200);
    let rounds = numbers.get(1).copied().unwrap_or(1);
    if !objects::installed("namespace") {
        return;
    }
    let plane = ControlPlane::start();
    let kinds = listed_kinds(&plane).await;
    make(&plane, &kinds, objects).await;
    let directory = tempfile::tempdir().unwrap();
    let first = save(&plane, &kinds, directory.path(), rounds).await;
    again(&plane, &kinds, directory.path(), (objects, first)).await;
    if objects <= 20_000 {
        restore(&plane, &kinds, directory.path(), rounds).await;
    } else {
        // Of a hundred thousand the memory is looked at; as often by plain connections as well would take an hour.
        let ran = restored(&plane, directory.path(), "again");
        println!("davit snapshot restore, the whole process: {:.1} s, peak {} MiB", ran.seconds, ran.peak);
    }
}

/// Every page of every kind, read to its end and thrown away: as many kinds at once as there are connections.
async fn raw_list(plane: &ControlPlane, kinds: &[Kind]) -> (f64, usize) {
    let config = kube::config::Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let began = Instant::now();
    let lists = kinds.iter().map(|kind| {
        let client = client.clone();
        async move {
            let (mut next, mut bytes) = (String::new(), 0);
            loop {
                let path = format!("{}?limit={PAGE}{next}", kind.path(Some(NAMESPACE), None));
                let request = http::Request::get(path).body(Vec::new()).unwrap();
                let text = client.request_text(request).await.unwrap();
                bytes += text.len();
                match text[..text.len().min(2000)]
                    .split_once("\"continue\":\"")
                    .and_then(|(_, rest)| rest.split_once('"'))
                {
                    Some((token, _)) if !token.is_empty() => next = format!("&continue={token}"),
                    _ => return bytes,
                }
            }
        }
    });
    let bytes: Vec<usize> = futures_util::stream::iter(lists).buffer_unordered(CONNECTIONS).collect().await;
    (began.elapsed().as_secs_f64(), bytes.into_iter().sum())
}

/// Every file of a repository: when it was written last, and its size.
fn files(folder: &Path) -> BTreeMap<PathBuf, (SystemTime, u64)> {
    let mut found = BTreeMap::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let about = path.metadata().unwrap();
            found.insert(path, (about.modified().unwrap(), about.len()));
        }
    }
    found
}

/// All bytes that a run put: what is new and what was written over, the manifest, its signature, the journal, the chain
/// and the lease included. What a run wrote over more than once (its lease: a few hundred bytes) is counted once.
fn put(repository: &Path, run: impl FnOnce()) -> u64 {
    let before = if repository.exists() { files(repository) } else { BTreeMap::new() };
    run();
    files(repository).iter().filter(|(path, about)| before.get(*path) != Some(*about)).map(|(_, (_, size))| size).sum()
}

/// Saves, and gives how many bytes the first round put.
async fn save(plane: &ControlPlane, kinds: &[Kind], at: &Path, rounds: usize) -> u64 {
    let (mut plain, mut ours, mut peak, mut bytes, mut first) = (Vec::new(), Vec::new(), 0, 0, 0);
    let mut told = String::new();
    for round in 0..rounds {
        let (seconds, read) = raw_list(plane, kinds).await;
        plain.push(seconds);
        bytes = read;
        // Each into a repository of its own: the second one would find everything stored already.
        let own = at.join(format!("round-{round}"));
        std::fs::create_dir(&own).unwrap();
        davit(plane, &own, &["init"]);
        let stored = put(&own.join("repository"), || {
            let ran = davit(plane, &own, &["snapshot", "create", NAMESPACE]);
            ours.push(ran.seconds);
            peak = peak.max(ran.peak);
            told = ran.told;
        });
        if round == 0 {
            first = stored;
        }
    }
    println!(
        "raw paged LIST of {} kinds, {CONNECTIONS} at once, {} MiB: {} s",
        kinds.len(),
        bytes >> 20,
        shown(&plain)
    );
    println!("davit snapshot create, the whole process:      {} s, peak {peak} MiB", shown(&ours));
    println!("of its last round:\n  {}", told.trim_end().replace('\n', "\n  "));
    println!("ratio of medians: {:.2} of the raw LIST", median(plain) / median(ours));
    first
}

/// What another snapshot stores: of the same, and of the same with the status of one object in a hundred changed.
async fn again(plane: &ControlPlane, kinds: &[Kind], at: &Path, (objects, first): (usize, u64)) {
    let own = at.join("round-0");
    let repository = own.join("repository");
    let snapshot = || {
        put(&repository, || {
            davit(plane, &own, &["snapshot", "create", NAMESPACE]);
        })
    };
    let second = snapshot();
    let changed = change_statuses(plane, kinds, objects.div_ceil(300)).await;
    settle(plane, kinds, NAMESPACE).await;
    let third = snapshot();
    #[expect(clippy::cast_precision_loss, reason = "percent for people")]
    let percent = |bytes: u64| bytes as f64 * 100.0 / first as f64;
    println!("first snapshot: {first} bytes put");
    println!("second, nothing changed: {second} bytes ({:.2} %)", percent(second));
    let kinds = generator::KINDS;
    println!(
        "third, status of {changed} objects of 3 of {kinds} kinds changed: {third} bytes ({:.2} %)",
        percent(third)
    );
}

/// Changes the status of so many objects of each of three kinds, spread over their names; how many that were.
async fn change_statuses(plane: &ControlPlane, kinds: &[Kind], each: usize) -> usize {
    let cluster = plane.connect();
    let statuses = [
        ("deployments.apps", json!({"status": {"conditions": [{"type": "Changed", "status": "True"}]}})),
        ("cronjobs.batch", json!({"status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}})),
        ("ingresses.networking.k8s.io", json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})),
    ];
    let mut changed = 0;
    for (name, status) in &statuses {
        let kind = kinds.iter().find(|kind| kind.group_resource() == *name).unwrap();
        let mut listing =
            cluster.list(davit::cluster::Query { namespace: Some(NAMESPACE), ..davit::cluster::Query::all(kind) });
        let mut names = Vec::new();
        while let Some(item) = listing.next().await.unwrap() {
            let body: Value = serde_json::from_slice(&item).unwrap();
            names.push(body["metadata"]["name"].as_str().unwrap().to_owned());
        }
        for name in names.iter().step_by((names.len() / each).max(1)).take(each) {
            let write = Write { subresource: Some("status"), ..Write::default() };
            cluster.patch(kind, (Some(NAMESPACE), name), Patch::Merge, status, write).await.unwrap();
            changed += 1;
        }
    }
    changed
}

fn restored(plane: &ControlPlane, at: &Path, into: &str) -> Ran {
    let point = format!("{NAMESPACE}@latest");
    davit(plane, &at.join("round-0"), &["snapshot", "restore", &point, "--into", into])
}

async fn restore(plane: &ControlPlane, kinds: &[Kind], at: &Path, rounds: usize) {
    let saved = plane.saved(NAMESPACE).await;
    let means = plane.means();
    let (mut plain, mut ours, mut peak, mut count) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..rounds {
        let (raw, own) = (format!("raw-{round}"), format!("restored-{round}"));
        plane.namespace(&raw);
        let mapping = Mapping { namespaces: [(NAMESPACE.to_owned(), own.clone())].into(), ..Mapping::default() };
        let options = Options { manager: manager(&[&own]), ..Options::default() };
        let prepared = prepare(&means, saved.clone(), &mapping, options).await.unwrap();
        let lines = prepared.plan.lines.iter();
        let lines =
            lines.filter(|line| line.place.namespace.is_some() && line.action.acts() && line.place.name != "default");
        let bodies: Vec<(Kind, Value)> = lines
            .map(|line| {
                let mut body = line.body.open();
                body["metadata"]["namespace"] = raw.as_str().into();
                let kind = kinds.iter().find(|kind| kind.group_resource() == line.place.group_resource);
                (kind.unwrap().clone(), body)
            })
            .collect();
        count = bodies.len();
        plain.push(post(plane, &raw, &bodies).await);
        // Neither is measured while controllers are busy with what the other one made.
        settle(plane, kinds, &raw).await;
        let ran = restored(plane, at, &own);
        ours.push(ran.seconds);
        peak = peak.max(ran.peak);
        settle(plane, kinds, &own).await;
    }
    println!("raw POST of {count} bodies by {CONNECTIONS} connections: {} s", shown(&plain));
    println!(
        "davit snapshot restore, the whole process, its list-and-compare inside: {} s, peak {peak} MiB",
        shown(&ours)
    );
    println!("ratio of medians: {:.2} of the raw connections", median(plain) / median(ours));
}
