//! The command line of what looks at recovery points, keeps and removes them.

use clap::Args;

/// `davit points`
#[derive(Debug, Args)]
#[command(after_help = "\
Verified is how deep the newest good verification looked (listed, stored, restored) and when.

Examples:
  davit points
  davit points shop --output json
  davit points --foreign s3://old-backups/daily/    dumps that another tool left, to restore by URL")]
pub struct PointsArgs {
    /// Only points of this source
    #[arg(value_name = "SOURCE", conflicts_with = "foreign")]
    pub source: Option<String>,
    /// List dumps that another tool left under this URL or in this directory
    #[arg(long, value_name = "URL|DIR")]
    pub foreign: Option<String>,
}

/// `davit retain` and `davit sweep`
#[derive(Debug, Args)]
#[command(after_help = "\
What --dry-run prints is what a run does. Held points, the newest verified point of a source and what runs under way \
may need are never removed. On any doubt (a listing that fails, a manifest that cannot be read) nothing is removed.

retain removes points by the retention rules of davit.yaml; sweep then removes the chunks that no point names, in two \
phases: the first run marks them, a later one removes what is still not needed.")]
pub struct RemoveArgs {
    /// Print what would be removed and why, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `davit hold`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  davit hold shop@latest --reason \"before the migration of 21 November\"
  davit release shop@latest")]
pub struct HoldArgs {
    /// A recovery point: an id, SOURCE@latest, or SOURCE@TIME
    #[arg(value_name = "POINT")]
    pub point: String,
    /// Why it is kept; shown by davit points
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `davit release`
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// A recovery point: an id, SOURCE@latest, or SOURCE@TIME
    #[arg(value_name = "POINT")]
    pub point: String,
}

/// `davit export`
#[derive(Debug, Args)]
#[command(after_help = "\
The SQL goes to stdout, so it needs no room on this machine. It is whole only if davit exits 0 and the last line \
says that the dump is complete.

Examples:
  davit export shop@latest > shop.sql
  davit export shop@latest | psql -X -v ON_ERROR_STOP=1 postgres://localhost/empty_database")]
pub struct ExportArgs {
    /// A recovery point: an id, SOURCE@latest, or SOURCE@TIME
    #[arg(value_name = "POINT")]
    pub point: String,
    /// Which database of a point that holds several
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
}
