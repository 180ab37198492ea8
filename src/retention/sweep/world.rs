//! The repository as a sweep must see it: every point's folder, every run that may still commit, every chain.
//!
//! Nothing is assumed about what cannot be read. Whatever is unknown, damaged or missing here is an error, and then
//! nothing is deleted: a sweep that guesses wrong once is worse than garbage that stays for ever.

use crate::error::{Error, Kind, Result};
use crate::id::{PointId, RunId, Sha256, SourceName};
use crate::repository::chain::{Commit, HeadState};
use crate::repository::intent::{self, Folder, Intent};
use crate::repository::manifest::Line;
use crate::repository::mark::ChunkName;
use crate::repository::tombstone::Removed;
use crate::repository::{Link, Repository, layout};
use crate::store::StoreError;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

/// What to do about damage that a sweep met.
const ASK_VERIFY: &str = "nothing was deleted; davit verify --all tells what is damaged";

/// How many small objects are read at the same time.
const SIDE_BY_SIDE: usize = 16;

/// A run that has begun and may still commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenRun {
    /// The source.
    pub source: SourceName,
    /// The point it makes.
    pub point: PointId,
    /// The run, where its intent could be read.
    pub run: Option<RunId>,
    /// When its intent was put, by the store's clock.
    pub since: Timestamp,
    /// The marks it honours.
    #[serde(skip)]
    pub marks: BTreeSet<RunId>,
}

/// A repository at one look.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Runs that may still commit.
    pub(super) open: Vec<OpenRun>,
    /// Folders of runs that can never commit.
    pub(super) aborted: Vec<Folder>,
    /// Points whose signature stands.
    pub(super) committed: Vec<(SourceName, Link)>,
    /// Points that were taken away.
    removed: BTreeMap<(SourceName, PointId), Removed>,
}

impl World {
    /// Reads heads, lists the points, reads every tombstone and signature; then checks every chain.
    ///
    /// The order matters. A head never runs ahead of a listing that comes after it, and a point never vanishes before
    /// its tombstone is there. Whoever puts an intent after the listing has seen every mark that was put before it.
    pub(super) async fn read(repository: &Repository) -> Result<Self> {
        let mut heads = BTreeMap::new();
        for source in repository.sources().await? {
            let head = repository.head(&source).await?;
            heads.insert(source, head);
        }
        let folders = intent::survey(repository.store().as_ref()).await?;
        let sources: BTreeSet<SourceName> =
            heads.keys().cloned().chain(folders.iter().map(|folder| folder.source.clone())).collect();
        let mut world = Self::default();
        for source in &sources {
            world.read_tombstones(repository, source).await?;
        }
        let mut looks = futures_util::stream::iter(folders)
            .map(|folder| async move { Ok::<_, Error>((look(repository, &folder).await?, folder)) }.boxed())
            .buffered(SIDE_BY_SIDE);
        while let Some((look, folder)) = looks.try_next().await? {
            if matches!(look, Look::Stray | Look::Commit(Commit::Absent)) {
                // Removed since the listing, it must have a tombstone by now.
                world.read_tombstones(repository, &folder.source).await?;
            }
            world.place(folder, look)?;
        }
        drop(looks);
        for source in sources {
            world.check_chain(repository, &source, heads.remove(&source).unwrap_or(HeadState::Absent))?;
        }
        Ok(world)
    }

    async fn read_tombstones(&mut self, repository: &Repository, source: &SourceName) -> Result<()> {
        let removed = repository.tombstones(source).await?;
        self.removed.extend(removed.into_iter().map(|(point, removed)| ((source.clone(), point), removed)));
        Ok(())
    }

    fn is_removed(&self, source: &SourceName, point: &PointId) -> bool {
        self.removed.contains_key(&(source.clone(), point.clone()))
    }

    fn place(&mut self, folder: Folder, look: Look) -> Result<()> {
        let doing = format!("looking at point {}/{}", folder.source, folder.point);
        let unclear = |what: &str| Err(Error::failed(format!("{doing}: {what}")).hint(ASK_VERIFY));
        match look {
            Look::Commit(Commit::Signed(link)) => self.committed.push((folder.source, link)),
            Look::Commit(Commit::Aborted) => self.aborted.push(folder),
            // The remains of a point that was taken away name no chunk any more.
            _ if self.is_removed(&folder.source, &folder.point) => {}
            Look::Open(open) => self.open.push(open),
            Look::Stray => return unclear("it has neither an intent nor a signature, and no tombstone"),
            Look::Commit(Commit::Absent) => return unclear("its signature has gone, and there is no tombstone"),
            Look::Commit(Commit::Damaged(what)) => return unclear(&format!("its signature is damaged: {what}")),
        }
        Ok(())
    }

