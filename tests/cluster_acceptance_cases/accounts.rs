//! Every right of the accounts is needed, and none is missing.

use super::deploy::{documents, folder, one};
use crate::cli_support::{Desk, Said};
use crate::support::cluster::{Cluster, Namespace};
use crate::support::wait_until;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A namespace that leans on one object of each cluster-scoped kind that is saved along. NAME is the namespace.
const LEANING: &str = include_str!("../fixtures/cluster/leaning.yaml");

/// What only an account that may give more than it has can make.
pub const OBJECTS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: green}\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: more}\nrules: [{apiGroups: [''], resources: [pods], verbs: [watch]}]\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: all}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n\
    subjects: [{kind: ServiceAccount, name: nobody}]\n";

/// A service account of a namespace, with a copy of roles that a test may change.
pub struct Account<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    name: &'a str,
    directory: tempfile::TempDir,
}

impl<'a> Account<'a> {
    pub fn new(cluster: &'a Cluster, namespace: &'a Namespace<'_>, name: &'a str) -> Self {
        namespace.kubectl(&format!("create serviceaccount {name}"));
        let account = Self { cluster, namespace: &namespace.name, name, directory: tempfile::tempdir().unwrap() };
        std::fs::write(account.kubeconfig(), namespace.kubeconfig_of(name)).unwrap();
        account
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// What this account is called in the cluster.
    fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// Gives it a role with these rules, in one namespace or in the cluster.
    pub fn give(&self, role: &str, rules: &Value, inside: Option<&str>) {
        let name = format!("{}-{role}", self.namespace);
        let subjects = json!([{"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}]);
        let api = "rbac.authorization.k8s.io/v1";
        let role = json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
        let refers = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
        let mut binding = json!({"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": refers, "subjects": subjects});
        if let Some(namespace) = inside {
            binding["kind"] = "RoleBinding".into();
            binding["metadata"]["namespace"] = namespace.into();
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]});
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), list.to_string()).unwrap();
        let output = self.cluster.kubectl_command().args(["apply", "-f"]).arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether it may do something, as the server says.
    pub fn may(&self, verb: &str, what: &str, inside: Option<&str>) -> bool {
        // What stands behind a slash would be taken for a name.
        let (kind, part) = what.split_once('/').unwrap_or((what, ""));
        let part = format!("--subresource={part}");
        let mut arguments = vec!["auth", "can-i", verb, kind, &part];
        match inside {
            Some(namespace) => arguments.extend(["--namespace", namespace]),
            None => arguments.push("--all-namespaces"),
        }
        let mut command = self.cluster.kubectl_command();
        let output = command.args(arguments).arg(format!("--as={}", self.user())).output().unwrap();
        output.stdout.starts_with(b"yes")
    }

    pub fn await_right(&self, wanted: bool, verb: &str, what: &str, inside: Option<&str>) {
        wait_until(20, &format!("{verb} {what}: {wanted}"), || self.may(verb, what, inside) == wanted);
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        let mark = format!("{}-", self.namespace);
        for kind in ["clusterrole", "clusterrolebinding"] {
            let names = self.cluster.try_kubectl(&format!("get {kind} -o name"));
            let names = String::from_utf8_lossy(&names.stdout).into_owned();
            for name in names.lines().filter(|name| name.split('/').nth(1).is_some_and(|name| name.starts_with(&mark)))
            {
                self.cluster.try_kubectl(&format!("delete {name} --wait=false"));
            }
        }
    }
}

/// The rules of a role in `deploy/`.
pub fn rules_of(file: &str, kind: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    one(&documents(&text), kind, name)["rules"].clone()
}

pub fn ended(said: &Said, code: i32, text: &str) {
    let all = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, code, "{all}");
    assert!(all.contains(text), "{text:?} is not in\n{all}");
}

pub fn desk(account: &Account<'_>) -> Desk {
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", account.kubeconfig().to_str().unwrap());
    desk
}

