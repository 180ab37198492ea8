//! A Kubernetes control plane without nodes: etcd, API server and controllers on loopback, ready in a few seconds.
//!
//! Writing, refusing, owning, collecting and deleting are the real ones; only pods never run. One serves a whole test
//! file; each test works in namespaces of its own, and what is of the cluster carries the test's name.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use crate::support::process::{Process, command};
use crate::support::{cache, free_port, wait_until};
use davit::clock::SystemClock;
use davit::cluster::{Cluster, Connect, Kind, Place};
use davit::journal::NoProgress;
use davit::snapshot::object::Saved;
use davit::snapshot::restore::{self, Means};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "davit-test-token";

/// A running control plane.
pub struct ControlPlane {
    program: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
    etcd: Process,
    etcd_port: u16,
    api: Mutex<Option<Process>>,
    controllers: Option<Process>,
    kubectl: Process,
}

/// The control plane of this test file.
pub fn control_plane() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(ControlPlane::start)
}

fn program(name: &str) -> PathBuf {
    let folders = std::fs::read_dir(cache()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = folders.map(|folder| folder.join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("tests/cluster/install.sh installs {name}"))
}

/// Starts what answers `bin/kubectl`: a process of the size of Kubernetes' takes a tenth of a second of processor time to
/// start, and tests look often.
fn serve_kubectl(program: &Path, at: &Path) -> Process {
    let bin = at.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy(self::program("kubectl"), bin.join("kubectl")).unwrap();
    std::os::unix::fs::symlink(program, bin.join("kubernetes")).unwrap();
    let socket = bin.join("kubectl.socket");
    let mut server = command(program, None, "KILL");
    server.arg("kubectl-server").arg(&socket).env("KUBECACHEDIR", at.join("cache"));
    let process = Process::start(server, log(at, "kubectl"), "-KILL");
    wait_until(60, "what answers kubectl", || socket.exists());
    process
}

impl ControlPlane {
    /// Starts one of its own, for a test that stops it.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let program = program("kubernetes");
        let key =
            Command::new("openssl").args(["genrsa", "-out"]).arg(at.join("accounts.key")).arg("2048").output().unwrap();
        assert!(key.status.success());
        std::fs::write(at.join("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
        let (etcd_port, peer, port) = (free_port(), free_port(), free_port());
        let mut etcd = command(&program, None, "KILL");
        let (client, peer) = (format!("http://127.0.0.1:{etcd_port}"), format!("http://127.0.0.1:{peer}"));
        etcd.arg("etcd").arg("--data-dir").arg(at.join("etcd")).args(["--unsafe-no-fsync", "--log-level", "error"]);
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &format!("default={peer}")]);
        let etcd = Process::start(etcd, log(at, "etcd"), "-KILL");
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: admin, user: {{token: {TOKEN}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]\n"
        );
        std::fs::write(at.join("kubeconfig"), kubeconfig).unwrap();
        let (api, kubectl) = (Mutex::new(None), serve_kubectl(&program, at));
        let mut plane = Self { program, directory, port, etcd, etcd_port, api, controllers: None, kubectl };
        plane.start_api();
        let mut controllers = command(&plane.program, None, "KILL");
        let file = plane.kubeconfig();
        controllers.arg("controllers").arg("--kubeconfig").arg(&file).args(["--leader-elect=false", "--secure-port=0"]);
        // With their usual twenty requests a second they are busy for minutes with what a test makes at once.
        controllers.args(["--kube-api-qps=500", "--kube-api-burst=1000"]);
        // A claim whose volume is made after it is looked at again only so often: fifteen seconds, if nobody says so.
        controllers.arg("--pvclaimbinder-sync-period=1s");
        controllers.arg("--authentication-kubeconfig").arg(&file).arg("--authorization-kubeconfig").arg(&file);
        controllers.arg("--service-account-private-key-file").arg(plane.directory.path().join("accounts.key"));
        controllers.arg("--root-ca-file").arg(plane.directory.path().join("certificates/apiserver.crt"));
        plane.controllers = Some(Process::start(controllers, log(plane.directory.path(), "controllers"), "-KILL"));
        wait_until(60, "the account of the namespace default", || {
            plane.kubectl(&["get", "serviceaccount", "default"], "").is_ok()
        });
        plane
    }

    /// Starts the API server and waits until it is ready.
    pub fn start_api(&self) {
        let at = self.directory.path();
        let mut api = command(&self.program, None, "KILL");
        api.arg("apiserver").args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"]);
        api.args([
            "--secure-port",
            &self.port.to_string(),
            "--etcd-servers",
            &format!("http://127.0.0.1:{}", self.etcd_port),
        ]);
        api.arg("--cert-dir").arg(at.join("certificates")).arg("--token-auth-file").arg(at.join("tokens.csv"));
        api.arg("--service-account-key-file").arg(at.join("accounts.key"));
        api.arg("--service-account-signing-key-file").arg(at.join("accounts.key"));
        api.args(["--service-account-issuer", "https://kubernetes.default.svc", "--authorization-mode", "RBAC"]);
        api.args(["--service-cluster-ip-range", "10.96.0.0/16", "--endpoint-reconciler-type", "none"]);
        // Every request is written down: a test can prove what was not asked for.
        std::fs::write(
            at.join("audit.yaml"),
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n",
        )
        .unwrap();
        api.arg("--audit-policy-file").arg(at.join("audit.yaml")).arg("--audit-log-path").arg(at.join("audit.log"));
        let process = Process::start(api, log(at, "apiserver"), "-KILL");
        *self.api.lock().unwrap() = Some(process);
        wait_until(90, "an answer of the API server", || self.kubectl(&["get", "--raw", "/readyz"], "").is_ok());
    }

    /// Kills the API server.
    pub fn kill_api(&self) {
        self.api.lock().unwrap().take();
    }

    /// Where the cluster is described.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Runs kubectl; what it printed, or what it complained of.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(self.directory.path().join("bin/kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command.env("HOME", self.directory.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Applies YAML.
    pub fn apply(&self, yaml: &str) {
        self.kubectl(&["apply", "--server-side", "--field-manager=kubectl", "--force-conflicts", "-f", "-"], yaml)
            .unwrap();
    }

    /// One object; nothing if it is not there.
    pub fn get(&self, arguments: &[&str]) -> Option<Value> {
        let all = [&["get", "--output", "json"], arguments].concat();
        self.kubectl(&all, "").ok().map(|text| serde_json::from_str(&text).unwrap())
    }

    /// Waits until an object is there (and fits).
    pub fn await_object(&self, arguments: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
        let mut found = Value::Null;
        wait_until(60, &format!("{arguments:?}"), || match self.get(arguments) {
            Some(object) => {
                found = object;
                fits(&found)
            }
            None => false,
        });
        found
    }

    /// Makes a namespace and waits for what the cluster puts into it.
    pub fn namespace(&self, name: &str) {
        self.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
        self.await_object(&["serviceaccount", "default", "-n", name], |_| true);
        self.await_object(&["configmap", "kube-root-ca.crt", "-n", name], |_| true);
    }

    /// A connection.
    pub fn connect(&self) -> Cluster {
        let connect = Connect { place: Place::Files(vec![self.kubeconfig()]), context: None };
        Cluster::connect(&connect, SystemClock::shared(), CancellationToken::new()).unwrap()
    }

    /// What a restore works with.
    pub fn means(&self) -> Means {
        Means {
            cluster: self.connect(),
            clock: SystemClock::shared(),
            progress: NoProgress::shared(),
            cancel: CancellationToken::new(),
            in_flight: 16,
        }
    }

    /// Everything in a namespace that can be listed and made, and the namespace itself.
    pub async fn saved(&self, namespace: &str) -> Vec<Saved> {
        let cluster = self.connect();
        let kinds = cluster.discover().await.unwrap().kinds;
        let listed = |kind: &&Kind| kind.namespaced && kind.verbs.contains("list") && kind.verbs.contains("create");
        let never = ["events", "events.events.k8s.io", "leases.coordination.k8s.io"];
        let covered: BTreeSet<String> = kinds
            .iter()
            .filter(listed)
            .map(Kind::group_resource)
            .filter(|name| !never.contains(&name.as_str()))
            .collect();
        let kind = davit::snapshot::object::SavedKind::from(&Kind::namespaces());
        let itself = Saved::new(&kind, &self.get(&["namespace", namespace]).unwrap());
        let namespaces = [namespace.to_owned()].into();
        let among = restore::Among { kinds: &covered, namespaces: &namespaces, selector: None };
        restore::live_objects(&cluster, &[itself], &among).await.unwrap().objects
    }

    /// Cluster-scoped objects as a snapshot brings them along.
    pub fn related(&self, kind: &str, name: &str) -> Saved {
        let body = self.get(&[kind, name]).unwrap();
        let kind = davit::snapshot::object::SavedKind::of_body(kind, false, &body);
        Saved::new(&kind, &body)
    }

    /// How often the server has refused `davit` a list of something in a namespace.
    pub fn lists_refused(&self, resource: &str, namespace: &str) -> usize {
        let text = std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap();
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let refused = entries.filter(|entry| {
            entry["userAgent"].as_str().unwrap_or_default().starts_with("davit/")
                && entry["verb"] == "list"
                && entry["objectRef"]["resource"] == resource
                && entry["objectRef"]["namespace"] == namespace
                && entry["responseStatus"]["code"] == 403
        });
        refused.count()
    }

    /// The requests of `davit` so far that changed something, as `create namespaces/x` or `create x/configmaps/y`.
    pub fn changes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap();
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of = |entry: &Value, field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
        entries
            .filter(|entry| entry["userAgent"].as_str().unwrap_or_default().starts_with("davit/"))
            .filter(|entry| {
                ["create", "update", "patch", "delete", "deletecollection"].contains(&entry["verb"].as_str().unwrap())
            })
            .filter(|entry| !entry["requestURI"].as_str().unwrap().contains("dryRun=All"))
            .map(|entry| {
                let verb = entry["verb"].as_str().unwrap();
                format!("{verb} {} {}/{}", of(&entry, "resource"), of(&entry, "namespace"), of(&entry, "name"))
            })
            .collect()
    }

    /// What the server logged, for a test that fails.
    pub fn log(&self, part: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(format!("{part}.log"))).unwrap_or_default()
    }
}

fn log(at: &Path, part: &str) -> std::fs::File {
    std::fs::File::options().create(true).append(true).open(at.join(format!("{part}.log"))).unwrap()
}
