//! Which rows differ, when a table's sums do: by sorting the hashes of both sides into buckets, and looking closely
//! only at buckets that differ. Memory does not grow with the table.

use crate::backup::restore::content::Chunks;
use crate::backup::restore::feed::Place;
use crate::backup::restore::fill::Hands;
use crate::backup::restore::load::Supply;
use crate::backup::restore::readback::{EachRow, Reader};
use crate::backup::restore::table::Table;
use crate::error::Result;
use crate::repository::{Damage, layout};
use crate::rowsum::{RowSum, Rows};
use std::collections::HashMap;
use std::sync::Arc;

/// Buckets, by the first bits of a hash.
const BUCKETS: usize = 1 << 16;

/// Hashes of one side that are held for the close look; beyond, the damage is not named row by row.
const HELD_MAX: usize = 4 << 20;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Rows that were backed up and are not there, by chunk.
    pub(super) damage: Vec<Damage>,
    /// More differs than could be named.
    pub(super) more: bool,
    /// Rows that are there and were not backed up.
    pub(super) other_rows: u64,
}

/// Finds the rows in which tables and their chunks differ; the tables count as one.
pub(super) async fn rows(hands: &Hands, tables: &[(&Table, &Chunks)]) -> Result<Found> {
    let mut backed_up = Buckets::default();
    each_backed_up(hands, tables, |_, _, hash| backed_up.row(hash)).await?;
    let there = each_there(hands, tables, Buckets::default()).await?;
    let differing = Arc::new(backed_up.differing_from(&there));
    let held = each_there(hands, tables, Held { differing: differing.clone(), rows: HashMap::new() }).await?;
    if held.rows.len() >= HELD_MAX {
        return Ok(Found { more: true, ..Found::default() });
    }
    let mut left = held.rows;
    let mut missing: Vec<(Place, Vec<u64>)> = Vec::new();
    each_backed_up(hands, tables, |place, row, hash| {
        if !differing[bucket(hash)] || take(&mut left, hash) {
            return;
        }
        match missing.last_mut() {
            Some((last, rows)) if last.is_same_chunk(place) => rows.push(row),
            _ => missing.push((place.clone(), vec![row])),
        }
    })
    .await?;
    let damage = missing.iter().map(|(place, rows)| damage(place, rows)).collect();
    Ok(Found { damage, more: false, other_rows: left.values().sum() })
}

/// The sum of each bucket.
struct Buckets(Vec<RowSum>);

impl Default for Buckets {
    fn default() -> Self {
        Self(vec![RowSum::default(); BUCKETS])
    }
}

impl EachRow for Buckets {
    fn row(&mut self, hash: u128) {
        self.0[bucket(hash)].add_hash(hash);
    }
}

impl Buckets {
    fn differing_from(&self, other: &Self) -> Vec<bool> {
        self.0.iter().zip(&other.0).map(|(one, other)| one != other).collect()
    }
}

/// How often each hash of a differing bucket is there.
struct Held {
    differing: Arc<Vec<bool>>,
    rows: HashMap<u128, u64>,
}

impl EachRow for Held {
    fn row(&mut self, hash: u128) {
        if self.differing[bucket(hash)] && self.rows.len() < HELD_MAX {
            *self.rows.entry(hash).or_default() += 1;
        }
    }
}

fn bucket(hash: u128) -> usize {
    // The shift leaves 16 bits.
    usize::try_from(hash >> 112).unwrap_or_default()
}

/// Takes one row of this hash, if there is one left.
fn take(left: &mut HashMap<u128, u64>, hash: u128) -> bool {
    match left.get_mut(&hash) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => drop(left.remove(&hash)),
        None => return false,
    }
    true
}

/// Calls `each` with place, number and hash of every row that was backed up.
async fn each_backed_up(
    hands: &Hands,
    tables: &[(&Table, &Chunks)],
    mut each: impl FnMut(&Place, u64, u128),
) -> Result<()> {
    for (_, chunks) in tables {
        let mut pieces = hands.feed.stream(Supply::of(&chunks.name, &chunks.ranges).drain());
        let mut rows = Rows::new();
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            let mut row = piece.place.first_row();
            rows.each(&piece.bytes, |hash| {
                each(&piece.place, row, hash);
                row += 1;
            });
        }
    }
    Ok(())
}

/// Gives the hash of every row that is there to `each`.
async fn each_there<E: EachRow>(hands: &Hands, tables: &[(&Table, &Chunks)], mut each: E) -> Result<E> {
    let session = hands.site.for_work().await?;
    for (table, _) in tables {
        each = Reader { session: &session, progress: &hands.progress }.hashes(table, each).await?;
    }
    session.close().await;
    Ok(each)
}

/// Rows of one chunk that are not there.
fn damage(place: &Place, rows: &[u64]) -> Damage {
    let (first, last) = (rows.first().copied().unwrap_or_default(), rows.last().copied().unwrap_or_default());
    let name = place.portion.object.name.clone();
    Damage {
        object: name.clone(),
        table: Some(name),
        chunk: layout::chunk(place.chunk()).to_string(),
        range: place.portion.range.range,
        rows: Some((first, last + 1)),
        what: format!("{} of these rows are not there as they were backed up", rows.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_there_twice_is_taken_twice_and_no_more() {
        let mut left = HashMap::from([(7, 2)]);
        assert!(take(&mut left, 7) && take(&mut left, 7));
        assert!(!take(&mut left, 7) && !take(&mut left, 8));
    }

    #[test]
    fn only_buckets_that_differ_are_looked_at_closely() {
        let (mut one, mut other) = (Buckets::default(), Buckets::default());
        for hash in [1u128 << 112, 2 << 112, 2 << 112] {
            one.row(hash);
        }
        for hash in [2u128 << 112, 1 << 112, (2 << 112) + 1] {
            other.row(hash);
        }
        let differing = one.differing_from(&other);
        assert_eq!(differing.iter().filter(|differs| **differs).count(), 1);
        assert!(differing[2]);
    }
}
