//! Old versions and their locks; on a store without them, the refusal.

use super::{World, key, text};
use davit::store::{Lock, LockMode, StoreError, VersionEntry, VersionId};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

/// A lock that ends `after` from now on, by the store's clock, at a whole second.
async fn lock(world: &World, mode: LockMode, after: SignedDuration) -> Lock {
    let now = world.store.clock().await.unwrap().unwrap();
    let until = now.checked_add(after).unwrap();
    Lock { mode, until: Timestamp::from_second(until.as_second()).unwrap() }
}

pub async fn old_versions_stay_readable_until_each_is_deleted(world: World) {
    let store = &world.store;
    let a = key("folder/a");
    let one = store.put_new(&a, text("one")).await.unwrap();
    if !world.versioned {
        let none = VersionId("1".to_owned());
        assert!(matches!(store.versions("").await, Err(StoreError::Unsupported(_))));
        assert!(matches!(store.delete_version(&a, &none).await, Err(StoreError::Unsupported(_))));
        return;
    }
    let two = store.put_if_match(&a, text("two"), &one.etag).await.unwrap();
    store.delete(&a).await.unwrap();
    assert!(matches!(store.get(&a, None).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.list("").count().await, 0);
    assert_eq!(&store.get(&a, one.version.as_ref()).await.unwrap().body[..], b"one");
    assert_eq!(&store.get(&a, two.version.as_ref()).await.unwrap().body[..], b"two");
    assert_eq!(store.head(&a, one.version.as_ref()).await.unwrap().version, one.version);

    let versions = store.versions("folder/").await.unwrap();
    let shape: Vec<(bool, bool, u64)> = versions.iter().map(|v| (v.latest, v.delete_marker, v.size)).collect();
    assert_eq!(shape, [(true, true, 0), (false, false, 3), (false, false, 3)]);
    assert_eq!(Some(&versions[1].version), two.version.as_ref());
    assert_eq!(Some(&versions[2].version), one.version.as_ref());
    let marker = store.get(&a, Some(&versions[0].version)).await;
    assert!(matches!(marker, Err(StoreError::NotFound(_))), "{marker:?}");

    store.delete_version(&a, &versions[0].version).await.unwrap();
    assert_eq!(&store.get(&a, None).await.unwrap().body[..], b"two");
    store.delete_version(&a, &versions[1].version).await.unwrap();
    assert_eq!(&store.get(&a, None).await.unwrap().body[..], b"one");
    store.delete_version(&a, &versions[2].version).await.unwrap();
    assert_eq!(store.versions("").await.unwrap(), Vec::<VersionEntry>::new());
    store.delete_version(&a, &versions[2].version).await.unwrap();
}

pub async fn a_name_behind_a_delete_marker_is_free(world: World) {
    let store = &world.store;
    let a = key("a");
    store.put_new(&a, text("one")).await.unwrap();
    store.delete(&a).await.unwrap();
    store.put_new(&a, text("two")).await.unwrap();
    assert_eq!(&store.get(&a, None).await.unwrap().body[..], b"two");
    let taken = store.put_new(&a, text("three")).await;
    assert!(matches!(taken, Err(StoreError::AlreadyExists(_))), "{taken:?}");
    if world.versioned {
        assert_eq!(store.versions("a").await.unwrap().len(), 3);
    }
}

pub async fn a_version_that_is_gone_is_not_found(world: World) {
    if !world.versioned {
        let version = VersionId("1".to_owned());
        let unknown = world.store.head(&key("a"), Some(&version)).await;
        assert!(matches!(unknown, Err(StoreError::Unsupported(_) | StoreError::NotFound(_))), "{unknown:?}");
        return;
    }
    let a = key("a");
    let one = world.store.put_new(&a, text("one")).await.unwrap();
    let two = world.store.put_if_match(&a, text("two"), &one.etag).await.unwrap();
    let version = one.version.unwrap();
    world.store.delete_version(&a, &version).await.unwrap();
    assert!(matches!(world.store.get(&a, Some(&version)).await, Err(StoreError::NotFound(_))));
    assert!(matches!(world.store.head(&a, Some(&version)).await, Err(StoreError::NotFound(_))));
    assert_eq!(world.store.head(&a, None).await.unwrap().etag, two.etag);
}

pub async fn a_locked_version_cannot_be_deleted_and_says_until_when(world: World) {
    let store = &world.store;
    for (name, mode) in [("g", LockMode::Governance), ("c", LockMode::Compliance)] {
        let a = key(name);
        let lock = lock(&world, mode, SignedDuration::from_secs(3600)).await;
        let put = store.put_new(&a, text("kept").locked(Some(lock))).await;
        if !world.versioned {
            assert!(matches!(put, Err(StoreError::Unsupported(_))), "{put:?}");
            assert!(matches!(store.head(&a, None).await, Err(StoreError::NotFound(_))));
            continue;
        }
        let version = put.unwrap().version.unwrap();
        assert_eq!(store.head(&a, None).await.unwrap().lock, Some(lock));
        let refused = store.delete_version(&a, &version).await;
        assert!(matches!(refused, Err(StoreError::Locked(_))), "{refused:?}");
        store.delete(&a).await.unwrap();
        assert_eq!(&store.get(&a, Some(&version)).await.unwrap().body[..], b"kept");
    }
}

pub async fn a_lock_is_extended_and_never_shortened(world: World) {
    let store = &world.store;
    let a = key("a");
    let hour = lock(&world, LockMode::Governance, SignedDuration::from_hours(1)).await;
    let day = lock(&world, LockMode::Governance, SignedDuration::from_hours(24)).await;
    let stored = store.put_new(&a, text("kept")).await.unwrap();
    if !world.versioned {
        let refused = store.extend_lock(&a, None, hour).await;
        assert!(matches!(refused, Err(StoreError::Unsupported(_))), "{refused:?}");
        return;
    }
    assert_eq!(store.head(&a, None).await.unwrap().lock, None);
    store.extend_lock(&a, None, hour).await.unwrap();
    assert_eq!(store.head(&a, None).await.unwrap().lock, Some(hour));
    store.extend_lock(&a, stored.version.as_ref(), day).await.unwrap();
    assert_eq!(store.head(&a, None).await.unwrap().lock, Some(day));
    store.extend_lock(&a, None, hour).await.unwrap();
    assert_eq!(store.head(&a, None).await.unwrap().lock, Some(day));
    let refused = store.delete_version(&a, &stored.version.unwrap()).await;
    assert!(matches!(refused, Err(StoreError::Locked(_))), "{refused:?}");
}

pub async fn what_is_replaced_or_hidden_by_others_keeps_its_locked_version(world: World) {
    if !world.versioned {
        assert!(matches!(world.store.versions("").await, Err(StoreError::Unsupported(_))));
        return;
    }
    let store = &world.store;
    let a = key("chunk");
    let lock = lock(&world, LockMode::Governance, SignedDuration::from_hours(1)).await;
    let mine = store.put_new(&a, text("mine").locked(Some(lock))).await.unwrap();
    store.put_if_match(&a, text("theirs"), &mine.etag).await.unwrap();
    assert_eq!(&store.get(&a, None).await.unwrap().body[..], b"theirs");
    let kept = store.versions("chunk").await.unwrap().into_iter().find(|v| Some(&v.version) == mine.version.as_ref());
    let kept = kept.unwrap();
    assert!(!kept.latest);
    assert_eq!(&store.get(&a, Some(&kept.version)).await.unwrap().body[..], b"mine");
}
