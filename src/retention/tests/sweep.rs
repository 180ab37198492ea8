use super::*;
use crate::error::Kind;
use crate::repository::layout;
use crate::repository::mark::{self, Mark};
use crate::retention::sweep::{self, Leftover};

#[tokio::test]
async fn what_no_point_names_goes_and_what_one_names_stays() {
    let world = World::new().await;
    world.back_up(&["old", "same"]).await;
    world.back_up(&["same", "new"]).await;
    assert_eq!(world.sweep().await.taken, 0);
    world.retain(1).await;
    let repository = world.repository().await;
    let plan = sweep::plan(&repository, &SweepOptions::default()).await.unwrap();
    assert_eq!((plan.points, plan.chunks, plan.finds.len()), (1, 3, 1));
    assert_eq!(plan.takes_bytes(), plan.finds[0].bytes);
    let planned = plan.finds[0].name.key().unwrap();
    let before = world.keys_below("chunks/");
    let report = sweep::run(&repository, &plan).await.unwrap();
    assert_eq!((report.taken, report.taken_bytes), (1, plan.takes_bytes()));
    // What the plan printed is what went, and nothing else.
    let after = world.keys_below("chunks/");
    assert_eq!(before.into_iter().filter(|key| !after.contains(key)).collect::<Vec<_>>(), [planned]);
    assert_eq!(world.keys_below("marks/"), []);
    world.assert_whole().await;
}

#[tokio::test]
async fn a_sweep_waits_for_a_run_that_may_name_what_it_found_and_the_next_one_goes_on() {
    let world = World::new().await;
    world.back_up(&["a"]).await;
    let running = world.begin(0).await;
    put(&running, &["b", "c"]).await;
    let report = world.sweep().await;
    assert_eq!((report.taken, report.waiting), (0, 2));
    assert_eq!(report.waits_for[0].point, *running.point());
    assert_eq!(world.keys_below("marks/").len(), 1);

    // A run that begins now honours the mark: it stores the chunks anew, and nobody waits for it.
    world.clock.advance(Duration::from_secs(5));
    let honouring = world.begin(0).await;
    put(&honouring, &["b"]).await;
    assert_eq!(honouring.totals().chunks_new, 1);
    running.commit(1.0).await.unwrap();
    let report = world.sweep().await;
    assert_eq!((report.taken, report.named_again, report.waiting), (0, 2, 1));
    assert_eq!(world.keys_below("marks/").len(), 1, "the first is done, the second waits for the honouring run");
    world.assert_whole().await;
}

#[tokio::test]
async fn a_run_older_than_the_longest_run_is_closed_and_what_it_left_is_cleaned() {
    let world = World::new().await;
    world.back_up(&["a"]).await;
    let slow = world.begin(0).await;
    put(&slow, &["b"]).await;
    assert_eq!(world.keys_below("journals/").len(), 1);
    world.clock.advance(DAY * 3);
    let report = world.sweep().await;
    assert_eq!((report.closed.len(), report.taken), (1, 1));
    let error = slow.commit(1.0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("the run was closed by a sweep"), "{error}");
    // The late run put its manifest before it failed; the next sweep takes that, and only the fence stays.
    let report = world.sweep().await;
    assert_eq!(report.leftovers, [Leftover::Point { source: shop(), point: slow.point().clone() }]);
    let folder = world.keys_below(&format!("points/shop/{}/", slow.point()));
    assert_eq!(folder, [layout::signature(&shop(), slow.point())]);
    assert_eq!(world.keys_below("journals/"), []);
    assert_eq!(world.sweep().await, SweepReport::default());
    world.assert_whole().await;
}

#[tokio::test]
async fn journals_of_runs_that_are_over_go_after_their_time_and_not_before() {
    let world = World::new().await;
    let journal = key(format!("journals/{}/000000", RunId::at(world.clock.now())));
    world.store.tamper(&journal, "events");
    world.clock.advance(DAY * 89);
    assert_eq!(world.sweep().await.leftovers, []);
    world.clock.advance(DAY * 2);
    assert_eq!(world.sweep().await.leftovers.len(), 1);
    assert_eq!(world.keys_below("journals/"), []);
}

