//! How much memory does a point of a million chunks take, to make, to follow with another one, and to check? Asked for:
//! 256 MiB at most, together with the chunks under way.
//!
//! The sketch: 64 MB of index, about 110 MB of manifest (ids, nonces and hashes do not compress), 32 MB of listing, not
//! all at once. The chunks are tiny and their objects are not kept; everything else lies in a directory.
//! `cargo bench --bench million_chunks -- 1000000` takes some minutes; without the number it makes 100,000. Linux only:
//! the peak comes from `/proc/self/status`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and stops where it cannot go on")]

use async_trait::async_trait;
use bytes::Bytes;
use davit::clock::{Clock, SystemClock};
use davit::id::{RunId, SourceName};
use davit::repository::manifest::{ObjectLine, PointKind, Range};
use davit::repository::{BeginPoint, Depth, InitOptions, Repository};
use davit::rowsum::RowSum;

use davit::store::{
    ETag, Entry, Features, Lock, Meta, Object, ObjectKey, OpenOptions, Put, Reading, SharedStore, Store, StoreError,
    Stored, VersionEntry, VersionId, open,
};
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A store that keeps names and sizes of chunks in a file, and everything else in another store.
#[derive(Debug)]
struct WithoutChunks {
    rest: SharedStore,
    names: PathBuf,
    writer: Mutex<std::io::BufWriter<std::fs::File>>,
}

impl WithoutChunks {
    fn listed(&self, prefix: &str) -> impl Iterator<Item = Entry> + Send + use<> {
        self.writer.lock().unwrap().flush().unwrap();
        let prefix = prefix.to_owned();
        let lines = BufReader::new(std::fs::File::open(&self.names).unwrap()).lines();
        lines.filter_map(move |line| {
            let line = line.unwrap();
            let (name, size) = line.split_once(' ')?;
            name.starts_with(&prefix).then(|| Entry {
                key: ObjectKey::new(name).unwrap(),
                size: size.parse().unwrap(),
                modified: Timestamp::UNIX_EPOCH,
            })
        })
    }
}

#[async_trait]
impl Store for WithoutChunks {
    fn describe(&self) -> String {
        self.rest.describe()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        if !key.as_str().starts_with("chunks/") {
            return self.rest.put_new(key, put).await;
        }
        writeln!(self.writer.lock().unwrap(), "{key} {}", put.body.len()).unwrap();
        Ok(Stored { etag: ETag("tag".into()), version: None })
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        self.rest.put_if_match(key, put, expected).await
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        self.rest.get(key, version).await
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        self.rest.read_from(key, version, from).await
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        self.rest.head(key, version).await
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        if prefix.starts_with("chunks/") {
            return stream::iter(self.listed(prefix)).map(Ok).boxed();
        }
        self.rest.list_after(prefix, after)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.rest.folders(prefix).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        self.rest.versions(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.rest.delete(key).await
    }

    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError> {
        self.rest.delete_version(key, version).await
    }

    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError> {
        self.rest.extend_lock(key, version, lock).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        self.rest.clock().await
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        self.rest.probe().await
    }
}

fn begin(clock: &dyn Clock) -> BeginPoint {
    let source: SourceName = "bench".parse().unwrap();
    BeginPoint::new(source, PointKind::Command, "bench", RunId::at(clock.now()), clock.now())
}

/// Makes a point of `count` chunks that differ by their number.
async fn make(repository: &Repository, count: u64) -> u64 {
    let writer = repository.begin(begin(repository.clock().as_ref())).await.unwrap();
    let mut bytes = 0;
    let mut made = stream::iter(0..count)
        .map(|number| {
            let writer = &writer;
            async move { writer.put_chunk(Bytes::from(format!("{number}\n")), RowSum::default()).await.unwrap().chunk }
        })
        .buffered(8)
        .enumerate();
    let mut ranges = 0;
    while let Some((number, chunk)) = made.next().await {
        bytes += chunk.bytes;
        ranges = u32::try_from(number).unwrap() + 1;
        let range = Range { object: 0, range: ranges - 1, pages: None, chunks: vec![chunk] };
        writer.add_range(range).await.unwrap();
    }
    drop(made);
    let object = ObjectLine {
        object: 0,
        kind: "dump".into(),
        name: "numbers".into(),
        rows: RowSum::default(),
        bytes,
        ranges,
        chunks: count,
        details: serde_json::Value::Null,
    };
    writer.add_object(object).await.unwrap();
    writer.commit(0.0).await.unwrap().end.chunks_new
}

/// Peak resident memory since the last call, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    // 5 makes the kernel forget the peak (proc_pid_clear_refs(5)).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    kib / 1024
}

#[tokio::main]
async fn main() {
    let count: u64 = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(100_000);
    let directory = tempfile::tempdir().unwrap();
    let clock = SystemClock::shared();
    let options = OpenOptions { create: true, ..OpenOptions::default() };
    let rest = open(directory.path().join("rest").to_str().unwrap(), &options, clock.clone()).await.unwrap();
    let names = directory.path().join("names");
    let writer = Mutex::new(std::io::BufWriter::new(std::fs::File::create(&names).unwrap()));
    let store: SharedStore = Arc::new(WithoutChunks { rest, names, writer });
    let repository = Repository::init(store, &InitOptions::default(), clock.clone()).await.unwrap().repository;
    let mut step = clock.monotonic();
    let mut report = |what: &str| {
        let took = clock.monotonic().checked_sub(step).unwrap();
        println!("{what}: {} MiB peak, {:.1} s", peak_mib(), took.as_secs_f64());
        step = clock.monotonic();
    };
    report("an empty repository");
    assert_eq!(make(&repository, count).await, count);
    report(&format!("a first point of {count} chunks"));
    assert_eq!(make(&repository, count).await, 0);
    report(&format!("a second point of {count} chunks, all of them used again"));
    let point = repository.points(None).await.unwrap().remove(0);
    let listing = repository.listing_of_chunks().await.unwrap();
    let checked = repository.check_point(&point.source, point.point(), Depth::Listed, &listing).await.unwrap();
    assert_eq!((checked.chunks, checked.damage.len()), (count, 0));
    report(&format!("a check of {count} chunks at depth listed"));
}
