//! Chunks on their way from the store to the server: fetched a little ahead, checked, and handed on in order.
//!
//! What is on its way never takes more memory than the budget, however many workers there are.

use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress, Stage};
use crate::repository::manifest::{Chunk, Range};
use crate::repository::{ChunkDamage, Damage, FetchError, Repository, layout};
use crate::rowsum::{RowSum, Rows};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes of chunks, sealed and opened, that may be in memory at once.
const BUDGET_BYTES: u64 = 96 << 20;
/// The unit of the budget.
const UNIT: u64 = 4 << 10;
/// Chunks of one stream that are fetched side by side.
const AHEAD: usize = 8;
/// What is told of chunks that are fetched: that the first one is asked for, and each that was opened. It is no stage of its
/// own, because rows go to the server meanwhile.
const FETCH: Stage = "fetch";

/// Where chunks come from, and what was lost of them.
#[derive(Debug)]
pub(in crate::backup) struct Feed {
    repository: Repository,
    budget: Arc<Semaphore>,
    /// Go on without what is damaged.
    allow_damage: bool,
    lost: Mutex<Vec<Damage>>,
    listener: Listener,
}

/// Who wants to know what is fetched.
#[derive(Default)]
struct Listener(OnceLock<SharedProgress>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

/// A range of an object: what one COPY takes.
#[derive(Debug, Clone)]
pub(in crate::backup) struct Portion {
    /// Name of the object for messages, and whether it is a table.
    pub(in crate::backup) object: Arc<ObjectName>,
    pub(in crate::backup) range: Arc<Range>,
    /// The number of its first row within the object, in the order of the manifest's ranges.
    pub(in crate::backup) first_row: u64,
}

/// How messages call an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct ObjectName {
    pub(in crate::backup) name: String,
    pub(in crate::backup) is_table: bool,
    /// Whether it is a script with rows among its statements.
    pub(in crate::backup) is_script: bool,
}

/// A piece of a portion.
#[derive(Debug)]
pub(in crate::backup) struct Piece {
    /// Whole rows, unless a row is larger than a chunk.
    pub(in crate::backup) bytes: Bytes,
    /// The rows that end in it.
    pub(in crate::backup) rows: RowSum,
    /// Whether the portion ends with it.
    pub(in crate::backup) last: bool,
    /// Which chunk of which range it is.
    pub(in crate::backup) place: Place,
    /// Held until the bytes are gone.
    _memory: Option<OwnedSemaphorePermit>,
}

impl Feed {
    pub(in crate::backup) fn new(repository: Repository, allow_damage: bool) -> Arc<Self> {
        let units = usize::try_from(BUDGET_BYTES / UNIT).unwrap_or(usize::MAX);
        Arc::new(Self {
            repository,
            budget: Arc::new(Semaphore::new(units)),
            allow_damage,
            lost: Mutex::default(),
            listener: Listener::default(),
        })
    }

    /// Tells somebody what is fetched from now on; the first who asks for it.
    pub(in crate::backup) fn tell(&self, progress: &SharedProgress) {
        self.listener.0.get_or_init(|| progress.clone());
    }

    fn told(&self, bytes: u64) {
        if let Some(progress) = self.listener.0.get() {
            progress.advanced(FETCH, Amount::rows(0, bytes));
        }
    }

    /// Whether it goes on without what is damaged.
    pub(in crate::backup) fn allows_damage(&self) -> bool {
        self.allow_damage
    }

    /// What was lost so far.
    pub(in crate::backup) fn lost(&self) -> Vec<Damage> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pieces of `portions`, in their order. The portions are asked for as there is room, so that several streams
    /// may share one supply of them.
    pub(in crate::backup) fn stream(
        self: &Arc<Self>,
        portions: impl Iterator<Item = Portion> + Send + 'static,
    ) -> mpsc::Receiver<Result<Piece>> {
        let (sender, receiver) = mpsc::channel(1);
        let feed = self.clone();
        tokio::spawn(async move {
            let chunks = portions.flat_map(chunks_of);
            let fetched = feed.fetched(futures_util::stream::iter(chunks));
            let mut fetched = std::pin::pin!(fetched);
            let mut salvage = Salvage::default();
            while let Some((place, outcome)) = fetched.next().await {
                let piece = outcome.and_then(|fetched| feed.check(&place, fetched, &mut salvage));
                let ends = piece.is_err();
                // Whoever stopped listening has failed elsewhere or was cancelled.
                if sender.send(piece).await.is_err() || ends {
                    return;
                }
            }
        });
        receiver
    }

