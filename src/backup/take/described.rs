//! What the manifest says about a database beside its tables: how it was made, what was left out, where its sequences
//! stood.

use super::outlet::Outlet;
use super::request::{LeavesOut, Request};
use crate::backup::facts::{DatabaseFacts, ExtensionFacts, LeftOut, SequenceFacts, SequenceValue, kind};
use crate::error::{Error, Result};
use crate::postgres::catalog::{self, Database, Extension, Sequence, Table, TableKind};
use crate::postgres::session::Session;
use crate::postgres::{Fault, classify};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Why a table's rows are not taken; `None` where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// It has none of its own, or they live elsewhere.
    NoRows,
    /// On request.
    LeftOut(LeavesOut),
    /// It is unlogged, and nobody asked for such rows.
    Unlogged,
    /// It is unlogged, and this is a standby, which has no such rows.
    UnloggedOnStandby,
}

/// Whether and why a table's rows are not taken.
pub(crate) fn not_read(table: &Table, request: &Request, standby: bool) -> Option<NotRead> {
    if let Some(how) = request.leaves_out(&table.schema, &table.name) {
        return Some(NotRead::LeftOut(how));
    }
    match table {
        Table { kind: TableKind::Partitioned | TableKind::Foreign, .. } => Some(NotRead::NoRows),
        Table { unlogged: true, .. } if standby => Some(NotRead::UnloggedOnStandby),
        Table { unlogged: true, .. } if !request.include_unlogged => Some(NotRead::Unlogged),
        _ => None,
    }
}

/// What is left out of a database, as the manifest and the plan say it.
pub(crate) fn left_out(tables: &[Table], request: &Request, standby: bool) -> Vec<LeftOut> {
    tables
        .iter()
        .filter_map(|table| {
            let rows_only = match not_read(table, request, standby)? {
                NotRead::LeftOut(how) => how == LeavesOut::Rows,
                NotRead::Unlogged | NotRead::UnloggedOnStandby => true,
                NotRead::NoRows => return None,
            };
            Some(LeftOut { table: table.qualified(), rows_only })
        })
        .collect()
}

/// What no backup of this database holds, in words.
pub(crate) async fn not_included(session: &Session, tables: &[Table]) -> Result<Vec<String>> {
    let mut notes = catalog::not_included(session, tables).await?;
    let unlogged = tables.iter().filter(|table| table.unlogged && session.is_standby());
    notes
        .extend(unlogged.map(|table| format!("rows of the unlogged table {} (a standby has none)", table.qualified())));
    Ok(notes)
}

/// A database as it is at the beginning of its backup.
pub(crate) struct Subject<'a> {
    /// A connection to it.
    pub(crate) session: &'a Session,
    /// Its tables.
    pub(crate) tables: &'a [Table],
    /// The settings under which rows are read.
    pub(crate) settings: &'a BTreeMap<String, String>,
    /// Where the log stands.
    pub(crate) lsn: Option<&'a str>,
    /// The instant its rows are of.
    pub(crate) taken: Timestamp,
}

/// Describes a database in an object of its own; gives its name.
pub(crate) async fn describe(subject: &Subject<'_>, request: &Request, outlet: &Outlet) -> Result<String> {
    let Subject { session, tables, .. } = subject;
    let database = catalog::database_facts(session).await?;
    let extensions = catalog::extensions(session).await?;
    let mut facts = facts(database, extensions);
    facts.lsn = subject.lsn.map(str::to_owned);
    facts.snapshot_time = Some(subject.taken);
    facts.session_settings.clone_from(subject.settings);
    facts.left_out = left_out(tables, request, session.is_standby());
    facts.not_included = not_included(session, tables).await?;
    let object = outlet.object(kind::DATABASE, facts.database.clone());
    outlet.end_object(&object, &facts).await?;
    Ok(facts.database)
}

fn facts(database: Database, extensions: Vec<Extension>) -> DatabaseFacts {
    DatabaseFacts {
        database: database.name,
        oid: database.oid,
        owner: database.owner,
        encoding: database.encoding,
        collate: database.collate,
        ctype: database.ctype,
        locale_provider: database.locale_provider,
        provider_locale: database.provider_locale,
        icu_rules: database.icu_rules,
        collation_version: database.collation_version,
        tablespace: database.tablespace,
        connection_limit: database.connection_limit,
        comment: database.comment,
        privileges: database.privileges,
        settings: database.settings,
        extensions: extensions
            .into_iter()
            .map(|Extension { name, version, schema }| ExtensionFacts { name, version, schema })
            .collect(),
        roles: database.roles,
        lsn: None,
        snapshot_time: None,
        session_settings: BTreeMap::new(),
        left_out: Vec::new(),
        not_included: Vec::new(),
    }
}

/// The sequences of a snapshot, and where they stood when it was taken.
pub(crate) struct Sequences {
    sequences: Vec<Sequence>,
    at_first: Vec<catalog::SequenceValue>,
}

