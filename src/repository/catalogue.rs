//! The catalogue: what `points` shows, in signed batches, so that ten thousand points are listed with a few requests.
//!
//! It is a copy: whatever is missing in it is taken from the points themselves. A batch tells what was added, verified
//! or removed; a full batch replaces all before it.

use super::chain::{Commit, HeadState, Link};
use super::manifest::{End, Header, MISSING, PointKind};
use super::record::{Privacy, RecordError};
use super::tombstone::{Removed, resealed_as};
use super::unread::{Refusal, Unread};
use super::{Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Kind, Result};
use crate::id::{PointId, RunId, SourceName};
use crate::store::{ObjectKey, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// After how many batches a full one is written.
const BATCHES_TO_A_FULL_ONE: u64 = 24;
/// How often another writer may be quicker before we give up.
const ATTEMPTS: u32 = 8;

type UnreadBySource = Vec<(SourceName, Vec<Unread>)>;

/// What is known of a point without opening it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointSummary {
    /// The source.
    pub source: SourceName,
    /// What its signature says.
    pub link: Link,
    /// What it is a point of.
    pub kind: PointKind,
    /// What the source is bound to.
    pub identity: String,
    /// The run that made it.
    pub run: RunId,
    /// When that began.
    pub started: Timestamp,
    /// The instant the content is of.
    pub snapshot_time: Timestamp,
    /// The only tier that may keep it, if its maker named one.
    pub tier: Option<String>,
    /// `davit` and its version.
    pub tool: String,
    /// Whether the run could see a key that opens what it wrote.
    pub reader_key_visible: bool,
    /// Until when it and its chunks are locked.
    pub lock_until: Option<Timestamp>,
    /// The epochs its chunks are sealed in.
    pub epochs: Vec<u32>,
    /// Size of the sealed manifest.
    pub manifest_stored: u64,
    /// Totals.
    pub end: End,
    /// The last verification of each depth.
    pub verified: Vec<Verified>,
    /// Why it is kept regardless of tiers.
    #[serde(skip)]
    pub hold: Option<Hold>,
}

/// How deeply a point was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Every object of the manifest is there with its size.
    Listed,
    /// Every object has its SHA-256.
    Stored,
    /// It was restored and compared.
    Restored,
}

/// The outcome of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The run that verified.
    pub run: RunId,
    /// How deeply.
    pub depth: Depth,
    /// Whether all was well.
    pub ok: bool,
    /// When.
    pub when: Timestamp,
    /// Objects that were found damaged; they are not used again.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub damaged: Vec<String>,
}

/// A pin on a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The source.
    pub source: SourceName,
    /// The point.
    pub point: PointId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Entry {
    Point(Box<PointSummary>),
    Verified {
        point: PointId,
        verified: Verified,
    },
    Removed(Removed),
    Held(Hold),
    Released(PointId),
    /// Until when a point and its chunks are locked now.
    Locked {
        point: PointId,
        until: Timestamp,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    source: SourceName,
    entries: Vec<Entry>,
}

/// A source's catalogue in memory.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) points: BTreeMap<PointId, PointSummary>,
    pub(super) removed: BTreeMap<PointId, Removed>,
    /// Numbers of the batches in the store, and whether each is full.
    batches: Vec<(u64, bool)>,
    pub(super) holds: BTreeMap<PointId, Hold>,
    /// Batches that could not be believed; what they said is taken from the points again.
    pub(super) damaged: Vec<(ObjectKey, String)>,
    /// Batches that no key at hand opens: a reader who was replaced sees no more than before.
    pub(super) unreadable: bool,
    /// Points that are signed and could not be read.
    unread: Vec<Unread>,
}

impl PointSummary {
    /// The point's id.
    pub fn point(&self) -> &PointId {
        &self.link.point
    }

    /// The last verification at this depth or deeper, deepest first.
    pub fn verified_at_least(&self, depth: Depth) -> Option<&Verified> {
        self.verified.iter().filter(|verified| verified.depth >= depth).max_by_key(|verified| verified.depth)
    }

    /// How many things should be in it and are not; it is never called good while there is one.
    pub fn missing(&self) -> u32 {
        self.end.kinds.get(MISSING).copied().unwrap_or(0)
    }

