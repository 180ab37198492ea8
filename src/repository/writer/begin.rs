//! The beginning of a point: checks that change nothing, the intent, and only then the index of what may be used again.
//!
//! The order is what makes a concurrent sweep safe: the marks are listed, the intent names those it will honour, the
//! marks are listed again and all that are seen then are honoured; the index loads last. See `intent.rs`.

use super::journal::Journal;
use super::stream::ManifestStream;
use super::{Draft, JournalPace, PointWriter, Totals};
use crate::error::{Error, Result};
use crate::id::{PointId, RunId, Sha256, SourceName};
use crate::repository::chain::{Commit, HeadState};
use crate::repository::index::DedupIndex;
use crate::repository::intent::{self, Intent};
use crate::repository::lock::lock_step;
use crate::repository::manifest::{End, FORMAT, Header, Line, ObjectLine, PointKind};
use crate::repository::mark::{self, Marks};
use crate::repository::survey::Survey;
use crate::repository::{PointSummary, Repository, SIDE_BY_SIDE, failed, layout};
use crate::store::{Put, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, RwLock};

/// How many of a source's newest points are loaded for deduplication: the second one covers a damaged first.
const OWN_POINTS: usize = 2;
/// How many unfinished runs of a source are asked what they stored; each costs a few requests.
const UNFINISHED_RUNS: usize = 8;
/// How many other sources' newest points are loaded for deduplication …
const OTHER_SOURCES: usize = 16;
/// … and how many chunks they may bring: 64 MB.
const OTHER_CHUNKS: u64 = 1 << 20;

/// What a new point is to be.
#[derive(Debug, Clone)]
pub struct BeginPoint {
    /// The source.
    pub source: SourceName,
    /// What it is a point of.
    pub kind: PointKind,
    /// What the source is bound to (system identifier and database oid; cluster and namespace uid).
    pub identity: String,
    /// Bind the source to `identity` although it was bound to another one.
    pub rebind: bool,
    /// The only retention tier that may keep it.
    pub tier: Option<String>,
    /// The instant the content is of; [`PointWriter::set_snapshot`] may say it later.
    pub snapshot_time: Timestamp,
    /// Facts of the verb.
    pub details: serde_json::Value,
    /// Until when the point and every chunk it names are to be locked at least.
    pub lock_until: Option<Timestamp>,
    /// How often to write down what was stored.
    pub journal: JournalPace,
    /// The run.
    pub run: RunId,
    /// The point whose chunks this one seals again.
    pub resealed_from: Option<PointId>,
}

impl BeginPoint {
    /// A point of `source` made by `run`, with everything else at its default.
    pub fn new(source: SourceName, kind: PointKind, identity: impl Into<String>, run: RunId, now: Timestamp) -> Self {
        Self {
            source,
            kind,
            identity: identity.into(),
            rebind: false,
            tier: None,
            snapshot_time: now,
            details: serde_json::Value::Null,
            lock_until: None,
            journal: JournalPace::default(),
            run,
            resealed_from: None,
        }
    }
}

impl Repository {
    /// Begins a point. Nothing is changed before every refusal that can be foreseen was considered.
    pub async fn begin(&self, begin: BeginPoint) -> Result<PointWriter> {
        self.signer()?;
        let mut survey = self.survey(&begin.source).await?;
        self.meet_witness(&begin.source)?;
        refuse_another_identity(&begin, &survey)?;
        let id_key = self.0.id_keys.get(&self.charter().epoch).cloned().ok_or_else(|| {
            Error::input("beginning a point: no key at hand makes chunk ids").hint("--keys says where writer.key is")
        })?;
        let foreseen = mark::load(self.store().as_ref()).await?;
        let (intent, intent_sha256) = self.put_intent(&begin, &foreseen).await?;
        let marks = mark::load(self.store().as_ref()).await?;
        self.catalogue_strays(&begin.source, &mut survey).await;
        let (index, previous_objects) = self.load_index(&begin.source, &survey, &marks).await?;
        let lock = self.lock_for(begin.lock_until);
        let lock_step = lock.as_ref().map_or(0, |(_, step)| *step);
        let sequence = survey.newest.as_ref().map_or(1, |newest| newest.sequence + 1);
        let mut header = self.header(&begin, &intent, &survey, lock.as_ref().map(|(lock, _)| lock.until));
        header.intent = Some(intent_sha256);
        let stream = ManifestStream::new(self.settings().level, &self.manifest_recipients()?)?;
        let draft = Draft {
            header,
            header_written: false,
            stream,
            named: End::default(),
            open: std::collections::BTreeMap::new(),
            epochs: BTreeSet::new(),
            chain: survey.newest,
        };
        Ok(PointWriter {
            repository: self.clone(),
            sequence,
            previous_objects,
            id_key,
            epoch: self.charter().epoch,
            recipients: Arc::new(self.chunk_recipients()?),
            lock,
            index: RwLock::new(index),
            journal: Journal::new(begin.journal, lock_step, self.clock().monotonic()),
            totals: Mutex::new(Totals::default()),
            manifest: Mutex::new(Some(draft)),
            intent,
        })
    }

