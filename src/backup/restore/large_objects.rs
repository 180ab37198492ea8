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
use std::sync::Arc;
use tokio_postgres::Statement;

/// Stretches that are on their way before the first is acknowledged.
const PIPELINED: usize = 32;

/// The stage's name in progress and report.
pub(super) const STAGE: &str = "large-objects";

/// What is to be written of large objects.
#[derive(Debug, Default)]
pub(super) struct LargeObjects {
    supply: Option<Arc<Supply>>,
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
        Self { supply: chunks.map(|chunks| Supply::of(&chunks.name, &chunks.ranges)) }
    }

    /// Writes what it can get; others may write as well.
    pub(super) async fn load(&self, session: &Session, feed: &Arc<Feed>, progress: &SharedProgress) -> Result<()> {
        let Some(supply) = &self.supply else { return Ok(()) };
        let sql = "SELECT pg_catalog.lo_put($1::oid, $2::bigint, $3::bytea)";
        let put =
            session.client.prepare(sql).await.map_err(|error| session.explain(&error, "writing large objects"))?;
        let put = &put;
        let mut pieces = feed.stream(supply.clone().drain());
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            session.execute("beginning to write large objects", "BEGIN").await?;
            let puts: Vec<_> =
                stretches(&piece)?.into_iter().map(|stretch| write(session, put, stretch).boxed()).collect();
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
