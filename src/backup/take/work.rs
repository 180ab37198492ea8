//! What there is to read, in the order in which it is read: the biggest first, each table in the ranges of its grid.

use super::grid::{Grid, Pages};
use super::item::Item;
use super::large_objects::LargeObjectWork;
use super::outlet::{Object, Outlet};
use crate::backup::facts::{ColumnFacts, ConstraintFacts, IndexFacts, TableFacts, kind};
use crate::postgres::catalog::{Index, Table};
use crate::postgres::quote;
use crate::repository::manifest::ObjectLine;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A table whose rows are read.
#[derive(Debug)]
pub(crate) struct TableWork {
    pub(crate) table: Table,
    pub(crate) object: Arc<Object>,
    pub(crate) heap_bytes: u64,
    out_of_line_bytes: u64,
    /// The grid, where there is more than one range.
    grid: Option<Grid>,
    ranges: u32,
}

/// Sizes of a table in bytes, as they were measured under its lock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// Its heap.
    pub(crate) heap: u64,
    /// Its values that are kept out of line.
    pub(crate) out_of_line: u64,
    /// A page of it.
    pub(crate) page: u64,
}

impl TableWork {
    /// Plans the reading of `table`; `recorded` is the grid that an earlier backup cut it on.
    pub(crate) fn new(table: Table, object: Arc<Object>, sizes: Sizes, recorded: Option<Grid>) -> Self {
        let chosen = || Grid::choose(sizes.heap, sizes.out_of_line);
        let cuttable = table.has_page_ranges() && table.extension.as_ref().is_none_or(|e| e.condition.is_empty());
        let grid = cuttable.then(|| recorded.unwrap_or_else(chosen));
        let ranges = grid.map_or(1, |grid| grid.ranges(sizes.heap.div_ceil(sizes.page.max(1))));
        let (heap_bytes, out_of_line_bytes) = (sizes.heap, sizes.out_of_line);
        Self { table, object, heap_bytes, out_of_line_bytes, grid: grid.filter(|_| ranges > 1), ranges }
    }

    fn item(&self, range: u32) -> Item {
        let table = self.table.qualified();
        let columns = || {
            let names: Vec<String> = self.table.columns.iter().map(|column| quote::ident(&column.name)).collect();
            names.join(", ")
        };
        let pages = self.grid.map(|grid| grid.range(range, self.ranges));
        let condition = self.table.extension.as_ref().map(|extension| extension.condition.as_str());
        let sql = match (pages, condition) {
            (Some(pages), _) => {
                format!("COPY (SELECT {} FROM ONLY {table} WHERE {}) TO STDOUT", columns(), pages.condition())
            }
            (None, Some(condition)) if !condition.is_empty() => {
                format!("COPY (SELECT {} FROM ONLY {table} {condition}) TO STDOUT", columns())
            }
            // The planner would open, and so lock, every index of a table; a plain COPY does not ask it.
            _ => format!("COPY {table} {} TO STDOUT", self.table.column_list()),
        };
        let pages = pages.map(|Pages { first, end }| (first, end.unwrap_or(u64::MAX)));
        Item { sql, object: Arc::clone(&self.object), pages }
    }

