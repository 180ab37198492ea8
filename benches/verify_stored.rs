//! How fast is `verify --depth stored` from a local store? Asked for: 500 MB/s per core.
//!
//! SHA-256 runs at 1.3 GiB/s on the machine this was written on, and a read from the page cache is one copy; the sketch
//! says about 1 GB/s for one core. The last line it prints divides by processor time, which is what one core does even
//! if others are busy (Linux only: it comes from `/proc/self/stat`).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and stops where it cannot go on")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use davit::clock::SystemClock;
use davit::id::{RunId, SourceName};
use davit::repository::manifest::{ObjectLine, PointKind, Range};
use davit::repository::{BeginPoint, Depth, InitOptions, Repository};
use davit::rowsum::RowSum;
use davit::store::{OpenOptions, open};
use rand::RngExt;

/// Plaintext that does not compress, so that every stored byte is hashed: 24 chunks of 16 MiB.
const CHUNKS: u32 = 24;
const CHUNK_BYTES: usize = 16 << 20;

async fn make(path: &str) -> (Repository, SourceName) {
    let clock = SystemClock::shared();
    let options = OpenOptions { create: true, ..OpenOptions::default() };
    let store = open(path, &options, clock.clone()).await.unwrap();
    let repository = Repository::init(store, &InitOptions::default(), clock.clone()).await.unwrap().repository;
    let source: SourceName = "bench".parse().unwrap();
    let now = clock.now();
    let begin = BeginPoint::new(source.clone(), PointKind::Command, "bench", RunId::at(now), now);
    let writer = repository.begin(begin).await.unwrap();
    let mut bytes = 0;
    for range in 0..CHUNKS {
        let mut plain = vec![0; CHUNK_BYTES];
        rand::rng().fill(&mut plain[..]);
        bytes += plain.len() as u64;
        let chunk = writer.put_chunk(Bytes::from(plain), RowSum::default()).await.unwrap().chunk;
        writer.add_range(Range { object: 0, range, pages: None, chunks: vec![chunk] }).await.unwrap();
    }
    let object = ObjectLine {
        object: 0,
        kind: "dump".into(),
        name: "noise".into(),
        rows: RowSum::default(),
        bytes,
        ranges: CHUNKS,
        chunks: CHUNKS.into(),
        details: serde_json::Value::Null,
    };
    writer.add_object(object).await.unwrap();
    writer.commit(0.0).await.unwrap();
    (repository, source)
}

fn verify_stored(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (repository, source) = runtime.block_on(make(directory.path().to_str().unwrap()));
    let point = runtime.block_on(repository.points(Some(&source))).unwrap().remove(0);
    let mut group = criterion.benchmark_group("verify stored from a local store");
    group.sample_size(10).throughput(Throughput::Bytes(point.end.stored));
    group.bench_function("24 chunks of 16 MiB", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let listing = repository.listing_of_chunks().await.unwrap();
            let report = repository.check_point(&source, point.point(), Depth::Stored, &listing).await.unwrap();
            assert_eq!((report.chunks, report.damage.len()), (CHUNKS.into(), 0));
        });
    });
    group.finish();
    let before = processor_seconds();
    let rounds = 5;
    for _ in 0..rounds {
        let listing = runtime.block_on(repository.listing_of_chunks()).unwrap();
        let check = repository.check_point(&source, point.point(), Depth::Stored, &listing);
        assert_eq!(runtime.block_on(check).unwrap().damage.len(), 0);
    }
    let megabytes = point.end.stored * rounds / 1_000_000;
    let rate = f64::from(u32::try_from(megabytes).unwrap()) / (processor_seconds() - before);
    println!("verify stored from a local store: {rate:.0} MB per second of one core");
}

/// User and system time of this process so far; the kernel counts in hundredths.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

criterion_group!(benches, verify_stored);
criterion_main!(benches);
