//! Finds out by trying what a store can do. Names of vendors prove nothing: some accept `If-None-Match` and
//! overwrite all the same.
//!
//! The objects made for it are called `davit-probe-…` and are gone afterwards, with all their versions. Where
//! the bucket locks every new object, they carry a lock of seconds instead, and the probe waits for its end.

use super::{ETag, Features, Lock, LockMode, ObjectKey, Put, Store, StoreError, Stored};
use crate::clock::Clock;
use crate::id::{Sha256, to_hex};
use bytes::Bytes;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;

/// So many writers race for one name.
const RACERS: u8 = 6;
/// How long a lock made for the probe lasts: long enough to be seen, short enough to be waited for.
const SHORT_LOCK: SignedDuration = SignedDuration::from_secs(3);

/// What the store's own settings say, where they can be asked.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The retention each new object gets by itself.
    pub(super) default_retention: Option<String>,
}

/// Tries everything on objects of its own and removes them, also when a step fails.
pub(super) async fn probe(store: &dyn Store, clock: &dyn Clock, known: Known) -> Result<Features, StoreError> {
    let probe = Probe {
        store,
        clock,
        name: format!("davit-probe-{}", to_hex(&rand::rng().random::<[u8; 8]>())),
        locks_itself: known.default_retention.is_some(),
    };
    let found = probe.run().await;
    let cleaned = probe.clean().await;
    let features = found?;
    cleaned?;
    Ok(Features { default_retention: known.default_retention, ..features })
}

struct Probe<'a> {
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    name: String,
    locks_itself: bool,
}

impl Probe<'_> {
    async fn run(&self) -> Result<Features, StoreError> {
        let (put_if_absent, first) = self.race_for_a_new_name().await?;
        let put_if_match = self.race_to_replace(&first.etag).await?;
        let versioning = match &first.version {
            None => false,
            Some(version) => self.store.head(&self.key("a")?, Some(version)).await.is_ok(),
        };
        Ok(Features {
            put_if_absent,
            put_if_match,
            versioning,
            object_lock: versioning && self.locks_a_version().await?,
            default_retention: None,
            checksums: self.refuses_a_wrong_hash().await?,
        })
    }

    fn key(&self, part: &str) -> Result<ObjectKey, StoreError> {
        ObjectKey::new(format!("{}/{part}", self.name))
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.store.clock().await?.unwrap_or_else(|| self.clock.now()))
    }

    async fn short_lock(&self) -> Result<Lock, StoreError> {
        let until = self.now().await?.checked_add(SHORT_LOCK).unwrap_or(Timestamp::MAX);
        Ok(Lock { mode: LockMode::Governance, until })
    }

    async fn put(&self, text: String) -> Result<Put, StoreError> {
        let lock = if self.locks_itself { Some(self.short_lock().await?) } else { None };
        Ok(Put::new(Bytes::from(text)).locked(lock))
    }

    /// Whether exactly one of several writers gets a name, and nobody after it; and what stands there now.
    async fn race_for_a_new_name(&self) -> Result<(bool, Stored), StoreError> {
        let key = self.key("a")?;
        let put = self.put("racer".to_owned()).await?;
        let racers = (0..RACERS).map(|_| self.store.put_new(&key, put.clone()));
        let (won, mut sound) = only_one(join_all(racers).await, |e| matches!(e, StoreError::AlreadyExists(_)))?;
        sound &= matches!(self.store.put_new(&key, put).await, Err(StoreError::AlreadyExists(_)));
        Ok((sound, won))
    }

    /// Whether exactly one of several writers replaces what they all saw, and nobody after it.
    async fn race_to_replace(&self, seen: &ETag) -> Result<bool, StoreError> {
        let key = self.key("a")?;
        let mut puts = Vec::new();
        for racer in 0..RACERS {
            puts.push(self.put(format!("racer {racer}")).await?);
        }
        let late = self.put("late".to_owned()).await?;
        let racers = puts.into_iter().map(|put| self.store.put_if_match(&key, put, seen));
        let (_, sound) = match only_one(join_all(racers).await, |e| matches!(e, StoreError::Changed(_))) {
            Ok(outcome) => outcome,
            Err(StoreError::Unsupported(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(sound && matches!(self.store.put_if_match(&key, late, seen).await, Err(StoreError::Changed(_))))
    }

    /// Whether a version with a lock cannot be deleted.
    async fn locks_a_version(&self) -> Result<bool, StoreError> {
        let key = self.key("locked")?;
        let put = Put::new(Bytes::from_static(b"locked")).locked(Some(self.short_lock().await?));
        let version = match self.store.put_new(&key, put).await {
            Ok(stored) => stored.version,
            Err(StoreError::Unsupported(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(version) = version else { return Ok(false) };
        match self.store.delete_version(&key, &version).await {
            Err(StoreError::Locked(_)) => Ok(true),
            Ok(()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn refuses_a_wrong_hash(&self) -> Result<bool, StoreError> {
        let mut put = self.put("checked".to_owned()).await?;
        put.sha256 = Sha256::of(b"something else");
        match self.store.put_new(&self.key("hash")?, put).await {
            Ok(_) => Ok(false),
            Err(StoreError::Damaged { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Deletes every version of everything made here, once the locks have run out.
    async fn clean(&self) -> Result<(), StoreError> {
        match self.store.versions(&self.name).await {
            Err(StoreError::Unsupported(_)) => {
                for part in ["a", "locked", "hash"] {
                    self.store.delete(&self.key(part)?).await?;
                }
            }
            Err(error) => return Err(error),
            Ok(versions) => {
                for entry in versions {
                    self.delete_when_unlocked(&entry.key, &entry.version).await?;
                }
            }
        }
        Ok(())
    }

    async fn delete_when_unlocked(&self, key: &ObjectKey, version: &super::VersionId) -> Result<(), StoreError> {
        let deadline = self.clock.monotonic() + (SHORT_LOCK * 3).unsigned_abs();
        loop {
            match self.store.delete_version(key, version).await {
                Err(StoreError::Locked(_)) if self.clock.monotonic() < deadline => {
                    self.clock.sleep(std::time::Duration::from_millis(250)).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// The one winner, and whether all others lost for the reason they should; a busy store is no reason to doubt it.
fn only_one(
    outcomes: Vec<Result<Stored, StoreError>>,
    lost: impl Fn(&StoreError) -> bool,
) -> Result<(Stored, bool), StoreError> {
    let mut winners = Vec::new();
    let mut failure = None;
    for outcome in outcomes {
        match outcome {
            Ok(stored) => winners.push(stored),
            Err(error) if lost(&error) => {}
            Err(error) => failure = Some(error),
        }
    }
    let sound = winners.len() == 1;
    match (winners.into_iter().next(), failure) {
        (Some(winner), None | Some(StoreError::Unavailable { .. })) => Ok((winner, sound)),
        (_, Some(error)) => Err(error),
        (None, None) => {
            Err(StoreError::Other("none of several writers got a new name: the store is unusable".to_owned()))
        }
    }
}
