//! `davit doctor`: looks for what would make a backup or a restore fail, and goes on after each finding.

mod cluster;
mod features;
mod findings;
mod host;
mod repository;
mod source;

use crate::cli::args::DoctorArgs;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::error::Result;
use findings::Findings;

/// Looks at everything.
pub(super) async fn run(args: &DoctorArgs, shell: &Shell) -> Result<Ended> {
    let only = args.source.as_deref().map(|name| shell.source(name)).transpose()?;
    let mut findings = Findings::default();
    host::settings(&mut findings, shell);
    let keys = host::keys(&mut findings, shell);
    host::state(&mut findings, shell);
    host::tools(&mut findings, shell);
    host::room(&mut findings, shell);
    let opened = repository::look(&mut findings, shell, keys.is_some()).await;
    let sources: Vec<_> = match only {
        Some(source) => vec![source],
        None => shell.settings.sources.values().collect(),
    };
    for source in sources {
        source::look(&mut findings, shell, source, opened.as_ref()).await;
    }
    if let Some(namespaces) = cluster::meant(args, shell) {
        cluster::look(&mut findings, shell, &args.cluster, &namespaces).await;
    }
    Ended::with(&findings)
}
