//! Deleting for good: in a store that keeps versions, all of them, and never one that is locked.

use crate::error::Result;
use crate::store::{ObjectKey, Store, StoreContext, StoreError, VersionEntry};
use jiff::Timestamp;

/// What became of an object that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purged {
    /// Nothing of it is left.
    Gone,
    /// A lock keeps it, until then if the store says so.
    Locked(Option<Timestamp>),
}

/// Deletes every version of an object. What is gone already is gone.
pub(super) async fn purge(store: &dyn Store, key: &ObjectKey) -> Result<Purged> {
    let doing = || format!("deleting {key}");
    let mut versions = match store.versions(key.as_str()).await {
        Ok(versions) => versions,
        Err(StoreError::Unsupported(_)) => return plainly(store, key).await,
        Err(error) => return Err(error.explain(doing())),
    };
    versions.retain(|version| version.key == *key);
    // The current one goes last, so that no older one comes to light meanwhile.
    for VersionEntry { version, .. } in versions.iter().rev() {
        match store.delete_version(key, version).await {
            Ok(()) => {}
            Err(StoreError::Locked(_)) => {
                let lock = store.head(key, Some(version)).await.ok().and_then(|meta| meta.lock);
                return Ok(Purged::Locked(lock.map(|lock| lock.until)));
            }
            Err(error) => return Err(error.explain(doing())),
        }
    }
    Ok(Purged::Gone)
}

async fn plainly(store: &dyn Store, key: &ObjectKey) -> Result<Purged> {
    match store.delete(key).await {
        Ok(()) => Ok(Purged::Gone),
        Err(StoreError::Locked(_)) => Ok(Purged::Locked(None)),
        Err(error) => Err(error).doing(|| format!("deleting {key}")),
    }
}

/// Until when a lock keeps the current version of an object; `None` if nothing does, or nothing is there.
pub(super) async fn locked_until(store: &dyn Store, key: &ObjectKey, now: Timestamp) -> Result<Option<Timestamp>> {
    match store.head(key, None).await {
        Ok(meta) => Ok(meta.lock.map(|lock| lock.until).filter(|until| *until > now)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error).doing(|| format!("looking at the lock of {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SharedClock, SimClock};
    use crate::store::{Lock, LockMode, MemoryStore, Put, SharedStore};
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn every_version_goes_and_a_locked_one_stays_with_its_date() {
        let sim = SimClock::at(Timestamp::from_second(1_800_000_000).unwrap());
        let clock: SharedClock = Arc::new(sim.clone());
        let store = MemoryStore::versioned(clock);
        let key = ObjectKey::new("chunks/ab/x").unwrap();
        store.put_new(&key, Put::new("first")).await.unwrap();
        store.tamper(&key, "second");
        store.delete(&key).await.unwrap();
        assert_eq!(store.versions("chunks/").await.unwrap().len(), 3);
        assert_eq!(purge(&*store, &key).await.unwrap(), Purged::Gone);
        assert_eq!(store.versions("chunks/").await.unwrap(), []);
        assert_eq!(purge(&*store, &key).await.unwrap(), Purged::Gone);

        let until = sim.now() + Duration::from_hours(1);
        let lock = Lock { mode: LockMode::Compliance, until };
        store.put_new(&key, Put::new("locked").locked(Some(lock))).await.unwrap();
        assert_eq!(locked_until(&*store, &key, sim.now()).await.unwrap(), Some(until));
        assert_eq!(purge(&*store, &key).await.unwrap(), Purged::Locked(Some(until)));
        sim.advance(Duration::from_hours(2));
        assert_eq!(locked_until(&*store, &key, sim.now()).await.unwrap(), None);
        assert_eq!(purge(&*store, &key).await.unwrap(), Purged::Gone);
    }

    #[tokio::test]
    async fn a_store_without_versions_simply_deletes() {
        let clock: SharedClock = Arc::new(SimClock::at(Timestamp::UNIX_EPOCH));
        let store: SharedStore = MemoryStore::new(clock);
        let key = ObjectKey::new("chunks/ab/x").unwrap();
        store.put_new(&key, Put::new("only")).await.unwrap();
        assert_eq!(purge(&*store, &key).await.unwrap(), Purged::Gone);
        assert!(matches!(store.head(&key, None).await, Err(StoreError::NotFound(_))));
    }
}
