//! For tests: a store whose every call passes a gate, before it happens and before its answer is believed.
//!
//! A gate may wait, fail the call, or lose its answer. Listings pass it once per page of a few names, so that a
//! listing is no more one instant than it is on a real server.

use super::{
    ETag, Entry, Features, Lock, Meta, Object, ObjectKey, Put, Reading, SharedStore, Store, StoreError, Stored,
    VersionEntry, VersionId,
};
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use std::sync::Arc;

/// Names per page of a listing.
const PAGE: usize = 4;

/// One call of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// `put_new`, `list`, …
    pub(crate) name: &'static str,
    /// The key or prefix.
    pub(crate) target: &'a str,
    /// Whether it changes anything.
    pub(crate) writes: bool,
}

/// Decides about calls.
#[async_trait]
pub(crate) trait Gate: Send + Sync + std::fmt::Debug {
    /// Before the call has any effect.
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError>;
    /// After its effect, before its answer is given.
    async fn after(&self, call: Call<'_>) -> Result<(), StoreError>;
}

/// A store behind a gate.
#[derive(Debug)]
pub(crate) struct GatedStore {
    store: SharedStore,
    gate: Arc<dyn Gate>,
}

impl GatedStore {
    pub(crate) fn new(store: SharedStore, gate: Arc<dyn Gate>) -> Arc<Self> {
        Arc::new(Self { store, gate })
    }

    async fn pass<T: Send>(
        &self,
        name: &'static str,
        target: &str,
        writes: bool,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let what = Call { name, target, writes };
        self.gate.before(what).await?;
        let answer = call.await;
        self.gate.after(what).await?;
        answer
    }

    async fn page(&self, prefix: &str, after: Option<&ObjectKey>) -> Result<Vec<Entry>, StoreError> {
        let page = self.store.list_after(prefix, after).take(PAGE).try_collect();
        self.pass("list", prefix, false, page).await
    }
}

#[async_trait]
impl Store for GatedStore {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        self.pass("put_new", key.as_str(), true, self.store.put_new(key, put)).await
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        self.pass("put_if_match", key.as_str(), true, self.store.put_if_match(key, put, expected)).await
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        self.pass("get", key.as_str(), false, self.store.get(key, version)).await
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        self.pass("read", key.as_str(), false, self.store.read_from(key, version, from)).await
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        self.pass("head", key.as_str(), false, self.store.head(key, version)).await
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        let first = Some((prefix.to_owned(), after.cloned()));
        let pages = stream::try_unfold(first, move |state: Option<(String, Option<ObjectKey>)>| async move {
            let Some((prefix, after)) = state else { return Ok::<_, StoreError>(None) };
            let page = self.page(&prefix, after.as_ref()).await?;
            let next = (page.len() == PAGE).then(|| (prefix, page.last().map(|entry| entry.key.clone())));
            Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
        });
        pages.try_flatten().boxed()
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.pass("folders", prefix, false, self.store.folders(prefix)).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        self.pass("versions", prefix, false, self.store.versions(prefix)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.pass("delete", key.as_str(), true, self.store.delete(key)).await
    }

    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError> {
        self.pass("delete_version", key.as_str(), true, self.store.delete_version(key, version)).await
    }

    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError> {
        self.pass("extend_lock", key.as_str(), true, self.store.extend_lock(key, version, lock)).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        self.pass("clock", "", false, self.store.clock()).await
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        self.store.probe().await
    }
}
