//! A server that dies while a namespace is saved: what is stored says that it is incomplete, and nothing calls it good. One
//! that refuses or dies while it is restored: only what is certain is said.

#![allow(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod cli_support;
mod cluster_support;

use cluster_support::{ApiServer, KindDef, Reaction, World};
use davit::clock::{SharedClock, SimClock, SystemClock};
use davit::cluster::{Cluster, Connect, Place};
use davit::journal::NoProgress;
use davit::repository::{InitOptions, Keys, OpenContext, PointSpec, Repository};
use davit::snapshot::collect::{self, Request, SnapshotReport};
use davit::snapshot::load::{Managers, load};
use davit::snapshot::map::Mapping;
use davit::snapshot::plan::{Options, Selector};
use davit::snapshot::restore::{self, Means, RestoreReport};
use davit::store::{MemoryStore, SharedStore};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A repository in memory, and a namespace with a little of everything.
struct Site {
    repository: Repository,
    server: ApiServer,
    directory: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let clock = SystemClock::shared();
        let store: SharedStore = MemoryStore::new(Arc::clone(&clock));
        let made = Repository::init(Arc::clone(&store), &InitOptions::default(), Arc::clone(&clock)).await.unwrap();
        let keys = Keys { writer: Some(made.writer), reader: Some(made.reader) };
        let repository = Repository::open(store, keys, OpenContext::new(clock)).await.unwrap();
        let site = Self { repository, server: ApiServer::start().await, directory: tempfile::tempdir().unwrap() };
        site.fill();
        site
    }

    fn fill(&self) {
        let owner =
            self.server.put("deployments.apps", json!({ "metadata": { "name": "web" }, "spec": { "replicas": 2 } }));
        let owners = json!([{ "uid": owner, "controller": true }]);
        self.server.put("replicasets.apps", json!({ "metadata": { "name": "web-1", "ownerReferences": owners } }));
        for n in 0..1_100 {
            self.server.put(
                "configmaps",
                json!({ "metadata": { "name": format!("c-{n:04}") }, "data": { "n": n.to_string() } }),
            );
        }
        self.server.put("secrets", json!({ "metadata": { "name": "login" } }));
    }

    /// Saves the namespace.
    async fn save(&self) -> davit::error::Result<SnapshotReport> {
        self.save_after(|| {}).await
    }

    /// Saves the namespace; this happens between the plan and the run. Waiting for the server takes no time: its clock is
    /// simulated.
    async fn save_after(&self, planned: impl FnOnce()) -> davit::error::Result<SnapshotReport> {
        let clock: SharedClock = Arc::new(SimClock::at(jiff::Timestamp::now()));
        let cancel = CancellationToken::new();
        let cluster = self.cluster(&clock, &cancel)?;
        let plan = collect::plan(Request::new("shop"), &cluster).await?;
        planned();
        collect::run(&plan, &self.repository, NoProgress::shared(), &cancel).await
    }

    fn cluster(&self, clock: &SharedClock, cancel: &CancellationToken) -> davit::error::Result<Cluster> {
        let connect =
            Connect { place: Place::Files(vec![self.server.kubeconfig(self.directory.path())]), context: None };
        Cluster::connect(&connect, Arc::clone(clock), cancel.clone())
    }

    /// Restores these objects of the newest point into the namespace `copy`.
    async fn restore(&self, only: &[&str]) -> davit::error::Result<RestoreReport> {
        let clock: SharedClock = Arc::new(SimClock::at(jiff::Timestamp::now()));
        let cancel = CancellationToken::new();
        let cluster = self.cluster(&clock, &cancel)?;
        let point = self.repository.resolve(&"shop@latest".parse().unwrap()).await?;
        let objects = load(&self.repository, &point, Managers::Dropped).await?.objects;
        let mapping = Mapping { namespaces: [("shop".to_owned(), "copy".to_owned())].into(), ..Mapping::default() };
        let only = only.iter().map(|text| Selector::parse(text)).collect();
        let options = Options { manager: restore::manager(&["a test"]), only, ..Options::default() };
        let means = Means { cluster, clock, progress: NoProgress::shared(), cancel, in_flight: 1 };
        let prepared = restore::prepare(&means, objects, &mapping, options).await?;
        restore::run(&means, &prepared).await
    }

    /// Kind and name of every object of the newest point.
    async fn saved(&self) -> (bool, Vec<(String, String)>) {
        let point = self.repository.resolve(&"shop@latest".parse().unwrap()).await.unwrap();
        let loaded = load(&self.repository, &point, Managers::Kept).await.unwrap();
        // Lists end in any order.
        let name = |saved: &davit::snapshot::object::Saved| (saved.kind.group_resource(), saved.identity.name.clone());
        let mut names: Vec<_> = loaded.objects.iter().map(name).collect();
        names.sort();
        (loaded.complete, names)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_is_what_the_server_held_at_that_instant() {
    let site = Site::new().await;
    // Before one kind is listed, it changes: the point is of the instant before.
    site.server.react(
        "/namespaces/shop/secrets?limit=500&resourceVersion",
        1,
        Reaction::After(|world| {
            world.put("secrets", json!({ "metadata": { "name": "too-late" } }));
            world.remove("secrets", "shop", "login");
        }),
    );
    assert!(site.save().await.unwrap().complete);
    let point = site.repository.resolve(&"shop@latest".parse().unwrap()).await.unwrap();
    let loaded = load(&site.repository, &point, Managers::Kept).await.unwrap();
    let secrets: Vec<&str> = loaded
        .objects
        .iter()
        .filter(|saved| saved.kind.resource == "secrets")
        .map(|saved| saved.identity.name.as_str())
        .collect();
    assert_eq!(secrets, ["login"]);
    for saved in loaded.objects.iter().filter(|saved| saved.kind.resource != "secrets") {
        let namespace = if saved.kind.namespaced { "shop" } else { "" };
        let mut held = site.server.world().get(&saved.kind.group_resource(), namespace, &saved.identity.name).unwrap();
        held["kind"] = saved.kind.kind.clone().into();
        held["apiVersion"] = saved.body.open()["apiVersion"].clone();
        assert_eq!(saved.body, held);
    }
    let derived: Vec<&str> =
        loaded.objects.iter().filter(|saved| saved.marks.derived).map(|saved| saved.identity.name.as_str()).collect();
    assert_eq!(derived, ["web-1"]);
}

/// What happens, with what is said of it.
type End = (fn(&mut World), &'static str);

/// What may happen to a namespace that is to be saved.
const ENDS: [End; 3] = [
    (|world| world.remove("namespaces", "", "shop"), "it is gone since the run began"),
    (
        |world| {
            let mut there = world.get("namespaces", "", "shop").unwrap();
            there["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            world.put("namespaces", there);
        },
        "it is being deleted",
    ),
    (
        |world| {
            world.remove("namespaces", "", "shop");
            world.put("namespaces", json!({ "metadata": { "name": "shop", "uid": "another" } }));
        },
        "it was deleted and made again meanwhile",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_went_away_since_its_plan_or_at_the_last_moment_becomes_no_point() {
    let site = Site::new().await;
    let points = || async { site.repository.points(None).await.unwrap().len() };
    let there = site.server.world().get("namespaces", "", "shop").unwrap();
    // The last moment is before the list that tells the instant of all others; where that may not be had, before the first one
    // of the namespace.
    let asked = "GET /api/v1/namespaces?limit=500&fieldSelector=metadata.name%3Dshop";
    let instants = [asked, "GET /api/v1/namespaces/shop/configmaps?limit=500"];
    for ((end, said), instant) in ENDS.iter().flat_map(|end| instants.map(|instant| (end, instant))) {
        let error = site.save_after(|| end(&mut site.server.world())).await.unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
        site.server.put("namespaces", there.clone());
        if instant != asked {
            site.server.react(asked, 1, Reaction::Refuse(403, "Forbidden", 0));
        }
        site.server.react(instant, 1, Reaction::After(*end));
        let error = site.save().await.unwrap_err();
        assert!(error.to_string().contains(said), "{said} at the last moment: {error}");
        assert!(site.server.world().faults.iter().all(|fault| fault.times == 0), "it did not happen at {instant}");
        site.server.put("namespaces", there.clone());
        assert_eq!(points().await, 0, "{said}");
    }
    assert!(site.save().await.unwrap().complete);
    assert_eq!(points().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_since_the_plan_was_made_is_saved_as_well() {
    let site = Site::new().await;
    let report = site
        .save_after(|| {
            site.server.world().define(KindDef::new("example.com", "v1", "widgets", "Widget", true));
            site.server.put("widgets.example.com", json!({ "metadata": { "name": "new" }, "spec": { "a": 1 } }));
        })
        .await
        .unwrap();
    assert!(report.complete, "{report:#?}");
    let (_, names) = site.saved().await;
    assert!(names.contains(&("widgets.example.com".to_owned(), "new".to_owned())), "a definition and its first object");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_leaves_an_incomplete_point_that_no_evidence_makes_good() {
    use davit::id::RunId;
    use davit::repository::{Depth, Evidence};
    use davit::retention::{Keep, Rules, RulesBySource};
    let site = Site::new().await;
    let good = site.save().await.unwrap();
    site.server.react("configmaps?limit=500&continue=", 1, Reaction::Die);
    let report = site.save().await.unwrap();
    assert!(!report.complete && report.missing.iter().any(|missing| missing.what == "configmaps"), "{report:#?}");
    // Even if somebody proved what is there by restoring it, the point lacks something.
    for (point, verified) in [(&good.point, true), (&report.point, true)] {
        let summary = site.repository.resolve(&PointSpec::Id(point.clone())).await.unwrap();
        let now = jiff::Timestamp::now();
        let evidence = Evidence {
            run: RunId::at(now),
            point: point.clone(),
            manifest_sha256: summary.link.manifest_sha256,
            depth: Depth::Restored,
            ok: verified,
            when: now,
            seconds: 0.0,
            chunks: 0,
            damage: Vec::new(),
            checks: Vec::new(),
            tool: "a test".to_owned(),
        };
        site.repository.record_evidence(&summary, &evidence).await.unwrap();
    }
    let chosen = site.repository.resolve(&"shop@latest-verified".parse().unwrap()).await.unwrap();
    assert_eq!(chosen.point(), &good.point);
    let rules = Rules { daily: Some(Keep::Count(1)), ..Rules::default() };
    let plan = davit::retention::plan(&site.repository, &RulesBySource::for_all(rules)).await.unwrap();
    let going: Vec<_> = plan.sources[0].going().map(|going| going.point.point().clone()).collect();
    assert_eq!(going, std::slice::from_ref(&report.point), "it gives way to the complete one of the same day");
    let latest = site.repository.resolve(&"shop@latest".parse().unwrap()).await.unwrap();
    assert_eq!((latest.point(), latest.is_proven(), latest.missing() > 0), (&report.point, false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_server_dies_no_point_is_called_complete_that_is_not() {
    let site = Site::new().await;
    assert!(site.save().await.unwrap().complete);
    let (complete, whole) = site.saved().await;
    assert!(complete);
    let requests = site.server.requests().len();
    let (mut failed, mut incomplete, mut good) = (0, 0, 0);
    for deadly in 1..=requests + 1 {
        let site = Site::new().await;
        site.server.world().dies_at = Some(deadly);
        match site.save().await {
            Err(error) => {
                assert!(site.repository.points(None).await.unwrap().is_empty(), "{error}");
                failed += 1;
            }
            Ok(report) => {
                let (complete, saved) = site.saved().await;
                assert_eq!(complete, report.complete, "request {deadly}");
                assert!(!complete || saved == whole, "request {deadly}: called complete and is not");
                incomplete += u32::from(!complete);
                good += u32::from(complete);
            }
        }
    }
    assert!(failed > 5 && incomplete > 5 && good > 0, "{failed} failed, {incomplete} incomplete, {good} complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_refusals_is_sat_out_and_one_that_never_ends_leaves_an_incomplete_point() {
    let site = Site::new().await;
    // Fewer than a minute of waiting in all: the simulated clock is one for all that wait.
    for kind in ["pods", "configmaps", "secrets", "services", "deployments", "replicasets"] {
        site.server.react(&format!("/namespaces/shop/{kind}"), 4, Reaction::Refuse(429, "TooManyRequests", 1));
    }
    let report = site.save().await.unwrap();
    assert!(report.complete, "each was asked for again: {report:#?}");
    let (complete, whole) = site.saved().await;
    assert!(complete && whole.len() > 1_100);
    site.server.react("/namespaces/shop/configmaps", usize::MAX, Reaction::Refuse(429, "TooManyRequests", 1));
    let report = site.save().await.unwrap();
    assert!(!report.complete && report.missing.iter().any(|missing| missing.what == "configmaps"), "{report:#?}");
    assert!(!site.saved().await.0);
}

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

#[tokio::test(flavor = "multi_thread")]
async fn that_nothing_was_changed_is_said_only_where_a_missing_right_explains_every_failure() {
    let site = Site::new().await;
    site.server.world().define(KindDef::new("example.com", "v1", "widgets", "Widget", true));
    site.server.put("widgets.example.com", json!({ "metadata": { "name": "w" } }));
    assert!(site.save().await.unwrap().complete);
    let only = ["secrets", "deployments.apps"];
    let forbid = |needle: &str| site.server.react(needle, usize::MAX, Reaction::Forbid);
    let (secrets, deployments) =
        ("POST /api/v1/namespaces/copy/secrets", "POST /apis/apps/v1/namespaces/copy/deployments");
    let refused = |ended: davit::error::Result<RestoreReport>| {
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("nothing was changed") && error.contains("is forbidden"), "{error}");
    };

    // Without its namespace nothing can be made in it.
    forbid("POST /api/v1/namespaces?");
    refused(site.restore(&only).await);
    site.server.world().faults.clear();
    site.server.put("namespaces", json!({ "metadata": { "name": "copy" } }));
    forbid(secrets);
    forbid(deployments);
    refused(site.restore(&only).await);
    // Of a kind that nobody serves nothing was sent.
    forbid("POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions?");
    site.server.world().kinds.retain(|kind| kind.group != "example.com");
    site.server.world().remove(DEFINITIONS, "", "widgets.example.com");
    refused(site.restore(&[DEFINITIONS, "widgets.example.com"]).await);

    // The one was made, and no answer says so; for the other the right is missing.
    site.server.world().faults.clear();
    forbid(deployments);
    for lost in [secrets, "GET /api/v1/namespaces/copy/secrets/login"] {
        site.server.react(lost, usize::MAX, Reaction::BreakAfter(0));
    }
    let report = site.restore(&only).await.unwrap();
    assert_eq!((report.created, report.failed.len()), (0, 2), "{report:#?}");
    assert!(site.server.world().get("secrets", "copy", "login").is_some());
}