    /// Refuses a point of something else than what a command is for.
    pub fn must_be(&self, kind: PointKind) -> Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        let what = match self.kind {
            PointKind::Namespace => "a namespace: davit snapshot restore, show and verify are for it",
            PointKind::Database => "a database: davit restore, verify and export are for it",
            PointKind::Command => "a command's output: davit export writes it out",
        };
        Err(Error::input(format!("using point {}: it is of {what}", self.link.point))
            .hint("davit points lists what there is"))
    }

    /// Whether it was restored and compared, and nothing was found wrong since.
    pub fn is_proven(&self) -> bool {
        if self.missing() > 0 {
            return false;
        }
        let proven = self.verified.iter().find(|verified| verified.depth == Depth::Restored && verified.ok);
        proven.is_some_and(|proven| !self.verified.iter().any(|later| !later.ok && later.when > proven.when))
    }

    pub(super) fn new(link: Link, header: &Header, end: &End, epochs: Vec<u32>, manifest_stored: u64) -> Self {
        Self {
            source: header.source.clone(),
            link,
            kind: header.kind,
            identity: header.identity.clone(),
            run: header.run.clone(),
            started: header.started,
            snapshot_time: header.snapshot_time,
            tier: header.tier.clone(),
            tool: header.tool.clone(),
            reader_key_visible: header.reader_key_visible,
            lock_until: header.lock_until,
            epochs,
            manifest_stored,
            end: end.clone(),
            verified: Vec::new(),
            hold: None,
        }
    }
}

impl Catalogue {
    pub(super) fn knows(&self, point: &PointId) -> bool {
        self.points.contains_key(point) || self.removed.contains_key(point)
    }

    pub(super) fn newest_link(&self) -> Option<Link> {
        let removed = self.removed.values().max_by_key(|removed| removed.sequence).map(Link::of_removed);
        let kept = self.points.values().map(|summary| &summary.link).max_by_key(|link| link.sequence).cloned();
        kept.into_iter().chain(removed).max_by_key(|link| link.sequence)
    }

    /// Whether a point or a tombstone is known for every number up to the newest; a run that died right after its
    /// commit leaves a gap.
    fn has_every_number(&self) -> bool {
        let points = self.points.values().map(|summary| summary.link.sequence);
        let numbers: BTreeSet<u64> = points.chain(self.removed.values().map(|gone| gone.sequence)).collect();
        numbers.last().copied().unwrap_or(0) == numbers.len() as u64
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Point(summary) => {
                self.points.insert(summary.link.point.clone(), *summary);
            }
            Entry::Verified { point, verified } => self.note_verified(&point, verified),
            Entry::Removed(removed) => {
                self.points.remove(&removed.point);
                self.holds.remove(&removed.point);
                self.removed.insert(removed.point.clone(), removed);
            }
            Entry::Held(hold) => {
                self.holds.insert(hold.point.clone(), hold);
            }
            Entry::Released(point) => {
                self.holds.remove(&point);
            }
            Entry::Locked { point, until } => {
                if let Some(summary) = self.points.get_mut(&point) {
                    summary.lock_until = summary.lock_until.max(Some(until));
                }
            }
        }
    }

    pub(super) fn note_verified(&mut self, point: &PointId, verified: Verified) {
        let Some(summary) = self.points.get_mut(point) else { return };
        if summary.verified.iter().any(|known| known.depth == verified.depth && known.when > verified.when) {
            return;
        }
        summary.verified.retain(|known| known.depth != verified.depth);
        if verified.ok && verified.depth >= Depth::Stored {
            // Whatever was damaged has been seen whole again.
            summary.verified.iter_mut().for_each(|known| known.damaged.clear());
        }
        summary.verified.push(verified);
    }

    /// The number of the next batch, and whether it should be a full one.
    fn next(&self) -> (u64, bool) {
        let last = self.batches.iter().map(|(number, _)| *number).max();
        let last_full = self.batches.iter().filter(|(_, full)| *full).map(|(number, _)| *number).max();
        let next = last.map_or(0, |last| last + 1);
        let since = next - last_full.map_or(0, |full| full.min(next));
        (next, !self.unreadable && (since >= BATCHES_TO_A_FULL_ONE || !self.damaged.is_empty()))
    }

    fn to_entries(&self) -> Vec<Entry> {
        let points = self.points.values().cloned().map(|summary| Entry::Point(Box::new(summary)));
        let removed = self.removed.values().cloned().map(Entry::Removed);
        points.chain(removed).chain(self.holds.values().cloned().map(Entry::Held)).collect()
    }
}

