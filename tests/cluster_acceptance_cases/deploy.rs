//! `deploy/` as a user builds on it: rendered, and with an overlay of its own.

use crate::support::cluster::Cluster;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The namespace `davit`, which has a name that is fixed: one test at a time uses it, from when it is not there to when it
/// is gone again.
pub struct Davit<'a>(&'a Cluster, MutexGuard<'static, ()>);

impl<'a> Davit<'a> {
    pub fn alone(cluster: &'a Cluster) -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.try_kubectl("delete namespace davit --ignore-not-found --timeout=300s");
        Self(cluster, one)
    }
}

impl Drop for Davit<'_> {
    fn drop(&mut self) {
        self.0.try_kubectl("delete namespace davit --ignore-not-found --timeout=300s");
    }
}

/// The folder of the manifests.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// The manifests of a folder, as `kubectl kustomize` renders them.
pub fn render(cluster: &Cluster, folder: &Path) -> Vec<Value> {
    let output = cluster.kubectl_command().arg("kustomize").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}

/// The documents of a YAML file.
pub fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---\n").filter(|part| part.lines().any(|line| !line.trim_start().starts_with('#')));
    parts.map(|part| serde_saphyr::from_str(part).unwrap()).collect()
}

/// The one of this kind and name.
pub fn one<'a>(manifests: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = manifests.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// All of a kind.
pub fn all<'a>(manifests: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    manifests.iter().filter(move |one| one["kind"] == kind)
}

/// The pods that a manifest makes.
pub fn pod(manifest: &Value) -> &Value {
    match manifest["kind"].as_str().unwrap() {
        "CronJob" => &manifest["spec"]["jobTemplate"]["spec"]["template"],
        _ => &manifest["spec"]["template"],
    }
}

/// The way from one folder to another as Kustomize wants it: relative.
pub fn way(from: &Path, to: &Path) -> String {
    let up = from.canonicalize().unwrap().components().count() - 1;
    format!("{}{}", "../".repeat(up), to.canonicalize().unwrap().strip_prefix("/").unwrap().display())
}
