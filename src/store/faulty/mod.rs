//! A store on which calls go wrong as a plan says: for simulations, and to see that nothing is believed too early.
//!
//! A fault shows as the S3 store would show it. Faults that a kind of call cannot have (a full store while
//! reading) do not happen to it.

mod plan;

pub use plan::{Chances, Fault, FaultPlan};

use super::{
    ETag, Entry, Features, Lock, Meta, Object, ObjectKey, Put, Reading, SharedStore, Store, StoreError, Stored,
    VersionEntry, VersionId,
};
use crate::clock::SharedClock;
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use std::future::Future;
use std::io::{self, Cursor};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::io::AsyncReadExt;

/// A store behind a plan of faults.
#[derive(Debug)]
pub struct FaultyStore {
    store: SharedStore,
    plan: FaultPlan,
    clock: SharedClock,
    calls: AtomicU64,
    faults: AtomicU64,
    standing: Mutex<Option<Fault>>,
}

/// One call under way.
#[derive(Clone, Copy)]
struct Call<'a> {
    number: u64,
    fault: Option<Fault>,
    action: &'static str,
    target: &'a str,
    writes: bool,
}

impl FaultyStore {
    /// Lets calls to `store` go wrong as `plan` says.
    pub fn new(store: SharedStore, plan: FaultPlan, clock: SharedClock) -> Self {
        let counter = AtomicU64::new(0);
        Self { store, plan, clock, calls: counter, faults: AtomicU64::new(0), standing: Mutex::new(None) }
    }

    /// From now on every call has this fault (a disk that is full, credentials that have run out), until `None`.
    pub fn stand(&self, fault: Option<Fault>) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many of them went wrong.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    fn begin<'a>(&self, action: &'static str, target: &'a str, writes: bool) -> Call<'a> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let standing = *self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = standing.or_else(|| self.plan.fault(number));
        let fault = fault.filter(|fault| writes || *fault != Fault::Full);
        if fault.is_some() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        Call { number, fault, action, target, writes }
    }

    /// Makes a call that has no body to go wrong.
    async fn plain<T>(
        &self,
        action: &'static str,
        target: &str,
        writes: bool,
        effect: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let call = self.begin(action, target, writes);
        self.before(call).await?;
        let answer = effect.await;
        call.after()?;
        answer
    }

    /// What goes wrong before the call has its effect.
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        let target = call.target.to_owned();
        match call.fault {
            Some(Fault::Refused) => {
                Err(StoreError::Unavailable { target, detail: "connection refused (injected)".to_owned() })
            }
            Some(Fault::Busy) => Err(StoreError::Unavailable { target, detail: "SlowDown (injected)".to_owned() }),
            Some(Fault::LostBefore) => Err(call.lost()),
            Some(Fault::Late(by)) => {
                self.clock.sleep(by).await;
                Ok(())
            }
            Some(Fault::Full) => Err(StoreError::Full(target)),
            Some(Fault::Denied) => Err(StoreError::Denied { action: call.action.to_owned(), target }),
            Some(Fault::Expired) => Err(StoreError::Credentials("ExpiredToken (injected)".to_owned())),
            Some(Fault::LostAfter | Fault::Cut | Fault::Wrong) | None => Ok(()),
        }
    }

    async fn put(
        &self,
        key: &ObjectKey,
        effect: impl Future<Output = Result<Stored, StoreError>> + Send,
    ) -> Result<Stored, StoreError> {
        let call = self.begin("s3:PutObject", key.as_str(), true);
        self.before(call).await?;
        match call.fault {
            // The server got only a part, or something else: it compares with the hash and keeps nothing.
            Some(Fault::Cut) => return Err(call.lost()),
            Some(Fault::Wrong) => {
                let detail = "BadDigest (injected)".to_owned();
                return Err(StoreError::Damaged { target: key.to_string(), detail });
            }
            _ => {}
        }
        let answer = effect.await;
        call.after()?;
        answer
    }
}

impl Call<'_> {
    /// What goes wrong after the call has had its effect.
    fn after(self) -> Result<(), StoreError> {
        match self.fault {
            Some(Fault::LostAfter) => Err(self.lost()),
            _ => Ok(()),
        }
    }

    fn lost(self) -> StoreError {
        let (target, detail) = (self.target.to_owned(), "connection reset (injected)".to_owned());
        if self.writes {
            StoreError::OutcomeUnknown { target, detail }
        } else {
            StoreError::Unavailable { target, detail }
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        self.put(key, self.store.put_new(key, put)).await
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        self.put(key, self.store.put_if_match(key, put, expected)).await
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        let call = self.begin("s3:GetObject", key.as_str(), false);
        self.before(call).await?;
        let mut object = self.store.get(key, version).await?;
        match call.fault {
            Some(Fault::Cut | Fault::LostAfter) => return Err(call.lost()),
            Some(Fault::Wrong) if !object.body.is_empty() => {
                let mut bytes = object.body.to_vec();
                let place = self.plan.place(call.number, bytes.len());
                bytes[place] ^= 1;
                object.body = bytes.into();
            }
            _ => {}
        }
        Ok(object)
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        let call = self.begin("s3:GetObject", key.as_str(), false);
        self.before(call).await?;
        let Reading { meta, mut body } = self.store.read_from(key, version, from).await?;
        let mut bytes = Vec::new();
        match call.fault {
            Some(Fault::Cut | Fault::LostAfter | Fault::Wrong) => {}
            _ => return Ok(Reading { meta, body }),
        }
        let broken = |error: io::Error| StoreError::Other(format!("reading {key} to break it: {error}"));
        body.read_to_end(&mut bytes).await.map_err(broken)?;
        let place = self.plan.place(call.number, bytes.len());
        if call.fault == Some(Fault::Wrong) {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1;
            }
            return Ok(Reading { meta, body: Box::pin(Cursor::new(bytes)) });
        }
        let length = bytes.len() as u64;
        bytes.truncate(place);
        let body = Box::pin(super::body::ExactBody::new(Cursor::new(bytes), length));
        Ok(Reading { meta, body })
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        self.plain("s3:GetObject", key.as_str(), false, self.store.head(key, version)).await
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        let prefix = prefix.to_owned();
        let entries = self.store.list_after(&prefix, after);
        let begun = async move {
            let call = self.begin("s3:ListBucket", &prefix, false);
            if let Err(error) = self.before(call).await {
                return stream::once(async { Err(error) }).boxed();
            }
            match call.fault {
                // Some pages come, and then the connection is gone.
                Some(Fault::Cut | Fault::LostAfter) => {
                    let error = call.lost();
                    let some = self.plan.place(call.number, 8);
                    entries.take(some).chain(stream::once(async { Err(error) })).boxed()
                }
                _ => entries,
            }
        };
        stream::once(begun).flatten().boxed()
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.plain("s3:ListBucket", prefix, false, self.store.folders(prefix)).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        self.plain("s3:ListBucketVersions", prefix, false, self.store.versions(prefix)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.plain("s3:DeleteObject", key.as_str(), true, self.store.delete(key)).await
    }

    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError> {
        let effect = self.store.delete_version(key, version);
        self.plain("s3:DeleteObjectVersion", key.as_str(), true, effect).await
    }

    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError> {
        let effect = self.store.extend_lock(key, version, lock);
        self.plain("s3:PutObjectRetention", key.as_str(), true, effect).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        self.plain("s3:ListBucket", "", false, self.store.clock()).await
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        self.plain("s3:PutObject", "", true, self.store.probe()).await
    }
}
