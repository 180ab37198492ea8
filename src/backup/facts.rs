//! What a manifest says about databases: the `details` of its objects. Written by a backup, read by restore,
//! verify and export. `docs/format.md` says the same for readers without Davit.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kinds of objects in a database point (the `kind` of an object line).
pub mod kind {
    /// Roles and tablespaces as SQL (`pg_dumpall --globals-only`); one per point. No details.
    pub const GLOBALS: &str = "globals";
    /// One database: details are [`super::DatabaseFacts`]. No chunks.
    pub const DATABASE: &str = "database";
    /// The definitions as a custom-format archive without rows: details are [`super::OfDatabase`].
    pub const ARCHIVE: &str = "archive";
    /// The definitions to run before the rows, as SQL: details are [`super::OfDatabase`].
    pub const PRE_DATA: &str = "pre-data";
    /// The definitions to run after the rows, as SQL: details are [`super::OfDatabase`].
    pub const POST_DATA: &str = "post-data";
    /// Rows of one table as COPY text: details are [`super::TableFacts`].
    pub const TABLE: &str = "table";
    /// Large objects as COPY text lines `oid, offset, bytes` (bytea in hex): details are [`super::OfDatabase`].
    pub const LARGE_OBJECTS: &str = "large-objects";
    /// Sequences: details are [`super::SequenceFacts`]. No chunks.
    pub const SEQUENCES: &str = "sequences";
    /// A whole plain dump as SQL, from the `stream` engine: details are [`super::StreamFacts`].
    pub const DUMP: &str = "dump";
}

/// Which engine read the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Many COPY streams of one snapshot.
    Parallel,
    /// One `pg_dump`, cut into chunks as it comes.
    Stream,
}

/// The details of a point's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointFacts {
    /// Which engine read it.
    pub engine: Engine,
    /// Why this engine was taken, if it was not the one asked for.
    pub engine_reason: Option<String>,
    /// `server_version_num`, such as 150012.
    pub server_version_num: u32,
    /// Which client tools wrote the definitions, such as `15.14`.
    pub client_version: String,
    /// Whether the server was a standby.
    pub standby: bool,
    /// The cluster's system identifier.
    pub system_identifier: String,
    /// Names of the databases, in order.
    pub databases: Vec<String>,
    /// Whether the passwords of roles could not be read, so that the roles in the point have none.
    #[serde(default)]
    pub passwords_hidden: bool,
}

/// The details of an object that belongs to one database and has no other facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfDatabase {
    /// The database.
    pub database: String,
}

/// One database as `CREATE DATABASE` needs it, and what a proof compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// Its name.
    pub database: String,
    /// Its oid.
    pub oid: u32,
    /// Its owner.
    pub owner: String,
    /// `UTF8`, `SQL_ASCII`, …
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// The provider's own locale (ICU or builtin).
    pub provider_locale: Option<String>,
    /// Further ICU rules.
    #[serde(default)]
    pub icu_rules: Option<String>,
    /// The version of its collation.
    #[serde(default)]
    pub collation_version: Option<String>,
    /// Its tablespace.
    pub tablespace: String,
    /// `-1` for none.
    pub connection_limit: i32,
    /// Its comment.
    pub comment: Option<String>,
    /// Its privileges as `GRANT` and `REVOKE` statements, `%DATABASE%` standing for the quoted name.
    pub privileges: Vec<String>,
    /// Its settings and those of roles in it, as `ALTER …` statements, `%DATABASE%` standing for the quoted name.
    pub settings: Vec<String>,
    /// Extensions with schema and version.
    pub extensions: Vec<ExtensionFacts>,
    /// Roles that own or are granted something.
    pub roles: Vec<String>,
    /// WAL position of the snapshot (replayed position on a standby).
    pub lsn: Option<String>,
    /// The instant its rows are of, by the server's clock; several databases of a point have one each.
    #[serde(default)]
    pub snapshot_time: Option<jiff::Timestamp>,
    /// Every setting of the sessions that read the rows, as they were read back.
    pub session_settings: BTreeMap<String, String>,
    /// Tables (or only their rows) that were left out on request.
    pub left_out: Vec<LeftOut>,
    /// Things that are not in the backup by their nature (foreign tables' rows, logical slots, …), in words.
    pub not_included: Vec<String>,
}

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionFacts {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its schema.
    pub schema: String,
}

/// Something that was left out on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The table, quoted as SQL needs it.
    pub table: String,
    /// Whether its definition is in the backup and only its rows are not.
    pub rows_only: bool,
}

/// One table whose rows are in the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// The database.
    pub database: String,
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub table: String,
    /// Its oid at the source.
    pub oid: u32,
    /// The columns of each COPY line, in order, unquoted; generated columns are not among them.
    pub columns: Vec<ColumnFacts>,
    /// Pages per range of the grid it was cut on; `None` where one stream read it all.
    pub grid_pages: Option<u32>,
    /// Heap size at the time, in bytes.
    pub heap_bytes: u64,
    /// Whether it is unlogged.
    pub unlogged: bool,
    /// The rows are those of an extension's configuration table that satisfy this condition.
    pub extension_condition: Option<String>,
    /// Its indexes, for building them side by side.
    pub indexes: Vec<IndexFacts>,
}

/// A column of a COPY line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnFacts {
    /// Its name, unquoted.
    pub name: String,
    /// Its type as `format_type` gives it.
    pub r#type: String,
}

/// An index, and the constraint that lives on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFacts {
    /// Its name, unquoted (its schema is the table's).
    pub name: String,
    /// `CREATE INDEX` as `pg_get_indexdef` gives it.
    pub definition: String,
    /// Whether it is unique.
    pub unique: bool,
    /// The constraint on it: name and definition as `pg_get_constraintdef` gives it.
    pub constraint: Option<ConstraintFacts>,
}

