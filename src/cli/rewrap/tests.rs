//! Sealing again on a repository in memory, beside others, and where the store fails.

use super::*;
use crate::clock::{PausedClock, SharedClock};
use crate::journal::{Event, Progress};
use crate::repository::lease::TERM;
use crate::repository::manifest::{ObjectLine, PointKind, Range};
use crate::repository::{BeginPoint, InitOptions, Keys, OpenContext};
use crate::rowsum::RowSum;
use crate::store::gated::{Call, Gate, GatedStore};
use crate::store::{MemoryStore, SharedStore, StoreError};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A repository with points of `bank` and `shop` that were made for a reader who was replaced since.
struct World {
    store: Arc<MemoryStore>,
    clock: SharedClock,
    keys: Keys,
}

impl World {
    async fn new() -> Self {
        let clock = PausedClock::shared();
        let store = MemoryStore::new(clock.clone());
        let made = Repository::init(store.clone(), &InitOptions::default(), clock.clone()).await.unwrap();
        let keys = Keys { writer: Some(made.writer), reader: Some(made.reader) };
        let mut world = Self { store, clock, keys };
        let repository = world.repository().await;
        for source in ["bank", "shop"] {
            back_up(&repository, source).await;
        }
        let changed = repository.rotate_readers(&[], None).await.unwrap();
        let reader = world.keys.reader.as_mut().unwrap();
        reader.join(changed.reader.unwrap()).unwrap();
        world
    }

    async fn repository(&self) -> Repository {
        self.repository_over(self.store.clone(), self.keys.clone()).await
    }

    async fn repository_over(&self, store: SharedStore, keys: Keys) -> Repository {
        Repository::open(store, keys, OpenContext::new(self.clock.clone())).await.unwrap()
    }

    async fn over(&self, gate: impl Gate + 'static) -> Repository {
        self.repository_over(GatedStore::new(self.store.clone(), Arc::new(gate)), self.keys.clone()).await
    }

    fn leases(&self) -> usize {
        self.store.keys().iter().filter(|key| key.as_str().starts_with("leases/")).count()
    }
}

async fn back_up(repository: &Repository, source: &str) {
    let now = repository.clock().now();
    let begin = BeginPoint::new(source.parse().unwrap(), PointKind::Database, "one database", RunId::at(now), now);
    let writer = repository.begin(begin).await.unwrap();
    let chunk = writer.put_chunk(format!("rows of {source}").into(), RowSum::default()).await.unwrap().chunk;
    let object = ObjectLine {
        object: 0,
        kind: "table".to_owned(),
        name: "rows".to_owned(),
        rows: RowSum::default(),
        bytes: chunk.bytes,
        ranges: 1,
        chunks: 1,
        details: serde_json::Value::Null,
    };
    writer.add_range(Range { object: 0, range: 0, pages: None, chunks: vec![chunk] }).await.unwrap();
    writer.add_object(object).await.unwrap();
    writer.commit(1.0).await.unwrap();
}

/// Passes on what is said.
struct Says(mpsc::UnboundedSender<String>);

impl Progress for Says {
    fn event(&self, event: Event) {
        if let Event::Note { text, .. } | Event::Warning { text, .. } = event {
            // A test that does not listen is told nothing.
            self.0.send(text).ok();
        }
    }
}

fn rewrap(repository: &Repository) -> (Rewrap<'_>, mpsc::UnboundedReceiver<String>) {
    let (says, said) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let progress = Arc::new(Says(says));
    (Rewrap { repository, holder: "this one".to_owned(), term: TERM, stop, progress }, said)
}

/// Fails every call of this name on what begins so.
#[derive(Debug)]
struct Fails(&'static str, &'static str);

