//! Readers and writers that come and go, and locks.

use super::*;
use crate::error::Kind;
use crate::store::gated::{Call, Gate, GatedStore};
use crate::store::{Features, LockMode, StoreError};
use age::x25519::Identity;
use async_trait::async_trait;

#[tokio::test]
async fn after_the_readers_are_rotated_a_new_point_opens_with_the_new_key_alone() {
    let mut world = World::new().await;
    let chunks = rows(1, 3);
    let old_point = world.back_up("shop", &chunks).await;
    let changed = world.reader().await.rotate_readers(&[], None).await.unwrap();
    assert!(changed.stored_anew_bytes > 0);
    assert_eq!(changed.need_older_key.len(), 1);
    let new_point = world.back_up("shop", &chunks).await;
    assert_eq!(new_point.end.chunks_new, 3, "nothing is used again under other readers");

    // The old key is deleted; the new one and the bucket are all there is.
    world.keys = Keys { writer: None, reader: changed.reader };
    let repository = world.reader().await;
    assert_eq!(read_back(&repository, "shop", &new_point.point).await.unwrap(), chunks);
    let error = read_back(&repository, "shop", &old_point.point).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("the reader key at hand is"), "{error}");
    let check = repository.key_check().await.unwrap();
    let at_hand: Vec<bool> = check.points.iter().map(|point| point.at_hand).collect();
    assert_eq!(at_hand, [true, false]);
}

#[tokio::test]
async fn a_replaced_reader_still_opens_what_was_made_for_it() {
    let world = World::new().await;
    let old_point = world.back_up("shop", &rows(1, 2)).await;
    world.reader().await.rotate_readers(&[], None).await.unwrap();
    let new_point = world.back_up("shop", &rows(2, 2)).await;
    let repository = world.reader().await;
    assert_eq!(repository.points(None).await.unwrap().len(), 1);
    assert_eq!(read_back(&repository, "shop", &old_point.point).await.unwrap(), rows(1, 2));
    assert!(read_back(&repository, "shop", &new_point.point).await.is_err());
}

#[tokio::test]
async fn a_point_sealed_again_needs_the_old_key_no_more() {
    let mut world = World::new().await;
    let old = world.back_up("shop", &rows(1, 2)).await;
    let changed = world.reader().await.rotate_readers(&[], None).await.unwrap();
    let run = RunId::at(world.clock.now());
    let committed = changed.repository.reseal(&changed.need_older_key[0], &run).await.unwrap();
    world.keys.reader = changed.reader;
    let repository = world.reader().await;
    assert_eq!(read_back(&repository, "shop", &committed.point).await.unwrap(), rows(1, 2));
    let points = repository.points(None).await.unwrap();
    assert_eq!(points.len(), 1, "a tombstone stands for the old one");
    assert!(repository.key_check().await.unwrap().points[0].at_hand);
    assert_ne!(committed.point, old.point);
    // The instant of the content stays.
    let old_header = world.writer().await.load_point(&name("shop"), &old.point).await.unwrap().header;
    assert_eq!(points[0].snapshot_time, old_header.snapshot_time);
}

#[tokio::test]
async fn removing_a_reader_is_refused_while_a_kept_point_needs_it() {
    let world = World::new().await;
    world.back_up("shop", &rows(1, 1)).await;
    let first = world.keys.reader.as_ref().unwrap().recipients().remove(0);
    let second = Identity::generate().to_public().to_string();
    let repository = world.reader().await.add_reader(&second).await.unwrap().repository;
    let error = repository.remove_reader(&first).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("1 kept points open for no other reader"), "{error}");
    // The other way round nothing is lost: every point opens for the first one.
    let repository = repository.remove_reader(&second).await.unwrap().repository;
    assert_eq!(repository.readers(), std::slice::from_ref(&first));
    assert_eq!(repository.remove_reader(&first).await.unwrap_err().kind(), Kind::Refused, "it is the last one");
}

