//! The store edge: where bytes go. A bucket and prefix, or a directory.
//!
//! Nothing is ever overwritten blindly: an object is put new, or replaced only if it is still the one that was
//! read. What a store can do is a *feature* that is probed, never guessed from its name. One behaviour suite
//! (`tests/store_contract.rs`) runs over every implementation here and over real servers.

mod body;
mod explain;
pub mod faulty;
#[cfg(test)]
pub(crate) mod gated;
pub mod limited;
pub mod local;
pub mod memory;
mod probe;
pub mod retrying;
pub mod s3;
mod url;

pub use explain::StoreContext;
pub use faulty::{Chances, Fault, FaultPlan, FaultyStore};
pub use limited::LimitedStore;
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use retrying::Retrying;
pub use s3::S3Store;
pub use url::{Holding, OpenOptions, S3Options, open};

use crate::id::Sha256;
use crate::retry::{Retry, Retryable};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::AsyncRead;

/// A name inside a store: parts joined by `/`; never empty, never `..`. Davit's own names are made of letters, digits
/// and `. _ - = + %`; those of dumps that others made may hold spaces and signs too (a time such as `01:00:00`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks and wraps a name.
    pub fn new(name: impl Into<String>) -> Result<Self, StoreError> {
        let name = name.into();
        let good_part = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.chars().all(|c| c.is_alphanumeric() || "._-=+% :,@()[]!'&;#$".contains(c))
        };
        if name.len() <= 900 && name.split('/').all(good_part) {
            return Ok(Self(name));
        }
        Err(StoreError::BadKey(name))
    }

    /// Wraps a name made of parts that were checked when they were made (ids, source names).
    pub(crate) fn of(name: String) -> Self {
        debug_assert!(Self::new(name.as_str()).is_ok(), "{name:?} is no object key");
        Self(name)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What changes whenever an object's content does; opaque, and never a content hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ETag(pub String);

/// One version of an object in a versioned store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VersionId(pub String);

/// How strongly a locked version is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Accounts with a special permission may shorten it.
    Governance,
    /// Nobody may shorten it.
    Compliance,
}

/// Until when a version cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// How strongly.
    pub mode: LockMode,
    /// Until when.
    pub until: Timestamp,
}

/// What a store says about one object (its current version, unless another was asked for).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Size in bytes.
    pub size: u64,
    /// Changes with the content.
    pub etag: ETag,
    /// Which version, where the store keeps versions.
    pub version: Option<VersionId>,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
    /// Its lock, where the store has locks and says so.
    pub lock: Option<Lock>,
    /// The SHA-256 the store checked when it was put, where the store keeps it.
    pub sha256: Option<Sha256>,
}

/// An object in memory.
#[derive(Debug, Clone)]
pub struct Object {
    /// What the store says about it.
    pub meta: Meta,
    /// Its bytes.
    pub body: Bytes,
}

/// An object that is read as a stream.
pub struct Reading {
    /// What the store says about it.
    pub meta: Meta,
    /// Its bytes; a body that ends early is an error of the reader, never a silent end.
    pub body: Pin<Box<dyn AsyncRead + Send>>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// One line of a listing (current versions only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
}

/// One version of one object, newest first in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// Its name.
    pub key: ObjectKey,
    /// Which version.
    pub version: VersionId,
    /// Size in bytes; 0 for a delete marker.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// Whether it is the current one.
    pub latest: bool,
    /// Whether it only says "deleted".
    pub delete_marker: bool,
}

/// What a put must satisfy and carry.
#[derive(Debug, Clone)]
pub struct Put {
    /// The bytes.
    pub body: Bytes,
    /// SHA-256 of the bytes, computed once by whoever made them; sent along so that the store checks it.
    pub sha256: Sha256,
    /// A lock to set with the same request.
    pub lock: Option<Lock>,
}

impl Put {
    /// A put of `body` without a lock.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let sha256 = Sha256::of(&body);
        Self { body, sha256, lock: None }
    }

    /// The same, locked.
    #[must_use]
    pub fn locked(mut self, lock: Option<Lock>) -> Self {
        self.lock = lock;
        self
    }
}

/// What a put gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The new content's tag.
    pub etag: ETag,
    /// The version made, where the store keeps versions.
    pub version: Option<VersionId>,
}

/// What a store was seen to do (or not), found out by trying.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub struct Features {
    /// `put_new` refuses an existing name.
    pub put_if_absent: bool,
    /// `put_if_match` refuses a changed object.
    pub put_if_match: bool,
    /// Old versions are kept.
    pub versioning: bool,
    /// Versions can be locked.
    pub object_lock: bool,
    /// A retention the bucket puts on every new object by itself: mode and a text such as `30 days`.
    pub default_retention: Option<String>,
    /// The SHA-256 that goes with a put is checked.
    pub checksums: bool,
}

