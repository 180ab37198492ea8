//! The objects of a point, read back for diff, restore and verify.

use super::facts::{KindFacts, PointFacts, kind as line};
use super::pack::{Entry, unpack};
use super::show::details;
use crate::error::{Error, Result};
use crate::repository::manifest::{Chunk, Line, PointKind};
use crate::repository::{FetchError, PointSummary, Repository};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// Chunks that are fetched side by side.
const FETCHES: usize = 8;

/// The kind of a saved object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedKind {
    /// The group; empty for the core.
    pub group: String,
    /// The version it was read at.
    pub version: String,
    /// The plural.
    pub resource: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Whether it lies in a namespace.
    pub namespaced: bool,
    /// All versions that were served.
    pub served: Vec<String>,
    /// Whether a custom resource definition made the kind.
    pub custom: bool,
}

impl SavedKind {
    /// `pods`, `deployments.apps`.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
}

/// What is known of a saved object besides its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// A controller that is in the point, too, made it.
    pub derived: bool,
    /// It is cluster-scoped, and in the point because the namespace leans on it.
    pub related: bool,
}

/// A saved object.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Its kind.
    pub kind: std::sync::Arc<SavedKind>,
    /// Namespace, name, uid and controller.
    pub entry: Entry,
    /// Marks.
    pub marks: Marks,
    /// The object as the server wrote it, with `apiVersion` and `kind`.
    pub body: Value,
}

/// Says whether a kind is wanted.
pub type WantedKind<'a> = &'a (dyn Fn(&SavedKind) -> bool + Sync);
/// Says whether an object is wanted.
pub type WantedObject<'a> = &'a (dyn Fn(&SavedKind, &Entry) -> bool + Sync);

/// Which objects are wanted.
#[derive(Default)]
pub struct Filter<'a> {
    /// Of which kinds; all if there is none.
    pub kinds: Option<WantedKind<'a>>,
    /// Which objects of them; all if there is none.
    pub objects: Option<WantedObject<'a>>,
}

/// What was read of a point.
#[derive(Debug)]
pub struct Loaded {
    /// What the point was to hold.
    pub facts: PointFacts,
    /// Whether it holds that.
    pub complete: bool,
    /// The objects, kind by kind in the order of the manifest.
    pub objects: Vec<Saved>,
}

/// Reads the objects of a point. A damaged chunk is an error: half a namespace is not what anybody asked for.
pub async fn load(repository: &Repository, point: &PointSummary, filter: &Filter<'_>) -> Result<Loaded> {
    point.must_be(PointKind::Namespace)?;
    let mut manifest = repository.read_point(&point.source, point.point()).await?;
    let facts: PointFacts = details("the header", manifest.header().details.clone())?;
    let mut chunks: BTreeMap<u32, Vec<Chunk>> = BTreeMap::new();
    let mut kinds = Vec::new();
    let (mut complete, mut accounted) = (true, false);
    while let Some(next) = manifest.next().await? {
        match next {
            Line::Range(range) => chunks.entry(range.object).or_default().extend(range.chunks),
            Line::Object(object) => match object.kind.as_str() {
                line::MISSING => complete = false,
                line::COVERAGE => accounted = true,
                line::OBJECTS | line::RELATED => {
                    let facts: KindFacts = details("a kind", object.details)?;
                    kinds.push((object.object, object.kind == line::RELATED, object.rows, facts));
                }
                _ => {}
            },
            Line::Header(_) | Line::End(_) => {}
        }
    }
    let mut objects = Vec::new();
    let mut uids = HashSet::new();
    for (number, related, rows, facts) in kinds {
        let kind = std::sync::Arc::new(SavedKind {
            group: facts.group,
            version: facts.version,
            resource: facts.resource,
            kind: facts.kind,
            namespaced: facts.namespaced,
            served: facts.served,
            custom: facts.custom,
        });
        let of_kind = chunks.remove(&number).unwrap_or_default();
        let read = read_kind(repository, &kind, of_kind, filter).await?;
        if read.sum != rows {
            return Err(Error::check(format!(
                "reading {} of point {}: what its chunks hold is not what was counted",
                kind.group_resource(),
                point.point()
            )));
        }
        uids.extend(read.uids);
        objects.extend(read.wanted.into_iter().map(|(entry, body)| Saved {
            kind: std::sync::Arc::clone(&kind),
            entry,
            marks: Marks { derived: false, related },
            body,
        }));
    }
    for object in &mut objects {
        object.marks.derived = object.entry.controller.as_ref().is_some_and(|maker| uids.contains(maker));
    }
    Ok(Loaded { facts, complete: complete && accounted, objects })
}

/// What was read of one kind. Every uid is known even where few objects are wanted: it decides what is derived.
struct ReadKind {
    wanted: Vec<(Entry, Value)>,
    uids: Vec<String>,
    sum: crate::rowsum::RowSum,
}

async fn read_kind(
    repository: &Repository,
    kind: &SavedKind,
    chunks: Vec<Chunk>,
    filter: &Filter<'_>,
) -> Result<ReadKind> {
    let bodies = filter.kinds.is_none_or(|wanted| wanted(kind));
    let mut read = ReadKind { wanted: Vec::new(), uids: Vec::new(), sum: crate::rowsum::RowSum::default() };
    let mut packs = futures_util::stream::iter(chunks)
        .map(|chunk| async move { fetch(repository, kind, &chunk).await })
        .buffered(FETCHES);
    while let Some(pack) = packs.try_next().await? {
        for (entry, object) in unpack(&pack)? {
            read.sum.add_row(object);
            read.uids.push(entry.uid.clone());
            if bodies && filter.objects.is_none_or(|wanted| wanted(kind, &entry)) {
                let body = serde_json::from_slice(object).map_err(|why| {
                    Error::check(format!("reading {} {}", kind.group_resource(), entry.name)).because(why)
                })?;
                read.wanted.push((entry, body));
            }
        }
    }
    Ok(read)
}

async fn fetch(repository: &Repository, kind: &SavedKind, chunk: &Chunk) -> Result<Bytes> {
    repository.fetch_chunk(chunk).await.map_err(|why| match why {
        FetchError::Error(error) => error,
        FetchError::Damage(damage) => {
            Error::check(format!("reading {}: chunk {} is damaged: {damage}", kind.group_resource(), chunk.id))
                .hint("davit verify tells which points are whole")
        }
    })
}