#[tokio::test]
async fn chunks_are_used_again_when_a_set_of_readers_comes_back() {
    let world = World::new().await;
    world.back_up("shop", &rows(1, 3)).await;
    let second = Identity::generate().to_public().to_string();
    let repository = world.reader().await.add_reader(&second).await.unwrap().repository;
    repository.remove_reader(&second).await.unwrap();
    assert_eq!(world.back_up("shop", &rows(1, 3)).await.end.chunks_new, 0);
}

#[tokio::test]
async fn a_new_writer_is_made_from_the_reader_key_and_the_bucket_alone() {
    let mut world = World::new().await;
    world.back_up("shop", &rows(1, 3)).await;
    let lost = world.keys.writer.clone();
    let changed = world.reader().await.new_writer(true).await.unwrap();
    world.keys.writer = changed.writer;
    let next = world.back_up("shop", &rows(1, 3)).await;
    assert_eq!((next.sequence, next.end.chunks_new), (2, 0));
    assert_eq!(world.writer().await.check_chain(&name("shop")).await.unwrap().damage, Vec::new());
    // Whoever found the lost one can sign nothing that counts.
    let thief =
        Repository::open(world.store.clone(), Keys { writer: lost, reader: None }, world.context()).await.unwrap();
    assert_eq!(thief.begin(world.begin("shop")).await.unwrap_err().kind(), Kind::Refused);
}

#[tokio::test]
async fn a_missing_and_a_wrong_reader_key_are_told_apart() {
    let world = World::new().await;
    let committed = world.back_up("shop", &rows(1, 1)).await;
    let reader = world.reader().await;
    let wrong = reader.reader_key_for(&Identity::generate(), false);
    let keys = Keys { writer: world.keys.writer.clone(), reader: Some(wrong) };
    let repository = Repository::open(world.store.clone(), keys, world.context()).await.unwrap();
    let error = read_back(&repository, "shop", &committed.point).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("the reader key at hand is age1"), "{error}");
}

#[tokio::test]
async fn a_manifest_tells_that_the_run_could_see_a_reader_key() {
    let world = World::new().await;
    let both = Repository::open(world.store.clone(), world.keys.clone(), world.context()).await.unwrap();
    back_up(&both, world.begin("shop"), &rows(1, 1)).await.unwrap();
    world.back_up("shop", &rows(1, 1)).await;
    let points = both.points(None).await.unwrap();
    assert_eq!((points[0].reader_key_visible, points[1].reader_key_visible), (false, true));
}

#[tokio::test]
async fn a_chunk_that_a_longer_lived_point_uses_again_is_locked_as_long() {
    let options = InitOptions { lock: Some(LockMode::Compliance), ..InitOptions::default() };
    let world = World::with(&options, true).await;
    let day = |days: i64| world.clock.now() + jiff::SignedDuration::from_hours(24 * days);
    let lock_of = async |point: &PointId| {
        let loaded = world.reader().await.load_point(&name("shop"), point).await.unwrap();
        let key = layout::chunk(&loaded.ranges[0].chunks[0]);
        world.store.head(&key, None).await.unwrap().lock.unwrap().until
    };
    let mut begin = world.begin("shop");
    begin.lock_until = Some(day(30));
    let first = back_up(&world.writer().await, begin, &rows(1, 1)).await.unwrap();
    assert!(lock_of(&first.point).await >= day(30));
    let mut begin = world.begin("shop");
    let year = day(365);
    begin.lock_until = Some(year);
    let second = back_up(&world.writer().await, begin, &rows(1, 1)).await.unwrap();
    assert_eq!(second.end.chunks_new, 0);
    assert!(lock_of(&second.point).await >= year);
    for place in [layout::manifest, layout::signature] {
        let lock = world.store.head(&place(&name("shop"), &second.point), None).await.unwrap().lock;
        assert!(lock.unwrap().until >= year);
    }
}