#[async_trait]
impl Gate for Fails {
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        if call.name == self.0 && call.target.starts_with(self.1) {
            return Err(StoreError::Other("no answer".to_owned()));
        }
        Ok(())
    }

    async fn after(&self, _: Call<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store that takes no renewal, and two terms for a tombstone.
#[derive(Debug)]
struct LosesLeases;

#[async_trait]
impl Gate for LosesLeases {
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        if call.name == "put_new" && call.target.starts_with("tombstones/") {
            tokio::time::sleep(TERM * 2).await;
        }
        Fails("put_if_match", "leases/").before(call).await
    }

    async fn after(&self, _: Call<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn held(world: &World, source: &str) -> Lease {
    let claim = Claim::of_source(&source.parse().unwrap(), "another", TERM);
    Lease::take(&(world.store.clone() as SharedStore), &world.clock, &claim, &CancellationToken::new()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn where_the_keys_at_hand_open_none_of_them_that_is_the_answer_and_no_lease_is_taken() {
    let world = World::new().await;
    let keys = Keys { writer: world.keys.writer.clone(), reader: None };
    let repository = world.repository_over(world.store.clone(), keys).await;
    let error = rewrap(&repository).0.run().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.hint_text().unwrap().contains("name the directory that holds reader.key"), "{error:?}");
    assert_eq!(world.leases(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_lease_says_so_and_seals_nothing_that_was_sealed_again_meanwhile() {
    let world = World::new().await;
    let (lease, repository) = (held(&world, "shop").await, world.repository().await);
    let (rewrap, mut said) = rewrap(&repository);
    let other = async {
        assert!(said.recv().await.unwrap().starts_with("another holds the lease backup-shop: waiting"));
        let point = repository.points(Some(&"shop".parse().unwrap())).await.unwrap().remove(0);
        repository.reseal(&point, &RunId::at(world.clock.now())).await.unwrap();
        lease.release().await.unwrap();
    };
    let (done, ()) = tokio::join!(rewrap.run(), other);
    let done = done.unwrap();
    assert_eq!((done.sealed.len(), done.not_sealed.len()), (1, 0), "{done:?}");
    assert_eq!(repository.points(None).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_stopped_while_waiting_ends_at_once_and_says_how_far_it_came() {
    let world = World::new().await;
    let (lease, repository) = (held(&world, "shop").await, world.repository().await);
    let (rewrap, mut said) = rewrap(&repository);
    let stop = async {
        said.recv().await.unwrap();
        rewrap.stop.cancel();
    };
    let (done, ()) = tokio::join!(rewrap.run(), stop);
    let error = done.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert_eq!(error.to_string(), "sealing points again: it was stopped after 1 point");
    assert_eq!(world.clock.monotonic(), Duration::ZERO);
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_given_back_is_told_and_keeps_no_other_source_from_its_turn() {
    let world = World::new().await;
    let repository = world.over(Fails("put_if_match", "leases/")).await;
    let (rewrap, mut said) = rewrap(&repository);
    let done = rewrap.run().await.unwrap();
    assert_eq!((done.sealed.len(), done.not_sealed.len()), (2, 0), "{done:?}");
    for source in ["bank", "shop"] {
        let text = said.recv().await.unwrap();
        assert!(text.contains(&format!("backup-{source}")) && text.ends_with("it runs out by itself"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_loses_a_lease_leaves_the_rest_of_that_source_to_the_next_time() {
    let world = World::new().await;
    // Of shop there are two.
    let repository = world.repository().await;
    back_up(&repository, "shop").await;
    let changed = repository.rotate_readers(&[], None).await.unwrap();
    let mut keys = world.keys.clone();
    keys.reader.as_mut().unwrap().join(changed.reader.unwrap()).unwrap();
    let world = World { keys, ..world };
    let repository = world.over(LosesLeases).await;
    let done = rewrap(&repository).0.run().await.unwrap();
    assert_eq!(done.sealed.len(), 2, "one of bank, and one of the two of shop: {done:?}");
    let [left] = &done.not_sealed[..] else { panic!("{done:?}") };
    assert!(left.what == "shop" && left.why.starts_with("keeping the lease backup-shop"), "{left:?}");
    assert_eq!(left.kind, Kind::Failed);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_take_is_told_as_that() {
    let world = World::new().await;
    let repository = world.over(Fails("put_new", "points/shop/")).await;
    let done = rewrap(&repository).0.run().await.unwrap();
    assert_eq!(done.sealed.len(), 1);
    assert_eq!(NotSealed::worst(&done.not_sealed), Exit::Not(Kind::Failed));
}

#[test]
fn a_command_ends_as_the_worst_of_what_it_could_not_seal() {
    let of = |kinds: &[Kind]| {
        let all: Vec<_> = kinds.iter().map(|kind| NotSealed::of(&"a point", &Error::new(*kind, "why"))).collect();
        NotSealed::worst(&all)
    };
    assert_eq!(of(&[]), Exit::Done);
    assert_eq!(of(&[Kind::CheckFailed]), Exit::Not(Kind::CheckFailed));
    assert_eq!(of(&[Kind::CheckFailed, Kind::Failed, Kind::Refused]), Exit::Not(Kind::Failed), "a store that is away");
    assert_eq!(of(&[Kind::Refused, Kind::Input]), Exit::Not(Kind::Refused));
}
