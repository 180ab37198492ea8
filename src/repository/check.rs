//! Checking points without restoring them: the chain of a source, and the objects that a manifest names.
//!
//! `verify` names what is wrong in the words of what was backed up: object, table, rows.

use super::catalogue::Depth;
use super::chain::{Commit, HeadState, Link};
use super::evidence::Damage;
use super::fetch::ChunkDamage;
use super::index::ChunkListing;
use super::manifest::{Chunk, Line, ObjectLine, Range};
use super::record::RecordError;
use super::survey::Survey;
use super::tombstone::Removed;
use super::writer::Committed;
use super::{PointSummary, Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, Sha256, SourceName};
use crate::store::{ObjectKey, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, HashMap};

/// Chunks that are read and hashed side by side; each is in memory meanwhile.
const CHUNKS_AT_ONCE: usize = 6;
/// Ranges that are collected before their chunks are checked.
const RANGES_AT_ONCE: usize = 64;

/// How what nobody damaged is told: a point counts from its signature on, and head and catalogue are written after that.
const KILLED: &str = "; a run that is killed at its end leaves this, and the next one mends it";

/// What was seen of a source's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// The source.
    pub source: SourceName,
    /// The newest point.
    pub newest: Option<Link>,
    /// Committed points that are there.
    pub points: usize,
    /// What is wrong.
    pub damage: Vec<Damage>,
}

/// What was seen of a point's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointReport {
    /// Chunks looked at.
    pub chunks: u64,
    /// Their bytes in the store.
    pub stored: u64,
    /// What is wrong.
    pub damage: Vec<Damage>,
}

pub(super) fn damage(object: &str, key: impl std::fmt::Display, what: impl Into<String>) -> Damage {
    Damage { object: object.to_owned(), table: None, chunk: key.to_string(), range: 0, rows: None, what: what.into() }
}

impl Repository {
    /// Checks everything about a source's points but what their manifests name: head, signatures, links, tombstones,
    /// catalogue, evidence, journals of unfinished runs.
    pub async fn check_chain(&self, source: &SourceName) -> Result<ChainReport> {
        let survey = self.survey(source).await?;
        let (removed, bad_stones) = self.all_tombstones(source).await?;
        let mut found: Vec<Damage> = Vec::new();
        found.extend(bad_stones.iter().map(|(key, what)| damage("tombstones", key, what)));
        found.extend(survey.catalogue.damaged.iter().map(|(key, what)| damage("catalogue", key, what)));
        let links = self.check_signatures(source, &survey, &mut found).await?;
        let mut all: Vec<Link> = links.values().cloned().collect();
        all.extend(removed.values().filter(|gone| !links.contains_key(&gone.point)).map(Link::of_removed));
        check_links(source, &all, survey.newest.as_ref(), &mut found);
        check_head(source, &survey, &all, &mut found);
        check_catalogue(source, &survey, &links, &removed, &mut found);
        self.check_records(source, &survey, &links, &mut found).await?;
        Ok(ChainReport { source: source.clone(), newest: survey.newest, points: links.len(), damage: found })
    }

    /// Reads every signature; gives the links of committed points.
    async fn check_signatures(
        &self,
        source: &SourceName,
        survey: &Survey,
        found: &mut Vec<Damage>,
    ) -> Result<BTreeMap<PointId, Link>> {
        let signed: Vec<&PointId> =
            survey.folders.iter().filter(|(_, f)| f.signature).map(|(point, _)| point).collect();
        let commits: Vec<(PointId, Commit)> = futures_util::stream::iter(signed)
            .map(|point| async move { Ok::<_, Error>((point.clone(), self.commit_of(source, point).await?)) })
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        let mut links = BTreeMap::new();
        for (point, commit) in commits {
            let key = layout::signature(source, &point);
            match commit {
                Commit::Signed(link) => {
                    links.insert(point, link);
                }
                Commit::Damaged(what) => found.push(damage("signature", key, what)),
                // A run that was closed; if the chain misses a point there, the links show it.
                Commit::Aborted | Commit::Absent => {}
            }
        }
        for point in links.keys() {
            if survey.folders.get(point).is_none_or(|folder| folder.manifest.is_none()) {
                found.push(damage("manifest", layout::manifest(source, point), "it is missing"));
            }
        }
        Ok(links)
    }

