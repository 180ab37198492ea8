//! The definitions of a database as `pg_restore` renders them, one entry after another.
//!
//! DDL is PostgreSQL's business: nothing here writes a definition. It reads whose turn an entry is, which entries
//! belong to a table, and which roles and tablespaces they name; and it puts one role's name in place of another's.

mod belonging;
mod kind;
mod render;
mod roles;

pub(super) use belonging::{foundations, of_tables};
pub(super) use kind::{Section, Turn};
pub(super) use render::render;

use super::names::TableKey;
use crate::error::Result;
use crate::postgres::script::words::{Kind, Word, words};
use crate::postgres::script::{self, Limits};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Definition {
    /// Its number in the archive.
    pub(super) id: u32,
    /// Numbers of what it rests on; some may not be in the archive.
    pub(super) needs: Vec<u32>,
    /// `TABLE`, `INDEX`, `FK CONSTRAINT`, …
    pub(in crate::backup) kind: String,
    /// Its schema, where it has one; line ends are blanks in it.
    pub(super) schema: Option<String>,
    /// Its name as the archive lists it: `orders`, `orders orders_pkey`, `TABLE orders` for a comment on it.
    pub(super) name: String,
    /// When it has its turn.
    pub(super) turn: Turn,
    /// `SET default_tablespace = …` and the like, as they hold for it.
    pub(in crate::backup) settings: BTreeMap<String, String>,
    /// Its statements.
    pub(in crate::backup) statements: Vec<String>,
}

impl Definition {
    /// Settings and statements, in the order to run them; `so_far` is what the session has set.
    pub(super) fn to_run(&self, so_far: &mut BTreeMap<String, String>) -> Vec<String> {
        let mut run = Vec::with_capacity(self.statements.len());
        for (name, statement) in &self.settings {
            if so_far.get(name) != Some(statement) {
                so_far.insert(name.clone(), statement.clone());
                run.push(statement.clone());
            }
        }
        run.extend(self.statements.iter().cloned());
        run
    }

    /// The table, view or foreign table that it makes.
    pub(super) fn relation(&self) -> Option<TableKey> {
        let noun = match self.kind.as_str() {
            "TABLE" | "FOREIGN TABLE" => "TABLE",
            "VIEW" | "MATERIALIZED VIEW" => "VIEW",
            "SEQUENCE" => "SEQUENCE",
            _ => return None,
        };
        let words = words(self.statements.first()?);
        let place = words.iter().position(|word| word.is(noun))?;
        // The sequence of an identity column is made by altering its table: … SEQUENCE NAME schema.name.
        let place = if words.get(place + 1)?.is("NAME") { place + 2 } else { place + 1 };
        match &words[place..] {
            [schema, dot, name, ..] if dot.is_sign(".") => {
                Some(TableKey { schema: schema.name()?, table: name.name()? })
            }
            _ => None,
        }
    }

    /// The table that it alters first.
    pub(super) fn altered_table(&self) -> Option<TableKey> {
        let words = words(self.statements.first()?);
        let rest = match &words[..] {
            [alter, table, only, rest @ ..] if alter.is("ALTER") && table.is("TABLE") && only.is("ONLY") => rest,
            [alter, table, rest @ ..] if alter.is("ALTER") && table.is("TABLE") => rest,
            _ => return None,
        };
        match rest {
            [schema, dot, name, ..] if dot.is_sign(".") => {
                Some(TableKey { schema: schema.name()?, table: name.name()? })
            }
            _ => None,
        }
    }

    /// The constraint that it adds.
    pub(super) fn constraint(&self) -> Option<String> {
        let words = words(self.statements.first()?);
        let place = words.windows(2).position(|pair| pair[0].is("ADD") && pair[1].is("CONSTRAINT"))?;
        words.get(place + 2)?.name()
    }

    /// Text for messages.
    pub(super) fn describe(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{} {schema}.{}", self.kind.to_lowercase(), self.name),
            None => format!("{} {}", self.kind.to_lowercase(), self.name),
        }
    }
}

/// All definitions of a database, in the archive's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::backup) struct Definitions {
    pub(in crate::backup) entries: Vec<Definition>,
}

impl Definitions {
    /// Reads the two scripts that `pg_restore --verbose` renders.
    pub(super) fn read(pre_data: &[u8], post_data: &[u8]) -> Result<Self> {
        let mut entries = read_section(pre_data, Section::PreData)?;
        entries.extend(read_section(post_data, Section::PostData)?);
        Ok(Self { entries })
    }

