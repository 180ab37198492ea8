//! What is in the repository already: the index that deduplication asks, and the listing that `verify` asks.
//!
//! Both are sorted arrays of fixed-size records, so that a million chunks take 64 MB and 32 MB. Ids are cut to 128
//! bits here; they are keyed hashes, so that nobody can aim at a prefix.

use super::manifest::Chunk;
use crate::id::{ChunkId, Nonce, Sha256};
use std::collections::HashMap;

/// The first half of a chunk id.
type Prefix = [u8; 16];

fn prefix(id: &ChunkId) -> Prefix {
    let mut half = [0; 16];
    half.copy_from_slice(&id.0[..16]);
    half
}

/// One sealing of a chunk, as a signed manifest or journal batch names it. 64 bytes.
#[derive(Clone, Copy)]
struct Record {
    id: Prefix,
    nonce: Nonce,
    sha256: Sha256,
    stored: u32,
    epoch: u16,
    /// Until when it is known to be locked, in `LOCK_STEP`s since 1970, and whether a listing showed it.
    locked: u16,
}

/// The top bit of `locked`.
const LISTED: u16 = 1 << 15;

/// A sealing that may be named again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its nonce.
    pub nonce: Nonce,
    /// Its size in the store.
    pub stored: u64,
    /// SHA-256 of it.
    pub sha256: Sha256,
    /// The epoch it was sealed in.
    pub epoch: u32,
    /// Until when it is known to be locked, in steps of locking.
    pub lock_step: u16,
}

/// What may be used again: chunks that signed lines name, that a listing shows, that nothing speaks against.
#[derive(Default)]
pub(super) struct DedupIndex {
    sorted: Vec<Record>,
    /// What this run stored: full blocks, each sorted, and the one being filled.
    blocks: Vec<Vec<Record>>,
    recent: HashMap<Prefix, Record>,
}

impl DedupIndex {
    /// How many new chunks are kept in the hash table before they become a sorted block.
    const BLOCK: usize = 1 << 16;

    /// An index that is about to take `expected` chunks.
    pub(super) fn with_capacity(expected: usize) -> Self {
        Self { sorted: Vec::with_capacity(expected), ..Self::default() }
    }

    /// Adds a chunk that a signed line names.
    pub(super) fn add(&mut self, chunk: &Chunk, lock_step: u16) {
        self.sorted.extend(record(chunk, lock_step));
    }

    /// Ends the adding.
    pub(super) fn sort(&mut self) {
        self.sorted.sort_unstable_by_key(|record| (record.id, record.nonce, std::cmp::Reverse(record.locked)));
        self.sorted.dedup_by_key(|record| (record.id, record.nonce));
    }

    fn find_mut(&mut self, id: &ChunkId, nonce: Nonce) -> Option<&mut Record> {
        let at = self.sorted.binary_search_by_key(&(prefix(id), nonce), |record| (record.id, record.nonce)).ok()?;
        self.sorted.get_mut(at)
    }

    /// A listing shows an object of this size.
    pub(super) fn saw(&mut self, id: &ChunkId, nonce: Nonce, size: u64) {
        if let Some(record) = self.find_mut(id, nonce)
            && u64::from(record.stored) == size
        {
            record.locked |= LISTED;
        }
    }

    /// A mark or a damage record names it.
    pub(super) fn strike(&mut self, id: &ChunkId, nonce: Nonce) {
        if let Some(record) = self.find_mut(id, nonce) {
            record.locked &= !LISTED;
        }
    }

    /// Forgets everything that no listing showed.
    pub(super) fn keep_listed(&mut self) {
        self.sorted.retain(|record| record.locked & LISTED != 0);
    }

    /// A chunk that this run has just stored.
    pub(super) fn stored(&mut self, chunk: &Chunk, lock_step: u16) {
        let Some(mut record) = record(chunk, lock_step) else { return };
        record.locked |= LISTED;
        self.recent.insert(record.id, record);
        if self.recent.len() >= Self::BLOCK {
            let mut block: Vec<Record> = self.recent.drain().map(|(_, record)| record).collect();
            block.sort_unstable_by_key(|record| record.id);
            self.blocks.push(block);
        }
    }

