//! What a restore will do and did, for people and for machines.

use super::fill::Filled;
use super::listed;
use super::names::TableKey;
use super::plan::{Goal, RestorePlan};
use super::request::{Existing, Part, Proof};
use super::table::Table;
use crate::backup::facts::StreamedTable;
use crate::backup::target::Swapped;
use crate::error::Kind;
use crate::humane::counted;
use crate::id::{PointId, SourceName};
use crate::journal::Phase;
use crate::repository::Damage;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt;

/// What a restore will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanSummary {
    /// The point.
    pub point: PointId,
    /// Its source.
    pub source: SourceName,
    /// Its sequence number.
    pub sequence: u64,
    /// The instant it is of.
    pub snapshot_time: Timestamp,
    /// The database in it.
    pub database: String,
    /// The database it goes into.
    pub into: String,
    /// What happens to what stands there.
    pub how: String,
    /// Tables with rows.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Each table with rows, the biggest first.
    pub table_rows: Vec<PlannedTable>,
    /// How it will be proven.
    pub proof: Proof,
    /// The steps, in order.
    pub steps: Vec<String>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// What cannot be brought back because it is damaged.
    pub lost: Vec<Damage>,
}

/// One table of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedTable {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Plaintext bytes; in a dump nobody has counted them table by table.
    pub bytes: Option<u64>,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// The point.
    pub point: PointId,
    /// Its source.
    pub source: SourceName,
    /// The database in it.
    pub database: String,
    /// The database it went into.
    pub into: String,
    /// Tables with rows.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
    /// How long each stage took; stages overlap.
    pub phases: Vec<Phase>,
    /// How it was proven.
    pub verified: Proof,
    /// What is lost because it is damaged.
    pub lost: Vec<Damage>,
    /// Foreign keys that do not hold without what is lost; they hold for new rows.
    pub weakened: Vec<String>,
    /// Tables whose first VACUUM will write their rows once more: several writers filled them side by side.
    pub not_frozen: Vec<String>,
    /// The name under which the replaced database is kept.
    pub kept: Option<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl RestorePlan {
    /// What it will do.
    pub fn summary(&self) -> PlanSummary {
        let mut tables = self.selection.tables.len();
        let mut rows = self.selection.row_count();
        let mut bytes = self.selection.tables.iter().map(|table| table.bytes).sum();
        if let Some((facts, chunks)) = &self.dump {
            tables = facts.tables.len();
            rows = facts.tables.iter().map(|table| table.rows.rows).sum();
            bytes = chunks.bytes;
        }
        PlanSummary {
            point: self.point.point().clone(),
            source: self.point.source.clone(),
            sequence: self.point.link.sequence,
            snapshot_time: self.point.snapshot_time,
            database: self.facts.database.clone(),
            into: self.into().to_owned(),
            how: self.how(),
            tables: tables as u64,
            rows,
            bytes,
            table_rows: self.table_rows(),
            proof: self.wanted.proof,
            steps: self.steps(),
            warnings: self.warnings.clone(),
            lost: self.damaged.clone(),
        }
    }

    fn table_rows(&self) -> Vec<PlannedTable> {
        let streamed = |table: &StreamedTable| PlannedTable {
            table: TableKey::new(&table.schema, &table.table).to_string(),
            rows: table.rows.rows,
            bytes: None,
        };
        let own = |table: &Table| PlannedTable {
            table: table.key.to_string(),
            rows: table.rows.rows,
            bytes: Some(table.bytes),
        };
        let of_dump = self.dump.iter().flat_map(|(facts, _)| facts.tables.iter().map(streamed));
        let mut tables: Vec<PlannedTable> = of_dump.chain(self.selection.tables.iter().map(own)).collect();
        tables.sort_by_key(|table| std::cmp::Reverse((table.bytes, table.rows)));
        tables
    }

    fn into(&self) -> &str {
        match &self.goal {
            Goal::Beside(target) => target.name(),
            Goal::InPlace(place) => place.conn.database(),
        }
    }

    fn how(&self) -> String {
        let name = self.into();
        match (&self.goal, &self.wanted.existing, self.wanted.part) {
            (Goal::InPlace(..), _, Part::Rows) => format!("fill empty tables of database {name}"),
            (Goal::InPlace(..), ..) => format!("add tables to database {name}"),
            (_, Existing::Create, _) => format!("create database {name}"),
            (_, Existing::Fill, _) => format!("fill the empty database {name}"),
            (_, Existing::Replace(_), _) => format!("replace database {name} and keep the old one under another name"),
        }
    }

    fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        let mut step = |wanted: bool, text: String| steps.extend(wanted.then_some(text));
        let beside = matches!(self.goal, Goal::Beside(_));
        let definitions = &self.selection.definitions;
        step(self.globals.is_some(), "make the roles and tablespaces that are not there".to_owned());
        step(beside, format!("create a database beside {}", self.into()));
        step(self.dump.is_some(), "play the dump".to_owned());
        step(!definitions.entries.is_empty(), format!("run {} definitions", definitions.entries.len()));
        step(
            !self.selection.tables.is_empty(),
            format!("load {} tables, then their indexes", self.selection.tables.len()),
        );
        step(self.selection.large_objects.is_some(), "write the large objects".to_owned());
        step(!self.selection.sequences.is_empty(), format!("set {} sequences", self.selection.sequences.len()));
        step(self.wanted.proof == Proof::ReadBack, "read every table back and compare".to_owned());
        step(beside, format!("give it the name {}", self.into()));
        steps
    }
}

impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: point {} of {}, database {}", self.how, self.point, self.source, self.database)?;
        writeln!(f, "as of {}: {} tables, {} rows, {} bytes", self.snapshot_time, self.tables, self.rows, self.bytes)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}. {step}", number + 1)?;
        }
        for warning in &self.warnings {
            writeln!(f, "  ! {warning}")?;
        }
        for damage in &self.lost {
            writeln!(f, "  ! lost: {}", listed::describe(damage))?;
        }
        Ok(())
    }
}

impl RestoreReport {
    pub(super) fn new(plan: &RestorePlan) -> Self {
        Self {
            point: plan.point.point().clone(),
            source: plan.point.source.clone(),
            database: plan.facts.database.clone(),
            into: plan.into().to_owned(),
            tables: 0,
            rows: 0,
            seconds: 0.0,
            phases: Vec::new(),
            verified: plan.wanted.proof,
            lost: Vec::new(),
            weakened: Vec::new(),
            not_frozen: Vec::new(),
            kept: None,
            notes: Vec::new(),
        }
    }

    /// What is lost besides rows of tables.
    pub(super) fn note_losses(&mut self, filled: &Filled) {
        const NAMED: usize = 20;
        let incomplete = &filled.incomplete_objects;
        if !incomplete.is_empty() {
            let named: Vec<String> = incomplete.iter().take(NAMED).map(ToString::to_string).collect();
            let more = incomplete.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} others") } else { String::new() };
            self.notes.push(format!(
                "bytes are lost of large objects {}{more}: they are there, and may be empty, too short or zero in places",
                named.join(", ")
            ));
        }
        for key in &filled.not_made {
            self.notes.push(format!(
                "{key} is not there: it does not hold without what is lost, and PostgreSQL cannot keep it for new rows only"
            ));
        }
    }

    pub(super) fn note_swap(&mut self, swapped: &Swapped) {
        self.kept.clone_from(&swapped.kept);
        if swapped.ended_sessions > 0 {
            let sessions = counted(swapped.ended_sessions.unsigned_abs(), "session");
            self.notes
                .push(format!("{sessions} of others ended when the database got its name: they have to connect again"));
        }
        if let (Some(kept), Some(why)) = (&swapped.kept, &swapped.not_dropped) {
            self.notes.push(format!("the old database is still there as {kept}: {why}"));
        }
    }

    /// How the run ended: with losses, a check has failed.
    pub fn kind(&self) -> Option<Kind> {
        (!self.lost.is_empty()).then_some(Kind::CheckFailed)
    }
}
