//! Bringing single tables, or only rows, into a database that is there and stays.
//!
//! What is brought must not be there before, so that undoing is exact: tables that this restore has made are dropped, rows that
//! it has written are taken out again. What somebody else did meanwhile stays.

use super::made::Made;
use super::names::TableKey;
use super::references;
use super::selection::Selection;
use super::site::failed;
use super::table::Table;
use super::unfinished::{self, Left, Note, Unfinished};
use crate::error::{Error, Kind, Result};
use crate::postgres::session::prepare_data_session;
use crate::postgres::{ConnInfo, Session, quote};
use crate::repository::PointSummary;
use jiff::Timestamp;
use std::collections::BTreeSet;

const UNDOING: &str = "undoing what was restored";

/// How to undo what was done in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undo {
    /// Drop these tables and sequences.
    Drop { tables: Vec<TableKey>, sequences: Vec<TableKey> },
    /// Take out of these tables again what this restore has written.
    Empty(Vec<TableKey>),
}

/// Looks whether tables can be made here that are not there yet; changes nothing.
pub(super) async fn look_for_room(session: &Session, selection: &Selection, left: &[Left]) -> Result<Undo> {
    let database = session.conn().database().to_owned();
    let made: Vec<TableKey> =
        selection.definitions.relations().into_values().collect::<BTreeSet<_>>().into_iter().collect();
    let there = present(session, &made).await?;
    if let Some(first) = there.first() {
        let error = Error::refused(format!("{first} is in database {database} already"))
            .hint("rename it or drop it first, or restore into a new database with --create");
        return Err(unfinished::explain(error, first, left));
    }
    let needed: Vec<TableKey> = selection.needed.iter().cloned().collect();
    let have: BTreeSet<TableKey> = present(session, &needed).await?.into_iter().collect();
    if let Some(lacking) = needed.iter().find(|key| !have.contains(*key)) {
        return Err(Error::refused(format!(
            "{lacking}, which a table to be restored needs, is not in database {database}"
        ))
        .hint(format!("restore it as well: --table {lacking}")));
    }
    let of_kind = |kind: &'static str| {
        let entries = selection.definitions.entries.iter().filter(move |entry| entry.kind == kind);
        entries.filter_map(super::definitions::Definition::relation).collect()
    };
    // A sequence goes with its table, unless it was not yet its own.
    Ok(Undo::Drop { tables: of_kind("TABLE"), sequences: of_kind("SEQUENCE") })
}

/// Looks whether tables that are here can take the rows; changes nothing.
pub(super) async fn look_for_tables(session: &Session, tables: &[Table], left: &[Left]) -> Result<Undo> {
    let database = session.conn().database().to_owned();
    silence(session).await?;
    let keys: Vec<TableKey> = tables.iter().map(|table| table.key.clone()).collect();
    let have: BTreeSet<TableKey> = present(session, &keys).await?.into_iter().collect();
    if let Some(lacking) = keys.iter().find(|key| !have.contains(*key)) {
        return Err(Error::refused(format!("table {lacking} is not in database {database}"))
            .hint("--data-only fills tables that are there; leave it out to restore definitions, too"));
    }
    for table in tables {
        let sql =
            format!("SELECT EXISTS (SELECT{} FROM ONLY {} {})", plain_columns(table), table.sql(), condition(table));
        let asked = session.client.query_one(&sql, &[]).await;
        let full: bool =
            asked.map_err(|error| failed(session, &error, &format!("looking at {}", table.key), &sql))?.get(0);
        if full {
            let error = Error::refused(format!("table {} is not empty", table.key))
                .hint("--data-only fills empty tables only: empty it first if its rows can go");
            return Err(unfinished::explain(error, &table.key, left));
        }
    }
    loud_triggers(session, &keys).await?;
    Ok(Undo::Empty(keys))
}

/// Triggers that fire whatever the session says.
async fn loud_triggers(session: &Session, keys: &[TableKey]) -> Result<()> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        keys.iter().map(|key| (key.schema.as_str(), key.table.as_str())).unzip();
    let sql = "SELECT t.tgname::text, n.nspname::text, c.relname::text FROM pg_catalog.pg_trigger t \
               JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               JOIN ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS k(schema, name) ON n.nspname = k.schema AND c.relname = k.name \
               WHERE t.tgenabled IN ('A', 'R') AND NOT t.tgisinternal LIMIT 1";
    let rows = session.rows("looking for triggers", sql, &[&schemas, &names]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (trigger, schema, table): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    Err(Error::refused(format!("trigger {trigger} of {schema}.{table} would fire for every row that is brought back"))
        .hint(format!("ALTER TABLE {} DISABLE TRIGGER {}", quote::qualified(&schema, &table), quote::ident(&trigger))))
}

async fn silence(session: &Session) -> Result<()> {
    session.execute("keeping triggers silent", "SET session_replication_role = replica").await.map_err(|error| {
        error
            .as_kind(Kind::Refused)
            .hint("--data-only needs a superuser, or GRANT SET ON PARAMETER session_replication_role")
    })
}

/// Whether the note of an unfinished restore can be written.
pub(super) async fn may_note(session: &Session) -> Result<()> {
    let sql = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), current_user::text";
    let row = session.row("looking at the target", sql, &[]).await?;
    let (may, role, database): (bool, String, _) = (row.get(0), row.get(1), session.conn().database());
    if may {
        return Ok(());
    }
    Err(Error::refused(format!(
        "role {role} may not make a schema in database {database}, where a restore into it keeps a note of what it does"
    ))
    .hint(format!("GRANT CREATE ON DATABASE {} TO {}", quote::ident(database), quote::ident(&role))))
}

