//! A Velero server beside a control plane: the real one, set up by its own `install`, on a real S3 server.
//!
//! Its Deployment is made as on any cluster and never runs, because there are no nodes; the same program runs as a process
//! here, with the settings that the Deployment would give it and without its limits on processor time and memory.

use crate::control_support::ControlPlane;
use crate::support::process::{Process, command};
use crate::support::s3::{REGION, S3};
use crate::support::{cache, free_port, wait_until};
use davit::cluster::{Cluster, Kind, Write};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The bucket that is Velero's alone.
pub const BUCKET: &str = "velero";
const NAMESPACE: &str = "velero";
/// How often it is looked whether something has ended: what is read off the clock is late by no more.
const LOOK: Duration = Duration::from_millis(50);

/// A server that runs; dropped, it ends.
pub struct Velero {
    process: Process,
    directory: tempfile::TempDir,
    cluster: Cluster,
}

/// What one backup or restore took.
pub struct Took {
    /// From before its object was made until it was seen completed.
    pub seconds: f64,
    /// From its own `startTimestamp` to its own `completionTimestamp`, which are whole seconds.
    pub own: f64,
    /// Objects that it says it handled.
    pub items: u64,
    pub warnings: u64,
}

/// Where it was built; a run without it measures nothing, and ends.
pub fn installed() -> PathBuf {
    let folders = std::fs::read_dir(cache()).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("velero-v");
    // The newest, where an earlier version was built as well.
    let folder = folders.filter(named).filter(|path| path.join("plugins/velero-plugin-for-aws").is_file()).max();
    folder.expect("there is no Velero here: tests/servers/velero.sh builds it")
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Sets it up on a cluster as its documentation says, and says which version that was.
pub async fn install(plane: &ControlPlane, s3: &S3) {
    s3.plain_bucket(BUCKET).await;
    let program = installed().join("velero");
    let location = format!("region={REGION},s3ForcePathStyle=true,s3Url={}", s3.endpoint());
    let mut install = Command::new(&program);
    install.args(["install", "--provider", "aws", "--bucket", BUCKET, "--backup-location-config", &location]);
    install.args(["--plugins", "none.invalid/velero-plugin-for-aws", "--no-secret", "--use-volume-snapshots=false"]);
    said(install.arg("--kubeconfig").arg(plane.kubeconfig()));
    let version = said(Command::new(&program).args(["version", "--client-only"]));
    println!("Velero: {}", version.split_whitespace().collect::<Vec<_>>().join(" "));
}

impl Velero {
    /// Starts a server with these settings beside its defaults, and lets it save something small, so that what is measured
    /// afterwards does not begin with its start.
    pub async fn start(plane: &ControlPlane, s3: &S3, name: &str, settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (at, folder) = (directory.path(), installed());
        let mut server = command(&folder.join("velero"), None, "TERM");
        server.args(["server", "--kubeconfig"]).arg(plane.kubeconfig());
        server.arg("--plugin-dir").arg(folder.join("plugins"));
        for address in ["--metrics-address", "--profiler-address"] {
            server.args([address, &format!("127.0.0.1:{}", free_port())]);
        }
        // Its archives go through its temporary directory.
        server.args(settings).env("HOME", at).env("TMPDIR", at).envs(s3.environment()).current_dir(at);
        let log = std::fs::File::create(at.join("log")).unwrap();
        let process = Process::start(server, log, "-TERM");
        let velero = Self { process, directory, cluster: plane.connect() };
        wait_until(60, "Velero's look at its bucket", || {
            let location = plane.get(&["backupstoragelocation", "default", "-n", NAMESPACE]);
            location.is_some_and(|location| location["status"]["phase"] == "Available")
        });
        velero.backup(&format!("first-{name}"), "default").await;
        velero
    }

    /// Saves a namespace. What Davit does not save, Velero is told to leave out.
    pub async fn backup(&self, name: &str, namespace: &str) -> Took {
        let spec = json!({"includedNamespaces": [namespace], "storageLocation": "default", "ttl": "720h",
            "excludedResources": ["events", "events.events.k8s.io", "leases.coordination.k8s.io"]});
        self.run(("backups", "Backup"), name, spec, "itemsBackedUp").await
    }

    /// Brings the objects of a backup back into another namespace.
    pub async fn restore(&self, backup: &str, from: &str, into: &str) -> Took {
        let spec = json!({"backupName": backup, "namespaceMapping": {from: into}});
        self.run(("restores", "Restore"), into, spec, "itemsRestored").await
    }

    /// The process of the server; its plugins have processes of their own.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    async fn run(&self, (resource, kind): (&str, &str), name: &str, spec: Value, count: &str) -> Took {
        let body = json!({"apiVersion": "velero.io/v1", "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec});
        let kind = Kind { namespaced: true, ..Kind::known("velero.io", "v1", resource, kind) };
        let began = Instant::now();
        self.cluster.create(&kind, Some(NAMESPACE), &body, Write::default()).await.unwrap();
        let status = loop {
            let mut object = self.cluster.get(&kind, Some(NAMESPACE), name).await.unwrap();
            let phase = object["status"]["phase"].as_str().unwrap_or_default();
            if phase == "Completed" {
                break object["status"].take();
            }
            let alive = Path::new("/proc").join(self.process.pid().to_string()).exists();
            assert!(alive, "{name}: Velero's server ended\n{}", tail(self.directory.path()));
            let failed = ["Failed", "Invalid"].iter().any(|word| phase.contains(word));
            assert!(!failed, "{kind} {name}: {}\n{}", object["status"], tail(self.directory.path()), kind = kind.kind);
            tokio::time::sleep(LOOK).await;
        };
        let seconds = began.elapsed().as_secs_f64();
        let progress = &status["progress"];
        assert_eq!(progress[count], progress["totalItems"], "{name}: {status}");
        let at = |field: &str| status[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let own = at("completionTimestamp").duration_since(at("startTimestamp")).as_secs_f64();
        let items = progress[count].as_u64().unwrap_or(0);
        Took { seconds, own, items, warnings: status["warnings"].as_u64().unwrap_or(0) }
    }
}

/// The end of what it logged, for a run that failed.
fn tail(at: &Path) -> String {
    let text = std::fs::read_to_string(at.join("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("level=info")).collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
