//! What every store must do, and the servers it is tried on.

pub mod basics;
pub mod listing;
pub mod s3_server;
pub mod versions;

use davit::id::Sha256;
use davit::store::{ObjectKey, Put, SharedStore};
use std::any::Any;
use std::fmt;

/// A store under test, with what keeps it alive.
pub struct World {
    /// The store.
    pub store: SharedStore,
    /// Whether it keeps versions and locks them.
    pub versioned: bool,
    /// Whether a delete marker shows where S3 hides it: versitygw compares `If-Match` with the version behind the
    /// marker, and lists a folder in which there are only markers. Nothing in Davit rests on either.
    pub markers_show: bool,
    /// Dropped last: a directory or a server.
    _alive: Box<dyn Any + Send>,
}

impl World {
    /// A world around a store.
    pub fn new(store: SharedStore, versioned: bool, alive: impl Any + Send) -> Self {
        Self { store, versioned, markers_show: false, _alive: Box::new(alive) }
    }

    /// The same, on a server whose delete markers show.
    pub fn with_showing_markers(self) -> Self {
        Self { markers_show: self.versioned, ..self }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({:?})", self.store)
    }
}

/// A name that is good.
pub fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

/// A put of some text.
pub fn text(text: &str) -> Put {
    Put::new(text.to_owned())
}

/// Bytes without a pattern, the same for the same seed.
pub fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut block = Sha256::of(seed.as_bytes());
    while bytes.len() < length {
        bytes.extend_from_slice(&block.0);
        block = Sha256::of(&block.0);
    }
    bytes.truncate(length);
    bytes
}
