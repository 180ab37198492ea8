//! Signed tombstones: which points `retain` took away, so that a gap in a source's chain is told from a loss.
//!
//! A tombstone is written before anything of the point is removed. From then on the point does not exist, whatever
//! still lies in its folder; the next `retain` removes what a crash left there.

use crate::error::{Context, Error, Kind, Result};
use crate::id::{PointId, RepositoryId, RunId, Sha256, SourceName};
use crate::store::ObjectKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The newest tombstone format this build reads and the only one it writes.
pub const FORMAT: u32 = 1;

/// The folder of tombstones.
pub const TOMBSTONES: &str = "tombstones/";

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

/// What one run took away of one source: the object `tombstones/<source>/<run>`, signed beside it.
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
    /// Where they lie; the signature is the same name with `.sig`.
    pub fn key(source: &SourceName, run: &RunId) -> Result<ObjectKey> {
        ObjectKey::new(format!("{TOMBSTONES}{source}/{run}"))
            .context(Kind::Failed, || format!("naming the tombstones of {source}"))
    }

    /// The object that holds them.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context(Kind::Failed, || format!("writing the tombstones of {}", self.source))
    }

    /// Reads those that lie at `source` and `run`, after their signature was checked.
    pub fn parse(source: &SourceName, run: &RunId, bytes: &[u8]) -> Result<Self> {
        let doing = || format!("reading tombstones {source}/{run}");
        let found: Self = serde_json::from_slice(bytes).context(Kind::Failed, doing)?;
        if found.format != FORMAT {
            return Err(
                Error::failed(doing()).because(format!("their format is {}, this davit knows {FORMAT}", found.format))
            );
        }
        if found.source != *source || found.run != *run {
            return Err(Error::failed(doing()).because(format!("they say they are {}/{}", found.source, found.run)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_read_back_only_where_they_were_put() {
        let made = Timestamp::from_second(1_800_000_000).unwrap();
        let removed = Removed {
            point: PointId::at(made),
            sequence: 3,
            manifest_sha256: Sha256([1; 32]),
            previous: Some(Sha256([2; 32])),
            snapshot_time: made,
            reason: "older than 30 days".to_owned(),
        };
        let source: SourceName = "shop".parse().unwrap();
        let stones = Tombstones {
            format: FORMAT,
            repository: RepositoryId([7; 16]),
            source: source.clone(),
            run: RunId::at(made),
            made,
            removed: vec![removed],
        };
        let bytes = stones.bytes().unwrap();
        assert_eq!(Tombstones::parse(&source, &stones.run, &bytes).unwrap(), stones);
        assert!(Tombstones::parse(&source, &RunId::at(made), &bytes).is_err());
    }
}
