//! What stays true when calls to the store fail, and when a run dies at any of them.

use super::*;
use crate::retry::Policy;
use crate::store::faulty::{Chances, Fault, FaultPlan, FaultyStore};
use crate::store::retrying::Retrying;
use std::collections::BTreeSet;

/// Everything committed is whole, known to the catalogue, and reads back.
async fn assert_whole(world: &World, committed: &[(PointId, Vec<Bytes>)], what: &str) {
    let repository = Repository::open(world.store.clone(), world.keys.clone(), world.context()).await.unwrap();
    let audit = repository.audit(Depth::Stored).await.unwrap();
    assert_eq!(audit.damage().collect::<Vec<_>>(), Vec::<&Damage>::new(), "{what}");
    let listed = repository.points(None).await.unwrap();
    for (point, chunks) in committed {
        assert!(listed.iter().any(|summary| summary.point() == point), "{what}: {point} is not listed");
        assert_eq!(&read_back(&repository, "shop", point).await.unwrap(), chunks, "{what}");
    }
}

#[tokio::test]
async fn whatever_call_a_run_dies_at_the_next_one_works_and_uses_what_was_stored() {
    let start = World::new().await;
    let first = start.back_up("shop", &rows(1, 2)).await;
    let second_rows = [rows(1, 1), rows(7, 3)].concat();
    for lost_answer in [false, true] {
        let mut dies_at = 0;
        loop {
            let world = World { store: start.store.fork(), clock: start.clock.clone(), keys: start.keys.clone() };
            let at = if lost_answer { Fault::LostAfter } else { Fault::Refused };
            let after = (dies_at + 1..dies_at + 500).map(|call| (call, Fault::Refused));
            let plan = FaultPlan::script(after.chain([(dies_at, at)]));
            let faulty = Arc::new(FaultyStore::new(world.store.clone(), plan, Arc::new(world.clock.clone())));
            let keys = Keys { writer: world.keys.writer.clone(), reader: None };
            let died = async {
                let repository = Repository::open(faulty.clone(), keys, world.context()).await?;
                let mut begin = world.begin("shop");
                begin.journal = JournalPace { chunks: 1, every: Duration::from_hours(1) };
                back_up(&repository, begin, &second_rows).await
            };
            let died = died.await;
            let done = faulty.faults() == 0;
            let what = format!("died at call {dies_at}, answer lost: {lost_answer}");
            let stored = world.store.keys().iter().filter(|key| key.as_str().starts_with("journals/")).count();
            let next = world.back_up("shop", &second_rows).await;
            assert!(next.end.chunks_new <= 3 - u64::try_from(stored).unwrap(), "{what}");
            let mut committed = vec![(first.point.clone(), rows(1, 2)), (next.point, second_rows.clone())];
            committed.extend(died.ok().map(|committed| (committed.point, second_rows.clone())));
            assert_whole(&world, &committed, &what).await;
            if done {
                assert!(dies_at > 20, "a run makes more calls than {dies_at}");
                break;
            }
            dies_at += 1;
        }
    }
}

