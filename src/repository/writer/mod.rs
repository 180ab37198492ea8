//! Making a point: chunks first, then the manifest, its signature last.
//!
//! [`Repository::begin`] takes the marks into account and loads what may be used again; many workers then put chunks and
//! ranges at once; [`PointWriter::commit`] ends it. Whatever happens before the signature leaves garbage that the next
//! run uses and a sweep takes away.

mod begin;
mod commit;
mod journal;
mod stream;

pub use begin::BeginPoint;
pub use commit::Committed;
pub use journal::JournalPace;

use super::chain::Link;
use super::charter::IdKey;
use super::index::{DedupIndex, Known};
use super::intent::Intent;
use super::manifest::{Chunk, End, Header, Line, ObjectLine, Range};
use super::seal::{self, Recipients};
use super::{Repository, failed, layout};
use crate::error::{Error, Result};
use crate::id::{ChunkId, Nonce, PointId, RunId, Sha256, SourceName};
use crate::rowsum::RowSum;
use crate::store::{Lock, Put, StoreError};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use stream::ManifestStream;

/// What [`PointWriter::put_chunk`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutChunk {
    /// The chunk as the manifest names it.
    pub chunk: Chunk,
    /// Whether it was stored now; else it was in the repository already.
    pub new: bool,
}

/// How far a point is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Chunks put.
    pub chunks: u64,
    /// Of these, stored now.
    pub chunks_new: u64,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes in the store of all of them.
    pub stored: u64,
    /// Of these, stored now.
    pub stored_new: u64,
}

/// A point being made; workers share it.
pub struct PointWriter {
    repository: Repository,
    intent: Intent,
    sequence: u64,
    previous_objects: Vec<ObjectLine>,
    id_key: IdKey,
    epoch: u32,
    recipients: Arc<Recipients>,
    /// The lock on what is stored, in coarse steps, and which step that is.
    lock: Option<(Lock, u16)>,
    index: RwLock<DedupIndex>,
    journal: journal::Journal,
    totals: Mutex<Totals>,
    manifest: Mutex<Option<Draft>>,
}

/// The manifest so far.
struct Draft {
    header: Header,
    header_written: bool,
    stream: ManifestStream,
    named: End,
    /// What the ranges of each object add up to, until its line comes.
    open: BTreeMap<u32, Tally>,
    epochs: BTreeSet<u32>,
    chain: Option<Link>,
}

/// What the ranges of an object add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    ranges: u32,
    chunks: u64,
    bytes: u64,
    rows: RowSum,
}

impl Draft {
    fn write(&mut self, line: &Line) -> Result<()> {
        if !self.header_written {
            self.stream.write(&Line::Header(Box::new(self.header.clone())))?;
            self.header_written = true;
        }
        self.stream.write(line)
    }
}

/// What sealing gave: a chunk that may be named again, or a new one.
enum Sealed {
    Known(ChunkId, Known),
    New(ChunkId, seal::Sealed),
}

impl PointWriter {
    /// The point's id.
    pub fn point(&self) -> &PointId {
        &self.intent.point
    }

    /// The run that makes it.
    pub fn run(&self) -> &RunId {
        &self.intent.run
    }

    /// The source.
    pub fn source(&self) -> &SourceName {
        &self.intent.source
    }

    /// Its place in the chain.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The objects of the source's last point: its grids, its list of tables.
    pub fn previous_objects(&self) -> &[ObjectLine] {
        &self.previous_objects
    }

