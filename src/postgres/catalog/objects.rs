//! What has a state of its own beside tables: sequences, large objects, extensions.

use super::database::Extension;
use super::{OF_USERS, readable};
use crate::error::Result;
use crate::postgres::fault::{Fault, classify};
use crate::postgres::quote;
use crate::postgres::session::Session;

/// How many sequences are read in one statement; each is a scan of its own.
const SEQUENCES_AT_ONCE: usize = 500;

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Its oid.
    pub oid: u32,
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// Whether it is unlogged; a standby cannot read such a one.
    pub unlogged: bool,
    /// Whether we may read it.
    pub readable: bool,
    /// Whether it belongs to an extension, which marked it as configuration.
    pub of_extension: bool,
    /// By how much it counts up, or down.
    pub increment: i64,
}

/// Where one sequence stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceValue {
    /// The sequence's oid.
    pub oid: u32,
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
}

/// All sequences that a dump holds, those of identity columns among them.
pub async fn sequences(session: &Session) -> Result<Vec<Sequence>> {
    let readable = readable("sequence");
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relpersistence = 'u', \
         {readable}, config.relid IS NOT NULL, \
         COALESCE((SELECT s.seqincrement FROM pg_catalog.pg_sequence s WHERE s.seqrelid = c.oid), 1) \
         FROM pg_catalog.pg_class c {OF_USERS} AND c.relkind = 'S' ORDER BY n.nspname, c.relname"
    );
    let rows = session.rows("listing sequences", &sql, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Sequence {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            unlogged: row.get(3),
            readable: row.get(4),
            of_extension: row.get(5),
            increment: row.get(6),
        })
        .collect())
}

/// Where these sequences stand now: they know no snapshots. One that is not there any more is left out, even if there is
/// another one of its name; so are unlogged ones on a standby. Called within a transaction, this keeps a lock on each.
pub async fn sequence_values(session: &Session, sequences: &[Sequence]) -> Result<Vec<SequenceValue>> {
    values(session, sequences, |fault| fault == Fault::Missing).await
}

/// The same, and those are left out, too, that somebody keeps locked for longer than the session's `lock_timeout`.
pub async fn sequence_values_unless_held(session: &Session, sequences: &[Sequence]) -> Result<Vec<SequenceValue>> {
    values(session, sequences, |fault| matches!(fault, Fault::Missing | Fault::Locked)).await
}

async fn values(session: &Session, sequences: &[Sequence], left_out: fn(Fault) -> bool) -> Result<Vec<SequenceValue>> {
    let readable: Vec<&Sequence> =
        sequences.iter().filter(|sequence| !(sequence.unlogged && session.is_standby())).collect();
    let explain = |error: &tokio_postgres::Error| session.explain(error, "reading sequences");
    let mut values = Vec::with_capacity(readable.len());
    for batch in readable.chunks(SEQUENCES_AT_ONCE) {
        match values_at_once(session, batch).await {
            Ok(found) => values.extend(found),
            // Which of them it is can only be found out by asking for each.
            Err(error) if left_out(classify(&error)) => {
                for one in batch.chunks(1) {
                    match values_at_once(session, one).await {
                        Ok(found) => values.extend(found),
                        Err(error) if left_out(classify(&error)) => {}
                        Err(error) => return Err(explain(&error)),
                    }
                }
            }
            Err(error) => return Err(explain(&error)),
        }
    }
    Ok(values)
}

async fn values_at_once(
    session: &Session,
    batch: &[&Sequence],
) -> std::result::Result<Vec<SequenceValue>, tokio_postgres::Error> {
    let select = |(i, sequence): (usize, &&Sequence)| {
        let name = quote::qualified(&sequence.schema, &sequence.name);
        let oid = sequence.oid;
        format!("SELECT {i}::pg_catalog.int4, last_value, is_called FROM {name} WHERE tableoid = {oid}")
    };
    let selects: Vec<String> = batch.iter().enumerate().map(select).collect();
    let rows = session.client.query(&selects.join(" UNION ALL "), &[]).await?;
    let value = |row: &tokio_postgres::Row| {
        let sequence = batch.get(usize::try_from(row.get::<_, i32>(0)).ok()?)?;
        let (schema, name) = (sequence.schema.clone(), sequence.name.clone());
        Some(SequenceValue { oid: sequence.oid, schema, name, last_value: row.get(1), is_called: row.get(2) })
    };
    Ok(rows.iter().filter_map(value).collect())
}

/// The large objects of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeObjects {
    /// Their oids, in order.
    pub oids: Vec<u32>,
    /// Whether we may read `pg_largeobject` itself; otherwise each object is asked for by `lo_get`.
    pub pages_readable: bool,
    /// Of the objects, those whose owner we are not and that we may not read, as far as can be told.
    pub unreadable: Vec<u32>,
}

/// The large objects, and whether we may read them.
pub async fn large_objects(session: &Session) -> Result<LargeObjects> {
    let doing = "listing large objects";
    let pages: bool = session
        .row(doing, "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')", &[])
        .await?
        .get(0);
    // A superuser, the owner's roles, and whoever was granted SELECT may read; that is what lo_open looks at.
    let rows = session
        .rows(
            doing,
            "SELECT l.oid, me.super OR pg_catalog.pg_has_role(l.lomowner, 'USAGE') OR EXISTS ( \
                 SELECT FROM pg_catalog.aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT' \
                 AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))) \
                 OR pg_catalog.current_setting('lo_compat_privileges')::bool \
             FROM pg_catalog.pg_largeobject_metadata l, \
                  (SELECT rolsuper AS super FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER) me ORDER BY l.oid",
            &[],
        )
        .await?;
    Ok(LargeObjects {
        oids: rows.iter().map(|row| row.get(0)).collect(),
        pages_readable: pages,
        unreadable: rows.iter().filter(|row| !row.get::<_, bool>(1)).map(|row| row.get(0)).collect(),
    })
}

/// The installed extensions; their configuration tables are among `tables`, with the condition on their rows.
pub async fn extensions(session: &Session) -> Result<Vec<Extension>> {
    let rows = session
        .rows(
            "listing extensions",
            "SELECT e.extname, e.extversion, n.nspname FROM pg_catalog.pg_extension e \
             JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| Extension { name: row.get(0), version: row.get(1), schema: row.get(2) }).collect())
}
