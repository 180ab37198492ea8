//! The pods that bring files of volumes back: where they run, and what becomes of those that a killed run left, against an
//! API server in this process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod cluster_support;

use cli_support::Said;
use cluster_support::site::Site;
use cluster_support::{Command, Reaction};
use davit::snapshot::mover::{Moved, REPORT};
use serde_json::{Value, json};

const PODS: &str = "POST /api/v1/namespaces/copy/pods";

fn ended(said: &Said, code: i32, text: &str) {
    assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains(text) || said.stderr.contains(text), "{text:?}: {}{}", said.stdout, said.stderr);
}

/// A shop with these claims, whose movers move something.
async fn shop(claims: &[&str]) -> Site {
    let site = Site::new().await;
    for name in claims {
        let claim = json!({ "metadata": { "name": name }, "status": { "phase": "Bound" },
            "spec": { "storageClassName": "slow", "volumeName": format!("pv-{name}") } });
        site.server.put("persistentvolumeclaims", claim);
    }
    let report = serde_json::to_string(&Moved { entries: 3, ..Moved::default() }).unwrap();
    let mover = Command { stdout: vec![vec![7; 1000]], stderr: format!("{REPORT} {report}"), ..Command::default() };
    site.server.world().commands.insert("davit".to_owned(), mover);
    site
}

fn save(site: &Site, more: &[&str]) {
    let (code, report) = site.save(&[&["--volumes", "files", "--mover-image", "davit:1"][..], more].concat());
    assert_eq!(code, 0, "{report:#}");
}

fn restore(site: &Site, more: &[&str]) -> Said {
    site.davit(&[&["snapshot", "restore", "shop@latest", "--into", "copy"][..], more].concat())
}

/// The claims that each mover of a namespace had, and those that it filled.
fn movers(site: &Site, namespace: &str) -> Vec<(Vec<String>, usize)> {
    let pods = site.server.world().ever("pods", namespace);
    let claims = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
        let names: Vec<String> =
            volumes.map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str().unwrap().to_owned()).collect();
        (names, pod["spec"]["containers"].as_array().unwrap().len())
    };
    let mut all: Vec<_> = pods.iter().map(claims).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_where_the_pod_can_run_that_will_use_them_and_its_claims_together() {
    let site = shop(&["data", "wal", "other"]).await;
    let put = |kind: &str, object: Value| site.server.put(kind, object);
    for (name, secret) in [("web", "of-account"), ("default", "nowhere")] {
        put("serviceaccounts", json!({ "metadata": { "name": name }, "imagePullSecrets": [{ "name": secret }] }));
    }
    for name in ["of-pod", "of-account"] {
        put("secrets", json!({ "metadata": { "name": name }, "data": {} }));
    }
    let zones = json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
        { "matchExpressions": [{ "key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"] }] }] } });
    let tolerations = json!([{ "key": "storage", "operator": "Exists" }]);
    let volumes = ["data", "wal"].map(|name| json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }));
    let pod = json!({ "nodeSelector": { "disk": "ssd" }, "affinity": { "nodeAffinity": zones }, "volumes": volumes,
        "tolerations": tolerations, "imagePullSecrets": [{ "name": "of-pod" }], "serviceAccountName": "web" });
    let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": pod });
    put("deployments.apps", json!({ "metadata": { "name": "web" }, "spec": { "template": template } }));
    save(&site, &["--mover-pull-secret", "named"]);
    // A pod that names some gets none of its account, which may be the only one that can pull the image.
    let saved = site.server.world().ever("pods", "shop");
    let pulled = json!([{ "name": "named" }, { "name": "nowhere" }]);
    assert!(saved.len() == 3 && saved.iter().all(|pod| pod["spec"]["imagePullSecrets"] == pulled), "{saved:#?}");

    let said = restore(&site, &[]);
    ended(&said, 0, "persistentvolumeclaims/wal: 3 files are back in its volume");
    ended(&said, 0, "persistentvolumeclaims/data: 3 files are back in its volume");
    let (both, alone) = (vec!["data".to_owned(), "wal".to_owned()], vec!["other".to_owned()]);
    assert_eq!(movers(&site, "copy"), [(both, 2), (alone, 1)]);
    let pods = site.server.world().ever("pods", "copy");
    let spec = &pods.iter().find(|pod| pod["spec"]["volumes"][1].is_object()).unwrap()["spec"];
    assert_eq!(spec["nodeSelector"], json!({ "disk": "ssd" }));
    assert_eq!((&spec["affinity"]["nodeAffinity"], &spec["tolerations"]), (&zones, &tolerations));
    let pulled = ["named", "of-pod", "of-account"].map(|name| json!({ "name": name }));
    assert_eq!(spec["imagePullSecrets"], json!(pulled), "of the others only those that are there");
    // Each container has one of the claims, and each was filled where that is.
    let ran = site.server.world().ran.clone();
    let loaded = ran.iter().filter(|(_, _, words)| words.contains(&"load".to_owned()));
    let mut containers: Vec<&str> = loaded.map(|(_, container, _)| container.as_str()).collect();
    containers.sort_unstable();
    assert_eq!(containers, ["mover", "mover", "mover-1"]);
    // What its image is pulled with is there before it, and nothing that runs is.
    let requests = site.server.requests();
    let first = |needle: &str| requests.iter().position(|line| line.starts_with(needle)).unwrap();
    let order = ["POST /api/v1/namespaces/copy/secrets", PODS, "POST /apis/apps/v1/namespaces/copy/deployments"];
    assert!(order.map(first).is_sorted(), "{requests:#?}");
    assert!(site.server.world().get("pods", "copy", "x").is_none());

    // Whoever says what the image is pulled with is believed.
    ended(&site.davit(&["snapshot", "restore", "shop@latest", "--into", "mine", "--mover-pull-secret", "mine"]), 0, "");
    let pods = site.server.world().ever("pods", "mine");
    assert!(pods.iter().all(|pod| pod["spec"]["imagePullSecrets"][0]["name"] == "mine"), "{pods:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_saved_also_where_nobody_may_look_at_the_account_of_movers() {
    let site = shop(&["data"]).await;
    let account = json!({ "metadata": { "name": "default" }, "imagePullSecrets": [{ "name": "of-account" }] });
    site.server.put("serviceaccounts", account);
    for asked in ["/serviceaccounts?fieldSelector=", "/serviceaccounts/default"] {
        // However often it is looked for.
        site.server.react(asked, 9, Reaction::Refuse(403, "Forbidden", 0));
    }
    save(&site, &[]);
    assert!(site.server.requests().iter().any(|line| line.ends_with("/serviceaccounts/default")));
    let pods = site.server.world().ever("pods", "shop");
    assert!(pods.len() == 1 && pods[0]["spec"]["imagePullSecrets"].is_null(), "{pods:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn movers_of_a_stateful_set_stay_until_the_last_one_is_done_and_keep_apart_as_its_pods_do() {
    let site = shop(&["data-db-0", "data-db-1"]).await;
    let labels = json!({ "app": "db" });
    let apart = json!([{ "topologyKey": "zone", "labelSelector": { "matchLabels": labels } }]);
    let affinity = json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": apart } });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "affinity": affinity } });
    let claims = json!([{ "metadata": { "name": "data" } }]);
    let set = json!({ "template": template, "volumeClaimTemplates": claims });
    site.server.put("statefulsets.apps", json!({ "metadata": { "name": "db" }, "spec": set }));
    save(&site, &[]);
    ended(&restore(&site, &[]), 0, "persistentvolumeclaims/data-db-1: 3 files are back");
    let pods = site.server.world().ever("pods", "copy");
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
        let term = &terms[0]["podAffinityTerm"];
        assert_eq!(term["topologyKey"], "zone");
        assert_eq!(
            term["labelSelector"]["matchLabels"],
            json!({ "davit.dev/mover": pod["metadata"]["labels"]["davit.dev/mover"] })
        );
        assert!(pod["metadata"]["labels"]["app"].is_null(), "no Service leads to a mover");
    }
    let requests = site.server.requests();
    let made = requests.iter().rposition(|line| line.starts_with(PODS)).unwrap();
    let gone = requests.iter().position(|line| line.starts_with("DELETE /api/v1/namespaces/copy/pods/")).unwrap();
    assert!(made < gone, "{requests:#?}");
}

