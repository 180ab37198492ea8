//! Success, latency and acknowledged writes over time, in few points that hide nothing.
//!
//! A day of probes has more points than a page has dots. Each bucket keeps how many probes were good, bad and not sent, the
//! middle latency and the *slowest* one: a single failure or a single slow answer stays visible at any scale. The time
//! around the fault comes a second time, finer.

use super::words::secs;
use crate::measure::{Answer, Outcome, Sample, Writes};
use crate::report::journal::LagSeen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// A graph has so many columns: more are not seen.
const BUCKETS: u32 = 360;

/// What was seen over a time, in equal buckets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Which time this is.
    pub name: String,
    /// When the first bucket begins, in seconds since the drill did.
    pub from: f64,
    /// How long a bucket is.
    pub step: f64,
    /// Each stream.
    pub streams: Vec<StreamSeries>,
    /// Acknowledged writes of each bucket; empty where no ledger was kept.
    pub acknowledged: Vec<u32>,
    /// Those of them that were lost.
    pub lost: Vec<u32>,
    /// The most bytes of its primary's log in each bucket that the standby had not replayed; empty where that was not seen.
    #[serde(default)]
    pub lag_bytes: Vec<Option<u64>>,
    /// By how many seconds at most what it showed was old.
    #[serde(default)]
    pub lag_seconds: Vec<Option<f64>>,
}

/// One stream, bucket by bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamSeries {
    /// Its name.
    pub stream: String,
    /// Acknowledged probes.
    pub good: Vec<u32>,
    /// Failed ones.
    pub bad: Vec<u32>,
    /// Those that were due and not sent.
    pub not_sent: Vec<u32>,
    /// The middle latency of those acknowledged, in milliseconds.
    pub p50_ms: Vec<Option<f64>>,
    /// The slowest of them.
    pub max_ms: Vec<Option<f64>>,
}

/// A time to draw.
pub(super) struct Frame {
    pub(super) name: &'static str,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

/// What is drawn.
pub(super) struct Drawn<'a> {
    /// The drill's beginning.
    pub(super) zero: Duration,
    pub(super) streams: Vec<DrawnStream<'a>>,
    pub(super) attempts: &'a dyn Writes,
    pub(super) lag: &'a [LagSeen],
    pub(super) lost: &'a BTreeSet<u64>,
}

/// A stream that is drawn.
pub(super) struct DrawnStream<'a> {
    pub(super) name: &'a str,
    /// Between two probes.
    pub(super) every: Duration,
    /// Its samples, as often as they are asked for.
    pub(super) samples: Box<dyn Fn() -> Box<dyn Iterator<Item = Sample> + 'a> + 'a>,
}

impl Frame {
    /// The series over this time.
    pub(super) fn draw(&self, drawn: &Drawn<'_>) -> Series {
        let finest = drawn.streams.iter().map(|stream| stream.every).max().unwrap_or(Duration::from_millis(100));
        let span = self.until.saturating_sub(self.from);
        let step = (span / BUCKETS).max(finest).max(Duration::from_millis(1));
        let buckets = Buckets { from: self.from, step, count: count(span, step) };
        let (acknowledged, lost) = buckets.writes(drawn.attempts, drawn.lost);
        let streams = drawn.streams.iter().map(|stream| buckets.stream(stream)).collect();
        let (lag_bytes, lag_seconds) = buckets.lag(drawn.lag);
        let from = secs(self.from.saturating_sub(drawn.zero));
        let name = self.name.to_owned();
        Series { name, from, step: secs(step), streams, acknowledged, lost, lag_bytes, lag_seconds }
    }
}

struct Buckets {
    from: Duration,
    step: Duration,
    count: usize,
}

impl Buckets {
    fn of(&self, at: Duration) -> Option<usize> {
        let past = at.checked_sub(self.from)?;
        let bucket = usize::try_from(past.as_nanos() / self.step.as_nanos()).ok()?;
        (bucket < self.count).then_some(bucket)
    }

