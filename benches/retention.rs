//! How long does it take to decide about 100,000 recovery points? Asked for: under one second.
//!
//! Each decision reads two or three dates and writes a sentence; at about a microsecond for a calendar operation the
//! sketch says 0.3 seconds.
#![expect(clippy::unwrap_used, reason = "a benchmark stops where it cannot go on")]

use criterion::{Criterion, criterion_group, criterion_main};
use davit::id::PointId;
use davit::repository::Depth;
use davit::retention::policy::{PointFacts, Rules, decide};
use jiff::{Timestamp, ToSpan};

fn points(count: i64) -> Vec<PointFacts> {
    let first: Timestamp = "2015-01-01T00:00:00Z".parse().unwrap();
    let point = |number: i64| {
        let time = first + number.hours();
        let verified = (number % 24 == 0).then_some(Depth::Restored);
        PointFacts {
            point: PointId::at(time),
            time,
            tier: None,
            hold: None,
            verified,
            damaged: false,
            incomplete: false,
        }
    };
    (0..count).map(point).collect()
}

fn decide_for_many(criterion: &mut Criterion) {
    let points = points(100_000);
    let now = points[points.len() - 1].time + 1.hour();
    let yaml = "hourly: 48 hours\ndaily: 30 days\nweekly: 90 days\nmonthly: 1 year\nyearly: 5\nkeep_last: 10\n\
                keep_within: 3 days\ntime_zone: Europe/Berlin";
    let rules: Rules = serde_saphyr::from_str(yaml).unwrap();
    criterion.bench_function("retention over 100,000 points", |bencher| {
        bencher.iter(|| decide(&points, &rules, now));
    });
}

criterion_group! {
    name = retention;
    config = Criterion::default().sample_size(10);
    targets = decide_for_many
}
criterion_main!(retention);
