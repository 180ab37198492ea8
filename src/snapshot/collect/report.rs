//! What a snapshot says of itself when it is done; `--output json` prints it as it is.

use crate::id::{PointId, RunId, SourceName};
use crate::journal::Phase;
use crate::repository::manifest::Amounts;
use crate::snapshot::facts::{HookOutcome, KindCoverage, Missing, OutputPoint};
use crate::snapshot::volumes::VolumeFacts;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// A committed point of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SnapshotReport {
    /// Its id.
    pub point: PointId,
    /// Its source.
    pub source: SourceName,
    /// The run that made it.
    pub run: RunId,
    /// Its place in the source's chain.
    pub sequence: u64,
    /// SHA-256 of its sealed manifest.
    pub manifest_sha256: String,
    /// The namespace.
    pub namespace: String,
    /// The address of the API server.
    pub server: String,
    /// The instant of its lists, in words of a clock …
    pub snapshot_time: Timestamp,
    /// … and of the cluster.
    pub resource_version: String,
    /// Whether everything that should be in it is.
    pub complete: bool,
    /// What should be in it and is not.
    pub missing: Vec<Missing>,
    /// Objects, related ones included.
    pub objects: u64,
    /// Of these, cluster-scoped ones that the namespace leans on.
    pub related: u64,
    /// Of these, made by a controller that is in the point, too.
    pub derived: u64,
    /// Each kind that has objects or a word to say.
    pub kinds: Vec<KindCoverage>,
    /// Objects and kinds that were left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Points of their own, of what commands in pods wrote.
    pub outputs: Vec<OutputPoint>,
    /// What was run before and after.
    pub hooks: Vec<HookOutcome>,
    /// Volumes whose files it holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeFacts>,
    /// How much it holds.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// How long it took.
    pub seconds: f64,
    /// How long each stage took.
    pub phases: Vec<Phase>,
    /// Every object of the point was seen in the store with its size after the commit.
    pub verified_listed: bool,
    /// What was odd.
    pub warnings: Vec<String>,
}