    fn stream(&self, stream: &DrawnStream<'_>) -> StreamSeries {
        // Microseconds: finer than what is drawn, and short, because a day has a million of them.
        let mut latencies: Vec<Vec<u32>> = vec![Vec::new(); self.count];
        let (mut good, mut bad, mut not_sent) = (vec![0; self.count], vec![0; self.count], vec![0; self.count]);
        for sample in (stream.samples)() {
            let Some(at) = self.of(sample.due) else { continue };
            match sample.answer {
                Answer::Good => {
                    good[at] += 1;
                    latencies[at].push(u32::try_from(sample.latency().as_micros()).unwrap_or(u32::MAX));
                }
                Answer::Refused(_) | Answer::Silent => bad[at] += 1,
                Answer::NotSent => not_sent[at] += 1,
            }
        }
        let millis = |micros: &u32| f64::from(*micros) / 1e3;
        let (mut p50_ms, mut max_ms) = (Vec::with_capacity(self.count), Vec::with_capacity(self.count));
        for bucket in &mut latencies {
            bucket.sort_unstable();
            p50_ms.push(bucket.get(bucket.len() / 2).map(millis).map(rounded));
            max_ms.push(bucket.last().map(millis).map(rounded));
        }
        StreamSeries { stream: stream.name.to_owned(), good, bad, not_sent, p50_ms, max_ms }
    }

    fn writes(&self, attempts: &dyn Writes, gone: &BTreeSet<u64>) -> (Vec<u32>, Vec<u32>) {
        let mut attempts = attempts.each().peekable();
        if attempts.peek().is_none() {
            return (Vec::new(), Vec::new());
        }
        let (mut acknowledged, mut lost) = (vec![0; self.count], vec![0; self.count]);
        for attempt in attempts.filter(|attempt| attempt.outcome == Outcome::Ok) {
            let Some(at) = self.of(attempt.ended) else { continue };
            acknowledged[at] += 1;
            lost[at] += u32::from(gone.contains(&attempt.id));
        }
        (acknowledged, lost)
    }
}

impl Buckets {
    /// The most of each bucket.
    fn lag(&self, seen: &[LagSeen]) -> (Vec<Option<u64>>, Vec<Option<f64>>) {
        if seen.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let (mut bytes, mut millis) = (vec![None; self.count], vec![None; self.count]);
        for one in seen {
            let Some(at) = self.of(one.at) else { continue };
            bytes[at] = bytes[at].max(one.bytes);
            millis[at] = millis[at].max(one.millis);
        }
        let seconds = |millis: Option<u64>| millis.map(|millis| secs(Duration::from_millis(millis)));
        (bytes, millis.into_iter().map(seconds).collect())
    }
}

fn count(span: Duration, step: Duration) -> usize {
    usize::try_from(span.as_nanos().div_ceil(step.as_nanos().max(1))).unwrap_or_default().max(1)
}

/// To the hundredth of a millisecond.
fn rounded(millis: f64) -> f64 {
    (millis * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Attempt;

    #[test]
    fn one_failure_in_a_day_is_still_seen_in_its_bucket() {
        let every = Duration::from_millis(100);
        let samples: Vec<Sample> = (0..864_000_u32)
            .map(|number| {
                let due = every * number;
                let answer = if number == 432_100 { Answer::Silent } else { Answer::Good };
                Sample { due, sent: due, ended: due + Duration::from_millis(3), answer }
            })
            .collect();
        let drawn = Drawn {
            zero: Duration::ZERO,
            streams: vec![DrawnStream { name: "sql", every, samples: Box::new(|| Box::new(samples.iter().cloned())) }],
            attempts: &Vec::<Attempt>::new(),
            lag: &[],
            lost: &BTreeSet::new(),
        };
        let series = Frame { name: "all", from: Duration::ZERO, until: Duration::from_hours(24) }.draw(&drawn);
        let stream = &series.streams[0];
        assert!(stream.good.len() <= BUCKETS as usize + 1);
        assert_eq!(stream.good.iter().sum::<u32>(), 863_999);
        let bad: Vec<usize> = stream.bad.iter().enumerate().filter(|(_, bad)| **bad > 0).map(|(at, _)| at).collect();
        assert_eq!(bad, [180]);
    }
}
