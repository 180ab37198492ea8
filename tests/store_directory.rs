//! What is special about a directory as a store: other processes, links, strangers' files, crashes, no room.

#![allow(clippy::panic, clippy::assigning_clones, reason = "a test stops at the first surprise")]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a test that starts itself again speaks to itself by the environment")]

use davit::clock::SystemClock;
use davit::store::{LocalStore, ObjectKey, Put, Store, StoreError};
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

async fn open(path: &Path) -> Arc<LocalStore> {
    Arc::new(LocalStore::open(path, false, SystemClock::shared()).await.unwrap())
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_opened_the_same_directory_see_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (open(folder.path()).await, open(folder.path()).await);
    let mut tag = left.put_new(&key("lease"), Put::new("0")).await.unwrap().etag;
    for round in 1..=20 {
        let racers = (0..8).map(|racer| {
            let store = Arc::clone(if racer % 2 == 0 { &left } else { &right });
            let (tag, put) = (tag.clone(), Put::new(format!("{round} by {racer}")));
            tokio::spawn(async move { store.put_if_match(&key("lease"), put, &tag).await })
        });
        let outcomes: Vec<_> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
        let mut winners: Vec<_> = outcomes.into_iter().filter_map(Result::ok).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        tag = winners.remove(0).etag;
    }
}

#[tokio::test]
async fn a_tag_changes_even_if_size_and_time_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for length in [10, 100_000] {
        let name = key(&format!("of-{length}"));
        let mut seen = vec![store.put_new(&name, Put::new(vec![0; length])).await.unwrap().etag];
        for fill in 1..50 {
            let put = Put::new(vec![fill; length]);
            let etag = store.put_if_match(&name, put, seen.last().unwrap()).await.unwrap().etag;
            assert_eq!(store.head(&name, None).await.unwrap().etag, etag);
            assert!(!seen.contains(&etag));
            seen.push(etag);
        }
    }
}

#[tokio::test]
async fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let store = open(folder.path()).await;
    store.put_new(&key("a"), Put::new("x")).await.unwrap();
    symlink(outside.path(), folder.path().join("chunks")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("linked")).unwrap();
    for name in ["chunks/secret", "linked"] {
        let read = store.get(&key(name), None).await;
        assert!(matches!(read, Err(StoreError::Misconfigured(_))), "{read:?}");
        store.delete(&key(name)).await.unwrap_err();
    }
    store.put_new(&key("chunks/new"), Put::new("x")).await.unwrap_err();
    store.list("chunks/").count().await;
    let listed: Vec<String> = store.list("").map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, ["a"]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn the_directory_itself_may_be_reached_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    let store = open(&folder.path().join("link")).await;
    store.put_new(&key("a"), Put::new("x")).await.unwrap();
    assert!(folder.path().join("real/a").is_file());
}

#[tokio::test]
async fn what_strangers_left_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.put_new(&key("chunks/a"), Put::new("x")).await.unwrap();
    for name in ["chunks/a\\b", "chunks/~lock.dump.sql#", "backup.tar~"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    symlink("a", folder.path().join("chunks/link")).unwrap();
    fs::create_dir_all(folder.path().join("empty/below")).unwrap();
    let listed: Vec<String> = store.list("").map_ok(|entry| entry.key.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, ["chunks/a"]);
    assert_eq!(store.folders("").await.unwrap(), ["chunks"]);
}

#[tokio::test]
async fn a_name_below_an_object_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.put_new(&key("a"), Put::new("x")).await.unwrap();
    assert!(matches!(store.get(&key("a/b"), None).await, Err(StoreError::NotFound(_))));
    store.put_new(&key("a/b"), Put::new("y")).await.unwrap_err();
    assert_eq!(&store.get(&key("a"), None).await.unwrap().body[..], b"x");
}

#[tokio::test]
async fn what_a_dead_writer_left_goes_and_what_a_living_one_writes_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.put_new(&key("a"), Put::new("x")).await.unwrap();
    let dead = folder.path().join("~tmp/dead");
    let living = folder.path().join("~tmp/living");
    fs::write(&dead, "half").unwrap();
    let writer = fs::File::create(&living).unwrap();
    writer.lock().unwrap();
    open(folder.path()).await;
    assert!(!dead.exists());
    assert!(living.exists());
    assert_eq!(store.list("").count().await, 1);
}

#[tokio::test]
async fn a_put_leaves_one_file_and_a_delete_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.put_new(&key("points/a/1/manifest"), Put::new("x")).await.unwrap();
    store.put_new(&key("points/a/1/manifest"), Put::new("y")).await.unwrap_err();
    assert_eq!(fs::read_dir(folder.path().join("~tmp")).unwrap().count(), 0);
    assert_eq!(fs::metadata(folder.path().join("points/a/1/manifest")).unwrap().nlink(), 1);
    store.delete(&key("points/a/1/manifest")).await.unwrap();
    assert!(!folder.path().join("points").exists());
    assert!(folder.path().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_vanish_while_others_write_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let workers = (0..4).map(|worker| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..50 {
                let name = key(&format!("shared/deep/{worker}-{round}"));
                store.put_new(&name, Put::new("x")).await.unwrap();
                if round % 5 != 0 {
                    store.delete(&name).await.unwrap();
                }
            }
        })
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    assert_eq!(store.list("shared/").count().await, 40);
}

/// Where the small file system is, for the process that the next test starts inside its namespace.
const SMALL_DISK: &str = "DAVIT_TEST_SMALL_DISK";

#[tokio::test]
#[ignore = "mounts a small file system in a namespace of its own: make test"]
async fn a_full_disk_is_said_so_and_leaves_no_half_object() {
    let Ok(disk) = std::env::var(SMALL_DISK) else {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("unshare");
        child.args(["--mount", "--map-root-user", "sh", "-c"]);
        child.args(["mount -t tmpfs -o size=1m small \"$0\" && exec \"$@\""]).arg(folder.path());
        child.arg(std::env::current_exe().unwrap());
        child.args(["--exact", "a_full_disk_is_said_so_and_leaves_no_half_object", "--include-ignored"]);
        let output = child.env(SMALL_DISK, folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    };
    let disk = Path::new(&disk);
    let store = open(disk).await;
    store.put_new(&key("fits"), Put::new(vec![1; 300_000])).await.unwrap();
    let full = store.put_new(&key("too-large"), Put::new(vec![2; 900_000])).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    assert_eq!(fs::read_dir(disk.join("~tmp")).unwrap().count(), 0);
    assert_eq!(store.list("").count().await, 1);
    store.put_new(&key("small"), Put::new("x")).await.unwrap();
}
