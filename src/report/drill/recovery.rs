//! What each stream of probes says about the recovery.

use super::facts::Facts;
use super::model::{SteadyRow, StreamRow};
use crate::measure::outage::recovery;
use crate::measure::{Answer, Attempt, Hold, Interval, Outcome, Recovery, Sample, Steady};
use crate::report::journal::{Stream, StreamRole};
use crate::report::words::{bounds, seconds, secs, since};
use std::collections::BTreeMap;
use std::time::Duration;

/// A stream and what came of it.
pub(super) struct Seen<'a> {
    pub(super) stream: &'a Stream,
    pub(super) samples: &'a [Sample],
    /// What it showed before the fault.
    pub(super) before: Option<Steady>,
    /// What it showed after the recovery.
    pub(super) after: Option<Steady>,
    /// What it says about the recovery; nothing where no fault was proven.
    pub(super) recovery: Option<Recovery>,
}

/// Failures say the same thing many times; a report lists so many different ones.
const SAID_MOST: usize = 6;

/// Looks at every stream.
pub(super) fn look<'a>(facts: &'a Facts<'_>) -> Vec<Seen<'a>> {
    facts.streams.iter().map(|(stream, samples)| one(facts, stream, samples)).collect()
}

fn one<'a>(facts: &'a Facts<'_>, stream: &'a Stream, samples: &'a [Sample]) -> Seen<'a> {
    let steady = |window: Option<(Duration, Duration)>| {
        let window = window?;
        let seen = Steady::of(&Facts::within(samples, window), window.1.saturating_sub(window.0));
        Some(with_writes(seen, &facts.attempts, window))
    };
    let (before, after) = (steady(facts.before), steady(facts.after));
    let recovered = facts.fault().zip(before).map(|(fault, steady)| {
        let hold = Hold { span: facts.began.hold, probes: facts.began.hold_probes, steady };
        recovery(samples, &facts.stalls, fault, &hold)
    });
    Seen { stream, samples, before, after, recovery: recovered }
}

/// Where a ledger was kept, its acknowledged writes are the throughput.
fn with_writes(steady: Steady, attempts: &[Attempt], window: (Duration, Duration)) -> Steady {
    let span = window.1.saturating_sub(window.0).as_secs_f64();
    if attempts.is_empty() || span <= 0.0 {
        return steady;
    }
    let within =
        |attempt: &&Attempt| attempt.outcome == Outcome::Ok && window.0 <= attempt.ended && attempt.ended < window.1;
    #[expect(clippy::cast_precision_loss, reason = "counts of writes stay far below 2^52")]
    let count = attempts.iter().filter(within).count() as f64;
    Steady { throughput: count / span, ..steady }
}

impl Seen<'_> {
    /// Whether the recovery time is judged by it.
    pub(super) fn judged(&self) -> bool {
        self.stream.role == StreamRole::Judged
    }

    /// Its row of the steady state.
    pub(super) fn steady_row(&self, steady: &Steady) -> SteadyRow {
        let millis = |latency: Duration| (latency != Duration::MAX).then(|| secs(latency) * 1e3);
        SteadyRow {
            stream: self.stream.name.clone(),
            probes: steady.probes,
            failures: steady.failures,
            p50_ms: millis(steady.p50),
            p95_ms: millis(steady.p95),
            p99_ms: millis(steady.p99),
            per_second: (steady.throughput * 10.0).round() / 10.0,
        }
    }

    /// Its row of the report.
    pub(super) fn row(&self, facts: &Facts<'_>) -> StreamRow {
        let count =
            |which: fn(&Answer) -> bool| self.samples.iter().filter(|sample| which(&sample.answer)).count() as u64;
        let stalled: Duration = facts.stalls.iter().map(crate::measure::Stall::length).sum();
        StreamRow {
            name: self.stream.name.clone(),
            path: self.stream.path.clone(),
            observer: self.stream.observer.clone(),
            what: self.stream.what.clone(),
            judged: self.judged(),
            every: secs(self.stream.every),
            deadline: secs(self.stream.deadline),
            due: self.samples.len() as u64,
            good: count(|answer| *answer == Answer::Good),
            refused: count(|answer| matches!(answer, Answer::Refused(_))),
            silent: count(|answer| *answer == Answer::Silent),
            not_sent: count(|answer| *answer == Answer::NotSent),
            stalled: secs(stalled),
            said: self.said(),
            recovery: self.recovery.as_ref().map_or_else(|| "not measured: no fault was proven".to_owned(), words),
            recovery_time: self.recovery.as_ref().and_then(Recovery::time).map(bounds),
            down: self.spans().iter().map(|(began, length)| (since(*began, facts.zero), bounds(*length))).collect(),
        }
    }

    /// Every time it was down: since when, and for how long.
    pub(super) fn spans(&self) -> Vec<(Interval, Interval)> {
        let spans = match &self.recovery {
            Some(Recovery::Restored(outage)) => &outage.spans[..],
            Some(Recovery::NotRestored { spans, .. }) => spans,
            _ => &[],
        };
        spans.iter().map(|span| (Interval::new(span.first_sent, span.last_sent), span.length)).collect()
    }

    /// What failures said, the most frequent first to be kept.
    fn said(&self) -> BTreeMap<String, u64> {
        let mut said: BTreeMap<&str, u64> = BTreeMap::new();
        for sample in self.samples {
            if let Answer::Refused(text) = &sample.answer {
                *said.entry(text).or_default() += 1;
            }
        }
        let mut most: Vec<(&str, u64)> = said.into_iter().collect();
        most.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        most.into_iter().take(SAID_MOST).map(|(text, count)| (text.to_owned(), count)).collect()
    }
}

fn words(recovery: &Recovery) -> String {
    match recovery {
        Recovery::NoData => "no probe was sent after the fault".to_owned(),
        Recovery::Brief { longest, failures: 0 } => {
            format!("no probe failed: no outage longer than {}", seconds(secs(*longest)))
        }
        Recovery::Brief { longest, failures } => {
            let failed = crate::humane::counted(*failures, "probe");
            format!("{failed} failed, no two in a row: no outage longer than {}", seconds(secs(*longest)))
        }
        Recovery::Restored(outage) => match outage.spans.len() {
            0 | 1 => "down once, then restored".to_owned(),
            spans => format!("down {spans} times, then restored"),
        },
        Recovery::NotRestored { at_least, .. } => {
            format!("not restored when the observation ended: down for at least {}", seconds(secs(*at_least)))
        }
    }
}
