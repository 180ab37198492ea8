//! Signed tombstones: which points `retain` took away, so that a gap in a source's chain is told from a loss.
//!
//! A tombstone is written before anything of the point is removed. From then on the point does not exist, whatever
//! still lies in its folder; the next `retain` removes what a crash left there.

use crate::id::{PointId, RepositoryId, RunId, Sha256, SourceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The newest tombstone format this build reads and the only one it writes.
pub const FORMAT: u32 = 1;

/// One point that was taken away, with what its successor in the chain refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The point.
    pub point: PointId,
    /// Its place in the chain.
    pub sequence: u64,
    /// SHA-256 of its sealed manifest.
    pub manifest_sha256: Sha256,
    /// SHA-256 of the sealed manifest before it.
    pub previous: Option<Sha256>,
    /// The instant its content was of.
    pub snapshot_time: Timestamp,
    /// Why it went, in words.
    pub reason: String,
}

/// Why a point went that was sealed again as this one.
pub(super) fn resealed_as(point: &PointId) -> String {
    format!("sealed again as {point}")
}

/// What one run took away of one source: the record `tombstones/<source>/<run>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstones {
    /// [`FORMAT`].
    pub format: u32,
    /// The repository.
    pub repository: RepositoryId,
    /// The source.
    pub source: SourceName,
    /// The run that took them away.
    pub run: RunId,
    /// When, by the run's clock.
    pub made: Timestamp,
    /// The points.
    pub removed: Vec<Removed>,
}

impl Tombstones {
    /// Checks that they are what their name says, and of a format that this build reads; else tells what they are.
    pub fn lie_at(&self, source: &SourceName, run: &RunId) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("their format is {}, this davit knows {FORMAT}", self.format));
        }
        if self.source != *source || self.run != *run {
            return Err(format!("they say they are {}/{}", self.source, self.run));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_are_believed_only_where_they_were_put_and_in_a_known_format() {
        let made = Timestamp::from_second(1_800_000_000).unwrap();
        let source: SourceName = "shop".parse().unwrap();
        let run = RunId::at(made);
        let repository = RepositoryId([7; 16]);
        let stones =
            Tombstones { format: FORMAT, repository, source: source.clone(), run: run.clone(), made, removed: vec![] };
        assert_eq!(stones.lie_at(&source, &run), Ok(()));
        assert!(stones.lie_at(&source, &RunId::at(made)).is_err());
        assert!(stones.lie_at(&"wiki".parse().unwrap(), &run).is_err());
        let newer = Tombstones { format: FORMAT + 1, ..stones };
        assert_eq!(newer.lie_at(&source, &run).unwrap_err(), "their format is 2, this davit knows 1");
    }
}
