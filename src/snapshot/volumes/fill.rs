//! Bringing the files of a volume back into a claim that was just made, before anything runs that would use it.

use super::VolumeFacts;
use super::pod::{MOUNT, Mover, Open, Spec};
use super::take::report;
use crate::clock::SharedClock;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::repository::manifest::{Chunk, Line, PointKind};
use crate::repository::{FetchError, PointSummary, Repository};
use crate::snapshot::facts::kind as line;
use crate::snapshot::mover::Moved;
use crate::snapshot::show::details;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::io::{AsyncWrite, AsyncWriteExt};

const PIPE: usize = 1 << 20;
/// Chunks that are fetched ahead.
const FETCHES: usize = 4;

/// The volumes that a point holds.
#[derive(Clone)]
pub struct Stored {
    repository: Repository,
    /// By the name of the claim.
    volumes: BTreeMap<String, (VolumeFacts, Vec<Chunk>)>,
    /// The image of the movers, if not the one that saved.
    image: Option<String>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stored({} volumes)", self.volumes.len())
    }
}

impl Stored {
    /// Whether the point holds none.
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty()
    }

    /// The claims whose files the point has.
    pub fn claims(&self) -> BTreeSet<String> {
        self.volumes.keys().cloned().collect()
    }

    /// Whether the point has the files of a claim.
    pub(in crate::snapshot) fn has(&self, claim: &str) -> bool {
        self.volumes.contains_key(claim)
    }
}

/// Reads which volumes a point holds.
pub async fn stored(repository: &Repository, point: &PointSummary, image: Option<String>) -> Result<Stored> {
    point.must_be(PointKind::Namespace)?;
    let mut manifest = repository.read_point(&point.source, point.point()).await?;
    let mut volumes = BTreeMap::new();
    let mut ranges: BTreeMap<(u32, u32), Vec<Chunk>> = BTreeMap::new();
    while let Some(next) = manifest.next().await? {
        match next {
            // Objects come after their ranges; those of other objects are dropped when theirs comes.
            Line::Range(range) => drop(ranges.insert((range.object, range.range), range.chunks)),
            Line::Object(object) => {
                let own: Vec<(u32, u32)> =
                    ranges.range((object.object, 0)..=(object.object, u32::MAX)).map(|(key, _)| *key).collect();
                let own = own.into_iter().filter_map(|key| ranges.remove(&key)).flatten();
                if object.kind == line::VOLUME {
                    let facts: VolumeFacts = details("a volume", object.details)?;
                    volumes.insert(facts.claim.clone(), (facts, own.collect()));
                }
            }
            Line::Header(_) | Line::End(_) => {}
        }
    }
    Ok(Stored { repository: repository.clone(), volumes, image })
}

/// Where a volume is brought back.
pub(in crate::snapshot) struct Into<'a> {
    pub(in crate::snapshot) cluster: &'a Cluster,
    pub(in crate::snapshot) clock: &'a SharedClock,
    pub(in crate::snapshot) namespace: &'a str,
    pub(in crate::snapshot) claim: &'a str,
    /// The restore, as its field manager names it.
    pub(in crate::snapshot) run: &'a str,
}

/// Brings the files of a claim back. Why they are not back, in words.
pub(in crate::snapshot) async fn fill(into: &Into<'_>, stored: &Stored) -> Result<Moved, String> {
    let Some((facts, chunks)) = stored.volumes.get(into.claim) else { return Err("it is not in the point".to_owned()) };
    let spec = Spec {
        namespace: into.namespace,
        claim: into.claim,
        image: stored.image.as_deref().unwrap_or(&facts.image),
        account: &facts.account,
        node: None,
        tolerations: &Value::Null,
        read_only: false,
        run: into.run,
    };
    let open = Open::default();
    let pod = Mover::start(into.cluster, into.clock, &spec, &open).await?;
    let (entry, mut exit) = tokio::io::duplex(PIPE);
    let command = ["davit", "mover", "load", MOUNT, "--run", into.run].map(str::to_owned);
    let mut said = tokio::io::sink();
    let run = async {
        let outcome = pod.run(&command, Some(&mut exit), &mut said).await;
        // Whoever feeds it must not wait for a reader that is gone.
        drop(exit);
        outcome
    };
    let (fed, outcome) = futures_util::join!(feed(&stored.repository, chunks, entry), run);
    let taken_away = pod.remove().await;
    let outcome = outcome.map_err(|why| format!("its mover: {why}"))?;
    // A chunk that could not be had cut the stream off; that is the cause.
    fed?;
    let moved = report(&outcome)?;
    taken_away?;
    if moved.failed > 0 {
        return Err(format!("{} of its files could not be made: {}", moved.failed, moved.examples.join("; ")));
    }
    Ok(moved)
}

async fn feed(repository: &Repository, chunks: &[Chunk], mut entry: impl AsyncWrite + Unpin) -> Result<(), String> {
    let mut fetched = futures_util::stream::iter(chunks).map(|chunk| repository.fetch_chunk(chunk)).buffered(FETCHES);
    while let Some(chunk) = fetched.next().await {
        let chunk = chunk.map_err(|why| match why {
            FetchError::Error(error) => error.to_string(),
            FetchError::Damage(damage) => format!("a chunk of it is damaged: {damage}"),
        })?;
        // The mover may have ended: what it says is why.
        if entry.write_all(&chunk).await.is_err() {
            return Ok(());
        }
    }
    drop(entry.shutdown().await);
    Ok(())
}
