//! What a backup says of itself when it is done; `--output json` prints it as it is.

use crate::backup::facts::Engine;
use crate::id::{PointId, RunId, SourceName};
use crate::journal::Phase;
use crate::repository::manifest::Amounts;
use jiff::Timestamp;
use serde::Serialize;

/// A committed point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupReport {
    /// Its id.
    pub point: PointId,
    /// Its source.
    pub source: SourceName,
    /// The run that made it.
    pub run: RunId,
    /// Its place in the source's chain: worth keeping where nobody who can write to the store can reach it.
    pub sequence: u64,
    /// SHA-256 of its sealed manifest.
    pub manifest_sha256: String,
    /// The instant its rows are of (of the first database, if there are several).
    pub snapshot_time: Timestamp,
    /// Which engine read it, and why if it was not the one asked for.
    pub engine: Engine,
    /// Why this engine.
    pub engine_reason: Option<String>,
    /// The databases.
    pub databases: Vec<String>,
    /// Tables whose rows are in it.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Sequences.
    pub sequences: u64,
    /// How much it holds.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// How long it took.
    pub seconds: f64,
    /// How long each stage took.
    pub phases: Vec<Phase>,
    /// Connections that read rows.
    pub jobs: usize,
    /// How long the longest-held snapshot was held, in seconds.
    pub snapshot_seconds_max: f64,
    /// How old a snapshot became at most, in transactions.
    pub xmin_age_max: u64,
    /// Every object of the point was seen in the store with its size after the commit.
    pub verified_listed: bool,
    /// What was odd.
    pub warnings: Vec<String>,
}
