//! Backups in a bucket: whole, unfinished, foreign and damaged ones.

use super::super::archive::tests::gzipped;
use super::super::tar::tests::archive;
use super::*;
use crate::clock::SimClock;
use crate::store::{MemoryStore, Put};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;

fn bucket() -> SharedStore {
    MemoryStore::new(Arc::new(SimClock::at(Timestamp::UNIX_EPOCH)))
}

async fn put(store: &SharedStore, name: &str, body: impl Into<Vec<u8>>) {
    let body: Vec<u8> = body.into();
    store.put_new(&ObjectKey::new(name).unwrap(), Put::new(body)).await.unwrap();
}

fn description(name: &str, phase: &str, format: &str) -> Vec<u8> {
    json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name},
        "spec": {"includedNamespaces": ["shop"]},
        "status": {"phase": phase, "formatVersion": format, "version": 1, "startTimestamp": "2026-01-24T01:00:00Z",
            "warnings": 1, "progress": {"itemsBackedUp": 2, "totalItems": 2}}})
    .to_string()
    .into_bytes()
}

async fn objects() -> Vec<u8> {
    let web = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "uid": "u"}});
    let tar = archive(&[
        ("metadata/version", b"1.1.0\n"),
        ("resources/pods/namespaces/shop/web.json", web.to_string().as_bytes()),
        ("resources/pods/v1-preferredversion/namespaces/shop/web.json", web.to_string().as_bytes()),
    ]);
    gzipped(&tar).await
}

async fn whole(store: &SharedStore, name: &str, phase: &str) {
    put(store, &format!("backups/{name}/velero-backup.json"), description(name, phase, "1.1.0")).await;
    put(store, &format!("backups/{name}/{name}.tar.gz"), objects().await).await;
}

#[tokio::test]
async fn backups_are_listed_with_how_they_ended_and_why_one_cannot_be_restored() {
    let store = bucket();
    whole(&store, "a", "Completed").await;
    whole(&store, "b", "PartiallyFailed").await;
    whole(&store, "c", "InProgress").await;
    put(&store, "backups/d/d-logs.gz", *b"x").await;
    put(&store, "backups/e/velero-backup.json", description("other", "Completed", "1.1.0")).await;
    put(&store, "backups/f/velero-backup.json", description("f", "Completed", "2.0.0")).await;
    put(&store, "backups/g/velero-backup.json", *b"{").await;
    put(&store, "kopia/shop/x", *b"x").await;
    let found = list(&store).await.unwrap();
    let told: Vec<String> = found
        .iter()
        .map(|one| format!("{} {} {}", one.name, one.phase, one.unusable.as_deref().unwrap_or("-")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    a Completed -
    b PartiallyFailed -
    c InProgress it did not come to its end: InProgress
    d  it has no velero-backup.json: it was never finished
    e Completed its velero-backup.json is of another backup, "other"
    f Completed its format 2.0.0 is not known
    g  its velero-backup.json cannot be read: EOF while parsing an object at line 1 column 1
    "#);
    assert_eq!((found[0].namespaces.as_slice(), found[0].items, found[0].warnings), (&["shop".to_owned()][..], 2, 1));
}

#[tokio::test]
async fn a_bucket_without_backups_is_not_an_empty_list() {
    let error = list(&bucket()).await.unwrap_err();
    assert_eq!(error.to_string(), "listing the Velero backups: there is no folder backups/ here");
}

#[tokio::test]
async fn a_backup_is_opened_with_its_objects_its_errors_and_the_volumes_that_are_not_in_it() {
    let store = bucket();
    whole(&store, "a", "PartiallyFailed").await;
    let listed = json!({"v1/Pod": ["shop/web", "shop/lost"]});
    put(&store, "backups/a/a-resource-list.json.gz", gzipped(listed.to_string().as_bytes()).await).await;
    let results = json!({"errors": {"velero": ["boom"], "namespaces": {"shop": ["pod lost: hook failed"]}}, "warnings": {"velero": ["w"]}});
    put(&store, "backups/a/a-results.gz", gzipped(results.to_string().as_bytes()).await).await;
    let volumes = json!([
        {"pvcName": "data", "pvcNamespace": "shop", "backupMethod": "CSISnapshot", "csiSnapshotInfo": {"driver": "ebs", "snapshotHandle": "snap-1"}},
        {"pvcName": "logs", "pvcNamespace": "shop", "skipped": true, "skippedReason": "policy"},
        {"pvcName": "old", "pvcNamespace": "shop", "backupMethod": "PodVolumeBackup", "pvbInfo": {"snapshotHandle": "k1"}},
        {"pvcName": "moved", "pvcNamespace": "shop", "backupMethod": "CSISnapshot", "snapshotDataMoved": true,
            "snapshotDataMovementInfo": {"snapshotHandle": "k2"}}]);
    put(&store, "backups/a/a-volumeinfo.json.gz", gzipped(volumes.to_string().as_bytes()).await).await;
    let opened = open(&store, "a").await.unwrap();
    assert_eq!(opened.objects.len(), 1);
    assert!(!opened.complete);
    assert_eq!(
        opened.errors,
        ["pod lost: hook failed", "boom", "v1/Pod shop/lost is in Velero's list but not in its archive"]
    );
    let kept: Vec<String> = opened.volumes.iter().map(|one| format!("{}: {}", one.claim, one.kept)).collect();
    assert_eq!(
        kept,
        [
            "data: in a snapshot of ebs: snap-1",
            "logs: nowhere: Velero skipped it (policy)",
            "old: in Velero's kopia repository, snapshot k1",
            "moved: in Velero's kopia repository, snapshot k2"
        ]
    );
}

#[tokio::test]
async fn an_unfinished_or_damaged_backup_is_not_opened() {
    let store = bucket();
    whole(&store, "c", "Deleting").await;
    let error = open(&store, "c").await.unwrap_err();
    assert_eq!(error.to_string(), "reading the Velero backup c: it did not come to its end: Deleting");
    put(&store, "backups/t/velero-backup.json", description("t", "Completed", "1.1.0")).await;
    let bytes = objects().await;
    put(&store, "backups/t/t.tar.gz", &bytes[..bytes.len() / 2]).await;
    let error = open(&store, "t").await.unwrap_err();
    assert!(
        error.to_string().starts_with("reading the Velero backup t: reading the archive of objects: it is truncated"),
        "{error}"
    );
    assert!(open(&store, "../c").await.is_err());
    put(&store, "backups/s/velero-backup.json", description("s", "Completed", "1.1.0")).await;
    put(&store, "backups/s/s.tar.gz", bytes).await;
    put(&store, "backups/s/s-results.gz", *b"no gzip").await;
    assert!(open(&store, "s").await.is_err());
}

#[tokio::test]
async fn a_name_that_no_backup_has_is_told_with_the_nearest_one() {
    let store = bucket();
    whole(&store, "daily-2", "Completed").await;
    put(&store, "backups/daily-9/daily-9-logs.gz", *b"x").await;
    let error = open(&store, "daly-2").await.unwrap_err();
    assert_eq!(error.to_string(), "reading the Velero backup daly-2: there is none of that name");
    assert_eq!((error.kind().exit_code(), error.hint_text()), (2, Some("did you mean daily-2?")));
    let error = open(&store, "daily-9").await.unwrap_err();
    assert!(error.to_string().ends_with("it was never finished"), "{error}");
}

#[tokio::test]
async fn a_small_complete_backup_is_complete() {
    let store = bucket();
    whole(&store, "a", "Completed").await;
    assert!(open(&store, "a").await.unwrap().complete);
}
