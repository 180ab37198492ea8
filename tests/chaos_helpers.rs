//! The namespace of the pods that carry faults: a fault that wants them is refused while they cannot run, and one whose
//! helper does not come has begun nothing. The API server is a scripted one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod chaos_support;
mod cli_support;
mod cluster_support;
mod support;

use chaos_support::{Diary, Site};
use cluster_support::{ApiServer, KindDef, Reaction};
use davit::chaos::{self, GuardName, Request, open_intents};
use davit::cluster::{Cluster, Connect, Place};
use davit::error::Kind;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// The lines of `docs/chaos.md` that make room for helpers.
const LINES: [&str; 3] = [
    "kubectl create namespace davit-chaos",
    "kubectl label namespace davit-chaos pod-security.kubernetes.io/enforce=privileged",
    "kubectl -n davit-chaos create serviceaccount davit-chaos",
];

/// A shop of two pods on two nodes, all of which lets faults in, and an account that may do everything.
async fn shop() -> (ApiServer, Site) {
    let server = ApiServer::start().await;
    let annotations = json!({ "davit.dev/chaos": "allowed", "davit.dev/environment": "staging" });
    server.world().kinds.push(KindDef::new("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true));
    server.put("namespaces", json!({ "metadata": { "name": "shop", "annotations": annotations } }));
    for number in 1..=2 {
        let node = format!("node-{number}");
        let ready = json!([{ "type": "Ready", "status": "True" }]);
        let meta = json!({ "name": node, "annotations": annotations });
        server.put("nodes", json!({ "metadata": meta, "status": { "conditions": ready } }));
        let owner = json!([{ "kind": "ReplicaSet", "name": "web", "uid": "owner", "controller": true }]);
        let meta = json!({ "name": format!("web-{number}"), "labels": { "app": "web" }, "ownerReferences": owner });
        let running =
            json!({ "name": "web", "containerID": format!("containerd://c{number}"), "state": { "running": {} } });
        server.put(
            "pods",
            json!({
                "metadata": meta,
                "spec": { "nodeName": node, "containers": [{ "name": "web" }] },
                "status": { "phase": "Running", "podIP": "10.0.0.1", "conditions": ready, "containerStatuses": [running] },
            }),
        );
    }
    let yes = Reaction::Body(r#"{"status": {"allowed": true}}"#);
    server.react("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 1_000, yes);
    let mut site = Site::new().await;
    let place = Place::Files(vec![server.kubeconfig(site.directory.path())]);
    let connect = Connect { place, context: None };
    site.means.cluster = Some(Cluster::connect(&connect, site.means.clock.clone(), CancellationToken::new()).unwrap());
    (server, site)
}

fn room(server: &ApiServer) {
    server.put("namespaces", json!({ "metadata": { "name": "davit-chaos" } }));
}

fn request(fault: &str) -> Request {
    let (target, set) = match fault {
        "node-taint" => ("node/node-1", Some(("effect", "NoSchedule"))),
        "pod-latency" => ("shop/pods", Some(("port", "8080"))),
        _ => ("shop/pods", None),
    };
    let request = Request::new(fault, target.parse().unwrap()).lifting(GuardName::Quorum).capped(1, 100);
    set.into_iter().fold(request, |request, (name, value)| request.with(name, value))
}

/// Pods that were made in earnest, as the server was asked for them.
fn pods_made(server: &ApiServer) -> usize {
    let requests = server.requests();
    requests.iter().filter(|line| line.starts_with("POST ") && line.ends_with("/davit-chaos/pods")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_namespace_of_helpers_what_they_carry_is_refused_with_the_lines_that_make_it() {
    let (server, site) = shop().await;
    let carried = [
        "container-kill",
        "pod-unready",
        "cpu-pressure",
        "memory-pressure",
        "disk-pressure",
        "pod-partition",
        "pod-latency",
        "pod-force-delete",
        "node-taint",
    ];
    for fault in carried {
        let refusal = site.refusal(request(fault)).await;
        assert_eq!(refusal.kind(), Kind::Refused, "{fault}: {refusal}");
        assert!(
            refusal.to_string().contains("guard permission: there is no namespace davit-chaos"),
            "{fault}: {refusal}"
        );
        let hint = refusal.hint_text().unwrap();
        assert!(LINES.iter().all(|line| hint.contains(line)), "{fault}: {hint}");
    }
    // What the API server itself takes needs none.
    chaos::plan(&site.means, request("pod-delete")).await.unwrap();
    chaos::plan(&site.means, request("node-taint").with("effect", "NoExecute")).await.unwrap();

    room(&server);
    for fault in carried {
        let plan = chaos::plan(&site.means, request(fault)).await.unwrap();
        let lines = plan.lines().join("\n");
        assert!(lines.contains("the namespace davit-chaos takes the pods that carry the fault"), "{fault}: {lines}");
    }
    // Pod security and quotas speak as well.
    server.react("davit-chaos/pods?dryRun=All", 1, Reaction::Refuse(403, "Forbidden", 0));
    let refusal = site.refusal(request("container-kill")).await.to_string();
    assert!(refusal.contains("no pod that carries the fault may run in davit-chaos: scripted"), "{refusal}");
    // A webhook that knows no dry run says nothing about what happens in earnest.
    server.react("davit-chaos/pods?dryRun=All", 1, Reaction::Refuse(400, "BadRequest", 0));
    chaos::plan(&site.means, request("container-kill")).await.unwrap();
    assert_eq!(pods_made(&server), 0, "a plan changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_cannot_be_made_has_begun_nothing_and_leaves_nothing_open() {
    for gone in [true, false] {
        let (server, site) = shop().await;
        room(&server);
        let plan = chaos::plan(&site.means, request("pod-partition")).await.unwrap();
        if gone {
            server.world().remove("namespaces", "", "davit-chaos");
        } else {
            server.react("POST /api/v1/namespaces/davit-chaos/pods", 1_000, Reaction::Refuse(403, "Forbidden", 0));
        }
        let diary = Diary::default();
        let error = chaos::inject(&site.means, plan, &diary).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().starts_with("starting a helper pod in davit-chaos"), "{error}");
        assert!(error.hint_text().unwrap().contains(LINES[0]), "{error:?}");
        assert!(open_intents(&site.means).await.unwrap().is_empty());
        let lines = diary.lines();
        assert!(lines.contains(&"intent-durable".to_owned()) && lines.contains(&"closed".to_owned()), "{lines:?}");
        assert!(!lines.contains(&"injecting".to_owned()) && !lines.contains(&"stuck".to_owned()), "{lines:?}");
        // The next one is let through.
        server.world().faults.clear();
        let yes = Reaction::Body(r#"{"status": {"allowed": true}}"#);
        server.react("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 1_000, yes);
        room(&server);
        chaos::plan(&site.means, request("pod-partition")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_there_is_told_with_the_one_that_was_meant() {
    let (_server, site) = shop().await;
    let refusal = site.refusal(Request::new("pod-delete", "shpo/pods/app=web".parse().unwrap())).await;
    assert_eq!(refusal.kind(), Kind::Input);
    assert!(refusal.to_string().contains("finding namespace shpo in "), "{refusal}");
    assert_eq!(refusal.hint_text(), Some("did you mean shop?"));
}
