//! Reading chunks back: the object a manifest names, an older version that something hides, or any other object whose
//! plaintext has the id.

use super::again::Judged;
use super::catalogue::Depth;
use super::index::ChunkListing;
use super::manifest::Chunk;
use super::seal::{self, OpenError};
use super::{Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Result};
use crate::id::{ChunkId, Nonce, Sha256};
use crate::store::{Object, ObjectKey, StoreError};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use std::sync::{Mutex, PoisonError};

/// What is wrong with a chunk's object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkDamage {
    /// There is none.
    #[error("it is missing")]
    Missing,
    /// It is longer or shorter.
    #[error("it has {found} bytes instead of {expected}")]
    WrongSize {
        /// What the manifest says.
        expected: u64,
        /// What the store has.
        found: u64,
    },
    /// Its bytes are others.
    #[error("its bytes are not those that were stored")]
    WrongHash,
    /// Its bytes are those that were stored, but they do not open to what the manifest says.
    #[error("it does not open: {0}")]
    Unsealable(String),
}

/// Why a chunk could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The chunk is damaged; others may be whole.
    #[error("{0}")]
    Damage(ChunkDamage),
    /// Something else failed.
    #[error("{0}")]
    Error(Error),
}

impl From<Error> for FetchError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Repository {
    /// A chunk's plaintext.
    pub async fn fetch_chunk(&self, chunk: &Chunk) -> Result<Bytes, FetchError> {
        self.refuse_wrong_reader(chunk.epoch)?;
        let damage = match self.stored_chunk(chunk).await? {
            Ok(body) => match self.open_chunk(body, chunk).await? {
                Ok(plain) => return Ok(plain),
                Err(damage) => damage,
            },
            Err(damage) => damage,
        };
        match self.same_chunk_elsewhere(chunk).await? {
            Some(plain) => Ok(plain),
            None => Err(FetchError::Damage(damage)),
        }
    }

    /// Checks a chunk's object as deeply as it can be without opening it; `None` if all is well.
    pub async fn check_chunk(&self, chunk: &Chunk, depth: Depth) -> Result<Option<ChunkDamage>> {
        if depth == Depth::Listed {
            let key = layout::chunk(chunk);
            return match self.store().head(&key, None).await {
                Ok(meta) => Ok(wrong_size(chunk.stored, meta.size)),
                Err(StoreError::NotFound(_)) => Ok(Some(ChunkDamage::Missing)),
                Err(error) => Err(failed(format!("looking at {key}"))(error)),
            };
        }
        Ok(self.current_chunk(chunk).await?.err())
    }

    /// The object a manifest names, or an older version of it that has the right bytes.
    async fn stored_chunk(&self, chunk: &Chunk) -> Result<Result<Bytes, ChunkDamage>> {
        let damage = match self.current_chunk(chunk).await? {
            Ok(body) => return Ok(Ok(body)),
            Err(damage) => damage,
        };
        let key = layout::chunk(chunk);
        if let Some(body) = self.older_version(&key, |body| Sha256::of(body) == chunk.sha256).await? {
            tracing::warn!(%key, %damage, "the current version is damaged; an older one is used");
            return Ok(Ok(body));
        }
        Ok(Err(damage))
    }

    /// The current version of a chunk's object, if its bytes are those that were stored.
    async fn current_chunk(&self, chunk: &Chunk) -> Result<Result<Bytes, ChunkDamage>> {
        let (stored, sha256) = (chunk.stored, chunk.sha256);
        let judge = move |object: Object| match wrong_size(stored, object.body.len() as u64) {
            Some(damage) => Err(damage),
            None if Sha256::of(&object.body) == sha256 => Ok(object.body),
            None => Err(ChunkDamage::WrongHash),
        };
        Ok(match self.get_judged(&layout::chunk(chunk), judge).await? {
            Judged::Good(body) => Ok(body),
            Judged::Bad(damage) => Err(damage),
            Judged::Missing => Err(ChunkDamage::Missing),
        })
    }