    /// The evidence and the holds of committed points, against what the catalogue knows of them; and journals.
    async fn check_records(
        &self,
        source: &SourceName,
        survey: &Survey,
        links: &BTreeMap<PointId, Link>,
        found: &mut Vec<Damage>,
    ) -> Result<()> {
        // Of what was taken away the catalogue keeps no more than that; and what no key at hand opens may well know it all.
        let catalogue = &survey.catalogue;
        let is_told = |point: &PointId| !catalogue.unreadable && !catalogue.removed.contains_key(point);
        for (point, folder) in survey.folders.iter().filter(|(point, _)| links.contains_key(*point) && is_told(point)) {
            let known = survey.catalogue.points.get(point).map_or(&[][..], |summary| &summary.verified);
            for run in &folder.evidence {
                match self.evidence(source, point, run).await {
                    Ok(Some(seen)) => {
                        let is_known = known.iter().any(|known| known.depth == seen.depth && known.when >= seen.when);
                        if !is_known && !seen.is_undecided() {
                            let key = layout::catalogue(source);
                            found.push(damage("catalogue", key, format!("it lacks verification {run} of {point}")));
                        }
                    }
                    Ok(None) => {}
                    Err(RecordError::Damaged { key, what }) => found.push(damage("evidence", key, what)),
                    Err(error) => return Err(error.into()),
                }
            }
            for verified in known.iter().filter(|verified| !folder.evidence.contains(&verified.run)) {
                let key = layout::evidence(source, point, &verified.run);
                found.push(damage("evidence", key, "it is missing, but the catalogue knows of it"));
            }
        }
        for (key, what) in self.damaged_journals(source, survey).await? {
            found.push(damage("journal", key, what));
        }
        for (key, what) in self.damaged_holds().await? {
            found.push(damage("hold", key, what));
        }
        let put = self.holds().await?;
        for hold in survey.catalogue.holds.values().filter(|hold| !put.iter().any(|put| put.point == hold.point)) {
            found.push(damage("hold", layout::hold(&hold.point), "it is missing, but the catalogue knows of it"));
        }
        let here = put.iter().filter(|hold| hold.source == *source);
        for hold in here.filter(|hold| is_told(&hold.point) && !catalogue.holds.contains_key(&hold.point)) {
            let key = layout::catalogue(source);
            found.push(damage("catalogue", key, format!("it lacks the hold on {}", hold.point)));
        }
        Ok(())
    }

    /// Looks whether every chunk of a point just committed is in the store with its size. The signature stands either
    /// way; but a run that cannot show its objects has not succeeded.
    pub async fn check_committed(&self, source: &SourceName, committed: &Committed) -> Result<()> {
        let listing = self.listing_of_chunks().await?;
        let report = self.check_point(source, &committed.point, Depth::Listed, &listing).await?;
        match report.damage.first() {
            None => Ok(()),
            Some(damage) => Err(Error::check(format!(
                "looking for what point {} names: {}: {}",
                committed.point, damage.object, damage.what
            ))
            .hint("the store lost or changed it after accepting it; make another point, and look at the store")),
        }
    }

