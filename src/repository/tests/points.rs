//! Points: made, read back, deduplicated, refused.

use super::*;
use crate::error::Kind;

#[tokio::test]
async fn a_point_reads_back_with_the_reader_key_alone_and_not_with_the_writer_key() {
    let world = World::new().await;
    let chunks = rows(1, 5);
    let committed = world.back_up("shop", &chunks).await;
    assert_eq!(committed.sequence, 1);
    assert_eq!(committed.warnings, Vec::<String>::new());
    assert_eq!(read_back(&world.reader().await, "shop", &committed.point).await.unwrap(), chunks);
    let error = read_back(&world.writer().await, "shop", &committed.point).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("there is no reader key"), "{error}");
}

#[tokio::test]
async fn a_second_point_stores_only_what_changed() {
    let world = World::new().await;
    let mut chunks = rows(1, 8);
    world.back_up("shop", &chunks).await;
    chunks[3] = rows(2, 1)[0].clone();
    let second = world.back_up("shop", &chunks).await;
    assert_eq!((second.end.chunks, second.end.chunks_new), (8, 1));
    assert_eq!(second.sequence, 2);
    assert_eq!(read_back(&world.reader().await, "shop", &second.point).await.unwrap(), chunks);
}

#[tokio::test]
async fn what_a_crashed_run_stored_is_used_again_and_nothing_else_of_it_counts() {
    let world = World::new().await;
    let repository = world.writer().await;
    let mut begin = world.begin("shop");
    begin.journal = JournalPace { chunks: 2, every: Duration::from_hours(1) };
    let crashed = repository.begin(begin).await.unwrap();
    put_table(&crashed, &rows(1, 6)).await.unwrap();
    drop(crashed);
    let next = world.back_up("shop", &rows(1, 6)).await;
    assert_eq!((next.sequence, next.end.chunks, next.end.chunks_new), (1, 6, 0));
    assert_eq!(world.reader().await.points(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_object_that_no_signed_line_names_is_never_used_again() {
    let world = World::new().await;
    let committed = world.back_up("shop", &rows(1, 1)).await;
    let chunk =
        world.writer().await.load_point(&name("shop"), &committed.point).await.unwrap().ranges[0].chunks[0].clone();
    // The manifest's chunk is gone; what an attacker puts in its place under another nonce is no replacement.
    world.store.lose(&layout::chunk(&chunk));
    let planted = layout::sealed_chunk(&chunk.id, &crate::id::Nonce([7; 8]));
    world.store.tamper(&planted, vec![0; usize::try_from(chunk.stored).unwrap()]);
    let next = world.back_up("shop", &rows(1, 1)).await;
    assert_eq!(next.end.chunks_new, 1);
    assert_eq!(read_back(&world.reader().await, "shop", &next.point).await.unwrap(), rows(1, 1));
}

#[tokio::test]
async fn a_source_that_points_at_another_database_is_refused_unless_it_is_bound_anew() {
    let world = World::new().await;
    world.back_up("shop", &rows(1, 1)).await;
    let repository = world.writer().await;
    let before = world.store.keys();
    let mut begin = world.begin("shop");
    begin.identity = "system 9, database 2".into();
    let error = repository.begin(begin.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(world.store.keys(), before);
    begin.rebind = true;
    assert_eq!(back_up(&repository, begin, &rows(1, 1)).await.unwrap().sequence, 2);
}

#[tokio::test]
async fn points_are_listed_newest_first_with_their_totals() {
    let world = World::new().await;
    for seed in 0..40 {
        world.back_up("shop", &rows(seed, 2)).await;
    }
    world.back_up("bank", &rows(99, 3)).await;
    let points = world.writer().await.points(None).await.unwrap();
    assert_eq!(points.len(), 41);
    assert!(points.is_sorted_by(|a, b| a.snapshot_time >= b.snapshot_time));
    let bank = &points[0];
    assert_eq!((bank.source.as_str(), bank.link.sequence, bank.end.chunks, bank.end.rows), ("bank", 1, 3, 150));
    let batches = world.store.keys().iter().filter(|key| key.as_str().starts_with("catalog/shop/")).count();
    assert!(batches < 30, "{batches} batches are left");
}

#[tokio::test]
async fn a_catalogue_that_is_lost_comes_back_from_the_points() {
    let world = World::new().await;
    for seed in 0..3 {
        world.back_up("shop", &rows(seed, 2)).await;
    }
    let before = world.writer().await.points(None).await.unwrap();
    for key in world.store.keys().iter().filter(|key| key.as_str().starts_with("catalog/")) {
        world.store.lose(key);
    }
    assert_eq!(world.reader().await.points(None).await.unwrap(), before);
    assert!(world.store.keys().iter().any(|key| key.as_str().starts_with("catalog/shop/")));
}

#[tokio::test]
async fn a_run_that_was_closed_by_a_sweep_cannot_commit() {
    let world = World::new().await;
    let repository = world.writer().await;
    let writer = repository.begin(world.begin("shop")).await.unwrap();
    put_table(&writer, &rows(1, 2)).await.unwrap();
    intent::close(world.store.as_ref(), &name("shop"), writer.point()).await.unwrap();
    let error = writer.commit(1.0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("closed by a sweep"), "{error}");
    assert_eq!(world.reader().await.points(None).await.unwrap(), Vec::new());
}

#[tokio::test]
async fn two_runs_of_one_source_at_once_never_share_a_place_in_the_chain() {
    let world = World::new().await;
    let repository = world.writer().await;
    let (first, second) =
        (repository.begin(world.begin("shop")).await.unwrap(), repository.begin(world.begin("shop")).await.unwrap());
    put_table(&first, &rows(1, 1)).await.unwrap();
    put_table(&second, &rows(2, 1)).await.unwrap();
    first.commit(1.0).await.unwrap();
    assert_eq!(second.commit(1.0).await.unwrap_err().kind(), Kind::Failed);
    assert_eq!(repository.points(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_plain_repository_needs_no_key_to_read_rows_but_still_signs() {
    let world = World::with(&InitOptions { encrypt: false, ..InitOptions::default() }, false).await;
    let committed = world.back_up("shop", &rows(1, 2)).await;
    assert_eq!(read_back(&world.writer().await, "shop", &committed.point).await.unwrap(), rows(1, 2));
    world.store.rot(&layout::manifest(&name("shop"), &committed.point), |bytes| bytes[20] ^= 1);
    assert!(read_back(&world.writer().await, "shop", &committed.point).await.is_err());
}

#[tokio::test]
async fn a_mark_keeps_chunks_from_being_used_again() {
    let world = World::new().await;
    let committed = world.back_up("shop", &rows(1, 2)).await;
    let chunk =
        world.writer().await.load_point(&name("shop"), &committed.point).await.unwrap().ranges[0].chunks[0].clone();
    let marked = mark::ChunkName { id: chunk.id, nonce: chunk.nonce };
    let sweep = RunId::at(world.clock.now());
    let mark = mark::Mark {
        repository: world.writer().await.id(),
        id: sweep.clone(),
        made: world.clock.now(),
        chunks: vec![marked],
    };
    world.store.tamper(&key(&format!("marks/{sweep}")), mark.bytes().unwrap());
    let next = world.back_up("shop", &rows(1, 2)).await;
    assert_eq!(next.end.chunks_new, 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_points_are_listed_with_a_few_requests() {
    use crate::repository::catalogue::Entry;
    use crate::store::{Fault, FaultPlan, FaultyStore};
    let world = World::new().await;
    let committed = world.back_up("shop", &rows(1, 1)).await;
    let repository = world.writer().await;
    let first = repository.points(None).await.unwrap().remove(0);
    let mut sequence = 1;
    let mut many = |count: u64| -> Vec<Entry> {
        let point = |_| {
            let mut point = first.clone();
            sequence += 1;
            point.link.sequence = sequence;
            point.link.point =
                PointId::at(point.snapshot_time + jiff::SignedDuration::from_secs(sequence.cast_signed()));
            Entry::Point(Box::new(point))
        };
        (0..count).map(point).collect()
    };
    repository.append_to_catalogue(&name("shop"), many(9_980)).await.unwrap();
    for _ in 0..19 {
        repository.append_to_catalogue(&name("shop"), many(1)).await.unwrap();
    }
    let newest =
        Link { sequence: 10_000, point: committed.point, previous: None, manifest_sha256: committed.manifest_sha256 };
    repository.move_head(&name("shop"), &newest).await.unwrap();
    let plan = FaultPlan::script([]);
    let counted = Arc::new(FaultyStore::new(world.store.clone(), plan, Arc::new(world.clock.clone())));
    let repository = Repository::open(counted.clone(), world.keys.clone(), world.context()).await.unwrap();
    let before = counted.calls();
    assert_eq!(repository.points(None).await.unwrap().len(), 10_000);
    let calls = counted.calls() - before;
    assert!(calls <= 40, "{calls} requests");

    // The same with 50 ms between every request and its answer, as from a bucket that is not next door: what they take
    // one after another, and nothing of what this machine takes.
    let clock = crate::clock::PausedClock::shared();
    let far = Arc::new(FaultyStore::new(world.store.clone(), FaultPlan::script([]), clock.clone()));
    far.stand(Some(Fault::Late(Duration::from_millis(50))));
    let before = clock.monotonic();
    let cx = OpenContext::new(clock.clone());
    let repository = Repository::open(far, world.keys.clone(), cx).await.unwrap();
    assert_eq!(repository.points(None).await.unwrap().len(), 10_000);
    let took = clock.monotonic().saturating_sub(before);
    assert!(took < Duration::from_secs(2), "{calls} requests of 50 ms took {took:?}");
}

/// As after a catalogue was lost, and with it what it knew of a point whose manifest is damaged.
fn hide(world: &World, point: &PointId) {
    for key in world.store.keys().into_iter().filter(|key| key.as_str().starts_with("catalog/shop/")) {
        world.store.lose(&key);
    }
    world.store.tamper(&layout::manifest(&name("shop"), point), b"no manifest".to_vec());
}

#[tokio::test]
async fn a_point_that_cannot_be_read_is_named_by_every_listing_and_nothing_goes_meanwhile() {
    let world = World::new().await;
    let damaged = world.back_up("shop", &rows(1, 1)).await.point;
    let whole = world.back_up("shop", &rows(2, 1)).await.point;
    hide(&world, &damaged);
    let repository = world.writer().await;
    let (points, refusals) = repository.points_and_refusals().await.unwrap();
    assert_eq!(points.iter().map(PointSummary::point).collect::<Vec<_>>(), [&whole]);
    let [refusal] = &refusals[..] else { panic!("{refusals:?}") };
    assert_eq!((refusal.point.as_ref(), refusal.kind), (Some(&damaged), Kind::CheckFailed));
    assert_eq!(refusal.damage().unwrap().chunk, layout::manifest(&name("shop"), &damaged).as_str());
    let error = repository.points_in_full().await.unwrap_err();
    assert!(error.kind() == Kind::Refused && error.to_string().contains(&damaged.to_string()), "{error}");
    let error = repository.resolve(&PointSpec::Id(damaged.clone())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CheckFailed, "{error}");
    assert_eq!(*repository.resolve(&PointSpec::Latest(name("shop"))).await.unwrap().point(), whole);
    // It is the older one: there is nothing newer to name where none is proven.
    let error = repository.resolve(&PointSpec::LatestVerified(name("shop"))).await.unwrap_err();
    assert!(error.to_string().ends_with("shop has points, but none like that"), "{error}");

    hide(&world, &whole);
    let error = repository.resolve(&PointSpec::Latest(name("shop"))).await.unwrap_err();
    let says = format!("finding shop@latest: point {whole} of shop cannot be read: ");
    assert!(error.kind() == Kind::Refused && error.to_string().starts_with(&says), "{error}");
}