    /// Opens a chunk's object; the plaintext must have the chunk's id where the id key is at hand.
    async fn open_chunk(&self, body: Bytes, chunk: &Chunk) -> Result<Result<Bytes, ChunkDamage>> {
        let repository = self.clone();
        let (id, epoch, bytes) = (chunk.id, chunk.epoch, chunk.bytes);
        let opened = self
            .off_async(move || {
                let plain = seal::open(&body, repository.opening(), bytes)?;
                let id_key = repository.0.id_keys.get(&epoch);
                if id_key.is_some_and(|key| key.id_of(&plain) != id) {
                    return Err(OpenError::Damaged("its plaintext is not the one that was hashed".to_owned()));
                }
                Ok(plain)
            })
            .await?;
        match opened {
            Ok(plain) => Ok(Ok(plain.into())),
            Err(OpenError::NoKey) => Err(self.wrong_reader(chunk.epoch)),
            Err(OpenError::Damaged(what)) => Ok(Err(ChunkDamage::Unsealable(what))),
        }
    }

    /// Any other sealing whose plaintext has the chunk's id; only where the id key is at hand, for nothing else proves it.
    async fn same_chunk_elsewhere(&self, chunk: &Chunk) -> Result<Option<Bytes>> {
        if !self.0.id_keys.contains_key(&chunk.epoch) {
            return Ok(None);
        }
        let named = layout::chunk(chunk);
        let prefix = layout::sealings(&chunk.id);
        let mut others: Vec<ObjectKey> = Vec::new();
        let mut entries = self.store().list(&prefix);
        while let Some(entry) =
            entries.try_next().await.map_err(failed(format!("looking for other copies of {named}")))?
        {
            if entry.key != named {
                others.push(entry.key);
            }
        }
        drop(entries);
        for key in others {
            let Ok(object) = self.store().get(&key, None).await else { continue };
            if let Ok(Ok(plain)) = self.open_chunk(object.body, chunk).await {
                tracing::warn!(%named, %key, "a damaged chunk was read from another copy of it");
                return Ok(Some(plain));
            }
        }
        Ok(None)
    }

    /// Tells a missing reader key from a wrong one before anything is read.
    pub fn refuse_wrong_reader(&self, epoch: u32) -> Result<()> {
        if !self.encrypted() {
            return Ok(());
        }
        let needed = self.charter().readers_of(epoch).unwrap_or_default();
        if self.0.recipients.iter().any(|recipient| needed.contains(recipient)) {
            return Ok(());
        }
        Err(self.wrong_reader(epoch))
    }

    fn wrong_reader(&self, epoch: u32) -> Error {
        let needed = self.charter().readers_of(epoch).unwrap_or_default().join(" or ");
        let recipients = &self.0.recipients;
        if recipients.is_empty() {
            return Error::input("opening chunks: there is no reader key (the writer key opens no rows)")
                .hint(format!("name the directory that holds reader.key with --keys; rows are sealed to {needed}"));
        }
        Error::input(format!(
            "opening chunks: the reader key at hand is {}, but they are sealed to {needed}",
            recipients.join(" and ")
        ))
        .hint("davit key check tells which key each point needs")
    }

    /// All chunk objects with their sizes.
    pub async fn listing_of_chunks(&self) -> Result<ChunkListing> {
        let mut listing = ChunkListing::default();
        self.list_chunks(|id, nonce, size| listing.add(&id, nonce, size)).await?;
        listing.sort();
        Ok(listing)
    }

    /// Tells every chunk object to `see`; sixteen listings side by side, because one page after another takes minutes
    /// for a million objects.
    pub async fn list_chunks(&self, see: impl FnMut(ChunkId, Nonce, u64) + Send) -> Result<()> {
        let see = Mutex::new(see);
        let see = &see;
        let list = |digit: u32| async move {
            let prefix = format!("chunks/{digit:x}");
            let mut entries = self.store().list(&prefix);
            while let Some(entry) = entries.try_next().await.map_err(failed("listing the chunks"))? {
                if let Some((id, nonce)) = layout::parse_chunk(entry.key.as_str()) {
                    (see.lock().unwrap_or_else(PoisonError::into_inner))(id, nonce, entry.size);
                }
            }
            Ok::<(), Error>(())
        };
        futures_util::stream::iter(0..16).map(list).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }
}

fn wrong_size(expected: u64, found: u64) -> Option<ChunkDamage> {
    (found != expected).then_some(ChunkDamage::WrongSize { expected, found })
}