impl Sequences {
    /// Lists the sequences and reads them a first time.
    pub(crate) async fn list(session: &Session, tables: &[Table], request: &Request) -> Result<Self> {
        let sequences = sequences(session, tables, request).await?;
        let at_first = catalog::sequence_values(session, &sequences).await?;
        Ok(Self { sequences, at_first })
    }

    /// Reads them again, after all rows: they know no snapshots, and none may be behind the rows that used it. One that
    /// was dropped meanwhile keeps its first value.
    pub(crate) async fn read_last(self, session: &Session, database: &str, outlet: &Outlet) -> Result<u64> {
        let mut sequences = Vec::with_capacity(self.sequences.len());
        for value in last_values(session, &self.sequences, self.at_first).await? {
            let catalog::SequenceValue { schema, name, last_value, is_called } = value;
            sequences.push(SequenceValue { schema, name, last_value, is_called });
        }
        let count = sequences.len() as u64;
        let object = outlet.object(kind::SEQUENCES, format!("sequences of {database}"));
        outlet.end_object(&object, &SequenceFacts { database: database.to_owned(), sequences }).await?;
        Ok(count)
    }
}

/// The sequences that are taken: not those of a table that is left out.
///
/// # Errors
/// One of them cannot be read, and would start again at its beginning after a restore.
pub(crate) async fn sequences(session: &Session, tables: &[Table], request: &Request) -> Result<Vec<Sequence>> {
    let left_out = left_out_sequences(session, tables, request).await?;
    let mut sequences = catalog::sequences(session).await?;
    sequences.retain(|sequence| !left_out.contains(&sequence.oid));
    refuse_unreadable(&sequences)?;
    Ok(sequences)
}

/// The sequences that belong to tables which are left out.
async fn left_out_sequences(session: &Session, tables: &[Table], request: &Request) -> Result<Vec<u32>> {
    let owners: Vec<u32> = left_out_tables(tables, request).map(|table| table.oid).collect();
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT d.objid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid \
               WHERE c.relkind = 'S' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY ($1) \
               AND d.deptype IN ('a', 'i')";
    let rows = session.rows("listing sequences of tables that are left out", sql, &[&owners]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tables that are left out with their definition.
fn left_out_tables<'a>(tables: &'a [Table], request: &Request) -> impl Iterator<Item = &'a Table> {
    tables.iter().filter(|table| request.leaves_out(&table.schema, &table.name) == Some(LeavesOut::Table))
}

/// What `pg_dump` is told to leave out: these tables, and their sequences, which it would dump as if they were alone.
pub(crate) async fn left_out_names(session: &Session, tables: &[Table], request: &Request) -> Result<Vec<String>> {
    let mut names: Vec<String> = left_out_tables(tables, request).map(Table::qualified).collect();
    let left_out = left_out_sequences(session, tables, request).await?;
    if !left_out.is_empty() {
        let sequences = catalog::sequences(session).await?;
        let left_out = sequences.iter().filter(|sequence| left_out.contains(&sequence.oid));
        names.extend(left_out.map(|s| crate::postgres::quote::qualified(&s.schema, &s.name)));
    }
    Ok(names)
}

async fn last_values(
    session: &Session,
    sequences: &[Sequence],
    at_first: Vec<catalog::SequenceValue>,
) -> Result<Vec<catalog::SequenceValue>> {
    if let Ok(values) = catalog::sequence_values(session, sequences).await {
        return Ok(values);
    }
    // One of them is gone; nothing locks a sequence. Which one is found out by asking for each.
    let mut values = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        match session.client.query(&read_one(sequence), &[]).await {
            Ok(rows) => values.extend(rows.first().map(|row| catalog::SequenceValue {
                schema: sequence.schema.clone(),
                name: sequence.name.clone(),
                last_value: row.get(0),
                is_called: row.get(1),
            })),
            Err(error) if classify(&error) == Fault::Missing => {
                let same = |value: &&catalog::SequenceValue| {
                    (value.schema.as_str(), value.name.as_str()) == (sequence.schema.as_str(), sequence.name.as_str())
                };
                values.extend(at_first.iter().find(same).cloned());
            }
            Err(error) => return Err(session.explain(&error, "reading sequences")),
        }
    }
    Ok(values)
}

fn read_one(sequence: &Sequence) -> String {
    format!("SELECT last_value, is_called FROM {}", crate::postgres::quote::qualified(&sequence.schema, &sequence.name))
}

fn refuse_unreadable(sequences: &[Sequence]) -> Result<()> {
    match sequences.iter().find(|sequence| !sequence.readable) {
        Some(Sequence { schema, name, .. }) => {
            Err(Error::refused(format!("reading sequences: no privilege on {schema}.{name}"))
                .hint("GRANT SELECT ON ALL SEQUENCES IN SCHEMA, or back up as a member of pg_read_all_data"))
        }
        None => Ok(()),
    }
}
