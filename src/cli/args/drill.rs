//! The command line of drills and their reports.

use super::HelperArgs;
use crate::report::render::Form;
use crate::scenario::Override;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Reads `--set`.
fn replaced(text: &str) -> Result<Override, String> {
    text.parse()
}

/// `davit drill`
#[derive(Debug, Args)]
#[command(after_help = "\
A drill looks at the steady state, injects one failure with its way back durable first, watches the recovery from the \
client's side, compares every acknowledged write, puts everything back and looks. Figures come with their error. If the \
steady state is not met, or the fault is not proven, the run is invalid and proves nothing.

Exit 0: every objective met; 1: one missed; 3: a guard refused, nothing was changed; 5: not proven to be put back; \
6: undecided or invalid.

Examples:
  davit drill scenarios/primary-crash-async.yaml --dry-run      victims, guards and steps; nothing is changed
  davit drill scenarios/primary-crash-async.yaml --report reports/
  davit drill scenarios/lock-storm.yaml --seed 42 --set fault.lasts=10s
  davit drill scenarios/web-pod-kill.yaml --repeat 5            five runs, each at another moment")]
pub struct DrillArgs {
    /// A scenario file (davit config schema scenario says what is in one)
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where victims and the moment of the injection come from: the same seed hits the same ones [default: a fresh one, printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Run it so many times, one after the other; a run that is not put back ends the series
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Put a value in place of the scenario's, such as objectives.rto=5m or target.in=cluster (may be repeated)
    #[arg(long, value_name = "K=V", value_parser = replaced)]
    pub set: Vec<Override>,
    /// Also write the report into this directory: JSON, HTML, Markdown, text, JUnit and OpenMetrics, each with a signature
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// The name of a production target, again
    #[arg(long, value_name = "NAME", help_heading = "Guards")]
    pub confirm: Option<String>,
    /// Lift a guard for this run, by its name (may be repeated); it is recorded
    #[arg(long, value_name = "GUARD", help_heading = "Guards")]
    pub lift: Vec<String>,
    /// Which cluster, and what carries faults in it.
    #[command(flatten)]
    pub helper: HelperArgs,
}

/// `davit report …`
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Make the report of a drill again, from its stored journal alone
    Drill(ReportDrillArgs),
    /// Report a month: coverage, objectives, actions, backups
    Month(ReportMonthArgs),
    /// Check the signature of a report's file
    Check(ReportCheckArgs),
}

/// `davit report drill`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  davit report drill 20261120T020000Z-k3f9ab
  davit report drill 20261120T020000Z-k3f9ab --format html > drill.html")]
pub struct ReportDrillArgs {
    /// The run, as davit drill prints it
    #[arg(value_name = "RUN")]
    pub run: String,
    /// In which form
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub format: FormArg,
}

/// `davit report month`
#[derive(Debug, Args)]
#[command(after_help = "\
What is missing is shown as missing: a fault that was tried somewhere and never validly on this service, a source \
that was never restored. There are no averages and no trends: every run is a dot.

Examples:
  davit report month 2026-11
  davit report month 2026-11 --format html > november.html")]
pub struct ReportMonthArgs {
    /// Which month, such as 2026-11
    #[arg(value_name = "YYYY-MM")]
    pub month: String,
    /// In which form
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub format: FormArg,
    /// Also write it into this directory in every form, each with a signature
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// `davit report check`
#[derive(Debug, Args)]
#[command(after_help = "\
The signature lies beside the file, with .minisig at its end; stock minisign checks it, too. Exit 1 if the file was \
changed, or if nobody who may sign for this repository signed it.

Examples:
  davit report check reports/drill-20261120T020000Z-k3f9ab.html")]
pub struct ReportCheckArgs {
    /// The report
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormArg {
    /// For a terminal.
    Text,
    /// For a pull request or a wiki.
    Markdown,
    /// One file that opens offline.
    Html,
    /// The canonical one.
    Json,
    /// For a build server.
    Junit,
    /// For a monitoring system.
    Openmetrics,
}

impl From<FormArg> for Form {
    fn from(form: FormArg) -> Self {
        match form {
            FormArg::Text => Self::Text,
            FormArg::Markdown => Self::Markdown,
            FormArg::Html => Self::Html,
            FormArg::Json => Self::Json,
            FormArg::Junit => Self::Junit,
            FormArg::Openmetrics => Self::OpenMetrics,
        }
    }
}
