//! The pieces of work between the definitions before the rows and those after everything, and what each needs.
//!
//! Large tables are worked on piece by piece, their indexes side by side; small ones in bundles, because there a
//! piece is one exchange with the server and the exchanges are what takes the time.

mod foreign_keys;

use super::definitions::{Definition, Definitions, Turn};
use super::graph::{Graph, Lock, TaskId};
use super::names::TableKey;
use super::table::Table;
use crate::backup::facts::IndexFacts;
use crate::postgres::quote;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Tables smaller than this (as COPY text) are bundled.
const SMALL_BYTES: u64 = 4 << 20;
/// A bundle holds at most so many tables …
const BUNDLE_TABLES: usize = 64;
/// … and at most so many bytes.
const BUNDLE_BYTES: u64 = 16 << 20;
/// A table is shared by several writers only from this size on: below, one that freezes its rows is as quick.
const SHARED_BYTES: u64 = 64 << 20;
/// What an empty exchange costs, in bytes loaded in the same time.
const EXCHANGE: u64 = 64 << 10;

/// A table by its place in the list of tables.
pub(super) type TableId = usize;

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// Load whole tables, one writer for each; `freeze` where that is worth a truncation.
    Load { tables: Vec<TableId>, freeze: bool },
    /// Be one of several writers of a table.
    LoadShare { table: TableId },
    /// Be one of the writers of large objects.
    LargeObjects,
    /// Build one index.
    Build(Steps),
    /// Run definitions that take no time of their own.
    Define(Vec<Steps>),
    /// Make foreign keys.
    Reference(Vec<Steps>),
    /// Look whether a foreign key holds that was made before the rows of its table came.
    Hold { table: TableId, name: String },
    /// Analyse tables.
    Analyze { tables: Vec<TableId> },
    /// Read tables back; of a large one, one part of several.
    ReadBack { tables: Vec<TableId>, part: (u32, u32) },
}

/// The statements of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    /// For messages.
    pub(super) what: String,
    /// In order.
    pub(super) definition: Definition,
}

/// What there is to do between the definitions before the rows and those after everything.
#[derive(Debug)]
pub(super) struct Agenda {
    pub(super) graph: Graph<Work>,
    /// Indexes of tables that hold no rows themselves: made before the rows.
    pub(super) early: Vec<Definition>,
    /// Indexes of materialised views: made before these are filled.
    pub(super) late: Vec<Definition>,
    /// Tables whose foreign keys must not look at each row as it comes.
    pub(super) unlooked: BTreeSet<TableId>,
}

/// How the work is shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Workers.
    pub(super) jobs: usize,
    /// Read every table back.
    pub(super) read_back: bool,
    /// Bytes of large objects.
    pub(super) large_object_bytes: u64,
    /// Tables are filled that somebody else made: no truncation, no analysis of ours before.
    pub(super) into_existing: bool,
    /// Foreign keys may be made before the rows come, and looked at when these are in.
    pub(super) keys_first: bool,
}

/// Lays out the work.
pub(super) fn lay_out(tables: &[Table], definitions: &Definitions, shape: Shape) -> Agenda {
    let mut layout = Layout::new(tables, definitions, shape);
    layout.loads();
    layout.indexes(definitions);
    layout.attachments(definitions);
    layout.foreign_keys(definitions);
    layout.analyses();
    layout.readings();
    Agenda { graph: layout.graph, early: layout.early, late: layout.late, unlooked: layout.unlooked }
}

/// Lays out only the reading back.
pub(super) fn lay_out_readings(tables: &[Table], jobs: usize) -> Graph<Work> {
    let shape = Shape { jobs, read_back: true, large_object_bytes: 0, into_existing: true, keys_first: false };
    let mut layout = Layout::new(tables, &Definitions::default(), shape);
    layout.readings();
    layout.graph
}