#[tokio::test]
async fn a_promoted_point_and_its_chunks_are_locked_as_long_as_its_new_tier() {
    let options = InitOptions { lock: Some(LockMode::Governance), ..InitOptions::default() };
    let world = World::with(&options, true).await;
    let mut begin = world.begin("shop");
    begin.lock_until = Some(world.clock.now() + jiff::SignedDuration::from_hours(24 * 30));
    let repository = world.writer().await;
    back_up(&repository, begin, &rows(1, 3)).await.unwrap();
    let point = repository.points(None).await.unwrap().remove(0);
    let year = world.clock.now() + jiff::SignedDuration::from_hours(24 * 365);
    assert_eq!(repository.lock_point(&point, year).await.unwrap(), 5);
    for key in world.store.keys().iter().filter(|key| key.as_str().starts_with("chunks/")) {
        assert!(world.store.head(key, None).await.unwrap().lock.unwrap().until >= year, "{key}");
    }
    let promoted = repository.points(None).await.unwrap().remove(0);
    assert!(promoted.lock_until.unwrap() >= year);
    assert_eq!(repository.lock_point(&promoted, year).await.unwrap(), 0, "a second time there is nothing to do");
    // A backup that uses the chunks again for a shorter time leaves the longer locks alone.
    world.back_up("shop", &rows(1, 3)).await;
    let chunk = world.store.keys().into_iter().find(|key| key.as_str().starts_with("chunks/")).unwrap();
    world.store.lose(&chunk);
    let error = repository.lock_point(&promoted, year + jiff::SignedDuration::from_hours(24 * 365)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CheckFailed);
    assert!(error.to_string().contains("it is missing"), "{error}");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_or_cannot_lock_is_refused_by_name() {
    let clock: SharedClock = Arc::new(SimClock::at(Timestamp::UNIX_EPOCH));
    let options = InitOptions { lock: Some(LockMode::Governance), ..InitOptions::default() };
    let error = Repository::init(MemoryStore::new(clock.clone()), &options, clock.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("has no object lock"), "{error}");
    let features = Features { put_if_match: true, ..Features::default() };
    let store: SharedStore = MemoryStore::new(clock);
    let error = init::check_features(&store, &InitOptions::default(), &features).unwrap_err();
    assert!(error.to_string().contains("ignores If-None-Match"), "{error}");
}

#[tokio::test]
async fn locks_that_are_switched_on_later_hold_for_what_comes_and_are_never_weakened() {
    let world = World::with(&InitOptions::default(), true).await;
    let old = world.back_up("shop", &rows(1, 2)).await;
    let error = world.writer().await.lock_from_now_on(LockMode::Governance).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "without the root key: {error}");
    let before = world.reader().await.charter().clone();
    world.reader().await.lock_from_now_on(LockMode::Governance).await.unwrap();
    let repository = world.writer().await;
    assert_eq!((repository.settings().lock, repository.charter().counter), (Some(LockMode::Governance), 2));
    assert_eq!(repository.charter().epochs, before.epochs, "nothing else was changed");
    let until = world.clock.now() + Duration::from_hours(24 * 30);
    let mut begin = world.begin("shop");
    begin.lock_until = Some(until);
    let new = back_up(&repository, begin, &rows(1, 2)).await.unwrap();
    assert_eq!(new.end.chunks_new, 0, "{old:?}");
    let chunks: Vec<_> = world.store.keys().into_iter().filter(|key| key.as_str().starts_with("chunks/")).collect();
    for key in chunks.iter().chain([&layout::signature(&name("shop"), &new.point)]) {
        let lock = world.store.head(key, None).await.unwrap().lock.unwrap();
        assert!(lock.mode == LockMode::Governance && lock.until >= until, "{key}: {lock:?}");
    }
    world.reader().await.lock_from_now_on(LockMode::Compliance).await.unwrap();
    for mode in [LockMode::Compliance, LockMode::Governance] {
        let error = world.reader().await.lock_from_now_on(mode).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
    let without = World::new().await;
    let error = without.reader().await.lock_from_now_on(LockMode::Governance).await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.to_string().contains("has no object lock"), "{error}");
    assert_eq!(without.reader().await.settings().lock, None);
}