/// A constraint that lives on an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstraintFacts {
    /// Its name, unquoted.
    pub name: String,
    /// `p` primary key, `u` unique, `x` exclusion.
    pub r#type: char,
    /// As `pg_get_constraintdef` gives it.
    pub definition: String,
    /// Whether it is deferrable, and initially deferred.
    pub deferrable: (bool, bool),
}

/// All sequences of one database, read after the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceFacts {
    /// The database.
    pub database: String,
    /// The sequences.
    pub sequences: Vec<SequenceValue>,
}

/// Where one sequence stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceValue {
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
}

/// A plain dump and the rows it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// The database.
    pub database: String,
    /// Each table's rows as they went by, in the order of the dump.
    pub tables: Vec<StreamedTable>,
}

/// One table of a plain dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamedTable {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub table: String,
    /// Columns of the COPY lines, unquoted.
    pub columns: Vec<String>,
    /// Rows and their sum.
    pub rows: crate::rowsum::RowSum,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rowsum::RowSum;
    use jiff::Timestamp;
    use serde_json::Value;
    use std::collections::BTreeSet;

    // These values name every field without a default: what is added to a type must be added here, and so to the page.

    fn text() -> String {
        "text".to_owned()
    }

    fn point() -> PointFacts {
        PointFacts {
            engine: Engine::Stream,
            engine_reason: Some(text()),
            server_version_num: 150_012,
            client_version: text(),
            standby: false,
            system_identifier: text(),
            databases: vec![text()],
            passwords_hidden: true,
        }
    }

    fn database() -> DatabaseFacts {
        DatabaseFacts {
            database: text(),
            oid: 1,
            owner: text(),
            encoding: text(),
            collate: text(),
            ctype: text(),
            locale_provider: text(),
            provider_locale: Some(text()),
            icu_rules: Some(text()),
            collation_version: Some(text()),
            tablespace: text(),
            connection_limit: -1,
            comment: Some(text()),
            privileges: vec![text()],
            settings: vec![text()],
            extensions: vec![ExtensionFacts { name: text(), version: text(), schema: text() }],
            roles: vec![text()],
            lsn: Some(text()),
            snapshot_time: Some(Timestamp::UNIX_EPOCH),
            // Its names are data.
            session_settings: BTreeMap::new(),
            left_out: vec![LeftOut { table: text(), rows_only: true }],
            not_included: vec![text()],
        }
    }

    fn table() -> TableFacts {
        let deferrable = (true, false);
        let constraint = ConstraintFacts { name: text(), r#type: 'u', definition: text(), deferrable };
        let index = IndexFacts { name: text(), definition: text(), unique: true, constraint: Some(constraint) };
        TableFacts {
            database: text(),
            schema: text(),
            table: text(),
            oid: 1,
            columns: vec![ColumnFacts { name: text(), r#type: text() }],
            grid_pages: Some(2048),
            heap_bytes: 8192,
            unlogged: false,
            extension_condition: Some(text()),
            indexes: vec![index],
        }
    }

    fn sequences() -> SequenceFacts {
        let value = SequenceValue { schema: text(), name: text(), last_value: 1, is_called: true };
        SequenceFacts { database: text(), sequences: vec![value] }
    }

    fn dump() -> StreamFacts {
        let table = StreamedTable { schema: text(), table: text(), columns: vec![text()], rows: RowSum::default() };
        StreamFacts { database: text(), tables: vec![table] }
    }

    /// The names of all fields, nested ones among them; an empty list or a null would hide some.
    fn fields(value: &Value) -> BTreeSet<String> {
        match value {
            Value::Object(named) => named.keys().cloned().chain(named.values().flat_map(fields)).collect(),
            Value::Array(elements) => {
                assert!(!elements.is_empty(), "a list is empty");
                elements.iter().flat_map(fields).collect()
            }
            Value::Null => panic!("a field is null"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeSet::new(),
        }
    }

    /// What the page says of the details of one kind.
    fn said_of<'a>(page: &'a str, kind: &str) -> &'a str {
        let heading = format!("\nDetails of `{kind}`");
        let (_, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("docs/format.md has no {heading:?}"));
        let end = ["\nDetails of ", "\n**"].into_iter().filter_map(|next| rest.find(next)).min();
        &rest[..end.unwrap_or(rest.len())]
    }

    #[test]
    fn every_kind_and_field_is_in_the_description_of_the_format() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/format.md")).unwrap();
        let of_database = || serde_json::to_value(OfDatabase { database: text() });
        let documents = [
            ("header", serde_json::to_value(point())),
            (kind::DATABASE, serde_json::to_value(database())),
            (kind::ARCHIVE, of_database()),
            (kind::TABLE, serde_json::to_value(table())),
            (kind::SEQUENCES, serde_json::to_value(sequences())),
            (kind::DUMP, serde_json::to_value(dump())),
        ];
        for (kind, document) in documents {
            let (said, fields) = (said_of(&page, kind), fields(&document.unwrap()));
            let unnamed: Vec<&String> = fields.iter().filter(|field| !said.contains(&format!("`{field}`"))).collect();
            assert!(unnamed.is_empty(), "docs/format.md does not name {unnamed:?} of {kind}");
        }
        let with_details = [kind::DATABASE, kind::ARCHIVE, kind::TABLE, kind::SEQUENCES, kind::DUMP];
        let others = [kind::GLOBALS, kind::PRE_DATA, kind::POST_DATA, kind::LARGE_OBJECTS];
        for kind in with_details.iter().chain(&others) {
            assert!(page.contains(&format!("\n| `{kind}` | ")), "docs/format.md does not say what {kind} is");
        }
    }
}
