//! A store that sends and receives no more than so many bytes per second, both together.
//!
//! Bytes are paid for in time: a put before it is sent, a get after it came. So the rate holds over any stretch
//! longer than one object, however many workers share the store; a single object still goes at the line's speed.

use super::body::next_piece;
use super::{
    ETag, Entry, Features, Lock, Meta, Object, ObjectKey, Put, Reading, SharedStore, Store, StoreError, Stored,
    VersionEntry, VersionId,
};
use crate::clock::SharedClock;
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::io::StreamReader;

/// A store behind a limit.
#[derive(Debug)]
pub struct LimitedStore {
    store: SharedStore,
    budget: Arc<Budget>,
}

impl LimitedStore {
    /// Lets `bytes_per_second` through to `store` and back.
    pub fn new(store: SharedStore, bytes_per_second: NonZeroU64, clock: SharedClock) -> Self {
        let budget = Budget { bytes_per_second, clock, paid_until: Mutex::new(Duration::ZERO) };
        Self { store, budget: Arc::new(budget) }
    }
}

/// A bucket of tokens that holds none in reserve: an idle minute does not make a burst later.
#[derive(Debug)]
struct Budget {
    bytes_per_second: NonZeroU64,
    clock: SharedClock,
    /// The monotonic time at which everything that was let through is paid for.
    paid_until: Mutex<Duration>,
}

impl Budget {
    /// Waits until `bytes` more may pass.
    async fn pay(&self, bytes: usize) {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let price = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = self.clock.monotonic();
        let turn = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            *paid_until = (*paid_until).max(now).saturating_add(price);
            *paid_until
        };
        self.clock.sleep(turn.saturating_sub(now)).await;
    }
}

#[async_trait]
impl Store for LimitedStore {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        self.budget.pay(put.body.len()).await;
        self.store.put_new(key, put).await
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        self.budget.pay(put.body.len()).await;
        self.store.put_if_match(key, put, expected).await
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        let object = self.store.get(key, version).await?;
        self.budget.pay(object.body.len()).await;
        Ok(object)
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        let Reading { meta, body } = self.store.read_from(key, version, from).await?;
        let pieces = stream::try_unfold((body, Arc::clone(&self.budget)), |(mut body, budget)| async move {
            let piece = next_piece(&mut body).await?;
            budget.pay(piece.len()).await;
            Ok::<_, std::io::Error>((!piece.is_empty()).then_some((piece, (body, budget))))
        });
        Ok(Reading { meta, body: Box::pin(StreamReader::new(Box::pin(pieces))) })
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        self.store.head(key, version).await
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        self.store.list_after(prefix, after)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.folders(prefix).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        self.store.versions(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError> {
        self.store.delete_version(key, version).await
    }

    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError> {
        self.store.extend_lock(key, version, lock).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.clock().await
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        self.store.probe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SimClock};
    use crate::store::MemoryStore;
    use tokio::io::AsyncReadExt;

    fn limited(clock: &SimClock) -> LimitedStore {
        let clock: SharedClock = Arc::new(clock.clone());
        LimitedStore::new(MemoryStore::new(Arc::clone(&clock)), NonZeroU64::new(1000).unwrap(), clock)
    }

    #[tokio::test]
    async fn bytes_take_their_time_in_both_directions() {
        let clock = SimClock::at(Timestamp::UNIX_EPOCH);
        let store = limited(&clock);
        let key = ObjectKey::new("a").unwrap();
        store.put_new(&key, Put::new(vec![7; 5000])).await.unwrap();
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        store.get(&key, None).await.unwrap();
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
        let mut all = Vec::new();
        store.read(&key, None).await.unwrap().body.read_to_end(&mut all).await.unwrap();
        assert_eq!((all.len(), clock.monotonic()), (5000, Duration::from_secs(15)));
    }

    #[tokio::test]
    async fn idle_time_is_not_saved_up() {
        let clock = SimClock::at(Timestamp::UNIX_EPOCH);
        let store = limited(&clock);
        clock.advance(Duration::from_secs(100));
        store.put_new(&ObjectKey::new("a").unwrap(), Put::new(vec![7; 3000])).await.unwrap();
        assert_eq!(clock.monotonic(), Duration::from_secs(103));
    }
}