/// A namespace with something of everything, which runs nothing.
pub fn leaning<'a>(cluster: &'a Cluster, purpose: &str) -> Namespace<'a> {
    let namespace = cluster.namespace(purpose);
    let text = LEANING.replace("NAME", &namespace.name);
    let (first, rest) = text.split_once("\n# Then:\n").unwrap();
    namespace.apply(first);
    for kind in ["widgets.example.com", "volumesnapshots.snapshot.storage.k8s.io"] {
        wait_until(30, "the definitions", || namespace.try_kubectl(&format!("get {kind}")).status.success());
    }
    namespace.apply(rest);
    namespace
}

/// Takes away what the fixture put beside its namespace.
pub struct Beside<'a>(pub &'a Cluster, pub String);

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        let (cluster, name) = (self.0, &self.1);
        let kinds = "persistentvolume,priorityclass,runtimeclass,ingressclass,clusterrole,clusterrolebinding,\
                     validatingwebhookconfiguration,mutatingwebhookconfiguration,volumesnapshotclass,volumesnapshotcontent";
        cluster.try_kubectl(&format!("delete {kinds} leaning-{name} --ignore-not-found --wait=false"));
    }
}

/// Every kind that a role names, with the role as it is without that kind.
fn each_taken_away(rules: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (at, rule) in rules.as_array().unwrap().iter().enumerate() {
        let group = rule["apiGroups"][0].as_str().unwrap();
        for (number, resource) in rule["resources"].as_array().unwrap().iter().enumerate() {
            let resource = resource.as_str().unwrap();
            let full = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            let mut fewer = rules.clone();
            fewer[at]["resources"].as_array_mut().unwrap().remove(number);
            if fewer[at]["resources"] == json!([]) {
                fewer.as_array_mut().unwrap().remove(at);
            }
            all.push((full, fewer));
        }
    }
    all
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn saving_needs_each_of_its_rights_and_no_other() {
    let cluster = Cluster::shared();
    let namespace = leaning(&cluster, "rights");
    let name = namespace.name.as_str();
    let _beside = Beside(&cluster, namespace.name.clone());
    let account = Account::new(&cluster, &namespace, "saver");
    let inside = rules_of("base/roles.yaml", "ClusterRole", "davit-backup-namespace");
    let of_cluster = rules_of("base/roles.yaml", "ClusterRole", "davit-backup-cluster");
    account.give("inside", &inside, Some(name));
    account.give("cluster", &of_cluster, None);
    account.await_right(true, "list", "secrets", Some(name));
    account.await_right(true, "list", "ingressclasses.networking.k8s.io", None);

    // With all of them the snapshot is whole, and holds what the namespace leans on.
    let desk = desk(&account);
    ended(&desk.davit(&["snapshot", "create", name]), 0, "saved namespace");
    let shown = desk.json(&["snapshot", "show", &format!("{name}@latest")]).1;
    let kinds = shown["coverage"]["kinds"].as_array().unwrap();
    let taken = kinds.iter().filter(|kind| kind["related"] == true && kind["objects"] != 0);
    let related: Vec<&str> = taken.map(|kind| kind["kind"].as_str().unwrap()).collect();
    let rights = each_taken_away(&of_cluster);
    for (right, _) in rights.iter().filter(|(right, _)| !right.starts_with("apiservices")) {
        assert!(related.contains(&right.as_str()), "{right} is not in {related:?}");
    }

    // Without any one of them it is refused, incomplete, or says what it does not know.
    for (right, fewer) in rights {
        account.give("cluster", &fewer, None);
        account.await_right(false, "list", &right, None);
        let said = desk.davit(&["snapshot", "create", name]);
        match right.as_str() {
            "namespaces" => ended(&said, 3, "namespaces"),
            "apiservices.apiregistration.k8s.io" => {
                ended(&said, 0, "whether the API services are available is not known");
            }
            _ => ended(&said, 1, "INCOMPLETE"),
        }
        assert!(said.stdout.contains("MISSING") || !said.stdout.contains("INCOMPLETE"), "{right}: {}", said.stdout);
    }
    account.give("cluster", &of_cluster, None);
    account.await_right(true, "list", "namespaces", None);
    account.give("inside", &json!([{"apiGroups": [""], "resources": ["*"], "verbs": ["list"]}]), Some(name));
    account.await_right(false, "list", "ingresses.networking.k8s.io", Some(name));
    ended(&desk.davit(&["snapshot", "create", name]), 1, "MISSING  ingresses.networking.k8s.io");
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn the_account_of_backups_runs_nothing_in_a_pod_unless_a_namespace_lets_it() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("noexec");
    let name = namespace.name.as_str();
    namespace.apply_fixture("web.yaml");
    namespace.wait_rollout("deployment/web");
    let account = Account::new(&cluster, &namespace, "saver");
    account.give("inside", &rules_of("base/roles.yaml", "ClusterRole", "davit-backup-namespace"), Some(name));
    account.give("cluster", &rules_of("base/roles.yaml", "ClusterRole", "davit-backup-cluster"), None);
    account.await_right(true, "list", "pods", Some(name));
    account.await_right(true, "list", "namespaces", None);
    for (verb, what) in [
        ("get", "pods/exec"),
        ("create", "pods/exec"),
        ("create", "pods/attach"),
        ("create", "pods/portforward"),
        ("create", "pods/ephemeralcontainers"),
        ("patch", "pods/ephemeralcontainers"),
        ("get", "pods/log"),
        ("get", "secrets"),
        ("watch", "secrets"),
        ("create", "serviceaccounts/token"),
        ("create", "pods"),
        ("delete", "pods"),
        ("impersonate", "serviceaccounts"),
        ("escalate", "roles.rbac.authorization.k8s.io"),
    ] {
        assert!(!account.may(verb, what, Some(name)), "{verb} {what}");
    }
    let token = std::fs::read_to_string(account.kubeconfig()).unwrap();
    assert!(token.contains("token"));
    let mut exec = std::process::Command::new(cluster.folder().join("bin/kubectl"));
    exec.arg("--kubeconfig").arg(account.kubeconfig());
    let pod = namespace.kubectl("get pods -l app=web -o jsonpath={.items[0].metadata.name}");
    let output = exec.args(["exec", "-n", name, &pod, "--", "/service", "get", "http://web/"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("orbidden"), "{output:?}");

    // A hook that may not run makes the snapshot incomplete; with components/hooks in this namespace it runs.
    let annotations = format!("annotate pod {pod} davit.dev/pre-command=[\"/service\",\"resolve\",\"web\"]");
    namespace.kubectl(&annotations);
    let desk = desk(&account);
    ended(&desk.davit(&["snapshot", "create", name]), 1, "MISSING  hook before in pod");
    account.give("hooks", &rules_of("components/hooks/hooks.yaml", "Role", "davit-hooks"), Some(name));
    account.await_right(true, "get", "pods/exec", Some(name));
    ended(&desk.davit(&["snapshot", "create", name]), 0, "saved namespace");
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn moving_the_files_of_volumes_needs_the_rights_of_its_component() {
    let cluster = Cluster::shared();
    cluster.load_davit(std::path::Path::new(env!("CARGO_BIN_EXE_davit")));
    let namespace = cluster.namespace("moving");
    let name = namespace.name.as_str();
    namespace.apply(super::volumes::KEEPER);
    namespace.wait_rollout("statefulset/keeper");
    let account = Account::new(&cluster, &namespace, "saver");
    account.give("inside", &rules_of("base/roles.yaml", "ClusterRole", "davit-backup-namespace"), Some(name));
    account.give("cluster", &rules_of("base/roles.yaml", "ClusterRole", "davit-backup-cluster"), None);
    account.await_right(true, "list", "pods", Some(name));
    account.await_right(true, "list", "namespaces", None);
    let desk = desk(&account);
    let save =
        || desk.davit(&["snapshot", "create", name, "--volumes", "files", "--mover-image", "davit.test/davit:1"]);
    ended(&save(), 1, "MISSING  volume of claim data-keeper-0: ");

    let rules = rules_of("components/volumes/volumes.yaml", "Role", "davit-volumes");
    let movers = || namespace.kubectl("get pods -l davit.dev/mover -o name");
    account.give("volumes", &rules, Some(name));
    account.await_right(true, "get", "pods/exec", Some(name));
    ended(&save(), 0, "volume of data-keeper-0: ");
    assert_eq!(movers(), "", "no mover is left");
    for (verb, what) in [("create", "pods"), ("delete", "pods"), ("get", "pods/exec")] {
        let mut fewer = rules.clone();
        let rule = fewer.as_array_mut().unwrap().iter_mut().find(|rule| rule["resources"][0] == what).unwrap();
        rule["verbs"].as_array_mut().unwrap().retain(|have| have != verb);
        account.give("volumes", &fewer, Some(name));
        account.await_right(false, verb, what, Some(name));
        // A mover that cannot be taken away again is no good end either.
        ended(&save(), 1, "MISSING  volume of claim data-keeper-0: ");
        namespace.kubectl("delete pods -l davit.dev/mover --now");
    }
    // In no other namespace.
    for (verb, what) in [("create", "pods"), ("get", "pods/exec"), ("delete", "pods")] {
        assert!(!account.may(verb, what, Some("default")), "{verb} {what}");
    }
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn restoring_needs_each_of_its_rights_and_no_other() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("restoring");
    let name = namespace.name.as_str();
    namespace.apply(OBJECTS);
    let account = Account::new(&cluster, &namespace, "restorer");
    let rules = rules_of("components/restore/restore.yaml", "ClusterRole", "davit-restore");
    let admin = cluster.kubeconfig();
    let admin = ["--kubeconfig", admin.to_str().unwrap()];
    let desk = desk(&account);
    ended(&desk.davit(&[&["snapshot", "create", name][..], &admin].concat()), 0, "saved namespace");
    let point = format!("{name}@latest");
    let copy = format!("{name}-copy");
    let restore = |more: &[&str]| desk.davit(&[&["snapshot", "restore", &point, "--into", &copy], more].concat());
    let gone = || {
        cluster.try_kubectl(&format!("delete namespace {copy} --timeout=300s"));
    };
    let without = |verb: &str| {
        let mut fewer = rules.clone();
        for rule in fewer.as_array_mut().unwrap() {
            rule["verbs"].as_array_mut().unwrap().retain(|have| have != verb);
        }
        account.give("all", &fewer, None);
        let what = if ["escalate", "bind"].contains(&verb) { "roles.rbac.authorization.k8s.io" } else { "configmaps" };
        account.await_right(false, verb, what, None);
    };
    let with_all = || {
        account.give("all", &rules, None);
        for verb in ["get", "list", "create", "update", "patch", "delete"] {
            account.await_right(true, verb, "configmaps", None);
        }
        account.await_right(true, "escalate", "roles.rbac.authorization.k8s.io", None);
        account.await_right(true, "bind", "roles.rbac.authorization.k8s.io", None);
    };

    with_all();
    ended(&restore(&[]), 0, "restored point");
    // What is there differs, and each mode needs its own verb.
    let change = || {
        let patch = r#"{"data":{"colour":"red"}}"#;
        let arguments = ["patch", "configmap", "settings", "-n", &copy, "--type", "merge", "-p", patch];
        assert!(cluster.kubectl_command().args(arguments).output().unwrap().status.success());
    };
    for (verb, mode, code) in [
        // It is all that there is to do: then nothing was changed.
        ("patch", &["--on-conflict", "merge"][..], 3),
        ("update", &["--on-conflict", "replace"], 3),
        ("delete", &["--recreate", "configmaps"], 1),
        // Whether the old one is gone is looked at.
        ("get", &["--recreate", "configmaps"], 1),
    ] {
        change();
        without(verb);
        ended(&restore(mode), code, &format!("cannot {verb} resource \"configmaps\""));
        with_all();
        ended(&restore(mode), 0, "restored point");
    }
    for (verb, text) in [
        ("list", "cannot list resource"),
        ("create", "cannot create resource"),
        ("escalate", "attempting to grant RBAC permissions not currently held"),
        ("bind", "attempting to grant RBAC permissions not currently held"),
    ] {
        gone();
        without(verb);
        let said = restore(&[]);
        assert_ne!(said.code, 0, "without {verb}: {}{}", said.stdout, said.stderr);
        assert!(
            format!("{}{}", said.stdout, said.stderr).contains(text),
            "without {verb}: {}{}",
            said.stdout,
            said.stderr
        );
    }
    gone();
}
