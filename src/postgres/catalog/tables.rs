//! Tables: what they are, which columns a COPY of them has, and whether we can read every row.

use super::{OF_USERS, readable};
use crate::error::Result;
use crate::postgres::quote;
use crate::postgres::session::Session;
use std::collections::HashMap;

/// What a table is to a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// It has rows of its own (leaf partitions among them).
    Ordinary,
    /// A partitioned parent: its rows are in its leaves.
    Partitioned,
    /// Its rows live on another server.
    Foreign,
}

/// Whether we can read every row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Full,
    /// Row security would hide rows from us; forced row security does so even from the owner.
    RowsHidden,
    /// No privilege.
    Denied,
}

/// A column of a COPY line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type as `format_type` gives it.
    pub r#type: String,
}

/// The rows of an extension's configuration table that are the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionRows {
    /// The extension.
    pub extension: String,
    /// `WHERE …` as the extension registered it; empty for all rows.
    pub condition: String,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its oid.
    pub oid: u32,
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// Its owner.
    pub owner: String,
    /// Whether it is unlogged.
    pub unlogged: bool,
    /// `heap` or another access method; `None` for what has no storage.
    pub access_method: Option<String>,
    /// Whether it is a partition.
    pub partition: bool,
    /// The tables it inherits from, or the one it is a partition of.
    pub parents: Vec<u32>,
    /// The composite type it is a table of.
    pub of_type: Option<String>,
    /// Columns that COPY reads and writes, in order; generated ones are not among them.
    pub columns: Vec<Column>,
    /// Generated columns.
    pub generated: Vec<String>,
    /// The file on disk; it changes with TRUNCATE and rewrites, which no snapshot hides.
    pub filenode: Option<u32>,
    /// Pages at the last VACUUM or ANALYZE: an estimate that needs no lock.
    pub pages_estimate: u64,
    /// Rows at the last VACUUM or ANALYZE; `None` where nobody counted.
    pub rows_estimate: Option<u64>,
    /// How many indexes it has.
    pub index_count: u32,
    /// Whether we can read every row of it.
    pub access: Access,
    /// Set if it belongs to an extension, and only these of its rows are the user's.
    pub extension: Option<ExtensionRows>,
}

impl Table {
    /// Its name as SQL needs it.
    pub fn qualified(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }

    /// Whether it can be read by ranges of pages: PostgreSQL promises that for the heap only.
    pub fn has_page_ranges(&self) -> bool {
        self.kind == TableKind::Ordinary && self.access_method.as_deref() == Some("heap")
    }

    /// The column list of a COPY, in parentheses; empty for a table without columns, where COPY takes none.
    pub fn column_list(&self) -> String {
        if self.columns.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.columns.iter().map(|column| quote::ident(&column.name)).collect();
        format!("({})", names.join(", "))
    }
}

/// How many pages a table has, about. The server counts them when it analyses a table; of one that was just filled it knows
/// nothing yet, and its file is asked. That takes a lock which waits for whoever holds the whole table: then it stays unknown, as
/// that of one that somebody dropped a moment ago.
const PAGES: &str = "CASE WHEN c.relpages = 0 AND c.relkind = 'r' AND c.oid NOT IN ( \
       SELECT l.relation FROM pg_catalog.pg_locks l WHERE l.relation IS NOT NULL AND l.mode = 'AccessExclusiveLock') \
     THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::bigint \
     ELSE c.relpages::bigint & 4294967295 END";

/// All tables of the database that a dump holds, in the order of schema and name.
pub async fn tables(session: &Session) -> Result<Vec<Table>> {
    session.empty_search_path().await?;
    let readable = readable("table");
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind::text, pg_catalog.pg_get_userbyid(c.relowner), \
         c.relpersistence = 'u', am.amname, c.relispartition, \
         ARRAY(SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno), \
         CASE WHEN c.reloftype <> 0 THEN pg_catalog.format_type(c.reloftype, NULL) END, \
         columns.names, columns.types, columns.generated, \
         pg_catalog.pg_relation_filenode(c.oid), {PAGES}, c.reltuples::float8, \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid), \
         pg_catalog.row_security_active(c.oid), \
         {readable}, \
         config.extension, config.condition \
         FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam \
         CROSS JOIN LATERAL ( \
            SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '') AS names, \
                   pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) \
                       FILTER (WHERE a.attgenerated = '') AS types, \
                   pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated <> '') AS generated \
            FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         ) columns {OF_USERS} AND c.relkind IN ('r', 'p', 'f') ORDER BY n.nspname, c.relname"
    );
    let rows = session.rows("listing tables", &sql, &[]).await?;
    Ok(rows.iter().map(table).collect())
}

fn table(row: &tokio_postgres::Row) -> Table {
    let kind: String = row.get(3);
    let names: Option<Vec<String>> = row.get(10);
    let types: Option<Vec<String>> = row.get(11);
    let columns = names.unwrap_or_default().into_iter().zip(types.unwrap_or_default());
    let tuples: f64 = row.get(15);
    let extension: Option<String> = row.get(19);
    let condition: Option<String> = row.get(20);
    Table {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        kind: match kind.as_str() {
            "p" => TableKind::Partitioned,
            "f" => TableKind::Foreign,
            _ => TableKind::Ordinary,
        },
        owner: row.get(4),
        unlogged: row.get(5),
        access_method: row.get(6),
        partition: row.get(7),
        parents: row.get(8),
        of_type: row.get(9),
        columns: columns.map(|(name, r#type)| Column { name, r#type }).collect(),
        generated: row.get::<_, Option<Vec<String>>>(12).unwrap_or_default(),
        filenode: row.get(13),
        pages_estimate: u64::try_from(row.get::<_, i64>(14)).unwrap_or_default(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, checked to be positive"
        )]
        rows_estimate: (tuples >= 0.0).then_some(tuples as u64),
        index_count: u32::try_from(row.get::<_, i64>(16)).unwrap_or(u32::MAX),
        access: match (row.get(17), row.get(18)) {
            (_, false) => Access::Denied,
            (true, true) => Access::RowsHidden,
            (false, true) => Access::Full,
        },
        extension: extension.map(|extension| ExtensionRows { extension, condition: condition.unwrap_or_default() }),
    }
}

/// The size of each table's heap in bytes, as it is now. This waits for exclusive locks of others: take the locks first,
/// or set a `lock_timeout`. A table that is gone is left out.
pub async fn sizes(session: &Session, oids: &[u32]) -> Result<HashMap<u32, u64>> {
    let rows = session
        .rows(
            "measuring tables",
            "SELECT t.oid, pg_catalog.pg_relation_size(t.oid) FROM pg_catalog.unnest($1::oid[]) AS t(oid) \
             JOIN pg_catalog.pg_class c ON c.oid = t.oid WHERE c.relkind IN ('r', 'm', 't')",
            &[&oids],
        )
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let size: Option<i64> = row.get(1);
            Some((row.get(0), u64::try_from(size?).ok()?))
        })
        .collect())
}
