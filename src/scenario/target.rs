//! What a scenario breaks. The same scenario runs against processes on one machine and against a cluster: only this differs.

use super::{Expect, Query};
use crate::secret::SecretRef;
use std::path::{Path, PathBuf};

/// What is broken, and how its users reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What reports call it.
    pub service: String,
    /// The environment it belongs to; a target that says otherwise about itself is refused.
    pub environment: String,
    /// Where it runs.
    pub place: Place,
}

/// Where a target runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// As processes on this machine.
    Processes(ProcessTarget),
    /// In a Kubernetes cluster.
    Cluster(ClusterTarget),
}

/// One database server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTarget {
    /// How to reach it directly, as somebody who may do more than its clients.
    pub url: SecretRef,
    /// Its data directory, where its processes run on this machine.
    pub data: Option<PathBuf>,
}

/// A service that runs as processes on this machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessTarget {
    /// How its users reach it: a `postgres://`, `http(s)://`, `tcp://` or `dns://` URL.
    pub clients: SecretRef,
    /// The file with the roots that clients over HTTPS trust; this machine's if it is not said.
    pub ca: Option<PathBuf>,
    /// What SQL probes ask; only for an answer if it is not said.
    pub query: Option<Query>,
    /// What a good answer to other probes looks like; any that is no failure if it is not said.
    pub expect: Option<Expect>,
    /// Its database server.
    pub primary: Option<ServerTarget>,
    /// The server that takes over.
    pub standby: Option<ServerTarget>,
    /// The file that holds the number of its process, for a service that is no database.
    pub pid_file: Option<PathBuf>,
    /// Where a TCP proxy of ours listens between clients and service; then the clients' URL leads to it.
    pub proxy: Option<ProxyTarget>,
    /// Where a name server of ours listens, whom the service's clients ask.
    pub resolver: Option<ResolverTarget>,
}

/// A name server of ours in the path of clients.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolverTarget {
    /// Where it listens, `127.0.0.1:5300`.
    pub listen: String,
    /// The name server that knows the truth; the one of this machine if it is not said.
    pub upstream: Option<String>,
}

/// A TCP proxy of ours in the path of clients.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyTarget {
    /// Where it listens, `127.0.0.1:6432`.
    pub listen: String,
    /// Where the service is.
    pub to: String,
}

/// A service in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTarget {
    /// How its users reach it: a `postgres://`, `http(s)://`, `tcp://` or `dns://` URL.
    pub clients: SecretRef,
    /// The file with the roots that clients over HTTPS trust; this machine's if it is not said.
    pub ca: Option<PathBuf>,
    /// What SQL probes ask; only for an answer if it is not said.
    pub query: Option<Query>,
    /// What a good answer to other probes looks like; any that is no failure if it is not said.
    pub expect: Option<Expect>,
    /// Its namespace.
    pub namespace: String,
    /// Its pods, by their labels.
    pub pods: Option<String>,
    /// Which container of a pod.
    pub container: Option<String>,
    /// A node by its name; without one, the node of a victim.
    pub node: Option<String>,
    /// The pods on the other side of a partition, by their labels.
    pub peers: Option<String>,
    /// Its database server.
    pub primary: Option<ServerTarget>,
    /// The server that takes over.
    pub standby: Option<ServerTarget>,
}

impl Place {
    /// How users reach the service.
    pub const fn clients(&self) -> &SecretRef {
        match self {
            Self::Processes(target) => &target.clients,
            Self::Cluster(target) => &target.clients,
        }
    }

    /// The file with the roots that clients trust, if it is said.
    pub fn ca(&self) -> Option<&Path> {
        match self {
            Self::Processes(target) => target.ca.as_deref(),
            Self::Cluster(target) => target.ca.as_deref(),
        }
    }

    /// What SQL probes ask, if it is said.
    pub const fn query(&self) -> Option<&Query> {
        match self {
            Self::Processes(target) => target.query.as_ref(),
            Self::Cluster(target) => target.query.as_ref(),
        }
    }

    /// What a good answer looks like, if it is said.
    pub const fn expect(&self) -> Option<&Expect> {
        match self {
            Self::Processes(target) => target.expect.as_ref(),
            Self::Cluster(target) => target.expect.as_ref(),
        }
    }

    /// Its database server, if it names one.
    pub const fn primary(&self) -> Option<&ServerTarget> {
        match self {
            Self::Processes(target) => target.primary.as_ref(),
            Self::Cluster(target) => target.primary.as_ref(),
        }
    }

    /// The server that takes over, if it names one.
    pub const fn standby(&self) -> Option<&ServerTarget> {
        match self {
            Self::Processes(target) => target.standby.as_ref(),
            Self::Cluster(target) => target.standby.as_ref(),
        }
    }

    /// In a few words; of URLs only the places they are kept in, or without their passwords.
    pub fn describe(&self) -> String {
        match self {
            Self::Processes(target) => {
                let data = self.primary().and_then(|server| server.data.as_ref());
                let data = data.map(|data| format!(", server of {}", data.display())).unwrap_or_default();
                format!("processes on this machine, clients at {}{data}", target.clients)
            }
            Self::Cluster(target) => {
                let pods = target.pods.as_deref().map(|pods| format!(", pods {pods}")).unwrap_or_default();
                let node = target.node.as_deref().map(|node| format!(", node {node}")).unwrap_or_default();
                format!("namespace {}{pods}{node}, clients at {}", target.namespace, target.clients)
            }
        }
    }
}
