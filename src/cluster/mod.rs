//! One Kubernetes API server: connect, discover what it serves, list, change objects, run commands in pods.
//!
//! Objects are JSON as the server wrote it: a typed structure would drop the fields it does not know. Everything that
//! reads waits and tries again as the server asks (429 with `Retry-After`, 503); what writes is tried again only where
//! the server said that it did nothing. A server that has too many requests gets fewer at once (`pace.rs`).

mod access;
mod change;
mod connect;
mod discover;
mod exec;
mod fault;
mod kind;
mod list;
mod namespaces;
mod openapi;
mod pace;
mod request;
mod split;

pub use change::{Delete, Patch, Write};
pub use connect::{Connect, Place};
pub use discover::{Discovered, Unavailable};
pub use exec::{Exec, ExecOutcome};
pub use fault::{ApiError, Cause, Fault, Lacks};
pub use kind::{Kind, group_resource, is_in_cluster, namespace_identity};
pub use list::{At, Listing, Query};

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use pace::Pace;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// A connection to one API server; cheap to clone.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    client: kube::Client,
    clock: SharedClock,
    cancel: CancellationToken,
    server: String,
    pace: Arc<Pace>,
    /// Nothing was heard from the server through a whole round of attempts: until it answers again, one attempt is
    /// enough for each request, so that a run against a dead server ends soon.
    lost: AtomicBool,
}

/// The version of an API server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// Such as `v1.34.1`.
    #[serde(rename = "gitVersion")]
    pub git: String,
    /// Such as `1`.
    pub major: String,
    /// Such as `34`.
    pub minor: String,
}

impl Cluster {
    /// The server's address, for messages.
    pub fn describe(&self) -> String {
        self.0.server.clone()
    }

    /// The same server for what undoes something: it goes on although the run was stopped.
    #[must_use]
    pub fn insisting(&self) -> Self {
        let Inner { client, clock, server, pace, .. } = &*self.0;
        Self(Arc::new(Inner {
            client: client.clone(),
            clock: clock.clone(),
            cancel: CancellationToken::new(),
            server: server.clone(),
            pace: Arc::clone(pace),
            lost: AtomicBool::new(false),
        }))
    }

    /// The server's version.
    pub async fn version(&self) -> Result<Version, ApiError> {
        self.get_json("/version").await
    }

    /// What tells this cluster from every other one: the uid of its `kube-system` namespace.
    pub async fn uid(&self) -> Result<String> {
        let doing = || format!("asking {} which cluster it is", self.describe());
        let found = self.one(&Kind::namespaces(), None, "kube-system").await.map_err(|why| why.during(doing()))?;
        let uid = found.as_ref().and_then(|object| object["metadata"]["uid"].as_str()).map(str::to_owned);
        uid.ok_or_else(|| Error::failed(format!("{}: it has no namespace kube-system", doing())))
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.0.server)
    }
}