struct Layout<'a> {
    tables: &'a [Table],
    shape: Shape,
    graph: Graph<Work>,
    early: Vec<Definition>,
    late: Vec<Definition>,
    by_key: HashMap<TableKey, TableId>,
    relations: HashMap<u32, TableKey>,
    /// The partitions that are attached to each table, by their numbers in the archive.
    partitions: HashMap<u32, Vec<u32>>,
    views: Vec<u32>,
    /// Tables that are worked on together; a large one is alone.
    bundles: Vec<Vec<TableId>>,
    bundle_of: Vec<usize>,
    /// Per bundle: what loads it, and what then works on it.
    loaded: Vec<Vec<TaskId>>,
    built: Vec<Vec<TaskId>>,
    /// Which task runs the definition of this number.
    done_by: HashMap<u32, TaskId>,
    unlooked: BTreeSet<TableId>,
}

impl<'a> Layout<'a> {
    fn new(tables: &'a [Table], definitions: &Definitions, shape: Shape) -> Self {
        let bundles = bundles(tables, shape.jobs);
        let mut bundle_of = vec![0; tables.len()];
        for (number, bundle) in bundles.iter().enumerate() {
            for table in bundle {
                bundle_of[*table] = number;
            }
        }
        let is_view = |entry: &&Definition| entry.kind == "MATERIALIZED VIEW";
        let mut partitions: HashMap<u32, Vec<u32>> = HashMap::new();
        for (partition, parent) in definitions.attached() {
            partitions.entry(parent).or_default().push(partition);
        }
        Self {
            tables,
            shape,
            graph: Graph::new(),
            early: Vec::new(),
            late: Vec::new(),
            by_key: tables.iter().enumerate().map(|(id, table)| (table.key.clone(), id)).collect(),
            relations: definitions.relations(),
            partitions,
            views: definitions.entries.iter().filter(is_view).map(|entry| entry.id).collect(),
            loaded: vec![Vec::new(); bundles.len()],
            built: vec![Vec::new(); bundles.len()],
            bundles,
            bundle_of,
            done_by: HashMap::new(),
            unlooked: BTreeSet::new(),
        }
    }

    fn bytes(&self, bundle: usize) -> u64 {
        self.bundles[bundle].iter().map(|table| self.tables[*table].bytes).sum()
    }

    fn locks(&self, bundle: usize, lock: Lock) -> Vec<(u32, Lock)> {
        self.bundles[bundle].iter().map(|table| (number(*table), lock)).collect()
    }

    fn loads(&mut self) {
        let all: u64 = self.tables.iter().map(|table| table.bytes).sum::<u64>() + self.shape.large_object_bytes;
        let jobs = self.shape.jobs as u64;
        for bundle in 0..self.bundles.len() {
            let (tables, bytes) = (self.bundles[bundle].clone(), self.bytes(bundle));
            let shared = tables.len() == 1
                && bytes >= SHARED_BYTES
                && bytes.saturating_mul(jobs) > all
                && self.tables[tables[0]].ranges > 1;
            let exchanges = EXCHANGE * tables.len() as u64;
            if shared {
                for _ in 0..jobs {
                    let work = Work::LoadShare { table: tables[0] };
                    let task = self.graph.add(work, bytes / jobs, self.locks(bundle, Lock::Write), vec![]);
                    self.loaded[bundle].push(task);
                }
            } else {
                let freeze = !self.shape.into_existing
                    && bytes >= SMALL_BYTES
                    && tables.iter().all(|table| self.tables[*table].may_freeze());
                let locks = self.locks(bundle, if freeze { Lock::Alter } else { Lock::Write });
                let task = self.graph.add(Work::Load { tables, freeze }, bytes + exchanges, locks, vec![]);
                self.loaded[bundle].push(task);
            }
        }
        let writers = self.shape.large_object_bytes.div_ceil(SHARED_BYTES).min(jobs);
        for _ in 0..writers {
            self.graph.add(Work::LargeObjects, self.shape.large_object_bytes / writers, vec![], vec![]);
        }
    }

