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

/// Which victim an undo belongs to, as the story of a run counts them. The table of acknowledged writes is none.
fn of_victim(number: u32) -> String {
    if crate::chaos::is_fault(number) { format!(", victim {}", number + 1) } else { String::new() }
}

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
