//! Restoring into a real control plane: what comes back, in which order, and what is never touched.

use crate::control_support::{ControlPlane, control_plane};
use davit::journal::{Event, Progress};
use davit::snapshot::clean::Keep;
use davit::snapshot::diff::{compare_sets, schemas_of};
use davit::snapshot::map::Mapping;
use davit::snapshot::object::{self, Saved};
use davit::snapshot::plan::{Action, Mark, OnConflict, Options, Selector};
use davit::snapshot::restore::{self, Prepared, RestoreReport, prepare};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

const SHOP: &str = include_str!("../fixtures/snapshot/shop.yaml");
const WIDGETS: &str = include_str!("../fixtures/snapshot/widgets.yaml");

pub fn options() -> Options {
    Options { manager: restore::manager(&["test"]), ..Options::default() }
}

pub fn into(from: &str, to: &str) -> Mapping {
    Mapping { namespaces: [(from.to_owned(), to.to_owned())].into(), ..Mapping::default() }
}

/// Applies YAML in a namespace.
pub fn fill(plane: &ControlPlane, namespace: &str, yaml: &str) {
    plane.kubectl(&["apply", "--server-side", "--field-manager=kubectl", "-n", namespace, "-f", "-"], yaml).unwrap();
}

pub async fn restored(
    plane: &ControlPlane,
    saved: &[Saved],
    mapping: &Mapping,
    options: Options,
) -> (Prepared, RestoreReport) {
    let means = plane.means();
    let prepared = prepare(&means, saved.to_vec(), mapping, options).await.unwrap_or_else(|error| panic!("{error:?}"));
    let report = restore::run(&means, &prepared).await.unwrap_or_else(|error| panic!("{error:?}"));
    (prepared, report)
}

pub fn assert_whole(report: &RestoreReport) {
    assert_eq!((&report.failed, &report.diverged), (&vec![], &vec![]), "{report:#?}");
}

pub fn made(plane: &ControlPlane, namespace: &str) {
    plane.kubectl(&["create", "namespace", namespace], "").unwrap();
}

