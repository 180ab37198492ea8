//! What each flag of a restore changes, from the command line against an API server in this process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod cluster_support;

use cli_support::{Said, documented};
use cluster_support::site::Site;
use cluster_support::{Command, Reaction};
use davit::snapshot::mover::{Moved, REPORT};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

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
    put("storageclasses.storage.k8s.io", json!({ "metadata": { "name": "fast" } }));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_came_back_with_a_new_volume_is_no_difference_to_an_older_point() {
    let site = Site::with_a_shop().await;
    let put = |kind: &str, object: Value| site.server.put(kind, object);
    let volume = |name: &str, provisioned: bool| {
        let notes = if provisioned { json!({ "pv.kubernetes.io/provisioned-by": "csi.test" }) } else { json!({}) };
        put(
            "persistentvolumes",
            json!({ "metadata": { "name": name, "annotations": notes }, "spec": { "storageClassName": "slow" } }),
        );
    };
    let claim = |name: &str, volume: &str| {
        let spec = json!({ "storageClassName": "slow", "volumeName": volume });
        put(
            "persistentvolumeclaims",
            json!({ "metadata": { "name": name }, "spec": spec, "status": { "phase": "Bound" } }),
        );
    };
    volume("pv-1", true);
    volume("by-hand", false);
    claim("data", "pv-1");
    claim("other", "by-hand");
    assert_eq!(site.save(&[]).0, 0);
    let diff = || site.davit(&["snapshot", "diff", "shop@latest"]);
    ended(&diff(), 0, "no difference");
    // Somebody deleted the volume under a claim that still names it.
    site.server.world().remove("persistentvolumes", "", "pv-1");
    ended(&diff(), 1, "- persistentvolumes/pv-1");
    // Its namespace was lost, and the class made another volume for it.
    volume("pv-2", true);
    claim("data", "pv-2");
    ended(&diff(), 0, "no difference");
    site.server.world().remove("persistentvolumeclaims", "shop", "data");
    let said = diff();
    ended(&said, 1, "persistentvolumeclaims/data");
    assert!(!said.stdout.contains("persistentvolumes/pv-1"), "{}", said.stdout);
    site.server.world().remove("persistentvolumes", "", "by-hand");
    ended(&diff(), 1, "persistentvolumes/by-hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_of_the_cluster_came_or_went_between_two_points_is_told_where_both_have_it() {
    let site = Site::with_a_shop().await;
    let save = |more: &[&str]| site.save(more).1["point"].as_str().unwrap().to_owned();
    let diff = |of: [&str; 2]| site.davit(&["snapshot", "diff", of[0], of[1]]);
    let inside = save(&["--scope", "namespace"]);
    let before = save(&[]);
    let subject = json!([{ "kind": "ServiceAccount", "name": "web", "namespace": "shop" }]);
    let binding = json!({ "metadata": { "name": "reader" }, "subjects": subject,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" } });
    site.server.put("clusterrolebindings.rbac.authorization.k8s.io", binding);
    site.server.put("clusterroles.rbac.authorization.k8s.io", json!({ "metadata": { "name": "reader" }, "rules": [] }));
    let after = save(&[]);
    let told = "clusterrolebindings.rbac.authorization.k8s.io/reader";
    ended(&diff([&before, &after]), 1, &format!("+ {told}"));
    ended(&diff([&after, &before]), 1, &format!("- {told}"));
    ended(&diff([&after, &after]), 0, "no difference");
    // One that never looked at the cluster does not know what was there.
    for of in [[&inside, &after], [&after, &inside]] {
        let said = diff(of.map(String::as_str));
        ended(&said, 0, "objects of the cluster are compared only where both have them");
        assert!(!said.stdout.contains(told), "{}", said.stdout);
    }
    // What is live is asked for what the point has.
    let live = |point: &str| site.davit(&["snapshot", "diff", point, "--live"]);
    ended(&live(&before), 0, "such as a new ClusterRoleBinding, are not looked for");
    assert!(!live(&inside).stdout.contains("not looked for"));
    site.server.world().remove("clusterrolebindings.rbac.authorization.k8s.io", "", "reader");
    ended(&live(&after), 1, &format!("- {told}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_waits_for_a_claim_that_is_gone_is_freed_or_the_claim_says_what_to_type() {
    let site = Site::with_a_shop().await;
    let volume = |uid: &str| {
        let claim = json!({ "namespace": "shop", "name": "data", "uid": uid, "resourceVersion": "3" });
        let spec = json!({ "persistentVolumeReclaimPolicy": "Retain", "claimRef": claim });
        site.server.put("persistentvolumes", json!({ "metadata": { "name": "pv-1", "uid": "of-pv-1" }, "spec": spec }));
    };
    let claim = json!({ "metadata": { "name": "data", "uid": "gone" }, "status": { "phase": "Bound" },
        "spec": { "volumeName": "pv-1", "storageClassName": "" } });
    site.server.put("persistentvolumeclaims", claim);
    volume("gone");
    assert_eq!(site.save(&[]).0, 0);
    site.server.world().remove("persistentvolumeclaims", "shop", "data");
    let waits_for = || there(&site, "persistentvolumes", "", "pv-1").unwrap()["spec"]["claimRef"].clone();
    let restore = |more: &[&str]| site.davit(&[&["snapshot", "restore", "shop@latest"][..], more].concat());

    let patch = "PATCH /api/v1/persistentvolumes/pv-1";
    site.server.react(patch, usize::MAX, Reaction::Refuse(403, "Forbidden", 0));
    let hint = r#"(hint: kubectl patch pv pv-1 --type=json -p '[{"op":"remove","path":"/spec/claimRef/uid"}]')"#;
    for more in [&["--plan"][..], &[]] {
        ended(&restore(more), 1, hint);
        assert!(there(&site, "persistentvolumeclaims", "shop", "data").is_none(), "it would wait for ever");
    }
    site.server.world().faults.clear();
    ended(&restore(&["--plan"]), 0, "create    persistentvolumeclaims/data  checked");
    assert_eq!(waits_for()["uid"], "gone", "a plan changes nothing");
    // Its controller writes to it between the look and the change.
    site.server.react(patch, 1, Reaction::Refuse(409, "Conflict", 0));
    ended(&restore(&[]), 0, "a PATCH of persistentvolumes/pv-1 takes that uid off, and this claim gets it");
    assert_eq!(waits_for(), json!({ "namespace": "shop", "name": "data" }));
    assert_eq!(there(&site, "persistentvolumeclaims", "shop", "data").unwrap()["spec"]["volumeName"], "pv-1");
    let patched = site.server.requests().into_iter().filter(|line| line.starts_with(patch)).count();
    // A claim that is there and has its volume: a proof and a second restore touch nothing.
    let bound = there(&site, "persistentvolumeclaims", "shop", "data").unwrap()["metadata"]["uid"].clone();
    volume(bound.as_str().unwrap());
    ended(&restore(&[]), 0, "there already");
    site.server.world().remove("persistentvolumeclaims", "shop", "data");
    ended(&site.davit(&["snapshot", "verify", "shop@latest", "--depth", "restored"]), 0, "restored and compared");
    assert_eq!(site.server.requests().into_iter().filter(|line| line.starts_with(patch)).count(), patched);
    assert_eq!(waits_for()["uid"], bound);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_plan_that_was_agreed_to_is_executed_or_nothing() {
    let site = Site::with_a_shop().await;
    assert_eq!(site.save(&[]).0, 0);
    let plan = |more: &[&str]| {
        let (code, plan) =
            site.json(&[&["snapshot", "restore", "shop@latest", "--into", "copy", "--plan"][..], more].concat());
        assert_eq!(code, 0, "{plan:#}");
        plan["digest"].as_str().unwrap().to_owned()
    };
    let agreed = plan(&[]);
    let said = restore(&site, "copy", &["--plan"]);
    ended(&said, 0, &format!("digest {agreed}; --expect-plan with it restores exactly this, or nothing"));
    assert_eq!(plan(&["--in-flight", "1"]), agreed, "not what is done, but how");
    let rules = site.desk.path().join("rules.yaml");
    std::fs::write(&rules, "rules: [{kind: namespaces, merge: {metadata: {labels: {team: other}}}}]").unwrap();
    assert_ne!(plan(&["--modify", rules.to_str().unwrap()]), agreed, "a body that no line tells");
    assert_ne!(plan(&["--mover-image", "other:1"]), agreed);
    assert_ne!(plan(&["--mover-pull-secret", "other"]), agreed);
    // Another target, other flags, a cluster that changed: by now it is another plan.
    let expect = |into: &str, digest: &str, more: &[&str]| {
        restore(&site, into, &[&["--expect-plan", digest][..], more].concat())
    };
    ended(&expect("other", &agreed, &[]), 3, "is no longer what --expect-plan agreed to: by now it is ");
    ended(&expect("copy", &agreed, &["--only", "configmaps"]), 3, "by now it is ");
    site.server.put("namespaces", json!({ "metadata": { "name": "copy" } }));
    let changed = expect("copy", &agreed, &[]);
    ended(&changed, 3, "by now it is 3 create, 3 leave");
    ended(&changed, 3, "--plan with the same flags shows each line of it");
    ended(&expect("copy", "12ab", &[]), 2, "it is no digest of a plan");
    assert!(there(&site, "configmaps", "copy", "settings").is_none(), "nothing was touched");
    site.server.world().remove("namespaces", "", "copy");

    // Interrupted, the same command goes on.
    site.server.world().names_managers = true;
    site.server.react("POST /api/v1/namespaces/copy/secrets", usize::MAX, Reaction::Refuse(403, "Forbidden", 0));
    ended(&expect("copy", &agreed, &[]), 1, "FAILED  secrets/login");
    site.server.world().faults.clear();
    ended(&expect("copy", &agreed.to_uppercase(), &[]), 0, "1 created");
    assert!(there(&site, "secrets", "copy", "login").is_some());
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

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_nobody_has_is_told_in_the_plan_and_refused_before_anything_is_made() {
    let site = full().await;
    assert_eq!(site.save(&[]).0, 0);
    let wrong = ["--map-storage-class", "slow=fats"];
    ended(&restore(&site, "copy", &[&wrong[..], &["--plan"]].concat()), 1, "does not have: fats, did you mean fast?");
    ended(&restore(&site, "copy", &wrong), 3, "does not have: fats, did you mean fast?");
    assert!(there(&site, "namespaces", "", "copy").is_none(), "nothing was begun");
    // A class of the snapshot's own cluster may still come: the claim waits for it.
    ended(&restore(&site, "copy", &["--plan"]), 0, "the cluster has no storage class slow");
    let said = restore(&site, "copy", &["--map-storage-class", "slow=fast"]);
    ended(&said, 0, "restored point");
    assert!(!said.stdout.contains("no storage class"), "{}", said.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_means_nothing_ends_a_restore_before_anything_is_made() {
    let site = full().await;
    assert_eq!(site.save(&[]).0, 0);
    let rule = |kind: &str| format!("rules:\n- kind: {kind}\n  merge: {{spec: {{replicas: 2, paused: true}}}}\n");
    site.desk.write("wrong.yaml", &rule("deploymnets")).write("right.yaml", &rule("deployments"));
    ended(&restore(&site, "copy", &["--modify", "wrong.yaml", "--plan"]), 0, "met nothing");
    let said = restore(&site, "copy", &["--modify", "wrong.yaml"]);
    ended(&said, 2, "line 2: the rule means no object of the snapshot");
    ended(&said, 2, "did you mean deployments?");
    assert!(there(&site, "namespaces", "", "copy").is_none(), "nothing was begun");
    // The point could have had some: the rule is for other namespaces, too.
    site.desk.write("right.yaml", &format!("{}- kind: jobs\n  merge: {{}}\n", rule("deployments")));
    ended(&restore(&site, "copy", &["--modify", "right.yaml"]), 0, "restored point");
    assert_eq!(there(&site, "deployments.apps", "copy", "web").unwrap()["spec"]["paused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_which_a_selector_chose_nothing_is_no_mistake() {
    let site = full().await;
    site.server.put("configmaps", json!({ "metadata": { "name": "chosen", "labels": { "app": "web" } } }));
    assert_eq!(site.save(&["--selector", "app=web"]).0, 0);
    site.desk.write("rules.yaml", "rules:\n- kind: jobs\n  merge: {}\n");
    ended(&restore(&site, "copy", &["--recreate", "jobs", "--modify", "rules.yaml"]), 0, "restored point");
    assert!(there(&site, "configmaps", "copy", "chosen").is_some());
    ended(&restore(&site, "copy", &["--recreate", "jbos"]), 2, "has nothing of that name");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_differs_is_told_as_one() {
    let site = full().await;
    assert_eq!(site.save(&[]).0, 0);
    site.server.put("configmaps", json!({ "metadata": { "name": "settings" }, "data": { "mode": "wild" } }));
    ended(&site.davit(&["snapshot", "diff", "shop@latest", "--live"]), 1, "1 object differs, ");
    let said = site.davit(&["snapshot", "restore", "shop@latest"]);
    ended(&said, 3, "configmaps/settings in shop differs from the snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_stopped_ends_with_4_and_says_what_stays() {
    let site = full().await;
    assert_eq!(site.save(&[]).0, 0);
    let post = "POST /api/v1/namespaces/copy/secrets";
    site.server.react(post, 1, Reaction::Late(Duration::from_mins(10)));
    let mut command = site.desk.command(&["snapshot", "restore", "shop@latest", "--into", "copy"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = || site.server.requests().iter().any(|line| line.starts_with(post));
    tokio::time::timeout(Duration::from_mins(1), async {
        while !begun() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said =
        Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) };
    ended(&said, 4, "STOPPED restoring point");
    ended(&said, 4, "stopping; what was made stays, and the same command goes on");
    for never in ["undoing", "DIFFERS"] {
        assert!(!said.stdout.contains(never) && !said.stderr.contains(never), "{}{}", said.stdout, said.stderr);
    }
    assert!(there(&site, "namespaces", "", "copy").is_some());
    ended(&restore(&site, "copy", &[]), 0, "restored point");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_means_nothing_in_the_point_is_refused_and_a_kind_without_objects_is_not() {
    let site = full().await;
    assert_eq!(site.save(&[]).0, 0);
    for (flag, text) in [
        ("--only", "configmaps/ownd"),
        ("--only", "configmap/owned"),
        ("--only", "cm"),
        ("--include-cluster", "clusterroles/raeder"),
        ("--restore-derived", "replicasets/web-2"),
        ("--recreate", "deploymnets"),
        // Into another namespace it has the other name, as the plan says.
        ("--include-cluster", "namespaces/shop"),
    ] {
        let before = site.server.requests().len();
        let said = restore(&site, "typo", &[flag, text]);
        ended(&said, 2, &format!("reading {flag} {text}: "));
        assert!(said.stderr.contains("has nothing of that name"), "{}", said.stderr);
        let asked = site.server.requests().split_off(before);
        assert!(asked.iter().all(|line| line.starts_with("GET ")), "{asked:#?}");
    }
    ended(&restore(&site, "typo", &["--include-cluster", "namespaces/typo", "--plan"]), 0, "create    namespaces/typo");
    // The point could have had some, and had none.
    assert!(there(&site, "jobs.batch", "shop", "any").is_none());
    ended(&restore(&site, "typo", &["--recreate", "jobs", "--only", "configmaps/owned"]), 0, "2 created");
    assert!(there(&site, "configmaps", "typo", "owned").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_and_no_log_shows_what_is_in_a_secret() {
    let site = full().await;
    assert_eq!(site.save(&[]).0, 0);
    site.server.put("secrets", json!({ "metadata": { "name": "login" }, "data": { "password": "c3dvcmRmaXNo" } }));
    site.server.react("POST /api/v1/namespaces/refused/secrets", usize::MAX, Reaction::Refuse(422, "Invalid", 0));
    let mut told = String::new();
    for arguments in [
        &["snapshot", "create", "shop"][..],
        &["snapshot", "show", "shop@latest", "--all"],
        &["snapshot", "diff", "shop@latest", "--live"],
        &["snapshot", "restore", "shop@latest", "--on-conflict", "replace", "--plan"],
        &["snapshot", "restore", "shop@latest", "--into", "copy"],
        &["snapshot", "restore", "shop@latest", "--into", "refused"],
        &["snapshot", "restore", "shop@latest", "--on-conflict", "replace"],
        &["snapshot", "verify", "shop@latest", "--depth", "restored"],
    ] {
        for more in [&["-vv"][..], &["-vv", "--output", "json"]] {
            let said = site.davit(&[arguments, more].concat());
            told.extend([said.stdout, said.stderr]);
        }
    }
    assert!(told.contains("secrets/login"), "{told}");
    for value in ["aHVudGVyMg", "hunter2", "c3dvcmRmaXNo", "swordfish"] {
        assert!(!told.contains(value), "{value} is in\n{told}");
    }
}
