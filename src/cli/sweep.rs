//! `davit sweep`: prints the plan, and does exactly that.

use crate::cli::args::SweepArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::cli::snapshot::connect;
use crate::error::{Kind, Result};
use crate::humane::{bytes, counted, time};
use crate::retention::sweep::{self, Garbage, Leftover, OpenRun, SweepOptions, SweepPlan, SweepReport};
use crate::secret::redact;
use crate::snapshot::volumes::{self, StorageSnapshot};
use jiff::Timestamp;
use serde::Serialize;

/// Removes what no point names.
pub(super) async fn run(args: &SweepArgs, shell: &Shell) -> Result<Ended> {
    let repository = shell.repository(None).await?;
    let plan = sweep::plan(&repository, &SweepOptions::default()).await?;
    let report = if args.dry_run { None } else { Some(sweep::run(&repository, &plan).await?) };
    let mut swept = Swept::of(&plan, report.as_ref());
    if args.volume_snapshots {
        let cluster = connect::cluster(&args.cluster, shell)?;
        let found = volumes::leftovers(&cluster, &repository).await?;
        for one in found.iter().filter(|one| one.goes && !args.dry_run) {
            if let Err(why) = volumes::remove(&cluster, one).await {
                swept.problems.push(redact(&why.to_string()).into_owned());
            }
        }
        swept.volume_snapshots = Some(found);
    }
    Ended::with(&swept)
}

#[derive(Debug, Serialize)]
struct Swept {
    dry_run: bool,
    points: usize,
    chunks: usize,
    bytes_stored: u64,
    removed_chunks: usize,
    removed_bytes: u64,
    waiting_chunks: usize,
    waiting_bytes: u64,
    waits_for: Vec<Waits>,
    needed_again_chunks: usize,
    locked_chunks: usize,
    closed_runs: Vec<Waits>,
    leftovers: Vec<Leftover>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_snapshots: Option<Vec<StorageSnapshot>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// A run that has begun and not ended.
#[derive(Debug, Serialize)]
struct Waits {
    source: String,
    point: String,
    since: Timestamp,
}

impl Waits {
    fn of(runs: &[OpenRun]) -> Vec<Self> {
        let waits =
            |run: &OpenRun| Self { source: run.source.to_string(), point: run.point.to_string(), since: run.since };
        runs.iter().map(waits).collect()
    }
}

impl Swept {
    /// The plan, and what came of it. Without a report the numbers are those that a run would give.
    fn of(plan: &SweepPlan, report: Option<&SweepReport>) -> Self {
        let marks = || plan.marks.iter();
        let takes = marks().filter(|mark| mark.waits_for.is_empty()).flat_map(|mark| &mark.takes);
        let now = takes.chain(plan.finds.iter().filter(|_| plan.finds_wait_for.is_empty()));
        let waiting: Vec<&Garbage> = marks()
            .filter(|mark| !mark.waits_for.is_empty())
            .flat_map(|mark| &mark.takes)
            .chain(plan.finds.iter().filter(|_| !plan.finds_wait_for.is_empty()))
            .collect();
        let mut waits_for: Vec<OpenRun> = marks().flat_map(|mark| mark.waits_for.clone()).collect();
        waits_for.extend(plan.finds_wait_for.clone());
        waits_for.sort_by(|one, other| one.point.cmp(&other.point));
        waits_for.dedup_by(|one, other| one.point == other.point);
        let mut swept = Self {
            dry_run: report.is_none(),
            points: plan.points,
            chunks: plan.chunks,
            bytes_stored: plan.bytes,
            removed_chunks: now.count(),
            removed_bytes: plan.takes_bytes(),
            waiting_chunks: waiting.len(),
            waiting_bytes: waiting.iter().map(|chunk| chunk.bytes).sum(),
            waits_for: Waits::of(&waits_for),
            needed_again_chunks: marks().map(|mark| mark.named_again).sum(),
            locked_chunks: plan.locked.len(),
            closed_runs: Waits::of(&plan.closes),
            leftovers: plan.leftovers.clone(),
            volume_snapshots: None,
            problems: Vec::new(),
        };
        if let Some(report) = report {
            swept.removed_chunks = report.taken;
            swept.removed_bytes = report.taken_bytes;
            swept.waiting_chunks = report.waiting;
            swept.waiting_bytes = report.waiting_bytes;
            swept.waits_for = Waits::of(&report.waits_for);
            swept.needed_again_chunks = report.named_again;
            swept.locked_chunks = report.locked;
            swept.closed_runs = Waits::of(&report.closed);
            swept.leftovers.clone_from(&report.leftovers);
        }
        swept
    }
}

impl Document for Swept {
    fn text(&self) -> String {
        let chunks = |number: usize| counted(number as u64, "chunk");
        let points = counted(self.points as u64, "recovery point");
        let mut page = Page::default();
        page.line(format!("{points} with {}, {}", chunks(self.chunks), bytes(self.bytes_stored)));
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        for (number, rest) in [
            (self.removed_chunks, format!("{verb}, {}", bytes(self.removed_bytes))),
            (self.waiting_chunks, format!("marked and waiting for runs under way, {}", bytes(self.waiting_bytes))),
            (self.needed_again_chunks, "marked before and needed again: they stay".to_owned()),
            (self.locked_chunks, "not needed, but locked: they stay".to_owned()),
        ] {
            if number > 0 {
                page.line(format!("{} {rest}", chunks(number)));
            }
        }
        for run in &self.waits_for {
            page.line(format!("waiting for {} of {}, open since {}", run.point, run.source, time(run.since)));
        }
        let closed = if self.dry_run { "would be closed" } else { "closed" };
        for run in &self.closed_runs {
            page.line(format!("run {} of {}, open since {}, {closed}", run.point, run.source, time(run.since)));
        }
        if !self.leftovers.is_empty() {
            page.line(format!("{} of runs that are over {verb}", counted(self.leftovers.len() as u64, "leftover")));
        }
        for one in self.volume_snapshots.iter().flatten() {
            let fate = if one.goes { verb } else { "stays" };
            page.line(format!("{} {} {fate}: {}", one.kind, one.name, one.why));
        }
        for problem in &self.problems {
            page.line(format!("problem: {problem}"));
        }
        let snapshots = self.volume_snapshots.iter().flatten().filter(|one| one.goes).count();
        if self.removed_chunks + self.waiting_chunks + self.leftovers.len() + snapshots == 0 {
            page.line("nothing to remove");
        } else if self.dry_run {
            page.line("nothing was changed");
        }
        page.text()
    }
    fn exit(&self) -> Exit {
        if self.problems.is_empty() { Exit::Done } else { Exit::Not(Kind::CheckFailed) }
    }
}