    /// Every number up to the head must be a committed point or one that was taken away, and each must name the one
    /// before it. Two points of one number are the work of two runners at once: both keep what they name.
    fn check_chain(&self, repository: &Repository, source: &SourceName, head: HeadState) -> Result<()> {
        let broken =
            |what: String| Err(Error::failed(format!("checking the chain of {source}: {what}")).hint(ASK_VERIFY));
        let links = self.committed.iter().filter(|(of, _)| of == source).map(|(_, link)| link);
        let removed = self.removed.iter().filter(|((of, _), _)| of == source).map(|(_, removed)| removed);
        let mut hashes: BTreeMap<u64, BTreeSet<Sha256>> = BTreeMap::new();
        for link in links.clone() {
            hashes.entry(link.sequence).or_default().insert(link.manifest_sha256);
        }
        for removed in removed {
            hashes.entry(removed.sequence).or_default().insert(removed.manifest_sha256);
        }
        let has = |sequence: u64, hash: Sha256| hashes.get(&sequence).is_some_and(|hashes| hashes.contains(&hash));
        let newest = hashes.keys().next_back().copied().unwrap_or(0);
        match head {
            HeadState::Damaged(what, _) => return broken(format!("its head is damaged: {what}")),
            HeadState::Signed(head, _) if !has(head.sequence, head.manifest_sha256) => {
                return broken(format!("its newest point {}, number {}, is missing", head.point, head.sequence));
            }
            HeadState::Signed(..) | HeadState::Absent => {}
        }
        if let Some(gap) = (1..=newest).find(|sequence| !hashes.contains_key(sequence)) {
            return broken(format!("number {gap} is missing"));
        }
        for link in links.filter(|link| link.sequence > 1) {
            if !link.previous.is_some_and(|previous| has(link.sequence - 1, previous)) {
                return broken(format!("{}, number {}, follows a point that is missing", link.point, link.sequence));
            }
        }
        repository.meet_newest(source, newest)
    }

    /// Reads the manifests of all committed points but those in `known`, and tells every chunk they name.
    pub(super) async fn name_chunks(
        &mut self,
        repository: &Repository,
        known: &HashSet<Sha256>,
        named: &mut (dyn FnMut(ChunkName) + Send),
    ) -> Result<()> {
        for (source, link) in self.committed.clone() {
            if known.contains(&link.manifest_sha256) {
                continue;
            }
            if let Err(error) = name_chunks_of(repository, &source, &link, named).await {
                self.read_tombstones(repository, &source).await?;
                // Half of it was removed by a run that crashed or is under way; it names nothing any more.
                if !self.is_removed(&source, &link.point) {
                    return Err(error.during("reading which chunks are in use").as_kind(Kind::Failed).hint(ASK_VERIFY));
                }
            }
        }
        Ok(())
    }

    /// The manifests that this look knows of.
    pub(super) fn manifests(&self) -> HashSet<Sha256> {
        self.committed.iter().map(|(_, link)| link.manifest_sha256).collect()
    }

    /// Takes the runs out that have been open for longer than any run may take, by the store's clock; without one
    /// nobody can say, and all are waited for.
    pub(super) fn take_overdue(&mut self, now: Option<Timestamp>, longest_run: Duration) -> Vec<OpenRun> {
        let age =
            |open: &OpenRun| now.map(|now| now.duration_since(open.since).max(SignedDuration::ZERO).unsigned_abs());
        let all = std::mem::take(&mut self.open);
        let (overdue, open) = all.into_iter().partition(|open| age(open).is_some_and(|age| age > longest_run));
        self.open = open;
        overdue
    }

    /// The open runs that do not honour a mark, so that it has to wait for them.
    pub(super) fn waits_for(&self, mark: &RunId) -> Vec<OpenRun> {
        self.open.iter().filter(|open| !open.marks.contains(mark)).cloned().collect()
    }
}

async fn name_chunks_of(
    repository: &Repository,
    source: &SourceName,
    link: &Link,
    named: &mut (dyn FnMut(ChunkName) + Send),
) -> Result<()> {
    let mut reader = repository.read_point(source, &link.point).await?;
    while let Some(line) = reader.next().await? {
        if let Line::Range(range) = line {
            range.chunks.iter().for_each(|chunk| named(ChunkName { id: chunk.id, nonce: chunk.nonce }));
        }
    }
    Ok(())
}

/// What one folder is.
enum Look {
    Open(OpenRun),
    Commit(Commit),
    Stray,
}

async fn look(repository: &Repository, folder: &Folder) -> Result<Look> {
    let Folder { source, point, .. } = folder;
    if folder.signature.is_some() {
        return Ok(Look::Commit(repository.commit_of(source, point).await?));
    }
    let Some(entry) = &folder.intent else { return Ok(Look::Stray) };
    let open = |run, marks| {
        let (source, point) = (source.clone(), point.clone());
        Ok(Look::Open(OpenRun { source, point, run, since: entry.modified, marks }))
    };
    let body = match repository.store().get(&layout::intent(source, point), None).await {
        Ok(object) => object.body,
        // A run that gave up, or the remains of a point, between the listing and now.
        Err(StoreError::NotFound(_)) => return open(None, BTreeSet::new()),
        Err(error) => return Err(error.explain(format!("reading the intent of {source}/{point}"))),
    };
    match Intent::parse(source, point, &body) {
        Ok(intent) => open(Some(intent.run), intent.marks),
        // It honours nothing that we know of, so every mark waits until it is closed.
        Err(error) => {
            tracing::warn!(%source, %point, %error, "an intent cannot be read");
            open(None, BTreeSet::new())
        }
    }
}
