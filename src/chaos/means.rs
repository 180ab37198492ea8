//! What faults work with: the repository where intents lie, time, and the ways to servers and clusters.

use super::host::Machine;
use super::proxy::Proxy;
use super::resolver::Resolver;
use crate::clock::SharedClock;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::postgres::PgEnvironment;
use crate::repository::Repository;
use crate::repository::lease::TERM;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What faults work with.
#[derive(Clone)]
pub struct Means {
    /// Where intents and the lease lie. It must not be opened with a token that a signal cancels: healing needs it.
    pub repository: Repository,
    /// Time.
    pub clock: SharedClock,
    /// Says stop: what was injected is healed at once.
    pub cancel: CancellationToken,
    /// How databases are reached besides their URL: passwords, services.
    pub postgres: PgEnvironment,
    /// The cluster, for pods and nodes; again without a token that a signal cancels.
    pub cluster: Option<Cluster>,
    /// How long a runner that died keeps the janitor waiting.
    pub lease_term: Duration,
    /// Who runs this: host and process, for the message that a second runner gets.
    pub holder: String,
    /// The machine it runs on: what was done to its files and processes is undone there and nowhere else.
    pub machine: Machine,
    /// Image and namespace of the helper pods.
    pub helper: Helper,
    /// Davit's proxies, by the `host:port` that each stands in front of.
    pub proxies: BTreeMap<String, Arc<Proxy>>,
    /// Davit's name server in the path of processes, if there is one.
    pub resolver: Option<Arc<Resolver>>,
}

/// Where the pods run that carry faults in other pods' worlds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Helper {
    /// The namespace; it must admit privileged pods.
    pub namespace: String,
    /// The image: Davit's own. It needs a shell and the usual small programs; `iptables` is the node's if it has none.
    pub image: String,
    /// The account there that fuses use; it needs what undoing the fault takes.
    pub account: String,
}

impl Default for Helper {
    fn default() -> Self {
        let name = || "davit-chaos".to_owned();
        Self { namespace: name(), account: name(), image: format!("davit:{}", env!("CARGO_PKG_VERSION")) }
    }
}

impl Helper {
    /// This one, and where nobody said anything else, the one that injected.
    fn or(&self, other: &Self) -> Self {
        let usual = Self::default();
        let choose = |own: &String, usual: &String, other: &String| if own == usual { other } else { own }.clone();
        Self {
            namespace: choose(&self.namespace, &usual.namespace, &other.namespace),
            image: choose(&self.image, &usual.image, &other.image),
            account: choose(&self.account, &usual.account, &other.account),
        }
    }
}

impl Means {
    /// The same with the helpers of a run that is to be undone: what it took from a node only its own image may undo there.
    pub(super) fn with_helper_of(&self, run: Option<&Helper>) -> Self {
        let helper = run.map_or_else(|| self.helper.clone(), |run| self.helper.or(run));
        Self { helper, ..self.clone() }
    }

    /// Means without a cluster.
    pub fn new(repository: Repository, clock: SharedClock, holder: impl Into<String>) -> Self {
        Self {
            repository,
            clock,
            cancel: CancellationToken::new(),
            postgres: PgEnvironment::default(),
            cluster: None,
            lease_term: TERM,
            holder: holder.into(),
            machine: Machine::here(),
            helper: Helper::default(),
            proxies: BTreeMap::new(),
            resolver: None,
        }
    }

    /// The cluster, which a fault of pods or nodes needs.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().ok_or_else(|| {
            Error::input("looking for a cluster: pods and nodes need one, and none is at hand")
                .hint("--kubeconfig or KUBECONFIG says where it is")
        })
    }
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means")
            .field("repository", &self.repository)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_uses_the_helpers_of_its_run_unless_it_is_told_others() {
        let helper = |namespace: &str, image: &str| Helper {
            namespace: namespace.to_owned(),
            image: image.to_owned(),
            ..Helper::default()
        };
        let run = helper("drills", "registry.example/davit:1");
        assert_eq!(Helper::default().or(&run), run);
        let told = Helper { image: "mirror.example/davit:1".to_owned(), ..Helper::default() };
        assert_eq!(told.or(&run), helper("drills", "mirror.example/davit:1"));
    }
}