#[tokio::test]
async fn init_writes_keys_before_the_repository_and_never_over_others() {
    let directory = tempfile::tempdir().unwrap();
    let clock: SharedClock = Arc::new(SimClock::at(Timestamp::UNIX_EPOCH));
    let options = InitOptions { keys_dir: Some(directory.path().join("keys")), ..InitOptions::default() };
    let store = MemoryStore::new(clock.clone());
    Repository::init(store.clone(), &options, clock.clone()).await.unwrap();
    let keys = Keys::load(&directory.path().join("keys")).unwrap();
    Repository::open(store.clone(), keys, OpenContext::new(clock.clone())).await.unwrap();
    let error = Repository::init(store, &options, clock.clone()).await.unwrap_err();
    assert!(error.to_string().contains("there is one already"), "{error}");
    let elsewhere = MemoryStore::new(clock.clone());
    let error = Repository::init(elsewhere.clone(), &options, clock).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert_eq!(elsewhere.keys(), Vec::new());
}

#[tokio::test]
async fn one_reader_key_serves_two_repositories_and_a_given_recipient_gets_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let clock: SharedClock = Arc::new(SimClock::at(Timestamp::UNIX_EPOCH));
    let path = directory.path().join("mine.key");
    let mut stores = Vec::new();
    for number in 0..2 {
        let keys_dir = Some(directory.path().join(number.to_string()));
        let options = InitOptions { keys_dir, reader_path: Some(path.clone()), ..InitOptions::default() };
        let store = MemoryStore::new(clock.clone());
        let made = Repository::init(store.clone(), &options, clock.clone()).await.unwrap();
        assert_eq!(made.reader_was_there, number == 1);
        stores.push(store);
    }
    for store in stores {
        let keys = Keys::load(&path).unwrap();
        Repository::open(store, keys, OpenContext::new(clock.clone())).await.unwrap();
    }
    let identity = Identity::generate();
    let options = InitOptions { readers: vec![identity.to_public().to_string()], ..InitOptions::default() };
    let made = Repository::init(MemoryStore::new(clock.clone()), &options, clock).await.unwrap();
    assert_eq!(made.reader.recipients(), Vec::<String>::new());
    assert!(made.reader.holds_root());
    assert!(!made.repository.can_read_rows());
}

