//! `retain` and `sweep` on repositories in memory.

mod retain;
mod sweep;

use super::sweep::{SweepOptions, SweepReport};
use super::{RetainPlan, RetainReport, Rules, RulesBySource};
use crate::clock::{Clock, SharedClock, SimClock};
use crate::error::Result;
use crate::id::{PointId, RunId, SourceName};
use crate::repository::manifest::{ObjectLine, PointKind, Range};
use crate::repository::{BeginPoint, InitOptions, Keys, OpenContext, PointWriter, Repository};
use crate::rowsum::RowSum;
use crate::store::gated::{Call, Gate, GatedStore};
use crate::store::{LockMode, MemoryStore, ObjectKey, SharedStore, Store, StoreError};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// A repository in memory, its clock and its keys.
struct World {
    store: Arc<MemoryStore>,
    clock: SimClock,
    keys: Keys,
}

impl World {
    async fn new() -> Self {
        Self::with(None).await
    }

    /// With versions and locks if a mode is given.
    async fn with(lock: Option<LockMode>) -> Self {
        let clock = SimClock::at("2026-11-02T01:00:00Z".parse().unwrap());
        let shared: SharedClock = Arc::new(clock.clone());
        let store = match lock {
            Some(_) => MemoryStore::versioned(shared.clone()),
            None => MemoryStore::new(shared.clone()),
        };
        let options = InitOptions { encrypt: false, lock, ..InitOptions::default() };
        let made = Repository::init(store.clone(), &options, shared).await.unwrap();
        Self { store, clock, keys: Keys { writer: Some(made.writer), reader: None } }
    }

    async fn repository(&self) -> Repository {
        self.repository_over(self.store.clone()).await.unwrap()
    }

    async fn repository_over(&self, store: SharedStore) -> Result<Repository> {
        Repository::open(store, self.keys.clone(), OpenContext::new(Arc::new(self.clock.clone()))).await
    }

    /// Begins a point of `shop` that is to be locked for so many days.
    async fn begin(&self, lock_days: u32) -> PointWriter {
        let now = self.clock.now();
        let mut begin = BeginPoint::new(shop(), PointKind::Database, "one database", RunId::at(now), now);
        begin.lock_until = Some(now + DAY * lock_days);
        begin.journal.chunks = 1;
        self.repository().await.begin(begin).await.unwrap()
    }

    /// Makes a point with these chunks, then lets a day pass.
    async fn back_up(&self, chunks: &[&str]) -> PointId {
        let writer = self.begin(1).await;
        put(&writer, chunks).await;
        let point = writer.commit(1.0).await.unwrap().point;
        self.clock.advance(DAY);
        point
    }

    async fn plan(&self, keep_last: u32) -> RetainPlan {
        super::plan(&self.repository().await, &newest(keep_last)).await.unwrap()
    }

    async fn retain(&self, keep_last: u32) -> RetainReport {
        let plan = self.plan(keep_last).await;
        super::run(&self.repository().await, &plan).await.unwrap()
    }

    async fn sweep(&self) -> SweepReport {
        self.try_sweep().await.unwrap()
    }

    async fn try_sweep(&self) -> Result<SweepReport> {
        let repository = self.repository().await;
        let plan = super::sweep::plan(&repository, &SweepOptions::default()).await?;
        super::sweep::run(&repository, &plan).await
    }

    /// The ids of the points that are listed, oldest first.
    async fn points(&self) -> Vec<PointId> {
        let points = self.repository().await.points_in_full().await.unwrap();
        points.iter().rev().map(|point| point.point().clone()).collect()
    }

    fn keys_below(&self, prefix: &str) -> Vec<ObjectKey> {
        self.store.keys().into_iter().filter(|key| key.as_str().starts_with(prefix)).collect()
    }

    /// Every point reads back and every chunk it names is there; nothing is wrong with the chain.
    async fn assert_whole(&self) {
        let audit = self.repository().await.audit(crate::repository::Depth::Stored).await.unwrap();
        assert_eq!(audit.damage().collect::<Vec<_>>(), Vec::<&crate::repository::Damage>::new());
    }
}

fn shop() -> SourceName {
    "shop".parse().unwrap()
}

fn newest(keep_last: u32) -> RulesBySource {
    RulesBySource::for_all(Rules { keep_last: Some(keep_last), ..Rules::default() })
}

fn key(text: impl Into<String>) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

async fn put(writer: &PointWriter, chunks: &[&str]) {
    let mut named = Vec::new();
    for chunk in chunks {
        named.push(writer.put_chunk((*chunk).to_owned().into(), RowSum::default()).await.unwrap().chunk);
    }
    let bytes = named.iter().map(|chunk| chunk.bytes).sum();
    writer.add_range(Range { object: 0, range: 0, pages: None, chunks: named }).await.unwrap();
    let object = ObjectLine {
        object: 0,
        kind: "table".to_owned(),
        name: "rows".to_owned(),
        rows: RowSum::default(),
        bytes,
        ranges: 1,
        chunks: chunks.len() as u64,
        details: serde_json::Value::Null,
    };
    writer.add_object(object).await.unwrap();
}

/// Lets so many calls that write through, and none after them: a process that dies there.
#[derive(Debug)]
struct DiesAfter(AtomicUsize);

impl DiesAfter {
    fn writes(count: usize, store: Arc<MemoryStore>) -> SharedStore {
        GatedStore::new(store, Arc::new(Self(AtomicUsize::new(count))))
    }
}

#[async_trait]
impl Gate for DiesAfter {
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        let left = self.0.load(Ordering::SeqCst);
        if left == 0 {
            return Err(StoreError::Other(format!("dead before {}", call.name)));
        }
        self.0.store(left - usize::from(call.writes), Ordering::SeqCst);
        Ok(())
    }

    async fn after(&self, _: Call<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Fails every listing of one folder.
#[derive(Debug)]
struct Hides(&'static str);

#[async_trait]
impl Gate for Hides {
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        if call.name == "list" && call.target.starts_with(self.0) {
            return Err(StoreError::Other("no answer".to_owned()));
        }
        Ok(())
    }

    async fn after(&self, _: Call<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A service spawns these on any thread: it is enough that this compiles.
#[tokio::test]
async fn every_plan_and_run_can_be_spawned() {
    let repository: &'static Repository = Box::leak(Box::new(World::new().await.repository().await));
    let rules: &'static RulesBySource = Box::leak(Box::default());
    let options: &'static SweepOptions = Box::leak(Box::default());
    tokio::spawn(async { super::run(repository, &super::plan(repository, rules).await?).await })
        .await
        .unwrap()
        .unwrap();
    let swept =
        tokio::spawn(async { super::sweep::run(repository, &super::sweep::plan(repository, options).await?).await });
    assert_eq!(swept.await.unwrap().unwrap(), SweepReport::default());
}
