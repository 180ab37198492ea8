//! The bytes of large objects. The objects themselves, their owners and privileges, come with the definitions.
//!
//! A line is `oid, offset, bytes` in COPY text format. Reading back asks the server for the same stretches.

use super::content::Chunks;
use super::feed::{Feed, Piece};
use super::load::Supply;
use crate::error::{Error, Result};
use crate::id::from_hex_bytes;
use crate::journal::{Amount, SharedProgress};
use crate::postgres::Session;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_postgres::Statement;

/// Stretches that are on their way before the first is acknowledged.
const PIPELINED: usize = 32;

/// The stage's name in progress and report.
pub(super) const STAGE: &str = "large-objects";

/// What is to be written of large objects.
#[derive(Debug, Default)]
pub(super) struct LargeObjects {
    supply: Option<Arc<Supply>>,
    /// From which oid to which one bytes may be lost.
    gaps: Mutex<Vec<(u32, u32)>>,
}

/// Where in a range the writing is, to tell whose bytes a lost chunk may have held.
#[derive(Debug, Default)]
struct Trail {
    /// The first object that a lost chunk may have had bytes of, once one is lost.
    since: Option<u32>,
    /// The object that the last stretch was of; whether it ended there cannot be seen.
    last: Option<u32>,
}

/// A stretch of a large object.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    oid: u32,
    offset: i64,
    bytes: Vec<u8>,
}

impl LargeObjects {
    pub(super) fn new(chunks: Option<&Chunks>) -> Self {
        let supply = chunks.map(|chunks| Supply::of(&chunks.name, &chunks.ranges));
        Self { supply, gaps: Mutex::default() }
    }

    /// Whether chunks were lost.
    pub(super) fn has_gaps(&self) -> bool {
        !self.gaps().is_empty()
    }

