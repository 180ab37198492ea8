//! Sealing a point again for the present readers, so that an older reader key can be thrown away.
//!
//! Nothing is overwritten: the result is a new point of the same instant at the end of the chain, and a tombstone says
//! that the old one is replaced by it. Evidence is bound to a manifest and does not come along: verify the new point.

use super::manifest::{Chunk, Line, Range};
use super::tombstone::resealed_as;
use super::writer::{BeginPoint, Committed, PointWriter};
use super::{FetchError, PointSummary, Repository};
use crate::error::{Error, Result};
use crate::id::RunId;
use futures_util::{StreamExt, TryStreamExt};

/// Chunks of one range that are opened and sealed at once; each takes two of its size in memory.
const AT_ONCE: usize = 2;

fn sealing(point: &PointSummary) -> String {
    format!("sealing point {} again", point.link.point)
}

impl Repository {
    /// Whether a point has chunks that were sealed for other readers than the present ones.
    pub fn needs_resealing(&self, point: &PointSummary) -> bool {
        point.epochs.iter().any(|epoch| self.charter().readers_of(*epoch) != Some(self.readers()))
    }

    /// Whether the keys at hand can seal a point again: those that open it, and one that signs.
    pub fn may_reseal(&self, point: &PointSummary) -> Result<()> {
        let opens = point.epochs.iter().try_for_each(|epoch| self.refuse_wrong_reader(*epoch));
        opens.and_then(|()| self.signer().map(drop)).map_err(|error| error.during(sealing(point)))
    }

    /// Seals a point again for the present readers. Keys that open it and a key that signs are needed.
    pub async fn reseal(&self, point: &PointSummary, run: &RunId) -> Result<Committed> {
        self.may_reseal(point)?;
        let doing = || sealing(point);
        let started = self.clock().monotonic();
        let mut reader = self.read_point(&point.source, &point.link.point).await?;
        let header = reader.header().clone();
        let mut begin = BeginPoint::new(
            point.source.clone(),
            header.kind,
            header.identity.clone(),
            run.clone(),
            header.snapshot_time,
        );
        // The point may be older than a rebinding of its source; it stays what it was.
        begin.rebind = true;
        begin.tier = header.tier.clone();
        begin.details = header.details.clone();
        // A lock that has run out is none any more, and no store takes one.
        begin.lock_until = point.lock_until.filter(|until| *until > self.clock().now());
        begin.resealed_from = Some(point.link.point.clone());
        let writer = self.begin(begin).await?;
        while let Some(line) = reader.next().await? {
            match line {
                Line::Range(range) => {
                    let range = self.reseal_range(&writer, range).await.map_err(|error| error.during(doing()))?;
                    writer.add_range(range).await?;
                }
                Line::Object(object) => writer.add_object(*object).await?,
                Line::Header(_) | Line::End(_) => {}
            }
        }
        let took = self.clock().monotonic().saturating_sub(started);
        let committed = writer.commit(took.as_secs_f64()).await?;
        self.replace(point, &committed, run).await.map_err(|error| {
            // Nothing of it is lost, and what was pinned is still pinned.
            error.during(format!("{}: it stays beside point {}, which was made of it", doing(), committed.point))
        })?;
        Ok(committed)
    }

    /// Puts the new point in the place of the old one, whose pin comes along.
    async fn replace(&self, point: &PointSummary, committed: &Committed, run: &RunId) -> Result<()> {
        // Before the old one goes: what somebody pinned stays pinned.
        if let Some(hold) = &point.hold {
            self.pin(&point.source, &committed.point, &hold.reason, point.lock_until).await?;
        }
        self.entomb(&point.source, run, &[(point.clone(), resealed_as(&committed.point))]).await?;
        if point.hold.is_some()
            && let Err(error) = self.unpin(point.point()).await
        {
            // Credentials that may not delete leave it there; it pins a point that is gone.
            tracing::warn!(point = %point.link.point, %error, "the hold of a point that was sealed again stays");
        }
        Ok(())
    }

    async fn reseal_range(&self, writer: &PointWriter, range: Range) -> Result<Range> {
        let again = |chunk: Chunk| async move {
            let plain = self.fetch_chunk(&chunk).await.map_err(|why| match why {
                FetchError::Error(error) => error,
                FetchError::Damage(damage) => Error::check(format!("opening chunk {}", chunk.id)).because(damage),
            })?;
            Ok::<_, Error>(writer.put_chunk(plain, chunk.rows).await?.chunk)
        };
        let chunks = futures_util::stream::iter(range.chunks).map(again).buffered(AT_ONCE).try_collect().await?;
        Ok(Range { chunks, ..range })
    }
}
