//! Saving a namespace, against an API server that misbehaves on demand: what is saved, what is left out, and that
//! nothing incomplete is ever called good.

#![allow(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod cli_support;
mod cluster_support;

use cluster_support::site::{Site, kind, missing};
use cluster_support::{KindDef, Reaction};
use serde_json::{Value, json};
use std::time::Duration;

fn widgets(versions: &[&str], storage: &str) -> KindDef {
    let mut def = KindDef::new("example.com", storage, "widgets", "Widget", true);
    def.versions = versions.iter().map(|version| (*version).to_owned()).collect();
    def
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_saved_at_one_instant_with_all_that_it_holds() {
    let site = Site::with_a_shop().await;
    let server = &site.server;
    server.put("configmaps", json!({ "metadata": { "name": "elsewhere", "namespace": "other" } }));
    server.put("events", json!({ "metadata": { "name": "noise" } }));
    server.put("leases.coordination.k8s.io", json!({ "metadata": { "name": "leader" } }));
    let made = json!({ "endpoints.kubernetes.io/managed-by": "endpoint-controller" });
    server.put("endpoints", json!({ "metadata": { "name": "web", "labels": made } }));
    server.put("endpoints", json!({ "metadata": { "name": "outside" } }));
    let (code, report) = site.save(&[]);
    assert_eq!((code, &report["complete"]), (0, &json!(true)), "{report:#}");
    for (name, objects, derived) in [
        ("deployments.apps", 1, 0),
        ("replicasets.apps", 1, 1),
        ("pods", 1, 1),
        ("secrets", 1, 0),
        ("configmaps", 1, 0),
        ("endpoints", 1, 0),
        ("namespaces", 1, 0),
    ] {
        let kind = kind(&report, name);
        assert_eq!((&kind["objects"], &kind["derived"]), (&json!(objects), &json!(derived)), "{name}");
        assert_eq!(
            (&kind["at_instant"], &kind["resource_version"]),
            (&json!(true), &report["resource_version"]),
            "{name}"
        );
    }
    assert_eq!(report["left_out"]["made by the endpoint controller"], 1);
    let shown = site.show();
    assert_eq!((&shown["complete"], &shown["objects"]), (&json!(true), &report["objects"]));
    for left in ["events", "events.events.k8s.io", "leases.coordination.k8s.io", "bindings"] {
        assert!(shown["coverage"]["left_out"][left].is_string(), "{left}");
    }
    let lists: Vec<String> = server.requests().into_iter().filter(|line| line.contains("/namespaces/shop/")).collect();
    // Each kind is listed once, at the instant; the pods twice before, for the hooks that they declare: for the plan, and when
    // it is the turn of the namespace.
    let instant =
        format!("resourceVersion={}&resourceVersionMatch=Exact", report["resource_version"].as_str().unwrap());
    let exact: Vec<&str> =
        lists.iter().filter(|line| line.contains(&instant)).map(|line| line.split('?').next().unwrap()).collect();
    let mut once = exact.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((exact.len(), lists.len()), (once.len(), once.len() + 2), "{lists:#?}");
    let text = site.davit(&["snapshot", "show", "shop@latest"]).stdout;
    assert!(text.contains("complete") && text.contains("deployments.apps"), "{text}");
    assert!(!text.contains("aHVudGVyMg") && !text.contains("hunter2"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_snapshot_of_the_same_objects_stores_nothing_and_all_commands_know_it() {
    let site = Site::with_a_shop().await;
    for n in 0..1_500 {
        let data = "x".repeat(2_000 + n % 100);
        site.server
            .put("configmaps", json!({ "metadata": { "name": format!("bulk-{n:05}") }, "data": { "text": data } }));
    }
    let (_, first) = site.save(&[]);
    let (code, second) = site.save(&[]);
    assert_eq!((code, &second["chunks_new"], &second["bytes_new"]), (0, &json!(0), &json!(0)), "{second:#}");
    assert!(first["chunks"].as_u64().unwrap() > 10, "{first:#}");
    site.server.put(
        "configmaps",
        json!({ "metadata": { "name": "bulk-00700" }, "data": { "text": "y".repeat(9_000) }, "status": {} }),
    );
    let (_, third) = site.save(&[]);
    assert_eq!(third["chunks_new"], 2, "one changed object changes one pack, which is two chunks: {third:#}");
    let mut object = site.server.world().get("configmaps", "shop", "bulk-00700").unwrap();
    object["status"] = json!({ "phase": "Odd" });
    site.server.put("configmaps", object);
    let (_, third) = site.save(&[]);
    assert_eq!(third["chunks_new"], 1, "a status stores nothing of what people wrote again: {third:#}");
    let (code, points) = site.json(&["points", "shop"]);
    let newest = &points["points"][0];
    assert_eq!((code, newest["kind"].as_str(), &newest["tables"]), (0, Some("namespace"), &Value::Null), "{points:#}");
    assert_eq!((&newest["rows"], &newest["missing"]), (&third["objects"], &json!(0)));
    for arguments in [
        &["snapshot", "verify", "shop@latest"][..],
        &["snapshot", "verify", "shop@latest", "--depth", "listed"],
        &["verify", "--all", "--depth", "stored"],
        &["hold", "shop@latest", "--reason", "why not"],
        &["release", "shop@latest"],
        &["retain", "--dry-run"],
        &["sweep"],
    ] {
        let said = site.davit(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
    }
    let doctor = site.davit(&["doctor"]);
    assert!(doctor.stdout.contains("points of shop"), "{}", doctor.stdout);
    for arguments in [&["restore", "shop@latest", "--into", "postgres://127.0.0.1:1/x"][..], &["export", "shop@latest"]]
    {
        let said = site.davit(arguments);
        assert!(said.code == 2 && said.stderr.contains("it is of a namespace"), "{}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_pack_is_named_as_the_kind_it_hits() {
    let site = Site::with_a_shop().await;
    site.save(&[]);
    let chunks = site.desk.inventory().into_iter().filter(|(path, _, _)| path.to_str().unwrap().contains("/chunks/"));
    for (path, _, _) in chunks {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let (code, report) = site.json(&["snapshot", "verify", "shop@latest"]);
    let damage = report["damage"].as_array().unwrap();
    assert_eq!(code, 1);
    assert!(damage.iter().any(|one| one["object"] == "deployments.apps"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_api_service_hides_makes_the_snapshot_incomplete_and_nothing_calls_it_good() {
    let site = Site::with_a_shop().await;
    let (_, good) = site.save(&[]);
    // The group answers 200 and has nothing in it; only the conditions and the freshness tell.
    site.server.world().stale.push(("things.example.com".to_owned(), "v1".to_owned()));
    site.server.put(
        "apiservices.apiregistration.k8s.io",
        json!({
            "metadata": { "name": "v1.things.example.com" },
            "spec": { "group": "things.example.com", "version": "v1", "service": { "name": "gone" } },
            "status": { "conditions": [{ "type": "Available", "status": "False", "message": "no endpoints" }] }
        }),
    );
    let (code, report) = site.save(&[]);
    assert_eq!((code, &report["complete"]), (1, &json!(false)), "{report:#}");
    assert!(missing(&report).contains("things.example.com/v1"), "{}", missing(&report));
    assert_eq!(kind(&report, "secrets")["objects"], 1, "what can be seen is saved");
    let shown = site.show();
    assert_eq!((&shown["complete"], &shown["missing"]), (&json!(false), &report["missing"]));
    let points = site.davit(&["points", "shop"]);
    assert!(points.stdout.contains("INCOMPLETE"), "{}", points.stdout);
    for arguments in [&["snapshot", "verify", "shop@latest"][..], &["verify", "shop@latest"], &["verify", "--all"]] {
        assert_eq!(site.davit(arguments).code, 1, "{arguments:?}");
    }
    let (_, points) = site.json(&["points", "shop"]);
    assert_eq!((&points["points"][0]["missing"], &points["points"][0]["verified"]["ok"]), (&json!(1), &json!(false)));
    let (_, plan) = site.json(&["retain", "--dry-run"]);
    assert!(plan.to_string().contains(good["point"].as_str().unwrap()), "{plan:#}");
    // Whoever leaves out one kind of the group did not say that its other kinds do not matter.
    let (code, report) = site.save(&["--exclude", "widgets.things.example.com"]);
    assert_eq!((code, &report["complete"]), (1, &json!(false)), "{report:#}");
    // Who knows that the group is down and says so gets a complete snapshot of what was asked for.
    let (code, report) = site.save(&["--exclude", "*.things.example.com"]);
    assert_eq!((code, &report["complete"]), (0, &json!(true)), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_was_made_a_second_ago_is_waited_for_and_saved() {
    let site = Site::new().await;
    {
        let mut world = site.server.world();
        let mut def = widgets(&["v1"], "v1");
        def.shown = false;
        world.hidden_for = 3;
        world.define(def);
        world.put("widgets.example.com", json!({ "metadata": { "name": "new" } }));
    }
    let (code, report) = site.save(&[]);
    assert_eq!((code, &kind(&report, "widgets.example.com")["objects"]), (0, &json!(1)), "{report:#}");
    let related = kind(&report, "customresourcedefinitions.apiextensions.k8s.io");
    assert_eq!((&related["related"], &related["objects"]), (&json!(true), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_is_never_served_is_missing() {
    let site = Site::new().await;
    {
        let mut world = site.server.world();
        let mut def = widgets(&["v1"], "v1");
        def.shown = false;
        world.hidden_for = usize::MAX;
        world.define(def);
    }
    let (code, report) = site.save(&[]);
    assert_eq!(code, 1);
    assert!(missing(&report).contains("widgets.example.com"), "{}", missing(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_objects_are_read_at_their_storage_version_because_another_one_drops_fields() {
    let site = Site::new().await;
    {
        let mut world = site.server.world();
        let mut def = widgets(&["v1", "v2beta1"], "v2beta1");
        def.drops = vec![("v1".to_owned(), "precious".to_owned())];
        world.define(def);
        world.put("widgets.example.com", json!({ "metadata": { "name": "w" }, "spec": { "precious": "stone" } }));
    }
    let (code, report) = site.save(&[]);
    let kind = kind(&report, "widgets.example.com");
    assert_eq!((code, kind["version"].as_str(), &kind["objects"]), (0, Some("v2beta1"), &json!(1)), "{report:#}");
    let lists = site.server.requests();
    assert!(lists.iter().any(|line| line.contains("/apis/example.com/v2beta1/namespaces/shop/widgets")), "{lists:#?}");
    assert!(!lists.iter().any(|line| line.contains("/apis/example.com/v1/")), "{lists:#?}");
    let kept = site.loaded().await.into_iter().find(|saved| saved.identity.name == "w").unwrap().body.open();
    assert_eq!(
        (kept["apiVersion"].as_str(), kept["spec"]["precious"].as_str()),
        (Some("example.com/v2beta1"), Some("stone"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_read_definitions_cannot_prove_kinds_of_several_versions() {
    let site = Site::new().await;
    site.server.world().define(widgets(&["v1", "v2"], "v2"));
    site.server.react("customresourcedefinitions", 100, Reaction::Refuse(403, "Forbidden", 0));
    let (code, report) = site.save(&["--scope", "namespace"]);
    assert_eq!(code, 1);
    assert!(missing(&report).contains("widgets.example.com"), "{}", missing(&report));
    assert!(!missing(&report).contains("horizontalpodautoscalers"), "{}", missing(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_served_in_several_versions_are_saved_once() {
    let site = Site::new().await;
    site.server.put("horizontalpodautoscalers.autoscaling", json!({ "metadata": { "name": "web" } }));
    let (code, report) = site.save(&[]);
    let scalers = kind(&report, "horizontalpodautoscalers.autoscaling");
    assert_eq!((code, scalers["version"].as_str(), &scalers["objects"]), (0, Some("v2"), &json!(1)));
    let lists = site.server.requests();
    assert_eq!(lists.iter().filter(|line| line.contains("horizontalpodautoscalers")).count(), 1, "{lists:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_may_not_be_listed_is_missing_and_named() {
    let site = Site::with_a_shop().await;
    site.server.react("/namespaces/shop/secrets", 100, Reaction::Refuse(403, "Forbidden", 0));
    let (code, report) = site.save(&[]);
    assert_eq!((code, &report["complete"]), (1, &json!(false)));
    assert!(missing(&report).contains("secrets") && missing(&report).contains("403"), "{}", missing(&report));
    assert_eq!(kind(&report, "configmaps")["objects"], 1);
    let said = site.davit(&["snapshot", "create", "shop", "--exclude", "secrets"]);
    assert_eq!(said.code, 0, "what was not asked for is not missing: {}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_patience_gets_it() {
    let site = Site::with_a_shop().await;
    site.server.react("/namespaces/shop/configmaps", 2, Reaction::Refuse(429, "TooManyRequests", 1));
    site.server.react("/namespaces/shop/secrets", 2, Reaction::Refuse(503, "ServiceUnavailable", 0));
    let (code, report) = site.save(&[]);
    assert_eq!((code, &report["complete"]), (0, &json!(true)), "{report:#}");
    assert!(report["seconds"].as_f64().unwrap() >= 2.0, "twice a second was asked for: {}", report["seconds"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_that_is_forgotten_falls_back_to_a_list_of_its_own_and_says_so() {
    let site = Site::with_a_shop().await;
    site.server.react("/namespaces/shop/secrets?limit=500&resourceVersion=", 1, Reaction::Refuse(410, "Expired", 0));
    let (code, report) = site.save(&[]);
    assert_eq!((code, &report["complete"]), (0, &json!(true)), "{report:#}");
    assert_eq!(
        (&kind(&report, "secrets")["at_instant"], &kind(&report, "secrets")["objects"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(kind(&report, "configmaps")["at_instant"], true);
    let text = site.davit(&["snapshot", "show", "shop@latest"]).stdout;
    assert!(text.contains("of an instant of its own"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_breaks_off_is_read_again_and_nothing_is_saved_twice() {
    let site = Site::new().await;
    for n in 0..1_200 {
        site.server
            .put("configmaps", json!({ "metadata": { "name": format!("c-{n:05}") }, "data": { "n": n.to_string() } }));
    }
    for bytes in [60_000, 30_000, 10] {
        site.server.react("/namespaces/shop/configmaps", 1, Reaction::BreakAfter(bytes));
    }
    site.server.react("configmaps?limit=500&continue=", 1, Reaction::BreakAfter(20_000));
    let (code, report) = site.save(&[]);
    let configs = kind(&report, "configmaps");
    assert_eq!((code, &configs["objects"], &configs["at_instant"]), (0, &json!(1_200), &json!(true)), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_list_is_never_an_empty_one() {
    let site = Site::with_a_shop().await;
    for body in ["", "{}", "<html>proxy</html>", r#"{"kind":"Status","status":"Success"}"#] {
        site.server.react("/namespaces/shop/secrets", 1, Reaction::Body(body));
        let (code, report) = site.save(&[]);
        assert_eq!(code, 1, "{body:?}: {report:#}");
        assert!(missing(&report).contains("secrets"), "{body:?}: {}", missing(&report));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_lists_are_under_way_than_were_promised() {
    let site = Site::with_a_shop().await;
    site.server.react("/namespaces/shop/", 1_000, Reaction::Late(Duration::from_millis(600)));
    let (code, _) = site.save(&[]);
    let most = site.server.most_at_once();
    assert!(code == 0 && most > 8 && most <= davit::snapshot::collect::LISTS, "{most} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_namespace_leans_on_comes_along_and_is_marked() {
    let site = Site::with_a_shop().await;
    let server = &site.server;
    for (name, team) in [("high", "x"), ("unused", "y")] {
        server
            .put("priorityclasses.scheduling.k8s.io", json!({ "metadata": { "name": name, "labels": { "t": team } } }));
    }
    let claim = json!({ "metadata": { "name": "data" }, "spec": { "volumeName": "pv-7" } });
    server.put("persistentvolumeclaims", claim);
    server.put("persistentvolumes", json!({ "metadata": { "name": "pv-7" }, "spec": { "storageClassName": "fast" } }));
    server.put("persistentvolumes", json!({ "metadata": { "name": "pv-8" } }));
    server.put("storageclasses.storage.k8s.io", json!({ "metadata": { "name": "fast" } }));
    let subject = json!([{ "kind": "ServiceAccount", "name": "web", "namespace": "shop" }]);
    let role = json!({ "kind": "ClusterRole", "name": "reader" });
    let binding = json!({ "metadata": { "name": "web-reads" }, "roleRef": role, "subjects": subject });
    server.put("clusterrolebindings.rbac.authorization.k8s.io", binding);
    server.put("clusterroles.rbac.authorization.k8s.io", json!({ "metadata": { "name": "reader" } }));
    server.put("clusterroles.rbac.authorization.k8s.io", json!({ "metadata": { "name": "other" } }));
    let selects = json!([{ "name": "x", "namespaceSelector": { "matchLabels": { "team": "shop" } } }]);
    let hooks = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
    server.put(hooks, json!({ "metadata": { "name": "inject" }, "webhooks": selects }));
    let (code, report) = site.save(&[]);
    assert_eq!(code, 0, "{report:#}");
    for name in [
        "priorityclasses.scheduling.k8s.io",
        "persistentvolumes",
        "storageclasses.storage.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        hooks,
    ] {
        let kind = kind(&report, name);
        assert_eq!((&kind["related"], &kind["objects"]), (&json!(true), &json!(1)), "{name}");
    }
    assert_eq!(report["related"], 7, "with the namespace itself");
    let (_, narrow) = site.save(&["--scope", "namespace"]);
    assert_eq!((&narrow["related"], &narrow["complete"]), (&json!(1), &json!(true)), "{narrow:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_kinds_select_and_the_scope_says_so() {
    let site = Site::with_a_shop().await;
    site.server.put("configmaps", json!({ "metadata": { "name": "front", "labels": { "tier": "front" } } }));
    let (code, report) = site.save(&["--selector", "tier=front", "--include", "configmaps,Secret"]);
    assert_eq!(
        (code, &kind(&report, "configmaps")["objects"], &kind(&report, "secrets")["objects"]),
        (0, &json!(1), &json!(0))
    );
    assert!(!report["warnings"].to_string().contains("met no object"), "{report:#}");
    let (shown, (code, report)) = (site.show(), site.save(&["--selector", "tier=fornt"]));
    assert_eq!(shown["scope"]["selector"], "tier=front");
    assert!(code == 0 && report["warnings"].to_string().contains("--selector tier=fornt met no object"), "{report:#}");
    assert!(site.show()["coverage"]["notes"].to_string().contains("met no object"), "it is known of the point, too");
    assert!(shown["coverage"]["left_out"]["pods"].as_str().unwrap().contains("asked for"), "{shown:#}");
    let (code, plan) = site.json(&["snapshot", "create", "shop", "--dry-run", "--exclude", "pods"]);
    let planned = &plan["namespaces"][0];
    assert_eq!((code, &planned["left_out"]["pods"]), (0, &json!("left out by --exclude pods")), "{plan:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_selector_does_not_mean_is_no_difference() {
    let site = Site::with_a_shop().await;
    let put = |kind: &str, name: &str, tier: &str| {
        site.server.put(kind, json!({ "metadata": { "name": name, "labels": { "tier": tier } } }));
    };
    put("configmaps", "front", "front");
    put("configmaps", "moves", "front");
    assert_eq!(site.save(&["--selector", "tier=front"]).0, 0);
    let diff = || site.davit(&["snapshot", "diff", "shop@latest", "--live"]);
    let said = diff();
    assert!(said.code == 0 && !said.stdout.contains("settings"), "{}{}", said.stdout, said.stderr);
    // What it means by now, of a kind that was not there either, is more; what was saved is looked for whatever its
    // labels are.
    put("configmaps", "more", "front");
    put("services", "more", "front");
    put("configmaps", "moves", "back");
    let said = diff();
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    for line in
        ["+ configmaps/more in shop", "+ services/more in shop", "~ configmaps/moves in shop", "3 objects differ"]
    {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
    // Nobody prunes by a part of a namespace.
    let said = site.davit(&["snapshot", "restore", "shop@latest", "--prune", "--yes-prune", "shop"]);
    assert!(said.code == 3 && said.stderr.contains("of which kinds it has every object"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_one_namespace_saves_what_is_inside_it() {
    let site = Site::with_a_shop().await;
    // It may get its own namespace, and list nothing outside it.
    site.server.react("GET /api/v1/namespaces?", 1_000, Reaction::Refuse(403, "Forbidden", 0));
    site.server.react("/namespaces/kube-system", 1_000, Reaction::Refuse(403, "Forbidden", 0));
    let (code, report) = site.save(&["--scope", "namespace"]);
    assert_eq!(
        (code, &report["complete"], &kind(&report, "secrets")["objects"]),
        (0, &json!(true), &json!(1)),
        "{report:#}"
    );
    assert_eq!(
        (&kind(&report, "secrets")["at_instant"], &kind(&report, "pods")["at_instant"]),
        (&json!(true), &json!(true))
    );
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert!(said.code == 3 && said.stderr.contains("which cluster it is"), "{}", said.stderr);
}
