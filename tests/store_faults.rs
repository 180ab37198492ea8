//! What is believed when calls go wrong: a lost answer is settled by reading back, a broken listing or body goes

#![allow(clippy::panic, clippy::assigning_clones, reason = "a test stops at the first surprise")]
//! on where it broke off, and what cannot pass is not tried again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use davit::clock::{SharedClock, SimClock};
use davit::retry::Policy;
use davit::store::{
    Chances, Fault, FaultPlan, FaultyStore, LocalStore, MemoryStore, ObjectKey, Put, Retrying, SharedStore, Store,
    StoreError,
};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

fn clock() -> SharedClock {
    Arc::new(SimClock::at(Timestamp::from_second(1_800_000_000).unwrap()))
}

/// A store behind faults, and the same behind retries.
fn behind(store: SharedStore, plan: FaultPlan, policy: Policy) -> (Arc<FaultyStore>, Retrying) {
    let clock = clock();
    let faulty = Arc::new(FaultyStore::new(store, plan, Arc::clone(&clock)));
    let shared: SharedStore = Arc::clone(&faulty) as SharedStore;
    (faulty, Retrying::new(shared, policy, clock, CancellationToken::new()))
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn put(text: &str) -> Put {
    Put::new(text.to_owned())
}

/// A store that tells the hash of its objects, and one that does not.
async fn both_kinds() -> (tempfile::TempDir, [SharedStore; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalStore::open(directory.path(), false, clock()).await.unwrap();
    (directory, [MemoryStore::new(clock()), Arc::new(local)])
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_recognised_as_ours() {
    let (_directory, stores) = both_kinds().await;
    for store in stores {
        let (faulty, retrying) = behind(Arc::clone(&store), FaultPlan::script([(0, Fault::LostAfter)]), Policy::STORE);
        let outcome = retrying.put_new(&key("a"), put("mine")).await.unwrap();
        assert_eq!(outcome.etag, store.head(&key("a"), None).await.unwrap().etag);
        assert_eq!(faulty.faults(), 1);
    }
}

#[tokio::test]
async fn what_another_put_while_our_answer_was_lost_is_not_taken_for_ours() {
    let (_directory, stores) = both_kinds().await;
    for store in stores {
        for theirs in ["more than mine", "same"] {
            let key = key(theirs.split(' ').next().unwrap());
            store.put_new(&key, put(theirs)).await.unwrap();
            let (_, retrying) = behind(Arc::clone(&store), FaultPlan::script([(0, Fault::LostBefore)]), Policy::STORE);
            let refused = retrying.put_new(&key, put("mine")).await;
            assert!(matches!(refused, Err(StoreError::AlreadyExists(_))), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn a_name_that_was_taken_before_is_refused_even_with_the_same_bytes() {
    let store = MemoryStore::new(clock());
    store.put_new(&key("a"), put("same")).await.unwrap();
    let (_, retrying) = behind(store, FaultPlan::script([]), Policy::STORE);
    let refused = retrying.put_new(&key("a"), put("same")).await;
    assert!(matches!(refused, Err(StoreError::AlreadyExists(_))), "{refused:?}");
}

#[tokio::test]
async fn the_last_attempt_is_settled_too() {
    let (_directory, stores) = both_kinds().await;
    for store in stores {
        let (_, retrying) = behind(Arc::clone(&store), FaultPlan::script([(0, Fault::LostAfter)]), Policy::ONCE);
        retrying.put_new(&key("a"), put("mine")).await.unwrap();
        let (_, retrying) = behind(store, FaultPlan::script([(0, Fault::LostBefore)]), Policy::ONCE);
        let unknown = retrying.put_new(&key("b"), put("mine")).await;
        assert!(matches!(unknown, Err(StoreError::OutcomeUnknown { .. })), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_replacement_whose_answer_was_lost_is_settled() {
    let (_directory, stores) = both_kinds().await;
    for store in stores {
        let seen = store.put_new(&key("head"), put("1")).await.unwrap().etag;
        let plan = FaultPlan::script([(0, Fault::LostAfter), (3, Fault::LostBefore)]);
        let (_, retrying) = behind(Arc::clone(&store), plan, Policy::STORE);
        let outcome = retrying.put_if_match(&key("head"), put("2"), &seen).await.unwrap();
        assert_eq!(outcome.etag, store.head(&key("head"), None).await.unwrap().etag);
        // Somebody else's change is still one.
        let lost = retrying.put_if_match(&key("head"), put("3"), &seen).await;
        assert!(matches!(lost, Err(StoreError::Changed(_))), "{lost:?}");
        assert_eq!(&store.get(&key("head"), None).await.unwrap().body[..], b"2");
    }
}

#[tokio::test]
async fn what_cannot_pass_is_tried_once_and_changes_nothing() {
    for fault in [Fault::Full, Fault::Denied, Fault::Expired] {
        let store = MemoryStore::new(clock());
        let (faulty, retrying) = behind(Arc::<MemoryStore>::clone(&store), FaultPlan::script([]), Policy::STORE);
        faulty.stand(Some(fault));
        let error = retrying.put_new(&key("a"), put("x")).await.unwrap_err();
        let right = match fault {
            Fault::Full => matches!(error, StoreError::Full(_)),
            Fault::Denied => matches!(&error, StoreError::Denied { action, .. } if action == "s3:PutObject"),
            _ => matches!(error, StoreError::Credentials(_)),
        };
        assert!(right, "{error:?}");
        assert_eq!(faulty.calls(), 1);
        assert_eq!(store.keys(), []);
        faulty.stand(None);
        retrying.put_new(&key("a"), put("x")).await.unwrap();
    }
}

#[tokio::test]
async fn damage_on_the_way_up_is_sent_again_and_on_the_way_down_is_for_the_reader_to_see() {
    let plan = FaultPlan::script([(0, Fault::Wrong), (2, Fault::Wrong), (3, Fault::Wrong)]);
    let (faulty, retrying) = behind(MemoryStore::new(clock()), plan, Policy::STORE);
    retrying.put_new(&key("a"), put("right")).await.unwrap();
    assert_eq!(faulty.calls(), 2);
    let body = retrying.get(&key("a"), None).await.unwrap().body;
    assert_eq!(body.len(), 5);
    assert_ne!(&body[..], b"right");
    let mut read = Vec::new();
    retrying.read(&key("a"), None).await.unwrap().body.read_to_end(&mut read).await.unwrap();
    assert_eq!(read.len(), 5);
    assert_ne!(read, b"right");
}

#[tokio::test]
async fn a_body_that_breaks_off_goes_on_and_one_that_never_comes_ends_in_an_error() {
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let store = MemoryStore::new(clock());
    store.put_new(&key("a"), Put::new(body.clone())).await.unwrap();
    let plan = FaultPlan::script([(0, Fault::Cut), (1, Fault::Cut), (2, Fault::Busy), (3, Fault::Cut)]);
    let (faulty, retrying) = behind(Arc::<MemoryStore>::clone(&store), plan, Policy::STORE);
    let mut read = Vec::new();
    retrying.read(&key("a"), None).await.unwrap().body.read_to_end(&mut read).await.unwrap();
    assert!(read == body);
    assert_eq!(faulty.faults(), 4);

    let plan = FaultPlan::script((0..1000).map(|call| (call, if call == 0 { Fault::Cut } else { Fault::Refused })));
    let (faulty, retrying) = behind(store, plan, Policy::STORE);
    let mut reading = retrying.read(&key("a"), None).await.unwrap();
    reading.body.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(faulty.calls(), u64::from(Policy::STORE.attempts));
}

#[tokio::test]
async fn a_body_of_which_the_object_changed_meanwhile_is_an_error() {
    let store = MemoryStore::new(clock());
    store.put_new(&key("a"), Put::new(vec![1; 600_000])).await.unwrap();
    let plan = FaultPlan::script([(0, Fault::Cut)]);
    let (_, retrying) = behind(Arc::<MemoryStore>::clone(&store), plan, Policy::STORE);
    let mut reading = retrying.read(&key("a"), None).await.unwrap();
    store.tamper(&key("a"), vec![2; 600_000]);
    let error = reading.body.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("changed by somebody else"), "{error}");
}

#[tokio::test]
async fn a_listing_that_breaks_off_gives_every_name_once() {
    let store = MemoryStore::new(clock());
    let names: Vec<String> = (0..100).map(|n| format!("chunks/{n:03}")).collect();
    for name in &names {
        store.put_new(&key(name), put("x")).await.unwrap();
    }
    for seed in 0..50 {
        let faults = Chances { cut: 0.5, busy: 0.2, ..Chances::default() };
        let patient = Policy { attempts: 50, deadline: Duration::MAX, ..Policy::STORE };
        let (_, retrying) = behind(Arc::<MemoryStore>::clone(&store), FaultPlan::random(seed, faults), patient);
        let listed: Vec<String> =
            retrying.list("chunks/").map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap();
        assert_eq!(listed, names, "seed {seed}");
    }
    let (faulty, retrying) = behind(store, FaultPlan::script([]), Policy::STORE);
    faulty.stand(Some(Fault::Busy));
    let listed: Result<Vec<_>, StoreError> = retrying.list("chunks/").try_collect().await;
    assert!(matches!(listed, Err(StoreError::Unavailable { .. })), "{listed:?}");
}

#[tokio::test]
async fn a_cancelled_run_waits_no_longer() {
    let clock = clock();
    let faulty = FaultyStore::new(MemoryStore::new(Arc::clone(&clock)), FaultPlan::script([]), Arc::clone(&clock));
    faulty.stand(Some(Fault::Busy));
    let cancel = CancellationToken::new();
    let faulty = Arc::new(faulty);
    let store = Retrying::new(Arc::<FaultyStore>::clone(&faulty), Policy::STORE, clock, cancel.clone());
    cancel.cancel();
    store.head(&key("a"), None).await.unwrap_err();
    assert_eq!(faulty.calls(), 1);
}

/// One history of puts, replacements and deletes, in which every answer that was given must be true at the end.
async fn history(seed: u64) {
    let memory = MemoryStore::new(clock());
    let faults = FaultPlan::random(seed, Chances::passing(0.08));
    let patient = Policy { attempts: 100, deadline: Duration::MAX, ..Policy::STORE };
    let (_, store) = behind(Arc::<MemoryStore>::clone(&memory), faults, patient);
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    for step in 0..60_u64 {
        let name = format!("k{}", (step * 7 + seed) % 9);
        let text = format!("{seed}/{step}");
        match (step + seed) % 4 {
            0 | 1 => match store.put_new(&key(&name), put(&text)).await {
                Ok(_) => assert_eq!(model.insert(name, text), None, "seed {seed} step {step}: overwritten"),
                Err(StoreError::AlreadyExists(_)) => assert!(model.contains_key(&name), "seed {seed} step {step}"),
                Err(error) => panic!("seed {seed} step {step}: {error}"),
            },
            2 => {
                let Ok(meta) = store.head(&key(&name), None).await else { continue };
                store.put_if_match(&key(&name), put(&text), &meta.etag).await.unwrap();
                model.insert(name, text).unwrap();
            }
            _ => {
                store.delete(&key(&name)).await.unwrap();
                model.remove(&name);
            }
        }
    }
    let mut found = BTreeMap::new();
    for key in memory.keys() {
        let body = store.get(&key, None).await.unwrap().body;
        found.insert(key.to_string(), String::from_utf8(body.to_vec()).unwrap());
    }
    assert_eq!(found, model, "seed {seed}");
}

#[tokio::test]
async fn every_answer_is_true_under_three_hundred_seeds() {
    for seed in 0..300 {
        history(seed).await;
    }
}
