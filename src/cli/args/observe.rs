//! The command line of an observer that is a process of its own. Drills start it; people hardly ever do.

use super::run::secret;
use crate::secret::Secret;
use clap::Args;
use std::path::PathBuf;

/// `davit observe`
#[derive(Debug, Args)]
#[command(after_help = "\
Drills run this command elsewhere, so that a service is watched from where its users are. It writes one JSON line for \
each probe, stall and gap, until it is stopped; docs/json.md lists them. A line on standard input asks what its clock \
reads. With --plan - the first line says what to do, and the end of standard input ends it: this is how drills call it.")]
pub struct ObserveArgs {
    /// The streams, as a JSON list, @FILE with one, or - for a drill that says them on standard input
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub plan: String,
    /// The observer's name in its log
    #[arg(long, value_name = "NAME", default_value = "observer")]
    pub name: String,
    /// Append the log to this file instead of writing it to standard output
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The database that SQL streams ask [env: DAVIT_OBSERVE_DATABASE, for a URL with a password]
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub database: Option<Secret>,
    /// The run whose table SQL streams write into
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Which observer of the run this is: no two write the same ids
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..1_000_000), default_value_t = 1)]
    pub number: u32,
    /// Keep the ledger of what is written in this file, instead of in the log; then the ids begin at 0
    #[arg(long, value_name = "FILE", requires = "run")]
    pub ledger: Option<PathBuf>,
    /// What the rows of the ledger contain follows from this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
}