    /// Everything in some portions, in order; for what is small.
    pub(in crate::backup) async fn whole(
        self: &Arc<Self>,
        portions: impl Iterator<Item = Portion> + Send + 'static,
    ) -> Result<Bytes> {
        let mut stream = self.stream(portions);
        let mut all: Vec<u8> = Vec::new();
        while let Some(piece) = stream.recv().await {
            all.extend_from_slice(&piece?.bytes);
        }
        Ok(all.into())
    }

    /// Chunks, fetched side by side and given in order.
    fn fetched(
        self: &Arc<Self>,
        chunks: impl Stream<Item = Place> + Send,
    ) -> impl Stream<Item = (Place, Result<Fetched>)> + Send {
        // Memory is taken in the order of the chunks: the one that is needed next never waits for one behind it.
        let with_memory = chunks.then(move |place| async move {
            let chunk = place.chunk();
            let units = (chunk.bytes + chunk.stored).div_ceil(UNIT).clamp(1, BUDGET_BYTES / UNIT);
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            let memory = self.budget.clone().acquire_many_owned(units).await.ok();
            (place, memory)
        });
        with_memory.map(move |(place, memory)| self.fetch(place, memory)).buffered(AHEAD)
    }

    async fn fetch(&self, place: Place, memory: Option<OwnedSemaphorePermit>) -> (Place, Result<Fetched>) {
        let chunk = place.chunk().clone();
        self.told(0);
        let outcome = match self.repository.fetch_chunk(&chunk).await {
            Ok(bytes) => {
                self.told(bytes.len() as u64);
                // The sealed bytes are gone; what is left to hold is the plaintext.
                let memory = memory.map(|mut memory| {
                    let sealed = usize::try_from(chunk.stored / UNIT).unwrap_or(0).min(memory.num_permits());
                    drop(memory.split(sealed));
                    memory
                });
                Ok(Fetched::Bytes(bytes, memory))
            }
            Err(FetchError::Damage(damage)) => Ok(Fetched::Damaged(damage)),
            Err(FetchError::Error(error)) => {
                Err(error.during(format!("reading rows of {}", place.portion.object.name)))
            }
        };
        (place, outcome)
    }