/// What went wrong at a store; only what a caller acts on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("no object {0}")]
    NotFound(String),
    /// `put_new` met an object of that name.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// `put_if_match` met another content than expected.
    #[error("{0} was changed by somebody else")]
    Changed(String),
    /// The bucket or directory itself is missing.
    #[error("no store at {0}")]
    NoStore(String),
    /// The store refuses us this action.
    #[error("not permitted: {action} on {target}")]
    Denied {
        /// What was tried, in the store's own words (`s3:PutObject`).
        action: String,
        /// On which object or bucket.
        target: String,
    },
    /// A lock forbids it.
    #[error("{0} is locked")]
    Locked(String),
    /// No room is left.
    #[error("no space left at the store for {0}")]
    Full(String),
    /// It may or may not have happened; read back before acting again.
    #[error("outcome unknown for {target}: {detail}")]
    OutcomeUnknown {
        /// Which object.
        target: String,
        /// What was seen.
        detail: String,
    },
    /// The store did not answer or is busy.
    #[error("store not available for {target}: {detail}")]
    Unavailable {
        /// Which object.
        target: String,
        /// What was seen.
        detail: String,
    },
    /// The bytes that arrived are not those that were sent.
    #[error("bytes of {target} were damaged on the way: {detail}")]
    Damaged {
        /// Which object.
        target: String,
        /// What was seen.
        detail: String,
    },
    /// The store cannot do this at all.
    #[error("this store has no {0}")]
    Unsupported(&'static str),
    /// No such name can exist.
    #[error("{0:?} is not a name an object can have")]
    BadKey(String),
    /// The credentials are missing, wrong or have run out.
    #[error("the credentials do not work: {0}")]
    Credentials(String),
    /// The bucket is in another region than the one that was asked.
    #[error("{target} is in {}", .region.as_deref().map_or_else(|| "another region".to_owned(), |name| format!("the region {name}")))]
    WrongRegion {
        /// Which bucket.
        target: String,
        /// Its region, if the store tells.
        region: Option<String>,
    },
    /// This machine's clock is too far from the store's.
    #[error("the clock of this machine is wrong: {0}")]
    ClockSkew(String),
    /// Other settings or the environment are wrong; the text says which.
    #[error("{0}")]
    Misconfigured(String),
    /// Anything else; trying again does not help.
    #[error("{0}")]
    Other(String),
}

impl Retryable for StoreError {
    fn retry(&self) -> Retry {
        match self {
            Self::Unavailable { .. } | Self::OutcomeUnknown { .. } | Self::Damaged { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// Where bytes go.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Where this is, for messages: `s3://bucket/prefix` or a directory.
    fn describe(&self) -> String;

    /// Puts an object whose name is not taken. One attempt: [`open`] gives the retried form.
    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError>;

    /// Replaces an object that is still the one whose tag is `expected`; `Changed` if it is another or gone.
    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError>;

    /// Reads a whole object: the current version, or the one named.
    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError>;

    /// Reads an object as a stream.
    async fn read(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Reading, StoreError> {
        self.read_from(key, version, 0).await
    }

    /// The same from byte `from` on, which is less than the object's size; how a read goes on where it broke off.
    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError>;

    /// What the store says about an object; `NotFound` if it has none.
    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError>;

    /// All current objects whose name begins with `prefix` (a plain text prefix), in name order.
    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<Entry, StoreError>> {
        self.list_after(prefix, None)
    }

    /// The same, from behind the name `after` on; how a listing goes on where it broke off.
    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>>;

    /// The first level of names below `prefix` (which ends in `/`), without the prefix and the trailing `/`, sorted.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// All versions of the objects whose name begins with `prefix`, by name and newest first; `Unsupported` where
    /// there are none.
    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError>;

    /// Deletes an object (in a versioned store this only hides it). Deleting what is not there is no error.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// Deletes one version for good; `Locked` if a lock forbids it.
    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError>;

    /// Extends (never shortens) the lock of a version, the current one by default. A lock that is long enough
    /// already is left alone.
    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError>;

    /// The store's own idea of the time, as its last answer told it; `None` if it does not say.
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Finds out by trying what the store can do; leaves nothing behind.
    async fn probe(&self) -> Result<Features, StoreError>;
}

/// A store that is passed around.
pub type SharedStore = Arc<dyn Store>;
