//! The command line of the verbs that move data: backup, restore, verify.

use crate::backup::take::EngineChoice;
use crate::secret::Secret;
use crate::units::{Bytes, Span};
use clap::{Args, ValueEnum};
use std::convert::Infallible;
use std::path::PathBuf;

use super::snapshot::ClusterArgs;
use super::{bytes, jobs, span};

/// Takes any text without showing it in an error: URLs carry passwords.
#[expect(clippy::unnecessary_wraps, reason = "this is the form of a value parser")]
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Reads `--expect-seq`.
fn sequence(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write the sequence number that davit backup printed".to_owned())
}

/// `davit backup`
#[derive(Debug, Args)]
#[command(after_help = "\
The backup is done when its signature is in the repository; until then nothing of it counts. Chunks that are \
in the repository already are not stored again. Ctrl-C ends it cleanly.

Examples:
  davit backup shop                                 a source of davit.yaml
  davit backup postgres://backup@db.example.com/shop
  davit backup shop --dry-run                       what would be read
  davit backup shop --tier monthly --output json")]
pub struct BackupArgs {
    /// A source that davit.yaml names, or postgres://user@host/database (then the source is called by its database)
    #[arg(value_name = "SOURCE|URL", value_parser = secret)]
    pub source: Secret,
    /// How many tables or ranges to read at once [env: DAVIT_JOBS] [default: one per core, at most 4]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<u32>,
    /// Keep this point by the retention rule of this tier only, not by any that fits
    #[arg(long, value_name = "TIER", value_parser = ["hourly", "daily", "weekly", "monthly", "yearly"])]
    pub tier: Option<String>,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to read the rows; auto is parallel where that keeps its promises [default: auto, or what davit.yaml says]
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<EngineArg>,
    /// Leave out this table, definition and rows (schema.table; * stands for anything; may be repeated)
    #[arg(long, value_name = "S.T")]
    pub exclude_table: Vec<String>,
    /// Leave out the rows of this table, keep its definition (may be repeated)
    #[arg(long, value_name = "S.T")]
    pub exclude_rows: Vec<String>,
    /// Read at most so many bytes per second, and store at most so many, such as 20MiB [env: DAVIT_LIMIT_RATE]
    #[arg(long, value_name = "RATE", value_parser = bytes)]
    pub limit_rate: Option<Bytes>,
    /// Give way when somebody waits behind our locks for longer than this [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub lock_budget: Option<Span>,
    /// Give up when the snapshot has been held for longer than this: it keeps vacuum from cleaning up [default: 12h]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub snapshot_budget: Option<Span>,
    /// This source is another database now, and that is intended: bind its name to the new one
    #[arg(long)]
    pub rebind: bool,
    /// The source has no tables any more, and that is intended
    #[arg(long)]
    pub allow_empty: bool,
}

/// How rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// Whichever keeps its promises.
    Auto,
    /// Many streams of one snapshot.
    Parallel,
    /// One `pg_dump`, cut into chunks as it comes.
    Stream,
}

impl From<EngineArg> for EngineChoice {
    fn from(engine: EngineArg) -> Self {
        match engine {
            EngineArg::Auto => Self::Auto,
            EngineArg::Parallel => Self::Parallel,
            EngineArg::Stream => Self::Stream,
        }
    }
}

/// `davit restore`
#[derive(Debug, Args)]
#[command(after_help = "\
POINT is an id (see davit points), SOURCE@latest, SOURCE@latest-verified (the newest proven at depth restored), or \
SOURCE@2026-11-20T01:00:00Z (the newest at or before). A dump that another tool left is named by its s3:// URL or path: .sql, .sql.gz, .sql.zst, \
or .dump (custom format, with --trust). It is checked before the target is touched, and psql is never used.

Examples:
  davit restore shop@latest --into postgres://localhost/shop --create
  davit restore shop@latest --into postgres://localhost/shop --replace shop
  davit restore shop@2026-11-20T01:00:00Z --into postgres://localhost/rescue --table public.orders
  davit restore s3://old/daily/shop_20260124_010000.sql.gz --into postgres://localhost/shop --create
  davit restore shop@latest --into postgres://localhost/shop --create --dry-run")]
