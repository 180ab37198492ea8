//! Whether every chunk that will be read is there with its size: asked before anything is changed.

use super::content::Chunks;
use super::feed::ObjectName;
use super::means::Means;
use crate::error::{Error, Result};
use crate::repository::manifest::{Chunk, Range};
use crate::repository::{ChunkDamage, Damage, Depth, layout};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use std::sync::Arc;

/// Requests that are on their way at once.
const SIDE_BY_SIDE: usize = 32;
/// From this many chunks on, one listing of all is quicker than a question for each.
const LISTING_FROM: u64 = 2_000;

/// The chunks that are missing or have another size.
pub(in crate::backup) async fn damaged(means: &Means, all: &[&Chunks]) -> Result<Vec<Damage>> {
    let count: u64 = all.iter().flat_map(|chunks| &chunks.ranges).map(|range| range.chunks.len() as u64).sum();
    let listing = match count {
        0..LISTING_FROM => None,
        _ => Some(means.repository.listing_of_chunks().await?),
    };
    let mut places = Vec::new();
    for chunks in all {
        let mut row = 0;
        for range in &chunks.ranges {
            for chunk in &range.chunks {
                places.push((Place { name: chunks.name.clone(), range: range.clone(), row }, chunk.clone()));
                row += chunk.rows.rows;
            }
        }
    }
    let listing = listing.as_ref();
    let checks = places.into_iter().map(|(place, chunk)| {
        async move {
            let damage = match listing {
                None => means.repository.check_chunk(&chunk, Depth::Listed).await?,
                Some(listing) => match listing.size_of(&chunk) {
                    None => Some(ChunkDamage::Missing),
                    Some(size) if size == chunk.stored => None,
                    Some(found) => Some(ChunkDamage::WrongSize { expected: chunk.stored, found }),
                },
            };
            let Some(damage) = damage else { return Ok::<_, Error>(None) };
            // An older version of it, or another copy, may still be read: only trying tells.
            let hidden = means.repository.fetch_chunk(&chunk).await.is_ok();
            Ok((!hidden).then(|| place.damage(&chunk, &damage)))
        }
        .boxed()
    });
    let checks: Vec<_> = checks.collect();
    let found: Vec<Option<Damage>> = futures_util::stream::iter(checks).buffered(SIDE_BY_SIDE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

struct Place {
    name: Arc<ObjectName>,
    range: Arc<Range>,
    row: u64,
}

impl Place {
    fn damage(&self, chunk: &Chunk, damage: &ChunkDamage) -> Damage {
        Damage {
            object: self.name.name.clone(),
            table: self.name.is_table.then(|| self.name.name.clone()),
            chunk: layout::chunk(chunk).to_string(),
            range: self.range.range,
            rows: self.name.is_table.then_some((self.row, self.row + chunk.rows.rows)),
            what: damage.to_string(),
        }
    }
}

/// An error that names what is damaged; of a dump nothing can be restored without the rest.
pub(in crate::backup) fn refuse(damaged: &[Damage], is_dump: bool) -> Result<()> {
    const NAMED: usize = 5;
    if damaged.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = damaged.iter().take(NAMED).map(describe).collect();
    let more = damaged.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let hint = if is_dump {
        "davit verify tells all; a point of the stream engine is restored as a whole or not at all; an older one may be whole"
    } else {
        "davit verify tells all; --allow-damage restores the rest; an older point may be whole"
    };
    Err(Error::refused(format!("looking at the chunks of the point: {}{more}", named.join("; "))).hint(hint))
}

/// One damage in words.
pub(in crate::backup) fn describe(damage: &Damage) -> String {
    let rows = damage.rows.map_or(String::new(), |(first, end)| format!(" rows {} to {end}", first + 1));
    format!("{}{rows}: {}: {}", damage.object, damage.chunk, damage.what)
}
