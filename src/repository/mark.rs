//! Marks: what a sweep found unreferenced, and when. A run that began after the mark was put honours it, which
//! means that it seals those chunks anew instead of naming the old objects again.
//!
//! Marks are not signed: a forged one costs deduplication, never a chunk, because a sweep takes only what no
//! signed manifest names. A mark stays until the last of its chunks is gone, so that nobody names one meanwhile.

use crate::error::{Context, Error, Kind, Result};
use crate::id::{ChunkId, Nonce, RepositoryId, RunId};
use crate::store::{ObjectKey, Store, StoreError};
use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{Read as _, Write as _};
use std::str::FromStr;

/// The newest mark format this build reads and the only one it writes.
pub const FORMAT: u32 = 1;

/// The folder of marks.
pub const MARKS: &str = "marks/";

/// The folder of chunks.
pub const CHUNKS: &str = "chunks/";

/// A mark names no more chunks than this, so that reading one needs little memory; a sweep puts several.
pub const MOST_CHUNKS: usize = 250_000;

/// No honest mark is longer than this as text; what is, is cut off and then refused for its missing chunks.
const LONGEST_TEXT: u64 = 4096 + 82 * MOST_CHUNKS as u64;

/// The name of one sealed chunk: what it is, and which sealing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkName {
    /// Keyed hash of the plaintext.
    pub id: ChunkId,
    /// Nonce of the sealing.
    pub nonce: Nonce,
}

impl ChunkName {
    /// The name at the end of an object key.
    pub fn of_key(key: &ObjectKey) -> Result<Self> {
        let text = key.as_str().rsplit('/').next().unwrap_or_default();
        let name: Self = text.parse()?;
        if name.key()? == *key {
            return Ok(name);
        }
        Err(Error::failed(format!("{key} is not where chunk {name} belongs")))
    }

    /// Where the chunk lies.
    pub fn key(&self) -> Result<ObjectKey> {
        let id = self.id.to_string();
        let folder = id.get(..2).unwrap_or_default();
        ObjectKey::new(format!("{CHUNKS}{folder}/{self}")).context(Kind::Failed, || format!("naming chunk {self}"))
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id, self.nonce)
    }
}

impl FromStr for ChunkName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('-').and_then(|(id, nonce)| Some((id.parse().ok()?, nonce.parse().ok()?)));
        let (id, nonce) = parsed.ok_or_else(|| Error::failed(format!("{text:?} is not the name of a chunk")))?;
        Ok(Self { id, nonce })
    }
}

/// What one sweep found unreferenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The repository.
    pub repository: RepositoryId,
    /// The sweep's run, which is the mark's name.
    pub id: RunId,
    /// When it was made, by the sweep's clock; a label.
    pub made: Timestamp,
    /// The chunks.
    pub chunks: Vec<ChunkName>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    repository: RepositoryId,
    mark: RunId,
    made: Timestamp,
    chunks: usize,
}

impl Mark {
    /// Where the mark of this id lies.
    pub fn key(id: &RunId) -> Result<ObjectKey> {
        ObjectKey::new(format!("{MARKS}{id}")).context(Kind::Failed, || format!("naming mark {id}"))
    }

    /// The object that holds it: a line of facts and a line per chunk, compressed.
    pub fn bytes(&self) -> Result<Bytes> {
        let head = Head {
            format: FORMAT,
            repository: self.repository,
            mark: self.id.clone(),
            made: self.made,
            chunks: self.chunks.len(),
        };
        let doing = || format!("writing mark {}", self.id);
        let mut out = zstd::Encoder::new(Vec::new(), 3).context(Kind::Failed, doing)?;
        serde_json::to_writer(&mut out, &head).context(Kind::Failed, doing)?;
        for chunk in &self.chunks {
            write!(out, "\n{chunk}").context(Kind::Failed, doing)?;
        }
        Ok(out.finish().context(Kind::Failed, doing)?.into())
    }

    /// Reads the mark that lies under `id`.
    pub fn parse(id: &RunId, bytes: &[u8]) -> Result<Self> {
        let doing = || format!("reading mark {id}");
        let wrong = |why: String| Error::failed(doing()).because(why);
        let mut text = String::new();
        let plain = zstd::Decoder::new(bytes).context(Kind::Failed, doing)?;
        plain.take(LONGEST_TEXT).read_to_string(&mut text).context(Kind::Failed, doing)?;
        let (head, names) = text.split_once('\n').unwrap_or((&text, ""));
        let head: Head = serde_json::from_str(head).context(Kind::Failed, doing)?;
        if head.format != FORMAT {
            return Err(wrong(format!("its format is {}, this davit knows {FORMAT}", head.format)));
        }
        if head.mark != *id {
            return Err(wrong(format!("it says it is mark {}", head.mark)));
        }
        let chunks: Vec<ChunkName> =
            names.lines().map(str::parse).collect::<Result<_>>().map_err(|e| e.during(doing()))?;
        if chunks.len() != head.chunks {
            return Err(wrong(format!("it has {} of {} chunks", chunks.len(), head.chunks)));
        }
        Ok(Self { repository: head.repository, id: head.mark, made: head.made, chunks })
    }
}

