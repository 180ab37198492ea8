//! What the manifest says about a database beside its tables: how it was made, and what was left out.

use super::outlet::Outlet;
use super::request::{LeavesOut, Request};
use crate::backup::facts::{DatabaseFacts, ExtensionFacts, LeftOut, kind};
use crate::error::Result;
use crate::postgres::catalog::{self, Database, Extension, Table, TableKind};
use crate::postgres::session::Session;
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
