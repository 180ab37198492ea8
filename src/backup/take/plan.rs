//! What a backup is going to do, found out by looking; nothing is changed, and nothing is locked for longer than a look.

use super::described::{self, NotRead, not_read};
use super::grid::Grid;
use super::pattern::TablePattern;
use super::preflight;
use super::request::{Databases, Request};
use crate::backup::facts::{Engine, LeftOut};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::id::SourceName;
use crate::postgres::catalog::{self, Identity, Table};
use crate::postgres::pooler::refuse_pooler;
use crate::postgres::session::{Session, prepare_data_session};
use crate::postgres::tools::Tools;
use crate::postgres::{ConnInfo, connect};
use crate::repository::Repository;
use serde::Serialize;

/// The page size by which a plan estimates; the run asks the server.
const PAGE_BYTES: u64 = 8192;

/// A backup to be taken.
#[derive(Debug, Clone, Serialize)]
pub struct BackupPlan {
    /// The source.
    pub source: SourceName,
    /// The server, without its password.
    pub server: String,
    /// `server_version_num`, such as 150012.
    pub server_version_num: u32,
    /// Whether it is a standby.
    pub standby: bool,
    /// The client programs, and where they are.
    pub client_version: String,
    /// Which engine.
    pub engine: Engine,
    /// Why, where it is not what was asked for.
    pub engine_reason: Option<String>,
    /// Connections that read rows.
    pub jobs: usize,
    /// The databases.
    pub databases: Vec<DatabasePlan>,
    /// What is odd.
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub(crate) request: Request,
    #[serde(skip)]
    pub(crate) tools: Tools,
    /// What the source is bound to.
    pub(crate) identity: String,
    #[serde(skip)]
    pub(crate) system_identifier: String,
    /// Where the cluster's roles are dumped from.
    #[serde(skip)]
    pub(crate) conn: ConnInfo,
    /// Whether the passwords of roles cannot be read there.
    #[serde(skip)]
    pub(crate) passwords_hidden: bool,
}

/// One database of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct DatabasePlan {
    /// Its name.
    pub database: String,
    /// Its tables, the biggest first.
    pub tables: Vec<TablePlan>,
    /// Its sequences.
    pub sequences: usize,
    /// Its large objects.
    pub large_objects: usize,
    /// What is left out on request.
    pub left_out: Vec<LeftOut>,
    /// What no backup of it holds, in words.
    pub not_included: Vec<String>,
    #[serde(skip)]
    pub(crate) conn: ConnInfo,
}

/// One table of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TablePlan {
    /// As SQL writes it.
    pub table: String,
    /// Its rows, as far as the server has counted them.
    pub rows_estimate: Option<u64>,
    /// Its heap, as far as the server has measured it.
    pub bytes_estimate: u64,
    /// In how many ranges it is read.
    pub ranges: u32,
    /// Why its rows are not read; `None` where they are.
    pub not_read: Option<String>,
}

impl BackupPlan {
    /// Tables whose rows will be read.
    pub fn tables(&self) -> usize {
        let read = |database: &DatabasePlan| database.tables.iter().filter(|table| table.not_read.is_none()).count();
        self.databases.iter().map(read).sum()
    }

    /// Bytes of heap that will be read, about.
    pub fn bytes_estimate(&self) -> u64 {
        let tables = self.databases.iter().flat_map(|database| &database.tables);
        tables.filter(|table| table.not_read.is_none()).map(|table| table.bytes_estimate).sum()
    }

    /// Rows that will be read, about.
    pub fn rows_estimate(&self) -> u64 {
        let tables = self.databases.iter().flat_map(|database| &database.tables);
        tables.filter(|table| table.not_read.is_none()).filter_map(|table| table.rows_estimate).sum()
    }
}

/// Looks at the server and the repository and says what a backup would do, or why it will not be done.
pub async fn plan(request: Request, repository: &Repository) -> Result<BackupPlan> {
    Box::pin(look(request, repository)).await
}

async fn look(request: Request, repository: &Repository) -> Result<BackupPlan> {
    let clock = repository.clock();
    preflight::refuse_skewed_clock(repository.store(), clock).await?;
    refuse_pooler(&request.connection).await?;
    let session = connect(&request.connection, "preflight").await?;
    prepare_data_session(&session).await?;
    let tools = Tools::find(session.major(), &request.tool_dirs, request.path.as_deref())?;
    let identity = catalog::identity(&session).await?;
    let conn = session.conn().clone();
    let mut warnings = first_warnings(&session, &tools, &identity, clock).await?;
    let passwords_hidden = preflight::passwords_are_hidden(&session).await?;
    warnings.extend(passwords_hidden.then(|| preflight::WITHOUT_PASSWORDS.to_owned()));
    let names = database_names(&request, &session).await?;
    let patterns = request.exclude.iter().chain(&request.exclude_rows).collect();
    let mut look = Look { decision: None, warnings: Vec::new(), patterns, request: &request, clock };
    let mut databases = Vec::with_capacity(names.len());
    for name in &names {
        databases.push(look.database(&conn.with_database(name)).await.map_err(|e| of_several(e, &names, name))?);
    }
    warnings.append(&mut look.warnings);
    warnings.extend(look.patterns.iter().map(|it| format!("{it} leaves nothing out: no table is called like that")));
    let decision = look.decision.ok_or_else(|| Error::input(format!("backing up {}: no database", request.source)))?;
    let (server_version_num, standby) = (session.version_num(), session.is_standby());
    session.close().await;
    Ok(BackupPlan {
        source: request.source.clone(),
        server: conn.describe(),
        server_version_num,
        standby,
        client_version: tools.version().to_string(),
        engine: decision.engine,
        engine_reason: decision.reason,
        jobs: decision.jobs,
        databases,
        warnings,
        identity: identity_text(&request, &identity),
        system_identifier: identity.system_identifier,
        request,
        tools,
        conn,
        passwords_hidden,
    })
}

