//! Putting, replacing, reading and deleting single objects.

use super::{World, key, noise, text};
use davit::id::Sha256;
use davit::store::{Put, StoreError};
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use tokio::io::AsyncReadExt;

pub async fn what_was_put_is_what_is_read(world: World) {
    let store = &world.store;
    let a = key("folder/a");
    let stored = store.put_new(&a, text("hello")).await.unwrap();
    let object = store.get(&a, None).await.unwrap();
    assert_eq!(&object.body[..], b"hello");
    let head = store.head(&a, None).await.unwrap();
    assert_eq!(head.size, 5);
    assert_eq!(head.etag, stored.etag);
    assert_eq!(object.meta.etag, stored.etag);
    assert_eq!(head.version, stored.version);
    assert!(head.sha256.is_none_or(|hash| hash == Sha256::of(b"hello")));
    let mut reading = store.read(&a, None).await.unwrap();
    let mut body = Vec::new();
    reading.body.read_to_end(&mut body).await.unwrap();
    assert_eq!(body, b"hello");
    assert_eq!(reading.meta.size, 5);
    assert_eq!(reading.meta.etag, stored.etag);
}

pub async fn an_object_of_16_mib_and_an_empty_one_come_back_whole(world: World) {
    for (name, length) in [("empty", 0), ("large", 16 << 20), ("odd", 1_048_577)] {
        let body = noise(name, length);
        world.store.put_new(&key(name), Put::new(body.clone())).await.unwrap();
        let object = world.store.get(&key(name), None).await.unwrap();
        assert_eq!(Sha256::of(&object.body), Sha256::of(&body), "{name}");
        let mut read = Vec::new();
        world.store.read(&key(name), None).await.unwrap().body.read_to_end(&mut read).await.unwrap();
        assert_eq!(Sha256::of(&read), Sha256::of(&body), "{name}");
    }
}

pub async fn every_letter_a_key_may_have_works(world: World) {
    let names = [
        ".hidden/...",
        "=/=",
        "A-b_c.d=e+f%20g/%2F/x",
        "a b (1) [2]/it's, at 01:00:00 & #3; $4 @home!.sql.gz",
        "a%20b",
        "a+b",
        "ünïcode/日本",
    ];
    for name in names {
        world.store.put_new(&key(name), text(name)).await.unwrap();
    }
    for name in names {
        assert_eq!(&world.store.get(&key(name), None).await.unwrap().body[..], name.as_bytes());
        assert_eq!(world.store.head(&key(name), None).await.unwrap().size, name.len() as u64);
    }
    let listed: Vec<String> = world.store.list("").map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, names);
    world.store.delete(&key(names[3])).await.unwrap();
    assert_eq!(world.store.list("a b (1)").count().await, 0);
}

pub async fn a_taken_name_is_refused_and_keeps_its_bytes(world: World) {
    let a = key("a");
    world.store.put_new(&a, text("first")).await.unwrap();
    let refused = world.store.put_new(&a, text("second")).await;
    assert!(matches!(refused, Err(StoreError::AlreadyExists(_))), "{refused:?}");
    assert_eq!(&world.store.get(&a, None).await.unwrap().body[..], b"first");
}

