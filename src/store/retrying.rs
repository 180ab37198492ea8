//! A store whose calls are tried again until they succeed, fail for good, or the policy's limits are reached.
//!
//! A write that may or may not have happened is settled by reading back: what stands there with our size and our
//! SHA-256 is ours. A body or a listing that breaks off goes on where it broke off.

use super::body::next_piece;
use super::{
    ETag, Entry, Features, Lock, Meta, Object, ObjectKey, Put, Reading, SharedStore, Store, StoreError, Stored,
    VersionEntry, VersionId,
};
use crate::clock::SharedClock;
use crate::id::Sha256;
use crate::retry::{Policy, Retry, Retryable};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

/// A store that tries again.
#[derive(Debug, Clone)]
pub struct Retrying {
    store: SharedStore,
    policy: Policy,
    clock: SharedClock,
    cancel: CancellationToken,
}

impl Retrying {
    /// Tries calls to `store` as `policy` says; a cancelled token ends the waiting.
    pub fn new(store: SharedStore, policy: Policy, clock: SharedClock, cancel: CancellationToken) -> Self {
        Self { store, policy, clock, cancel }
    }

    async fn again<T, F, Fut>(&self, mut call: F) -> Result<T, StoreError>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        let attempt = |number| {
            let outcome = call();
            async move {
                let outcome = outcome.await;
                if let Err(error) = &outcome
                    && error.retry() == Retry::Later
                {
                    tracing::debug!(attempt = number, %error, "a call to the store failed");
                }
                outcome
            }
        };
        self.policy.run(&*self.clock, &self.cancel, attempt).await
    }

    /// The pause first, then the call: for going on after a failure that was seen already.
    async fn after<T, F, Fut>(&self, failure: StoreError, mut call: F) -> Result<T, StoreError>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        let mut failure = Some(failure);
        self.again(|| {
            let seen = failure.take();
            let call = seen.is_none().then(&mut call);
            async move {
                match (seen, call) {
                    (_, Some(call)) => call.await,
                    (Some(error), None) => Err(error),
                    (None, None) => Err(StoreError::Other("nothing to try".to_owned())),
                }
            }
        })
        .await
    }

    /// A conditional write: `lost` is how the store says that somebody else was first.
    async fn write<F, Fut>(
        &self,
        key: &ObjectKey,
        put: &Put,
        lost: fn(&StoreError) -> bool,
        write: F,
    ) -> Result<Stored, StoreError>
    where
        F: Fn(Put) -> Fut + Sync,
        Fut: Future<Output = Result<Stored, StoreError>> + Send,
    {
        let unsure = AtomicBool::new(false);
        let attempt = || async {
            let error = match write(put.clone()).await {
                Ok(stored) => return Ok(stored),
                Err(error) => error,
            };
            if lost(&error) && unsure.load(Ordering::Relaxed) {
                return self.ours(key, put).await?.ok_or(error);
            }
            if matches!(error, StoreError::OutcomeUnknown { .. }) {
                unsure.store(true, Ordering::Relaxed);
            }
            Err(error)
        };
        match self.again(attempt).await {
            // No attempt is left, but one may have had its effect.
            Err(error) if unsure.load(Ordering::Relaxed) && error.retry() == Retry::Later => {
                match self.ours(key, put).await {
                    Ok(Some(stored)) => Ok(stored),
                    _ => Err(error),
                }
            }
            outcome => outcome,
        }
    }

    /// What stands under a name if it has the bytes of `put`: then an earlier attempt of ours put it.
    async fn ours(&self, key: &ObjectKey, put: &Put) -> Result<Option<Stored>, StoreError> {
        let meta = match self.store.head(key, None).await {
            Ok(meta) => meta,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if meta.size != put.body.len() as u64 {
            return Ok(None);
        }
        let (hash, meta) = if let Some(hash) = meta.sha256 {
            (hash, meta)
        } else {
            let object = self.store.get(key, None).await?;
            (Sha256::of(&object.body), object.meta)
        };
        Ok((hash == put.sha256).then_some(Stored { etag: meta.etag, version: meta.version }))
    }
}

