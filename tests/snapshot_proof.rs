//! Proving snapshots, against an API server and a store that misbehave: what was not looked at is never called good.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod cluster_support;

use cluster_support::site::Site;
use cluster_support::{ApiServer, Command, KindDef, Reaction};
use davit::clock::SimClock;
use davit::cluster::{Cluster, Connect, Place};
use davit::error::Kind;
use davit::journal::NoProgress;
use davit::snapshot::mover::{Moved, REPORT};
use davit::snapshot::object::{Saved, SavedKind};
use davit::snapshot::restore::Means;
use davit::snapshot::verify::{Checked, Request, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RESTORED: [&str; 5] = ["snapshot", "verify", "shop@latest", "--depth", "restored"];

/// A shop with a claim, whose mover gives these bytes.
async fn with_a_volume(bytes: &[u8]) -> Site {
    let site = Site::with_a_shop().await;
    let provisioned = json!({ "name": "pv-1", "annotations": { "pv.kubernetes.io/provisioned-by": "csi.test" } });
    let held = json!({ "storageClassName": "fast", "claimRef": { "namespace": "shop", "name": "data" } });
    site.server.put("persistentvolumes", json!({ "metadata": provisioned, "spec": held }));
    let claim = json!({ "metadata": { "name": "data" }, "status": { "phase": "Bound" },
        "spec": { "volumeName": "pv-1", "storageClassName": "fast" } });
    site.server.put("persistentvolumeclaims", claim);
    let report = serde_json::to_string(&Moved { entries: 3, ..Moved::default() }).unwrap();
    let mover = Command { stdout: vec![bytes.to_vec()], stderr: format!("{REPORT} {report}"), ..Command::default() };
    site.server.world().commands.insert("davit".to_owned(), mover);
    site
}

fn chunks(site: &Site) -> BTreeSet<PathBuf> {
    let files = site.desk.inventory().into_iter().map(|(path, _, _)| path);
    files.filter(|path| path.to_str().unwrap().contains("/chunks/")).collect()
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// What the repository knows of the newest point.
fn known(site: &Site) -> Value {
    site.json(&["points", "shop"]).1["points"][0]["verified"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_of_files_or_of_objects_is_found_before_anything_is_restored() {
    let site = with_a_volume("what lies in it; ".repeat(20_000).as_bytes()).await;
    assert_eq!(site.save(&[]).0, 0);
    let objects = chunks(&site);
    let (code, report) = site.save(&["--volumes", "files", "--mover-image", "davit:1"]);
    assert_eq!(code, 0, "{report:#}");
    let files: BTreeSet<PathBuf> = chunks(&site).difference(&objects).cloned().collect();
    assert!(!files.is_empty() && !objects.is_empty());
    for chunk in [files.first().unwrap(), objects.first().unwrap()] {
        let (code, proof) = site.json(&RESTORED);
        assert_eq!((code, &proof["ok"]), (0, &json!(true)), "{proof:#}");
        assert!(proof["chunks"].as_u64().unwrap() > 1 && proof["live"].as_u64().unwrap() > 0, "{proof:#}");
        assert_eq!(known(&site)["ok"], true);
        assert_eq!(site.davit(&["snapshot", "show", "shop@latest-verified"]).code, 0);
        flip(chunk);
        let (code, proof) = site.json(&RESTORED);
        assert_eq!((code, &proof["ok"], &proof["live"]), (1, &json!(false), &json!(0)), "{proof:#}");
        let name = chunk.file_name().unwrap().to_str().unwrap();
        assert!(proof["damage"][0]["chunk"].as_str().unwrap().contains(name), "{proof:#}");
        assert_eq!((&known(&site)["ok"], &known(&site)["depth"]), (&json!(false), &json!("restored")));
        let (_, shown) = site.json(&["snapshot", "show", "shop@latest-verified"]);
        assert_ne!(shown["point"], report["point"], "{shown:#}");
        let (code, all) = site.json(&["verify", "--all", "--depth", "restored"]);
        assert_eq!((code, &all["points"][0]["verdict"]), (1, &json!("failed")), "{all:#}");
        flip(chunk);
    }
    assert_eq!(site.json(&RESTORED).0, 0);
}

/// Proves a few objects. Waiting for the server takes no time: its clock is simulated.
async fn proven(server: &ApiServer) -> davit::error::Result<Checked> {
    let directory = tempfile::tempdir().unwrap();
    let connect = Connect { place: Place::Files(vec![server.kubeconfig(directory.path())]), context: None };
    let clock = Arc::new(SimClock::at(jiff::Timestamp::now()));
    let cancel = CancellationToken::new();
    let cluster = Cluster::connect(&connect, clock.clone(), cancel.clone()).unwrap();
    let saved = ["configmaps", "secrets"].into_iter().flat_map(|kind| {
        let names = (0..40).map(move |n| format!("{kind}-{n}"));
        names.map(move |name| {
            let body = json!({ "apiVersion": "v1", "kind": if kind == "secrets" { "Secret" } else { "ConfigMap" },
                "metadata": { "name": name, "namespace": "shop", "uid": name } });
            Saved::new(SavedKind::of_body(kind, true, &body), &body)
        })
    });
    let request = Request {
        saved: saved.collect(),
        namespace: "shop".to_owned(),
        scratch: "davit-verify-x".to_owned(),
        holder: "this test".to_owned(),
        live: Vec::new(),
    };
    let means = Means { cluster, clock, progress: NoProgress::shared(), cancel, in_flight: 4 };
    run(&means, request).await
}

fn reasons(checked: &Checked) -> String {
    checked.undecided.keys().cloned().collect::<Vec<_>>().join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_of_an_object_leaves_the_proof_undecided() {
    let server = ApiServer::start().await;
    let whole = proven(&server).await.unwrap();
    assert_eq!((whole.ok(), whole.live, whole.unchecked()), (Some(true), 80, 0), "{whole:#?}");
    for (code, reason) in
        [(503, "ServiceUnavailable"), (429, "TooManyRequests"), (500, "InternalError"), (401, "Unauthorized")]
    {
        for needle in ["davit-verify-x/configmaps?dryRun", "davit-verify-x/configmaps?fieldManager"] {
            let server = ApiServer::start().await;
            server.react(needle, usize::MAX, Reaction::Refuse(code, reason, 0));
            let checked = proven(&server).await.unwrap();
            assert_eq!((checked.ok(), checked.unchecked() >= 40), (None, true), "{code} {needle}: {checked:#?}");
            assert!(reasons(&checked).contains(&code.to_string()), "{}", reasons(&checked));
            assert_eq!(checked.wrong, [], "{code} {needle}");
            assert!(server.world().get("namespaces", "", "davit-verify-x").is_none());
        }
    }
    let server = ApiServer::start().await;
    server.react("GET /api/v1/namespaces/davit-verify-x/secrets?limit", 1, Reaction::Body(r#"{"items":[]}"#));
    server.react("GET /api/v1/namespaces/davit-verify-x/secrets?limit", usize::MAX, Reaction::Refuse(503, "Late", 0));
    let checked = proven(&server).await.unwrap();
    assert_eq!((checked.ok(), checked.live), (None, 40), "what was made could not be read back: {checked:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_during_the_proof_proves_nothing_and_is_not_waited_for_by_each_object() {
    let server = ApiServer::start().await;
    server.react("davit-verify-x/configmaps?dryRun", 1, Reaction::Die);
    let before = server.requests().len();
    let error = proven(&server).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Stuck, "the scratch namespace is still there: {error:?}");
    assert!(server.requests().len() - before < 60, "{:#?}", server.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_stopped_takes_its_copies_of_secrets_away_and_leaves_no_evidence() {
    let site = Site::with_a_shop().await;
    assert_eq!(site.save(&[]).0, 0);
    let kubeconfig = site.server.kubeconfig(site.desk.path());
    let all = ["verify", "--all", "--depth", "restored", "--kubeconfig", kubeconfig.to_str().unwrap()];
    // While all is only asked about, and when the Secrets are made.
    for (command, needle) in
        [(&RESTORED[..], "/configmaps?dryRun"), (&RESTORED, "/configmaps?fieldManager"), (&all, "/configmaps?dryRun")]
    {
        let before = site.server.requests().len();
        let late = |line: &String| line.contains("/davit-verify-") && line.contains(needle);
        site.server.react(needle, 1, Reaction::Late(Duration::from_mins(1)));
        let mut child = site.desk.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !site.server.requests()[before..].iter().any(late) {
            assert!(child.try_wait().unwrap().is_none(), "{needle}: it ended before");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(4), "{needle}: {said}");
        assert!(said.contains("the run was stopped"), "{said}");
        let scratch = site.server.world().ever("namespaces", "");
        let scratch = scratch.iter().filter_map(|body| body["metadata"]["name"].as_str());
        let scratch: Vec<&str> = scratch.filter(|name| name.starts_with("davit-verify-")).collect();
        assert!(!scratch.is_empty(), "{needle}");
        for name in scratch {
            assert!(site.server.world().get("namespaces", "", name).is_none(), "{needle}: {name} is still there");
        }
        let evidence =
            site.desk.inventory().into_iter().filter(|(path, _, _)| path.to_str().unwrap().contains("evidence"));
        assert_eq!(evidence.count(), 0, "{needle}");
    }
    assert_eq!(site.json(&RESTORED).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_asked_about_is_exit_6_and_no_evidence_calls_it_good() {
    let site = Site::with_a_shop().await;
    assert_eq!(site.save(&[]).0, 0);
    site.server.react("/configmaps?dryRun", 100, Reaction::Refuse(500, "InternalError", 0));
    let (code, proof) = site.json(&RESTORED);
    assert_eq!((code, &proof["ok"]), (6, &Value::Null), "{proof:#}");
    assert_eq!(proof["undecided"].as_object().unwrap().len(), 1, "{proof:#}");
    assert!(proof["evidence"].is_string() && known(&site).is_null(), "kept, and counts for nothing: {proof:#}");
    let said = site.davit(&RESTORED);
    assert!(said.code == 6 && said.stdout.contains("UNDECIDED  1 object"), "{}", said.stdout);
    let (code, all) = site.json(&["verify", "--all", "--depth", "restored"]);
    assert_eq!((code, &all["points"][0]["verdict"]), (6, &json!("undecided")), "{all:#}");
    site.server.world().faults.clear();
    assert_eq!(site.json(&RESTORED).0, 0);
    assert_eq!(known(&site)["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_restored_is_wrong_and_only_what_a_rule_leaves_out_does_not_count() {
    let site = Site::with_a_shop().await;
    site.server.put("configmaps", json!({ "metadata": { "name": "kube-root-ca.crt" } }));
    let mut def = KindDef::new("example.com", "v1", "widgets", "Widget", true);
    site.server.world().define(def.clone());
    site.server.put("widgets.example.com", json!({ "metadata": { "name": "w" }, "spec": { "a": 1 } }));
    assert_eq!(site.save(&["--scope", "namespace", "--source", "alone"]).0, 0);
    assert_eq!(site.save(&[]).0, 0);
    let (code, proof) = site.json(&RESTORED);
    assert_eq!((code, &proof["wrong"]), (0, &json!([])), "{proof:#}");
    let by_rule = proof["not_checked"].as_object().unwrap();
    assert!(by_rule.contains_key("the cluster writes its own CA into every namespace"), "{proof:#}");

    // Another version is served than the one it was saved at.
    let without = |site: &Site| site.server.world().kinds.retain(|kind| kind.resource != "widgets");
    without(&site);
    (def.versions, def.storage) = (vec!["v2".to_owned()], "v2".to_owned());
    site.server.world().kinds.push(def);
    let (code, proof) = site.json(&RESTORED);
    assert_eq!((code, &proof["ok"]), (1, &json!(false)), "{proof:#}");
    assert!(proof["wrong"].to_string().contains("does not serve example.com/v1"), "{proof:#}");
    // Nobody serves it: with its definition in the snapshot another cluster may prove it, without nobody can restore it.
    without(&site);
    site.server.world().remove("customresourcedefinitions.apiextensions.k8s.io", "", "widgets.example.com");
    let (code, proof) = site.json(&RESTORED);
    assert_eq!((code, &proof["ok"]), (6, &Value::Null), "{proof:#}");
    let (code, proof) = site.json(&["snapshot", "verify", "alone@latest", "--depth", "restored"]);
    assert_eq!((code, &proof["ok"]), (1, &json!(false)), "{proof:#}");
    assert!(proof["wrong"].to_string().contains("its definition is neither there nor in the snapshot"), "{proof:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_is_made_in_the_scratch_namespace_and_nothing_of_the_cluster_ever_is() {
    let site = Site::with_a_shop().await;
    site.server.put("serviceaccounts", json!({ "metadata": { "name": "web" } }));
    let subject = json!([{ "kind": "ServiceAccount", "name": "web", "namespace": "shop" }]);
    let binding = json!({ "metadata": { "name": "reader" }, "subjects": subject,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" } });
    site.server.put("clusterrolebindings.rbac.authorization.k8s.io", binding);
    site.server.put("clusterroles.rbac.authorization.k8s.io", json!({ "metadata": { "name": "reader" }, "rules": [] }));
    site.server.put("ingresses.networking.k8s.io", json!({ "metadata": { "name": "door" } }));
    assert_eq!(site.save(&[]).0, 0);
    for name in ["clusterroles", "clusterrolebindings"] {
        let kind = format!("{name}.rbac.authorization.k8s.io");
        site.server.world().remove(&kind, "", "reader");
    }
    let live = ["--live", "ingresses,clusterroles,clusterrolebindings"];
    let (code, proof) = site.json(&[&RESTORED[..], &live].concat());
    assert_eq!((code, &proof["ok"]), (0, &json!(true)), "{proof:#}");
    let made = |what: &str| {
        let requests = site.server.requests();
        requests.iter().filter(|line| line.starts_with("POST ") && line.contains(what)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(made("/ingresses").len(), 2, "asked about, and made: {:#?}", made("/ingresses"));
    let of_the_cluster = made("/clusterrole");
    assert_eq!(of_the_cluster.len(), 2, "{of_the_cluster:#?}");
    assert!(of_the_cluster.iter().all(|line| line.contains("dryRun=All")), "{of_the_cluster:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_nothing_is_undecided() {
    let site = Site::new().await;
    assert_eq!(site.save(&[]).0, 0);
    let (code, proof) = site.json(&RESTORED);
    assert_eq!((code, &proof["ok"], &proof["live"], &proof["dry_run"]), (6, &Value::Null, &json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_points_are_proven_as_deeply_as_each_can_be_and_what_fell_short_is_said() {
    let site = Site::with_a_shop().await;
    let annotations = json!({ "davit.dev/output-command": "dump", "davit.dev/output-name": "raft" });
    let pod = json!({ "metadata": { "name": "vault-0", "annotations": annotations }, "status": { "phase": "Running" },
        "spec": { "containers": [{ "name": "vault" }] } });
    site.server.put("pods", pod);
    let dump = Command { stdout: vec![b"all of it".to_vec()], ..Command::default() };
    site.server.world().commands.insert("dump".to_owned(), dump);
    assert_eq!(site.save(&[]).0, 0);
    let all = ["verify", "--all", "--depth", "restored"];
    let of = |document: &Value, kind: &str| {
        let points = document["points"].as_array().unwrap();
        points.iter().find(|point| point["kind"] == kind).unwrap_or_else(|| panic!("{document:#}")).clone()
    };
    let kubeconfig = site.server.kubeconfig(site.desk.path());
    let named = [&all[..], &["--kubeconfig", kubeconfig.to_str().unwrap()]].concat();
    let (code, proven) = site.json(&named);
    let (namespace, command) = (of(&proven, "namespace"), of(&proven, "command"));
    assert_eq!((code, &namespace["depth"], &namespace["verdict"]), (0, &json!("restored"), &json!("ok")), "{proven:#}");
    assert_eq!((&command["depth"], &command["verdict"]), (&json!("stored"), &json!("ok")), "{proven:#}");
    assert!(command["notes"][0].as_str().unwrap().contains("stored is all there is"), "{proven:#}");
    assert_eq!((&known(&site)["depth"], &known(&site)["ok"]), (&json!("restored"), &json!(true)));
    let said = site.davit(&named).stdout;
    assert!(said.contains("put to a cluster") && said.contains(" live, "), "{said}");

    // Where nobody says which cluster, none is touched, though one is at hand: the chunks are read, and nothing more is claimed.
    // Where that is all, nothing was decided.
    let (code, short) = site.json(&all);
    let namespace = of(&short, "namespace");
    assert_eq!((code, &namespace["depth"], &namespace["verdict"]), (6, &json!("stored"), &json!("undecided")));
    assert!(namespace["notes"][0].as_str().unwrap().contains("--context NAME (or --kubeconfig FILE)"), "{short:#}");
    assert!(namespace["chunks"].as_u64().unwrap() > 0, "{short:#}");
    let (code, one) = site.json(&["verify", "shop@latest", "--depth", "restored"]);
    assert_eq!((code, &one["verdict"]), (6, &json!("undecided")), "{one:#}");
    let (code, one) = site.json(&["verify", "shop.raft@latest", "--depth", "restored"]);
    assert_eq!((code, &one["verdict"], &one["depth"]), (0, &json!("ok"), &json!("stored")), "{one:#}");
    // Whoever names a cluster is told that it is none.
    let said = site.davit(&["verify", "--all", "--depth", "restored", "--kubeconfig", "nowhere"]);
    assert!(said.code == 2 && said.stderr.contains("nowhere"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_killed_proofs_left_is_named_with_what_to_type_and_goes_when_no_proof_can_use_it() {
    let site = Site::with_a_shop().await;
    assert_eq!(site.save(&[]).0, 0);
    let scratch = |name: &str, hours: i64| {
        let made = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours)).to_string();
        let metadata = json!({ "name": name, "labels": { "davit.dev/scratch": "true" }, "creationTimestamp": made,
            "annotations": { "davit.dev/holder": "laptop, process 7" } });
        site.server.put("namespaces", json!({ "metadata": metadata }));
    };
    scratch("davit-verify-01young", 5);
    scratch("davit-verify-01old", 49);
    scratch("theirs", 49);
    site.server.put("namespaces", json!({ "metadata": { "name": "davit-verify-theirs" } }));
    let there = |name: &str| site.server.world().get("namespaces", "", name).is_some();

    let kubeconfig = site.server.kubeconfig(site.desk.path());
    let said = site.davit(&["doctor", "--kubeconfig", kubeconfig.to_str().unwrap(), "--namespace", "shop"]).stdout;
    assert!(said.contains("davit-verify-01young, made 5 h ago by run 01young (laptop, process 7)"), "{said}");
    assert!(said.contains("kubectl delete namespace davit-verify-01young"), "{said}");
    assert!(said.contains("davit-verify-01old") && !said.contains("davit-verify-theirs"), "{said}");
    assert!(there("davit-verify-01old"), "a doctor changes nothing");

    let said = site.davit(&RESTORED);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("davit-verify-01young, made 5 h ago by run 01young"), "{}", said.stderr);
    assert!(said.stderr.contains("kubectl delete namespace davit-verify-01young"), "{}", said.stderr);
    assert!(said.stderr.contains("davit-verify-01old, made 2 d ago"), "{}", said.stderr);
    assert!(there("davit-verify-01young") && there("davit-verify-theirs") && !there("davit-verify-01old"));
    assert!(there("theirs"), "it carries the label, and no proof made it");

    // The same where all points are proven, once for all of them.
    assert_eq!(site.save(&[]).0, 0);
    let all = ["verify", "--all", "--depth", "restored", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let said = site.davit(&all);
    assert_eq!(said.stderr.matches("davit-verify-01young,").count(), 1, "{}", said.stderr);
    // A proof says whose its own namespace is.
    let own = site.server.world().ever("namespaces", "");
    let own = own.iter().filter(|body| body["metadata"]["annotations"]["davit.dev/holder"].is_string());
    assert!(own.count() >= 4);
}