    /// Checks a point's manifest, its intent, and every chunk it names at this depth (`Restored` counts as `Stored`).
    pub async fn check_point(
        &self,
        source: &SourceName,
        point: &PointId,
        depth: Depth,
        listing: &ChunkListing,
    ) -> Result<PointReport> {
        let mut report = PointReport::default();
        let mut reader = match self.read_point(source, point).await {
            Ok(reader) => reader,
            Err(error) if error.kind() == Kind::CheckFailed => {
                report.damage.push(damage("manifest", layout::manifest(source, point), error.to_string()));
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        self.check_intent(source, point, reader.header().intent, &mut report.damage).await?;
        let mut places = Places::default();
        let mut waiting: Vec<Range> = Vec::new();
        loop {
            let line = match reader.next().await {
                Ok(line) => line,
                Err(error) if error.kind() == Kind::CheckFailed => {
                    report.damage.push(damage("manifest", layout::manifest(source, point), error.to_string()));
                    None
                }
                Err(error) => return Err(error),
            };
            let last = line.is_none();
            match line {
                Some(Line::Range(range)) => {
                    report.chunks += range.chunks.len() as u64;
                    report.stored += range.chunks.iter().map(|chunk| chunk.stored).sum::<u64>();
                    waiting.push(range);
                }
                Some(Line::Object(object)) => places.name(*object),
                Some(Line::Header(_) | Line::End(_)) | None => {}
            }
            if last || waiting.len() >= RANGES_AT_ONCE {
                self.check_ranges(std::mem::take(&mut waiting), depth, listing, &mut places).await?;
            }
            if last {
                break;
            }
        }
        report.damage.extend(places.damage());
        Ok(report)
    }

    async fn check_intent(
        &self,
        source: &SourceName,
        point: &PointId,
        expected: Option<Sha256>,
        found: &mut Vec<Damage>,
    ) -> Result<()> {
        let Some(expected) = expected else { return Ok(()) };
        let key = layout::intent(source, point);
        match self.store().get(&key, None).await {
            Ok(object) if Sha256::of(&object.body) == expected => {}
            Ok(_) => found.push(damage("intent", key, "its bytes are not those that were stored")),
            Err(StoreError::NotFound(_)) => found.push(damage("intent", key, "it is missing")),
            Err(error) => return Err(failed(format!("reading {key}"))(error)),
        }
        Ok(())
    }

    /// Checks the chunks of some ranges side by side and notes what is damaged.
    async fn check_ranges(
        &self,
        ranges: Vec<Range>,
        depth: Depth,
        listing: &ChunkListing,
        places: &mut Places,
    ) -> Result<()> {
        // Owned chunks: with borrowed ones the whole check could not be moved to another thread.
        let check = |(range, place, chunk): (usize, usize, Chunk)| async move {
            let listed = match listing.size_of(&chunk) {
                None => Some(ChunkDamage::Missing),
                Some(found) if found != chunk.stored => Some(ChunkDamage::WrongSize { expected: chunk.stored, found }),
                Some(_) => None,
            };
            let damage = match listed {
                None if depth > Depth::Listed => self.check_chunk(&chunk, depth).await?,
                listed => listed,
            };
            Ok::<_, Error>(damage.map(|damage| (range, place, damage)))
        };
        let chunks = |(number, range): (usize, &'_ Range)| -> Vec<(usize, usize, Chunk)> {
            range.chunks.iter().enumerate().map(|(place, chunk)| (number, place, chunk.clone())).collect()
        };
        let all: Vec<(usize, usize, Chunk)> = ranges.iter().enumerate().flat_map(chunks).collect();
        let found: Vec<Option<(usize, usize, ChunkDamage)>> =
            futures_util::stream::iter(all).map(check).buffered(CHUNKS_AT_ONCE).try_collect().await?;
        let mut bad: BTreeMap<usize, Vec<(usize, ChunkDamage)>> = BTreeMap::new();
        for (range, place, damage) in found.into_iter().flatten() {
            bad.entry(range).or_default().push((place, damage));
        }
        for (number, range) in ranges.iter().enumerate() {
            places.note(range, bad.remove(&number).unwrap_or_default());
        }
        Ok(())
    }
}

/// Every place in the chain must be taken by a point or a tombstone, and refer to the one before.
fn check_links(source: &SourceName, links: &[Link], newest: Option<&Link>, found: &mut Vec<Damage>) {
    let mut by_place: BTreeMap<u64, Vec<&Link>> = BTreeMap::new();
    for link in links {
        by_place.entry(link.sequence).or_default().push(link);
    }
    let last = newest.map_or(0, |link| link.sequence);
    for place in 1..=last {
        let Some(here) = by_place.get(&place) else {
            found.push(damage("chain", layout::points(source), format!("point number {place} is missing")));
            continue;
        };
        for link in here {
            let before = by_place.get(&(place - 1));
            let follows = match link.previous {
                None => place == 1,
                // Where the one before is missing, that is reported already.
                Some(hash) => before.is_none_or(|before| before.iter().any(|known| known.manifest_sha256 == hash)),
            };
            if !follows {
                let key = layout::signature(source, &link.point);
                found.push(damage("chain", key, format!("point number {place} does not follow the one before it")));
            }
        }
    }
}

/// The catalogue must know what the points and tombstones say, and nothing else.
fn check_catalogue(
    source: &SourceName,
    survey: &Survey,
    links: &BTreeMap<PointId, Link>,
    removed: &BTreeMap<PointId, Removed>,
    found: &mut Vec<Damage>,
) {
    let catalogue = &survey.catalogue;
    for point in catalogue.points.keys().filter(|point| !links.contains_key(*point) && !removed.contains_key(*point)) {
        let key = layout::signature(source, point);
        if !found.iter().any(|known| known.chunk == key.as_str()) {
            found.push(damage("signature", key, "it is missing, but the catalogue knows the point"));
        }
    }
    let folder = layout::catalogue(source);
    // What no key at hand opens may well know it.
    let unknown = |point: &&PointId| !catalogue.unreadable && !catalogue.knows(point) && !removed.contains_key(*point);
    for point in links.keys().filter(unknown) {
        let left = if survey.newest.as_ref().is_some_and(|newest| newest.point == *point) { KILLED } else { "" };
        found.push(damage("catalogue", &folder, format!("it lacks point {point}{left}")));
    }
    for point in removed.keys().filter(|point| !catalogue.removed.contains_key(*point)) {
        found.push(damage("catalogue", &folder, format!("it lacks the removal of {point}")));
    }
    for point in catalogue.removed.keys().filter(|point| !removed.contains_key(*point)) {
        let folder = format!("tombstones/{source}/");
        found.push(damage(
            "tombstones",
            folder,
            format!("the one of {point} is missing, but the catalogue knows of it"),
        ));
    }
}

fn check_head(source: &SourceName, survey: &Survey, links: &[Link], found: &mut Vec<Damage>) {
    let key = layout::head(source);
    match &survey.head {
        HeadState::Absent if links.is_empty() => {}
        HeadState::Absent => {
            let first = links.iter().all(|link| link.sequence == 1 && !survey.catalogue.knows(&link.point));
            let left = if first { KILLED } else { "" };
            found.push(damage("head", key, format!("it is missing{left}")));
        }
        HeadState::Damaged(what, _) => found.push(damage("head", key, what)),
        HeadState::Signed(head, _) => {
            let named = |link: &&Link| link.sequence == head.sequence && link.manifest_sha256 == head.manifest_sha256;
            if !links.iter().any(|link| named(&link)) {
                found.push(damage("head", key, format!("it names point {}, which is not there", head.point)));
            }
        }
    }
}

/// Turns damaged chunks into objects, tables and rows, once the object lines were read.
#[derive(Default)]
pub(super) struct Places {
    /// Rows of every range, to know how many come before.
    rows: HashMap<u32, Vec<(u32, u64)>>,
    damaged: Vec<Damaged>,
    /// Kind and name of every object.
    objects: HashMap<u32, (String, String)>,
}

struct Damaged {
    object: u32,
    range: u32,
    rows_before: u64,
    rows: u64,
    key: ObjectKey,
    what: String,
}

impl Places {
    pub(super) fn note(&mut self, range: &Range, bad: Vec<(usize, ChunkDamage)>) {
        let rows = range.chunks.iter().map(|chunk| chunk.rows.rows).sum();
        self.rows.entry(range.object).or_default().push((range.range, rows));
        for (place, damage) in bad {
            let Some(chunk) = range.chunks.get(place) else { continue };
            self.damaged.push(Damaged {
                object: range.object,
                range: range.range,
                rows_before: range.chunks[..place].iter().map(|chunk| chunk.rows.rows).sum(),
                rows: chunk.rows.rows,
                key: layout::chunk(chunk),
                what: damage.to_string(),
            });
        }
    }

    pub(super) fn name(&mut self, object: ObjectLine) {
        self.objects.insert(object.object, (object.kind, object.name));
    }

    pub(super) fn damage(self) -> Vec<Damage> {
        let Self { rows, damaged, objects } = self;
        let place = |damaged: Damaged| {
            let object = objects.get(&damaged.object);
            let ranges = rows.get(&damaged.object).map_or(&[][..], Vec::as_slice);
            let before: u64 = ranges.iter().filter(|(range, _)| *range < damaged.range).map(|(_, rows)| rows).sum();
            let first = before + damaged.rows_before;
            let is_table = object.is_some_and(|(kind, _)| kind == "table");
            Damage {
                object: object.map_or_else(|| format!("object {}", damaged.object), |(_, name)| name.clone()),
                table: object.filter(|_| is_table).map(|(_, name)| name.clone()),
                chunk: damaged.key.to_string(),
                range: damaged.range,
                rows: is_table.then_some((first, first + damaged.rows)),
                what: damaged.what,
            }
        };
        damaged.into_iter().map(place).collect()
    }
}

/// Everything that is wrong with a repository.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Each source's chain.
    pub chains: Vec<ChainReport>,
    /// Each point's objects.
    pub points: Vec<(PointSummary, PointReport)>,
}

impl Audit {
    /// All of it.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        let chains = self.chains.iter().flat_map(|chain| &chain.damage);
        let points = self.points.iter().flat_map(|(_, report)| &report.damage);
        chains.chain(points)
    }
}

impl Repository {
    /// Checks every chain and every point.
    pub async fn audit(&self, depth: Depth) -> Result<Audit> {
        let mut audit = Audit::default();
        let listing = self.listing_of_chunks().await?;
        for source in self.sources().await? {
            audit.chains.push(self.check_chain(&source).await?);
        }
        for point in self.points(None).await? {
            let report = self.check_point(&point.source, &point.link.point, depth, &listing).await?;
            audit.points.push((point, report));
        }
        Ok(audit)
    }
}