    /// Indexes and the constraints on them, as soon as the rows of their table are in.
    fn indexes(&mut self, definitions: &Definitions) {
        let mut bundled: BTreeMap<usize, Vec<Definition>> = BTreeMap::new();
        for entry in definitions.at(Turn::OnTable) {
            match self.table_of(entry) {
                Some(table) if self.tables[table].bytes < SMALL_BYTES => {
                    bundled.entry(self.bundle_of[table]).or_default().push(entry.clone());
                }
                Some(table) => self.index(table, entry),
                None if entry.needs.iter().any(|need| self.views.contains(need)) => self.late.push(entry.clone()),
                None => self.early.push(entry.clone()),
            }
        }
        for (bundle, entries) in bundled {
            let cost = self.bytes(bundle) / 2 + EXCHANGE * entries.len() as u64;
            let ids: Vec<u32> = entries.iter().map(|entry| entry.id).collect();
            let work = Work::Define(entries.into_iter().map(steps).collect());
            let locks = self.locks(bundle, Lock::Alter);
            let task = self.graph.add(work, cost, locks, self.loaded[bundle].clone());
            self.built[bundle].push(task);
            self.done_by.extend(ids.into_iter().map(|id| (id, task)));
        }
    }

    /// One index of a large table: built beside its sisters, then made what the definition says.
    fn index(&mut self, table: TableId, entry: &Definition) {
        let bundle = self.bundle_of[table];
        let cost = index_cost(self.tables[table].bytes, entry);
        let mut needs = self.loaded[bundle].clone();
        needs.extend(entry.needs.iter().filter_map(|need| self.done_by.get(need)));
        let Some((build, rest)) = in_two(entry, &self.tables[table]) else {
            let work = Work::Define(vec![steps(entry.clone())]);
            let task = self.graph.add(work, cost, self.locks(bundle, Lock::Alter), needs);
            self.done_by.insert(entry.id, task);
            self.built[bundle].push(task);
            return;
        };
        let mut task = self.graph.add(Work::Build(steps(build)), cost, self.locks(bundle, Lock::Build), needs);
        if !rest.statements.is_empty() {
            let work = Work::Define(vec![steps(rest)]);
            task = self.graph.add(work, EXCHANGE, self.locks(bundle, Lock::Alter), vec![task]);
        }
        self.done_by.insert(entry.id, task);
        self.built[bundle].push(task);
    }

    fn attachments(&mut self, definitions: &Definitions) {
        for entry in definitions.at(Turn::IndexAttach) {
            let needs: Vec<TaskId> = entry.needs.iter().filter_map(|need| self.done_by.get(need)).copied().collect();
            let locks = self.tables_of(entry).into_iter().map(|table| (number(table), Lock::Alter)).collect();
            let task = self.graph.add(Work::Define(vec![steps(entry.clone())]), EXCHANGE, locks, needs);
            self.done_by.insert(entry.id, task);
        }
    }

    fn analyses(&mut self) {
        if self.shape.into_existing {
            return;
        }
        for bundle in 0..self.bundles.len() {
            let needs = if self.built[bundle].is_empty() { &self.loaded[bundle] } else { &self.built[bundle] };
            let tables = self.bundles[bundle].clone();
            let cost = self.bytes(bundle).min(32 << 20) / 8 + EXCHANGE * tables.len() as u64;
            self.graph.add(Work::Analyze { tables }, cost, self.locks(bundle, Lock::Analyze), needs.clone());
        }
    }

    /// Reading back disturbs nothing but altering, so it fills whatever time the workers would wait.
    fn readings(&mut self) {
        if !self.shape.read_back {
            return;
        }
        for bundle in 0..self.bundles.len() {
            let tables = self.bundles[bundle].clone();
            let parts = if self.bytes(bundle) < SHARED_BYTES { 1 } else { u32::try_from(self.shape.jobs).unwrap_or(1) };
            let cost = self.bytes(bundle) / 3 / u64::from(parts) + EXCHANGE * tables.len() as u64;
            for part in 0..parts {
                let work = Work::ReadBack { tables: tables.clone(), part: (part, parts) };
                self.graph.add(work, cost, self.locks(bundle, Lock::Read), self.loaded[bundle].clone());
            }
        }
    }

    /// The table with rows that an entry is about.
    fn table_of(&self, entry: &Definition) -> Option<TableId> {
        self.tables_of(entry).first().copied()
    }

