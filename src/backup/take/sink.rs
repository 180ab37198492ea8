//! Takes the rows of one COPY, cuts them into chunks and sends these off.

use super::chunker::{CHUNK_BYTES, Chunker};
use super::outlet::{Object, Outlet, Putting};
use super::pace::Pace;
use crate::error::{Error, Result};
use crate::postgres::tap::RowSink;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// After so many chunks a range is ended at the next row, so that what waits for its end stays small: one stream may
/// bring terabytes.
const RANGE_CHUNKS: usize = 64;

/// The sink of one COPY.
pub(crate) struct ChunkSink {
    outlet: Outlet,
    object: Arc<Object>,
    pages: Option<(u64, u64)>,
    chunker: Chunker,
    pace: Option<Pace>,
    putting: Vec<Putting>,
    rows: u64,
}

impl ChunkSink {
    /// A sink for rows of `object`, read from these heap pages if they are known.
    pub(crate) fn new(outlet: Outlet, object: Arc<Object>, pages: Option<(u64, u64)>, pace: Option<Pace>) -> Self {
        let chunker = Chunker::new(CHUNK_BYTES);
        Self { outlet, object, pages, chunker, pace, putting: Vec::new(), rows: 0 }
    }

    fn close_chunk(&mut self) {
        if let Some(filled) = self.chunker.close() {
            self.rows += filled.rows.rows;
            self.putting.push(self.outlet.put(filled));
        }
    }

    fn end_range(&mut self) {
        self.outlet.end_range(&self.object, self.pages, std::mem::take(&mut self.putting));
    }

    /// Ends the range; `copied` is how many rows the server says it sent.
    pub(crate) fn finish(mut self, copied: u64) -> Result<()> {
        self.close_chunk();
        if let Some(buffer) = self.chunker.take_empty() {
            self.outlet.buffers.give(buffer);
        }
        let name = &self.object.name;
        if !self.chunker.is_sound() {
            return Err(Error::failed(format!("reading {name}: the server sent a row without its line feed")));
        }
        if self.rows != copied {
            let rows = self.rows;
            return Err(Error::failed(format!("reading {name}: {rows} rows came, but the server sent {copied}")));
        }
        self.end_range();
        Ok(())
    }
}

impl RowSink for ChunkSink {
    fn poll_room(&mut self, left: usize, fresh: bool, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll(cx));
        }
        loop {
            if !self.chunker.is_open() {
                self.chunker.open(ready!(self.outlet.buffers.poll_take(cx)));
            }
            match self.chunker.room(left, fresh) {
                0 => {
                    self.close_chunk();
                    if fresh && self.putting.len() >= RANGE_CHUNKS {
                        self.end_range();
                    }
                }
                room => return Poll::Ready(room),
            }
        }
    }

    fn put(&mut self, piece: &[u8], last: bool) {
        if let Some(pace) = &mut self.pace {
            pace.passed(piece.len());
        }
        self.chunker.put(piece, last);
    }
}
