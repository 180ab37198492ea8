//! The intent of a run: put before anything else, so that a sweep knows who may be about to name an old chunk.
//!
//! A run lists the marks, puts its intent naming them, lists the marks *again* and honours what it sees then, and
//! only after that loads its index. A sweep puts its mark and only then lists the intents. Whichever of the two
//! puts comes second, its writer sees the other: either the run honours the mark, or the sweep waits for the run.

use crate::error::{Context, Error, Kind, Result};
use crate::id::{PointId, RepositoryId, RunId, SourceName};
use crate::store::{Entry, ObjectKey, Put, Store, StoreError};
use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// The newest intent format this build reads and the only one it writes.
pub const FORMAT: u32 = 1;

/// The body that a sweep puts in place of a signature to close a run that has been open for too long. The run's own
/// signature then meets an existing object and fails: it can never commit.
///
/// It is never taken away again, because nobody can know how long a paused run sleeps.
pub const ABORTED: &[u8] = b"aborted";

/// How long a run may take unless the settings say otherwise; after it, a sweep may close the run.
pub const LONGEST_RUN: Duration = Duration::from_hours(48);

/// The folder of all points.
pub const POINTS: &str = "points/";

/// What a run says before it stores its first chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// [`FORMAT`].
    pub format: u32,
    /// The repository.
    pub repository: RepositoryId,
    /// The source the point is of.
    pub source: SourceName,
    /// The point that is being made.
    pub point: PointId,
    /// The run that makes it.
    pub run: RunId,
    /// The marks it honours: chunks they name are sealed anew, never used again.
    pub marks: BTreeSet<RunId>,
    /// When it began, by the run's own clock; a label, because only the store's clock is believed.
    pub began: Timestamp,
}

impl Intent {
    /// The object that holds it.
    pub fn bytes(&self) -> Result<Bytes> {
        let text =
            serde_json::to_vec(self).context(Kind::Failed, || format!("writing the intent of {}", self.point))?;
        Ok(text.into())
    }

    /// Reads one that lies at `source` and `point`; any other content is an error.
    pub fn parse(source: &SourceName, point: &PointId, bytes: &[u8]) -> Result<Self> {
        let doing = || format!("reading the intent of {source}/{point}");
        let intent: Self = serde_json::from_slice(bytes).context(Kind::Failed, doing)?;
        if intent.format != FORMAT {
            return Err(
                Error::failed(doing()).because(format!("its format is {}, this davit knows {FORMAT}", intent.format))
            );
        }
        if intent.source != *source || intent.point != *point {
            return Err(Error::failed(doing()).because(format!("it names {}/{}", intent.source, intent.point)));
        }
        Ok(intent)
    }
}

/// What lies in a point's folder; each part where the listing showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The source.
    pub source: SourceName,
    /// The point.
    pub point: PointId,
    /// The run's intent.
    pub intent: Option<Entry>,
    /// The manifest.
    pub manifest: Option<Entry>,
    /// The signature, or the word [`ABORTED`] in its place.
    pub signature: Option<Entry>,
    /// Evidence of verifications.
    pub evidence: Vec<Entry>,
}

impl Folder {
    fn empty(source: SourceName, point: PointId) -> Self {
        Self { source, point, intent: None, manifest: None, signature: None, evidence: Vec::new() }
    }

    /// Whether its run may still commit.
    pub fn is_open(&self) -> bool {
        self.intent.is_some() && self.signature.is_none()
    }

    /// Whether what stands in the signature's place can be the word [`ABORTED`]; the body decides.
    pub fn may_be_aborted(&self) -> bool {
        self.signature.as_ref().is_some_and(|signature| signature.size == ABORTED.len() as u64)
    }

    /// Everything in it but what stands in the signature's place.
    pub fn remains(&self) -> impl Iterator<Item = &Entry> {
        self.intent.iter().chain(&self.manifest).chain(&self.evidence)
    }
}

/// The folder of a point, ending in `/`.
pub fn folder_name(source: &SourceName, point: &PointId) -> String {
    format!("{POINTS}{source}/{point}/")
}

/// Where a point's intent lies.
pub fn intent_key(source: &SourceName, point: &PointId) -> Result<ObjectKey> {
    key_in(source, point, "intent")
}

