//! A Kubernetes API server in this process, as far as saving and restoring need one: discovery, lists in pages at an
//! instant, refusals on demand, commands in pods. It keeps every version of every object, so that "as it was at
//! resource version R" is answered from what was there.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod answer;
mod change;
mod exec;
mod kinds;
pub mod site;
mod world;

pub use exec::Command;
pub use kinds::KindDef;
pub use world::{Fault, Reaction, World};

use hyper::body::Incoming;
use hyper::{Request, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// A running server; it ends when this is dropped.
pub struct ApiServer {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

/// What the connections of a server share.
pub(crate) struct Shared {
    world: Mutex<World>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl ApiServer {
    /// A server with the usual kinds, the namespaces `kube-system` and `shop`, and nothing in them.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { world: Mutex::new(World::new()), now, most });
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::clone(&shared), stop.clone()));
        let server = Self { url, shared, stop };
        server.put("namespaces", serde_json::json!({ "metadata": { "name": "kube-system" } }));
        server.put("namespaces", serde_json::json!({ "metadata": { "name": "shop", "labels": { "team": "shop" } } }));
        server
    }

    /// What it holds, to be looked at and changed.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Creates or replaces an object of a kind (`deployments.apps`); gives its uid.
    pub fn put(&self, kind: &str, object: Value) -> String {
        self.world().put(kind, object)
    }

    /// Answers the next `times` requests whose method and path contain `needle` in this way.
    pub fn react(&self, needle: &str, times: usize, reaction: Reaction) {
        self.world().faults.push(Fault { needle: needle.to_owned(), times, reaction });
    }

    /// Every request so far, as `GET /path?query`.
    pub fn requests(&self) -> Vec<String> {
        self.world().log.clone()
    }

    /// The most requests that were answered side by side.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// Stops answering: connections break, and nobody listens any more.
    pub fn kill(&self) {
        self.stop.cancel();
    }

    /// Writes a kubeconfig that leads here.
    pub fn kubeconfig(&self, directory: &Path) -> PathBuf {
        let path = directory.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters:\n- name: here\n  cluster: {{server: \"{}\"}}\nusers:\n- name: eva\n  user: {{token: valid}}\ncontexts:\n- name: here\n  context: {{cluster: here, user: eva}}\n- name: production\n  context: {{cluster: nowhere, user: eva}}\n",
            self.url
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            let killed = stop.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                async move {
                    let now = shared.now.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most.fetch_max(now, Ordering::SeqCst);
                    let answer = answer::answer(request, &shared, &stop).await;
                    shared.now.fetch_sub(1, Ordering::SeqCst);
                    answer
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::select! {
                // A client that hangs up is no concern of the server's.
                _ = connection => {}
                () = killed.cancelled() => {}
            }
        });
    }
}
