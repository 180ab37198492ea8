//! Makes a repository of many points, for `benches/peers/points.sh`, which measures how long `davit points` takes to list
//! them from S3.
//!
//! `cargo bench --bench many_points -- DIRECTORY [POINTS [SOURCES]]` makes the repository in `DIRECTORY/repository` and
//! its keys in `DIRECTORY/keys`: 10,000 points of 100 sources if no numbers are given. Each point is made as a backup
//! makes it; all points of a source have the same content, one chunk of a few bytes: a listing reads none, and a
//! backup would have to list more of them with every point. Without a directory it makes 50 points and takes them away again,
//! so that `make bench` and a build of everything have something to do. A directory in memory (`/dev/shm`) makes it
//! quick: every object is synced.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and stops where it cannot go on")]

use bytes::Bytes;
use davit::clock::SystemClock;
use davit::id::{RunId, SourceName};
use davit::repository::manifest::{ObjectLine, PointKind, Range};
use davit::repository::{BeginPoint, InitOptions, Repository};
use davit::rowsum::RowSum;
use davit::store::{OpenOptions, open};
use jiff::{Timestamp, ToSpan};
use std::path::{Path, PathBuf};

/// Makes one point of one chunk, as of `time`.
async fn make(repository: &Repository, source: &SourceName, time: Timestamp) {
    let begin = BeginPoint::new(source.clone(), PointKind::Command, "bench", RunId::at(time), time);
    let writer = repository.begin(begin).await.unwrap();
    writer.set_snapshot(time, serde_json::Value::Null).unwrap();
    let plain = Bytes::from(format!("{source}\n"));
    let bytes = plain.len() as u64;
    let chunk = writer.put_chunk(plain, RowSum::default()).await.unwrap().chunk;
    writer.add_range(Range { object: 0, range: 0, pages: None, chunks: vec![chunk] }).await.unwrap();
    let object = ObjectLine {
        object: 0,
        kind: "dump".into(),
        name: "time".into(),
        rows: RowSum::default(),
        bytes,
        ranges: 1,
        chunks: 1,
        details: serde_json::Value::Null,
    };
    writer.add_object(object).await.unwrap();
    writer.commit(0.0).await.unwrap();
}

async fn make_all(directory: &Path, points: i64, sources: i64) {
    let clock = SystemClock::shared();
    let options = OpenOptions { create: true, ..OpenOptions::default() };
    let store = open(directory.join("repository").to_str().unwrap(), &options, clock.clone()).await.unwrap();
    let keys = directory.join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    let init = InitOptions { keys_dir: Some(keys), ..InitOptions::default() };
    let repository = Repository::init(store, &init, clock.clone()).await.unwrap().repository;
    let began = clock.monotonic();
    let first: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
    let one = |source: i64| {
        let repository = repository.clone();
        tokio::spawn(async move {
            let name: SourceName = format!("source-{source}").parse().unwrap();
            for number in 0..points / sources {
                make(&repository, &name, first + number.hours()).await;
            }
        })
    };
    let all: Vec<_> = (0..sources).map(one).collect();
    for made in all {
        made.await.unwrap();
    }
    let took = clock.monotonic().checked_sub(began).unwrap();
    println!("{points} points of {sources} sources were made in {:.1} s", took.as_secs_f64());
}

#[tokio::main]
async fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with('-')).collect();
    let number = |place: usize, default: i64| given.get(place).map_or(default, |text| text.parse().unwrap());
    if let Some(directory) = given.first() {
        make_all(&PathBuf::from(directory), number(1, 10_000), number(2, 100)).await;
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    make_all(directory.path(), 50, 5).await;
}