#[async_trait]
impl Store for Retrying {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        let taken = |error: &StoreError| matches!(error, StoreError::AlreadyExists(_));
        self.write(key, &put, taken, |put| self.store.put_new(key, put)).await
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        let changed = |error: &StoreError| matches!(error, StoreError::Changed(_));
        self.write(key, &put, changed, |put| self.store.put_if_match(key, put, expected)).await
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        self.again(|| self.store.get(key, version)).await
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        let Reading { meta, body } = self.again(|| self.store.read_from(key, version, from)).await?;
        if self.policy.attempts <= 1 {
            return Ok(Reading { meta, body });
        }
        let rest = Rest { store: self.clone(), key: key.clone(), meta: meta.clone(), at: from, body };
        let pieces = stream::try_unfold(rest, |mut rest| async move {
            let piece = rest.next().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, rest)))
        });
        Ok(Reading { meta, body: Box::pin(StreamReader::new(Box::pin(pieces))) })
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        self.again(|| self.store.head(key, version)).await
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        let listing = Some((self.store.list_after(prefix, after), after.cloned()));
        let prefix = prefix.to_owned();
        let entries = stream::unfold(listing, move |listing| {
            let prefix = prefix.clone();
            async move {
                let (mut entries, last) = listing?;
                let next = match entries.next().await {
                    Some(Err(error)) if error.retry() == Retry::Later => {
                        let reopened = self.after(error, || async {
                            let mut entries = self.store.list_after(&prefix, last.as_ref());
                            let next = entries.next().await.transpose()?;
                            Ok((entries, next))
                        });
                        match reopened.await {
                            Ok((reopened, next)) => {
                                entries = reopened;
                                next.map(Ok)
                            }
                            Err(error) => Some(Err(error)),
                        }
                    }
                    next => next,
                };
                match next? {
                    Ok(entry) => {
                        let last = Some(entry.key.clone());
                        Some((Ok(entry), Some((entries, last))))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            }
        });
        entries.boxed()
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.again(|| self.store.folders(prefix)).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        self.again(|| self.store.versions(prefix)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.again(|| self.store.delete(key)).await
    }

    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError> {
        self.again(|| self.store.delete_version(key, version)).await
    }

    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError> {
        self.again(|| self.store.extend_lock(key, version, lock)).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        self.again(|| self.store.clock()).await
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        self.again(|| self.store.probe()).await
    }
}

/// What is still to be read of an object.
struct Rest {
    store: Retrying,
    key: ObjectKey,
    meta: Meta,
    at: u64,
    body: Pin<Box<dyn AsyncRead + Send>>,
}

impl Rest {
    /// The next bytes, from a fresh answer if the old one breaks; none at the end.
    async fn next(&mut self) -> Result<Bytes, StoreError> {
        if self.at >= self.meta.size {
            return Ok(Bytes::new());
        }
        let piece = match next_piece(&mut self.body).await {
            Ok(piece) if !piece.is_empty() => piece,
            Ok(_) => self.reopen("the body ended early".to_owned()).await?,
            Err(error) => self.reopen(error.to_string()).await?,
        };
        self.at += piece.len() as u64;
        Ok(piece)
    }

    async fn reopen(&mut self, detail: String) -> Result<Bytes, StoreError> {
        let broken = |detail: String| StoreError::Unavailable { target: self.key.to_string(), detail };
        let inner = &self.store.store;
        let going_on = self.store.after(broken(detail), || async {
            let mut reading = inner.read_from(&self.key, self.meta.version.as_ref(), self.at).await?;
            if reading.meta.etag != self.meta.etag {
                return Err(StoreError::Changed(self.key.to_string()));
            }
            match next_piece(&mut reading.body).await {
                Ok(piece) if !piece.is_empty() => Ok((reading.body, piece)),
                Ok(_) => Err(broken("the body ended early".to_owned())),
                Err(error) => Err(broken(error.to_string())),
            }
        });
        let (body, piece) = going_on.await?;
        self.body = body;
        Ok(piece)
    }
}