#[tokio::test]
async fn readers_change_beside_a_source_that_was_taken_away_and_its_points_hide_no_others() {
    let world = World::new().await;
    for source in ["shop", "bank"] {
        world.back_up(source, &rows(1, 1)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let remembering = OpenContext { state_dir: Some(directory.path().to_owned()), ..world.context() };
    let open = async || Repository::open(world.store.clone(), world.keys.clone(), remembering.clone()).await.unwrap();
    let of_shop = open().await.points(Some(&name("shop"))).await.unwrap().remove(0);
    open().await.points(None).await.unwrap();
    for key in world.store.keys() {
        if ["points/bank/", "catalog/bank/", "heads/bank"].iter().any(|folder| key.as_str().starts_with(folder)) {
            world.store.lose(&key);
        }
    }
    assert_eq!(open().await.points(None).await.unwrap_err().kind(), Kind::Refused);
    // Nor does it hide the points of others from who names one.
    let spec = PointSpec::Id(of_shop.point().clone());
    assert_eq!(open().await.resolve(&spec).await.unwrap().point(), of_shop.point());
    let elsewhere = PointSpec::Id("20200101T000000Z-k3f9ab".parse().unwrap());
    let error = open().await.resolve(&elsewhere).await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.to_string().contains("checking bank"), "{error}");

    let changed = open().await.rotate_readers(&[], None).await.unwrap();
    assert_eq!(changed.need_older_key.len(), 1);
    let [refused] = &changed.refused[..] else { panic!("{:?}", changed.refused) };
    assert_eq!(refused.source, name("bank"), "nobody knows which key its points need");
    assert_eq!(world.reader().await.readers(), changed.repository.readers());
}

#[tokio::test]
async fn a_point_whose_lock_has_run_out_can_be_held_and_sealed_again() {
    let options = InitOptions { lock: Some(LockMode::Compliance), ..InitOptions::default() };
    let world = World::with(&options, true).await;
    let mut begin = world.begin("shop");
    begin.lock_until = Some(world.clock.now() + jiff::SignedDuration::from_hours(24));
    back_up(&world.writer().await, begin, &rows(1, 1)).await.unwrap();
    world.clock.advance(Duration::from_hours(24 * 40));
    let point = world.reader().await.points(None).await.unwrap().remove(0);
    world.writer().await.hold(&point, "the audit", point.lock_until).await.unwrap();
    let changed = world.reader().await.rotate_readers(&[], None).await.unwrap();
    let point = changed.repository.points(None).await.unwrap().remove(0);
    let sealed = changed.repository.reseal(&point, &RunId::at(world.clock.now())).await.unwrap();
    let points = changed.repository.points(None).await.unwrap();
    assert_eq!(points.iter().map(PointSummary::point).collect::<Vec<_>>(), [&sealed.point]);
    assert_eq!(points[0].hold.as_ref().unwrap().reason, "the audit");
}

/// Fails every call of this name on holds.
#[derive(Debug)]
struct NoHolds(&'static str);

#[async_trait]
impl Gate for NoHolds {
    async fn before(&self, call: Call<'_>) -> Result<(), StoreError> {
        if call.name == self.0 && call.target.starts_with("holds/") {
            return Err(StoreError::Other(format!("no {}", self.0)));
        }
        Ok(())
    }

    async fn after(&self, _: Call<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_held_point_is_sealed_again_by_who_may_not_delete_and_goes_only_once_the_new_one_is_held() {
    let mut world = World::new().await;
    let old = world.back_up("shop", &rows(1, 1)).await;
    let point = world.reader().await.points(None).await.unwrap().remove(0);
    world.writer().await.hold(&point, "the audit", None).await.unwrap();
    let changed = world.reader().await.rotate_readers(&[], None).await.unwrap();
    world.keys.reader.as_mut().unwrap().identities.extend(changed.reader.unwrap().identities);
    let reseal = async |world: &World, fails: &'static str| {
        let store = GatedStore::new(world.store.clone(), Arc::new(NoHolds(fails)));
        let repository = Repository::open(store, world.keys.clone(), world.context()).await.unwrap();
        let point = repository.points(None).await.unwrap().pop().unwrap();
        assert_eq!(point.point(), &old.point);
        repository.reseal(&point, &RunId::at(world.clock.now())).await
    };

    {
        let world = World { store: world.store.fork(), clock: world.clock.clone(), keys: world.keys.clone() };
        let sealed = reseal(&world, "delete").await.unwrap();
        let points = world.reader().await.points(None).await.unwrap();
        assert_eq!(points.iter().map(PointSummary::point).collect::<Vec<_>>(), [&sealed.point]);
        assert_eq!(points[0].hold.as_ref().unwrap().reason, "the audit");
        let audit = world.reader().await.audit(Depth::Stored).await.unwrap();
        assert_eq!(audit.damage().collect::<Vec<_>>(), Vec::<&Damage>::new(), "the hold that stays is none");
    }

    let error = reseal(&world, "put_new").await.unwrap_err();
    assert!(error.to_string().contains("it stays beside point"), "{error}");
    let points = world.reader().await.points(None).await.unwrap();
    let kept = points.iter().find(|point| *point.point() == old.point).unwrap();
    assert_eq!((points.len(), kept.hold.as_ref().unwrap().reason.as_str()), (2, "the audit"));
}

#[tokio::test]
async fn an_older_reader_is_told_of_what_was_sealed_again_by_the_instant_of_its_content() {
    let world = World::new().await;
    let first = world.back_up("shop", &rows(1, 1)).await;
    let between = world.clock.now();
    world.back_up("shop", &rows(2, 1)).await;
    let changed = world.reader().await.rotate_readers(&[], None).await.unwrap();
    // A day later the older one is sealed again, with a new id at the end of the chain, and nobody else.
    world.clock.advance(Duration::from_hours(24));
    let older = changed.repository.points(None).await.unwrap().pop().unwrap();
    assert_eq!(older.point(), &first.point);
    let sealed = changed.repository.reseal(&older, &RunId::at(world.clock.now())).await.unwrap();
    let repository = world.reader().await;
    let newest = repository.resolve(&PointSpec::Latest(name("shop"))).await.unwrap();
    assert!(newest.snapshot_time > between, "the newest content is there, whatever was sealed later");
    let error = repository.resolve(&PointSpec::At(name("shop"), between)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains(sealed.point.to_string().as_str()), "{error}");
}