/// All marks of a repository together.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// Their names, as an intent gives them.
    pub ids: BTreeSet<RunId>,
    /// Every chunk that one of them names.
    pub chunks: HashSet<ChunkName>,
    /// Objects that cannot be read as marks, and why. Only a run that uses no chunk again honours these.
    pub unreadable: Vec<String>,
}

impl Marks {
    /// Whether a mark names the chunk.
    pub fn name(&self, chunk: &ChunkName) -> bool {
        !self.unreadable.is_empty() || self.chunks.contains(chunk)
    }
}

/// The names of all marks; an object that cannot be a mark is an error.
pub async fn list(store: &dyn Store) -> Result<BTreeSet<RunId>> {
    let mut ids = BTreeSet::new();
    for key in keys(store).await? {
        ids.insert(id_of(&key)?);
    }
    Ok(ids)
}

/// Reads the mark of this name; `None` if a sweep has taken it away meanwhile.
pub async fn read(store: &dyn Store, id: &RunId) -> Result<Option<Mark>> {
    match store.get(&Mark::key(id)?, None).await {
        Ok(object) => Mark::parse(id, &object.body).map(Some),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.explain(format!("reading mark {id}"))),
    }
}

/// Reads all marks. One that is taken away meanwhile has no chunk left that could be named.
pub async fn load(store: &dyn Store) -> Result<Marks> {
    let mut marks = Marks::default();
    for key in keys(store).await? {
        let body = match store.get(&key, None).await {
            Ok(object) => object.body,
            Err(StoreError::NotFound(_)) => continue,
            Err(error) => return Err(error.explain(format!("reading {key}"))),
        };
        match id_of(&key).and_then(|id| Mark::parse(&id, &body)) {
            Ok(mark) => {
                marks.chunks.extend(mark.chunks);
                marks.ids.insert(mark.id);
            }
            Err(error) => marks.unreadable.push(error.to_string()),
        }
    }
    Ok(marks)
}

async fn keys(store: &dyn Store) -> Result<Vec<ObjectKey>> {
    let listing = store.list(MARKS).map_ok(|entry| entry.key);
    listing.try_collect().await.map_err(|error| error.explain("listing the marks"))
}

fn id_of(key: &ObjectKey) -> Result<RunId> {
    let name = key.as_str().strip_prefix(MARKS).unwrap_or_default();
    name.parse().map_err(|_| {
        Error::failed(format!("{key} is not a mark")).hint("look at it, and delete it while no sweep is running")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        let chunks = (0..3).map(|n| ChunkName { id: ChunkId([n; 32]), nonce: Nonce([n; 8]) }).collect();
        let made = Timestamp::from_second(1_800_000_000).unwrap();
        Mark { repository: RepositoryId([7; 16]), id: RunId::at(made), made, chunks }
    }

    #[test]
    fn a_mark_reads_back_as_it_was_written() {
        let mark = mark();
        assert_eq!(Mark::parse(&mark.id, &mark.bytes().unwrap()).unwrap(), mark);
        let empty = Mark { chunks: Vec::new(), ..mark };
        assert_eq!(Mark::parse(&empty.id, &empty.bytes().unwrap()).unwrap(), empty);
    }

    #[test]
    fn a_mark_that_lost_a_chunk_or_lies_under_another_name_is_refused() {
        let mark = mark();
        let text = String::from_utf8(zstd::decode_all(&mark.bytes().unwrap()[..]).unwrap()).unwrap();
        let (shorter, _) = text.rsplit_once('\n').unwrap();
        let cut = zstd::encode_all(shorter.as_bytes(), 1).unwrap();
        let error = Mark::parse(&mark.id, &cut).unwrap_err();
        assert!(error.to_string().ends_with("it has 2 of 3 chunks"), "{error}");
        assert!(Mark::parse(&RunId::at(mark.made), &mark.bytes().unwrap()).is_err());
        assert!(Mark::parse(&mark.id, b"scrambled").is_err());
    }

    #[tokio::test]
    async fn a_mark_that_cannot_be_read_speaks_against_every_chunk() {
        let clock = crate::clock::SystemClock::shared();
        let store = crate::store::MemoryStore::new(clock);
        let mark = mark();
        let unmarked = ChunkName { id: ChunkId([9; 32]), nonce: Nonce([9; 8]) };
        store.tamper(&Mark::key(&mark.id).unwrap(), mark.bytes().unwrap());
        let marks = load(&*store).await.unwrap();
        assert!(marks.name(&mark.chunks[0]) && !marks.name(&unmarked));
        for stray in ["marks/stray", "marks/20270115T080000Z-aaaaaa"] {
            let key = ObjectKey::new(stray).unwrap();
            store.tamper(&key, "scrambled");
            let marks = load(&*store).await.unwrap();
            assert!(marks.name(&unmarked) && marks.ids.contains(&mark.id), "{stray}");
            store.lose(&key);
        }
    }

    #[test]
    fn a_chunk_is_known_by_its_key_and_only_in_its_place() {
        let name = mark().chunks[1];
        let key = name.key().unwrap();
        assert!(key.as_str().starts_with("chunks/01/0101"), "{key}");
        assert_eq!(ChunkName::of_key(&key).unwrap(), name);
        let strayed = ObjectKey::new(key.as_str().replace("/01/", "/02/")).unwrap();
        assert!(ChunkName::of_key(&strayed).is_err());
    }
}
