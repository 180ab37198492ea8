//! A real Kubernetes of three nodes, started once for all tests of this checkout, and another one for those that harm nodes:
//! `tests/cluster/cluster.sh`.
//!
//! It runs for as long as a process holds its lease, a file lock which the kernel takes back from the killed ones too;
//! `make test` holds it for the whole suite. Each test works in namespaces of its own.

use super::cache;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How a test uses the cluster: the file lock under it is shared or exclusive, and goes when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Kept open for its lock.
    _use: File,
}

/// A namespace that is deleted when this is dropped.
#[derive(Debug)]
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    /// Its name.
    pub name: String,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name)
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text.trim_end().to_owned()
}

fn file_in_clusters(name: &str, ending: &str) -> File {
    let folder = cache().join("clusters");
    std::fs::create_dir_all(&folder).unwrap();
    File::options().create(true).append(true).open(folder.join(format!("{name}.{ending}"))).unwrap()
}

/// Joins the shared cluster of this checkout, or its other one whose nodes may be harmed, starting it if nobody has; the
/// lease is held until the process ends.
fn joined(may_be_harmed: bool) -> &'static str {
    static JOINED: [OnceLock<(String, File)>; 2] = [OnceLock::new(), OnceLock::new()];
    let (name, _) = JOINED[usize::from(may_be_harmed)].get_or_init(|| {
        let shared = succeed(&mut Command::new(script("name.sh")));
        let name = if may_be_harmed { format!("{shared}-nodes") } else { shared };
        let lease = file_in_clusters(&name, "lease");
        // Waits for a cluster that is being taken down.
        lease.lock_shared().unwrap();
        succeed(Command::new(script("cluster.sh")).args(["up", &name]));
        (name, lease)
    });
    name
}

impl Cluster {
    /// The shared cluster, used by several tests at once: no node may be harmed.
    pub fn shared() -> Self {
        let name = joined(false).to_owned();
        let shared = file_in_clusters(&name, "use");
        shared.lock_shared().unwrap();
        Self { name, _use: shared }
    }

    /// The other cluster of this checkout, used by nobody else until this is dropped: for tests that harm nodes. They heal
    /// them again. They mostly wait (for a lease of a node to run out, a kubelet to come back), and others work meanwhile.
    pub fn alone() -> Self {
        let name = joined(true).to_owned();
        let exclusive = file_in_clusters(&name, "use");
        exclusive.lock().unwrap();
        Self { name, _use: exclusive }
    }

    /// A cluster that something else has started.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), _use: file_in_clusters(name, "use") }
    }

    /// `cluster.sh VERB NAME ARGUMENTS`, which must succeed.
    pub fn script(&self, verb: &str, arguments: &[&str]) -> String {
        succeed(Command::new(script("cluster.sh")).args([verb, &self.name]).args(arguments))
    }

    /// The folder of everything it is made of.
    pub fn folder(&self) -> PathBuf {
        cache().join("clusters").join(&self.name)
    }

    /// An administrator's kubeconfig; its server can be reached from this machine and from pods.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// Where its S3 server listens, for this machine and for pods; credentials and region are those of `s3`.
    pub fn s3_endpoint(&self) -> String {
        let slot = std::fs::read_to_string(self.folder().join("slot")).unwrap();
        format!("http://198.18.{}.10:7070", slot.trim())
    }

    /// A `kubectl` that still wants its arguments.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.folder().join("bin/kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command
    }

    /// What `kubectl` printed, its arguments parted by blanks; it must succeed.
    pub fn kubectl(&self, line: &str) -> String {
        succeed(self.kubectl_command().args(line.split_whitespace()))
    }

    /// What became of `kubectl`.
    pub fn try_kubectl(&self, line: &str) -> Output {
        self.kubectl_command().args(line.split_whitespace()).output().unwrap()
    }

    /// A fresh namespace with a default account and the certificate of the API server.
    pub fn namespace(&self, purpose: &str) -> Namespace<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{purpose}-{}-{count}", std::process::id());
        self.kubectl(&format!("create namespace {name}"));
        let namespace = Namespace { cluster: self, name };
        super::wait_until(30, "what controllers put into every namespace", || {
            namespace.try_kubectl("get serviceaccount/default configmap/kube-root-ca.crt").status.success()
        });
        namespace
    }

    /// Whether a node is Ready as the control plane sees it.
    pub fn node_is_ready(&self, node: u32) -> bool {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        self.kubectl(&format!("get node node-{node} -o {path}")) == "True"
    }

    /// Power failure: kubelet, containerd and every container are gone, the link is down, unflushed writes are lost.
    /// When this returns, no process of the node is left.
    pub fn power_off(&self, node: u32) {
        self.script("node", &[&node.to_string(), "off"]);
    }

    /// The power is back, and the node is Ready.
    pub fn power_on(&self, node: u32) {
        self.script("node", &[&node.to_string(), "on"]);
        super::wait_until(60, "the node's return", || self.node_is_ready(node));
    }

    /// Makes the image `davit.test/davit:1` of a program and loads it on every node; once per test binary.
    pub fn load_davit(&self, program: &Path) {
        static LOADED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        // A test that could not load it leaves the next one to try, and to say itself what is wrong.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if !loaded.contains(&self.name) {
            let scratch = tempfile::tempdir().unwrap();
            let image = scratch.path().join("davit.tar");
            succeed(Command::new(script("images.sh")).arg("davit").args([program, &image]));
            self.script("load", &[image.to_str().unwrap()]);
            loaded.insert(self.name.clone());
        }
    }
}

