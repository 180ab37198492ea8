//! The lines of a ledger: JSON, and a sum over it, so that half a line or a line of old bytes is never taken for one.

use crate::observation::{Attempt, Outcome};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// The version of the lines; a reader refuses what is newer.
pub(super) const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// The first one.
    Began {
        /// The version of the lines.
        format: u32,
        /// What rows contain follows from it.
        seed: u64,
        /// The first id.
        from: u64,
        /// Whether it travels in an observer's log, whose end may be lost, and does not lie on a disk.
        travels: bool,
    },
    /// These ids may be tried from now on.
    Block {
        /// The first one.
        from: u64,
        /// One past the last.
        until: u64,
    },
    /// What became of a write: id, outcome, nanoseconds when it was sent and when its end was seen.
    Write(u64, Outcome, u64, u64, Place),
}

/// Where a write lies, as far as the server said it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Its transaction.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) xid: Option<u64>,
    /// The timeline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) tl: Option<u32>,
    /// The end of the log before its commit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) lsn: Option<u64>,
}

impl Line {
    /// The line of an attempt.
    pub(super) fn of(attempt: &Attempt) -> Self {
        let place = Place { xid: attempt.xid, tl: attempt.timeline, lsn: attempt.lsn.map(|(before, _)| before) };
        Self::Write(attempt.id, attempt.outcome, nanos(attempt.invoked), nanos(attempt.ended), place)
    }

    /// The line with its sum and its line feed.
    pub(super) fn text(&self) -> String {
        // Only a map with keys that are no strings could fail, and there is none.
        let json = serde_json::to_string(self).unwrap_or_default();
        let sum = sum(json.as_bytes());
        format!("{json} {sum:08x}\n")
    }

    /// Reads a line without its line feed; `None` where it is not whole.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let (json, sum_text) = line.split_at_checked(line.len().checked_sub(9)?)?;
        let stated = u32::from_str_radix(std::str::from_utf8(sum_text.strip_prefix(b" ")?).ok()?, 16).ok()?;
        if stated != sum(json) {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough against accidents")]
fn sum(json: &[u8]) -> u32 {
    xxh3_64(json) as u32
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
