//! `davit retain`: prints the plan, and does exactly that.

use crate::cli::args::RemoveArgs;
use crate::cli::exit::Exit;
use crate::cli::object_lock;
use crate::cli::output::{Document, Ended};
use crate::cli::settings::rules;
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::error::{Kind, Result};
use crate::humane::{age, counted, time};
use crate::journal::Progress;
use crate::retention::{self, Fate, RetainPlan};
use jiff::Timestamp;
use serde::Serialize;

/// Removes what the rules let go.
pub(super) async fn run(args: &RemoveArgs, shell: &Shell) -> Result<Ended> {
    let repository = shell.repository(None).await?;
    if let Some((what, next)) = object_lock::not_made(shell, &repository) {
        shell.story.warn(what, Some(next));
    }
    let plan = retention::plan(&repository, &shell.rules()).await?;
    let mut document = Retained::of(&plan, args.dry_run);
    if !args.dry_run {
        let report = retention::run(&repository, &plan).await?;
        document.removed = report.removed.iter().map(ToString::to_string).collect();
        document.promoted = report.promoted.iter().map(ToString::to_string).collect();
        document.finished = report.finished.iter().map(ToString::to_string).collect();
        document.problems = report.problems;
    }
    Ended::with(&document)
}

#[derive(Debug, Serialize)]
struct Retained {
    dry_run: bool,
    sources: Vec<SourceRow>,
    removed: Vec<String>,
    promoted: Vec<String>,
    finished: Vec<String>,
    problems: Vec<String>,
    #[serde(skip)]
    made: Timestamp,
}

#[derive(Debug, Serialize)]
struct SourceRow {
    source: String,
    rules: String,
    points: Vec<PointRow>,
}

#[derive(Debug, Serialize)]
struct PointRow {
    point: String,
    time: Timestamp,
    #[serde(flatten)]
    fate: Fate,
    reasons: String,
}

impl Retained {
    fn of(plan: &RetainPlan, dry_run: bool) -> Self {
        let sources = plan.sources.iter().map(|source| SourceRow {
            source: source.source.to_string(),
            rules: rules(&source.rules),
            points: source
                .points
                .iter()
                .map(|point| PointRow {
                    point: point.point.point().to_string(),
                    time: point.point.snapshot_time,
                    fate: point.fate,
                    reasons: point.reasons.clone(),
                })
                .collect(),
        });
        Self {
            dry_run,
            sources: sources.collect(),
            removed: Vec::new(),
            promoted: Vec::new(),
            finished: Vec::new(),
            problems: Vec::new(),
            made: plan.made,
        }
    }

    fn ending(&self) -> String {
        let going = self.sources.iter().flat_map(|source| &source.points).filter(|point| point.fate == Fate::Goes);
        if self.dry_run {
            return format!("{} would be removed; nothing was changed\n", counted(going.count() as u64, "point"));
        }
        let mut text = format!("{} removed\n", counted(self.removed.len() as u64, "point"));
        for problem in &self.problems {
            text.extend(["problem: ", problem, "\n"]);
        }
        if !self.removed.is_empty() {
            text.push_str("their chunks go with davit sweep\n");
        }
        text
    }
}

impl Document for Retained {
    fn text(&self) -> String {
        let mut text = String::new();
        for source in &self.sources {
            text.extend([&source.source, ": ", &source.rules, "\n"]);
            let rows = source.points.iter().map(|point| {
                let fate = match point.fate {
                    Fate::Stays => "stays".to_owned(),
                    Fate::Promoted { lock_until } => format!("stays, locked until {}", time(lock_until)),
                    Fate::Goes => "GOES".to_owned(),
                    Fate::Locked { until } => format!("locked until {}", time(until)),
                };
                let why = point.reasons.trim_start_matches("goes: ").to_owned();
                [point.point.clone(), age(point.time, self.made), fate, why]
            });
            text.push_str(&table(["point", ">age", "fate", "why"], rows));
            text.push('\n');
        }
        if self.sources.is_empty() {
            text.push_str("no recovery points\n");
        }
        text + &self.ending()
    }

    fn exit(&self) -> Exit {
        if self.problems.is_empty() { Exit::Done } else { Exit::Not(Kind::CheckFailed) }
    }
}
