//! The command line of what looks at recovery points, keeps and removes them.

use super::ClusterArgs;
use clap::Args;

/// `davit points`
#[derive(Debug, Args)]
#[command(after_help = "\
Verified is how deep the newest good verification looked (listed, stored, restored) and when.

Examples:
  davit points
  davit points shop --output json
  davit points --runs                               how the last runs ended, and why some left no point
  davit points --foreign s3://old-backups/daily/    dumps that another tool left, to restore by URL")]
pub struct PointsArgs {
    /// Only points of this source
    #[arg(value_name = "SOURCE", conflicts_with = "foreign")]
    pub source: Option<String>,
    /// List dumps that another tool left under this URL or in this directory
    #[arg(long, value_name = "URL|DIR")]
    pub foreign: Option<String>,
    /// Show how the newest runs ended, those that failed as well
    #[arg(long, conflicts_with = "foreign")]
    pub runs: bool,
}

/// After the help of `davit retain`.
pub(super) const RETAIN: &str = "\
The rules are in davit.yaml, such as retention: {daily: 30 days, weekly: 90 days, monthly: 1 year}; without rules \
nothing is ever removed. Held points and the newest verified point of a source always stay. On any doubt (a listing \
that fails, a manifest that cannot be read) nothing is removed. What --dry-run prints is what a run does.

The rows of a removed point stay in the store until davit sweep takes away what no point needs any more.

Examples:
  davit retain --dry-run                            which points would go, and why each other one stays
  davit retain";

/// After the help of `davit sweep`.
pub(super) const SWEEP: &str = "\
Works in two phases, so that a backup under way never loses what it is about to use: the first run marks the chunks \
that no point names, a later one removes those that are still not needed. What --dry-run prints is what a run does.

Examples:
  davit sweep --dry-run                             how much could be removed, and what it waits for
  davit sweep
  davit sweep --volume-snapshots                    and snapshots of the storage without a point";

/// `davit retain`
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Print what would be removed and why, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `davit sweep`
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Print what would be removed and why, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also remove what snapshots with --volumes csi left in this cluster's storage and no point names any more
    #[arg(long)]
    pub volume_snapshots: bool,
    /// Which cluster that is.
    #[command(flatten)]
    pub cluster: ClusterArgs,
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
#[command(after_help = "\
Examples:
  davit release shop@latest
  davit release 20261120T010000Z-k3f9ab             an id, as davit points prints it")]
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
