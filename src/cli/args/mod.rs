//! The command line as it is typed. What it means is settled elsewhere: see `config` and the files of the commands.

#![expect(clippy::doc_markdown, reason = "these comments are the help pages, where backticks would be seen")]
#![expect(clippy::struct_excessive_bools, reason = "each one is a flag that a person types")]
#![allow(rustdoc::bare_urls, reason = "these comments are the help pages")]

mod chaos;
mod drill;
mod manage;
mod observe;
mod point;
mod recover;
mod run;
mod snapshot;

pub use chaos::{
    CarrierCommand, ChaosAckArgs, ChaosCommand, ChaosInjectArgs, ChaosJanitorArgs, ChaosListArgs, ChaosRbacArgs,
    ChaosStopArgs, HelperArgs,
};
pub use drill::{DrillArgs, FormArg, ReportCheckArgs, ReportCommand, ReportDrillArgs, ReportMonthArgs};
pub use manage::{
    ConfigCommand, DoctorArgs, InitArgs, KeyCommand, KeyNewArgs, KeyRotateArgs, ObjectLockArg, SchemaArg,
};
pub use observe::ObserveArgs;
pub use point::{ExportArgs, HoldArgs, PointsArgs, ReleaseArgs, RemoveArgs, SweepArgs};
pub use recover::{ImportVeleroArgs, OnConflictArg, SnapshotDiffArgs, SnapshotImportCommand, SnapshotRestoreArgs};
pub use run::{BackupArgs, DepthArg, EngineArg, ProofArg, RestoreArgs, VerifyArgs};
pub use snapshot::{
    ClusterArgs, MoverCommand, ScopeArg, SnapshotCommand, SnapshotCreateArgs, SnapshotDepthArg, SnapshotShowArgs,
    SnapshotVerifyArgs, VolumesArg,
};

use crate::config::Overrides;
use crate::units::{Bytes, Span};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
The first five minutes:
  davit demo                                        see all of it on a throw-away server
  davit init                                        make a repository and its keys here
  davit backup postgres://localhost/shop            back up one database
  davit points                                      what there is to restore
  davit restore shop@latest --into postgres://localhost/shop_copy --create
  davit verify shop@latest --depth restored         prove that it can be restored
  davit snapshot create shop-frontend               save a Kubernetes namespace

Exit codes:
  0  done
  1  done, but a check failed: read the report
  2  bad input or settings; nothing was changed
  3  refused by a guard or preflight; nothing was changed
  4  failed; what was begun is undone
  5  stuck: a person is needed
  6  could not be decided";

/// Backs up PostgreSQL databases and Kubernetes namespaces to S3 or a directory, restores them, and proves the restore.
#[derive(Debug, Parser)]
#[command(
    name = "davit",
    version,
    after_help = EXAMPLES,
    styles = STYLES,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Where the backups are: s3://bucket/prefix, or a directory [env: DAVIT_REPOSITORY] [default: ./davit-repository]
    #[arg(long, global = true, value_name = "URL|DIR", help_heading = "Options of every command")]
    pub repository: Option<String>,
    /// Directory with writer.key and, for reading, reader.key [env: DAVIT_KEYS] [default: ./davit-keys]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Options of every command")]
    pub keys: Option<PathBuf>,
    /// Settings file [env: DAVIT_CONFIG] [default: ./davit.yaml, then /etc/davit/davit.yaml, if there is one]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of every command")]
    pub config: Option<PathBuf>,
    /// Form of the result on stdout
    #[arg(long, global = true, value_name = "FORM", default_value = "text", help_heading = "Options of every command")]
    pub output: OutputForm,
    /// Tell more on stderr (-vv: everything) [env: DAVIT_LOG, such as davit=debug]
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Options of every command")]
    pub verbose: u8,
    /// Print this page
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort, help_heading = "Options of every command")]
    pub help: Option<bool>,
}

