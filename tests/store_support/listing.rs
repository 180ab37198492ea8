//! Listing objects and folders.

use super::{World, key, text};
use davit::store::{Entry, StoreError};
use futures_util::{StreamExt, TryStreamExt, stream};

async fn names(world: &World, prefix: &str) -> Vec<String> {
    world.store.list(prefix).map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap()
}

pub async fn a_listing_is_in_name_order_and_by_text_prefix(world: World) {
    for name in ["a/b", "a-b", "a.b", "ab", "a/b-c", "a/b/c", "a0", "B", "b/c/d/e"] {
        // A directory cannot have both `a/b` and `a/b/c`; no layout of ours needs it.
        let name = name.replace("a/b/c", "a/bb/c");
        world.store.put_new(&key(&name), text(&name)).await.unwrap();
    }
    assert_eq!(names(&world, "").await, ["B", "a-b", "a.b", "a/b", "a/b-c", "a/bb/c", "a0", "ab", "b/c/d/e"]);
    assert_eq!(names(&world, "a").await, ["a-b", "a.b", "a/b", "a/b-c", "a/bb/c", "a0", "ab"]);
    assert_eq!(names(&world, "a/b").await, ["a/b", "a/b-c", "a/bb/c"]);
    assert_eq!(names(&world, "a/").await, ["a/b", "a/b-c", "a/bb/c"]);
    assert_eq!(names(&world, "b/c/d/e").await, ["b/c/d/e"]);
    assert_eq!(names(&world, "none/such").await, Vec::<String>::new());
}

pub async fn a_listing_goes_on_behind_any_name(world: World) {
    let all = ["a-b", "a/b", "a/bb/c", "a/bb/d", "a0", "b/c"];
    for name in all {
        world.store.put_new(&key(name), text(name)).await.unwrap();
    }
    for after in ["a", "a-b", "a/", "a/b", "a/bb", "a/bb/c", "a/bb/cc", "a0", "b/c", "z"] {
        for prefix in ["", "a", "a/", "a/bb/"] {
            let Ok(behind) = davit::store::ObjectKey::new(after) else { continue };
            let found = world.store.list_after(prefix, Some(&behind));
            let found: Vec<String> = found.map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap();
            let expected: Vec<&str> =
                all.into_iter().filter(|name| name.starts_with(prefix) && *name > after).collect();
            assert_eq!(found, expected, "prefix {prefix:?} after {after:?}");
        }
    }
}

pub async fn a_listing_of_several_pages_has_every_object_once_with_its_size(world: World) {
    let count = 2_105;
    let puts = (0..count).map(|n: usize| {
        let store = world.store.clone();
        async move { store.put_new(&key(&format!("pages/{:02}/{n:05}", n % 7)), text(&"x".repeat(n % 10))).await }
    });
    stream::iter(puts).buffer_unordered(16).try_for_each(|_| async { Ok(()) }).await.unwrap();
    let entries: Vec<Entry> = world.store.list("pages/").try_collect().await.unwrap();
    assert_eq!(entries.len(), count);
    assert!(entries.is_sorted_by(|a, b| a.key < b.key));
    for entry in &entries {
        let number: usize = entry.key.as_str()[9..].parse().unwrap();
        assert_eq!(entry.size, (number % 10) as u64);
    }
    assert_eq!(world.store.folders("pages/").await.unwrap().len(), 7);
}

pub async fn folders_are_the_first_level_below_a_prefix(world: World) {
    for name in [
        "points/orders/1/manifest",
        "points/orders/2/manifest",
        "points/users/1/x/y",
        "points/file",
        "heads/a",
        "heads-x/a",
    ] {
        world.store.put_new(&key(name), text(name)).await.unwrap();
    }
    assert_eq!(world.store.folders("").await.unwrap(), ["heads", "heads-x", "points"]);
    assert_eq!(world.store.folders("points/").await.unwrap(), ["orders", "users"]);
    assert_eq!(world.store.folders("points/orders/").await.unwrap(), ["1", "2"]);
    assert_eq!(world.store.folders("none/").await.unwrap(), Vec::<String>::new());
    world.store.delete(&key("points/users/1/x/y")).await.unwrap();
    if !world.markers_show {
        assert_eq!(world.store.folders("points/").await.unwrap(), ["orders"]);
    }
}

pub async fn a_listing_cannot_leave_the_store(world: World) {
    world.store.put_new(&key("a"), text("a")).await.unwrap();
    for prefix in ["../", "a/../../", "/etc/"] {
        let listed: Result<Vec<Entry>, StoreError> = world.store.list(prefix).try_collect().await;
        let nothing = listed.as_ref().map_or_else(|e| matches!(e, StoreError::BadKey(_)), Vec::is_empty);
        assert!(nothing, "{prefix}: {listed:?}");
    }
}