/// Those of the relations that are there.
pub(super) async fn present(session: &Session, keys: &[TableKey]) -> Result<Vec<TableKey>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        keys.iter().map(|key| (key.schema.as_str(), key.table.as_str())).unzip();
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               JOIN ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS k(schema, name) ON n.nspname = k.schema AND c.relname = k.name \
               ORDER BY 1, 2";
    let rows = session.rows("looking for tables at the target", sql, &[&schemas, &names]).await?;
    Ok(rows.iter().map(|row| TableKey { schema: row.get(0), table: row.get(1) }).collect())
}

fn plain_columns(table: &Table) -> String {
    table.columns.first().map_or(String::new(), |name| format!(" {}", quote::ident(name)))
}

fn condition(table: &Table) -> &str {
    table.condition.as_deref().unwrap_or_default()
}

/// Takes rows out again where no foreign key looks. What somebody else wrote meanwhile may refer to them: then they stay, for
/// a key that says it holds must hold.
async fn take_out(session: &Session, keys: &[TableKey], sql: &str) -> Result<()> {
    prepare_data_session(session).await?;
    // The keys are asked about what is committed by then, whatever the database is set to.
    session.execute(UNDOING, &format!("BEGIN ISOLATION LEVEL READ COMMITTED; {sql}")).await?;
    references::must_hold_without(session, keys).await.map_err(|error| error.during(UNDOING))?;
    session.execute(UNDOING, "COMMIT").await
}

impl Undo {
    /// The tables it is about.
    pub(super) fn tables(&self) -> Vec<TableKey> {
        match self {
            Self::Drop { tables, sequences } => tables.iter().chain(sequences).cloned().collect(),
            Self::Empty(tables) => tables.clone(),
        }
    }

    /// The note of what is about to be done.
    pub(super) fn note(&self, point: &PointSummary, begun: Timestamp) -> Note {
        let (fills, tables, sequences) = match self {
            Self::Drop { tables, sequences } => (false, tables.clone(), sequences.clone()),
            Self::Empty(_) => (true, self.tables(), Vec::new()),
        };
        Note { point: point.point().clone(), source: point.source.clone(), begun, fills, tables, sequences }
    }

    /// Undoes what was done, because of `error`; if that fails, that is worse.
    pub(super) async fn after(self, conn: &ConnInfo, (note, made): (Unfinished, &Made), error: Error) -> Error {
        let mut statements = self.statements(made);
        statements.push(note.statement());
        let sql = statements.join("; ");
        let undone = async {
            let session = unfinished::writing(conn).await?;
            match &self {
                Self::Empty(keys) if statements.len() > 1 => take_out(&session, keys, &sql).await?,
                // Several statements in one message are one transaction: it happens as a whole or not at all.
                _ => session.execute(UNDOING, &sql).await?,
            }
            session.close().await;
            Ok::<_, Error>(())
        };
        match undone.await {
            Ok(()) => error,
            Err(left) => {
                Error::new(Kind::Stuck, error.to_string()).because(left).hint(format!("when that is cleared: {sql}"))
            }
        }
    }

    fn statements(&self, made: &Made) -> Vec<String> {
        match self {
            // No CASCADE, and nothing that the server did not make for us: what was not made here must not go.
            Self::Drop { tables, sequences } => {
                let mut sql = unfinished::all("DROP TABLE IF EXISTS", &made.ours(tables));
                sql.extend(unfinished::all("DROP SEQUENCE IF EXISTS", &made.ours(sequences)));
                sql
            }
            // No TRUNCATE: it refuses a table that others refer to, and takes an extension's own rows along. Nor those that
            // somebody else has written meanwhile.
            Self::Empty(keys) => {
                let Some(transactions) = made.transactions() else { return Vec::new() };
                let delete =
                    |key: &TableKey| format!("DELETE FROM ONLY {} WHERE xmin = ANY ({transactions})", key.sql());
                let silently = "SET session_replication_role = replica".to_owned();
                std::iter::once(silently).chain(keys.iter().map(delete)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoing_names_exactly_what_was_made_and_never_cascades() {
        let tables = vec![TableKey::new("public", "a"), TableKey::new("Odd", "b")];
        let sequences = vec![TableKey::new("public", "a_id_seq")];
        let made = Made::of(&[tables.clone(), sequences.clone()].concat(), &[]);
        let undo = Undo::Drop { tables: tables.clone(), sequences };
        assert_eq!(
            undo.statements(&made).join("; "),
            "DROP TABLE IF EXISTS \"public\".\"a\", \"Odd\".\"b\"; DROP SEQUENCE IF EXISTS \"public\".\"a_id_seq\""
        );
        // The other one was there before ours could be made.
        assert_eq!(undo.statements(&Made::of(&tables[..1], &[])), ["DROP TABLE IF EXISTS \"public\".\"a\""]);
        assert!(undo.statements(&Made::default()).is_empty());
        let undo = Undo::Empty(vec![TableKey::new("public", "a")]);
        assert_eq!(
            undo.statements(&Made::of(&[], &[7, 9])).join("; "),
            "SET session_replication_role = replica; DELETE FROM ONLY \"public\".\"a\" WHERE xmin = ANY ('{7,9}'::xid[])"
        );
        assert!(undo.statements(&Made::default()).is_empty(), "no row was written");
    }
}