/// The points with their pins, newest first.
fn held_and_sorted(mut points: Vec<PointSummary>, holds: &[Hold]) -> Vec<PointSummary> {
    for point in &mut points {
        let put = holds.iter().find(|hold| hold.point == point.link.point);
        // A pin that the catalogue knows of holds although its object is gone: only `release` takes it off.
        point.hold = put.cloned().or(point.hold.take());
    }
    points.sort_by_key(|point| std::cmp::Reverse((point.snapshot_time, point.link.sequence)));
    points
}

impl Repository {
    /// Reads a source's catalogue as it is in the store.
    pub(super) async fn catalogue(&self, source: &SourceName) -> Result<Catalogue> {
        let prefix = layout::catalogue(source);
        let doing = || failed(format!("reading the catalogue of {source}"));
        let mut catalogue = Catalogue::default();
        let mut entries = self.store().list(&prefix);
        while let Some(entry) = entries.try_next().await.map_err(doing())? {
            catalogue.batches.extend(layout::parse_catalogue_batch(entry.key.as_str()));
        }
        drop(entries);
        catalogue.batches.sort_unstable();
        let last_full = catalogue.batches.iter().rposition(|(_, full)| *full).unwrap_or(0);
        let wanted = catalogue.batches[last_full..].to_vec();
        let mut expected = wanted.first().map_or(0, |(number, full)| if *full { *number } else { 0 });
        let read = |(number, full): (u64, bool)| async move {
            let key = layout::catalogue_batch(source, number, full);
            let batch = self.record::<Batch>(&key).await;
            (number, key, batch)
        };
        let mut batches = futures_util::stream::iter(wanted).map(read).buffered(SIDE_BY_SIDE);
        while let Some((number, key, batch)) = batches.next().await {
            if number != expected {
                catalogue.damaged.push((layout::catalogue_batch(source, expected, false), "it is missing".to_owned()));
            }
            expected = number + 1;
            match batch {
                Ok(Some((batch, _))) if batch.source == *source => {
                    for entry in batch.entries {
                        catalogue.apply(entry);
                    }
                }
                Ok(_) => catalogue.damaged.push((key, "it is missing or of another source".to_owned())),
                Err(RecordError::Damaged { what, .. }) => catalogue.damaged.push((key, what)),
                Err(RecordError::Key(_)) => catalogue.unreadable = true,
                Err(error) => return Err(Error::from(error).during(format!("reading the catalogue of {source}"))),
            }
        }
        drop(batches);
        Ok(catalogue)
    }

