//! Which definitions belong to some tables: what `--table` brings back.
//!
//! With a table come its partitions, defaults, own sequences, indexes, constraints, triggers, rules, policies,
//! privileges and comments. What it rests on (types, functions, schemas, referenced tables) must be at the target.

use super::{Definition, Definitions, Turn};
use crate::backup::restore::names::TableKey;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Kinds of entries that are part of a table.
const PARTS: [&str; 14] = [
    "DEFAULT",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "STATISTICS",
    "ROW SECURITY",
    "ACL",
    "COMMENT",
    "SECURITY LABEL",
    "TABLE ATTACH",
];

/// Kinds of entries that are part of the table their name begins with, whatever else they mention.
const NAMED_AFTER: [&str; 3] = ["RULE", "TRIGGER", "POLICY"];

/// What belongs to some tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::backup::restore) struct Belonging {
    /// The definitions to run.
    pub(in crate::backup::restore) definitions: Definitions,
    /// The tables, with their partitions.
    pub(in crate::backup::restore) tables: BTreeSet<TableKey>,
    /// Their own sequences.
    pub(in crate::backup::restore) sequences: BTreeSet<TableKey>,
    /// Tables that are named by them and must be at the target: referenced ones and parents of partitions.
    pub(in crate::backup::restore) needed: BTreeSet<TableKey>,
    /// What the source had that involves them and is not brought back, in words.
    pub(in crate::backup::restore) left_out: Vec<String>,
}

/// What belongs to `wanted` and its partitions.
pub(in crate::backup::restore) fn of_tables(all: &Definitions, wanted: &BTreeSet<TableKey>) -> Belonging {
    let relations = all.relations();
    let mut taken = with_partitions(all, &relations, wanted);
    // A part may stand before what it is a part of, or hang on another part: go round until nothing is added.
    loop {
        let before = taken.len();
        for entry in &all.entries {
            if is_part(entry, &taken, &relations) {
                taken.insert(entry.id);
            }
        }
        if taken.len() == before {
            break;
        }
    }
    let mut belonging = Belonging::default();
    for entry in &all.entries {
        if taken.contains(&entry.id) {
            belonging.take(entry, &taken, &relations);
        } else if entry.needs.iter().any(|need| taken.contains(need)) {
            belonging.left_out.push(entry.describe());
        }
    }
    belonging
}

impl Belonging {
    fn take(&mut self, entry: &Definition, taken: &HashSet<u32>, relations: &HashMap<u32, TableKey>) {
        let outside = |need: &&u32| !taken.contains(*need);
        let mut entry = entry.clone();
        match (entry.kind.as_str(), relations.get(&entry.id)) {
            ("TABLE", Some(table)) => drop(self.tables.insert(table.clone())),
            ("SEQUENCE", Some(sequence)) => drop(self.sequences.insert(sequence.clone())),
            ("FK CONSTRAINT" | "TABLE ATTACH", _) => {
                let needed = entry.needs.iter().filter(outside).filter_map(|need| relations.get(need)).cloned();
                let before = self.needed.len();
                self.needed.extend(needed);
                if entry.kind == "TABLE ATTACH" && self.needed.len() > before {
                    // Its parent is at the target with indexes of its own: attached when it has them, too.
                    entry.turn = Turn::After;
                }
            }
            _ => {}
        }
        self.definitions.entries.push(entry);
    }
}

/// Kinds of entries that tables stand on, and what hangs on these.
const FOUNDATIONS: [&str; 24] = [
    "SCHEMA",
    "EXTENSION",
    "PROCEDURAL LANGUAGE",
    "COLLATION",
    "CONVERSION",
    "TYPE",
    "SHELL TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "CAST",
    "TRANSFORM",
    "ACCESS METHOD",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH TEMPLATE",
    "TEXT SEARCH CONFIGURATION",
    "ACL",
    "COMMENT",
    "SECURITY LABEL",
];

/// What belongs to some tables and what they stand on, for a new database; and in words what is left out because it
/// needs other tables.
pub(in crate::backup::restore) fn foundations(all: &Definitions, belonging: &Belonging) -> (Definitions, Vec<String>) {
    let taken: HashSet<u32> = belonging.definitions.entries.iter().map(|entry| entry.id).collect();
    let mut out: HashSet<u32> = HashSet::new();
    let needs_what_is_out = |entry: &Definition, out: &HashSet<u32>| entry.needs.iter().any(|need| out.contains(need));
    loop {
        let before = out.len();
        for entry in &all.entries {
            let foundation = FOUNDATIONS.contains(&entry.kind.as_str()) || taken.contains(&entry.id);
            if !foundation || needs_what_is_out(entry, &out) {
                out.insert(entry.id);
            }
        }
        if out.len() == before {
            break;
        }
    }
    let named = |entry: &&Definition| out.contains(&entry.id) && entry.needs.iter().any(|need| taken.contains(need));
    let left_out = all.entries.iter().filter(named).map(Definition::describe).collect();
    let kept = |entry: &&Definition| !out.contains(&entry.id);
    (Definitions { entries: all.entries.iter().filter(kept).cloned().collect() }, left_out)
}

/// The numbers of the wanted tables and of all partitions below them.
fn with_partitions(all: &Definitions, relations: &HashMap<u32, TableKey>, wanted: &BTreeSet<TableKey>) -> HashSet<u32> {
    let is_wanted =
        |entry: &&Definition| entry.kind == "TABLE" && relations.get(&entry.id).is_some_and(|key| wanted.contains(key));
    let mut taken: HashSet<u32> = all.entries.iter().filter(is_wanted).map(|entry| entry.id).collect();
    let attached = all.attached();
    loop {
        let before = taken.len();
        let more: Vec<u32> =
            attached.iter().filter(|(_, parent)| taken.contains(parent)).map(|(child, _)| *child).collect();
        taken.extend(more);
        if taken.len() == before {
            return taken;
        }
    }
}

/// Whether `entry` is part of what is taken.
fn is_part(entry: &Definition, taken: &HashSet<u32>, relations: &HashMap<u32, TableKey>) -> bool {
    if NAMED_AFTER.contains(&entry.kind.as_str()) {
        return entry.needs.iter().any(|need| taken.contains(need) && is_named_after(entry, relations.get(need)));
    }
    if !PARTS.contains(&entry.kind.as_str()) || !entry.needs.iter().any(|need| taken.contains(need)) {
        return false;
    }
    match entry.kind.as_str() {
        "FK CONSTRAINT" => {
            entry.needs.iter().any(|need| taken.contains(need) && is_named_after(entry, relations.get(need)))
        }
        "TABLE ATTACH" => entry.needs.first().is_some_and(|child| taken.contains(child)),
        _ => entry.needs.iter().all(|need| taken.contains(need) || !relations.contains_key(need)),
    }
}

/// Whether the entry's name is the table's and then its own; line ends in names are blanks there.
fn is_named_after(entry: &Definition, table: Option<&TableKey>) -> bool {
    let plain = |name: &str| name.replace(['\n', '\r'], " ");
    table.is_some_and(|key| {
        entry.schema.as_deref().is_some_and(|schema| schema == plain(&key.schema))
            && entry.name.strip_prefix(&plain(&key.table)).is_some_and(|rest| rest.starts_with(' '))
    })
}