    fn header(&self, begin: &BeginPoint, intent: &Intent, survey: &Survey, lock_until: Option<Timestamp>) -> Header {
        Header {
            format: FORMAT,
            repository: self.id(),
            source: begin.source.clone(),
            point: intent.point.clone(),
            run: intent.run.clone(),
            sequence: survey.newest.as_ref().map_or(1, |newest| newest.sequence + 1),
            previous: survey.newest.as_ref().map(|newest| newest.manifest_sha256),
            kind: begin.kind,
            identity: begin.identity.clone(),
            started: intent.began,
            snapshot_time: begin.snapshot_time,
            tier: begin.tier.clone(),
            tool: concat!("davit ", env!("CARGO_PKG_VERSION")).to_owned(),
            reader_key_visible: self.encrypted() && self.can_read_rows(),
            lock_until,
            resealed_from: begin.resealed_from.clone(),
            intent: None,
            details: begin.details.clone(),
        }
    }

    /// Puts the intent; what is given back are the intent and the SHA-256 of its object.
    async fn put_intent(&self, begin: &BeginPoint, honoured: &Marks) -> Result<(Intent, Sha256)> {
        let now = self.clock().now();
        let intent = Intent {
            format: intent::FORMAT,
            repository: self.id(),
            source: begin.source.clone(),
            point: PointId::at(now),
            run: begin.run.clone(),
            marks: honoured.ids.clone(),
            began: now,
        };
        let put = Put::new(intent.bytes()?);
        let sha256 = put.sha256;
        let key = layout::intent(&intent.source, &intent.point);
        self.store().put_new(&key, put).await.map_err(failed(format!("beginning point {}", intent.point)))?;
        Ok((intent, sha256))
    }

    /// Loads what may be used again, and the objects of the source's last point.
    async fn load_index(
        &self,
        source: &SourceName,
        survey: &Survey,
        marks: &Marks,
    ) -> Result<(DedupIndex, Vec<ObjectLine>)> {
        let mut own: Vec<&PointSummary> = survey.catalogue.points.values().collect();
        own.sort_by_key(|summary| std::cmp::Reverse((summary.snapshot_time, summary.link.sequence)));
        own.truncate(OWN_POINTS);
        let others = self.newest_of_others(source).await?;
        let expected = own.iter().map(|p| p.end.chunks).chain(others.iter().map(|p| p.end.chunks)).sum::<u64>();
        let mut index = DedupIndex::with_capacity(usize::try_from(expected).unwrap_or(0));
        let mut objects = Vec::new();
        for summary in own {
            let taken = self.add_point(&mut index, source, &summary.link.point).await?;
            if objects.is_empty() {
                objects = taken;
            }
        }
        for summary in &others {
            self.add_point(&mut index, &summary.source, &summary.link.point).await?;
        }
        for intent in self.unfinished(source, survey).await? {
            let stored = self.stored_by(&intent).await?;
            let current = stored.iter().filter(|(chunk, _)| self.same_readers(chunk.epoch));
            current.for_each(|(chunk, step)| index.add(chunk, *step));
        }
        index.sort();
        self.list_chunks(|id, nonce, size| index.saw(&id, nonce, size)).await?;
        let damaged =
            survey.catalogue.points.values().chain(&others).flat_map(|p| &p.verified).flat_map(|v| &v.damaged);
        if !marks.unreadable.is_empty() {
            // What they name cannot be known, so everything is sealed anew until a person has looked at them.
            tracing::warn!(marks = ?marks.unreadable, "marks cannot be read; no chunk is used again");
            return Ok((DedupIndex::default(), objects));
        }
        marks.chunks.iter().for_each(|marked| index.strike(&marked.id, marked.nonce));
        damaged.filter_map(|key| layout::parse_chunk(key)).for_each(|(id, nonce)| index.strike(&id, nonce));
        index.keep_listed();
        Ok((index, objects))
    }