    /// Adds to a source's catalogue; another writer who is quicker is waited for.
    pub(super) async fn append_to_catalogue(&self, source: &SourceName, entries: Vec<Entry>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let mut catalogue = self.catalogue(source).await?;
            let (number, full) = catalogue.next();
            let batch = if full {
                // What a damaged batch said is taken from the points again.
                if !catalogue.damaged.is_empty() {
                    self.complete(source, &mut catalogue).await?;
                }
                for entry in entries.clone() {
                    catalogue.apply(entry);
                }
                Batch { source: source.clone(), entries: catalogue.to_entries() }
            } else {
                Batch { source: source.clone(), entries: entries.clone() }
            };
            let key = layout::catalogue_batch(source, number, full);
            match self.put_record(&key, Privacy::Sealed, &batch, None).await {
                Ok(_) if full => return self.drop_batches_before(source, &catalogue, number).await,
                Ok(_) => return Ok(()),
                Err(RecordError::Store(StoreError::AlreadyExists(_))) => {}
                Err(error) => return Err(Error::from(error).during(format!("adding to the catalogue of {source}"))),
            }
        }
        Err(Error::failed(format!("adding to the catalogue of {source}: others were quicker {ATTEMPTS} times")))
    }

    /// Takes away what a full batch replaces. Credentials that may not delete leave it there; nobody reads it.
    async fn drop_batches_before(&self, source: &SourceName, catalogue: &Catalogue, number: u64) -> Result<()> {
        for (old, full) in catalogue.batches.iter().filter(|(old, _)| *old < number) {
            let key = layout::catalogue_batch(source, *old, *full);
            if let Err(error) = self.store().delete(&key).await {
                tracing::debug!(%key, %error, "a replaced catalogue batch stays");
                break;
            }
        }
        Ok(())
    }

    /// Brings a catalogue up to what is in the store, from the points themselves; tells what was added.
    pub(super) async fn complete(&self, source: &SourceName, catalogue: &mut Catalogue) -> Result<Vec<PointId>> {
        let (folders, removed) = futures_util::try_join!(self.point_folders(source), self.tombstones(source))?;
        for (point, removed) in removed {
            catalogue.points.remove(&point);
            catalogue.removed.insert(point, removed);
        }
        let unknown: Vec<PointId> = folders
            .iter()
            .filter(|(point, folder)| folder.signature && !catalogue.knows(point))
            .map(|(point, _)| point.clone())
            .collect();
        let mut added = Vec::new();
        let mut summaries = futures_util::stream::iter(unknown)
            .map(|point| async move { (point.clone(), self.summarise(source, &point).await) })
            .buffered(4);
        while let Some((point, summary)) = summaries.next().await {
            match summary {
                Ok(Some(summary)) => {
                    catalogue.points.insert(point.clone(), summary);
                    added.push(point);
                }
                Ok(None) => {}
                // A store that does not answer says nothing about its points: without them the list would be another one.
                Err(error) if error.kind() == Kind::Failed => return Err(error),
                // The others are listed all the same. That another key is needed is told by whoever lists.
                Err(error) => {
                    if error.kind() != Kind::Input {
                        tracing::warn!(%source, %point, %error, "a point cannot be listed");
                    }
                    // What its signature says is open to everybody.
                    let link = match self.commit_of(source, &point).await {
                        Ok(Commit::Signed(link)) => Some(link),
                        _ => None,
                    };
                    let words = resealed_as(&point);
                    let instant = catalogue.removed.values().find(|gone| gone.reason == words);
                    let instant = instant.map(|gone| gone.snapshot_time);
                    catalogue.unread.push(Unread::of((source, point), (link.as_ref(), instant), &error));
                }
            }
        }
        drop(summaries);
        let gone: Vec<PointId> = catalogue
            .points
            .keys()
            .filter(|point| folders.get(point).is_none_or(|folder| !folder.signature))
            .cloned()
            .collect();
        for point in gone {
            catalogue.points.remove(&point);
        }
        self.read_missing_evidence(source, &folders, catalogue, &added).await?;
        Ok(added)
    }

    /// Reads one point for the catalogue; `None` if it is not committed.
    pub(super) async fn summarise(&self, source: &SourceName, point: &PointId) -> Result<Option<PointSummary>> {
        let Commit::Signed(_) = self.commit_of(source, point).await? else { return Ok(None) };
        let mut reader = self.read_point(source, point).await?;
        let mut epochs = std::collections::BTreeSet::new();
        let mut end = None;
        while let Some(line) = reader.next().await? {
            match line {
                super::manifest::Line::Range(range) => epochs.extend(range.chunks.iter().map(|chunk| chunk.epoch)),
                super::manifest::Line::End(totals) => end = Some(totals),
                _ => {}
            }
        }
        let end = end.unwrap_or_default();
        let epochs = epochs.into_iter().collect();
        Ok(Some(PointSummary::new(reader.link().clone(), reader.header(), &end, epochs, reader.stored())))
    }

    /// The points of a source, or of all, newest first.
    pub async fn points(&self, source: Option<&SourceName>) -> Result<Vec<PointSummary>> {
        Ok(self.points_and_unread(source).await?.0)
    }

    /// The same, and those that are signed and could not be read: damaged ones, and those of another reader.
    pub async fn points_and_unread(&self, source: Option<&SourceName>) -> Result<(Vec<PointSummary>, Vec<Unread>)> {
        let sources = match source {
            Some(source) => vec![source.clone()],
            None => self.sources().await?,
        };
        let points = self.points_of_all(sources, false).await?;
        if let Some(source) = source {
            self.meet_witness(source)?;
        }
        Ok(points)
    }

    /// The points of all sources, newest first, and why others are refused: one source that was rolled back, or a point that
    /// cannot be read, hides none of those that a person may need now. A store that does not answer is still an error.
    pub async fn points_and_refusals(&self) -> Result<(Vec<PointSummary>, Vec<Refusal>)> {
        let (points, unread, mut refusals) = self.points_of_each().await?;
        refusals.extend(unread.iter().flat_map(|(source, unread)| Unread::refusals(source, unread)));
        refusals.sort_by(|one, other| one.source.cmp(&other.source));
        Ok((points, refusals))
    }

    /// The same with what could not be read, by source.
    pub(super) async fn points_of_each(&self) -> Result<(Vec<PointSummary>, UnreadBySource, Vec<Refusal>)> {
        let (mut points, mut unread, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        let holds = self.holds().await?;
        let mut answers = futures_util::stream::iter(self.sources().await?)
            .map(|source| async move { (self.points_of(&source, false).await, source) })
            .buffered(SIDE_BY_SIDE);
        while let Some((answer, source)) = answers.next().await {
            match answer {
                Ok((of_source, unread_of_source)) => {
                    points.extend(of_source);
                    unread.push((source, unread_of_source));
                }
                Err(error) if error.kind() == Kind::Refused => refusals.push(Refusal::of(source, &error)),
                Err(error) => return Err(error),
            }
        }
        drop(answers);
        Ok((held_and_sorted(points, &holds), unread, refusals))
    }

    /// All points, newest first, including any that a crash or a second runner kept out of the catalogue: every
    /// folder is looked at. For who decides what goes: fails where a point is signed and cannot be read.
    pub async fn points_in_full(&self) -> Result<Vec<PointSummary>> {
        let sources = self.sources().await?;
        let (points, unread) = self.points_of_all(sources, true).await?;
        unread.first().map_or(Ok(points), |one| Err(one.keeps_all()))
    }

    async fn points_of_all(&self, sources: Vec<SourceName>, in_full: bool) -> Result<(Vec<PointSummary>, Vec<Unread>)> {
        let holds = self.holds().await?;
        let (mut points, mut unread) = (Vec::new(), Vec::new());
        let mut per_source = futures_util::stream::iter(sources)
            .map(|source| async move { self.points_of(&source, in_full).await })
            .buffered(SIDE_BY_SIDE);
        while let Some((of_source, unread_of_source)) = per_source.try_next().await? {
            points.extend(of_source);
            unread.extend(unread_of_source);
        }
        drop(per_source);
        Ok((held_and_sorted(points, &holds), unread))
    }

    /// Whether a point is signed that is newer than all that the catalogue knows: its run was killed before it said so
    /// anywhere else. One page of a list, usually empty; all of it where the catalogue knows of no point yet.
    async fn has_newer(&self, source: &SourceName, catalogue: &Catalogue) -> Result<bool> {
        let after = catalogue.newest_link().map(|newest| layout::signature(source, &newest.point));
        let folders = self.point_folders_after(source, after.as_ref()).await?;
        Ok(folders.iter().any(|(point, folder)| folder.signature && !catalogue.knows(point)))
    }

    /// The points of one source from its catalogue; what that lacks is read from the points.
    async fn points_of(&self, source: &SourceName, in_full: bool) -> Result<(Vec<PointSummary>, Vec<Unread>)> {
        let (head, mut catalogue) = futures_util::try_join!(self.head(source), self.catalogue(source))?;
        let known = catalogue.newest_link().map_or(0, |link| link.sequence);
        let head = if let HeadState::Signed(head, _) = head { head.sequence } else { u64::MAX };
        // A run that was killed behind its signature left a point above the head, and somebody here has seen it.
        let whole =
            known >= head.max(self.newest_seen(source)) && catalogue.has_every_number() && catalogue.damaged.is_empty();
        let in_full = in_full || !whole || catalogue.unreadable || self.has_newer(source, &catalogue).await?;
        if in_full {
            let removed_before: BTreeSet<PointId> = catalogue.removed.keys().cloned().collect();
            let added = self.complete(source, &mut catalogue).await?;
            let summaries = added.iter().filter_map(|point| catalogue.points.get(point)).cloned();
            let removed = catalogue.removed.values().filter(|gone| !removed_before.contains(&gone.point)).cloned();
            let entries: Vec<Entry> =
                summaries.map(|summary| Entry::Point(Box::new(summary))).chain(removed.map(Entry::Removed)).collect();
            if !entries.is_empty() && !catalogue.unreadable && self.can_sign() {
                // Listing must work with credentials that cannot write.
                if let Err(error) = self.append_to_catalogue(source, entries).await {
                    tracing::debug!(%source, %error, "the catalogue stays as it is");
                }
            }
        }
        let newest = catalogue.newest_link().map_or(0, |link| link.sequence);
        self.meet_newest(source, if head == u64::MAX { newest } else { newest.max(head) })?;
        let holds = std::mem::take(&mut catalogue.holds);
        let mut points: Vec<PointSummary> = catalogue.points.into_values().collect();
        for point in &mut points {
            point.hold = holds.get(&point.link.point).cloned();
        }
        Ok((points, catalogue.unread))
    }
}