    /// Recomputes the row sum of what was fetched.
    fn check(&self, place: &Place, fetched: Fetched, salvage: &mut Salvage) -> Result<Piece> {
        if place.number == 0 {
            *salvage = Salvage::default();
        }
        let last = place.number + 1 == place.portion.range.chunks.len();
        let expected = place.chunk().rows;
        let (bytes, memory) = match fetched {
            Fetched::Bytes(bytes, memory) => (bytes, memory),
            Fetched::Damaged(damage) => {
                self.lose(place, salvage.row, salvage.row + expected.rows, &damage)?;
                salvage.after_gap(expected.rows);
                return Ok(Piece {
                    bytes: Bytes::new(),
                    rows: RowSum::default(),
                    last,
                    place: place.clone(),
                    _memory: None,
                });
            }
        };
        let object = &place.portion.object;
        if object.is_script || (!object.is_table && expected == RowSum::default()) {
            // What is not made of rows alone has no row sum of its own; its bytes are those whose hash the manifest gives.
            // Rows among statements are counted where the statements are read.
            return Ok(Piece { bytes, rows: expected, last, place: place.clone(), _memory: memory });
        }
        let fresh = salvage.gap;
        let sum = salvage.rows.sum(&bytes);
        let (row, cut) = (salvage.row, last && !salvage.rows.is_between_rows());
        salvage.row += expected.rows;
        // In the middle of a row whose beginning is lost nothing can be used until that row has ended.
        salvage.gap = fresh && sum.rows == 0;
        if salvage.gap && expected.rows == 0 && !cut {
            return Ok(Piece { bytes: Bytes::new(), rows: sum, last, place: place.clone(), _memory: None });
        }
        if sum == expected && !cut {
            let bytes = if self.allow_damage { salvage.whole_rows(bytes) } else { bytes };
            return Ok(Piece { bytes, rows: sum, last, place: place.clone(), _memory: memory });
        }
        if fresh && !cut && sum.rows == expected.rows && sum.rows > 0 {
            // The first row began in the chunk that is lost.
            self.lose(place, row, row + 1, &ChunkDamage::Unsealable("a row began in the chunk before it".to_owned()))?;
            let rest = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |end| end + 1);
            let rest = bytes.slice(rest..);
            let rows = Rows::new().sum(&rest);
            return Ok(Piece { bytes: salvage.whole_rows(rest), rows, last, place: place.clone(), _memory: memory });
        }
        let damage = ChunkDamage::Unsealable(format!("its rows sum to {sum} instead of {expected}"));
        self.lose(place, row, row + expected.rows, &damage)?;
        salvage.after_gap(0);
        Ok(Piece { bytes: Bytes::new(), rows: RowSum::default(), last, place: place.clone(), _memory: None })
    }

    /// Notes what is lost, or fails where nothing may be lost. Rows are counted within the portion.
    fn lose(&self, place: &Place, first: u64, end: u64, what: &ChunkDamage) -> Result<()> {
        let object = &place.portion.object;
        let chunk = layout::chunk(place.chunk()).to_string();
        let rows = (place.portion.first_row + first, place.portion.first_row + end);
        if !self.allow_damage {
            let rows = if object.is_table { format!(", rows {} to {}", rows.0 + 1, rows.1) } else { String::new() };
            return Err(Error::check(format!("reading {chunk} of {}{rows}: {what}", object.name))
                .hint("davit verify names all that is damaged; --allow-damage restores the rest"));
        }
        let damage = Damage {
            object: object.name.clone(),
            table: object.is_table.then(|| object.name.clone()),
            chunk,
            range: place.portion.range.range,
            rows: object.is_table.then_some(rows),
            what: what.to_string(),
        };
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        // What is read back is met a second time.
        if !lost.contains(&damage) {
            lost.push(damage);
        }
        Ok(())
    }
}

/// A chunk's place in a portion.
#[derive(Debug, Clone)]
pub(in crate::backup) struct Place {
    pub(in crate::backup) portion: Portion,
    number: usize,
}

impl Place {
    /// The chunk as the manifest names it.
    pub(in crate::backup) fn chunk(&self) -> &Chunk {
        &self.portion.range.chunks[self.number]
    }

    /// Whether both are of the same chunk.
    pub(in crate::backup) fn is_same_chunk(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.portion.range, &other.portion.range) && self.number == other.number
    }

    /// The number of the first row that ends in it, within the object.
    pub(in crate::backup) fn first_row(&self) -> u64 {
        let before = &self.portion.range.chunks[..self.number];
        self.portion.first_row + before.iter().map(|chunk| chunk.rows.rows).sum::<u64>()
    }
}

fn chunks_of(portion: Portion) -> impl Iterator<Item = Place> {
    (0..portion.range.chunks.len()).map(move |number| Place { portion: portion.clone(), number })
}

enum Fetched {
    Bytes(Bytes, Option<OwnedSemaphorePermit>),
    Damaged(ChunkDamage),
}

/// Where in a portion's rows the stream is.
#[derive(Debug, Default)]
struct Salvage {
    rows: Rows,
    /// Rows that ended before, lost ones included.
    row: u64,
    /// The chunk before was lost.
    gap: bool,
    /// The beginning of a row whose end may be lost.
    held: Vec<u8>,
}

impl Salvage {
    fn after_gap(&mut self, lost: u64) {
        *self = Self { row: self.row + lost, gap: true, ..Self::default() };
    }

    /// The whole rows so far; the beginning of one whose end has not come is held back, because it may never come.
    fn whole_rows(&mut self, bytes: Bytes) -> Bytes {
        let end = memchr::memrchr(b'\n', &bytes).map_or(0, |end| end + 1);
        if self.held.is_empty() && end == bytes.len() {
            return bytes;
        }
        if end == 0 {
            self.held.extend_from_slice(&bytes);
            return Bytes::new();
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(&bytes[..end]);
        self.held.extend_from_slice(&bytes[end..]);
        whole.into()
    }
}
