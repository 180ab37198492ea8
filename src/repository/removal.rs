//! Tombstones in the store: signed, put before anything of a point goes away, and read when a chain has a gap.

use super::catalogue::{Entry, PointSummary};
use super::minisign::{Signature, prehash};
use super::tombstone::{FORMAT, Removed, Tombstones};
use super::{Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Result};
use crate::id::{PointId, RunId, SourceName};
use crate::store::{ObjectKey, Put, StoreError};
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
        let (key, signature_key) = layout::tombstones(source, run);
        let bytes = stones.bytes()?;
        let signature = self.signer()?.sign(&prehash(&bytes), &self.tombstone_comment(&key));
        // Without its signature the first object is garbage; with it, both are there.
        for (key, body) in [(&key, bytes), (&signature_key, signature.into_bytes())] {
            self.store().put_new(key, Put::new(body)).await.map_err(failed(format!("putting {key}")))?;
        }
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
            runs.extend(name.strip_suffix(".sig").unwrap_or(name).parse::<RunId>());
        }
        drop(entries);
        runs.sort();
        runs.dedup();
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
        let (key, signature_key) = layout::tombstones(source, run);
        let get = |key: ObjectKey| async move {
            match self.store().get(&key, None).await {
                Ok(object) => Ok(Some((object.body, object.meta.modified))),
                Err(StoreError::NotFound(_)) => Ok(None),
                Err(error) => Err(failed(format!("reading {key}"))(error)),
            }
        };
        let (body, signature) = futures_util::try_join!(get(key.clone()), get(signature_key.clone()))?;
        let Some((body, _)) = body else { return Ok(Err((key, "it is missing".to_owned()))) };
        let Some((signature, modified)) = signature else {
            return Ok(Err((signature_key, "it is missing".to_owned())));
        };
        let signature = std::str::from_utf8(&signature).ok().and_then(Signature::parse);
        let believed = signature.is_some_and(|signature| {
            let prehash = prehash(&body);
            signature.trusted() == self.tombstone_comment(&key)
                && self.signed_at(modified, |signer| signature.is_by(signer, &prehash))
        });
        if !believed {
            return Ok(Err((key, "nobody who may sign for this repository signed it".to_owned())));
        }
        let stones = Tombstones::parse(source, run, &body).map_err(|error: Error| (key, error.to_string()));
        Ok(stones)
    }

    fn tombstone_comment(&self, key: &ObjectKey) -> String {
        format!("davit tombstones repository={} object={key}", self.id())
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