impl Drop for Cluster {
    /// The next test finds three nodes, also if this one failed between a power failure and its end.
    fn drop(&mut self) {
        for node in 1..=3 {
            if self.folder().join(format!("hold/node-{node}")).exists() {
                // No assertion: this may run while one is being reported.
                let node = node.to_string();
                Command::new(script("cluster.sh")).args(["node", &self.name, &node, "on"]).output().ok();
            }
        }
    }
}

/// An administrator's kubeconfig (what `kubectl config view --raw -o json` prints) as that of whoever has a token.
pub fn kubeconfig_with(token: &str, administrators: &str) -> String {
    let mut config: Value = serde_json::from_str(administrators).unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({ "token": token.trim() });
    }
    config.to_string()
}

impl Namespace<'_> {
    /// A kubeconfig with which one is a service account of this namespace.
    pub fn kubeconfig_of(&self, account: &str) -> String {
        let token = self.kubectl(&format!("create token {account} --duration=2h"));
        kubeconfig_with(&token, &self.cluster.kubectl("config view --raw -o json"))
    }

    /// A `kubectl` in this namespace that still wants its arguments.
    pub fn kubectl_command(&self) -> Command {
        let mut command = self.cluster.kubectl_command();
        command.args(["--namespace", &self.name]);
        command
    }

    /// What `kubectl` printed, its arguments parted by blanks; it must succeed.
    pub fn kubectl(&self, line: &str) -> String {
        succeed(self.kubectl_command().args(line.split_whitespace()))
    }

    /// What became of `kubectl`.
    pub fn try_kubectl(&self, line: &str) -> Output {
        self.kubectl_command().args(line.split_whitespace()).output().unwrap()
    }

    /// Applies `tests/fixtures/cluster/FILE`.
    pub fn apply_fixture(&self, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cluster").join(file);
        succeed(self.kubectl_command().args(["apply", "-f"]).arg(path));
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifests).unwrap();
        succeed(self.kubectl_command().args(["apply", "-f"]).arg(file.path()));
    }

    /// Waits until a Deployment or `StatefulSet` has all its pods ready; if it does not, says what Kubernetes says.
    pub fn wait_rollout(&self, workload: &str) {
        let output = self.try_kubectl(&format!("rollout status {workload} --timeout=180s"));
        if !output.status.success() {
            let pods = self.try_kubectl("describe pods");
            let logs = self.try_kubectl(&format!("logs {workload} --tail=20"));
            let [pods, logs] = [pods, logs].map(|text| String::from_utf8_lossy(&text.stdout).into_owned());
            panic!("{workload} has not all its pods ready\n{pods}\n{logs}");
        }
    }

    /// Runs a program in a pod (`pod/NAME`, `deployment/NAME`); gives what it printed, it must succeed.
    pub fn exec(&self, pod: &str, program: &[&str]) -> String {
        succeed(self.kubectl_command().args(["exec", pod, "--"]).args(program))
    }

    /// Runs SQL in a pod of PostgreSQL; gives what `psql` printed.
    pub fn psql(&self, pod: &str, sql: &str) -> String {
        self.exec(pod, &["psql", "-h", "/tmp", "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // The cluster may be gone already, as a test may want.
        let line = ["delete", "namespace", &self.name, "--wait=false"];
        self.cluster.kubectl_command().args(line).output().ok();
    }
}