fn definitions(plane: &ControlPlane) -> Vec<Saved> {
    plane.apply(WIDGETS);
    for name in ["widgets", "gizmos"] {
        plane.await_object(&["crd", &format!("{name}.example.com")], |body| {
            body["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["type"] == "Established" && one["status"] == "True"))
        });
    }
    let of = |name: &str| plane.related("customresourcedefinitions.apiextensions.k8s.io", name);
    vec![of("widgets.example.com"), of("gizmos.example.com")]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn a_namespace_of_every_kind_comes_back_in_another_one_without_a_difference() {
    let plane = control_plane();
    plane.namespace("shop");
    definitions(plane);
    fill(plane, "shop", SHOP);
    fill(
        plane,
        "shop",
        "\
apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3, rules: [{host: b, port: 80}, {host: a, port: x}]}\n---\n\
apiVersion: example.com/v1\nkind: Gizmo\nmetadata: {name: g}\nspec: {any: [1, {a: b}]}\nstatus: {mine: true}\n",
    );
    plane.await_object(&["pods", "-n", "shop"], |pods| pods["items"].as_array().is_some_and(|all| all.len() >= 3));
    let saved = plane.saved("shop").await;
    let kinds: std::collections::BTreeSet<String> = saved.iter().map(|one| one.kind.group_resource()).collect();
    assert!(kinds.len() >= 25, "{kinds:?}");
    let (prepared, report) = restored(plane, &saved, &into("shop", "copy"), options()).await;
    assert_whole(&report);
    assert!(report.created >= 28, "{report:#?}");
    assert_eq!(prepared.mapped.unresolved.len(), 1);
    assert_eq!(prepared.mapped.unresolved[0].path, "data.url");

    // What is there now is what was saved, but for what controllers make and tokens that cannot be the same.
    let mut wanted = saved.clone();
    into("shop", "copy").apply(&mut wanted).unwrap();
    let kept = |one: &&Saved| {
        object::controller(&one.body.open()).is_none()
            && !davit::snapshot::clean::is_token_secret(&one.body.open())
            && one.identity.name != "data-db-0"
            && one.kind.group_resource() != "controllerrevisions.apps"
    };
    let wanted: Vec<Saved> = wanted.iter().filter(kept).cloned().collect();
    let there: Vec<Saved> = plane.saved("copy").await.iter().filter(kept).cloned().collect();
    let diff = compare_sets(&wanted, &there, &schemas_of(&definitions(plane)), &Keep::default());
    assert_eq!(diff.lines(), Vec::<String>::new());
    assert!(diff.same >= 28);
    let token =
        plane.await_object(&["secret", "web-token", "-n", "copy"], |secret| secret["data"]["token"].is_string());
    let old = plane.get(&["secret", "web-token", "-n", "shop"]).unwrap();
    assert_ne!(token["data"]["token"], old["data"]["token"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn an_owner_gets_its_own_again_under_its_new_uid_and_nothing_is_collected() {
    let plane = control_plane();
    plane.namespace("owners");
    fill(
        plane,
        "owners",
        "\
apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  \
template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: 'a:1'}]}}\n",
    );
    let owner = plane.get(&["deployment", "web", "-n", "owners"]).unwrap();
    let uid = owner["metadata"]["uid"].as_str().unwrap();
    fill(
        plane,
        "owners",
        &format!(
            "\
apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: early\n  ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: {uid}}}]\n---\n\
apiVersion: v1\nkind: Secret\nmetadata:\n  name: made\n  ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: {uid}, controller: true}}]\n"
        ),
    );
    plane.await_object(&["replicasets", "-n", "owners"], |all| all["items"][0]["metadata"]["name"].is_string());
    let saved = plane.saved("owners").await;
    let (prepared, report) = restored(plane, &saved, &into("owners", "owned"), options()).await;
    assert_whole(&report);
    let left: Vec<&str> = report.left.iter().map(|one| one.place.group_resource.as_str()).collect();
    assert!(left.contains(&"replicasets.apps"), "{left:?}");
    assert!(prepared.plan.lines.iter().any(|line| line.place.name == "made" && line.action == Action::Create));
    let new = plane.get(&["deployment", "web", "-n", "owned"]).unwrap();
    for (kind, name) in [("configmap", "early"), ("secret", "made")] {
        let object = plane.get(&[kind, name, "-n", "owned"]).unwrap();
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], new["metadata"]["uid"], "{name}");
        assert_ne!(object["metadata"]["ownerReferences"][0]["uid"], uid);
    }
    // The controller made its own ReplicaSet, once; the collector has looked at the namespace by the time it is there.
    let sets = plane.await_object(&["replicasets", "-n", "owned"], |all| {
        all["items"].as_array().is_some_and(|items| items.iter().any(|one| one["status"]["replicas"] == 1))
    });
    assert_eq!(sets["items"].as_array().unwrap().len(), 1);
    assert!(plane.get(&["configmap", "early", "-n", "owned"]).is_some());
    // A stale uid, as a careless restore writes it, is collected: the test would see it.
    fill(
        plane,
        "owned",
        &format!(
            "\
apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: stale\n  ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: {uid}}}]\n"
        ),
    );
    crate::support::wait_until(60, "the collector taking the stale one", || {
        plane.get(&["configmap", "stale", "-n", "owned"]).is_none()
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn a_restore_makes_definitions_first_and_says_of_each_line_what_the_server_thinks() {
    let plane = ControlPlane::start();
    let plane = &plane;
    plane.namespace("custom");
    let definitions = definitions(plane);
    fill(plane, "custom", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3}\n");
    plane
        .kubectl(
            &[
                "patch",
                "widget",
                "w",
                "-n",
                "custom",
                "--subresource",
                "status",
                "--type",
                "merge",
                "-p",
                r#"{"status":{"phase":"Done"}}"#,
            ],
            "",
        )
        .unwrap();
    let mut saved = plane.saved("custom").await;
    saved.extend(definitions);
    for name in ["widgets.example.com", "gizmos.example.com"] {
        plane.kubectl(&["delete", "crd", name], "").unwrap();
    }
    let means = plane.means();
    let with = Options { with_status: vec![Selector::parse("widgets")], ..options() };
    let mut prepared = prepare(&means, saved.clone(), &into("custom", "custom-copy"), with).await.unwrap();
    restore::check(&means, &mut prepared).await.unwrap();
    let mark = |prepared: &Prepared, name: &str| {
        prepared.plan.lines.iter().find(|line| line.place.name == name).unwrap().mark.clone()
    };
    assert_eq!(
        mark(&prepared, "w"),
        Mark::Unchecked("its definition is not there yet; it fits the schema of its definition".to_owned())
    );
    assert_eq!(mark(&prepared, "custom-copy"), Mark::Checked);
    let fits = "the namespace custom-copy is not there yet; it fits the server's schema";
    assert_eq!(mark(&prepared, "default"), Mark::Unchecked(fits.to_owned()));
    // A built-in kind that the server would refuse is found although it cannot be asked.
    let mut unfit = saved.clone();
    let account = unfit.iter().position(|one| one.identity.name == "default").unwrap();
    unfit[account].body.change(|body| body["imagePullSecrets"] = json!("none"));
    let mut planned = prepare(&means, unfit, &into("custom", "custom-copy"), options()).await.unwrap();
    restore::check(&means, &mut planned).await.unwrap();
    let unfit = "by the server's schema: imagePullSecrets is no array";
    assert_eq!(mark(&planned, "default"), Mark::Refused(unfit.to_owned()));
    let report = restore::run(&means, &prepared).await.unwrap();
    assert_whole(&report);
    let widget = plane.get(&["widget", "w", "-n", "custom-copy"]).unwrap();
    assert_eq!((&widget["spec"], &widget["status"]["phase"]), (&json!({"size": 3, "mode": "plain"}), &json!("Done")));

    // A wrong object is refused in the plan, by the schema before the definition is there and by the server after.
    let mut wrong = saved.clone();
    let at = wrong.iter().position(|one| one.identity.name == "w").unwrap();
    wrong[at].body.change(|body| body["spec"]["size"] = json!(0));
    let mut prepared =
        prepare(&means, wrong, &into("custom", "custom-copy"), Options { on_conflict: OnConflict::Merge, ..options() })
            .await
            .unwrap();
    restore::check(&means, &mut prepared).await.unwrap();
    assert!(matches!(mark(&prepared, "w"), Mark::Refused(why) if why.contains("spec.size")));
    let report = restore::run(&means, &prepared).await.unwrap();
    assert_eq!(report.failed.len(), 1, "{report:#?}");
    assert!(report.failed[0].why.contains("spec.size"), "{report:#?}");
    assert_eq!(report.kind().unwrap().exit_code(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn quotas_webhooks_and_a_namespace_that_goes_away_are_told_before() {
    let plane = control_plane();
    plane.namespace("told");
    fill(
        plane,
        "told",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
    );
    let saved = plane.saved("told").await;
    plane.namespace("full");
    fill(plane, "full", "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: team}\nspec: {hard: {secrets: '1'}}\n");
    plane.await_object(&["resourcequota", "team", "-n", "full"], |quota| quota["status"]["used"]["secrets"] == "0");
    let (_, report) = restored(plane, &saved, &into("told", "full"), options()).await;
    assert_eq!(report.failed.len(), 1, "{report:#?}");
    assert_eq!(
        (report.failed[0].place.name.as_str(), report.failed[0].why.as_str()),
        ("b", "the quota team leaves room for 0 of secrets")
    );
    assert!(plane.get(&["secret", "a", "-n", "full"]).is_some());

    plane.apply("apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: policy}\nwebhooks:\n  - name: check.example.com\n    admissionReviewVersions: [v1]\n    sideEffects: None\n    failurePolicy: Fail\n    timeoutSeconds: 1\n    clientConfig: {service: {namespace: guard, name: hook}}\n    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: blocked}}\n    rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [configmaps]}]\n");
    let means = plane.means();
    let prepared = prepare(&means, saved.clone(), &into("told", "blocked"), options()).await.unwrap();
    assert_eq!(
        prepared.plan.warnings,
        [
            "the webhook check.example.com of policy will refuse 1 of the objects: its service hook in guard has no endpoint that is ready"
        ]
    );
    let report = restore::run(&means, &prepared).await.unwrap();
    assert_eq!(report.failed.len(), 1, "{report:#?}");
    assert!(report.failed[0].why.contains("failed calling webhook"), "{report:#?}");
    assert!(plane.get(&["secret", "b", "-n", "blocked"]).is_some());
    // The webhook is mended: the same command goes on.
    plane.kubectl(&["delete", "validatingwebhookconfiguration", "policy"], "").unwrap();
    let (_, report) = restored(plane, &saved, &into("told", "blocked"), options()).await;
    assert_whole(&report);
    assert!(plane.get(&["configmap", "c", "-n", "blocked"]).is_some());

    plane.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: going, finalizers: [example.com/held]}\n");
    plane.kubectl(&["delete", "namespace", "going", "--wait=false"], "").unwrap();
    let refused = prepare(&means, saved, &into("told", "going"), options()).await.unwrap_err();
    assert_eq!(
        (refused.kind().exit_code(), refused.to_string().as_str()),
        (3, "restoring into the namespace going: it is being deleted")
    );
}

/// Asks a run to stop once it has done so many objects.
struct StopsAfter {
    objects: u64,
    done: AtomicU64,
    stop: CancellationToken,
}

impl Progress for StopsAfter {
    fn event(&self, event: Event) {
        if let Event::Advanced { by, .. } = event
            && self.done.fetch_add(by.items, Ordering::SeqCst) + by.items > self.objects
        {
            self.stop.cancel();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn a_restore_that_loses_its_server_or_is_stopped_goes_on_where_it_was() {
    // Other threads use it; it ends with this process.
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start()));
    plane.namespace("many");
    let all: Vec<String> = (0..300)
        .map(|at| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{at}}}\ndata: {{a: '{at}'}}\n---\n"))
        .collect();
    fill(plane, "many", &all.concat());
    let saved = plane.saved("many").await;
    // Stopped in the middle.
    let mut means = plane.means();
    means.in_flight = 1;
    let prepared = prepare(&means, saved.clone(), &into("many", "again"), options()).await.unwrap();
    means.progress = Arc::new(StopsAfter { objects: 5, done: AtomicU64::new(0), stop: means.cancel.clone() });
    let report = restore::run(&means, &prepared).await.unwrap();
    assert_eq!((report.kind().unwrap().exit_code(), report.stopped), (4, true));
    assert_eq!(report.diverged, [], "nobody looked");
    assert!(report.created < 300, "{}", report.created);
    let (_, report) = restored(plane, &saved, &into("many", "again"), options()).await;
    assert_whole(&report);
    assert!(report.same > 0 && report.created > 0, "{report:#?}");

    // The server is killed in the middle and comes back.
    let means = plane.means();
    let prepared = prepare(&means, saved.clone(), &into("many", "third"), options()).await.unwrap();
    let killing = std::thread::spawn(move || {
        crate::support::wait_until(60, "the first objects", || {
            plane.get(&["configmap", "c1", "-n", "third"]).is_some()
        });
        plane.kill_api();
        plane.start_api();
    });
    let report = restore::run(&means, &prepared).await.unwrap();
    killing.join().unwrap();
    if report.kind().is_some() {
        let (_, report) = restored(plane, &saved, &into("many", "third"), options()).await;
        assert_whole(&report);
    }
    let there = plane.get(&["configmaps", "-n", "third"]).unwrap();
    assert_eq!(there["items"].as_array().unwrap().len(), 301);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes control plane: make test"]
async fn managers_that_applied_their_fields_can_remove_them_again() {
    let plane = control_plane();
    plane.namespace("managed");
    plane
        .kubectl(
            &["apply", "--server-side", "--field-manager=gitops", "-n", "managed", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {one: '1', two: '2'}\n",
        )
        .unwrap();
    let saved = plane.saved("managed").await;
    let means = plane.means();
    let keeping = Options { keep_managers: true, ..options() };
    let prepared = prepare(&means, saved, &into("managed", "managed-copy"), keeping).await.unwrap();
    assert_whole(&restore::run(&means, &prepared).await.unwrap());
    plane
        .kubectl(
            &["apply", "--server-side", "--field-manager=gitops", "-n", "managed-copy", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {one: '1'}\n",
        )
        .unwrap();
    assert_eq!(plane.get(&["configmap", "a", "-n", "managed-copy"]).unwrap()["data"], json!({"one": "1"}));
}