    /// A sealing of the chunk with this id, if one may be named again.
    pub(super) fn known(&self, id: &ChunkId) -> Option<Known> {
        let wanted = prefix(id);
        if let Some(record) = self.recent.get(&wanted) {
            return Some(known(record));
        }
        for block in std::iter::once(&self.sorted).chain(&self.blocks) {
            let at = block.partition_point(|record| record.id < wanted);
            if let Some(record) = block.get(at).filter(|record| record.id == wanted) {
                return Some(known(record));
            }
        }
        None
    }

    /// How many chunks it knows.
    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.recent.len() + self.blocks.iter().map(Vec::len).sum::<usize>()
    }
}

/// A chunk as a record; `None` if it is larger than any chunk can be, so that it is simply not used again.
fn record(chunk: &Chunk, lock_step: u16) -> Option<Record> {
    Some(Record {
        id: prefix(&chunk.id),
        nonce: chunk.nonce,
        sha256: chunk.sha256,
        stored: u32::try_from(chunk.stored).ok()?,
        epoch: u16::try_from(chunk.epoch).ok()?,
        locked: lock_step & !LISTED,
    })
}

fn known(record: &Record) -> Known {
    Known {
        nonce: record.nonce,
        stored: record.stored.into(),
        sha256: record.sha256,
        epoch: record.epoch.into(),
        lock_step: record.locked & !LISTED,
    }
}

/// All chunk objects that a listing showed, with their sizes. 32 bytes each.
#[derive(Default)]
pub struct ChunkListing(Vec<Listed>);

#[derive(Clone, Copy)]
struct Listed {
    id: Prefix,
    nonce: Nonce,
    size: u64,
}

impl ChunkListing {
    pub(super) fn add(&mut self, id: &ChunkId, nonce: Nonce, size: u64) {
        self.0.push(Listed { id: prefix(id), nonce, size });
    }

    pub(super) fn sort(&mut self) {
        self.0.sort_unstable_by_key(|listed| (listed.id, listed.nonce));
    }

    /// The size of the object that a manifest's chunk line names; `None` if there is none.
    pub fn size_of(&self, chunk: &Chunk) -> Option<u64> {
        let wanted = (prefix(&chunk.id), chunk.nonce);
        let at = self.0.binary_search_by_key(&wanted, |listed| (listed.id, listed.nonce)).ok()?;
        self.0.get(at).map(|listed| listed.size)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rowsum::RowSum;

    fn chunk(n: u32) -> Chunk {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
        let sha256 = Sha256([1; 32]);
        Chunk { id: ChunkId(id), nonce: Nonce([2; 8]), epoch: 1, bytes: 10, stored: 5, sha256, rows: RowSum::default() }
    }

    #[test]
    fn a_million_chunks_fit_in_64_megabytes_and_their_listing_in_32() {
        assert_eq!(size_of::<Record>(), 64);
        assert_eq!(size_of::<Listed>(), 32);
    }

    #[test]
    fn only_what_a_listing_showed_with_its_size_and_nothing_speaks_against_is_used_again() {
        let mut index = DedupIndex::with_capacity(4);
        (0..4).for_each(|n| index.add(&chunk(n), 7));
        index.sort();
        index.saw(&chunk(0).id, chunk(0).nonce, 5);
        index.saw(&chunk(1).id, chunk(1).nonce, 6);
        index.saw(&chunk(2).id, chunk(2).nonce, 5);
        index.strike(&chunk(2).id, chunk(2).nonce);
        index.keep_listed();
        let known: Vec<bool> = (0..4).map(|n| index.known(&chunk(n).id).is_some()).collect();
        assert_eq!(known, [true, false, false, false]);
        assert_eq!(index.known(&chunk(0).id).unwrap().lock_step, 7);
    }

    #[test]
    fn what_the_run_stored_is_found_across_blocks() {
        let mut index = DedupIndex::default();
        let count = u32::try_from(DedupIndex::BLOCK).unwrap() + 10;
        (0..count).for_each(|n| index.stored(&chunk(n), 0));
        assert!((0..count).all(|n| index.known(&chunk(n).id).is_some()));
        assert!(index.known(&chunk(count).id).is_none());
        assert_eq!(index.len(), count as usize);
    }
}