/// A repository with garbage in it, so that a sweep that goes through deletes something.
async fn world_with_garbage() -> (World, Vec<PointId>) {
    let world = World::new().await;
    let mut points = Vec::new();
    for day in 0..4 {
        points.push(world.back_up(&["same", &format!("day {day}")]).await);
    }
    world.retain(3).await;
    (world, points.split_off(1))
}

async fn assert_nothing_is_deleted(world: &World, why: &str) {
    let before = world.store.keys();
    let error = world.try_sweep().await.unwrap_err();
    assert_eq!(error.kind().exit_code(), 4, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(world.store.keys(), before);
}

#[tokio::test]
async fn whatever_cannot_be_read_or_understood_stops_a_sweep_before_it_deletes() {
    let (world, _) = world_with_garbage().await;
    assert_eq!(world.sweep().await.taken, 1);

    let (world, points) = world_with_garbage().await;
    world.store.tamper(&layout::signature(&shop(), &points[1]), "no signature");
    assert_nothing_is_deleted(&world, "its signature is damaged").await;

    let (world, points) = world_with_garbage().await;
    world.store.rot(&layout::manifest(&shop(), &points[1]), |bytes| bytes[40] ^= 1);
    assert_nothing_is_deleted(&world, "reading which chunks are in use").await;

    let (world, points) = world_with_garbage().await;
    world.store.lose(&layout::manifest(&shop(), &points[1]));
    assert_nothing_is_deleted(&world, "reading which chunks are in use").await;

    // Without its signature a committed point looks like a run under way; the chain knows better.
    let (world, points) = world_with_garbage().await;
    world.store.lose(&layout::signature(&shop(), &points[1]));
    assert_nothing_is_deleted(&world, "number 3 is missing").await;
    world.clock.advance(DAY * 30);
    assert_nothing_is_deleted(&world, "number 3 is missing").await;

    let (world, points) = world_with_garbage().await;
    world.store.lose(&layout::signature(&shop(), &points[2]));
    assert_nothing_is_deleted(&world, "its newest point").await;

    let (world, points) = world_with_garbage().await;
    world.store.tamper(&layout::signature(&shop(), &points[0]), "aborted");
    assert_nothing_is_deleted(&world, "number 2 is missing").await;

    let (world, points) = world_with_garbage().await;
    world.store.tamper(&key(format!("points/shop/{}/manifest.v2", points[0])), "of a newer davit");
    assert_nothing_is_deleted(&world, "has no place there").await;

    let (world, _) = world_with_garbage().await;
    world.store.tamper(&key("heads/shop"), "no head");
    assert_nothing_is_deleted(&world, "its head is damaged").await;

    let (world, _) = world_with_garbage().await;
    world.store.tamper(&key("marks/20261120T010000Z-aaaaaa"), "no mark");
    assert_nothing_is_deleted(&world, "reading mark").await;

    let (world, _) = world_with_garbage().await;
    world.keys_below("tombstones/").iter().for_each(|stone| world.store.lose(stone));
    assert_nothing_is_deleted(&world, "number 1 is missing").await;
}

#[tokio::test]
async fn a_listing_that_fails_stops_a_sweep_before_it_deletes() {
    for folder in ["points/", "chunks/", "marks/", "heads/"] {
        let (world, _) = world_with_garbage().await;
        let before = world.store.keys();
        let blind = GatedStore::new(world.store.clone(), Arc::new(Hides(folder)));
        let blind = world.repository_over(blind).await.unwrap();
        let error = sweep::plan(&blind, &SweepOptions::default()).await.unwrap_err();
        assert_eq!(error.kind().exit_code(), 4, "{error}");
        // The same between plan and run.
        let plan = sweep::plan(&world.repository().await, &SweepOptions::default()).await.unwrap();
        if folder == "points/" {
            let error = sweep::run(&blind, &plan).await.unwrap_err();
            assert_eq!(error.kind().exit_code(), 4, "{error}");
        }
        let chunks = |keys: &[ObjectKey]| keys.iter().filter(|key| key.as_str().starts_with("chunks/")).count();
        assert_eq!(chunks(&world.store.keys()), chunks(&before), "{folder}");
    }
}

#[tokio::test]
async fn a_point_that_is_committed_between_plan_and_run_keeps_what_it_names() {
    let world = World::new().await;
    world.back_up(&["a"]).await;
    let running = world.begin(0).await;
    put(&running, &["b"]).await;
    let repository = world.repository().await;
    let plan = sweep::plan(&repository, &SweepOptions::default()).await.unwrap();
    assert_eq!((plan.finds.len(), plan.finds_wait_for.len()), (1, 1));
    running.commit(1.0).await.unwrap();
    let report = sweep::run(&repository, &plan).await.unwrap();
    assert_eq!((report.taken, report.named_again), (0, 1));
    world.assert_whole().await;
}

#[tokio::test]
async fn locked_garbage_stays_unmarked_until_its_lock_ends_and_goes_with_all_versions() {
    let world = World::with(Some(LockMode::Compliance)).await;
    world.back_up(&["old"]).await;
    world.back_up(&["new"]).await;
    let old = world.keys_below("chunks/");
    world.clock.advance(DAY * 6);
    world.begin(1).await;
    let repository = world.repository().await;
    // The points' own locks have ended, but this chunk was locked for longer by a point that is gone.
    let until = world.clock.now() + DAY * 5;
    for chunk in &old {
        let lock = crate::store::Lock { mode: LockMode::Compliance, until };
        world.store.extend_lock(chunk, None, lock).await.unwrap();
    }
    assert_eq!(world.retain(1).await.removed.len(), 1);
    let plan = sweep::plan(&repository, &SweepOptions::default()).await.unwrap();
    assert_eq!((plan.finds.len(), plan.locked.len(), plan.locked[0].until), (0, 1, until));
    assert_eq!(sweep::run(&repository, &plan).await.unwrap().taken, 0);
    assert_eq!(world.keys_below("marks/"), []);

    world.clock.advance(DAY * 6);
    world.store.tamper(&plan.locked[0].chunk.name.key().unwrap(), "another version");
    let report = world.sweep().await;
    assert_eq!((report.taken, report.closed.len()), (1, 1));
    let versions = world.store.versions("chunks/").await.unwrap();
    assert!(versions.iter().all(|version| version.key != plan.locked[0].chunk.name.key().unwrap()));
    world.assert_whole().await;
}

#[tokio::test]
async fn a_mark_stays_while_a_lock_keeps_one_of_its_chunks() {
    let world = World::with(Some(LockMode::Compliance)).await;
    world.back_up(&["old"]).await;
    world.back_up(&["new"]).await;
    world.clock.advance(DAY * 14);
    world.retain(1).await;
    let repository = world.repository().await;
    let plan = sweep::plan(&repository, &SweepOptions::default()).await.unwrap();
    assert_eq!(plan.finds.len(), 1);
    // Locked by somebody between plan and run.
    let lock = crate::store::Lock { mode: LockMode::Compliance, until: world.clock.now() + DAY };
    world.store.extend_lock(&plan.finds[0].name.key().unwrap(), None, lock).await.unwrap();
    let report = sweep::run(&repository, &plan).await.unwrap();
    assert_eq!((report.taken, report.locked), (0, 1));
    assert_eq!(world.keys_below("marks/").len(), 1);
    world.clock.advance(DAY * 2);
    assert_eq!(world.sweep().await.taken, 1);
    assert_eq!(world.keys_below("marks/"), []);
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_costs_deduplication_and_nothing_else() {
    let world = World::new().await;
    world.back_up(&["same"]).await;
    world.store.tamper(&key("marks/20261120T010000Z-aaaaaa"), "no mark");
    let writer = world.begin(0).await;
    put(&writer, &["same"]).await;
    assert_eq!(writer.totals().chunks_new, 1);
    writer.commit(1.0).await.unwrap();
    world.assert_whole().await;
}

#[tokio::test]
async fn many_finds_are_marked_in_pieces_that_can_be_read() {
    let world = World::new().await;
    world.back_up(&["a"]).await;
    let made: Timestamp = world.clock.now();
    let chunks = (0..1000u32)
        .map(|n| mark::ChunkName {
            id: crate::id::ChunkId([u8::try_from(n % 251).unwrap(); 32]),
            nonce: crate::id::Nonce(u64::from(n).to_be_bytes()),
        })
        .collect();
    let mark = Mark { repository: world.repository().await.id(), id: RunId::at(made), made, chunks };
    world.store.tamper(&Mark::key(&mark.id).unwrap(), mark.bytes().unwrap());
    // Nothing it names exists (any more), so a sweep finds nothing to take by it and removes it.
    assert_eq!(world.sweep().await.taken, 0);
    assert_eq!(world.keys_below("marks/"), []);
}