    /// How many chunks may be used again.
    pub fn known_chunks(&self) -> usize {
        self.index.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How far it is.
    pub fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which instant the content is of, and the verb's facts; before the first range.
    pub fn set_snapshot(&self, time: Timestamp, details: serde_json::Value) -> Result<()> {
        self.with_draft(|draft| {
            if draft.header_written {
                return Err(Error::failed("setting the snapshot of a point that has ranges already"));
            }
            draft.header.snapshot_time = time;
            draft.header.details = details;
            Ok(())
        })
    }

    fn with_draft<T>(&self, work: impl FnOnce(&mut Draft) -> Result<T>) -> Result<T> {
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        let draft = manifest.as_mut().ok_or_else(|| Error::failed("writing to a point that was ended already"))?;
        work(draft)
    }

    /// Stores a chunk, or finds it stored already. `rows` are those that end in it.
    pub async fn put_chunk(&self, plain: Bytes, rows: RowSum) -> Result<PutChunk> {
        let bytes = plain.len() as u64;
        let sealed = self.hash_and_seal(plain.clone(), false).await?;
        let put = match sealed {
            Sealed::Known(id, known) if self.lock_again(&id, &known).await? => {
                PutChunk { chunk: named(id, &known, bytes, rows), new: false }
            }
            // It was taken away since the listing: seal it anew.
            Sealed::Known(..) => match self.hash_and_seal(plain, true).await? {
                Sealed::New(id, sealed) => self.store_chunk(id, sealed, bytes, rows).await?,
                Sealed::Known(..) => return Err(Error::failed("sealing a chunk anew")),
            },
            Sealed::New(id, sealed) => self.store_chunk(id, sealed, bytes, rows).await?,
        };
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.chunks += 1;
        totals.bytes += bytes;
        totals.rows += rows.rows;
        totals.stored += put.chunk.stored;
        if put.new {
            totals.chunks_new += 1;
            totals.stored_new += put.chunk.stored;
        }
        Ok(put)
    }

    /// Hashes a plaintext and seals it unless (and `anew` is not set) it is known; all of it off the async threads.
    async fn hash_and_seal(&self, plain: Bytes, anew: bool) -> Result<Sealed> {
        let key = self.id_key.clone();
        let hashed = plain.clone();
        let id = self.repository.off_async(move || key.id_of(&hashed)).await?;
        let known = self.index.read().unwrap_or_else(PoisonError::into_inner).known(&id);
        if let Some(known) = known.filter(|_| !anew) {
            return Ok(Sealed::Known(id, known));
        }
        let (recipients, level) = (self.recipients.clone(), self.repository.settings().level);
        let sealed = self.repository.off_async(move || seal::seal(&plain, level, &recipients)).await?;
        sealed
            .map(|sealed| Sealed::New(id, sealed))
            .map_err(|why| Error::failed(format!("sealing chunk {id}")).because(why))
    }

    async fn store_chunk(&self, id: ChunkId, sealed: seal::Sealed, bytes: u64, rows: RowSum) -> Result<PutChunk> {
        let stored = sealed.bytes.len() as u64;
        let (nonce, sha256) = self.put_sealed(&id, sealed).await?;
        let chunk = Chunk { id, nonce, epoch: self.epoch, bytes, stored, sha256, rows };
        let lock_step = self.lock.as_ref().map_or(0, |(_, step)| *step);
        self.index.write().unwrap_or_else(PoisonError::into_inner).stored(&chunk, lock_step);
        self.journal.add(&self.repository, &self.intent, chunk.clone()).await;
        Ok(PutChunk { chunk, new: true })
    }

    /// Puts sealed bytes under a name of their own.
    async fn put_sealed(&self, id: &ChunkId, sealed: seal::Sealed) -> Result<(Nonce, Sha256)> {
        let sha256 = sealed.sha256;
        let lock = self.lock.as_ref().map(|(lock, _)| *lock);
        let put = Put { body: sealed.bytes.into(), sha256, lock };
        let mut last = None;
        // Two 64-bit nonces of one chunk that meet are no chance; something is wrong if even the second name is taken.
        for nonce in [Nonce::random(), Nonce::random()] {
            let key = layout::sealed_chunk(id, &nonce);
            match self.repository.store().put_new(&key, put.clone()).await {
                Ok(_) => return Ok((nonce, sha256)),
                Err(error @ StoreError::AlreadyExists(_)) => last = Some((key, error)),
                Err(error) => return Err(failed(format!("storing {key}"))(error)),
            }
        }
        let error = Error::failed(format!("storing chunk {id}"));
        Err(match last {
            Some((key, why)) => error.because(failed(format!("storing {key}"))(why)),
            None => error,
        })
    }

    /// Locks a chunk that is used again as long as this point; false if it is gone.
    async fn lock_again(&self, id: &ChunkId, known: &Known) -> Result<bool> {
        let Some((lock, step)) = &self.lock else { return Ok(true) };
        if known.lock_step >= *step {
            return Ok(true);
        }
        self.repository.lock_object(&layout::sealed_chunk(id, &known.nonce), *lock).await
    }

    /// Adds a range whose chunks were put.
    #[expect(clippy::unused_async, reason = "whatever adds to a point may wait")]
    pub async fn add_range(&self, range: Range) -> Result<()> {
        self.with_draft(|draft| {
            let tally = draft.open.entry(range.object).or_default();
            tally.ranges += 1;
            for chunk in &range.chunks {
                tally.chunks += 1;
                tally.bytes += chunk.bytes;
                tally.rows += chunk.rows;
                draft.named.chunks += 1;
                draft.named.bytes += chunk.bytes;
                draft.named.stored += chunk.stored;
                draft.named.rows += chunk.rows.rows;
                draft.epochs.insert(chunk.epoch);
            }
            draft.write(&Line::Range(range))
        })
    }

    /// Adds an object whose ranges were added.
    #[expect(clippy::unused_async, reason = "whatever adds to a point may wait")]
    pub async fn add_object(&self, object: ObjectLine) -> Result<()> {
        self.with_draft(|draft| {
            let found = draft.open.remove(&object.object).unwrap_or_default();
            let told = Tally { ranges: object.ranges, chunks: object.chunks, bytes: object.bytes, rows: object.rows };
            if told != found {
                return Err(Error::failed(format!(
                    "adding {}: it is said to have {told:?}, but what was put is {found:?}",
                    object.name
                )));
            }
            draft.named.objects += 1;
            *draft.named.kinds.entry(object.kind.clone()).or_default() += 1;
            draft.write(&Line::Object(Box::new(object)))
        })
    }
}

fn named(id: ChunkId, known: &Known, bytes: u64, rows: RowSum) -> Chunk {
    Chunk { id, nonce: known.nonce, epoch: known.epoch, bytes, stored: known.stored, sha256: known.sha256, rows }
}

impl std::fmt::Debug for PointWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PointWriter({} of {}, number {})", self.intent.point, self.intent.source, self.sequence)
    }
}