/// Where a point's signature lies.
pub fn signature_key(source: &SourceName, point: &PointId) -> Result<ObjectKey> {
    key_in(source, point, "manifest.sig")
}

fn key_in(source: &SourceName, point: &PointId, name: &str) -> Result<ObjectKey> {
    let key = folder_name(source, point) + name;
    ObjectKey::new(key).context(Kind::Failed, || format!("naming the {name} of {source}/{point}"))
}

/// Lists every point's folder, in order of name. An object that has no place there is an error: it may be the part
/// of a newer format that names chunks.
pub async fn survey(store: &dyn Store) -> Result<Vec<Folder>> {
    let mut folders: Vec<Folder> = Vec::new();
    let mut listing = store.list(POINTS);
    while let Some(entry) = listing.try_next().await.context(Kind::Failed, || "listing the points".to_owned())? {
        let (source, point, part) = place(&entry.key)?;
        if folders.last().is_none_or(|last| last.source != source || last.point != point) {
            folders.push(Folder::empty(source, point));
        }
        let Some(folder) = folders.last_mut() else { continue };
        match part.as_str() {
            "intent" => folder.intent = Some(entry),
            "manifest" => folder.manifest = Some(entry),
            "manifest.sig" => folder.signature = Some(entry),
            _ => folder.evidence.push(entry),
        }
    }
    Ok(folders)
}

fn place(key: &ObjectKey) -> Result<(SourceName, PointId, String)> {
    let stranger = || Error::failed(format!("listing the points: {key} has no place there"));
    let mut parts = key.as_str().strip_prefix(POINTS).ok_or_else(stranger)?.splitn(3, '/');
    let (Some(source), Some(point), Some(part)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(stranger());
    };
    if !matches!(part, "intent" | "manifest" | "manifest.sig") && !part.starts_with("verified/") {
        return Err(stranger().hint("a newer davit may have written it; use that one"));
    }
    Ok((source.parse()?, point.parse()?, part.to_owned()))
}

/// How closing a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It can never commit.
    Aborted,
    /// It had committed before.
    Committed,
}

/// Closes a run for good by putting [`ABORTED`] where its signature would go.
pub async fn close(store: &dyn Store, source: &SourceName, point: &PointId) -> Result<Closed> {
    let key = signature_key(source, point)?;
    let doing = || format!("closing the run that made {source}/{point}");
    match store.put_new(&key, Put::new(ABORTED)).await {
        Ok(_) => Ok(Closed::Aborted),
        // Whoever was first, the run or another sweep, decided it; what lies there now never changes.
        Err(StoreError::AlreadyExists(_)) => {
            let found = store.get(&key, None).await.context(Kind::Failed, doing)?;
            Ok(if found.body == ABORTED { Closed::Aborted } else { Closed::Committed })
        }
        Err(error) => Err(error).context(Kind::Failed, doing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent() -> Intent {
        let began = Timestamp::from_second(1_800_000_000).unwrap();
        Intent {
            format: FORMAT,
            repository: RepositoryId([7; 16]),
            source: "shop".parse().unwrap(),
            point: PointId::at(began),
            run: RunId::at(began),
            marks: BTreeSet::from([RunId::at(began)]),
            began,
        }
    }

    #[test]
    fn an_intent_reads_back_only_where_it_was_put() {
        let intent = intent();
        let bytes = intent.bytes().unwrap();
        assert_eq!(Intent::parse(&intent.source, &intent.point, &bytes).unwrap(), intent);
        assert!(Intent::parse(&"other".parse().unwrap(), &intent.point, &bytes).is_err());
        let newer = Intent { format: FORMAT + 1, ..intent.clone() }.bytes().unwrap();
        let error = Intent::parse(&intent.source, &intent.point, &newer).unwrap_err();
        assert!(error.to_string().ends_with("its format is 2, this davit knows 1"), "{error}");
    }

    #[test]
    fn a_part_of_a_point_that_we_do_not_know_stops_the_survey() {
        let Intent { source, point, .. } = intent();
        let folder = folder_name(&source, &point);
        for (name, known) in [("intent", true), ("manifest.sig", true), ("verified/x", true), ("extra", false)] {
            let key = ObjectKey::new(format!("{folder}{name}")).unwrap();
            assert_eq!(place(&key).is_ok(), known, "{key}");
        }
        assert!(place(&ObjectKey::new("points/shop/stray").unwrap()).is_err());
    }
}
