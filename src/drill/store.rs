//! A drill's journal and its report in the repository, and the report made again from there.

use crate::error::{Error, Result};
use crate::id::RunId;
use crate::report::journal::{Line, text};
use crate::report::month::Month;
use crate::report::{DrillReport, drill};
use crate::repository::Repository;

/// A batch of the journal is an object that is sealed and signed as a whole: large enough to compress, small enough for
/// memory.
const BATCH_BYTES: usize = 4 << 20;

/// Stores a journal in batches, and then its report.
pub(super) async fn store(repository: &Repository, journal: &[Line], report: &DrillReport) -> Result<()> {
    let (mut batch, mut size, mut number) = (Vec::new(), 0, 0);
    for line in journal {
        let length = text(line)?.len();
        if size + length > BATCH_BYTES && !batch.is_empty() {
            repository.put_events(&report.run, number, &batch).await?;
            (batch, size, number) = (Vec::new(), 0, number + 1);
        }
        batch.push(line);
        size += length;
    }
    repository.put_events(&report.run, number, &batch).await?;
    let month = Month::of(report.identity.began).to_string();
    repository.put_report(&month, &report.run, report).await
}

/// The report of a drill, made again from its stored journal and nothing else.
///
/// # Errors
/// `Kind::Input` where the repository has no journal of this run.
pub async fn rebuild(repository: &Repository, run: &RunId) -> Result<DrillReport> {
    let journal: Vec<Line> = repository.events(run).await?;
    if journal.is_empty() {
        return Err(Error::input(format!("reading the journal of run {run}: the repository has none"))
            .hint("davit report month YYYY-MM lists the drills of a month"));
    }
    drill::of(&journal)
}
