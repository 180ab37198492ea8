//! A note in a database that a restore changes in place: should the restore be killed, the next one says what it left.
//!
//! The note is an empty schema whose comment says what is being brought. Nothing is ever dropped because of it: by the
//! time it is read, somebody may have begun to use what is there.

use super::names::TableKey;
use crate::error::{Error, Result};
use crate::id::{PointId, SourceName};
use crate::postgres::{ConnInfo, Session, connect, quote};
use jiff::Timestamp;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The names of such schemas begin so.
const PREFIX: &str = "davit_restore_";

/// Their comments begin so.
const MARK: &str = "davit: restore in progress ";

/// What is being brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) point: PointId,
    pub(super) source: SourceName,
    pub(super) begun: Timestamp,
    /// Whether the tables were there, and empty; otherwise they are being made.
    pub(super) fills: bool,
    pub(super) tables: Vec<TableKey>,
    /// Sequences that are being made.
    pub(super) sequences: Vec<TableKey>,
}

/// The note of a restore that was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    schema: String,
    note: Note,
    /// Those of its tables that are there.
    there: Vec<TableKey>,
    /// Those of its sequences that are there.
    sequences: Vec<TableKey>,
}

/// The note of a restore under way.
pub(super) struct Unfinished {
    session: Session,
    schema: String,
}

/// Takes the lock that says that a run is alive; it shares it with its other sessions.
pub(super) async fn hold(session: &Session, lock: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_advisory_lock_shared(pg_catalog.hashtextextended($1, 0))";
    session.row("telling others that this restore is alive", sql, &[&lock]).await.map(drop)
}

/// What killed restores have left in this database; refused while one is alive.
pub(super) async fn find(session: &Session) -> Result<Vec<Left>> {
    let doing = "looking for restores that were killed";
    let sql = "SELECT n.nspname::text, pg_catalog.obj_description(n.oid, 'pg_namespace'), \
               pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(n.nspname::text, 0)) \
               FROM pg_catalog.pg_namespace n WHERE n.nspname ~ '^davit_restore_[a-z]{6}$' ORDER BY 1";
    let mut found = Vec::new();
    for row in session.rows(doing, sql, &[]).await? {
        let (schema, comment, dead): (String, Option<String>, bool) = (row.get(0), row.get(1), row.get(2));
        let note = comment.as_deref().and_then(|text| text.strip_prefix(MARK)).map(serde_json::from_str::<Note>);
        // Whatever is called so without such a comment is somebody else's.
        let Some(Ok(note)) = note else { continue };
        if !dead {
            let database = session.conn().database();
            return Err(Error::refused(format!("a restore {} into database {database} is under way", note.of()))
                .hint("wait until it has ended"));
        }
        let there = super::in_place::present(session, &note.tables).await?;
        let sequences = super::in_place::present(session, &note.sequences).await?;
        found.push(Left { schema, note, there, sequences });
    }
    Ok(found)
}

/// What the killed restores have to do with a table that is in the way.
pub(super) fn explain(error: Error, table: &TableKey, left: &[Left]) -> Error {
    match left.iter().find(|left| left.relations().any(|there| there == table)) {
        Some(left) => Error::new(error.kind(), format!("{error}: {}", left.describe())).hint(left.way_out()),
        None => error,
    }
}

impl Note {
    fn of(&self) -> String {
        format!("of point {} of {}, begun at {}", self.point, self.source, self.begun)
    }
}

impl Left {
    /// The note's schema.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Whether all that may be left of it is among `tables`, which were found to be as they must be.
    pub(super) fn is_settled_by(&self, tables: &[TableKey]) -> bool {
        self.relations().all(|table| tables.contains(table))
    }

    /// What it left, and what to do about it.
    pub(super) fn warning(&self) -> String {
        format!("{}; {}", self.describe(), self.way_out())
    }

    fn relations(&self) -> impl Iterator<Item = &TableKey> {
        self.there.iter().chain(&self.sequences)
    }

    fn describe(&self) -> String {
        let tables: Vec<String> = self.relations().map(ToString::to_string).collect();
        let left = if self.note.fills { "rows may be left in" } else { "it left" };
        format!("a restore {} was killed, and {left} {}", self.note.of(), tables.join(", "))
    }

