//! Which part of a database is brought back.

use super::content::{Chunks, Content};
use super::definitions::{Definition, Definitions, Turn, foundations, of_tables};
use super::names::{self, TableKey};
use super::request::{Existing, Part, Wanted};
use super::table::Table;
use crate::backup::facts::SequenceValue;
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// What is brought back.
#[derive(Debug, Default)]
pub(in crate::backup) struct Selection {
    pub(in crate::backup) definitions: Definitions,
    pub(in crate::backup) tables: Vec<Table>,
    pub(in crate::backup) rows: Vec<Chunks>,
    pub(in crate::backup) large_objects: Option<Chunks>,
    pub(in crate::backup) sequences: Vec<SequenceValue>,
    /// Tables that are not brought back and must be at the target.
    pub(in crate::backup) needed: BTreeSet<TableKey>,
    /// What the source had that is not brought back, in words.
    pub(in crate::backup) left_out: Vec<String>,
}

/// Takes from a database what is wanted.
pub(in crate::backup) fn select(content: Content, definitions: Definitions, wanted: &Wanted) -> Result<Selection> {
    let mut selection = Selection {
        definitions,
        tables: content.tables,
        rows: content.rows,
        large_objects: content.large_objects,
        sequences: content.sequences,
        ..Selection::default()
    };
    if !wanted.tables.is_empty() {
        selection.only_tables(&wanted.tables, wanted.existing != Existing::Fill)?;
    }
    match wanted.part {
        Part::Whole => {}
        Part::Definitions => selection.without_rows(),
        Part::Rows => selection.definitions = Definitions::default(),
    }
    Ok(selection)
}

impl Selection {
    /// Keeps only some tables and what belongs to them; in a new database also what they stand on.
    fn only_tables(&mut self, wanted: &[String], new_database: bool) -> Result<()> {
        let mut known: BTreeSet<TableKey> = self.tables.iter().map(|table| table.key.clone()).collect();
        let is_table = |entry: &&Definition| entry.kind == "TABLE";
        known.extend(self.definitions.entries.iter().filter(is_table).filter_map(Definition::relation));
        let known: Vec<TableKey> = known.into_iter().collect();
        let mut chosen = BTreeSet::new();
        for name in wanted {
            chosen.insert(names::find(name, &known)?);
        }
        let mut belonging = of_tables(&self.definitions, &chosen);
        if new_database {
            let (entries, left_out) = foundations(&self.definitions, &belonging);
            self.definitions = entries;
            self.left_out.extend(left_out);
            belonging = of_tables(&self.definitions, &chosen);
        } else {
            self.definitions = std::mem::take(&mut belonging.definitions);
            self.needed = std::mem::take(&mut belonging.needed);
            self.left_out.append(&mut belonging.left_out);
        }
        self.keep_rows_of(&belonging.tables);
        let kept = |value: &SequenceValue| belonging.sequences.contains(&TableKey::new(&value.schema, &value.name));
        self.sequences.retain(kept);
        self.large_objects = None;
        Ok(())
    }

    fn keep_rows_of(&mut self, tables: &BTreeSet<TableKey>) {
        let all = std::mem::take(&mut self.tables).into_iter().zip(std::mem::take(&mut self.rows));
        (self.tables, self.rows) = all.filter(|(table, _)| tables.contains(&table.key)).unzip();
    }

    fn without_rows(&mut self) {
        self.tables.clear();
        self.rows.clear();
        self.sequences.clear();
        self.large_objects = None;
        // A view is filled from rows.
        self.definitions.entries.retain(|entry| entry.turn != Turn::Fill);
    }

    /// Everything whose chunks are read.
    pub(in crate::backup) fn chunks(&self) -> impl Iterator<Item = &Chunks> {
        self.rows.iter().chain(&self.large_objects)
    }

    /// Rows that are brought back.
    pub(in crate::backup) fn row_count(&self) -> u64 {
        self.tables.iter().map(|table| table.rows.rows).sum()
    }
}

/// Options that contradict each other are bad input.
pub(in crate::backup) fn contradictions(wanted: &Wanted) -> Result<()> {
    let makes_one = wanted.existing != Existing::Fill;
    if wanted.part == Part::Rows && makes_one {
        return Err(Error::input(
            "--data-only fills tables that are there, but --create and --replace make a new database",
        )
        .hint("leave out one of them"));
    }
    if wanted.part == Part::Rows && wanted.with_globals {
        return Err(
            Error::input("--data-only brings rows only, but --with-globals brings roles").hint("leave out one of them")
        );
    }
    let adjusted = wanted.adjust != super::request::Adjust::default();
    if wanted.part == Part::Rows && adjusted {
        return Err(Error::input("--data-only brings no definitions that could be changed")
            .hint("leave out --role-map, --no-owner, --no-privileges and --no-tablespaces"));
    }
    Ok(())
}
