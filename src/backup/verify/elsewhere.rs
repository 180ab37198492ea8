//! Depth `restored` of points that are no databases. What a cluster is, is not known here: who knows brings the proof.

use super::report::VerifyReport;
use super::run::{failed, undecided};
use crate::error::{Error, Kind, Result};
use crate::repository::manifest::PointKind;
use crate::repository::{Check, Depth, PointSummary};

/// What came of the proof of a point.
#[derive(Debug)]
pub enum Proven {
    /// It was restored, and this was seen.
    Restored {
        /// What was checked; one that could not be decided leaves the point undecided.
        checks: Vec<Check>,
        /// What by rule is not checked, and anything else worth knowing.
        notes: Vec<String>,
    },
    /// Nothing here could restore it, for this reason; nothing was begun.
    NotHere(Error),
}

/// Proves points of namespaces.
pub trait Prove {
    /// Restores a point whose chunks are whole, and compares.
    fn prove(&self, point: &PointSummary) -> impl Future<Output = Result<Proven>>;
}

/// Nobody, where only databases are restored.
pub(super) enum Nobody {}

impl Prove for Nobody {
    async fn prove(&self, _: &PointSummary) -> Result<Proven> {
        match *self {}
    }
}

/// Goes as deep as a point that is no database allows: what it cannot have is said, and the report is of what it has.
pub(super) async fn prove(prover: Option<&impl Prove>, point: &PointSummary, report: &mut VerifyReport) -> Result<()> {
    if point.kind == PointKind::Command {
        report.depth = Depth::Stored;
        report.notes.push("a command's output is bytes, which nothing can restore: stored is all there is".to_owned());
        return Ok(());
    }
    if !report.damage.is_empty() {
        return Ok(());
    }
    let outcome = match prover {
        Some(prover) => prover.prove(point).await,
        None => Ok(Proven::NotHere(Error::undecided("nothing here restores namespaces"))),
    };
    match outcome {
        Ok(Proven::Restored { checks, notes }) => {
            report.checks.extend(checks);
            report.notes.extend(notes);
        }
        Ok(Proven::NotHere(why)) => {
            let hint = why.hint_text().map_or(String::new(), |hint| format!(" (hint: {hint})"));
            report.depth = Depth::Stored;
            report.fell_short = true;
            report.notes.push(format!("not restored, only its chunks were read: {why}{hint}"));
        }
        Err(error) if error.kind() == Kind::CheckFailed => report.checks.push(failed(&error)),
        // Whoever has to clean up must hear of it, whatever else is to be verified.
        Err(error) if error.kind() == Kind::Stuck => return Err(error),
        Err(error) => report.checks.push(undecided(&error)),
    }
    Ok(())
}
