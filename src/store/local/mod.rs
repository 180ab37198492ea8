//! A directory as a store. Every object is a file of its own under its key.
//!
//! A file is written under a temporary name, synced, and then given its name without replacing anything; so a
//! crash leaves either the whole object or none. Replacing and deleting go through one lock file, which makes
//! `put_if_match` hold between processes. What is not an object's name (`~tmp`, `~lock`) is never listed.
//! Links are not followed; there are no versions and no locks on objects.

mod files;
mod walk;

use super::body::{ExactBody, check_sha256};
use super::{
    ETag, Entry, Features, Lock, Meta, Object, ObjectKey, Put, Reading, Store, StoreError, Stored, VersionEntry,
    VersionId,
};
use crate::clock::SharedClock;
use async_trait::async_trait;
use files::Files;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;

/// A directory that holds objects.
#[derive(Debug)]
pub struct LocalStore {
    files: Arc<Files>,
    clock: SharedClock,
}

impl LocalStore {
    /// Opens a directory, after making it if `create` says so.
    pub async fn open(directory: &Path, create: bool, clock: SharedClock) -> Result<Self, StoreError> {
        let directory = directory.to_owned();
        let files = blocking(move || Files::open(&directory, create)).await?;
        Ok(Self { files: Arc::new(files), clock })
    }

    async fn run<T: Send + 'static>(
        &self,
        key: &ObjectKey,
        act: impl FnOnce(&Files, &ObjectKey) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (files, key) = (Arc::clone(&self.files), key.clone());
        blocking(move || act(&files, &key)).await
    }
}

/// Runs file work on a thread that may block.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(outcome) => outcome,
        Err(stopped) => Err(StoreError::Other(format!("file work was stopped: {stopped}"))),
    }
}

fn no_versions(version: Option<&VersionId>) -> Result<(), StoreError> {
    version.map_or(Ok(()), |_| Err(StoreError::Unsupported("versions")))
}

fn no_lock(put: &Put) -> Result<(), StoreError> {
    put.lock.map_or(Ok(()), |_| Err(StoreError::Unsupported("object lock")))
}

#[async_trait]
impl Store for LocalStore {
    fn describe(&self) -> String {
        self.files.root().display().to_string()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        no_lock(&put)?;
        let now = self.clock.now();
        let etag = self
            .run(key, move |files, key| {
                check_sha256(key, &put.body, &put.sha256)?;
                files.create(key, &put.body, now)
            })
            .await?;
        Ok(Stored { etag, version: None })
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        no_lock(&put)?;
        let (now, expected) = (self.clock.now(), expected.clone());
        let lock = self.files.lock(&*self.clock).await?;
        let etag = self
            .run(key, move |files, key| {
                check_sha256(key, &put.body, &put.sha256)?;
                files.replace(key, &put.body, now, &expected, &lock)
            })
            .await?;
        Ok(Stored { etag, version: None })
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        no_versions(version)?;
        let (meta, body) = self.run(key, Files::read_all).await?;
        Ok(Object { meta, body: body.into() })
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        no_versions(version)?;
        let (meta, file) = self.run(key, move |files, key| files.open_at(key, from)).await?;
        let body = Box::pin(ExactBody::new(tokio::fs::File::from_std(file), meta.size.saturating_sub(from)));
        Ok(Reading { meta, body })
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        no_versions(version)?;
        Ok(self.run(key, Files::open_object).await?.0)
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        let files = Arc::clone(&self.files);
        let walk = walk::Walk::begin(prefix, after);
        // One page of names at a time is read, on a thread that may block.
        let pages = stream::try_unfold(walk, move |walk| {
            let files = Arc::clone(&files);
            async move {
                let (walk, page) = blocking(move || {
                    let mut walk = walk?;
                    let page = walk.page(&files)?;
                    Ok((walk, page))
                })
                .await?;
                Ok::<_, StoreError>((!page.is_empty()).then_some((page, Ok(walk))))
            }
        });
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten().boxed()
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (files, prefix) = (Arc::clone(&self.files), prefix.to_owned());
        blocking(move || walk::folders(&files, &prefix)).await
    }

    async fn versions(&self, _prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        Err(StoreError::Unsupported("versions"))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let lock = self.files.lock(&*self.clock).await?;
        self.run(key, move |files, key| files.delete(key, &lock)).await
    }

    async fn delete_version(&self, _key: &ObjectKey, _version: &VersionId) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("versions"))
    }

    async fn extend_lock(&self, _key: &ObjectKey, _: Option<&VersionId>, _lock: Lock) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("object lock"))
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(Some(self.clock.now()))
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        super::probe::probe(self, &*self.clock, super::probe::Known::default()).await
    }
}
