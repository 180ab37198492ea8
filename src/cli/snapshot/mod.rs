//! `davit snapshot …`: recovery points of Kubernetes namespaces.

pub(super) mod connect;
pub(super) mod create;
mod diff;
mod from;
mod import;
pub(super) mod proof;
pub(super) mod prover;
mod restore;
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
        SnapshotCommand::Diff(args) => Box::pin(diff::run(args, shell)).await,
        SnapshotCommand::Restore(args) => Box::pin(restore::run(args, shell)).await,
        SnapshotCommand::Import(command) => Box::pin(import::run(command, shell)).await,
        SnapshotCommand::Verify(args) => Box::pin(verify::run(args, shell)).await,
    }
}
