//! `davit mover …`: what a mover pod runs. The stream is on stdin or stdout, so what was done is told on stderr.

use crate::cli::args::MoverCommand;
use crate::cli::exit::Exit;
use crate::cli::output::Ended;
use crate::cli::shell::Shell;
use crate::error::{Error, Kind, Result};
use crate::snapshot::mover::{self, Moved, REPORT};
use std::io::{BufReader, BufWriter, Write};

/// Writes, reads, or waits to be asked to.
pub(super) async fn run(command: &MoverCommand, shell: &Shell) -> Result<Ended> {
    let moved = match command {
        MoverCommand::Wait => {
            shell.stop.gently.cancelled().await;
            return Ok(Ended::silently(Exit::Done));
        }
        MoverCommand::Save { directory } => {
            let directory = directory.clone();
            off_async(move || {
                let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
                mover::save(&directory, &mut out)
            })
            .await?
        }
        MoverCommand::Load { directory, run } => {
            let (directory, run) = (directory.clone(), run.clone());
            off_async(move || {
                let mut from = BufReader::with_capacity(1 << 20, std::io::stdin().lock());
                mover::load(&directory, &run, &mut from)
            })
            .await?
        }
    };
    let text = serde_json::to_string(&moved).map_err(|why| Error::failed("telling what was done").because(why))?;
    drop(writeln!(anstream::stderr(), "{REPORT} {text}"));
    Ok(Ended::silently(Exit::Done))
}

async fn off_async(work: impl FnOnce() -> Result<Moved> + Send + 'static) -> Result<Moved> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|why| Error::new(Kind::Failed, "moving files").because(why))?
}
