//! Indexes and the constraints that live on them, so that a restore can build a table's indexes side by side.

use super::OF_USERS;
use crate::error::Result;
use crate::postgres::session::Session;
use std::collections::HashMap;

/// An index; its schema is the table's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name, unquoted.
    pub name: String,
    /// `CREATE INDEX` as `pg_get_indexdef` gives it.
    pub definition: String,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it may be used; an interrupted `CREATE INDEX CONCURRENTLY` leaves one that may not, and `pg_dump` leaves
    /// it out.
    pub valid: bool,
    /// Whether it hangs below an index of the partitioned parent.
    pub attached: bool,
    /// The constraint on it.
    pub constraint: Option<Constraint>,
}

/// A constraint that lives on an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Its name, unquoted.
    pub name: String,
    /// `p` primary key, `u` unique, `x` exclusion.
    pub r#type: char,
    /// As `pg_get_constraintdef` gives it.
    pub definition: String,
    /// Whether it is deferrable, and initially deferred.
    pub deferrable: (bool, bool),
}

/// The indexes of all tables that a dump holds, by the oid of their table, in the order of their names.
pub async fn indexes(session: &Session) -> Result<HashMap<u32, Vec<Index>>> {
    list(session, None).await
}

/// The indexes of these tables. Their definitions are those of this moment: without a lock on its table an index may be
/// gone though the snapshot has it, and asking for its definition fails.
pub async fn indexes_of(session: &Session, tables: &[u32]) -> Result<HashMap<u32, Vec<Index>>> {
    list(session, Some(tables)).await
}

async fn list(session: &Session, tables: Option<&[u32]>) -> Result<HashMap<u32, Vec<Index>>> {
    session.empty_search_path().await?;
    let sql = format!(
        "SELECT x.indrelid, ic.relname, pg_catalog.pg_get_indexdef(x.indexrelid), x.indisunique, \
         x.indisvalid, ic.relispartition, con.conname, con.contype::text, \
         pg_catalog.pg_get_constraintdef(con.oid), con.condeferrable, con.condeferred \
         FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid \
         LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = x.indexrelid AND con.conrelid = x.indrelid \
             AND con.contype IN ('p', 'u', 'x') \
         JOIN pg_catalog.pg_class c ON c.oid = x.indrelid {OF_USERS} AND c.relkind IN ('r', 'p') \
         AND ($1::oid[] IS NULL OR x.indrelid = ANY ($1)) \
         ORDER BY x.indrelid, ic.relname"
    );
    let rows = session.rows("listing indexes", &sql, &[&tables]).await?;
    let mut by_table: HashMap<u32, Vec<Index>> = HashMap::new();
    for row in &rows {
        by_table.entry(row.get(0)).or_default().push(Index {
            name: row.get(1),
            definition: row.get(2),
            unique: row.get(3),
            valid: row.get(4),
            attached: row.get(5),
            constraint: constraint(row),
        });
    }
    Ok(by_table)
}

fn constraint(row: &tokio_postgres::Row) -> Option<Constraint> {
    let name: Option<String> = row.get(6);
    let r#type: Option<String> = row.get(7);
    Some(Constraint {
        name: name?,
        r#type: r#type?.chars().next()?,
        definition: row.get(8),
        deferrable: (row.get(9), row.get(10)),
    })
}
