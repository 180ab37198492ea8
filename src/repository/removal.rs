//! Tombstones in the store: signed, put before anything of a point goes away, and read when a chain has a gap.

use super::catalogue::{Entry, PointSummary};
use super::minisign::prehash;
use super::record::{Privacy, RecordError};
use super::tombstone::{FORMAT, Removed, Tombstones};
use super::{Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Result};
use crate::id::{PointId, RunId, SourceName};
use crate::store::{ObjectKey, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;

impl Repository {
    /// Says, signed, that `run` takes these points of `source` away, each for a reason. Their objects may go after
    /// this, and only after this.
    pub async fn entomb(&self, source: &SourceName, run: &RunId, points: &[(PointSummary, String)]) -> Result<()> {
        let removed: Vec<Removed> = points.iter().map(|(point, reason)| removed(point, reason)).collect();
        let stones = Tombstones {
            format: FORMAT,
            repository: self.id(),
            source: source.clone(),
            run: run.clone(),
            made: self.clock().now(),
            removed: removed.clone(),
        };
        let put = self.put_record(&layout::tombstones(source, run), Privacy::Open, &stones, None).await;
        put.map_err(|error| Error::from(error).during(format!("putting the tombstones of run {run}")))?;
        self.append_to_catalogue(source, removed.into_iter().map(Entry::Removed).collect()).await
    }

    /// Every point of `source` that was taken away.
    pub async fn tombstones(&self, source: &SourceName) -> Result<BTreeMap<PointId, Removed>> {
        let (found, damaged) = self.all_tombstones(source).await?;
        for (key, what) in damaged {
            tracing::warn!(%key, %what, "tombstones are damaged and not believed");
        }
        Ok(found)
    }

    /// The same, with the objects that cannot be believed and why.
    pub(super) async fn all_tombstones(
        &self,
        source: &SourceName,
    ) -> Result<(BTreeMap<PointId, Removed>, Vec<(ObjectKey, String)>)> {
        let prefix = format!("tombstones/{source}/");
        let mut runs: Vec<RunId> = Vec::new();
        let mut entries = self.store().list(&prefix);
        while let Some(entry) =
            entries.try_next().await.map_err(failed(format!("listing the tombstones of {source}")))?
        {
            let name = entry.key.as_str().strip_prefix(&prefix).unwrap_or_default();
            runs.extend(name.parse::<RunId>());
        }
        drop(entries);
        let mut all = BTreeMap::new();
        let mut damaged = Vec::new();
        let mut read = futures_util::stream::iter(runs)
            .map(|run| async move { self.tombstones_of(source, &run).await })
            .buffered(SIDE_BY_SIDE);
        while let Some(found) = read.next().await {
            match found? {
                Ok(stones) => all.extend(stones.removed.into_iter().map(|removed| (removed.point.clone(), removed))),
                Err(damage) => damaged.push(damage),
            }
        }
        drop(read);
        Ok((all, damaged))
    }

    async fn tombstones_of(
        &self,
        source: &SourceName,
        run: &RunId,
    ) -> Result<std::result::Result<Tombstones, (ObjectKey, String)>> {
        let key = layout::tombstones(source, run);
        let body = match self.store().get(&key, None).await {
            Ok(object) => object.body,
            Err(StoreError::NotFound(_)) => return Ok(Err((key, "it is missing".to_owned()))),
            Err(error) => return Err(failed(format!("reading {key}"))(error)),
        };
        let (stones, signature, signed) = match self.open_envelope::<Tombstones>(&key, &body) {
            Ok(opened) => opened,
            Err(RecordError::Damaged { what, .. }) => return Ok(Err((key, what))),
            Err(error) => return Err(error.into()),
        };
        // A writer that is retired by now removed points in its time; those of later numbers were not its to remove.
        let newest = stones.removed.iter().map(|removed| removed.sequence).max().unwrap_or(0);
        let prehash = prehash(&signed);
        if !self.signed_for(source, newest, |signer| signature.is_by(signer, &prehash)) {
            return Ok(Err((key, "nobody who may sign for this repository signed it".to_owned())));
        }
        Ok(stones.lie_at(source, run).map(|()| stones).map_err(|what| (key, what)))
    }
}

fn removed(point: &PointSummary, reason: &str) -> Removed {
    Removed {
        point: point.link.point.clone(),
        sequence: point.link.sequence,
        manifest_sha256: point.link.manifest_sha256,
        previous: point.link.previous,
        snapshot_time: point.snapshot_time,
        reason: reason.to_owned(),
    }
}
