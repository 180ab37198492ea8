//! What the commands of faults work with. Neither the repository nor the cluster is closed by the signal that says stop:
//! healing needs both.

use crate::chaos::{Means, Target};
use crate::cli::args::HelperArgs;
use crate::cli::shell::Shell;
use crate::cli::snapshot;
use crate::error::Result;
use crate::secret::Secret;

/// The means, without a cluster.
pub(super) async fn means(shell: &Shell) -> Result<Means> {
    let repository = shell.repository_for_healing().await?;
    let environment = &shell.settings.environment;
    let mut means = Means::new(repository, shell.clock.clone(), environment.holder());
    means.cancel = shell.stop.gently.clone();
    means.postgres = environment.postgres();
    means.lease_term = shell.settings.lease_term.value.0;
    Ok(means)
}

/// The same with a cluster, if one is described somewhere; whoever needs it and has none says so.
pub(in crate::cli) async fn with_cluster(shell: &Shell, args: &HelperArgs, must: bool) -> Result<Means> {
    let mut means = means(shell).await?;
    means.helper.namespace.clone_from(&args.helper_namespace);
    means.helper.account.clone_from(&args.helper_account);
    if let Some(image) = &args.helper_image {
        means.helper.image.clone_from(image);
    }
    match snapshot::connect::cluster_for_healing(&args.cluster, shell) {
        Ok(cluster) => means.cluster = Some(cluster),
        Err(error) if must => return Err(error),
        Err(error) => tracing::debug!("no cluster is at hand: {error}"),
    }
    Ok(means)
}

/// What a person wrote as a target: a source of the settings stands for its database.
pub(super) fn target(text: &str, shell: &Shell) -> Result<Target> {
    if text.contains(['/', '=', ':']) || text == "nodes" {
        return text.parse();
    }
    let url = shell.settings.url_of(shell.source(text)?)?;
    Ok(Target::Database(Secret::new(url.reveal())))
}