    /// What the manifest says about it.
    pub(crate) fn facts(&self, database: &str, indexes: &[Index]) -> TableFacts {
        let table = &self.table;
        TableFacts {
            database: database.to_owned(),
            schema: table.schema.clone(),
            table: table.name.clone(),
            oid: table.oid,
            columns: table
                .columns
                .iter()
                .map(|column| ColumnFacts { name: column.name.clone(), r#type: column.r#type.clone() })
                .collect(),
            grid_pages: self.grid.map(Grid::pages),
            heap_bytes: self.heap_bytes,
            unlogged: table.unlogged,
            extension_condition: table.extension.as_ref().map(|extension| extension.condition.clone()),
            indexes: indexes.iter().filter(|index| index.valid).map(index_facts).collect(),
        }
    }
}

fn index_facts(index: &Index) -> IndexFacts {
    IndexFacts {
        name: index.name.clone(),
        definition: index.definition.clone(),
        unique: index.unique,
        constraint: index.constraint.as_ref().map(|constraint| ConstraintFacts {
            name: constraint.name.clone(),
            r#type: constraint.r#type,
            definition: constraint.definition.clone(),
            deferrable: constraint.deferrable,
        }),
    }
}

/// One thing with rows.
#[derive(Debug)]
pub(crate) enum Reading {
    /// A table.
    Table(Box<TableWork>),
    /// All large objects of the database.
    LargeObjects(LargeObjectWork),
}

impl Reading {
    fn parts(&self) -> u32 {
        match self {
            Self::Table(work) => work.ranges,
            Self::LargeObjects(work) => work.parts(),
        }
    }

    /// The table, if it is one.
    pub(crate) fn table(&self) -> Option<&TableWork> {
        match self {
            Self::Table(work) => Some(work),
            Self::LargeObjects(_) => None,
        }
    }

    /// What its rows belong to.
    pub(crate) fn object(&self) -> &Object {
        match self {
            Self::Table(work) => &work.object,
            Self::LargeObjects(work) => &work.object,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Table(work) => work.heap_bytes + work.out_of_line_bytes,
            Self::LargeObjects(work) => work.bytes(),
        }
    }
}

/// All that is to be read, and how far it was handed out.
#[derive(Debug)]
pub(crate) struct WorkList {
    readings: Vec<Reading>,
    /// How many parts come before each reading.
    before: Vec<u64>,
    parts: u64,
    next: AtomicU64,
}

impl WorkList {
    /// Puts the work in order.
    pub(crate) fn new(mut readings: Vec<Reading>) -> Self {
        readings.sort_by_key(|reading| std::cmp::Reverse(reading.bytes()));
        let mut parts = 0;
        let mut before = Vec::with_capacity(readings.len());
        for reading in &readings {
            before.push(parts);
            parts += u64::from(reading.parts());
        }
        Self { readings, before, parts, next: AtomicU64::new(0) }
    }

    /// The next COPY, until all are handed out.
    pub(crate) fn next(&self) -> Option<Item> {
        let part = self.next.fetch_add(1, Ordering::Relaxed);
        if part >= self.parts {
            return None;
        }
        // The last reading that begins at or before this part; none is empty, so it is the one the part is in.
        let place = self.before.partition_point(|before| *before <= part).checked_sub(1)?;
        let number = u32::try_from(part - self.before.get(place)?).ok()?;
        Some(match self.readings.get(place)? {
            Reading::Table(work) => work.item(number),
            Reading::LargeObjects(work) => work.item(number),
        })
    }

    /// Everything that is read.
    pub(crate) fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// How many COPYs there are.
    pub(crate) fn parts(&self) -> u64 {
        self.parts
    }

    /// Bytes on the server's disk of what is read.
    pub(crate) fn bytes(&self) -> u64 {
        self.readings.iter().map(Reading::bytes).sum()
    }
}

/// A table as manifests name it: database, schema, name.
pub(crate) type TableName = (String, String, String);

/// The grids that the last point of the source recorded.
pub(crate) fn recorded_grids(previous: &[ObjectLine]) -> HashMap<TableName, Grid> {
    let of_table = previous.iter().filter(|object| object.kind == kind::TABLE);
    of_table
        .filter_map(|object| {
            let facts = TableFacts::deserialize(&object.details).ok()?;
            Some(((facts.database, facts.schema, facts.table), Grid::recorded(facts.grid_pages?)?))
        })
        .collect()
}

/// Begins the object of a table.
pub(crate) fn table_object(outlet: &Outlet, table: &Table) -> Arc<Object> {
    outlet.object(kind::TABLE, format!("{}.{}", table.schema, table.name))
}