/// What the source is bound to: one database of one cluster, or the cluster where it is several.
fn identity_text(request: &Request, identity: &Identity) -> String {
    let Identity { system_identifier, database_oid, .. } = identity;
    match request.databases {
        Databases::Connected => format!("postgresql:{system_identifier}/{database_oid}"),
        Databases::Listed(_) | Databases::All => format!("postgresql:{system_identifier}"),
    }
}

fn of_several(error: Error, names: &[String], name: &str) -> Error {
    if names.len() > 1 { error.during(format!("looking at database {name}")) } else { error }
}

async fn database_names(request: &Request, session: &Session) -> Result<Vec<String>> {
    match &request.databases {
        Databases::Connected => Ok(vec![session.conn().database().to_owned()]),
        Databases::All => catalog::databases(session).await,
        Databases::Listed(names) if names.is_empty() => {
            Err(Error::input(format!("backing up {}: its list of databases is empty", request.source)))
        }
        Databases::Listed(names) => {
            let mut names = names.clone();
            names.sort();
            names.dedup();
            Ok(names)
        }
    }
}

async fn first_warnings(
    session: &Session,
    tools: &Tools,
    identity: &Identity,
    clock: &SharedClock,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if !identity.certain {
        let id = &identity.system_identifier;
        warnings.push(format!("the server does not tell its system identifier; the source is bound to {id} instead"));
    }
    warnings.extend(preflight::server_clock_warning(session, clock).await?);
    if tools.version().major > session.major() {
        let (have, want) = (tools.version(), session.major());
        warnings.push(format!(
            "definitions are written by PostgreSQL {have} from a server {want}; a client of version {want} is preferred"
        ));
    }
    Ok(warnings)
}

/// The look at one database after the other.
struct Look<'a> {
    decision: Option<preflight::Decision>,
    warnings: Vec<String>,
    /// Patterns that have met no table yet.
    patterns: Vec<&'a TablePattern>,
    request: &'a Request,
    clock: &'a SharedClock,
}

impl Look<'_> {
    async fn database(&mut self, conn: &ConnInfo) -> Result<DatabasePlan> {
        let session = connect(conn, "preflight").await?;
        prepare_data_session(&session).await?;
        let request = self.request;
        let tables = catalog::tables(&session).await?;
        preflight::refuse_unreadable(&tables, request, session.is_standby())?;
        self.patterns.retain(|it| !tables.iter().any(|table| it.matches(&table.schema, &table.name)));
        let (sequences, large_objects) = preflight::count_state(&session, &tables, request).await?;
        let decision = preflight::decide(&session, session.conn(), &tables, request).await?;
        // All databases of a point are read by one engine: the one that can do every one of them.
        if self.decision.as_ref().is_none_or(|before| {
            (before.engine == Engine::Parallel && decision.engine == Engine::Stream) || decision.jobs < before.jobs
        }) {
            self.decision = Some(decision);
        }
        let jobs = self.decision.as_ref().map_or(1, |decision| decision.jobs);
        let mut plan: Vec<TablePlan> = tables.iter().map(|t| table_plan(t, request, session.is_standby())).collect();
        plan.sort_by_key(|table| std::cmp::Reverse(table.bytes_estimate));
        if let Some(standby) = catalog::standby(&session).await? {
            let bytes = plan.iter().map(|table| table.bytes_estimate).sum();
            self.warnings.extend(preflight::standby_warning(&standby, bytes, jobs));
        }
        tracing::debug!(at = %self.clock.now(), database = conn.database(), tables = plan.len(), "looked at a database");
        let plan = DatabasePlan {
            database: session.conn().database().to_owned(),
            tables: plan,
            sequences,
            large_objects,
            left_out: described::left_out(&tables, request, session.is_standby()),
            not_included: described::not_included(&session, &tables).await?,
            conn: session.conn().clone(),
        };
        session.close().await;
        Ok(plan)
    }
}

fn table_plan(table: &Table, request: &Request, standby: bool) -> TablePlan {
    let bytes_estimate = table.pages_estimate * PAGE_BYTES;
    let why = not_read(table, request, standby);
    let ranges = match why {
        Some(_) => 0,
        None if table.has_page_ranges() => Grid::choose(bytes_estimate, 0).ranges(table.pages_estimate),
        None => 1,
    };
    TablePlan {
        table: table.qualified(),
        rows_estimate: table.rows_estimate,
        bytes_estimate,
        ranges,
        not_read: why.map(|why| in_words(why, table).to_owned()),
    }
}

fn in_words(why: NotRead, table: &Table) -> &'static str {
    use super::request::LeavesOut;
    use crate::postgres::catalog::TableKind;
    match why {
        NotRead::NoRows if table.kind == TableKind::Foreign => "its rows live on another server",
        NotRead::NoRows => "its rows are in its partitions",
        NotRead::LeftOut(LeavesOut::Table) => "left out on request",
        NotRead::LeftOut(LeavesOut::Rows) => "its rows are left out on request",
        NotRead::Unlogged => "unlogged, and left out on request",
        NotRead::UnloggedOnStandby => "unlogged, and this is a standby",
    }
}
