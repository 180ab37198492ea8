//! What is asked of a backup.

use super::pattern::TablePattern;
use crate::error::{Error, Result};
use crate::id::{RunId, SourceName};
use crate::postgres::ConnInfo;
use crate::repository::lease::TERM;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The most jobs that are taken by default: with more, the buffers of all of them would not fit into 256 MiB.
pub const MOST_DEFAULT_JOBS: usize = 4;

/// How many transactions old a snapshot may become by default: a quarter of the way to where PostgreSQL stops taking
/// writes.
pub const XMIN_AGE_BUDGET: u64 = 500_000_000;

/// Which databases of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Databases {
    /// The one that the connection names.
    Connected,
    /// These.
    Listed(Vec<String>),
    /// All that accept connections and are no templates.
    All,
}

/// Which engine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The parallel one; the other where preflight finds that it cannot keep its promises.
    #[default]
    Auto,
    /// Many COPY streams of one snapshot, or a refusal.
    Parallel,
    /// One `pg_dump`.
    Stream,
}

impl FromStr for EngineChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "parallel" => Ok(Self::Parallel),
            "stream" => Ok(Self::Stream),
            _ => Err(Error::input(format!("reading {text:?} as an engine")).hint("auto, parallel or stream")),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Parallel => "parallel",
            Self::Stream => "stream",
        })
    }
}

/// What a point must hold at least; less, and it is not committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinContent {
    /// Tables.
    pub tables: u64,
    /// Rows of all tables together.
    pub rows: u64,
    /// Bytes of rows as COPY text.
    pub bytes: u64,
}

/// What to back up, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// What its user calls it.
    pub source: SourceName,
    /// The server, and the database where only one is meant.
    pub connection: ConnInfo,
    /// Which databases.
    pub databases: Databases,
    /// Which engine.
    pub engine: EngineChoice,
    /// How many connections read rows; `None` is one per core, at most [`MOST_DEFAULT_JOBS`].
    pub jobs: Option<usize>,
    /// The only retention tier that may keep the point.
    pub tier: Option<String>,
    /// Tables that are left out with all that is theirs.
    pub exclude: Vec<TablePattern>,
    /// Tables whose definition is kept and whose rows are left out.
    pub exclude_rows: Vec<TablePattern>,
    /// Whether the rows of unlogged tables are taken.
    pub include_unlogged: bool,
    /// Bytes of COPY text per second, for all connections together.
    pub limit_rate: Option<u64>,
    /// How long a snapshot may be held: it keeps vacuum from cleaning up in the whole database.
    pub snapshot_budget: Duration,
    /// How many transactions old the snapshot may become.
    pub xmin_age_budget: u64,
    /// How long somebody may wait behind our locks, and we behind others'.
    pub lock_budget: Duration,
    /// What the point must hold at least.
    pub min_content: MinContent,
    /// Bind the source's name to another database than before.
    pub rebind: bool,
    /// Accept that a source that had tables has none any more.
    pub allow_empty: bool,
    /// Until when the point is locked in the store at least.
    pub lock_until: Option<Timestamp>,
    /// Where PostgreSQL's client programs are, before the usual places are looked at.
    pub tool_dirs: Vec<PathBuf>,
    /// The text of `PATH`.
    pub path: Option<String>,
    /// The run, where it has a name already.
    pub run: Option<RunId>,
    /// Who runs this (host and process), for a second runner's message.
    pub holder: String,
    /// How long this run, if it dies, keeps the next one of its source waiting.
    pub lease_term: Duration,
}

impl Request {
    /// A backup of what `connection` names, with everything else at its default.
    pub fn new(source: SourceName, connection: ConnInfo) -> Self {
        Self {
            source,
            connection,
            databases: Databases::Connected,
            engine: EngineChoice::Auto,
            jobs: None,
            tier: None,
            exclude: Vec::new(),
            exclude_rows: Vec::new(),
            include_unlogged: true,
            limit_rate: None,
            // Twelve hours of dead rows hurt; so does a run that nobody misses.
            snapshot_budget: Duration::from_hours(12),
            xmin_age_budget: XMIN_AGE_BUDGET,
            lock_budget: Duration::from_secs(30),
            min_content: MinContent::default(),
            rebind: false,
            allow_empty: false,
            lock_until: None,
            tool_dirs: Vec::new(),
            path: None,
            run: None,
            holder: "davit".to_owned(),
            lease_term: TERM,
        }
    }

    /// How many connections read rows.
    pub fn wanted_jobs(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        self.jobs.unwrap_or(cores.min(MOST_DEFAULT_JOBS)).max(1)
    }

    /// Whether and how a table is left out on request.
    pub(crate) fn leaves_out(&self, schema: &str, table: &str) -> Option<LeavesOut> {
        let named = |patterns: &[TablePattern]| patterns.iter().any(|pattern| pattern.matches(schema, table));
        if named(&self.exclude) {
            return Some(LeavesOut::Table);
        }
        named(&self.exclude_rows).then_some(LeavesOut::Rows)
    }
}

/// How a table is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeavesOut {
    /// With its definition.
    Table,
    /// Only its rows.
    Rows,
}
