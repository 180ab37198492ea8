//! A store in memory: the reference of the contract, for simulations and tests.
//!
//! It behaves like an S3 bucket, with or without versions and locks. [`MemoryStore::tamper`] and its siblings do
//! what somebody with access to the bucket could do, and [`MemoryStore::fork`] keeps the state of an instant.

use super::body::ExactBody;
use super::{
    ETag, Entry, Features, Lock, LockMode, Meta, Object, ObjectKey, Put, Reading, Store, StoreError, Stored,
    VersionEntry, VersionId,
};
use crate::clock::SharedClock;
use crate::id::Sha256;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bucket in memory.
pub struct MemoryStore {
    clock: SharedClock,
    versioned: bool,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    /// Every object's versions, the oldest first; without versioning there is at most one.
    objects: BTreeMap<String, Vec<Version>>,
    /// Grows with every write; the source of tags and versions.
    writes: u64,
}

#[derive(Clone)]
struct Version {
    number: u64,
    /// `None` is a delete marker.
    body: Option<Bytes>,
    sha256: Sha256,
    modified: Timestamp,
    lock: Option<Lock>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("versioned", &self.versioned).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty bucket without versions.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { clock, versioned: false, state: Mutex::default() })
    }

    /// An empty bucket that keeps versions and can lock them.
    pub fn versioned(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { clock, versioned: true, state: Mutex::default() })
    }

    /// A copy of the bucket as it is at this instant; the two then go their own ways.
    pub fn fork(&self) -> Arc<Self> {
        let state = self.state().clone();
        Arc::new(Self { clock: Arc::clone(&self.clock), versioned: self.versioned, state: Mutex::new(state) })
    }

    /// The same bucket after versions were switched on.
    pub fn fork_with_versions(&self) -> Arc<Self> {
        let state = self.state().clone();
        Arc::new(Self { clock: Arc::clone(&self.clock), versioned: true, state: Mutex::new(state) })
    }

    /// Puts bytes under a name no matter what was there, as an attacker or a broken disk would; without versions
    /// the old bytes are gone, locks or not.
    pub fn tamper(&self, key: &ObjectKey, body: impl Into<Bytes>) {
        let body = body.into();
        let sha256 = Sha256::of(&body);
        self.write(&mut self.state(), key, Some(body), sha256, None);
    }

    /// Changes the bytes of the current version in place: what a broken disk does. False if there is none.
    pub fn rot(&self, key: &ObjectKey, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        let version = state.objects.get_mut(key.as_str()).and_then(|versions| versions.last_mut());
        let Some(body) = version.and_then(|version| version.body.as_mut()) else { return false };
        let mut bytes = body.to_vec();
        change(&mut bytes);
        *body = bytes.into();
        true
    }

    /// Makes an object vanish with all its versions, locks or not.
    pub fn lose(&self, key: &ObjectKey) {
        self.state().objects.remove(key.as_str());
    }

    /// The names of all current objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        let state = self.state();
        let current = |versions: &Vec<Version>| versions.last().is_some_and(|version| version.body.is_some());
        state.objects.iter().filter(|(_, versions)| current(versions)).map(|(key, _)| ObjectKey(key.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        state: &mut State,
        key: &ObjectKey,
        body: Option<Bytes>,
        sha: Sha256,
        lock: Option<Lock>,
    ) -> Stored {
        state.writes += 1;
        let number = state.writes;
        let version = Version { number, body, sha256: sha, modified: self.clock.now(), lock };
        let versions = state.objects.entry(key.as_str().to_owned()).or_default();
        if !self.versioned {
            versions.clear();
        }
        versions.push(version);
        Stored { etag: tag(number), version: self.versioned.then(|| name(number)) }
    }

    /// Refuses what an S3 server refuses before it looks at the object.
    fn admit(&self, key: &ObjectKey, put: &Put) -> Result<(), StoreError> {
        if put.lock.is_some_and(|lock| lock.until <= self.clock.now()) {
            return Err(StoreError::Other("InvalidArgument: a lock must end in the future".into()));
        }
        if put.lock.is_some() && !self.versioned {
            return Err(StoreError::Unsupported("object lock"));
        }
        super::body::check_sha256(key, &put.body, &put.sha256)
    }

    fn find<'a>(
        &self,
        state: &'a State,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<(&'a Version, Bytes), StoreError> {
        let versions = state.objects.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let found = match version {
            None => versions.last(),
            Some(_) if !self.versioned => return Err(StoreError::Unsupported("versions")),
            Some(wanted) => versions.iter().find(|version| name(version.number) == *wanted),
        };
        let body = found.and_then(|version| Some((version, version.body.clone()?)));
        body.ok_or_else(|| StoreError::NotFound(key.to_string()))
    }

    fn meta(&self, version: &Version, body: &Bytes) -> Meta {
        Meta {
            size: body.len() as u64,
            etag: tag(version.number),
            version: self.versioned.then(|| name(version.number)),
            modified: version.modified,
            lock: version.lock,
            sha256: Some(version.sha256),
        }
    }
}

