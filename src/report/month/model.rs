//! What the report of a month holds.

use crate::humane::{bytes, count, seconds as long};
use crate::report::drill::Bounds;
use crate::report::words::{aim, percent};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// The report of a month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonthReport {
    /// See [`crate::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Always `month`.
    pub kind: String,
    /// `2026-11`
    pub month: String,
    /// One sentence.
    pub sentence: String,
    /// How many drills ended how.
    pub tally: Tally,
    /// What was drilled where, and when last.
    pub coverage: Coverage,
    /// Every figure of the month beside its objective.
    pub plots: Vec<Plot>,
    /// What has to be done, and what a repetition showed.
    pub actions: Vec<ActionLine>,
    /// Backups and their restores.
    pub backups: Vec<BackupHealth>,
    /// How sure the figures allow to be.
    pub confidence: Vec<String>,
    /// Whether recoveries got slower: one line for each series with a run of the month.
    #[serde(default)]
    pub regressions: Vec<Regression>,
    /// The share of the error budget that drills used up, by service.
    pub budgets: Vec<(String, Bounds)>,
    /// The drills of the month.
    pub drills: Vec<DrillLine>,
}

/// How many drills ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All.
    pub run: u64,
    /// Every objective met.
    pub met: u64,
    /// One missed.
    pub missed: u64,
    /// The measurement straddles an objective.
    pub undecided: u64,
    /// Prove nothing.
    pub invalid: u64,
    /// Were given up: by a limit of theirs, by somebody who said stop, or because their lease was lost. They prove nothing.
    #[serde(default)]
    pub aborted: u64,
    /// Did not come to their end: killed, or still under way. They prove nothing, either.
    #[serde(default)]
    pub unfinished: u64,
}

/// Whether the last recoveries of a series were slower than those before them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    /// The series, as people tell it from the others of the month.
    pub title: String,
    /// The same in every month: a digest of the scenario, the service, and the versions and settings of its server.
    #[serde(default)]
    pub series: String,
    /// `slower`, `not shown`, or `not enough data`.
    pub word: String,
    /// In a sentence.
    pub sentence: String,
}

impl Regression {
    /// The series and what is said of it.
    pub fn words(&self) -> String {
        let loud = if self.word == "slower" { "SLOWER: " } else { "" };
        format!("{}: {loud}{}", self.title, self.sentence)
    }
}

/// What was drilled where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Columns: services that were drilled, and sources of backups that no drill restored.
    pub services: Vec<String>,
    /// Rows.
    pub faults: Vec<String>,
    /// Row by row; nothing where a fault was never validly tried on a service.
    pub cells: Vec<Vec<Option<Cell>>>,
    /// Those columns that no valid run ever was about.
    #[serde(default)]
    pub never_drilled: Vec<String>,
    /// After so many days without a valid run a cell is stale.
    pub stale_after_days: u32,
}

impl Coverage {
    /// What the matrix says of a fault that was never validly tried on the service of this column.
    pub fn never_words(&self, column: usize) -> &'static str {
        let service = self.services.get(column);
        if service.is_some_and(|service| self.never_drilled.contains(service)) { "never drilled" } else { "never" }
    }

    /// What was never drilled, for a matrix that may have no row to say it in.
    pub fn never_drilled_words(&self) -> Option<String> {
        (!self.never_drilled.is_empty()).then(|| format!("never drilled: {}", self.never_drilled.join(", ")))
    }
}

/// The last valid run of a fault on a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// When.
    pub last: Timestamp,
    /// How it ended.
    pub word: String,
    /// Whether that is too long ago.
    pub stale: bool,
    /// Valid runs of this month.
    pub runs: u32,
}

impl Cell {
    /// `12 Nov met`, `3 Sep met (stale)`
    pub fn words(&self) -> String {
        let stale = if self.stale { " (stale)" } else { "" };
        format!("{} {}{stale}", self.last.strftime("%-d %b"), self.word)
    }
}

/// The figures of one scenario beside its objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// The scenario and what is measured.
    pub title: String,
    /// At most so many seconds.
    pub objective: f64,
    /// Each valid run with a figure.
    pub dots: Vec<Dot>,
    /// How many valid runs of this month have none: what was not restored for as long as it was watched has no time.
    #[serde(default)]
    pub unmeasured: u64,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dot {
    /// The drill.
    pub run: String,
    /// When.
    pub began: Timestamp,
    /// What was measured.
    pub actual: Bounds,
    /// Its verdict.
    pub word: String,
    /// Whether it is of this month.
    pub this_month: bool,
}

