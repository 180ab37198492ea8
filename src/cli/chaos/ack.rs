//! `davit chaos ack`

use super::means::means;
use crate::chaos::{self, Acknowledged};
use crate::cli::args::ChaosAckArgs;
use crate::cli::output::{Document, Ended};
use crate::cli::shell::Shell;
use crate::error::Result;
use crate::humane::time;
use crate::id::RunId;

/// Says that a person noticed.
pub(super) async fn run(args: &ChaosAckArgs, shell: &Shell) -> Result<Ended> {
    let run: Option<RunId> = args.run.as_deref().map(str::parse).transpose()?;
    let means = means(shell).await?;
    Ended::with(&chaos::acknowledge(&means, run.as_ref(), args.note.as_deref()).await?)
}

impl Document for Acknowledged {
    fn text(&self) -> String {
        let (run, by, when) = (&self.run, &self.noticed.by, time(self.noticed.when));
        let note = self.noticed.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        if self.first {
            format!("run {run}: acknowledged at {when} by {by}{note}\n")
        } else {
            format!("run {run} was acknowledged before, at {when} by {by}{note}; the first time counts\n")
        }
    }
}