    /// Those whose turn it is.
    pub(super) fn at(&self, turn: Turn) -> impl Iterator<Item = &Definition> {
        self.entries.iter().filter(move |entry| entry.turn == turn)
    }

    /// Puts other roles in the place of those in `map`.
    pub(super) fn map_roles(&mut self, map: &BTreeMap<String, String>) {
        if map.is_empty() {
            return;
        }
        for statement in self.entries.iter_mut().flat_map(|entry| &mut entry.statements) {
            *statement = roles::mapped(statement, map);
        }
    }

    /// The roles that the statements name.
    pub(in crate::backup) fn roles(&self) -> BTreeSet<String> {
        self.entries.iter().flat_map(|entry| &entry.statements).flat_map(|statement| roles::named(statement)).collect()
    }

    /// The tablespaces that the statements name.
    pub(super) fn tablespaces(&self) -> BTreeSet<String> {
        let setting = |entry: &Definition| entry.settings.get("default_tablespace").and_then(|text| value_of(text));
        self.entries.iter().filter_map(setting).filter(|name| !name.is_empty()).collect()
    }

    /// The extensions that are made.
    pub(in crate::backup) fn extensions(&self) -> BTreeSet<String> {
        self.entries.iter().filter(|entry| entry.kind == "EXTENSION").map(|entry| entry.name.clone()).collect()
    }

    /// Partitions and what each is attached to, by their numbers in the archive.
    pub(super) fn attached(&self) -> Vec<(u32, u32)> {
        let attachments = self.entries.iter().filter(|entry| entry.kind == "TABLE ATTACH");
        attachments
            .filter_map(|entry| match entry.needs[..] {
                [partition, parent, ..] => Some((partition, parent)),
                _ => None,
            })
            .collect()
    }

    /// Tables, views and sequences by their number in the archive.
    pub(super) fn relations(&self) -> HashMap<u32, TableKey> {
        self.entries.iter().filter_map(|entry| Some((entry.id, entry.relation()?))).collect()
    }
}

/// The roles a statement names.
pub(super) fn named_roles(statement: &str) -> BTreeSet<String> {
    roles::named(statement)
}

/// A statement with other roles in the place of those in `map`.
pub(in crate::backup) fn with_roles(statement: &str, map: &BTreeMap<String, String>) -> String {
    roles::mapped(statement, map)
}

/// The names and keywords of a statement as the server reads them, and whether each was written without quotes.
pub(super) fn words_of(statement: &str) -> Vec<(String, bool)> {
    let read = |word: Word<'_>| word.name().map(|name| (name, word.kind == Kind::Bare));
    words(statement).into_iter().filter_map(read).collect()
}

/// What `SET name = value;` sets, without its quotes.
fn value_of(statement: &str) -> Option<String> {
    let words = words(statement);
    let place = words.iter().position(|word| word.is_sign("="))?;
    let value = words.get(place + 1)?;
    value.name().or_else(|| Some(value.text.trim_matches('\'').replace("''", "'")))
}

fn read_section(text: &[u8], section: Section) -> Result<Vec<Definition>> {
    let mut settings = BTreeMap::new();
    let mut definitions = Vec::new();
    for entry in script::entries(text, Limits::default())? {
        // The head of the script sets up the session, which is ours.
        let Some(toc) = entry.toc else { continue };
        let mut statements = Vec::with_capacity(entry.statements.len());
        for statement in entry.statements {
            match setting_name(&statement) {
                Some(name) => drop(settings.insert(name, statement)),
                None => statements.push(statement),
            }
        }
        definitions.push(Definition {
            id: toc.id.unwrap_or_default(),
            needs: toc.needs,
            turn: kind::turn(&toc.kind, section),
            kind: toc.kind,
            schema: toc.schema,
            name: toc.name,
            settings: settings.clone(),
            statements,
        });
    }
    Ok(definitions)
}

/// The setting that holds for all entries after it, if `statement` sets one.
fn setting_name(statement: &str) -> Option<String> {
    ["default_tablespace", "default_table_access_method"]
        .iter()
        .find(|name| statement.strip_prefix("SET ").is_some_and(|rest| rest.starts_with(*name)))
        .map(|name| (*name).to_owned())
}

#[cfg(test)]
pub(in crate::backup::restore) mod tests;
