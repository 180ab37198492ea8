//! `davit points --runs`: how the last runs ended, those that left no recovery point among them.

use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::error::{Error, Result};
use crate::humane::{age, counted, seconds as long};
use crate::id::{PointId, RunId, SourceName};
use crate::journal::log::{Line, What};
use crate::repository::manifest::PointKind;
use crate::repository::{PointSummary, Repository};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

/// How many runs are shown: a month of nights, or two days of hours.
const NEWEST: usize = 50;
/// How many journals are read at once.
const SIDE_BY_SIDE: usize = 16;

/// Lists the newest runs, of one source or of all.
pub(super) async fn run(source: Option<&SourceName>, shell: &Shell) -> Result<Ended> {
    let repository = shell.repository(None).await?;
    let points = match source {
        Some(source) => repository.points(Some(source)).await?,
        // Sources that cannot be believed have runs all the same; `points` without a flag tells of them.
        None => repository.points_and_refusals().await?.0,
    };
    let mut runs: Vec<RunRow> = points.iter().map(RunRow::made).collect();
    runs.extend(without_a_point(&repository, source).await?);
    runs.sort_by_key(|row| std::cmp::Reverse(row.began));
    runs.truncate(NEWEST);
    let place = repository.store().describe();
    Ended::with(&Listed { repository: place, runs, source: source.cloned(), now: shell.clock.now() })
}

/// The newest runs that left no point, newest first: they failed, were killed, or go on.
pub(super) async fn without_a_point(repository: &Repository, source: Option<&SourceName>) -> Result<Vec<RunRow>> {
    let read = futures_util::stream::iter(repository.runs().await?)
        .map(|run| async move {
            let lines = repository.events_of_kind::<Line>(&run).await?;
            Ok::<_, Error>(lines.and_then(|lines| RunRow::told(&run, &lines)))
        })
        .buffered(SIDE_BY_SIDE)
        .try_filter_map(|row| std::future::ready(Ok(row)))
        .try_filter(|row| std::future::ready(source.is_none_or(|source| row.source == *source)));
    let mut newest: Vec<RunRow> = read.take(NEWEST).try_collect().await?;
    // An id knows the second; two runs of one second are in order by their journals alone.
    newest.sort_by_key(|row| std::cmp::Reverse(row.began));
    Ok(newest)
}

/// One run in the list.
#[derive(Debug, Serialize)]
pub(super) struct RunRow {
    run: RunId,
    pub(super) source: SourceName,
    kind: &'static str,
    pub(super) began: Timestamp,
    /// Nothing while it goes on, or where it was killed.
    seconds: Option<f64>,
    #[serde(flatten)]
    ended: Ending,
    warnings: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
enum Ending {
    /// There is a point.
    Made { point: PointId, missing: u32 },
    /// There is none.
    Failed { exit_code: u8, message: String, hint: Option<String> },
    /// Nothing is known: it goes on, or was killed.
    Open { holder: String },
}

impl RunRow {
    /// The run that made a point.
    fn made(point: &PointSummary) -> Self {
        Self {
            run: point.run.clone(),
            source: point.source.clone(),
            kind: match point.kind {
                PointKind::Database | PointKind::Command => "backup",
                PointKind::Namespace => "snapshot",
            },
            began: point.started,
            seconds: Some(point.end.seconds),
            ended: Ending::Made { point: point.point().clone(), missing: point.missing() },
            warnings: Vec::new(),
        }
    }

    /// The run that a journal is of; nothing where it is no journal of a run that makes points.
    fn told(run: &RunId, lines: &[Line]) -> Option<Self> {
        let (first, rest) = lines.split_first()?;
        let What::RunBegan { verb, source, holder, .. } = &first.what else { return None };
        let mut row = Self {
            run: run.clone(),
            source: source.clone(),
            kind: if verb == "snapshot" { "snapshot" } else { "backup" },
            began: first.at,
            seconds: None,
            ended: Ending::Open { holder: holder.clone() },
            warnings: Vec::new(),
        };
        for line in rest {
            match line.what.clone() {
                What::RunFailed { seconds, exit_code, message, hint } => {
                    row.seconds = Some(seconds);
                    row.ended = Ending::Failed { exit_code, message, hint };
                }
                What::Warning { text, .. } => row.warnings.push(text),
                _ => {}
            }
        }
        Some(row)
    }

