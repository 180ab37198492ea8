//! One seeded history: backups, retains and sweeps of one repository, interrupted anywhere.

use super::scheduler::{Actor, Odds, Scheduler};
use crate::error::Result;
use crate::id::{PointId, RunId, SourceName};
use crate::repository::intent::ABORTED;
use crate::repository::manifest::{ObjectLine, PointKind, Range};
use crate::repository::tombstone::Tombstones;
use crate::repository::{BeginPoint, Depth, InitOptions, Keys, OpenContext, Repository, layout};
use crate::retention::sweep::{self, SweepOptions, SweepReport};
use crate::retention::{self, RetainReport, Rules, RulesBySource};
use crate::rowsum::RowSum;
use crate::store::gated::GatedStore;
use crate::store::{MemoryStore, ObjectKey, Store};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The longest run that the sweeps of a history allow.
pub(super) const LONGEST_RUN: Duration = Duration::from_hours(48);

/// How many pieces a simulated database has, and how many contents each can have.
const PIECES: usize = 3;
const CONTENTS: usize = 4;

/// How an actor ended; an error is a message.
#[derive(Debug)]
pub(super) enum Ended {
    Backup(std::result::Result<(), String>),
    Retain(std::result::Result<RetainReport, String>),
    Sweep(std::result::Result<SweepReport, String>),
}

/// A point as its run meant it, written down before the run tries to commit.
struct Meant {
    source: SourceName,
    point: PointId,
    chunks: Vec<ObjectKey>,
}

/// What happened in histories, to see that they are worth something.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) commits: usize,
    pub(super) refused_commits: usize,
    pub(super) deaths: usize,
    pub(super) chunks_taken: usize,
    pub(super) named_again: usize,
    pub(super) waited: usize,
    pub(super) points_removed: usize,
    pub(super) sweeps_failed: usize,
    pub(super) retains_failed: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.commits += other.commits;
        self.refused_commits += other.refused_commits;
        self.deaths += other.deaths;
        self.chunks_taken += other.chunks_taken;
        self.named_again += other.named_again;
        self.waited += other.waited;
        self.points_removed += other.points_removed;
        self.sweeps_failed += other.sweeps_failed;
        self.retains_failed += other.retains_failed;
    }
}

/// One repository in memory and those who work on it.
pub(super) struct History {
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) memory: Arc<MemoryStore>,
    pub(super) actors: BTreeMap<Actor, JoinHandle<Ended>>,
    pub(super) tally: Tally,
    keys: Keys,
    meant: Arc<Mutex<Vec<Meant>>>,
    next: Actor,
    databases: BTreeMap<SourceName, [usize; PIECES]>,
}

impl History {
    pub(super) async fn new(seed: u64, odds: Odds) -> Self {
        let scheduler = Scheduler::new(seed, odds);
        let memory = MemoryStore::new(scheduler.clock(0));
        // Sealing is not what is tried here, and a plain repository is quicker.
        let options = InitOptions { encrypt: false, ..InitOptions::default() };
        let made = Repository::init(memory.clone(), &options, scheduler.clock(0)).await.unwrap();
        let keys = Keys { writer: Some(made.writer), reader: None };
        let databases = ["shop", "wiki"].map(|name| (name.parse().unwrap(), [0; PIECES])).into();
        let meant = Arc::default();
        Self { scheduler, memory, actors: BTreeMap::new(), tally: Tally::default(), keys, meant, next: 1, databases }
    }

    /// One more actor: what opens the repository for it is the first thing it does.
    fn actor(&mut self) -> (Actor, impl Future<Output = Result<Repository>> + Send + use<>) {
        let actor = self.next;
        self.next += 1;
        let store = GatedStore::new(self.memory.clone(), self.scheduler.gate(actor));
        let cx = OpenContext::new(self.scheduler.clock(actor));
        (actor, Repository::open(store, self.keys.clone(), cx))
    }

