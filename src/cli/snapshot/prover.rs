//! What `davit verify --depth restored` needs for points of namespaces: a cluster, if one is at hand.

use super::connect::cluster;
use super::{from, proof};
use crate::backup::verify::{Prove, Proven};
use crate::cli::args::ClusterArgs;
use crate::cli::shell::Shell;
use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result};
use crate::id::RunId;
use crate::repository::{PointSummary, Repository};
use crate::snapshot::load::Managers;
use tokio::sync::OnceCell;

const HINT: &str =
    "with --context NAME (or --kubeconfig FILE) they are restored, too, into scratch namespaces of that cluster";

/// Restores points of namespaces into scratch namespaces of the cluster that is meant.
pub(in crate::cli) struct Prover<'a> {
    args: &'a ClusterArgs,
    repository: Repository,
    shell: &'a Shell,
    /// A cluster that is not there is waited for once, and not for every point.
    cluster: OnceCell<std::result::Result<Cluster, String>>,
}

impl<'a> Prover<'a> {
    pub(in crate::cli) fn new(args: &'a ClusterArgs, repository: Repository, shell: &'a Shell) -> Self {
        Self { args, repository, shell, cluster: OnceCell::new() }
    }

    async fn reached(&self) -> std::result::Result<Cluster, String> {
        // A cluster is a place where things are made: nobody is surprised there because a file of theirs names one.
        if self.args.context.is_none() && self.args.kubeconfig.is_none() {
            return Err("no cluster was named to prove namespaces in".to_owned());
        }
        let cluster = cluster(self.args, self.shell).map_err(|why| why.to_string())?;
        match cluster.version().await {
            Ok(_) => {
                proof::name_leftovers(&cluster, self.shell).await;
                Ok(cluster)
            }
            Err(why) => Err(format!("asking the cluster {}: {why}", cluster.describe())),
        }
    }

    async fn restored(&self, point: &PointSummary) -> Result<Proven> {
        let not_here = |why: String| Proven::NotHere(Error::undecided(why).hint(HINT));
        let cluster = match self.cluster.get_or_init(|| self.reached()).await {
            Ok(cluster) => cluster,
            Err(why) => return Ok(not_here(why.clone())),
        };
        let source = from::point(self.repository.clone(), point.clone(), Managers::Dropped).await?;
        let run = RunId::at(self.shell.clock.now());
        match proof::objects(source, cluster, (&run, Vec::new()), self.shell).await {
            Ok(checked) => Ok(Proven::Restored {
                checks: proof::checks(&checked),
                notes: proof::told(&checked.not_checked).map(|why| format!("not checked: {why}")).collect(),
            }),
            // An account that may not make a namespace has begun nothing.
            Err(why) if matches!(why.kind(), Kind::Refused | Kind::Input) => Ok(not_here(why.to_string())),
            Err(why) => Err(why),
        }
    }
}

impl Prove for Prover<'_> {
    async fn prove(&self, point: &PointSummary) -> Result<Proven> {
        Box::pin(self.restored(point)).await
    }
}
