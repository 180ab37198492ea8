//! `davit snapshot …`: recovery points of Kubernetes namespaces.

pub(super) mod connect;
mod create;
mod show;
mod verify;

use crate::cli::args::SnapshotCommand;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::error::Result;

/// Runs one of them.
pub(super) async fn run(command: &SnapshotCommand, shell: &Shell) -> Result<Ended> {
    match command {
        SnapshotCommand::Create(args) => Box::pin(create::run(args, shell)).await,
        SnapshotCommand::Show(args) => show::run(args, shell).await,
        SnapshotCommand::Verify(args) => Box::pin(verify::run(args, shell)).await,
    }
}
