//! A drill's journal and its report in the repository, and the report made again from there.

use crate::error::{Error, Result};
use crate::id::RunId;
use crate::report::journal::{Event, Line, text};
use crate::report::month::Month;
use crate::report::{DrillReport, drill};
use crate::repository::Repository;
use std::collections::BTreeSet;

/// A batch of the journal is an object that is sealed and signed as a whole: large enough to compress, small enough for
/// memory.
const BATCH_BYTES: usize = 4 << 20;

/// Stores the beginning of a journal before anything is broken: a drill that is killed leaves that it was begun.
pub(super) async fn begin(repository: &Repository, run: &RunId, lines: &[Line]) -> Result<()> {
    repository.put_events(run, 0, lines).await
}

/// Stores what of a journal is not stored yet, in batches, and then its report.
pub(super) async fn store(
    repository: &Repository,
    journal: &[Line],
    stored: usize,
    report: &DrillReport,
) -> Result<()> {
    let (mut batch, mut size, mut number) = (Vec::new(), 0, u64::from(stored > 0));
    for line in journal.iter().skip(stored) {
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

/// Drills whose journals are here and whose reports are not: they were killed, or are still under way.
///
/// # Errors
/// Where a journal cannot be read.
pub async fn without_report(repository: &Repository, known: &[DrillReport]) -> Result<Vec<DrillReport>> {
    let known: BTreeSet<&RunId> = known.iter().map(|report| &report.run).collect();
    let mut found = Vec::new();
    for run in repository.runs().await?.into_iter().filter(|run| !known.contains(run)) {
        // Other runs keep journals, too, with lines of their own.
        let journal = repository.events_of_kind::<Line>(&run).await?.unwrap_or_default();
        if matches!(journal.first(), Some(Line { event: Event::Began(_), .. })) {
            found.push(drill::of(&journal)?);
        }
    }
    Ok(found)
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