    /// Begins a backup of a database that has changed a little.
    pub(super) fn backup(&mut self, source: &str) -> Actor {
        let source: SourceName = source.parse().unwrap();
        let (piece, content) = (self.scheduler.draw(PIECES), self.scheduler.draw(CONTENTS));
        let database = self.databases.get_mut(&source).unwrap();
        database[piece] = content;
        let contents = *database;
        let (actor, repository) = self.actor();
        self.scheduler.note(format!("{actor} backs up {source} {contents:?}"));
        let meant = self.meant.clone();
        let task = async move {
            let result = async { back_up(&repository.await?, source, contents, &meant).await };
            Ended::Backup(result.await.map_err(|error| error.to_string()))
        };
        self.actors.insert(actor, tokio::spawn(task));
        actor
    }

    /// Begins to plan and run a retain that keeps the newest `keep` points of each source.
    pub(super) fn retain(&mut self, keep: u32) -> Actor {
        let (actor, repository) = self.actor();
        self.scheduler.note(format!("{actor} retains the newest {keep}"));
        let rules = RulesBySource::for_all(Rules { keep_last: Some(keep), ..Rules::default() });
        let task = async move {
            let result = async {
                let repository = repository.await?;
                retention::run(&repository, &retention::plan(&repository, &rules).await?).await
            };
            Ended::Retain(result.await.map_err(|error| error.to_string()))
        };
        self.actors.insert(actor, tokio::spawn(task));
        actor
    }

    /// Begins to plan and run a sweep.
    pub(super) fn sweep(&mut self) -> Actor {
        let (actor, repository) = self.actor();
        self.scheduler.note(format!("{actor} sweeps"));
        let options = SweepOptions { longest_run: LONGEST_RUN, ..SweepOptions::default() };
        let task = async move {
            let result = async {
                let repository = repository.await?;
                sweep::run(&repository, &sweep::plan(&repository, &options).await?).await
            };
            Ended::Sweep(result.await.map_err(|error| error.to_string()))
        };
        self.actors.insert(actor, tokio::spawn(task));
        actor
    }

    /// Lets the actors go on until at most `left` are alive.
    pub(super) async fn go_on(&mut self, left: usize) -> BTreeMap<Actor, Option<Ended>> {
        let scheduler = self.scheduler.clone();
        let (memory, meant) = (self.memory.clone(), self.meant.clone());
        let mut violation = None;
        let ended = scheduler
            .run(&mut self.actors, left, || {
                violation = violation.take().or_else(|| lost_chunk(&memory, &meant));
                violation.is_some()
            })
            .await;
        assert!(violation.is_none(), "{}\n{}", violation.unwrap_or_default(), self.scheduler.story());
        for (actor, ended) in &ended {
            self.count(*actor, ended.as_ref());
        }
        ended
    }

    fn count(&mut self, actor: Actor, ended: Option<&Ended>) {
        let tally = &mut self.tally;
        match ended {
            None => tally.deaths += 1,
            Some(Ended::Backup(Ok(()))) => tally.commits += 1,
            Some(Ended::Backup(Err(error))) => {
                tally.refused_commits += 1;
                self.scheduler.note(format!("{actor} failed: {error}"));
            }
            Some(Ended::Retain(Ok(report))) => tally.points_removed += report.removed.len(),
            Some(Ended::Retain(Err(error))) => {
                tally.retains_failed += 1;
                self.scheduler.note(format!("{actor} failed: {error}"));
            }
            Some(Ended::Sweep(Ok(report))) => {
                tally.chunks_taken += report.taken;
                tally.named_again += report.named_again;
                tally.waited += report.waiting;
                self.scheduler.note(format!("{actor} took {}, {} wait", report.taken, report.waiting));
            }
            Some(Ended::Sweep(Err(error))) => {
                tally.sweeps_failed += 1;
                self.scheduler.note(format!("{actor} failed: {error}"));
            }
        }
    }

