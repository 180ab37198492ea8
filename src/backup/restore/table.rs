//! A table as a restore sees it.

use super::names::TableKey;
use crate::backup::facts::{IndexFacts, StreamedTable, TableFacts};
use crate::postgres::quote;
use crate::rowsum::RowSum;

/// A table whose rows are in the recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Table {
    /// Its number in the manifest.
    pub(in crate::backup) object: u32,
    pub(in crate::backup) key: TableKey,
    /// The columns of each COPY line, in order.
    pub(in crate::backup) columns: Vec<String>,
    /// Their types.
    pub(in crate::backup) types: Vec<String>,
    /// How many ranges it was cut into.
    pub(in crate::backup) ranges: u32,
    /// Plaintext bytes.
    pub(in crate::backup) bytes: u64,
    pub(in crate::backup) rows: RowSum,
    pub(in crate::backup) indexes: Vec<IndexFacts>,
    /// Only rows that satisfy this: those of an extension's configuration table.
    pub(in crate::backup) condition: Option<String>,
    /// Size of its heap at the source.
    pub(in crate::backup) heap_bytes: u64,
    /// The table that its rows are sent through, because at this server they may belong to other partitions.
    pub(in crate::backup) route: Option<TableKey>,
}

impl Table {
    /// A table from what the manifest says of it.
    pub(in crate::backup) fn new(object: u32, ranges: u32, bytes: u64, rows: RowSum, facts: TableFacts) -> Self {
        let (columns, types) = facts.columns.into_iter().map(|column| (column.name, column.r#type)).unzip();
        Self {
            object,
            key: TableKey { schema: facts.schema, table: facts.table },
            columns,
            types,
            ranges,
            bytes,
            rows,
            indexes: facts.indexes,
            condition: facts.extension_condition,
            heap_bytes: facts.heap_bytes,
            route: None,
        }
    }

    /// A table of a plain dump; its rows lie somewhere in the dump's chunks.
    pub(in crate::backup) fn of_dump(streamed: &StreamedTable) -> Self {
        Self {
            object: 0,
            key: TableKey::new(&streamed.schema, &streamed.table),
            columns: streamed.columns.clone(),
            types: Vec::new(),
            ranges: 1,
            // Not known for one table of a dump; this tells those with many rows from the others.
            bytes: streamed.rows.rows * 64,
            rows: streamed.rows,
            indexes: Vec::new(),
            condition: None,
            heap_bytes: 0,
            route: None,
        }
    }

    /// Its name as SQL wants it.
    pub(in crate::backup) fn sql(&self) -> String {
        self.key.sql()
    }

    /// The list of columns as SQL wants it, with parentheses; empty for a table without columns.
    pub(in crate::backup) fn column_list(&self) -> String {
        if self.columns.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.columns.iter().map(|name| quote::ident(name)).collect();
        format!(" ({})", names.join(", "))
    }

    /// Whether the table may be truncated before its rows come: an extension has put rows of its own into its tables.
    pub(in crate::backup) fn may_freeze(&self) -> bool {
        self.condition.is_none() && self.route.is_none()
    }
}