    fn tables_of(&self, entry: &Definition) -> Vec<TableId> {
        let mut tables: Vec<TableId> = Vec::new();
        for table in entry.needs.iter().filter_map(|need| self.by_key.get(self.relations.get(need)?)) {
            if !tables.contains(table) {
                tables.push(*table);
            }
        }
        tables
    }

    /// The tables with rows that an entry is about, those included that it reaches through what they are partitions of.
    fn tables_below(&self, entry: &Definition) -> BTreeSet<TableId> {
        let mut numbers = entry.needs.clone();
        let mut place = 0;
        while let Some(number) = numbers.get(place) {
            let more = self.partitions.get(number).into_iter().flatten();
            let more: Vec<u32> = more.filter(|partition| !numbers.contains(partition)).copied().collect();
            numbers.extend(more);
            place += 1;
        }
        numbers.iter().filter_map(|number| self.by_key.get(self.relations.get(number)?)).copied().collect()
    }
}

/// What building an index takes: the scan is the same for all, each further column makes the sort dearer.
fn index_cost(bytes: u64, entry: &Definition) -> u64 {
    let columns = entry.statements.first().map_or(0, |sql| sql.matches(',').count() as u64);
    bytes / 3 + (bytes / 12).saturating_mul(columns.min(4)) + EXCHANGE
}

fn number(table: TableId) -> u32 {
    u32::try_from(table).unwrap_or(u32::MAX)
}

fn steps(definition: Definition) -> Steps {
    Steps { what: definition.describe(), definition }
}

/// Large tables alone, small ones together; the largest first.
fn bundles(tables: &[Table], jobs: usize) -> Vec<Vec<TableId>> {
    let mut order: Vec<TableId> = (0..tables.len()).collect();
    order.sort_by_key(|table| std::cmp::Reverse(tables[*table].bytes));
    let small = order.iter().filter(|table| tables[**table].bytes < SMALL_BYTES).count();
    // Enough bundles that every worker has several.
    let most = BUNDLE_TABLES.min(small.div_ceil(jobs * 4)).max(1);
    let mut bundles: Vec<Vec<TableId>> = Vec::new();
    let mut open = 0;
    for table in order {
        let bytes = tables[table].bytes;
        match bundles.last_mut() {
            Some(bundle) if bytes < SMALL_BYTES && open > 0 && bundle.len() < most && open + bytes <= BUNDLE_BYTES => {
                bundle.push(table);
                open += bytes.max(1);
            }
            _ => {
                bundles.push(vec![table]);
                open = if bytes < SMALL_BYTES { bytes.max(1) } else { 0 };
            }
        }
    }
    bundles
}

/// The statement that builds an index, and what then makes it a constraint or clusters on it; `None` if it cannot
/// be taken apart.
fn in_two(entry: &Definition, table: &Table) -> Option<(Definition, Definition)> {
    let (mut build, mut rest) = (entry.clone(), entry.clone());
    if entry.kind == "INDEX" {
        build.statements.truncate(1);
        rest.statements.remove(0);
        return Some((build, rest));
    }
    let name = entry.constraint()?;
    let index = table.indexes.iter().find(|index| index.constraint.as_ref().is_some_and(|on| on.name == name))?;
    let adding = using_index(&table.key, index)?;
    build.statements = vec![format!("{};", index.definition)];
    rest.statements[0] = adding;
    Some((build, rest))
}

/// The statement that makes a constraint of a built index; exclusion constraints cannot be made so.
fn using_index(table: &TableKey, index: &IndexFacts) -> Option<String> {
    let constraint = index.constraint.as_ref()?;
    let kind = match constraint.r#type {
        'p' => "PRIMARY KEY",
        'u' => "UNIQUE",
        _ => return None,
    };
    if !index.unique || !index.definition.starts_with("CREATE UNIQUE INDEX ") {
        return None;
    }
    let deferral = match constraint.deferrable {
        (false, _) => "",
        (true, false) => " DEFERRABLE",
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
    };
    Some(format!(
        "ALTER TABLE ONLY {} ADD CONSTRAINT {} {kind} USING INDEX {}{deferral};",
        quote::qualified(&table.schema, &table.table),
        quote::ident(&constraint.name),
        quote::ident(&index.name),
    ))
}

#[cfg(test)]
mod tests;
