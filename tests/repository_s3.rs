//! A repository on a real S3 server: locks hold, and neither a delete marker nor a newer version hides what they protect.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use bytes::Bytes;
use davit::clock::{SharedClock, SystemClock};
use davit::id::{PointId, RunId, SourceName};
use davit::repository::manifest::{ObjectLine, PointKind, Range};
use davit::repository::{BeginPoint, Committed, Depth, InitOptions, Repository, layout};
use davit::rowsum::RowSum;
use davit::secret::Secret;
use davit::store::{LockMode, ObjectKey, OpenOptions, S3Options, SharedStore, open};
use jiff::{SignedDuration, Timestamp};
use support::s3::{ACCESS_KEY, REGION, S3, SECRET_KEY};

const BUCKET: &str = "locked";
const PREFIX: &str = "davit";

async fn store_on(server: &S3, clock: &SharedClock) -> SharedStore {
    let s3 = S3Options {
        endpoint: Some(server.endpoint()),
        region: Some(REGION.to_owned()),
        keys: Some((ACCESS_KEY.to_owned(), Secret::new(SECRET_KEY))),
        ..S3Options::default()
    };
    let options = OpenOptions { s3, ..OpenOptions::default() };
    open(&format!("s3://{BUCKET}/{PREFIX}"), &options, clock.clone()).await.unwrap()
}

fn source() -> SourceName {
    "shop".parse().unwrap()
}

/// The same two chunks each time.
async fn back_up(repository: &Repository, lock_until: Option<Timestamp>) -> Committed {
    let now = repository.clock().now();
    let mut begin = BeginPoint::new(source(), PointKind::Command, "test", RunId::at(now), now);
    begin.lock_until = lock_until;
    let writer = repository.begin(begin).await.unwrap();
    let mut bytes = 0;
    for range in 0..2 {
        let plain = Bytes::from(format!("piece {range}\n").repeat(1000));
        bytes += plain.len() as u64;
        let chunk = writer.put_chunk(plain, RowSum::default()).await.unwrap().chunk;
        writer.add_range(Range { object: 0, range, pages: None, chunks: vec![chunk] }).await.unwrap();
    }
    let (kind, name, details) = ("dump".to_owned(), "output".to_owned(), serde_json::Value::Null);
    let object = ObjectLine { object: 0, kind, name, rows: RowSum::default(), bytes, ranges: 2, chunks: 2, details };
    writer.add_object(object).await.unwrap();
    writer.commit(0.0).await.unwrap()
}

async fn chunks_of(repository: &Repository, point: &PointId) -> Vec<ObjectKey> {
    let loaded = repository.load_point(&source(), point).await.unwrap();
    loaded.ranges.iter().flat_map(|range| &range.chunks).map(layout::chunk).collect()
}

async fn assert_reads_back(repository: &Repository, point: &PointId) {
    let loaded = repository.load_point(&source(), point).await.unwrap();
    assert_eq!(loaded.end.chunks, 2);
    for range in &loaded.ranges {
        let plain = repository.fetch_chunk(&range.chunks[0]).await.unwrap();
        assert!(plain.starts_with(format!("piece {}\n", range.range).as_bytes()));
    }
}

#[tokio::test]
#[ignore = "needs versitygw: make test"]
async fn what_a_longer_lived_point_uses_again_is_locked_as_long_and_cannot_be_hidden() {
    let server = S3::start();
    server.locking_bucket(BUCKET).await;
    let clock = SystemClock::shared();
    let store = store_on(&server, &clock).await;
    let options = InitOptions { lock: Some(LockMode::Governance), ..InitOptions::default() };
    let made = Repository::init(store.clone(), &options, clock.clone()).await.unwrap();
    assert!(
        made.features.object_lock && made.features.versioning && made.features.put_if_absent,
        "{:?}",
        made.features
    );
    let repository = made.repository;
    let now = clock.now();
    let (month, year) = (now + SignedDuration::from_hours(30 * 24), now + SignedDuration::from_hours(365 * 24));
    back_up(&repository, Some(month)).await;
    let second = back_up(&repository, Some(year)).await;
    assert_eq!(second.end.chunks_new, 0);
    let objects = chunks_of(&repository, &second.point).await;
    let (manifest, signature) =
        (layout::manifest(&source(), &second.point), layout::signature(&source(), &second.point));
    for key in objects.iter().chain([&manifest, &signature]) {
        let lock = store.head(key, None).await.unwrap().lock.unwrap();
        assert!(lock.until >= year, "{key}: {lock:?}");
    }

    // Somebody with access to the bucket deletes one chunk and the signature, and writes over the other chunk.
    let client = server.client();
    let full = |key: &ObjectKey| format!("{PREFIX}/{key}");
    for key in [&objects[0], &signature] {
        client.delete_object().bucket(BUCKET).key(full(key)).send().await.unwrap();
    }
    let junk = aws_sdk_s3::primitives::ByteStream::from_static(b"junk");
    client.put_object().bucket(BUCKET).key(full(&objects[1])).body(junk).send().await.unwrap();
    assert_reads_back(&repository, &second.point).await;
    let listing = repository.listing_of_chunks().await.unwrap();
    let report = repository.check_point(&source(), &second.point, Depth::Stored, &listing).await.unwrap();
    assert_eq!(report.damage.len(), 2, "verify tells that the current versions are not what was stored: {report:?}");

    // The locked versions themselves cannot be taken away.
    for entry in store.versions(objects[1].as_str()).await.unwrap().iter().filter(|entry| !entry.latest) {
        let gone =
            client.delete_object().bucket(BUCKET).key(full(&objects[1])).version_id(&entry.version.0).send().await;
        assert!(gone.is_err(), "a locked version was deleted");
    }
    // The next backup does not use what it cannot see whole.
    assert_eq!(back_up(&repository, Some(year)).await.end.chunks_new, 2);
}