    /// Adds the chunks of a committed point to the index; gives its objects.
    async fn add_point(&self, index: &mut DedupIndex, source: &SourceName, point: &PointId) -> Result<Vec<ObjectLine>> {
        let mut objects = Vec::new();
        let mut reader = match self.read_point(source, point).await {
            Ok(reader) => reader,
            // Its damage is for `verify` to report; a backup goes on and stores anew what it cannot find.
            Err(error) => {
                tracing::warn!(%source, %point, %error, "a point cannot be read; its chunks are not used again");
                return Ok(objects);
            }
        };
        let step = reader.header().lock_until.map_or(0, |until| lock_step(until).0);
        while let Some(line) = reader.next().await? {
            match line {
                Line::Range(range) => {
                    let current = range.chunks.iter().filter(|chunk| self.same_readers(chunk.epoch));
                    current.for_each(|chunk| index.add(chunk, step));
                }
                Line::Object(object) => objects.push(*object),
                Line::Header(_) | Line::End(_) => {}
            }
        }
        Ok(objects)
    }

    /// Whether an epoch has the readers that chunks are sealed to now.
    fn same_readers(&self, epoch: u32) -> bool {
        self.charter().readers_of(epoch) == Some(self.readers())
    }

    /// The newest points of a few other sources: a table that moved, a source that was renamed.
    async fn newest_of_others(&self, source: &SourceName) -> Result<Vec<PointSummary>> {
        let mut heads = Vec::new();
        let mut entries = self.store().list("heads/");
        while let Some(entry) = entries.try_next().await.map_err(failed("listing the heads"))? {
            let name = entry.key.as_str().strip_prefix("heads/").and_then(|name| name.parse::<SourceName>().ok());
            heads.extend(name.filter(|name| name != source).map(|name| (entry.modified, name)));
        }
        drop(entries);
        heads.sort_unstable_by(|a, b| b.cmp(a));
        heads.truncate(OTHER_SOURCES);
        let sources: Vec<SourceName> = heads.into_iter().map(|(_, name)| name).collect();
        let catalogues: Vec<_> = futures_util::stream::iter(sources)
            .map(|other| async move { self.catalogue(&other).await })
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        let newest = |catalogue: crate::repository::catalogue::Catalogue| {
            catalogue.points.into_values().max_by_key(|summary| summary.link.sequence)
        };
        let mut others: Vec<PointSummary> = catalogues.into_iter().filter_map(newest).collect();
        others.sort_by_key(|summary| std::cmp::Reverse(summary.snapshot_time));
        let mut room = OTHER_CHUNKS;
        others.retain(|summary| match room.checked_sub(summary.end.chunks) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
        Ok(others)
    }

    /// The intents of a source's latest runs that did not commit. They are asked now, after our own intent was put,
    /// whether they may still commit: what a closed run stored is garbage that a sweep may be taking away.
    pub(super) async fn unfinished(&self, source: &SourceName, survey: &Survey) -> Result<Vec<Intent>> {
        let known: BTreeSet<&PointId> = survey.uncatalogued.iter().map(|link| &link.point).collect();
        let open = survey
            .folders
            .iter()
            .rev()
            .filter(|(_, folder)| folder.intent && !folder.signature)
            .filter(|(point, _)| !survey.catalogue.knows(point) && !known.contains(point));
        let mut intents = Vec::new();
        for (point, _) in open.take(UNFINISHED_RUNS) {
            let key = layout::intent(source, point);
            let body = match self.store().get(&key, None).await {
                Ok(object) => object.body,
                Err(StoreError::NotFound(_)) => continue,
                Err(error) => return Err(failed(format!("reading {key}"))(error)),
            };
            match Intent::parse(source, point, &body) {
                Ok(_) if self.commit_of(source, point).await? != Commit::Absent => {}
                Ok(intent) => intents.push(intent),
                Err(error) => tracing::warn!(%key, %error, "an intent is damaged"),
            }
        }
        Ok(intents)
    }
}

/// A source is bound to what it was first a source of.
fn refuse_another_identity(begin: &BeginPoint, survey: &Survey) -> Result<()> {
    let newest = survey.catalogue.points.values().max_by_key(|summary| (summary.snapshot_time, summary.link.sequence));
    if let HeadState::Damaged(what, _) = &survey.head {
        tracing::warn!(source = %begin.source, %what, "the head is damaged; the next commit replaces it");
    }
    let Some(bound) = newest.map(|summary| &summary.identity).filter(|bound| **bound != begin.identity) else {
        return Ok(());
    };
    if begin.rebind {
        return Ok(());
    }
    Err(Error::refused(format!(
        "backing up {}: this source is bound to {bound}, but what is there now is {}",
        begin.source, begin.identity
    ))
    .hint("give the other one a name of its own in davit.yaml, or bind this name anew with --rebind"))
}
