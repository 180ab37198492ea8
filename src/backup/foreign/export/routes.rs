//! Where the rows of a partition go in: into itself, or through the root of its tree.
//!
//! The hash of an enum or a composite value depends on oids, which are others wherever the script is loaded; `pg_dump`
//! knows `--load-via-partition-root` for that. No target is there to ask, so every tree that hashes is loaded through
//! its root. What the tree looks like is read from the definitions as they go by.

use crate::postgres::script::TableName;
use crate::postgres::script::words::{Word, words};
use std::collections::{HashMap, HashSet};

/// The trees of partitions, as far as they have gone by.
#[derive(Debug, Default)]
pub(super) struct Routes {
    hashed: HashSet<TableName>,
    parents: HashMap<TableName, TableName>,
}

impl Routes {
    /// Takes notice of one definition; `kind` is what its comment says.
    pub(super) fn hear(&mut self, kind: &str, statement: &str) {
        match kind {
            "TABLE" if statement.contains("PARTITION BY HASH") => {
                let words = words(statement);
                let by_hash = |three: &[Word<'_>]| three[0].is("PARTITION") && three[1].is("BY") && three[2].is("HASH");
                if words.windows(3).any(by_hash) {
                    self.hashed.extend(name_at(&words, 2));
                }
            }
            "TABLE ATTACH" => {
                let words = words(statement);
                let attach = words.windows(2).position(|pair| pair[0].is("ATTACH") && pair[1].is("PARTITION"));
                let parent = name_at(&words, if words.get(2).is_some_and(|word| word.is("ONLY")) { 3 } else { 2 });
                let child = attach.and_then(|place| name_at(&words, place + 2));
                self.parents.extend(child.zip(parent));
            }
            _ => {}
        }
    }

    /// The table into which the rows of `table` are copied.
    pub(super) fn loads_into(&self, table: TableName) -> TableName {
        let mut root = &table;
        let mut hashed = false;
        while let Some(parent) = self.parents.get(root) {
            hashed |= self.hashed.contains(parent);
            root = parent;
        }
        if hashed { root.clone() } else { table }
    }
}

/// `schema.name` or `name` at this place.
fn name_at(words: &[Word<'_>], place: usize) -> Option<TableName> {
    let first = words.get(place)?.name()?;
    match (words.get(place + 1), words.get(place + 2)) {
        (Some(dot), Some(second)) if dot.is_sign(".") => Some(TableName { schema: Some(first), name: second.name()? }),
        _ => Some(TableName { schema: None, name: first }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trees_that_hash_are_loaded_through_their_root() {
        let mut routes = Routes::default();
        routes.hear("TABLE", "CREATE TABLE public.\"Root\" (a int) PARTITION BY LIST (a);");
        routes.hear("TABLE", "CREATE TABLE public.mid (a int)\nPARTITION BY HASH (a);");
        routes.hear("TABLE", "CREATE TABLE public.listed (a text DEFAULT 'PARTITION BY HASH') PARTITION BY LIST (a);");
        routes.hear("TABLE ATTACH", "ALTER TABLE ONLY public.\"Root\" ATTACH PARTITION public.mid FOR VALUES IN (1);");
        routes.hear(
            "TABLE ATTACH",
            "ALTER TABLE ONLY public.mid ATTACH PARTITION s.leaf FOR VALUES WITH (modulus 1, remainder 0);",
        );
        routes
            .hear("TABLE ATTACH", "ALTER TABLE ONLY public.listed ATTACH PARTITION public.plain FOR VALUES IN ('x');");
        let table = |schema: &str, name: &str| TableName { schema: Some(schema.into()), name: name.into() };
        assert_eq!(routes.loads_into(table("s", "leaf")), table("public", "Root"));
        assert_eq!(routes.loads_into(table("public", "plain")), table("public", "plain"));
        assert_eq!(routes.loads_into(table("public", "other")), table("public", "other"));
    }
}