#[tokio::test]
async fn what_a_run_killed_behind_its_signature_leaves_is_called_that_and_the_next_one_mends_it() {
    let start = World::new().await;
    // The first point of a source has no head before it.
    for expected in [&["catalogue", "head"][..], &["catalogue"]] {
        let mut told = BTreeSet::new();
        for dies_at in 0.. {
            let world = World { store: start.store.fork(), clock: start.clock.clone(), keys: start.keys.clone() };
            let plan = FaultPlan::script((dies_at..dies_at + 500).map(|call| (call, Fault::Refused)));
            let faulty = Arc::new(FaultyStore::new(world.store.clone(), plan, Arc::new(world.clock.clone())));
            let died = async {
                let repository = Repository::open(faulty.clone(), world.keys.clone(), world.context()).await?;
                back_up(&repository, world.begin("shop"), &rows(2, 1)).await
            };
            drop(died.await);
            // In a copy, because a list mends the catalogue.
            let fresh = Repository::open(world.store.fork(), world.keys.clone(), world.context()).await.unwrap();
            let shop = "shop".parse().unwrap();
            let folders = fresh.point_folders(&shop).await.unwrap();
            let signed: Vec<_> =
                folders.into_iter().filter(|(_, folder)| folder.signature).map(|(point, _)| point).collect();
            let mut listed: Vec<_> =
                fresh.points(Some(&shop)).await.unwrap().iter().map(|point| point.point().clone()).collect();
            listed.sort_unstable();
            assert_eq!(listed, signed, "what is signed is a point, for a list too: died at call {dies_at}");
            let repository = Repository::open(world.store.clone(), world.keys.clone(), world.context()).await.unwrap();
            for damage in repository.audit(Depth::Stored).await.unwrap().damage() {
                assert!(
                    damage.what.contains("a run that is killed at its end leaves this"),
                    "call {dies_at}: {damage:?}"
                );
                told.insert(damage.object.clone());
            }
            let next = world.back_up("shop", &rows(3, 1)).await;
            assert_whole(&world, &[(next.point, rows(3, 1))], &format!("died at call {dies_at}")).await;
            if faulty.faults() == 0 {
                break;
            }
        }
        assert_eq!(told.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        start.back_up("shop", &rows(1, 2)).await;
    }
}

#[tokio::test]
async fn no_point_is_called_committed_that_is_not_whole_whatever_the_store_does() {
    let chances = Chances { wrong: 0.01, denied: 0.002, expired: 0.002, full: 0.005, ..Chances::passing(0.02) };
    let (mut succeeded, mut failed) = (0, 0);
    for seed in 0..25 {
        let world = World::new().await;
        let clock: SharedClock = Arc::new(world.clock.clone());
        let faulty = FaultyStore::new(world.store.clone(), FaultPlan::random(seed, chances), clock.clone());
        let store: SharedStore =
            Arc::new(Retrying::new(Arc::new(faulty), Policy::STORE, clock, tokio_util::sync::CancellationToken::new()));
        let mut committed = Vec::new();
        for round in 0..4 {
            let chunks = [rows(1, 2), rows(round, 2)].concat();
            let keys = Keys { writer: world.keys.writer.clone(), reader: None };
            let run = async {
                let repository = Repository::open(store.clone(), keys, world.context()).await?;
                back_up(&repository, world.begin("shop"), &chunks).await
            };
            match run.await {
                Ok(done) => {
                    succeeded += 1;
                    committed.push((done.point, chunks));
                }
                Err(_) => failed += 1,
            }
        }
        let last = world.back_up("shop", &rows(1, 2)).await;
        committed.push((last.point, rows(1, 2)));
        assert_whole(&world, &committed, &format!("seed {seed}")).await;
    }
    assert!(succeeded > 25 && failed > 6, "{succeeded} succeeded, {failed} failed: the plan is too kind or too harsh");
}

#[tokio::test]
async fn a_list_is_whole_or_an_error_whatever_call_the_store_fails() {
    let world = World::new().await;
    for seed in [1, 2] {
        world.back_up("shop", &rows(seed, 1)).await;
    }
    // Nothing tells of the points but they themselves.
    for key in world.store.keys().into_iter().filter(|key| key.as_str().starts_with("catalog/")) {
        world.store.lose(&key);
    }
    let mut failed = 0;
    for call in 0.. {
        let plan = FaultPlan::script([(call, Fault::Refused)]);
        let faulty = Arc::new(FaultyStore::new(world.store.fork(), plan, Arc::new(world.clock.clone())));
        let listed = async {
            let repository = Repository::open(faulty.clone(), world.keys.clone(), world.context()).await?;
            repository.points(None).await
        };
        match listed.await {
            Ok(points) => assert_eq!(points.len(), 2, "call {call} failed"),
            Err(error) => {
                assert_eq!(error.kind(), crate::error::Kind::Failed, "call {call}: {error}");
                failed += 1;
            }
        }
        if faulty.faults() == 0 {
            break;
        }
    }
    assert!(failed > 4, "{failed}");
}
