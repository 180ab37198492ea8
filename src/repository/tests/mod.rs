//! What the repository promises, tried on a store in memory.

mod attacks;
mod changes;
mod faults;
mod points;

use super::manifest::{ObjectLine, PointKind, Range};
use super::*;
use crate::clock::{Clock, SimClock};
use crate::id::{PointId, RunId, SourceName};
use crate::rowsum::RowSum;
use crate::store::memory::MemoryStore;
use crate::store::{ObjectKey, Store};
use bytes::Bytes;
use jiff::Timestamp;
use std::time::Duration;

/// A repository in memory and everything that belongs to it.
struct World {
    store: Arc<MemoryStore>,
    clock: SimClock,
    keys: Keys,
}

fn name(text: &str) -> SourceName {
    text.parse().unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(&InitOptions::default(), false).await
    }

    async fn with(options: &InitOptions, versioned: bool) -> Self {
        let clock = SimClock::at(Timestamp::from_second(1_800_000_000).unwrap());
        let shared: SharedClock = Arc::new(clock.clone());
        let store = if versioned { MemoryStore::versioned(shared.clone()) } else { MemoryStore::new(shared.clone()) };
        let made = Repository::init(store.clone(), options, shared).await.unwrap();
        Self { store, clock, keys: Keys { writer: Some(made.writer), reader: Some(made.reader) } }
    }

    fn context(&self) -> OpenContext {
        OpenContext::new(Arc::new(self.clock.clone()))
    }

    /// The repository as its backup host sees it.
    async fn writer(&self) -> Repository {
        let keys = Keys { writer: self.keys.writer.clone(), reader: None };
        Repository::open(self.store.clone(), keys, self.context()).await.unwrap()
    }

    /// The repository as whoever restores sees it: with the reader key alone.
    async fn reader(&self) -> Repository {
        let keys = Keys { writer: None, reader: self.keys.reader.clone() };
        Repository::open(self.store.clone(), keys, self.context()).await.unwrap()
    }

    fn begin(&self, source: &str) -> BeginPoint {
        self.clock.advance(Duration::from_hours(1));
        let now = self.clock.now();
        BeginPoint::new(name(source), PointKind::Database, "system 1, database 2", RunId::at(now), now)
    }

    /// Backs up one table whose chunks are these.
    async fn back_up(&self, source: &str, chunks: &[Bytes]) -> Committed {
        back_up(&self.writer().await, self.begin(source), chunks).await.unwrap()
    }
}

async fn back_up(repository: &Repository, begin: BeginPoint, chunks: &[Bytes]) -> Result<Committed> {
    let writer = repository.begin(begin).await?;
    put_table(&writer, chunks).await?;
    writer.commit(1.5).await
}

async fn put_table(writer: &PointWriter, chunks: &[Bytes]) -> Result<()> {
    let (mut rows, mut bytes) = (RowSum::default(), 0);
    for (number, plain) in (0..).zip(chunks) {
        let sum = rows_of(plain);
        let put = writer.put_chunk(plain.clone(), sum).await?;
        rows += sum;
        bytes += plain.len() as u64;
        writer.add_range(Range { object: 0, range: number, pages: None, chunks: vec![put.chunk] }).await?;
    }
    let (count, details) = (chunks.len() as u64, serde_json::json!({"table": "orders"}));
    let ranges = u32::try_from(count).unwrap_or(0);
    let object = ObjectLine {
        object: 0,
        kind: "table".into(),
        name: "public.orders".into(),
        rows,
        bytes,
        ranges,
        chunks: count,
        details,
    };
    writer.add_object(object).await
}

fn rows_of(plain: &[u8]) -> RowSum {
    let mut sum = RowSum::default();
    plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| sum.add_row(line));
    sum
}

/// Chunks of rows that differ by `seed`.
fn rows(seed: u32, count: u32) -> Vec<Bytes> {
    let row = |chunk: u32, row: u32| format!("{chunk}\t{row}\trow {row} of {seed}\n");
    let text = |chunk: u32| (0..50).map(|number| row(chunk, number)).collect::<Vec<_>>().concat();
    (0..count).map(|chunk| text(chunk).into()).collect()
}

/// Reads a whole point back, chunk by chunk.
async fn read_back(repository: &Repository, source: &str, point: &PointId) -> Result<Vec<Bytes>> {
    let loaded = repository.load_point(&name(source), point).await?;
    let mut ranges = loaded.ranges;
    ranges.sort_by_key(|range| range.range);
    let mut chunks = Vec::new();
    for chunk in ranges.iter().flat_map(|range| &range.chunks) {
        let fetched = repository.fetch_chunk(chunk).await;
        chunks.push(fetched.map_err(|why| match why {
            FetchError::Error(error) => error,
            FetchError::Damage(damage) => Error::check("fetching a chunk").because(damage),
        })?);
    }
    Ok(chunks)
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}
