//! When foreign keys are made and looked at.
//!
//! Made at the end, a foreign key locks its table against everything but reading while PostgreSQL looks at each row, and
//! two of one table wait for each other. So those of a large table are made while it is empty, its rows come without
//! being looked up one by one, and then the question that PostgreSQL would have asked is asked as a query: it disturbs
//! nobody, and two of them run side by side. The database has no name before every answer was "none".

use super::super::definitions::{Definition, Definitions, Turn};
use super::super::graph::{Lock, TaskId};
use super::{EXCHANGE, Layout, SHARED_BYTES, SMALL_BYTES, TableId, Work, number, steps};
use std::collections::BTreeSet;

/// A table counts as small beside one that refers to it when it is smaller by this factor: the large one waits for it.
const MUCH_SMALLER: u64 = 8;

impl Layout<'_> {
    /// Foreign keys: those of small tables in bundles, those of large ones each for itself.
    pub(super) fn foreign_keys(&mut self, definitions: &Definitions) {
        let mut groups: Vec<(Option<usize>, Vec<&Definition>)> = Vec::new();
        for entry in definitions.at(Turn::ForeignKey) {
            if let Some((from, to, name)) = self.may_come_first(entry) {
                self.key_first(entry, from, to, name);
                continue;
            }
            let tables = self.tables_below(entry);
            let small = tables.iter().all(|table| self.tables[*table].bytes < SMALL_BYTES);
            let bundle = tables.first().filter(|_| small).map(|table| self.bundle_of[*table]);
            match groups.iter_mut().find(|(of, _)| bundle.is_some() && *of == bundle) {
                Some((_, entries)) => entries.push(entry),
                None => groups.push((bundle, vec![entry])),
            }
        }
        for (_, entries) in groups {
            self.keys_last(&entries);
        }
    }

    /// Those that are made when the rows are in. One of a partitioned table is one of each partition, too: it comes when
    /// the rows of all of them are in, so that none of these came while nothing looked.
    fn keys_last(&mut self, entries: &[&Definition]) {
        let tables: BTreeSet<TableId> = entries.iter().flat_map(|entry| self.tables_below(entry)).collect();
        let mut needs: Vec<TaskId> = entries.iter().flat_map(|entry| self.rests_on(entry)).collect();
        needs.extend(tables.iter().flat_map(|table| &self.loaded[self.bundle_of[*table]]));
        needs.sort_unstable();
        needs.dedup();
        let bytes: u64 = tables.iter().map(|table| self.tables[*table].bytes).sum();
        let cost = bytes / 4 + EXCHANGE * entries.len() as u64;
        let locks = tables.into_iter().map(|table| (number(table), Lock::Reference)).collect();
        let work = Work::Reference(entries.iter().map(|entry| steps((*entry).clone())).collect());
        self.graph.add(work, cost, locks, needs);
    }

    /// A foreign key of an empty table, which is looked at when the table is full.
    fn key_first(&mut self, entry: &Definition, from: TableId, to: TableId, name: String) {
        let both = |lock| vec![(number(from), lock), (number(to), lock)];
        let needs = self.rests_on(entry);
        let made = self.graph.add(Work::Reference(vec![steps(entry.clone())]), EXCHANGE, both(Lock::Reference), needs);
        let loads = self.loaded[self.bundle_of[from]].clone();
        for load in &loads {
            self.graph.also_needs(*load, made);
        }
        self.unlooked.insert(from);
        let cost = self.tables[from].bytes / 8;
        self.graph.add(Work::Hold { table: from, name }, cost, both(Lock::Read), loads);
    }

    /// The large table that refers to a small one, the small one, and the key's name, where making the key first is
    /// worth it and cannot be told from making it last.
    fn may_come_first(&self, entry: &Definition) -> Option<(TableId, TableId, String)> {
        let sql = entry.statements.first().filter(|_| self.shape.keys_first && entry.statements.len() == 1)?;
        let from = *self.by_key.get(&entry.altered_table()?)?;
        let to = match self.tables_of(entry)[..] {
            [one, other] if one == from => other,
            [other, one] if one == from => other,
            _ => return None,
        };
        let (large, small) = (&self.tables[from], &self.tables[to]);
        // A key that PostgreSQL has not looked at stays so; of partly null rows and of periods our question knows nothing.
        let unlike = ["NOT VALID", "NOT ENFORCED", "MATCH FULL", "PERIOD"];
        let plain = large.route.is_none() && !unlike.iter().any(|words| sql.contains(words));
        let worth = large.bytes >= SHARED_BYTES && small.bytes.saturating_mul(MUCH_SMALLER) <= large.bytes;
        // What the small table needs first must not be waiting for the large one.
        let apart = self.bundle_of[from] != self.bundle_of[to];
        (plain && worth && apart).then(|| Some((from, to, entry.constraint()?)))?
    }

    fn rests_on(&self, entry: &Definition) -> Vec<TaskId> {
        entry.needs.iter().filter_map(|need| self.done_by.get(need)).copied().collect()
    }
}
