//! What each flag of a restore changes, from the command line against an API server in this process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod cluster_support;

use cli_support::{Said, documented};
use cluster_support::site::Site;
use cluster_support::{Command, Reaction};
use davit::snapshot::mover::{Moved, REPORT};
use serde_json::{Value, json};

fn restore(site: &Site, into: &str, more: &[&str]) -> Said {
    site.davit(&[&["snapshot", "restore", "shop@latest", "--into", into][..], more].concat())
}

fn ended(said: &Said, code: i32, text: &str) {
    assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains(text) || said.stderr.contains(text), "{text:?}: {}{}", said.stdout, said.stderr);
}

fn there(site: &Site, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    site.server.world().get(kind, namespace, name)
}

/// A shop with something for each flag.
async fn full() -> Site {
    let site = Site::with_a_shop().await;
    let put = |kind: &str, object: Value| site.server.put(kind, object);
    let tracked = json!({ "argocd.argoproj.io/tracking-id": "web:/ConfigMap:shop/tracked" });
    put("configmaps", json!({ "metadata": { "name": "tracked", "annotations": tracked } }));
    let by_team = json!([{ "manager": "team", "operation": "Apply", "fieldsV1": { "f:data": { "f:colour": {} } } }]);
    put(
        "configmaps",
        json!({ "metadata": { "name": "owned", "managedFields": by_team }, "data": { "colour": "red" } }),
    );
    put(
        "services",
        json!({ "metadata": { "name": "door" }, "spec": { "ports": [{ "port": 80 }] }, "status": { "open": true } }),
    );
    let claim = json!({ "metadata": { "name": "data" }, "status": { "phase": "Bound" },
        "spec": { "storageClassName": "slow", "volumeName": "pv-1" } });
    put("persistentvolumeclaims", claim);
    put("serviceaccounts", json!({ "metadata": { "name": "web" } }));
    let subject = json!([{ "kind": "ServiceAccount", "name": "web", "namespace": "shop" }]);
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" });
    put(
        "clusterrolebindings.rbac.authorization.k8s.io",
        json!({ "metadata": { "name": "reader" }, "roleRef": role, "subjects": subject }),
    );
    put(
        "clusterroles.rbac.authorization.k8s.io",
        json!({ "metadata": { "name": "reader" }, "rules": [{ "verbs": ["list"] }] }),
    );
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flag_changes_what_it_says_and_nothing_without_it() {
    let site = full().await;
    assert_eq!(site.save(&[]).0, 0);
    let status = |namespace: &str| there(&site, "services", namespace, "door").unwrap()["status"].clone();
    let class = |namespace: &str| {
        there(&site, "persistentvolumeclaims", namespace, "data").unwrap()["spec"]["storageClassName"].clone()
    };
    let applied = |namespace: &str| {
        let by = format!("PATCH /api/v1/namespaces/{namespace}/configmaps/owned?");
        site.server.requests().iter().any(|line| line.starts_with(&by) && line.contains("fieldManager=team"))
    };

    ended(&restore(&site, "plain", &[]), 0, "restored point");
    assert!(there(&site, "replicasets.apps", "plain", "web-1").is_none());
    assert!(there(&site, "configmaps", "plain", "tracked").is_some());
    assert_eq!((status("plain"), class("plain"), applied("plain")), (Value::Null, json!("slow"), false));

    let flags = [
        "--restore-derived",
        "replicasets",
        "--skip-gitops",
        "--with-status",
        "services",
        "--keep-managers",
        "--map-storage-class",
        "slow=fast",
    ];
    ended(&restore(&site, "flagged", &flags), 0, "restored point");
    assert!(there(&site, "replicasets.apps", "flagged", "web-1").is_some());
    assert!(there(&site, "configmaps", "flagged", "tracked").is_none());
    assert_eq!(
        (status("flagged"), class("flagged"), applied("flagged")),
        (json!({ "open": true }), json!("fast"), true)
    );

    let rules = || there(&site, "clusterroles.rbac.authorization.k8s.io", "", "reader").unwrap()["rules"].clone();
    site.server.put("clusterroles.rbac.authorization.k8s.io", json!({ "metadata": { "name": "reader" }, "rules": [] }));
    ended(&restore(&site, "plain", &["--on-conflict", "replace"]), 0, "");
    assert_eq!(rules(), json!([]), "what belongs to the cluster is only compared");
    let include = ["--on-conflict", "replace", "--include-cluster", "clusterroles.rbac.authorization.k8s.io/reader"];
    ended(&restore(&site, "plain", &include), 0, "1 replaced");
    assert_eq!(rules(), json!([{ "verbs": ["list"] }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_point_is_restored_only_by_who_says_so_and_never_called_whole() {
    let site = Site::with_a_shop().await;
    site.server.react("/namespaces/shop/secrets", 100, Reaction::Refuse(403, "Forbidden", 0));
    assert_eq!(site.save(&[]).0, 1);
    let refused = restore(&site, "copy", &[]);
    ended(&refused, 3, "it is incomplete");
    ended(&refused, 3, "--allow-incomplete");
    assert!(there(&site, "namespaces", "", "copy").is_none(), "nothing was begun");
    ended(&restore(&site, "copy", &["--plan"]), 0, "the snapshot lacks secrets");
    let said = restore(&site, "copy", &["--allow-incomplete"]);
    ended(&said, 1, "restored IN PART");
    ended(&said, 1, "LACKS  secrets");
    assert!(there(&site, "configmaps", "copy", "settings").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_will_be_in_a_volume_and_files_come_back_unless_they_are_left_out() {
    let site = full().await;
    let report = serde_json::to_string(&Moved { entries: 3, ..Moved::default() }).unwrap();
    let mover = Command { stdout: vec![vec![7; 1000]], stderr: format!("{REPORT} {report}"), ..Command::default() };
    site.server.world().commands.insert("davit".to_owned(), mover);
    assert_eq!(site.save(&["--volumes", "files", "--mover-image", "davit:1"]).0, 0);
    let ran = || site.server.world().ran.iter().filter(|(_, _, words)| words.contains(&"load".to_owned())).count();

    let (empty, back) = ("its volume is provisioned anew and is empty", "its files are put back into its volume");
    let plan = restore(&site, "copy", &["--plan"]);
    ended(&plan, 0, back);
    assert!(!plan.stdout.contains(empty), "{}", plan.stdout);
    let plan = restore(&site, "bare", &["--plan", "--no-volumes"]);
    ended(&plan, 0, empty);
    assert!(!plan.stdout.contains(back), "{}", plan.stdout);

    let said = restore(&site, "bare", &["--no-volumes"]);
    ended(&said, 0, empty);
    assert_eq!(ran(), 0);
    let said = restore(&site, "copy", &[]);
    ended(&said, 0, "3 files are back in its volume");
    assert!(ran() == 1 && !said.stdout.contains(empty), "{}", said.stdout);
    let plan = restore(&site, "bare", &["--plan", "--on-conflict", "merge"]);
    ended(&plan, 0, "it is there, so its volume is left as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_there_with_objects_of_its_own_is_told_of_before_anything_is_put_beside_them() {
    let site = Site::with_a_shop().await;
    assert_eq!(site.save(&[]).0, 0);
    site.server.put("namespaces", json!({ "metadata": { "name": "theirs" } }));
    for (kind, name) in [("configmaps", "mine"), ("configmaps", "kube-root-ca.crt"), ("secrets", "mine")] {
        site.server.put(kind, json!({ "metadata": { "name": name, "namespace": "theirs" } }));
    }
    let told = "the namespace theirs is there already and has 2 objects that the snapshot does not have";
    ended(&restore(&site, "theirs", &["--plan"]), 0, told);
    ended(&restore(&site, "theirs", &[]), 0, told);
    assert!(
        there(&site, "configmaps", "theirs", "mine").is_some() && there(&site, "secrets", "theirs", "login").is_some()
    );
    // A namespace of its own is nobody else's, also when the same command runs again.
    for _ in 0..2 {
        let said = restore(&site, "own", &[]);
        ended(&said, 0, "");
        assert!(!said.stderr.contains("is there already"), "{}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pruned_is_named_before_it_goes_also_where_nobody_is_asked() {
    let site = Site::with_a_shop().await;
    assert_eq!(site.save(&[]).0, 0);
    site.server.put("configmaps", json!({ "metadata": { "name": "new" } }));
    site.server.react(
        "DELETE /api/v1/namespaces/shop/configmaps/new",
        usize::MAX,
        Reaction::Refuse(403, "Forbidden", 0),
    );
    let prune = ["snapshot", "restore", "shop@latest", "--prune", "--yes-prune"];
    let said = site.davit(&[&prune[..], &["shop"]].concat());
    // It is said although it is not done: whoever reads on can still stop it.
    assert!(said.code == 1 && said.stderr.contains("prune configmaps/new in shop"), "{}{}", said.stdout, said.stderr);
    let said = site.davit(&[&prune[..], &["other"]].concat());
    assert!(said.code == 3 && !said.stderr.contains("prune configmaps"), "{}{}", said.stdout, said.stderr);
    site.server.world().faults.clear();
    let said = site.davit(&[&prune[..], &["shop"]].concat());
    assert!(said.code == 0 && said.stderr.contains("prune configmaps/new in shop"), "{}{}", said.stdout, said.stderr);
    assert!(there(&site, "configmaps", "shop", "new").is_none());
}

/// Runs a command with `--output json`, and holds its exit code and its document.
fn check(site: &Site, name: &str, arguments: &[&str], code: i32, maps: &[&str]) -> Value {
    let (exit, document) = site.json(arguments);
    assert_eq!(exit, code, "{name}: {document:#}");
    documented(name, &document, maps);
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_of_a_snapshot_has_its_golden_shape_and_is_documented() {
    const KINDS: [&str; 1] = ["/namespaces/0/left_out"];
    let site = full().await;
    let annotations = json!({ "davit.dev/output-command": "dump", "davit.dev/output-name": "raft" });
    let pod = json!({ "metadata": { "name": "vault-0", "annotations": annotations }, "status": { "phase": "Running" },
        "spec": { "containers": [{ "name": "vault" }] } });
    site.server.put("pods", pod);
    let dump = Command { stdout: vec![b"all of it".to_vec()], ..Command::default() };
    site.server.world().commands.insert("dump".to_owned(), dump);
    let create = ["snapshot", "create", "shop"];
    check(&site, "snapshot-create-dry-run", &[&create[..], &["--dry-run"]].concat(), 0, &KINDS);
    check(&site, "snapshot-create", &create, 0, &["/points/0/left_out"]);
    let maps = ["/coverage/left_out"];
    check(&site, "snapshot-show", &["snapshot", "show", "shop@latest"], 0, &maps);
    check(&site, "snapshot-verify", &["snapshot", "verify", "shop@latest", "--depth", "stored"], 0, &[]);
    let restored = ["snapshot", "verify", "shop@latest", "--depth", "restored"];
    check(&site, "snapshot-verify-restored", &restored, 0, &["/not_checked", "/undecided"]);

    site.server.put("configmaps", json!({ "metadata": { "name": "settings" }, "data": { "mode": "wild" } }));
    check(&site, "snapshot-diff", &["snapshot", "diff", "shop@latest"], 1, &[]);
    let restore = ["snapshot", "restore", "shop@latest", "--on-conflict", "merge"];
    check(
        &site,
        "snapshot-restore-plan",
        &[&restore[..], &["--plan", "--only", "configmaps/settings"]].concat(),
        0,
        &["/counts"],
    );
    check(&site, "snapshot-restore", &restore, 0, &[]);
    site.server.put("configmaps", json!({ "metadata": { "name": "new" } }));
    let prune = [&restore[..], &["--prune", "--yes-prune", "shop"]].concat();
    let document = check(&site, "snapshot-restore-pruned", &prune, 0, &[]);
    let new = json!([{ "group_resource": "configmaps", "namespace": "shop", "name": "new" }]);
    assert_eq!((&document["pruned"], &document["pruned_objects"]), (&json!(1), &new));

    // What is not well has its own fields.
    site.server.react("POST /api/v1/namespaces/copy/secrets", usize::MAX, Reaction::Refuse(403, "Forbidden", 0));
    check(&site, "snapshot-restore-failed", &[&restore[..3], &["--into", "copy"]].concat(), 1, &[]);
    site.server.world().faults.clear();
    site.server.react("/secrets?dryRun", usize::MAX, Reaction::Refuse(403, "Forbidden", 0));
    site.server.react("/configmaps?dryRun", usize::MAX, Reaction::Refuse(500, "InternalError", 0));
    check(&site, "snapshot-verify-wrong", &restored, 1, &["/not_checked", "/undecided"]);
    site.server.world().faults.clear();
    site.server.react("/shop/secrets?", usize::MAX, Reaction::Refuse(403, "Forbidden", 0));
    check(&site, "snapshot-diff-unseen", &["snapshot", "diff", "shop@latest"], 1, &[]);
    check(&site, "snapshot-create-incomplete", &create, 1, &["/points/0/left_out"]);
    check(&site, "snapshot-show-incomplete", &["snapshot", "show", "shop@latest"], 0, &maps);
}
