//! Bringing the files of volumes back into claims that were just made, before anything runs that would use them.

use super::VolumeFacts;
use super::pod::{MOUNT, Mount, Mover, Open, Spec};
use super::take::report;
use super::users::{Set, once};
use crate::clock::SharedClock;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::repository::manifest::{Chunk, Line, PointKind};
use crate::repository::{FetchError, PointSummary, Repository};
use crate::snapshot::facts::kind as line;
use crate::snapshot::mover::Moved;
use crate::snapshot::object::Place;
use crate::snapshot::show::details;
use futures_util::StreamExt;
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
    /// What the movers are made of, if not of what saved.
    movers: Movers,
}

/// What movers are made of, where somebody says so.
#[derive(Debug, Clone, Default)]
pub struct Movers {
    /// Their image.
    pub image: Option<String>,
    /// Secrets of the namespace that it is pulled with.
    pub pull_secrets: Vec<String>,
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
pub async fn stored(repository: &Repository, point: &PointSummary, movers: Movers) -> Result<Stored> {
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
    Ok(Stored { repository: repository.clone(), volumes, movers })
}

/// Where volumes are brought back.
pub(in crate::snapshot) struct Into<'a> {
    pub(in crate::snapshot) cluster: &'a Cluster,
    pub(in crate::snapshot) clock: &'a SharedClock,
    /// The restore, as its field manager names it.
    pub(in crate::snapshot) run: &'a str,
    pub(in crate::snapshot) stored: &'a Stored,
}

/// What became of a claim: what was moved, or why its files are not back, in words.
type Filled<'a> = (&'a Place, Result<Moved, String>);

/// Brings the files of the claims of one workload back. Its movers stay until the last one is done: each keeps apart from
/// the others as the pods will. `is_there` tells of other objects of the namespace.
pub(in crate::snapshot) async fn fill<'a>(
    into: &Into<'_>,
    crew: &[Set<'a>],
    is_there: impl Fn(&Place) -> bool,
) -> Vec<Filled<'a>> {
    let open = Open::default();
    let mut movers = Vec::new();
    let mut filled = Vec::new();
    for set in crew {
        match start(into, set, &is_there, &open).await {
            Ok(mover) => {
                for (number, claim) in set.fill.iter().enumerate() {
                    filled.push((*claim, one(into, &mover, (number, claim)).await));
                }
                movers.push((set, mover));
            }
            Err(why) => filled.extend(set.fill.iter().map(|claim| (*claim, Err(why.clone())))),
        }
    }
    for (set, mover) in movers {
        // What it holds may be kept from the pod that is to have it.
        if let Err(why) = mover.remove().await {
            filled.extend(set.fill.iter().map(|claim| (*claim, Err(why.clone()))));
        }
    }
    filled
}

/// Starts the mover of a few claims.
async fn start<'s>(
    into: &Into<'s>,
    set: &'s Set<'s>,
    is_there: impl Fn(&Place) -> bool,
    open: &'s Open,
) -> Result<Mover<'s>, String> {
    let movers = &into.stored.movers;
    let mut mounts = Vec::new();
    let (mut image, mut pull_secrets) = (movers.image.as_deref(), movers.pull_secrets.clone());
    for claim in &set.fill {
        let Some((facts, _)) = into.stored.volumes.get(&claim.name) else {
            return Err(format!("the files of {claim} are not in the point"));
        };
        image = image.or(Some(&facts.image));
        if movers.pull_secrets.is_empty() {
            pull_secrets.extend(facts.image_pull_secrets.iter().cloned());
        }
        mounts.push(Mount { claim: &claim.name, account: &facts.account });
    }
    let namespace = set.fill.first().and_then(|claim| claim.namespace.as_deref()).unwrap_or_default();
    let secret = |name: &&String| is_there(&Place::in_namespace("secrets", namespace, name));
    pull_secrets.extend(set.terms.pull_secrets.iter().filter(secret).cloned());
    let spec = Spec {
        namespace,
        mounts,
        beside: &set.beside,
        image: image.unwrap_or_default(),
        node: None,
        terms: set.terms,
        pull_secrets: once(pull_secrets),
        read_only: false,
        run: into.run,
    };
    Mover::start(into.cluster, into.clock, &spec, open).await
}

/// Brings the files of one claim back, through a mover that runs.
async fn one(into: &Into<'_>, mover: &Mover<'_>, (number, claim): (usize, &Place)) -> Result<Moved, String> {
    let Some((_, chunks)) = into.stored.volumes.get(&claim.name) else {
        return Err("it is not in the point".to_owned());
    };
    let (entry, mut exit) = tokio::io::duplex(PIPE);
    let command = ["davit", "mover", "load", MOUNT, "--run", into.run].map(str::to_owned);
    let mut said = tokio::io::sink();
    let run = async {
        let outcome = mover.run(number, &command, Some(&mut exit), &mut said).await;
        // Whoever feeds it must not wait for a reader that is gone.
        drop(exit);
        outcome
    };
    let (fed, outcome) = futures_util::join!(feed(&into.stored.repository, chunks, entry), run);
    let outcome = outcome.map_err(|why| format!("its mover: {why}"))?;
    // A chunk that could not be had cut the stream off; that is the cause.
    fed?;
    let done = report(&outcome)?;
    if done.failed > 0 {
        return Err(format!("{} of its files could not be made: {}", done.failed, done.examples.join("; ")));
    }
    Ok(done)
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
