//! A person's desk with a repository, in front of a cluster. Whoever uses it has `mod cli_support` as well.

use super::ApiServer;
use crate::cli_support::{Desk, Said};
use davit::clock::SystemClock;
use davit::repository::{Keys, OpenContext, Repository};
use davit::snapshot::load::{Managers, load};
use davit::snapshot::object::Saved;
use davit::store::OpenOptions;
use serde_json::{Value, json};

/// A desk with a repository, in front of a server.
pub struct Site {
    /// The desk.
    pub desk: Desk,
    /// The server.
    pub server: ApiServer,
}

impl Site {
    /// Nothing in the namespace.
    pub async fn new() -> Self {
        let server = ApiServer::start().await;
        let mut desk = Desk::with_repository();
        let kubeconfig = server.kubeconfig(desk.path());
        desk.set("KUBECONFIG", kubeconfig.to_str().unwrap());
        Self { desk, server }
    }

    /// A namespace with one of this and that.
    pub async fn with_a_shop() -> Self {
        let site = Self::new().await;
        let server = &site.server;
        let owner = server.put("deployments.apps", json!({ "metadata": { "name": "web" }, "spec": { "replicas": 2 } }));
        let made_by =
            |name: &str, uid: &str| json!({ "name": name, "ownerReferences": [{ "uid": uid, "controller": true }] });
        let replicas = server.put("replicasets.apps", json!({ "metadata": made_by("web-1", &owner) }));
        server
            .put("pods", json!({ "metadata": made_by("web-1-a", &replicas), "spec": { "priorityClassName": "high" } }));
        server.put("secrets", json!({ "metadata": { "name": "login" }, "data": { "password": "aHVudGVyMg==" } }));
        server.put("configmaps", json!({ "metadata": { "name": "settings" }, "data": { "mode": "calm" } }));
        site
    }

    /// `davit … --output json`.
    pub fn json(&self, arguments: &[&str]) -> (i32, Value) {
        tokio::task::block_in_place(|| self.desk.json(arguments))
    }

    /// `davit …`.
    pub fn davit(&self, arguments: &[&str]) -> Said {
        tokio::task::block_in_place(|| self.desk.davit(arguments))
    }

    /// Saves namespace `shop`; gives the exit code and the report of its point.
    pub fn save(&self, more: &[&str]) -> (i32, Value) {
        let mut arguments = vec!["snapshot", "create", "shop"];
        arguments.extend(more);
        let (code, document) = self.json(&arguments);
        assert!(document["points"].is_array(), "{document:#}");
        (code, document["points"][0].clone())
    }

    /// The objects of the newest point.
    pub async fn loaded(&self) -> Vec<Saved> {
        let clock = SystemClock::shared();
        let place = self.desk.path().join("davit-repository").display().to_string();
        let store = davit::store::open(&place, &OpenOptions::default(), clock.clone()).await.unwrap();
        let keys = Keys::load(&self.desk.path().join("davit-keys")).unwrap();
        let repository = Repository::open(store, keys, OpenContext::new(clock)).await.unwrap();
        let point = repository.resolve(&"shop@latest".parse().unwrap()).await.unwrap();
        load(&repository, &point, Managers::Kept).await.unwrap().objects
    }

    /// What `show` says of the newest point.
    pub fn show(&self) -> Value {
        let (code, shown) = self.json(&["snapshot", "show", "shop@latest", "--all"]);
        assert_eq!(code, 0, "{shown:#}");
        shown
    }
}

/// What a report says of one kind.
pub fn kind<'a>(report: &'a Value, name: &str) -> &'a Value {
    let kinds = report["kinds"].as_array().or_else(|| report["coverage"]["kinds"].as_array()).unwrap();
    kinds.iter().find(|kind| kind["kind"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

/// What a report calls missing, as text.
pub fn missing(report: &Value) -> String {
    report["missing"].to_string()
}