impl Plot {
    /// `3 runs, 12.3 s to 15.0 s (wanted at most 15 min), and 1 run without a figure`, with every extreme and no average.
    pub fn words(&self) -> String {
        let (low, high) = self.extremes();
        let counted = crate::humane::counted;
        let wanted = format!("(wanted at most {})", aim(self.objective));
        let without = format!("{} without a figure", counted(self.unmeasured, "run"));
        let runs = counted(self.dots.len() as u64, "run");
        match (self.dots.len(), self.unmeasured) {
            (0, _) => format!("{without} {wanted}"),
            (_, 0) => format!("{runs}, {} {wanted}", Bounds { low, high }),
            _ => format!("{runs}, {} {wanted}, and {without}", Bounds { low, high }),
        }
    }

    /// The least and the most that any run allows.
    pub fn extremes(&self) -> (f64, f64) {
        let low = self.dots.iter().map(|dot| dot.actual.low).fold(f64::MAX, f64::min);
        let high = self.dots.iter().map(|dot| dot.actual.high).fold(0.0, f64::max);
        if self.dots.is_empty() { (0.0, 0.0) } else { (low, high) }
    }
}

/// Something that has to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionLine {
    /// `open`, or `closed` where a later valid run of the same scenario met its objectives.
    pub state: String,
    /// `now`, `high` or `normal`.
    pub severity: String,
    /// What.
    pub what: String,
    /// Whose it is.
    pub owner: Option<String>,
    /// The drill that showed it.
    pub run: String,
    /// When.
    pub since: Timestamp,
    /// The day, in UTC, on which it is to be done.
    #[serde(default)]
    pub due: Option<Date>,
    /// Whether it is still open after that day.
    #[serde(default)]
    pub overdue: bool,
    /// What a repetition showed, or that there was none.
    pub detail: String,
}

impl ActionLine {
    /// `due 5 Dec`, `OVERDUE since 5 Dec`
    pub fn due_words(&self) -> String {
        match (self.due, self.overdue) {
            (Some(due), true) => format!("OVERDUE since {}", due.strftime("%-d %b")),
            (Some(due), false) => format!("due {}", due.strftime("%-d %b")),
            (None, _) => "no day set".to_owned(),
        }
    }
}

/// The backups of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupHealth {
    /// The source.
    pub source: String,
    /// Recovery points made this month.
    pub points: u64,
    /// Recovery points there are.
    pub kept: u64,
    /// The newest one.
    pub newest: Option<Timestamp>,
    /// How old it was when the month ended, or at the time of this report.
    pub age_seconds: Option<f64>,
    /// Its bytes before compression.
    pub bytes: u64,
    /// The longest time between two points of the month.
    pub longest_gap_seconds: Option<f64>,
    /// The last time a point was restored and compared.
    pub restored: Option<Proof>,
    /// The last time every object of a point was read and compared.
    pub stored: Option<Proof>,
    /// Restores of drills this month: from the fault to usable.
    pub drilled: Vec<Bounds>,
}

/// A verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The point.
    pub point: String,
    /// When.
    pub when: Timestamp,
    /// Whether all was well.
    pub ok: bool,
}

impl BackupHealth {
    /// `31 points, newest 5 h old, longest gap 24 h`
    pub fn words(&self) -> String {
        let mut parts = vec![format!("{} made, {} kept", count(self.points), count(self.kept))];
        parts.push(match self.age_seconds {
            Some(age) => format!("newest {} old, {}", long(age), bytes(self.bytes)),
            None => "NO RECOVERY POINT".to_owned(),
        });
        parts.extend(self.longest_gap_seconds.map(|gap| format!("longest gap {}", long(gap))));
        parts.join(", ")
    }

    /// What proves that it can be restored.
    pub fn restored_words(&self) -> String {
        match &self.restored {
            Some(proof) if proof.ok => format!("restored and compared {}", proof.when.strftime("%-d %b")),
            Some(proof) => format!("restoring FAILED {}", proof.when.strftime("%-d %b")),
            None => "NEVER RESTORED".to_owned(),
        }
    }
}

/// One drill of the month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillLine {
    /// Its run.
    pub run: String,
    /// When.
    pub began: Timestamp,
    /// What.
    pub title: String,
    /// Of which service.
    pub service: String,
    /// The fault.
    pub fault: String,
    /// How it ended; `aborted` if it was given up, `unfinished` if it did not end.
    pub word: String,
    /// In a sentence.
    pub sentence: String,
    /// Whether everything was put back.
    pub clean: bool,
}

impl DrillLine {
    /// What came of it; of one that did not end also which it was, because its report is nowhere else.
    pub fn words(&self) -> String {
        if self.word == "unfinished" { format!("run {}: {}", self.run, self.sentence) } else { self.sentence.clone() }
    }
}

impl MonthReport {
    /// What drills used up of the error budget of a service, in words.
    pub(in crate::report) fn budget_words(budget: &(String, Bounds)) -> String {
        format!("{}: {} to {}", budget.0, percent(budget.1.low), percent(budget.1.high))
    }
}
