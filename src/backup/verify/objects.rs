//! Depths `listed` and `stored`: the objects that a manifest names, without opening one of them.

use super::report::VerifyReport;
use crate::backup::restore::{Means, stopped};
use crate::error::{Error, Result};
use crate::journal::{Amount, Stage};
use crate::repository::index::ChunkListing;
use crate::repository::manifest::{Chunk, Line, Range};
use crate::repository::{Damage, Depth, PointSummary, layout};
use futures_util::{FutureExt, StreamExt};
use rand::RngExt;
use std::collections::{BTreeMap, HashMap, HashSet};

const STAGE: Stage = "chunks";

/// Chunks that are read at once; hashing them is the repository's business, no more at once than there are cores.
const SIDE_BY_SIDE: usize = 8;

/// Looks at a point's objects; fills in what it saw.
pub(super) async fn look(
    means: &Means,
    point: &PointSummary,
    depth: Depth,
    sample: Option<f64>,
    listing: &ChunkListing,
    report: &mut VerifyReport,
) -> Result<()> {
    let seen = means.repository.check_point(&point.source, point.point(), Depth::Listed, listing).await?;
    report.chunks = seen.chunks;
    report.bytes = seen.stored;
    let manifest_is_whole = !seen.damage.iter().any(|damage| damage.object == "manifest");
    report.damage = seen.damage;
    if depth < Depth::Stored || !manifest_is_whole {
        return Ok(());
    }
    let known: HashSet<String> = report.damage.iter().map(|damage| damage.chunk.clone()).collect();
    let names = Names::read(means, point).await?;
    report.chunks = 0;
    report.bytes = 0;
    means.progress.began(STAGE, Amount { items: point.end.chunks, rows: 0, bytes: point.end.stored });
    let mut manifest = means.repository.read_point(&point.source, point.point()).await?;
    let mut checks = futures_util::stream::FuturesUnordered::new();
    let mut done = false;
    loop {
        stopped(&means.cancel)?;
        // As many as may run at once, and then one for each that ends.
        while !done && checks.len() < SIDE_BY_SIDE {
            match manifest.next().await? {
                Some(Line::Range(range)) => {
                    for (place, chunk) in range.chunks.iter().enumerate() {
                        let drawn = sample.is_none_or(|share| rand::rng().random::<f64>() < share);
                        if drawn && !known.contains(layout::chunk(chunk).as_str()) {
                            checks.push(check(means, &names, range.clone(), place, chunk.clone()).boxed());
                        }
                    }
                }
                Some(_) => {}
                None => done = true,
            }
        }
        let Some(outcome) = checks.next().await else {
            if done {
                break;
            }
            continue;
        };
        let (stored, damage) = outcome?;
        report.chunks += 1;
        report.bytes += stored;
        report.damage.extend(damage);
        means.progress.advanced(STAGE, Amount { items: 1, rows: 0, bytes: stored });
    }
    means.progress.ended(STAGE, Amount { items: report.chunks, rows: 0, bytes: report.bytes });
    Ok(())
}

async fn check(
    means: &Means,
    names: &Names,
    range: Range,
    place: usize,
    chunk: Chunk,
) -> Result<(u64, Option<Damage>), Error> {
    let damage = means.repository.check_chunk(&chunk, Depth::Stored).await?;
    Ok((chunk.stored, damage.map(|damage| names.damage(&range, place, &chunk, damage.to_string()))))
}

/// What the objects of a point are called, and how many rows each of their ranges has.
struct Names {
    objects: HashMap<u32, (String, bool)>,
    rows: HashMap<u32, BTreeMap<u32, u64>>,
}

impl Names {
    async fn read(means: &Means, point: &PointSummary) -> Result<Self> {
        let mut names = Self { objects: HashMap::new(), rows: HashMap::new() };
        let mut manifest = means.repository.read_point(&point.source, point.point()).await?;
        while let Some(line) = manifest.next().await? {
            match line {
                Line::Range(range) => {
                    let rows = range.chunks.iter().map(|chunk| chunk.rows.rows).sum();
                    names.rows.entry(range.object).or_default().insert(range.range, rows);
                }
                Line::Object(object) => {
                    let is_table = object.kind == crate::backup::facts::kind::TABLE;
                    names.objects.insert(object.object, (object.name, is_table));
                }
                Line::Header(_) | Line::End(_) => {}
            }
        }
        Ok(names)
    }

    fn damage(&self, range: &Range, place: usize, chunk: &Chunk, what: String) -> Damage {
        let (name, is_table) = self.objects.get(&range.object).cloned().unwrap_or_default();
        let ranges = self.rows.get(&range.object);
        let before: u64 = ranges.map_or(0, |ranges| ranges.range(..range.range).map(|(_, rows)| rows).sum());
        let first = before + range.chunks[..place].iter().map(|chunk| chunk.rows.rows).sum::<u64>();
        Damage {
            object: name.clone(),
            table: is_table.then_some(name),
            chunk: layout::chunk(chunk).to_string(),
            range: range.range,
            rows: is_table.then_some((first, first + chunk.rows.rows)),
            what,
        }
    }
}