    /// The objects of which bytes may be lost.
    pub(super) async fn incomplete(&self, session: &Session) -> Result<Vec<u32>> {
        let (first, last): (Vec<u32>, Vec<u32>) = self.gaps().iter().copied().unzip();
        let sql = "SELECT DISTINCT m.oid FROM pg_catalog.pg_largeobject_metadata m \
                   JOIN ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::oid[])) AS gap(first, last) \
                   ON m.oid BETWEEN gap.first AND gap.last ORDER BY 1";
        let rows = session.rows("looking for large objects that lost bytes", sql, &[&first, &last]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn gaps(&self) -> MutexGuard<'_, Vec<(u32, u32)>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what may be lost with a piece that is, or before one that is not.
    fn note_gap(&self, trail: &mut Trail, piece: &Piece, stretches: &[Stretch]) {
        let (begin, end) = oids_of(piece);
        if let (Some(first), Some(last)) = (stretches.first(), stretches.last()) {
            if let Some(since) = trail.since.take() {
                // Of an object that begins here nothing was in the chunk before.
                let until = if first.offset == 0 { first.oid.saturating_sub(1) } else { first.oid };
                self.gaps().push((since, until));
            }
            trail.last = Some(last.oid);
        } else if trail.since.is_none() {
            trail.since = Some(trail.last.unwrap_or(begin));
        }
        if piece.last {
            if let Some(since) = trail.since {
                self.gaps().push((since, end));
            }
            *trail = Trail::default();
        }
    }

    /// Writes what it can get; others may write as well.
    pub(super) async fn load(&self, session: &Session, feed: &Arc<Feed>, progress: &SharedProgress) -> Result<()> {
        let Some(supply) = &self.supply else { return Ok(()) };
        let sql = "SELECT pg_catalog.lo_put($1::oid, $2::bigint, $3::bytea)";
        let put =
            session.client.prepare(sql).await.map_err(|error| session.explain(&error, "writing large objects"))?;
        let put = &put;
        let mut pieces = feed.stream(supply.clone().drain());
        let mut trail = Trail::default();
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            let stretches = stretches(&piece)?;
            self.note_gap(&mut trail, &piece, &stretches);
            session.execute("beginning to write large objects", "BEGIN").await?;
            let puts: Vec<_> = stretches.into_iter().map(|stretch| write(session, put, stretch).boxed()).collect();
            futures_util::stream::iter(puts).buffered(PIPELINED).try_collect::<()>().await?;
            session.execute("committing large objects", "COMMIT").await?;
            progress.advanced(STAGE, Amount::rows(piece.rows.rows, piece.bytes.len() as u64));
        }
        Ok(())
    }
}

/// Reads large objects back and compares every stretch; gives the oids of those that differ, each once.
pub(in crate::backup) async fn differing(session: &Session, feed: &Arc<Feed>, chunks: &Chunks) -> Result<Vec<u32>> {
    let doing = "reading large objects back";
    let sql =
        "SELECT pg_catalog.lo_get(oid, $2::bigint, $3::integer) FROM pg_catalog.pg_largeobject_metadata WHERE oid = $1";
    let get = session.client.prepare(sql).await.map_err(|error| session.explain(&error, doing))?;
    let get = &get;
    let mut differ: Vec<u32> = Vec::new();
    let mut pieces = feed.stream(Supply::of(&chunks.name, &chunks.ranges).drain());
    while let Some(piece) = pieces.recv().await {
        let gets: Vec<_> =
            stretches(&piece?)?.into_iter().map(|stretch| differs(session, get, stretch).boxed()).collect();
        let found: Vec<Option<u32>> = futures_util::stream::iter(gets).buffered(PIPELINED).try_collect().await?;
        differ.extend(found.into_iter().flatten());
        differ.dedup();
    }
    differ.sort_unstable();
    differ.dedup();
    Ok(differ)
}

async fn write(session: &Session, put: &Statement, stretch: Stretch) -> Result<()> {
    let done = session.client.execute(put, &[&stretch.oid, &stretch.offset, &stretch.bytes]).await;
    done.map(drop).map_err(|error| session.explain(&error, format!("writing large object {}", stretch.oid)))
}

/// The oid, if the server has other bytes there.
async fn differs(session: &Session, get: &Statement, stretch: Stretch) -> Result<Option<u32>> {
    let length = i32::try_from(stretch.bytes.len()).unwrap_or(i32::MAX);
    let row = session.client.query_opt(get, &[&stretch.oid, &stretch.offset, &length]).await;
    let row = row.map_err(|error| session.explain(&error, "reading large objects back"))?;
    let same = row.is_some_and(|row| row.get::<_, &[u8]>(0) == stretch.bytes);
    Ok((!same).then_some(stretch.oid))
}

/// The first and the last oid that the range of a piece is about.
fn oids_of(piece: &Piece) -> (u32, u32) {
    let (first, end) = piece.place.portion.range.pages.unwrap_or((0, u64::from(u32::MAX) + 1));
    (u32::try_from(first).unwrap_or(0), u32::try_from(end.saturating_sub(1)).unwrap_or(u32::MAX))
}

/// The stretches in a piece. Every line fits in a chunk many times, so that a piece holds whole lines only.
fn stretches(piece: &Piece) -> Result<Vec<Stretch>> {
    let lines = piece.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read =
        lines.map(|line| stretch(line).ok_or_else(|| Error::check("reading large objects: a line has another form")));
    read.collect()
}

fn stretch(line: &[u8]) -> Option<Stretch> {
    let text = std::str::from_utf8(line).ok()?;
    let mut fields = text.split('\t');
    let (oid, offset, hex) = (fields.next()?, fields.next()?, fields.next()?);
    // In COPY text format the backslash of \x is doubled.
    let bytes = from_hex_bytes(hex.strip_prefix("\\\\x")?)?;
    fields.next().is_none().then_some(Stretch { oid: oid.parse().ok()?, offset: offset.parse().ok()?, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_stretch_and_anything_else_is_none() {
        let expected = Stretch { oid: 424_242, offset: 2048, bytes: vec![0, 255, 16] };
        assert_eq!(stretch(b"424242\t2048\t\\\\x00ff10"), Some(expected));
        assert_eq!(stretch(b"1\t0\t\\\\x").map(|stretch| stretch.bytes.len()), Some(0));
        for line in ["", "1\t2", "1\t2\t\\\\x0", "1\t2\t\\\\x00\t", "x\t2\t\\\\x00", "1\t2\t\\N"] {
            assert_eq!(stretch(line.as_bytes()), None, "{line:?}");
        }
    }
}
