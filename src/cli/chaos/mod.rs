//! `davit chaos …`: faults by hand.

mod ack;
mod inject;
mod journal;
mod list;
pub(in crate::cli) mod means;
mod rbac;
mod status;
mod undo;

use crate::cli::args::ChaosCommand;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::error::Result;

/// Runs one of them.
pub(super) async fn run(command: &ChaosCommand, shell: &Shell) -> Result<Ended> {
    match command {
        ChaosCommand::List(args) => list::run(args),
        ChaosCommand::Inject(args) => Box::pin(inject::run(args, shell)).await,
        ChaosCommand::Status => status::run(shell).await,
        ChaosCommand::Stop(args) => undo::stop(args, shell).await,
        ChaosCommand::Ack(args) => ack::run(args, shell).await,
        ChaosCommand::Janitor(args) => Box::pin(undo::janitor(args, shell)).await,
        ChaosCommand::Rbac(args) => rbac::run(args),
    }
}
