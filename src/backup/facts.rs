//! What a manifest says about databases: the `details` of its objects. Written by a backup, read by restore,
//! verify and export.

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
