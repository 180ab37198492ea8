//! `davit completions SHELL`

use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::exit::Exit;
use crate::cli::output::{self, Ended};
use crate::error::Result;

/// Prints the completion script of a shell.
pub(super) fn run(args: &CompletionsArgs) -> Result<Ended> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::tree(), "davit", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Ended::silently(Exit::Done))
}
