//! A namespace that lets faults in, one for the helpers, and a desk in front of both.

use crate::cli_support::{Desk, Said};
use crate::support::cluster::{Cluster, Namespace};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The image of helpers and fuses.
pub const IMAGE: &str = "davit.test/davit:1";

/// Everything a fault takes.
pub struct Stand<'a> {
    pub cluster: &'a Cluster,
    pub app: Namespace<'a>,
    pub helpers: Namespace<'a>,
    pub desk: Desk,
}

impl<'a> Stand<'a> {
    /// Nothing runs in it yet.
    pub fn new(cluster: &'a Cluster, purpose: &str) -> Self {
        cluster.load_davit(Path::new(env!("CARGO_BIN_EXE_davit")));
        let app = cluster.namespace(purpose);
        let helpers = cluster.namespace(&format!("{purpose}-helpers"));
        cluster
            .kubectl(&format!("annotate namespace {} davit.dev/chaos=allowed davit.dev/environment=staging", app.name));
        let desk = patient_desk(cluster);
        Self { cluster, app, helpers, desk }
    }

    /// The same with three pods of a web service behind a name, and behind a port of every node.
    pub fn with_web(cluster: &'a Cluster, purpose: &str) -> Self {
        let stand = Self::new(cluster, purpose);
        stand.app.apply_fixture("web.yaml");
        stand.app.kubectl(r#"patch service web -p {"spec":{"type":"NodePort"}}"#);
        stand.app.wait_rollout("deployment/web");
        stand
    }

    /// `davit chaos inject FAULT --target NAMESPACE/…`: exit code and document.
    pub fn inject(&self, fault: &str, target: &str, more: &[&str]) -> (i32, Value) {
        inject(&self.desk, &self.helpers.name, fault, &format!("{}/{target}", self.app.name), more)
    }

    /// The same, which must be proven, healed and read back; gives what was seen.
    pub fn broken(&self, fault: &str, target: &str, more: &[&str]) -> String {
        proven(&self.inject(fault, target, more))
    }

    /// Where a service of the namespace is reached through a node.
    pub fn door(&self, node: u32, service: &str) -> String {
        let port = self.app.kubectl(&format!("get service {service} -o jsonpath={{.spec.ports[0].nodePort}}"));
        let slot = std::fs::read_to_string(self.cluster.folder().join("slot")).unwrap();
        format!("198.18.{}.1{node}:{port}", slot.trim())
    }

    /// Uids and names of the pods of a label that are not going.
    pub fn pods(&self, labels: &str) -> Vec<(String, String)> {
        let path =
            "jsonpath={range .items[*]}{.metadata.uid}/{.metadata.name}/{.metadata.deletionTimestamp}{\"\\n\"}{end}";
        let output = self.app.kubectl_command().args(["get", "pods", "-l", labels, "-o", path]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let fields = text.lines().map(|line| line.split('/').collect::<Vec<_>>());
        let alive = fields.filter(|fields| fields[2].is_empty());
        alive.map(|fields| (fields[0].to_owned(), fields[1].to_owned())).collect()
    }

    /// Gives the account of the helpers' namespace exactly what `davit chaos rbac` prints for these faults; the objects.
    pub fn account(&self, faults: &[&str]) -> Vec<Value> {
        let name = self.helpers.name.as_str();
        self.helpers.try_kubectl(&format!("create serviceaccount {name}"));
        let mut arguments = vec!["chaos", "rbac"];
        arguments.extend(faults);
        arguments.extend(["--namespace", &self.app.name, "--account", name, "--helper-namespace", name]);
        let (code, document) = self.desk.json(&arguments);
        assert_eq!(code, 0, "{document:#}");
        let objects = document["objects"].as_array().unwrap().clone();
        for object in &objects {
            self.apply_anywhere(&object.to_string());
        }
        objects
    }

    /// Applies an object where it says that it belongs.
    pub fn apply_anywhere(&self, object: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object).unwrap();
        let output = self.cluster.kubectl_command().args(["apply", "-f"]).arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A kubeconfig with which one is that account.
    pub fn kubeconfig_of_account(&self) -> PathBuf {
        self.helpers.try_kubectl(&format!("create serviceaccount {}", self.helpers.name));
        let file = self.desk.path().join("account.json");
        std::fs::write(&file, self.helpers.kubeconfig_of(&self.helpers.name)).unwrap();
        file
    }

    /// No helper and no fuse is left.
    pub fn no_helper_is_left(&self) {
        let left = self.helpers.kubectl("get pods -o name");
        assert_eq!(left, "");
    }
}

impl Drop for Stand<'_> {
    /// What belongs to no namespace.
    fn drop(&mut self) {
        let name = &self.helpers.name;
        for which in [name.clone(), format!("--selector davit.test/stand={name}")] {
            self.cluster.try_kubectl(&format!("delete clusterrole,clusterrolebinding {which} --wait=false"));
        }
    }
}

/// A desk with a repository in front of a cluster.
pub fn desk(cluster: &Cluster) -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    desk.set("DAVIT_TEST_CACHE", crate::support::cache().to_str().unwrap());
    desk.set("DAVIT_LEASE_TERM", "3s");
    desk
}

/// The same for runs that nobody kills: on a busy machine the renewal of a lease may take its time.
pub fn patient_desk(cluster: &Cluster) -> Desk {
    let mut desk = desk(cluster);
    desk.set("DAVIT_LEASE_TERM", "30s");
    desk
}

/// `davit chaos inject`
pub fn inject(desk: &Desk, helpers: &str, fault: &str, target: &str, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["chaos", "inject", fault, "--target", target];
    // One pod of one that was named is all of them.
    for (name, usual) in [("--for", "2s"), ("--max-percent", "100")] {
        if !more.contains(&name) {
            arguments.extend([name, usual]);
        }
    }
    arguments.extend(["--helper-image", IMAGE, "--helper-namespace", helpers, "--helper-account", helpers]);
    arguments.extend(more);
    desk.json(&arguments)
}

/// What was seen of a fault that was proven, healed and read back.
pub fn proven((code, document): &(i32, Value)) -> String {
    assert_eq!((*code, document["proven"].as_bool()), (0, Some(true)), "{document:#}");
    let healed = document["healed"].as_array().unwrap();
    let good = |one: &Value| one["read_back"] == "as-before" || one["read_back"] == "nothing-to-undo";
    assert!(!healed.is_empty() && healed.iter().all(good), "{document:#}");
    let seconds = &document["effective_seconds"];
    println!("{}: proven {}..{} s", document["fault"], seconds["low"], seconds["high"]);
    document["proofs"][0]["seen"].as_str().unwrap().to_owned()
}

/// A refusal: exit 3, and the guard by its name.
pub fn refused((code, document): &(i32, Value), guard: &str) {
    assert_eq!(*code, 3, "{document:#}");
    assert!(document.to_string().contains(&format!("guard {guard}")), "{document:#}");
}

/// What was said must have ended so.
pub fn ended(said: &Said, code: i32) {
    assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
}
