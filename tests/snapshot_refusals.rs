//! Bad input to `davit snapshot`: a clear error, the right exit code, and nothing changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

mod cli_support;
mod cluster_support;

use cluster_support::site::Site;
use cluster_support::{KindDef, Reaction};
use davit::snapshot::restore::manager;
use serde_json::{Value, json};

/// Runs each call, holds the desk to "nothing changed", and compares all texts with the reviewed ones.
fn refused(name: &str, site: &Site, calls: &[(&[&str], i32)]) {
    let before = site.desk.inventory();
    let mut transcript = String::new();
    for (arguments, code) in calls {
        let shown = tokio::task::block_in_place(|| site.desk.transcript(arguments));
        assert!(shown.ends_with(&format!("(exit {code})\n")), "{shown}");
        transcript.push_str(&shown.replace(&site.server.url, "SERVER"));
        transcript.push('\n');
    }
    assert_eq!(site.desk.inventory(), before, "{name}: something was changed");
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "golden/errors", omit_expression => true }, {
        insta::assert_snapshot!(name, transcript);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_meant_is_told() {
    let site = Site::with_a_shop().await;
    site.desk.write("broken", "clusters: [\n").write("empty", "").write("other", "contexts: []\ncurrent-context: x\n");
    refused(
        "snapshot-cluster",
        &site,
        &[
            (&["snapshot", "create", "shop", "--kubeconfig", "nowhere"], 2),
            (&["snapshot", "create", "shop", "--kubeconfig", "broken"], 2),
            (&["snapshot", "create", "shop", "--kubeconfig", "empty"], 2),
            (&["snapshot", "create", "shop", "--kubeconfig", "other"], 2),
            (&["snapshot", "create", "shop", "--context", "prodution"], 2),
            (&["snapshot", "create", "shop", "--context", "production"], 2),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_a_kubeconfig_is_told_where_one_is_looked_for() {
    let desk = cli_support::Desk::with_repository();
    let said = desk.davit(&["snapshot", "create", "shop"]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(said.stderr.contains("--kubeconfig or KUBECONFIG"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_cannot_be_saved_is_told_with_the_nearest_one() {
    let site = Site::with_a_shop().await;
    site.server.put("namespaces", json!({ "metadata": { "name": "shop-staging" } }));
    let going = json!({ "metadata": { "name": "going", "deletionTimestamp": "2026-11-21T00:00:00Z" }, "status": { "phase": "Terminating" } });
    site.server.put("namespaces", going);
    refused(
        "snapshot-namespace",
        &site,
        &[
            (&["snapshot", "create", "shpo"], 2),
            (&["snapshot", "create", "entirely-elsewhere"], 2),
            (&["snapshot", "create", "shop", "shop-stagin"], 2),
            (&["snapshot", "create", "going"], 3),
            (&["snapshot", "create", "Shop"], 2),
            (&["snapshot", "create", "shop/web"], 2),
            (&["snapshot", "create", "shop", "going", "--source", "both"], 2),
            (&["snapshot", "create", "shop", "--include", "deploymnets"], 2),
            (&["snapshot", "create", "shop", "--exclude", "*.example.org"], 2),
            (&["snapshot", "create", "shop", "--selector", "app is web"], 2),
            (&["snapshot", "create", "shop", "--tier", "fortnightly"], 2),
            (&["snapshot", "create"], 2),
            (&["snapshot", "show", "shop@latest"], 2),
            (&["snapshot", "show", "yesterday"], 2),
            (&["snapshot", "verify", "shop@latest", "--depth", "deep"], 2),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_bad_input_and_nothing_is_begun() {
    let site = Site::with_a_shop().await;
    "another".clone_into(&mut site.server.world().token);
    refused("snapshot-token", &site, &[(&["snapshot", "create", "shop"], 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_under_a_known_name_is_refused_until_it_is_bound_anew() {
    let site = Site::with_a_shop().await;
    assert_eq!(site.save(&[]).0, 0);
    site.server.world().remove("namespaces", "", "shop");
    site.server.put("namespaces", json!({ "metadata": { "name": "shop" } }));
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert!(said.code == 3 && said.stderr.contains("--rebind"), "{}", said.stderr);
    assert_eq!(site.save(&["--rebind"]).0, 0);
    assert_eq!(site.save(&[]).0, 0, "it is bound to the new one now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_a_restore_brought_back_goes_on_as_the_same_source() {
    let site = Site::with_a_shop().await;
    let (_, point) = site.save(&[]);
    let uid = |name: &str| {
        let body = site.server.world().get("namespaces", "", name).unwrap();
        body["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let identity = format!("{} {}", point["point"].as_str().unwrap(), point["manifest_sha256"].as_str().unwrap());
    let made_by = |manager: &str| {
        let shop = json!({ "metadata": { "name": "shop", "managedFields": [{ "manager": manager }] } });
        site.server.world().remove("namespaces", "", "shop");
        site.server.put("namespaces", shop);
    };
    let cluster = uid("kube-system");
    // A restore elsewhere, of another point or into another namespace brought something else.
    for parts in [[&identity, "other", ""], ["x y", &cluster, ""], [&identity, &cluster, "copy"]] {
        made_by(&manager(&parts));
        let said = site.davit(&["snapshot", "create", "shop"]);
        assert!(said.code == 3 && said.stderr.contains("--rebind"), "{parts:?}: {}", said.stderr);
    }
    made_by(&manager(&[&identity, &cluster, ""]));
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("it goes on as the same source"), "{}", said.stderr);
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert!(said.code == 0 && !said.stderr.contains("goes on"), "it is bound to it now: {}", said.stderr);
    // The same in another cluster is not the same: the one that the source is bound to may be there still.
    site.server.world().remove("namespaces", "", "kube-system");
    site.server.put("namespaces", json!({ "metadata": { "name": "kube-system" } }));
    made_by(&manager(&[&identity, &uid("kube-system"), ""]));
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert!(said.code == 3 && said.stderr.contains("--rebind"), "{}", said.stderr);
}

fn checks<'a>(document: &'a Value, check: &str) -> Vec<&'a Value> {
    let all = document["checks"].as_array().unwrap_or_else(|| panic!("{document:#}"));
    all.iter().filter(|finding| finding["check"] == check).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_of_a_cluster_would_make_a_snapshot_incomplete_or_a_restore_fail() {
    const REVIEWS: &str = "selfsubjectaccessreviews";
    let site = Site::with_a_shop().await;
    let kubeconfig = site.server.kubeconfig(site.desk.path());
    let doctor = ["doctor", "--kubeconfig", kubeconfig.to_str().unwrap(), "--namespace", "shop"];
    site.server.react(REVIEWS, usize::MAX, Reaction::Body(r#"{"status": {"allowed": true}}"#));
    let (_, well) = site.json(&doctor);
    for check in ["cluster", "kinds of the cluster", "volume snapshots", "saving shop", "restoring shop"] {
        let found = checks(&well, check);
        assert!(!found.is_empty() && found.iter().all(|finding| finding["state"] == "ok"), "{check}: {well:#}");
    }
    let asked = site.server.requests();
    let changes: Vec<&String> =
        asked.iter().filter(|line| !line.starts_with("GET ") && !line.contains(REVIEWS)).collect();
    assert_eq!(changes, Vec::<&String>::new(), "it changes nothing");

    site.server.world().faults.clear();
    site.server.react(REVIEWS, usize::MAX, Reaction::Body(r#"{"status": {"allowed": false}}"#));
    site.server.world().define(KindDef::new("example.com", "v1", "widgets", "Widget", true));
    site.server.world().stale.push(("example.com".to_owned(), "v1".to_owned()));
    let rules = |resource: &str| json!([{ "operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": [resource] }]);
    let hook = |name: &str, resource: &str, team: &str| {
        json!({ "name": name, "clientConfig": { "service": { "namespace": "shop", "name": "nobody" } },
            "namespaceSelector": { "matchLabels": { "team": team } }, "rules": rules(resource) })
    };
    let webhooks = json!({ "metadata": { "name": "policy" }, "webhooks": [
        hook("secrets.example.com", "secrets", "shop"), hook("others.example.com", "*", "others")] });
    site.server.put("validatingwebhookconfigurations.admissionregistration.k8s.io", webhooks);
    let (code, ill) = site.json(&doctor);
    assert_eq!(code, 1, "{ill:#}");
    let kinds = checks(&ill, "kinds of the cluster");
    assert!(
        kinds[0]["detail"].as_str().unwrap().starts_with("everything of example.com/v1 cannot be saved"),
        "{ill:#}"
    );
    let saving = checks(&ill, "saving shop");
    let states: Vec<&str> = saving.iter().map(|finding| finding["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["fail", "warn", "warn"], "{ill:#}");
    let hidden = saving[0]["detail"].as_str().unwrap();
    assert!(hidden.starts_with("this account may not list ") && hidden.contains(" more: "), "{hidden}");
    let restoring = checks(&ill, "restoring shop");
    assert_eq!(restoring.len(), 1, "{ill:#}");
    let kept = restoring[0]["detail"].as_str().unwrap();
    assert!(kept.starts_with("the webhook secrets.example.com of policy lets in no secrets: "), "{kept}");

    site.server.react("GET /version", usize::MAX, Reaction::Refuse(401, "Unauthorized", 0));
    let (code, stranger) = site.json(&doctor);
    let cluster = checks(&stranger, "cluster");
    assert_eq!((code, &cluster[0]["state"], cluster.len()), (1, &json!("fail"), 1), "{stranger:#}");
    assert!(cluster[0]["hint"].as_str().unwrap().contains("the token may have expired"), "{stranger:#}");
    assert!(checks(&stranger, "saving shop").is_empty(), "{stranger:#}");
}
