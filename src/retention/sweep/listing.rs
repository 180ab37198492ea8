//! All chunks of a repository, and which of them a manifest names: 64 bytes each, so that a million fit in 64 MB.

use crate::error::Result;
use crate::repository::Repository;
use crate::repository::mark::ChunkName;
use serde::{Serialize, Serializer};
use std::collections::HashSet;

/// A chunk that no manifest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub name: ChunkName,
    /// Its size in the store.
    pub bytes: u64,
}

fn as_text<S: Serializer>(name: &ChunkName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

struct Listed {
    name: ChunkName,
    bytes: u64,
    used: bool,
}

/// The chunks that a listing showed, sorted by name.
pub(super) struct Listing(Vec<Listed>);

impl Listing {
    /// Lists every chunk. Objects among them that have no chunk's name are left alone.
    pub(super) async fn read(repository: &Repository) -> Result<Self> {
        let mut chunks = Vec::new();
        let see = |id, nonce, bytes| chunks.push(Listed { name: ChunkName { id, nonce }, bytes, used: false });
        repository.list_chunks(see).await?;
        chunks.sort_unstable_by_key(|chunk| chunk.name);
        Ok(Self(chunks))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|chunk| chunk.bytes).sum()
    }

    fn find(&self, name: &ChunkName) -> Option<usize> {
        self.0.binary_search_by_key(name, |chunk| chunk.name).ok()
    }

    /// Notes that a manifest names it.
    pub(super) fn note_used(&mut self, name: &ChunkName) {
        if let Some(at) = self.find(name) {
            self.0[at].used = true;
        }
    }

    /// The chunk of this name, if it is there and no manifest names it.
    pub(super) fn garbage(&self, name: &ChunkName) -> Option<Garbage> {
        let chunk = &self.0[self.find(name)?];
        (!chunk.used).then_some(Garbage { name: chunk.name, bytes: chunk.bytes })
    }

    /// Whether a manifest names this chunk, which is there.
    pub(super) fn is_used(&self, name: &ChunkName) -> bool {
        self.find(name).is_some_and(|at| self.0[at].used)
    }

    /// Every chunk that no manifest names and that is not in `but`.
    pub(super) fn all_garbage(&self, but: &HashSet<ChunkName>) -> Vec<Garbage> {
        let unused = self.0.iter().filter(|chunk| !chunk.used && !but.contains(&chunk.name));
        unused.map(|chunk| Garbage { name: chunk.name, bytes: chunk.bytes }).collect()
    }
}