/// Form of the result on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    /// For people.
    #[default]
    Text,
    /// One document with a schema_version; see docs/json.md.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What needs the settings.
    #[command(flatten)]
    Work(Work),
    /// Show settings with their sources, or check them
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// The commands that need the settings.
#[derive(Debug, Subcommand)]
pub enum Work {
    /// Make the repository and its keys
    Init(InitArgs),
    /// Make one recovery point of a source
    Backup(BackupArgs),
    /// Save Kubernetes namespaces and look at what was saved
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// List recovery points
    Points(PointsArgs),
    /// Restore a recovery point, or a dump that another tool left
    Restore(RestoreArgs),
    /// Prove that recovery points are whole and can be restored
    Verify(VerifyArgs),
    /// Remove the recovery points that the retention rules let go
    #[command(after_help = point::RETAIN)]
    Retain(RemoveArgs),
    /// Remove chunks that no recovery point needs any more
    #[command(after_help = point::SWEEP)]
    Sweep(SweepArgs),
    /// Keep a recovery point whatever the retention rules say
    Hold(HoldArgs),
    /// Let the retention rules have a held recovery point again
    Release(ReleaseArgs),
    /// Show, make, rotate and check keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look for what would make a backup or a restore fail
    Doctor(DoctorArgs),
    /// Break something on purpose, prove it, and undo it
    #[command(subcommand)]
    Chaos(ChaosCommand),
    /// Break something on purpose and measure, from the client, how it comes back
    Drill(Box<DrillArgs>),
    /// Report a drill or a month, and check the signature of a report
    #[command(subcommand)]
    Report(ReportCommand),
    /// Write a recovery point as plain SQL that stock psql loads
    Export(ExportArgs),
    /// See a backup, a disaster and a proven restore on a throw-away server
    Demo(DemoArgs),
    /// Watch a service and write down what was seen
    #[command(hide = true)]
    Observe(ObserveArgs),
    /// Move the files of a volume; runs in the pods that davit snapshot makes
    #[command(subcommand, hide = true)]
    Mover(MoverCommand),
    /// Carry a fault; runs in the pods that davit chaos makes
    #[command(subcommand, hide = true)]
    Carrier(CarrierCommand),
}

/// `davit demo`
#[derive(Debug, Args)]
#[command(after_help = "\
Needs a PostgreSQL server installation on this machine (Debian: apt-get install postgresql), but no running \
server, no settings and no network. Takes under a minute. Everything it makes stays in one directory, which \
it names; its server is stopped and removed, also after Ctrl-C.

Examples:
  davit demo
  davit demo --directory /tmp/davit-demo")]
pub struct DemoArgs {
    /// Where to leave the demo's repository, keys and reports [default: a new directory ./davit-demo…]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// `davit completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  davit completions bash > /etc/bash_completion.d/davit
  davit completions zsh > ~/.zfunc/_davit")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}

impl Cli {
    /// The command tree, for help pages and completions.
    pub fn tree() -> clap::Command {
        Self::command()
    }

    /// What the command line says about settings.
    pub fn overrides(&self) -> Overrides {
        let mut overrides = Overrides {
            config: self.global.config.clone(),
            repository: self.global.repository.clone(),
            keys: self.global.keys.clone(),
            ..Overrides::default()
        };
        match &self.command {
            Command::Work(Work::Backup(args)) => {
                overrides.jobs = args.jobs;
                overrides.limit_rate = args.limit_rate;
                overrides.lock_budget = args.lock_budget;
                overrides.snapshot_budget = args.snapshot_budget;
            }
            Command::Work(Work::Restore(args)) => {
                overrides.jobs = args.jobs;
                overrides.limit_rate = args.limit_rate;
            }
            Command::Work(Work::Verify(args)) => {
                overrides.jobs = args.jobs;
                overrides.limit_rate = args.limit_rate;
            }
            _ => {}
        }
        overrides
    }
}

/// Reads `--jobs`.
fn jobs(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(jobs @ 1..=64) => Ok(jobs),
        _ => Err("write a number from 1 to 64".to_owned()),
    }
}

/// Reads a size.
fn bytes(text: &str) -> Result<Bytes, String> {
    text.parse()
}

/// Reads a length of time.
fn span(text: &str) -> Result<Span, String> {
    text.parse()
}