pub struct RestoreArgs {
    /// A recovery point, or the URL or path of a dump that another tool left
    #[arg(value_name = "POINT|DUMP")]
    pub from: String,
    /// The database to restore into; it must be empty, or see --create and --replace
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub into: Secret,
    /// Make the database that --into names
    #[arg(long)]
    pub create: bool,
    /// Restore beside the database of this name and then swap; must repeat the name that --into gives
    #[arg(long, value_name = "NAME", conflicts_with = "create")]
    pub replace: Option<String>,
    /// Only this table (schema.table; may be repeated)
    #[arg(long, value_name = "S.T")]
    pub table: Vec<String>,
    /// Only definitions, no rows
    #[arg(long, conflicts_with = "data_only")]
    pub schema_only: bool,
    /// Only rows, into tables that are there
    #[arg(long)]
    pub data_only: bool,
    /// How to prove the restore: sums of what was sent, or of what is read back from the restored tables
    #[arg(long, value_name = "PROOF", default_value = "read-back")]
    pub proof: ProofArg,
    /// How many things to do at once [env: DAVIT_JOBS] [default: one per core, at most 4]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<u32>,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also make the roles and tablespaces that the point brings along
    #[arg(long)]
    pub with_globals: bool,
    /// Give to role b what belonged to role a (may be repeated)
    #[arg(long, value_name = "a=b")]
    pub role_map: Vec<String>,
    /// Everything belongs to the role that restores
    #[arg(long)]
    pub no_owner: bool,
    /// Do not restore GRANT and REVOKE
    #[arg(long)]
    pub no_privileges: bool,
    /// Put everything into the default tablespace
    #[arg(long)]
    pub no_tablespaces: bool,
    /// Restore what is whole, list what is lost, and exit 1
    #[arg(long)]
    pub allow_damage: bool,
    /// Believe a custom-format archive (.dump) that Davit did not sign: reading one can run what its maker put in
    #[arg(long)]
    pub trust: bool,
    /// Which database of a point or dump that holds several
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Refuse if the newest point of this source has a lower sequence number (davit backup prints it): then newer
    /// points were taken away
    #[arg(long, value_name = "N", value_parser = sequence)]
    pub expect_seq: Option<u64>,
    /// Most bytes per second from the store, such as 50MiB [env: DAVIT_LIMIT_RATE]
    #[arg(long, value_name = "RATE", value_parser = bytes)]
    pub limit_rate: Option<Bytes>,
}

/// What a proof compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProofArg {
    /// Each chunk's sum, and the row count that the server confirms.
    Sent,
    /// Counts and sums recomputed from the restored tables.
    ReadBack,
}

/// `davit verify`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["point", "all"])))]
#[command(after_help = "\
The three depths, each of which includes the one before:
  listed     every object that the point names is in the repository, with its size
  stored     every object's SHA-256 is right
  restored   restored into a throw-away server (or --into), read back and compared, row by row

A point of a namespace is restored into a scratch namespace, as davit snapshot verify does, if --context or --kubeconfig \
says of which cluster; else it counts as stored, and that is said. The output of a command is never more than stored.

Damage is reported as object, table, chunk and rows; then the exit code is 1. What could not be decided (a missing \
extension, no disk space) is exit 6, never \"verified\". The evidence is signed and stored beside the point.

Examples:
  davit verify shop@latest --depth stored
  davit verify shop@latest --depth restored --check orders-have-customers.sql
  davit verify --all --depth stored --sample 5%")]
pub struct VerifyArgs {
    /// A recovery point: an id, SOURCE@latest, or SOURCE@TIME
    #[arg(value_name = "POINT")]
    pub point: Option<String>,
    /// Every recovery point
    #[arg(long)]
    pub all: bool,
    /// How deep to look
    #[arg(long, value_name = "DEPTH", default_value = "stored")]
    pub depth: DepthArg,
    /// SQL that must return no rows, or one true, in the restored database (a file; may be repeated)
    #[arg(long, value_name = "FILE")]
    pub check: Vec<PathBuf>,
    /// Look only at this share of the chunks, drawn at random
    #[arg(long, value_name = "N%")]
    pub sample: Option<String>,
    /// Restore into a new database of this server instead of a throw-away one; it is dropped afterwards
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub into: Option<Secret>,
    /// How many things to do at once [env: DAVIT_JOBS] [default: one per core, at most 4]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<u32>,
    /// Most bytes per second from the store, such as 50MiB [env: DAVIT_LIMIT_RATE]
    #[arg(long, value_name = "RATE", value_parser = bytes)]
    pub limit_rate: Option<Bytes>,
    /// Which cluster points of namespaces are restored into.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How deep a verification looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DepthArg {
    /// Every object is there with its size.
    Listed,
    /// Every object's SHA-256 is right.
    Stored,
    /// Restored, read back and compared.
    Restored,
}
