//! `davit chaos stop` and `davit chaos janitor`

use super::journal::Journal;
use super::means::{means, with_cluster};
use crate::chaos::{self, Healed};
use crate::cli::args::{ChaosJanitorArgs, ChaosStopArgs};
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::error::{Kind, Result};
use crate::id::RunId;
use serde::Serialize;

/// Asks a run to end its faults.
pub(super) async fn stop(args: &ChaosStopArgs, shell: &Shell) -> Result<Ended> {
    let run: RunId = args.run.parse()?;
    let means = means(shell).await?;
    let stopped = chaos::stop_run(&means, &run).await?;
    Ended::with(&Stopped { run: run.to_string(), undone: stopped })
}

#[derive(Debug, Serialize)]
struct Stopped {
    run: String,
    undone: usize,
}

impl Document for Stopped {
    fn text(&self) -> String {
        match self.undone {
            0 => format!("run {} has nothing to undo\n", self.run),
            count => format!("run {} undid what it had begun: {count}\n", self.run),
        }
    }
}

/// Undoes what runners left.
pub(super) async fn janitor(args: &ChaosJanitorArgs, shell: &Shell) -> Result<Ended> {
    let run: Option<RunId> = args.run.as_deref().map(str::parse).transpose()?;
    let means = with_cluster(shell, &args.helper, false).await?;
    let journal = Journal::new(None, shell.clock.clone(), shell.story.clone());
    let cleaned = chaos::janitor(&means, run.as_ref(), &journal).await?;
    let stuck = cleaned.healing.result().err();
    if let Some(stuck) = &stuck {
        shell.story.failure(stuck);
    }
    Ended::with(&Undone { ok: stuck.is_none(), healed: cleaned.healing.healed })
}

#[derive(Debug, Serialize)]
struct Undone {
    healed: Vec<Healed>,
    ok: bool,
}

impl Document for Undone {
    fn text(&self) -> String {
        let mut page = Page::default();
        if self.healed.is_empty() {
            page.line("nothing is left to undo");
        }
        for healed in &self.healed {
            let word = if healed.read_back.is_good() { "undone" } else { "NOT UNDONE" };
            page.line(format!(
                "{word}: run {}{} ({}): {}",
                healed.run,
                super::of_victim(healed.number),
                healed.victim.shown,
                healed.read_back.text()
            ));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        if self.ok { Exit::Done } else { Exit::Not(Kind::Stuck) }
    }
}
