//! One write and what became of it, as far as its writer could know.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a write ended, as far as its writer could know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The commit was acknowledged, and the acknowledgement is on the observer's disk.
    Ok,
    /// It was certainly not applied.
    Fail,
    /// Nobody can know: no answer, a broken connection, a cancelled wait for a standby.
    Unknown,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Unique among all writes of a run.
    pub id: u64,
    /// What was written; the final read must show the same.
    pub payload: u64,
    /// When it was sent.
    pub invoked: Duration,
    /// When its end was seen.
    pub ended: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The timeline of the server that acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeline: Option<u32>,
    /// Positions in the write-ahead log, read before and after the commit: where the commit lies.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lsn: Option<(u64, u64)>,
    /// Its transaction.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub xid: Option<u64>,
}