    fn way_out(&self) -> String {
        let verb = if self.note.fills { "TRUNCATE" } else { "DROP TABLE" };
        let mut sql = all(verb, &self.there);
        sql.extend(all("DROP SEQUENCE IF EXISTS", &self.sequences));
        let (sql, schema) = (sql.join("; "), quote::ident(&self.schema));
        format!("if nobody uses what is there: {sql}; and in any case: DROP SCHEMA {schema}")
    }
}

impl Unfinished {
    /// Writes the note, after those that are settled are taken away.
    pub(super) async fn begin(conn: &ConnInfo, note: &Note, settled: &[String]) -> Result<Self> {
        let doing = "noting in the database what is being restored";
        let session = writing(conn).await?;
        let letters: String = (0..6).map(|_| char::from(rand::rng().random_range(b'a'..=b'z'))).collect();
        let schema = format!("{PREFIX}{letters}");
        // The lock says that we are alive; it must not end before us.
        session.execute(doing, "SET idle_session_timeout = 0").await?;
        hold(&session, &schema).await?;
        let text = serde_json::to_string(note).map_err(|error| Error::failed(doing).because(error))?;
        let mut sql: Vec<String> = settled.iter().map(|schema| drop_schema(schema)).collect();
        sql.push(format!("CREATE SCHEMA {}", quote::ident(&schema)));
        sql.push(format!(
            "COMMENT ON SCHEMA {} IS {}",
            quote::ident(&schema),
            quote::literal(&format!("{MARK}{text}"))
        ));
        // Several statements in one message are one transaction.
        session.execute(doing, &sql.join("; ")).await?;
        Ok(Self { session, schema })
    }

    /// The lock that says that this run is alive, for its other sessions.
    pub(super) fn lock(&self) -> String {
        self.schema.clone()
    }

    /// The statement that takes the note away.
    pub(super) fn statement(&self) -> String {
        drop_schema(&self.schema)
    }

    /// Takes the note away.
    pub(super) async fn end(self, conn: &ConnInfo) -> Result<()> {
        let session = if self.session.is_closed() { writing(conn).await? } else { self.session };
        let done = session.execute("taking the note of this restore away", &drop_schema(&self.schema)).await;
        session.close().await;
        done
    }
}

/// A session that may write, whatever its role and its database are set to begin with.
pub(super) async fn writing(conn: &ConnInfo) -> Result<Session> {
    let session = Box::pin(connect(conn, "restore")).await?;
    session.execute("preparing a session that writes", "SET default_transaction_read_only = off").await?;
    Ok(session)
}

/// A statement over all of these, if there are any.
pub(super) fn all(verb: &str, keys: &[TableKey]) -> Vec<String> {
    let names: Vec<String> = keys.iter().map(TableKey::sql).collect();
    if names.is_empty() { Vec::new() } else { vec![format!("{verb} {}", names.join(", "))] }
}

fn drop_schema(schema: &str) -> String {
    format!("DROP SCHEMA IF EXISTS {}", quote::ident(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(fills: bool) -> Left {
        let tables = vec![TableKey::new("public", "a"), TableKey::new("public", "b")];
        let note = Note {
            point: PointId::at(Timestamp::UNIX_EPOCH),
            source: "shop".parse().unwrap(),
            begun: Timestamp::UNIX_EPOCH,
            fills,
            tables: tables.clone(),
            sequences: vec![],
        };
        Left { schema: "davit_restore_abcdef".to_owned(), note, there: tables, sequences: vec![] }
    }

    #[test]
    fn a_killed_restore_is_told_with_what_it_left_and_the_way_out() {
        let made = left(false);
        let text = explain(
            Error::refused("public.a is there already"),
            &TableKey::new("public", "a"),
            std::slice::from_ref(&made),
        );
        assert!(text.to_string().contains("begun at 1970-01-01T00:00:00Z was killed, and it left public.a, public.b"));
        let hint = text.hint_text().unwrap();
        assert!(hint.contains("DROP TABLE \"public\".\"a\", \"public\".\"b\"; and in any case: DROP SCHEMA"), "{hint}");
        assert!(left(true).warning().contains("TRUNCATE"));
        let other = explain(Error::refused("public.c is there already"), &TableKey::new("public", "c"), &[made]);
        assert_eq!(other.to_string(), "public.c is there already");
    }

    #[test]
    fn a_note_is_settled_when_nothing_else_of_it_is_there() {
        let tables = [TableKey::new("public", "b"), TableKey::new("public", "a")];
        assert!(left(true).is_settled_by(&tables));
        assert!(!left(true).is_settled_by(&tables[..1]));
    }
}