    /// When the storm is over, two calm rounds leave nothing but what points name, and every point is whole.
    pub(super) async fn calm_down(&mut self) {
        self.go_on(0).await;
        self.scheduler.set_odds(Odds::CALM);
        self.scheduler.advance(LONGEST_RUN * 2);
        for _ in 0..2 {
            // A retain that removes nothing still finishes what crashed ones began.
            self.retain(u32::MAX);
            let mut ended = self.go_on(0).await;
            self.sweep();
            ended.extend(self.go_on(0).await);
            let failed = |ended: &&Ended| matches!(ended, Ended::Sweep(Err(_)) | Ended::Retain(Err(_)));
            let failed = ended.values().flatten().find(failed);
            assert!(failed.is_none(), "not even in calm: {failed:?}\n{}", self.scheduler.story());
        }
        let cx = OpenContext::new(self.scheduler.clock(0));
        let repository = Repository::open(self.memory.clone(), self.keys.clone(), cx).await.unwrap();
        let mut named = BTreeSet::new();
        for summary in repository.points_in_full().await.unwrap() {
            let point = repository.load_point(&summary.source, summary.point()).await.unwrap();
            for chunk in point.ranges.iter().flat_map(|range| &range.chunks) {
                let damage = repository.check_chunk(chunk, Depth::Stored).await.unwrap();
                assert_eq!(damage, None, "{}\n{}", summary.point(), self.scheduler.story());
                named.insert(layout::chunk(chunk));
            }
        }
        let left: Vec<ObjectKey> = self.memory.keys();
        let with = |prefix: &str| -> BTreeSet<ObjectKey> {
            left.iter().filter(|key| key.as_str().starts_with(prefix)).cloned().collect()
        };
        let chunks = with("chunks/");
        assert_eq!(chunks, named, "garbage is left\n{}", self.scheduler.story());
        let marks = with("marks/");
        assert!(marks.is_empty(), "{marks:?}\n{}", self.scheduler.story());
    }
}

async fn back_up(
    repository: &Repository,
    source: SourceName,
    contents: [usize; PIECES],
    meant: &Mutex<Vec<Meant>>,
) -> Result<()> {
    let now = repository.clock().now();
    let mut begin = BeginPoint::new(source.clone(), PointKind::Database, "one database", RunId::at(now), now);
    begin.journal.chunks = 1;
    let writer = repository.begin(begin).await?;
    let mut chunks = Vec::new();
    for (piece, content) in contents.into_iter().enumerate() {
        let plain = format!("piece {piece} with content {content}");
        chunks.push(writer.put_chunk(plain.into(), RowSum::default()).await?.chunk);
    }
    let keys = chunks.iter().map(layout::chunk).collect();
    let bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    writer.add_range(Range { object: 0, range: 0, pages: None, chunks }).await?;
    let object = ObjectLine {
        object: 0,
        kind: "table".to_owned(),
        name: "rows".to_owned(),
        rows: RowSum::default(),
        bytes,
        ranges: 1,
        chunks: PIECES as u64,
        details: serde_json::Value::Null,
    };
    writer.add_object(object).await?;
    let point = writer.point().clone();
    meant.lock().unwrap_or_else(PoisonError::into_inner).push(Meant { source, point, chunks: keys });
    writer.commit(1.0).await.map(drop)
}

/// A chunk that a committed point names and the store does not have.
fn lost_chunk(memory: &MemoryStore, meant: &Mutex<Vec<Meant>>) -> Option<String> {
    let get = |key: &ObjectKey| Some(memory.get(key, None).now_or_never()?.ok()?.body);
    let keys = memory.keys();
    let mut removed = BTreeSet::new();
    for key in keys.iter().filter(|key| key.as_str().starts_with("tombstones/")) {
        let record: serde_json::Value = serde_json::from_slice(&get(key).unwrap()).unwrap();
        let stones: Tombstones = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
        removed.extend(stones.removed.into_iter().map(|removed| removed.point));
    }
    let there: BTreeSet<&ObjectKey> = keys.iter().collect();
    let meant = meant.lock().unwrap_or_else(PoisonError::into_inner);
    for Meant { source, point, chunks } in meant.iter() {
        let signature = get(&layout::signature(source, point));
        let committed = signature.is_some_and(|signature| signature != ABORTED);
        if !committed || removed.contains(point) {
            continue;
        }
        if let Some(lost) = chunks.iter().find(|chunk| !there.contains(chunk)) {
            return Some(format!("committed point {point} of {source} lost {lost}"));
        }
    }
    None
}
