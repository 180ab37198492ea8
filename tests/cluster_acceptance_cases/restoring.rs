//! What the account of restores does besides making objects: running movers that bring files back, and proofs in a scratch
//! namespace. Each right is needed, and none is missing.

use super::accounts::{Account, OBJECTS, desk, ended, rules_of};
use crate::cli_support::Said;
use crate::support::cluster::Cluster;
use serde_json::{Value, json};

const ALL: [&str; 6] = ["get", "list", "create", "update", "patch", "delete"];

/// The rights of a restore, where what may be done with pods is said apart: rights only add up, so all of a group cannot be
/// given but for one kind.
fn but_for_pods(cluster: &Cluster, pods: &[&str], exec: &[&str]) -> Value {
    let versions = cluster.kubectl("api-versions");
    let groups: Vec<&str> = versions.lines().filter_map(|line| Some(line.split_once('/')?.0)).collect();
    let core = cluster.kubectl("api-resources --api-group= -o name");
    let core: Vec<&str> = core.lines().filter(|name| *name != "pods").collect();
    let mut rules = json!([
        { "apiGroups": groups, "resources": ["*"], "verbs": ALL },
        { "apiGroups": [""], "resources": core, "verbs": ALL },
        { "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "clusterroles"], "verbs": ["escalate", "bind"] }
    ]);
    for (resource, verbs) in [("pods", pods), ("pods/exec", exec)] {
        if !verbs.is_empty() {
            rules.as_array_mut().unwrap().push(json!({ "apiGroups": [""], "resources": [resource], "verbs": verbs }));
        }
    }
    rules
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn bringing_files_back_needs_to_make_movers_and_to_run_commands_in_them() {
    let cluster = Cluster::shared();
    cluster.load_davit(std::path::Path::new(env!("CARGO_BIN_EXE_davit")));
    let namespace = cluster.namespace("refill");
    let name = namespace.name.as_str();
    namespace.apply(super::volumes::KEEPER);
    namespace.wait_rollout("statefulset/keeper");
    namespace.exec("keeper-0", &["sh", "-c", "echo kept >/data/kept; rm -f /data/fresh; sync"]);
    let account = Account::new(&cluster, &namespace, "restorer");
    let desk = desk(&account);
    let admin = cluster.kubeconfig();
    let image = ["--volumes", "files", "--mover-image", "davit.test/davit:1"];
    let save = [&["snapshot", "create", name, "--kubeconfig", admin.to_str().unwrap()][..], &image].concat();
    ended(&desk.davit(&save), 0, "volume of data-keeper-0: ");

    let (point, copy) = (format!("{name}@latest"), format!("{name}-copy"));
    let restore = || desk.davit(&["snapshot", "restore", &point, "--into", &copy]);
    let fewer = |verb: &str| ALL.into_iter().filter(|have| *have != verb).collect::<Vec<_>>();
    let give = |pods: &[&str], exec: &[&str]| {
        account.give("all", &but_for_pods(&cluster, pods, exec), None);
        for verb in ALL {
            account.await_right(pods.contains(&verb), verb, "pods", None);
        }
        account.await_right(exec.contains(&"get"), "get", "pods/exec", None);
        account.await_right(true, "escalate", "roles.rbac.authorization.k8s.io", None);
    };
    // Servers before 1.35 ask for "get" only, because a WebSocket begins with one; later ones for "create" as well.
    for (pods, exec, text) in [
        (fewer("create"), &["get", "create"][..], "cannot create resource \"pods\""),
        (ALL.to_vec(), &["create"], "cannot get resource \"pods/exec\""),
        (fewer("delete"), &["get", "create"], "cannot delete resource \"pods\""),
    ] {
        give(&pods, exec);
        let said = restore();
        ended(&said, 1, text);
        ended(&said, 1, "the files of its volume are not back");
        let sets = cluster.kubectl(&format!("get statefulsets -n {copy} -o name"));
        assert_eq!(sets, "", "nothing that would use it was begun");
    }
    // With all of them, as deploy/ gives them, the same command goes on.
    account.give("all", &rules_of("components/restore/restore.yaml", "ClusterRole", "davit-restore"), None);
    account.await_right(true, "delete", "pods", None);
    account.await_right(true, "get", "pods/exec", None);
    ended(&restore(), 0, "its volume");
    let movers = || cluster.kubectl(&format!("get pods -n {copy} -l davit.dev/mover -o name"));
    assert_eq!(movers(), "");
    cluster.kubectl(&format!("rollout status statefulset/keeper -n {copy} --timeout=300s"));
    assert_eq!(cluster.kubectl(&format!("exec -n {copy} keeper-0 -- cat /data/kept")), "kept");
    cluster.kubectl(&format!("delete namespace {copy} --wait=false"));
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_proof_needs_to_make_and_to_remove_and_what_it_cannot_remove_is_named_by_the_next() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("proving");
    let name = namespace.name.as_str();
    namespace.apply(OBJECTS);
    let account = Account::new(&cluster, &namespace, "restorer");
    let desk = desk(&account);
    let admin = cluster.kubeconfig();
    ended(&desk.davit(&["snapshot", "create", name, "--kubeconfig", admin.to_str().unwrap()]), 0, "saved namespace");
    let point = format!("{name}@latest");
    let prove = || desk.davit(&["snapshot", "verify", &point, "--depth", "restored"]);
    let rules = rules_of("components/restore/restore.yaml", "ClusterRole", "davit-restore");
    let give = |but: &[&str]| {
        let mut fewer = rules.clone();
        for rule in fewer.as_array_mut().unwrap() {
            rule["verbs"].as_array_mut().unwrap().retain(|have| !but.iter().any(|verb| have == verb));
        }
        fewer.as_array_mut().unwrap().retain(|rule| rule["verbs"] != json!([]));
        account.give("all", &fewer, None);
        for verb in ALL {
            account.await_right(!but.contains(&verb), verb, "configmaps", None);
        }
        for verb in ["escalate", "bind"] {
            account.await_right(!but.contains(&verb), verb, "roles.rbac.authorization.k8s.io", None);
        }
    };
    // Nothing that is there is read by its name or changed.
    give(&["get", "update"]);
    ended(&prove(), 0, "restored and compared");
    for (verb, code, text) in [
        ("list", 3, "cannot list resource"),
        ("create", 3, "cannot create resource \"namespaces\""),
        ("escalate", 6, "this account may not escalate roles"),
        ("bind", 6, "this account may not bind "),
    ] {
        give(&[verb]);
        let said: Said = prove();
        ended(&said, code, text);
    }
    give(&["delete"]);
    let said = prove();
    ended(&said, 5, "cannot delete resource \"namespaces\"");
    // Other tests prove things, too: only what this one left is looked at.
    let left = said.stderr.split("scratch namespace ").nth(1).unwrap();
    let left: String = left.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    give(&[]);
    let said = prove();
    ended(&said, 0, "restored and compared");
    // Whose it is nobody can know but by its age, and it is young.
    assert!(said.stderr.contains(&format!("kubectl delete namespace {left}")), "{}", said.stderr);
    cluster.kubectl(&format!("delete namespace {left} --timeout=300s"));
}
