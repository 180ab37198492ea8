//! Which cluster is meant: flag over `KUBECONFIG` over `~/.kube/config` over the account of the pod we run in.

use crate::cli::args::ClusterArgs;
use crate::cli::shell::Shell;
use crate::cluster::{Cluster, Connect, Place};
use crate::config::Environment;
use crate::error::{Error, Result};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Prepares the connection to the cluster that is meant.
pub(in crate::cli) fn cluster(args: &ClusterArgs, shell: &Shell) -> Result<Cluster> {
    connect(args, shell, shell.stop.gently.clone())
}

/// The same for a command that undoes something when it is stopped: only letting go at once closes it.
pub(in crate::cli) fn cluster_for_healing(args: &ClusterArgs, shell: &Shell) -> Result<Cluster> {
    connect(args, shell, shell.stop.at_once.clone())
}

fn connect(args: &ClusterArgs, shell: &Shell, cancel: CancellationToken) -> Result<Cluster> {
    let place = place(args, &shell.settings.environment)?;
    let connect = Connect { place, context: args.context.clone() };
    Cluster::connect(&connect, shell.clock.clone(), cancel)
}

fn place(args: &ClusterArgs, environment: &Environment) -> Result<Place> {
    if let Some(file) = &args.kubeconfig {
        return Ok(Place::Files(vec![file.clone()]));
    }
    if let Some(files) = environment.get("KUBECONFIG")? {
        let files = files.split(':').filter(|file| !file.is_empty());
        return Ok(Place::Files(files.map(PathBuf::from).collect()));
    }
    let usual = environment.home().map(|home| home.join(".kube/config"));
    if let Some(file) = usual.filter(|file| file.exists()) {
        return Ok(Place::Files(vec![file]));
    }
    if environment.get("KUBERNETES_SERVICE_HOST")?.is_some() {
        return Ok(Place::InCluster);
    }
    Err(Error::input("looking for a cluster: there is no kubeconfig, and this is no pod")
        .hint("--kubeconfig or KUBECONFIG says where it is; without either, ~/.kube/config is read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_and_the_variable_may_name_several_files() {
        let environment = Environment::of([("KUBECONFIG", "/a:/b"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
        let flag = ClusterArgs { kubeconfig: Some("/flag".into()), context: None };
        assert_eq!(place(&flag, &environment).unwrap(), Place::Files(vec!["/flag".into()]));
        let none = ClusterArgs::default();
        assert_eq!(place(&none, &environment).unwrap(), Place::Files(vec!["/a".into(), "/b".into()]));
    }

    #[test]
    fn a_pod_uses_its_account_and_anything_else_is_told_what_to_do() {
        let pod = Environment::of([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
        assert_eq!(place(&ClusterArgs::default(), &pod).unwrap(), Place::InCluster);
        let error = place(&ClusterArgs::default(), &Environment::default()).unwrap_err();
        assert_eq!((error.kind().exit_code(), error.hint_text().is_some()), (2, true));
    }
}