fn tag(number: u64) -> ETag {
    ETag(format!("m{number}"))
}

fn name(number: u64) -> VersionId {
    VersionId(format!("v{number}"))
}

#[async_trait]
impl Store for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        self.admit(key, &put)?;
        let mut state = self.state();
        match self.find(&state, key, None) {
            Ok(_) => Err(StoreError::AlreadyExists(key.to_string())),
            Err(_) => Ok(self.write(&mut state, key, Some(put.body), put.sha256, put.lock)),
        }
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        self.admit(key, &put)?;
        let mut state = self.state();
        match self.find(&state, key, None) {
            Ok((version, _)) if tag(version.number) == *expected => {
                Ok(self.write(&mut state, key, Some(put.body), put.sha256, put.lock))
            }
            _ => Err(StoreError::Changed(key.to_string())),
        }
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        let state = self.state();
        let (version, body) = self.find(&state, key, version)?;
        Ok(Object { meta: self.meta(version, &body), body })
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        let Object { meta, mut body } = self.get(key, version).await?;
        let rest = body.split_off(usize::try_from(from).unwrap_or(usize::MAX).min(body.len()));
        let body = Box::pin(ExactBody::new(std::io::Cursor::new(rest), meta.size.saturating_sub(from)));
        Ok(Reading { meta, body })
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        Ok(self.get(key, version).await?.meta)
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        let state = self.state();
        let first = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let entry = |key: &String, versions: &Vec<Version>| {
            let version = versions.last()?;
            let size = version.body.as_ref()?.len() as u64;
            Some(Ok(Entry { key: ObjectKey(key.clone()), size, modified: version.modified }))
        };
        let named = state.objects.range::<str, _>((first, Bound::Unbounded));
        let found: Vec<_> = named
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| entry(key, versions))
            .collect();
        stream::iter(found).boxed()
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let keys = self.keys();
        let below = keys.iter().filter_map(|key| key.as_str().strip_prefix(prefix)?.split_once('/'));
        let found: BTreeSet<&str> = below.map(|(folder, _)| folder).collect();
        Ok(found.into_iter().map(ToOwned::to_owned).collect())
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        if !self.versioned {
            return Err(StoreError::Unsupported("versions"));
        }
        let state = self.state();
        let mut found = Vec::new();
        for (key, versions) in state.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            for (age, version) in versions.iter().rev().enumerate() {
                found.push(VersionEntry {
                    key: ObjectKey(key.clone()),
                    version: name(version.number),
                    size: version.body.as_ref().map_or(0, |body| body.len() as u64),
                    modified: version.modified,
                    latest: age == 0,
                    delete_marker: version.body.is_none(),
                });
            }
        }
        Ok(found)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let mut state = self.state();
        if !self.versioned {
            state.objects.remove(key.as_str());
        } else if self.find(&state, key, None).is_ok() {
            self.write(&mut state, key, None, Sha256::of(b""), None);
        }
        Ok(())
    }

    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError> {
        if !self.versioned {
            return Err(StoreError::Unsupported("versions"));
        }
        let now = self.clock.now();
        let mut state = self.state();
        let Some(versions) = state.objects.get_mut(key.as_str()) else { return Ok(()) };
        let wanted = |v: &Version| name(v.number) == *version;
        if versions.iter().any(|v| wanted(v) && v.lock.is_some_and(|lock| lock.until > now)) {
            return Err(StoreError::Locked(key.to_string()));
        }
        versions.retain(|v| !wanted(v));
        if versions.is_empty() {
            state.objects.remove(key.as_str());
        }
        Ok(())
    }

    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError> {
        if !self.versioned {
            return Err(StoreError::Unsupported("object lock"));
        }
        let mut state = self.state();
        let number = self.find(&state, key, version)?.0.number;
        let versions = state.objects.get_mut(key.as_str()).into_iter().flatten();
        for version in versions.filter(|version| version.number == number) {
            version.lock = Some(longer(version.lock, lock));
        }
        Ok(())
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(Some(self.clock.now()))
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        super::probe::probe(self, &*self.clock, super::probe::Known::default()).await
    }
}

/// The stronger of two locks in both respects: a lock is never shortened or weakened.
pub(super) fn longer(old: Option<Lock>, new: Lock) -> Lock {
    let Some(old) = old else { return new };
    let compliance = old.mode == LockMode::Compliance || new.mode == LockMode::Compliance;
    let mode = if compliance { LockMode::Compliance } else { LockMode::Governance };
    Lock { mode, until: old.until.max(new.until) }
}