pub async fn of_many_writers_of_one_name_exactly_one_wins(world: World) {
    for round in 0..3 {
        let a = key(&format!("raced/{round}"));
        let racers = (0..12).map(|racer| {
            let (store, a) = (world.store.clone(), a.clone());
            let put = Put::new(format!("racer {racer}"));
            tokio::spawn(async move { store.put_new(&a, put).await.map(|_| racer) })
        });
        let mut winners = Vec::new();
        for outcome in join_all(racers).await {
            match outcome.unwrap() {
                Ok(racer) => winners.push(racer),
                Err(StoreError::AlreadyExists(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let body = world.store.get(&a, None).await.unwrap().body;
        assert_eq!(&body[..], format!("racer {}", winners[0]).as_bytes());
    }
}

pub async fn an_object_is_replaced_only_if_it_is_the_one_that_was_read(world: World) {
    let store = &world.store;
    let a = key("leases/a");
    let first = store.put_new(&a, text("one")).await.unwrap().etag;
    let second = store.put_if_match(&a, text("two"), &first).await.unwrap().etag;
    assert_ne!(first, second);
    let stale = store.put_if_match(&a, text("three"), &first).await;
    assert!(matches!(stale, Err(StoreError::Changed(_))), "{stale:?}");
    assert_eq!(&store.get(&a, None).await.unwrap().body[..], b"two");
    let absent = store.put_if_match(&key("leases/none"), text("x"), &first).await;
    assert!(matches!(absent, Err(StoreError::Changed(_))), "{absent:?}");
    store.delete(&a).await.unwrap();
    if !world.markers_show {
        let gone = store.put_if_match(&a, text("x"), &second).await;
        assert!(matches!(gone, Err(StoreError::Changed(_))), "{gone:?}");
    }
}

pub async fn of_many_replacers_of_one_object_exactly_one_wins_each_round(world: World) {
    let a = key("heads/a");
    let mut tag = world.store.put_new(&a, text("start")).await.unwrap().etag;
    let mut tags = HashSet::from([tag.clone()]);
    for round in 0..3 {
        let racers = (0..8).map(|racer| {
            let (store, a, tag) = (world.store.clone(), a.clone(), tag.clone());
            let put = Put::new(format!("round {round} racer {racer}"));
            tokio::spawn(async move { store.put_if_match(&a, put, &tag).await })
        });
        let mut winners = Vec::new();
        for outcome in join_all(racers).await {
            match outcome.unwrap() {
                Ok(stored) => winners.push(stored.etag),
                Err(StoreError::Changed(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(world.store.head(&a, None).await.unwrap().etag, winners[0]);
        tag = winners.swap_remove(0);
        assert!(tags.insert(tag.clone()), "a tag came twice");
    }
}

pub async fn what_is_not_there_is_not_found_and_deleting_it_is_no_error(world: World) {
    let store = &world.store;
    let a = key("folder/a");
    assert!(matches!(store.get(&a, None).await, Err(StoreError::NotFound(_))));
    assert!(matches!(store.head(&a, None).await, Err(StoreError::NotFound(_))));
    assert!(matches!(store.read(&a, None).await, Err(StoreError::NotFound(_))));
    store.delete(&a).await.unwrap();
    store.put_new(&a, text("x")).await.unwrap();
    // A folder is no object.
    assert!(matches!(store.get(&key("folder"), None).await, Err(StoreError::NotFound(_))));
}

pub async fn a_deleted_name_can_be_put_again(world: World) {
    let store = &world.store;
    let a = key("folder/sub/a");
    store.put_new(&a, text("one")).await.unwrap();
    store.delete(&a).await.unwrap();
    assert!(matches!(store.get(&a, None).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.list("").count().await, 0);
    assert_eq!(store.folders("").await.unwrap().len(), usize::from(world.markers_show));
    store.put_new(&a, text("two")).await.unwrap();
    assert_eq!(&store.get(&a, None).await.unwrap().body[..], b"two");
}

pub async fn bytes_that_do_not_have_their_hash_are_refused(world: World) {
    let a = key("a");
    let mut put = text("right");
    put.sha256 = Sha256::of(b"wrong");
    let refused = world.store.put_new(&a, put).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    assert!(matches!(world.store.head(&a, None).await, Err(StoreError::NotFound(_))));
}

pub async fn the_probe_finds_what_it_can_do_and_leaves_nothing(world: World) {
    let features = world.store.probe().await.unwrap();
    assert!(features.put_if_absent && features.put_if_match && features.checksums, "{features:?}");
    assert_eq!((features.versioning, features.object_lock), (world.versioned, world.versioned), "{features:?}");
    assert_eq!(features.default_retention, None);
    assert_eq!(world.store.list("").count().await, 0);
    if world.versioned {
        assert_eq!(world.store.versions("").await.unwrap(), []);
    }
}
