//! Values that print differently on another version: a difference in them decides nothing.

use crate::backup::facts::DatabaseFacts;
use crate::backup::restore::table::Table;
use crate::error::Result;
use crate::postgres::Session;
use std::collections::{BTreeMap, BTreeSet};

/// Types of PostgreSQL's own whose text depends on the version, the catalogue or the platform's locale.
const VARYING: [&str; 17] = [
    "aclitem",
    "jsonpath",
    "money",
    "pg_node_tree",
    "pg_snapshot",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "xml",
];

/// What is known of how types print here.
pub(super) struct Printing {
    same_major: bool,
    /// Types of extensions that have another version here, with that extension.
    of_others: BTreeMap<String, String>,
}

impl Printing {
    /// Looks which extensions have another version here than at the source.
    pub(super) async fn read(session: &Session, facts: &DatabaseFacts, same_major: bool) -> Result<Self> {
        let sql = "SELECT pg_catalog.format_type(t.oid, NULL), e.extname::text, e.extversion \
                   FROM pg_catalog.pg_type t \
                   JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e' \
                   JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_extension'::regclass";
        let rows = session.rows("looking for types of extensions", sql, &[]).await?;
        let was: BTreeSet<(&str, &str)> =
            facts.extensions.iter().map(|extension| (extension.name.as_str(), extension.version.as_str())).collect();
        let other = rows.iter().filter(|row| !was.contains(&(row.get(1), row.get(2))));
        let of_others =
            other.map(|row| (row.get(0), format!("{} {}", row.get::<_, &str>(1), row.get::<_, &str>(2)))).collect();
        Ok(Self { same_major, of_others })
    }

    /// Why a difference in this table's rows may be one of printing only; nothing if it cannot be.
    pub(super) fn may_differ(&self, table: &Table) -> Option<String> {
        let columns = table.columns.iter().zip(&table.types);
        for (column, full) in columns {
            let bare = bare(full);
            if let Some(extension) = self.of_others.get(bare) {
                return Some(format!(
                    "column {column} is of extension {extension}, which the source had in another version"
                ));
            }
            if !self.same_major && VARYING.contains(&bare) {
                return Some(format!("column {column} of type {full} may print otherwise on this version"));
            }
        }
        None
    }
}

/// A type without its modifiers and array signs.
fn bare(full: &str) -> &str {
    full.split(['(', '[']).next().unwrap_or(full).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::facts::{ColumnFacts, TableFacts};
    use crate::rowsum::RowSum;

    fn table(r#type: &str) -> Table {
        let facts = TableFacts {
            database: "d".into(),
            schema: "public".into(),
            table: "t".into(),
            oid: 1,
            columns: vec![ColumnFacts { name: "c".into(), r#type: r#type.into() }],
            grid_pages: None,
            heap_bytes: 0,
            unlogged: false,
            extension_condition: None,
            indexes: vec![],
        };
        Table::new(0, 1, 0, RowSum::default(), facts)
    }

    #[test]
    fn on_the_same_version_a_difference_is_a_difference() {
        let same = Printing { same_major: true, of_others: BTreeMap::new() };
        let other =
            Printing { same_major: false, of_others: [("public.cube".to_owned(), "cube 1.5".to_owned())].into() };
        assert_eq!(same.may_differ(&table("jsonpath")), None);
        assert!(other.may_differ(&table("jsonpath[]")).is_some());
        assert!(other.may_differ(&table("public.cube")).is_some());
        assert_eq!(other.may_differ(&table("numeric(12,2)")), None);
    }
}
