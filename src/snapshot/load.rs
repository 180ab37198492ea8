//! The objects of a point, read back for diff, restore and verify.

use super::facts::{KindFacts, PointFacts, kind as line};
use super::object::{Marks, Saved, SavedKind};
use super::pack::{Entry, Part, damaged, row, unpack};
use super::show::details;
use super::slim;
use crate::error::{Error, Result};
use crate::repository::manifest::{Chunk, Line, PointKind};
use crate::repository::{FetchError, PointSummary, Repository};
use crate::rowsum::RowSum;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Chunks that are fetched side by side.
const FETCHES: usize = 8;

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

/// Whether the server's account of who set what comes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Managers {
    /// It does.
    Kept,
    /// It is passed over: it would take as much memory as everything else.
    Dropped,
}

/// Reads the objects of a point. A damaged chunk is an error: half a namespace is not what anybody asked for.
pub async fn load(repository: &Repository, point: &PointSummary, managers: Managers) -> Result<Loaded> {
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
    let mut makers = Vec::new();
    for (number, related, rows, facts) in kinds {
        let of_kind = chunks.remove(&number).unwrap_or_default();
        let kind = Arc::new(facts.saved);
        let sum = read_kind(repository, (&kind, managers), of_kind, |entry, body| {
            let marks = Marks { derived: false, related };
            objects.push(Saved { marks, ..Saved::new(Arc::clone(&kind), &body) });
            makers.push(entry.controller);
        })
        .await?;
        if sum != rows {
            return Err(Error::check(format!(
                "reading {} of point {}: what its chunks hold is not what was counted",
                kind.group_resource(),
                point.point()
            )));
        }
    }
    let uids: HashSet<String> = objects.iter().map(|saved: &Saved| saved.identity.uid.clone()).collect();
    for (saved, maker) in objects.iter_mut().zip(makers) {
        saved.marks.derived = maker.is_some_and(|maker| uids.contains(&maker));
    }
    Ok(Loaded { facts, complete: complete && accounted, objects })
}

async fn read_kind(
    repository: &Repository,
    (kind, managers): (&SavedKind, Managers),
    chunks: Vec<Chunk>,
    mut read: impl FnMut(Entry, Value),
) -> Result<RowSum> {
    let mut sum = RowSum::default();
    let mut packs = futures_util::stream::iter(chunks)
        .map(|chunk| async move { fetch(repository, kind, &chunk).await })
        .buffered(FETCHES);
    let mut before: Option<Bytes> = None;
    let doing = |entry: &Entry| format!("reading {} {}", kind.group_resource(), entry.name);
    let parsed = |entry: &Entry, object: &[u8]| {
        let body = match managers {
            Managers::Kept => serde_json::from_slice(object),
            Managers::Dropped => slim::read(object),
        };
        body.map_err(|why| Error::check(doing(entry)).because(why))
    };
    while let Some(pack) = packs.try_next().await? {
        match (before.take(), unpack(&pack)?) {
            (None, Part::Whole(objects)) => {
                for (entry, object) in objects {
                    sum.add_row(object);
                    let body = parsed(&entry, object)?;
                    read(entry, body);
                }
            }
            (None, Part::Steady(_)) => before = Some(pack.clone()),
            (Some(steady), Part::Moving(lines)) => {
                let Part::Steady(objects) = unpack(&steady)? else {
                    return Err(damaged("it has two halves of a sort"));
                };
                if objects.len() != lines.len() {
                    return Err(damaged("its halves are of different packs"));
                }
                for ((entry, object), moving) in objects.into_iter().zip(lines) {
                    sum.add_row(&row(object, moving));
                    let mut body = parsed(&entry, object)?;
                    put_back(&mut body, moving, managers).map_err(|why| Error::check(doing(&entry)).because(why))?;
                    read(entry, body);
                }
            }
            _ => return Err(damaged("it has two halves of a sort")),
        }
    }
    match before {
        None => Ok(sum),
        Some(_) => Err(damaged("its second half is missing")),
    }
}

/// Puts what moves by itself back to where it stood.
fn put_back(body: &mut Value, moving: &[u8], managers: Managers) -> serde_json::Result<()> {
    let (version, managed, status): (Value, &RawValue, Value) = serde_json::from_slice(moving)?;
    if let Some(fields) = body.as_object_mut()
        && !status.is_null()
    {
        fields.insert("status".to_owned(), status);
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        if !version.is_null() {
            metadata.insert("resourceVersion".to_owned(), version);
        }
        if managers == Managers::Kept {
            let managed: Value = serde_json::from_str(managed.get())?;
            if !managed.is_null() {
                metadata.insert("managedFields".to_owned(), managed);
            }
        }
    }
    Ok(())
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
