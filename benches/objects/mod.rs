//! What is saved and restored beside others: a namespace of objects from one seed on a control plane, and the program that
//! does it, watched from outside.

#![allow(dead_code, unreachable_pub, reason = "each benchmark uses its part")]

use crate::control_support::ControlPlane;
use crate::{generator, support};
use davit::cluster::{Kind, Query, Write};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Plain connections that make the objects, and beside which we are measured.
pub const CONNECTIONS: usize = 16;
/// Where the objects are.
pub const NAMESPACE: &str = "many";
/// Whatever is measured sees the same objects.
const SEED: u64 = 7;

/// What a run of the program took.
pub struct Ran {
    pub seconds: f64,
    pub peak: u64,
    /// What it told: how long each of its stages took.
    pub told: String,
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn shown(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(" ")
}

/// The kinds that a snapshot lists.
pub async fn listed_kinds(plane: &ControlPlane) -> Vec<Kind> {
    let found = plane.connect().discover().await.unwrap().kinds;
    let never = ["events", "events.events.k8s.io", "leases.coordination.k8s.io"];
    let listed = |kind: &Kind| kind.namespaced && kind.verbs.contains("list") && kind.verbs.contains("create");
    found.into_iter().filter(|kind| listed(kind) && !never.contains(&kind.group_resource().as_str())).collect()
}

/// Whether there is a Kubernetes to measure on; says so if there is none.
pub fn installed(benchmark: &str) -> bool {
    let installed = std::fs::read_dir(support::cache()).is_ok_and(|mut folders| {
        folders.any(|folder| folder.is_ok_and(|folder| folder.path().join("kubernetes").is_file()))
    });
    if !installed {
        println!("{benchmark}: not run, there is no Kubernetes here (tests/cluster/install.sh installs it)");
    }
    installed
}

/// Makes them, says so, and waits until controllers have done with them.
pub async fn make(plane: &ControlPlane, kinds: &[Kind], objects: usize) {
    plane.namespace(NAMESPACE);
    let wanted = generator::objects(SEED, objects);
    let of = |body: &Value| {
        let (version, kind) = (body["apiVersion"].as_str().unwrap(), body["kind"].as_str().unwrap());
        kinds.iter().find(|one| one.kind == kind && one.api_version() == version).unwrap().clone()
    };
    let bodies: Vec<(Kind, Value)> = wanted.into_iter().map(|body| (of(&body), body)).collect();
    let seconds = post(plane, NAMESPACE, &bodies).await;
    println!(
        "{objects} objects of {} kinds and one seed, made by {CONNECTIONS} connections in {seconds:.1} s ({:.0}/s)",
        generator::KINDS,
        rate(objects, seconds)
    );
    settle(plane, kinds, NAMESPACE).await;
}

/// Kinds and names of what is made.
pub fn names(objects: usize) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let wanted = generator::objects(SEED, objects);
    wanted.iter().map(|body| (text(&body["kind"]), text(&body["metadata"]["name"]))).collect()
}

/// Waits until the controllers have written what they write: they would change objects between two snapshots, and take
/// time from whatever is measured.
pub async fn settle(plane: &ControlPlane, kinds: &[Kind], namespace: &str) {
    let cluster = plane.connect();
    let mut before = Vec::new();
    loop {
        let mut now = Vec::new();
        for kind in kinds {
            let query = Query { namespace: Some(namespace), ..Query::all(kind) };
            let mut listing = cluster.list(query);
            while let Some(item) = listing.next().await.unwrap() {
                now.push(blake3::hash(&item));
            }
        }
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// The same bodies by plain connections and nothing else.
pub async fn post(plane: &ControlPlane, namespace: &str, bodies: &[(Kind, Value)]) -> f64 {
    let cluster = plane.connect();
    let began = Instant::now();
    let posts = bodies.iter().map(|(kind, body)| {
        let cluster = &cluster;
        async move { cluster.create(kind, Some(namespace), body, Write::default()).await.map(drop) }
    });
    let results: Vec<_> = futures_util::stream::iter(posts).buffer_unordered(CONNECTIONS).collect().await;
    let seconds = began.elapsed().as_secs_f64();
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
    seconds
}

/// The most memory that a process has had so far, in MiB.
pub fn peak_of(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// Runs the program to its end, and watches its memory.
pub fn davit(plane: &ControlPlane, at: &Path, arguments: &[&str]) -> Ran {
    davit_in(plane, at, &[], arguments)
}

/// The same with variables, such as those that lead to another repository.
pub fn davit_in(plane: &ControlPlane, at: &Path, variables: &[(&str, String)], arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_davit"));
    command.args(arguments).current_dir(at).env("HOME", at).env("KUBECONFIG", plane.kubeconfig());
    command.env("DAVIT_REPOSITORY", at.join("repository")).env("DAVIT_KEYS", at.join("keys"));
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let told = at.join("told");
    let stderr = std::fs::File::create(&told).unwrap();
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    let mut peak = 0;
    loop {
        peak = peak.max(peak_of(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            let seconds = began.elapsed().as_secs_f64();
            let told = std::fs::read_to_string(&told).unwrap_or_default();
            assert!(status.success(), "davit {arguments:?} ended with {status}: {told}");
            return Ran { seconds, peak, told };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
