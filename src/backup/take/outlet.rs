//! From filled buffers to ranges of the manifest: chunks are put side by side while the next ones fill.

use super::buffers::Buffers;
use super::chunker::Filled;
use super::crew::Crew;
use crate::error::Result;
use crate::journal::{Amount, SharedProgress};
use crate::repository::PointWriter;
use crate::repository::manifest::{Chunk, ObjectLine, Range};
use crate::rowsum::RowSum;
use bytes::Bytes;
use serde::Serialize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// The stage that reads rows.
pub(crate) const ROWS: &str = "rows";

/// Where chunks go.
#[derive(Clone)]
pub(crate) struct Outlet {
    /// The point they become part of.
    pub(crate) writer: Arc<PointWriter>,
    /// Where the buffers come from and go back to.
    pub(crate) buffers: Arc<Buffers>,
    /// Who is told of failures, and owns the tasks.
    pub(crate) crew: Crew,
    /// Who is told of what was done.
    pub(crate) progress: SharedProgress,
    /// The number of the next object.
    objects: Arc<AtomicU32>,
}

/// A chunk on its way into the store; `None` if it failed, of which the crew knows.
pub(crate) type Putting = JoinHandle<Option<Chunk>>;

impl Outlet {
    /// An outlet into `writer`.
    pub(crate) fn new(writer: Arc<PointWriter>, buffers: Arc<Buffers>, crew: Crew, progress: SharedProgress) -> Self {
        Self { writer, buffers, crew, progress, objects: Arc::new(AtomicU32::new(0)) }
    }

    /// A new object of the point.
    pub(crate) fn object(&self, kind: &'static str, name: impl Into<String>) -> Arc<Object> {
        let number = self.objects.fetch_add(1, Ordering::Relaxed);
        Arc::new(Object { number, kind, name: name.into(), ranges: AtomicU32::new(0), totals: Mutex::default() })
    }

    /// Puts a chunk of rows; its buffer is used again.
    pub(crate) fn put(&self, filled: Filled) -> Putting {
        let outlet = self.clone();
        self.crew.tasks().spawn(async move {
            let text = filled.text.freeze();
            let bytes = text.len() as u64;
            let chunk = outlet.store(text.clone(), filled.rows).await;
            outlet.buffers.give_bytes(text);
            outlet.progress.advanced(ROWS, Amount::rows(filled.rows.rows, bytes));
            chunk
        })
    }

    /// Puts a chunk of something else than rows.
    pub(crate) fn put_text(&self, text: Bytes, rows: RowSum) -> Putting {
        let outlet = self.clone();
        self.crew.tasks().spawn(async move { outlet.store(text, rows).await })
    }

    async fn store(&self, text: Bytes, rows: RowSum) -> Option<Chunk> {
        let outcome = self.crew.stop().run_until_cancelled(self.writer.put_chunk(text, rows)).await;
        match outcome? {
            Ok(put) => Some(put.chunk),
            Err(error) => {
                self.crew.fail(error);
                None
            }
        }
    }

    /// Ends a range as soon as its chunks are stored; the caller goes on meanwhile.
    pub(crate) fn end_range(&self, object: &Arc<Object>, pages: Option<(u64, u64)>, chunks: Vec<Putting>) {
        if chunks.is_empty() {
            return;
        }
        let (outlet, object) = (self.clone(), Arc::clone(object));
        self.crew.tasks().spawn(async move {
            if let Err(error) = outlet.write_range(&object, pages, chunks).await {
                outlet.crew.fail(error);
            }
        });
    }

    /// Waits for the chunks of a range and adds it to the manifest.
    pub(crate) async fn write_range(
        &self,
        object: &Object,
        pages: Option<(u64, u64)>,
        putting: Vec<Putting>,
    ) -> Result<()> {
        let mut chunks = Vec::with_capacity(putting.len());
        for chunk in putting {
            // One that failed has stopped the crew; there is nothing to add any more.
            let Ok(Some(chunk)) = chunk.await else { return Ok(()) };
            chunks.push(chunk);
        }
        let range = object.ranges.fetch_add(1, Ordering::Relaxed);
        object.add(&chunks);
        self.writer.add_range(Range { object: object.number, range, pages, chunks }).await
    }

    /// Waits until everything that was handed over is stored and named, or the crew stops.
    pub(crate) async fn settled(&self) {
        let tasks = self.crew.tasks();
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
    }

    /// Adds an object whose ranges are all written.
    pub(crate) async fn end_object(&self, object: &Object, details: &impl Serialize) -> Result<Totals> {
        let totals = object.totals();
        let details = serde_json::to_value(details)
            .map_err(|error| crate::error::Error::failed("describing an object").because(error))?;
        let line = ObjectLine {
            object: object.number,
            kind: object.kind.to_owned(),
            name: object.name.clone(),
            rows: totals.rows,
            bytes: totals.bytes,
            ranges: object.ranges.load(Ordering::Relaxed),
            chunks: totals.chunks,
            details,
        };
        self.writer.add_object(line).await?;
        Ok(totals)
    }
}

/// One object of the point while it is being written.
#[derive(Debug)]
pub(crate) struct Object {
    number: u32,
    kind: &'static str,
    /// Its name for messages.
    pub(crate) name: String,
    ranges: AtomicU32,
    totals: Mutex<Totals>,
}

/// What an object has so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Rows and their sum.
    pub(crate) rows: RowSum,
    /// Plaintext bytes.
    pub(crate) bytes: u64,
    /// Chunks.
    pub(crate) chunks: u64,
}

impl Object {
    fn add(&self, chunks: &[Chunk]) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in chunks {
            totals.rows += chunk.rows;
            totals.bytes += chunk.bytes;
            totals.chunks += 1;
        }
    }

    /// What it has so far.
    pub(crate) fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
