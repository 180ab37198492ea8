//! A table as a person names it.

use crate::error::{Error, Result};
use crate::postgres::Session;

/// A table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Its oid.
    pub(super) oid: u32,
    /// Its name with its schema, quoted where it has to be.
    pub(super) quoted: String,
}

/// Finds an ordinary table by name, with or without its schema.
pub(super) async fn find(session: &Session, name: &str) -> Result<Table> {
    let sql = "SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::text \
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.oid = pg_catalog.to_regclass($1)";
    let rows = session.rows(&format!("looking for the table {name}"), sql, &[&name]).await?;
    match rows.first() {
        Some(row) if ["r", "p"].contains(&row.get::<_, &str>(2)) => Ok(Table { oid: row.get(0), quoted: row.get(1) }),
        Some(_) => Err(Error::input(format!("looking for the table {name}: it is no table"))),
        None => {
            let database = session.conn().database();
            Err(Error::refused(format!("looking for the table {name}: {database} has none of this name"))
                .hint("write it with its schema: public.orders"))
        }
    }
}

/// Whether there is anything of this qualified name.
pub(super) async fn is_there(session: &Session, quoted: &str) -> Result<bool> {
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    Ok(session.row(&format!("looking for {quoted}"), sql, &[&quoted]).await?.get(0))
}

/// Where the log stands.
pub(super) async fn lsn(session: &Session) -> Result<String> {
    Ok(session.row("reading the WAL position", "SELECT pg_catalog.pg_current_wal_lsn()::text", &[]).await?.get(0))
}