    /// Why it left no point, if it failed: `3 h ago: …`, and what to try.
    pub(super) fn failure(&self, now: Timestamp) -> Option<(String, Option<&str>)> {
        let Ending::Failed { message, hint, .. } = &self.ended else { return None };
        Some((format!("{} ago: {message}", age(self.began, now)), hint.as_deref()))
    }

    fn cells(&self, now: Timestamp) -> [String; 6] {
        let ended = match &self.ended {
            Ending::Made { point, missing: 0 } => format!("made {point}"),
            Ending::Made { point, missing } => format!("made {point}, INCOMPLETE ({missing} missing)"),
            Ending::Failed { exit_code, .. } => format!("FAILED (exit {exit_code})"),
            Ending::Open { holder } => format!("no end: {holder} runs it still, or died"),
        };
        [
            age(self.began, now),
            self.source.to_string(),
            self.kind.to_owned(),
            self.seconds.map_or_else(String::new, long),
            counted_or_nothing(self.warnings.len()),
            ended,
        ]
    }
}

fn counted_or_nothing(warnings: usize) -> String {
    if warnings == 0 { String::new() } else { counted(warnings as u64, "warning") }
}

#[derive(Debug, Serialize)]
struct Listed {
    repository: String,
    runs: Vec<RunRow>,
    #[serde(skip)]
    source: Option<SourceName>,
    #[serde(skip)]
    now: Timestamp,
}

impl Document for Listed {
    fn text(&self) -> String {
        if self.runs.is_empty() {
            let of = self.source.as_ref().map(|source| format!(" of {source}")).unwrap_or_default();
            return format!(
                "no runs{of} are known in {}; davit points shows what there is to restore\n",
                self.repository
            );
        }
        let mut page = Page::default();
        let rows = self.runs.iter().map(|run| run.cells(self.now));
        page.line(table([">began", "source", "kind", ">took", "told", "ended"], rows).trim_end());
        for run in &self.runs {
            if let Some((why, hint)) = run.failure(self.now) {
                page.line(format!("{} of {}, {why}", run.kind, run.source));
                if let Some(hint) = hint {
                    page.line(format!("  {hint}"));
                }
            }
        }
        page.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::repository::{InitOptions, Keys, OpenContext};
    use crate::store::MemoryStore;
    use std::sync::Arc;

    #[tokio::test]
    async fn two_runs_of_one_second_are_listed_by_the_instants_of_their_journals() {
        let second = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Arc::new(SimClock::at(second));
        let store = MemoryStore::new(clock.clone());
        let made = Repository::init(store.clone(), &InitOptions::default(), clock.clone()).await.unwrap();
        let keys = Keys { writer: Some(made.writer), reader: Some(made.reader) };
        let repository = Repository::open(store, keys, OpenContext::new(clock)).await.unwrap();
        // Names as chance may make them: the later run's sorts before the other's.
        let begun = [("20270115T080000Z-zzzzzz", 100), ("20270115T080000Z-aaaaaa", 900)];
        for (run, millis) in begun {
            let what = What::RunBegan {
                verb: "backup".into(),
                source: "shop".parse().unwrap(),
                holder: "host, process 1".into(),
                tool: "davit".into(),
            };
            let at = second + jiff::SignedDuration::from_millis(millis);
            repository.put_events(&run.parse().unwrap(), 0, &[Line { at, what }]).await.unwrap();
        }
        let rows = without_a_point(&repository, None).await.unwrap();
        let listed: Vec<&str> = rows.iter().map(|row| row.run.as_str()).collect();
        assert_eq!(listed, [begun[1].0, begun[0].0]);
    }
}