/// A site where a restore could not take its mover away.
async fn with_a_mover_left_behind() -> Site {
    let site = shop(&["data"]).await;
    save(&site, &[]);
    site.server.world().names_managers = true;
    site.server.react("DELETE /api/v1/namespaces/copy/pods/", usize::MAX, Reaction::Refuse(403, "Forbidden", 0));
    ended(&restore(&site, &[]), 1, "is left behind and ends by itself");
    site.server.world().faults.clear();
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mover_of_a_run_that_was_killed_goes_and_the_same_command_goes_on() {
    let site = with_a_mover_left_behind().await;
    ended(&restore(&site, &[]), 0, "3 files are back in its volume");
    let pods = site.server.world().ever("pods", "copy");
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    assert!(pods.len() == 1 && site.server.world().get("pods", "copy", name).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mover_that_another_run_of_the_same_restore_made_meanwhile_is_not_taken_away() {
    let site = with_a_mover_left_behind().await;
    let pods = site.server.world().ever("pods", "copy");
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    let uid = || site.server.world().get("pods", "copy", name).map(|pod| pod["metadata"]["uid"].clone());
    let theirs = uid().unwrap();
    // This run made one, and by now another one is called so.
    site.server.react(PODS, 1, Reaction::Body(r#"{"metadata":{"uid":"ours"}}"#));
    ended(&restore(&site, &[]), 1, "its mover pod was deleted by somebody");
    assert_eq!(uid(), Some(theirs));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_another_restore_may_have_left_half_filled_is_told_of() {
    let site = shop(&["data"]).await;
    save(&site, &[]);
    site.server.world().names_managers = true;
    ended(&restore(&site, &[]), 0, "3 files are back in its volume");
    let told = "if that was interrupted, files are missing";
    let said = restore(&site, &["--plan"]);
    assert!(said.code == 0 && !said.stdout.contains(told), "it is this restore's own: {}", said.stdout);
    save(&site, &[]);
    ended(&restore(&site, &[]), 0, told);
}
