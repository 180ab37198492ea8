//! Listings of objects, folders and versions, a page of 1,000 names at a time.

use super::super::{Entry, ObjectKey, StoreError, VersionEntry, VersionId};
use super::{S3Store, length_of, time_of};
use aws_sdk_s3::types::{BucketVersioningStatus, DeleteMarkerEntry, Object, ObjectVersion};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};

/// How many names a page has; the most a server gives.
const PAGE: i32 = 1000;

/// Where a listing stands between two pages.
enum Next {
    First(Option<String>),
    More(String),
    End,
}

/// The current objects behind `after`.
pub(super) fn objects<'a>(
    store: &'a S3Store,
    prefix: &str,
    after: Option<&ObjectKey>,
) -> BoxStream<'a, Result<Entry, StoreError>> {
    let prefix = format!("{}{prefix}", store.prefix);
    let first = Next::First(after.map(|after| store.name(after)));
    let pages = stream::try_unfold((prefix, first), move |(prefix, next)| async move {
        let request = store.connection.client.list_objects_v2().bucket(&store.bucket).prefix(&prefix).max_keys(PAGE);
        let request = match next {
            Next::First(after) => request.set_start_after(after),
            Next::More(token) => request.continuation_token(token),
            Next::End => return Ok(None),
        };
        let page = store.ask("s3:ListBucket", "", request.send()).await?;
        let next = next_of(page.is_truncated(), page.next_continuation_token())?;
        let entries: Vec<Entry> = page.contents().iter().filter_map(|object| entry(store, object)).collect();
        Ok::<_, StoreError>(Some((entries, (prefix, next))))
    });
    pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten().boxed()
}

/// The folders right below `prefix`, at most about `limit` of them.
pub(super) async fn folders(store: &S3Store, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
    let whole = format!("{}{prefix}", store.prefix);
    let parent = whole.rfind('/').map_or(0, |end| end + 1);
    let page_size = i32::try_from(limit).unwrap_or(PAGE).min(PAGE);
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let request = store.connection.client.list_objects_v2().bucket(&store.bucket).prefix(&whole).delimiter("/");
        let request = request.max_keys(page_size).set_continuation_token(token.take());
        let page = store.ask("s3:ListBucket", "", request.send()).await?;
        let names = page.common_prefixes().iter().filter_map(|common| common.prefix());
        found.extend(names.filter_map(|name| name.get(parent..)?.strip_suffix('/')).map(ToOwned::to_owned));
        match next_of(page.is_truncated(), page.next_continuation_token())? {
            Next::More(next) if found.len() < limit && limit > 1 => token = Some(next),
            _ => break,
        }
    }
    // The server sorts `a-b/` before `a/`.
    found.sort_unstable();
    Ok(found)
}

/// A server that says there is more must say where, or part of the names would silently be missing.
fn next_of(truncated: Option<bool>, token: Option<&str>) -> Result<Next, StoreError> {
    match (truncated.unwrap_or(false), token) {
        (false, _) => Ok(Next::End),
        (true, Some(token)) => Ok(Next::More(token.to_owned())),
        (true, None) => {
            Err(StoreError::Other("listing: the server left names out and did not say where to go on".into()))
        }
    }
}

fn entry(store: &S3Store, object: &Object) -> Option<Entry> {
    let key = key_of(store, object.key()?)?;
    Some(Entry { key, size: length_of(object.size()), modified: time_of(object.last_modified()) })
}

/// `None` for what no store of ours made: another tool's folder mark, a name with spaces.
fn key_of(store: &S3Store, name: &str) -> Option<ObjectKey> {
    let key = name.strip_prefix(&store.prefix).and_then(|name| ObjectKey::new(name).ok());
    if key.is_none() {
        tracing::debug!(name, "left out of a listing: not a name of ours");
    }
    key
}

/// Every version and delete marker, by name and newest first.
pub(super) async fn versions(store: &S3Store, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
    let prefix = format!("{}{prefix}", store.prefix);
    let mut found = Vec::new();
    let (mut key_marker, mut version_marker) = (None, None);
    loop {
        let request = store.connection.client.list_object_versions().bucket(&store.bucket).prefix(&prefix);
        let request = request.max_keys(PAGE).set_key_marker(key_marker).set_version_id_marker(version_marker);
        let page = store.ask("s3:ListBucketVersions", "", request.send()).await?;
        found.extend(page.delete_markers().iter().filter_map(|marker| marker_entry(store, marker)));
        found.extend(page.versions().iter().filter_map(|version| version_entry(store, version)));
        if !page.is_truncated().unwrap_or(false) {
            break;
        }
        key_marker = page.next_key_marker().map(ToOwned::to_owned);
        version_marker = page.next_version_id_marker().map(ToOwned::to_owned);
        next_of(Some(true), key_marker.as_deref())?;
    }
    // The answer has versions and markers apart; within one of them the server's order is right.
    found.sort_by(|a, b| a.key.cmp(&b.key).then(b.latest.cmp(&a.latest)).then(b.modified.cmp(&a.modified)));
    let unversioned = !found.is_empty() && found.iter().all(|entry| entry.version.0 == "null");
    if unversioned && store.keeps_versions().await?.is_none() {
        return Err(StoreError::Unsupported("versions"));
    }
    Ok(found)
}

fn version_entry(store: &S3Store, version: &ObjectVersion) -> Option<VersionEntry> {
    Some(VersionEntry {
        key: key_of(store, version.key()?)?,
        version: VersionId(version.version_id()?.to_owned()),
        size: length_of(version.size()),
        modified: time_of(version.last_modified()),
        latest: version.is_latest().unwrap_or(false),
        delete_marker: false,
    })
}

fn marker_entry(store: &S3Store, marker: &DeleteMarkerEntry) -> Option<VersionEntry> {
    Some(VersionEntry {
        key: key_of(store, marker.key()?)?,
        version: VersionId(marker.version_id()?.to_owned()),
        size: 0,
        modified: time_of(marker.last_modified()),
        latest: marker.is_latest().unwrap_or(false),
        delete_marker: true,
    })
}

/// Whether the bucket keeps versions; `None` if we are not allowed to ask.
pub(super) async fn versioning(store: &S3Store) -> Result<Option<bool>, StoreError> {
    let sent = store.connection.client.get_bucket_versioning().bucket(&store.bucket).send();
    match store.ask("s3:GetBucketVersioning", "", sent).await {
        // A bucket whose versioning is suspended still has its old versions.
        Ok(answer) => {
            use BucketVersioningStatus::{Enabled, Suspended};
            Ok(Some(matches!(answer.status(), Some(Enabled | Suspended))))
        }
        Err(StoreError::Denied { .. }) => Ok(None),
        Err(StoreError::Unsupported(_)) => Ok(Some(false)),
        Err(error) => Err(error),
    }
}
