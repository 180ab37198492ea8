//! What each stream of probes says about the recovery.

use super::facts::{Elsewhere, Facts, Samples};
use super::model::{SteadyRow, StreamRow, Width};
use crate::measure::outage::recovery_from;
use crate::measure::sample::is_void;
use crate::measure::thin::Thinner;
use crate::measure::{Answer, Hold, Interval, Recovery, Sample, Stall, Steady, Writes};
use crate::report::journal::{Stream, StreamRole};
use crate::report::words::{bounds, seconds, secs, since};
use std::collections::BTreeMap;
use std::time::Duration;

/// A stream and what came of it.
pub(super) struct Seen<'a> {
    pub(super) stream: &'a Stream,
    pub(super) samples: &'a Samples<'a>,
    /// How many ended how.
    counts: Counts,
    /// What it showed before the fault.
    pub(super) before: Option<Steady>,
    /// What it showed after the recovery.
    pub(super) after: Option<Steady>,
    /// What it says about the recovery; nothing where no fault was proven.
    pub(super) recovery: Option<Recovery>,
}

/// How many probes ended how, and what refusals said.
#[derive(Debug, Default)]
struct Counts {
    good: u64,
    refused: u64,
    silent: u64,
    not_sent: u64,
    said: BTreeMap<String, u64>,
    /// When the first one was due, and the last one.
    dues: Option<(Duration, Duration)>,
}

impl Counts {
    fn take(&mut self, sample: &Sample) {
        match &sample.answer {
            Answer::Good => self.good += 1,
            Answer::Silent => self.silent += 1,
            Answer::NotSent => self.not_sent += 1,
            Answer::Refused(text) => {
                self.refused += 1;
                match self.said.get_mut(text) {
                    Some(count) => *count += 1,
                    None => drop(self.said.insert(text.clone(), 1)),
                }
            }
        }
        let (first, last) = self.dues.unwrap_or((sample.due, sample.due));
        self.dues = Some((first.min(sample.due), last.max(sample.due)));
    }
}

/// Failures say the same thing many times; a report lists so many different ones.
const SAID_MOST: usize = 6;

/// Looks at every stream.
pub(super) fn look<'a>(facts: &'a Facts<'_>) -> Vec<Seen<'a>> {
    let acknowledged = |window: Option<(Duration, Duration)>| Steady::acknowledged(facts.attempts.each(), window?);
    let written = Written { before: acknowledged(facts.before), after: acknowledged(facts.after) };
    facts.streams.iter().map(|(stream, samples)| one(facts, stream, samples, written)).collect()
}

/// Acknowledged writes of the two windows, where a ledger was kept.
#[derive(Debug, Clone, Copy)]
struct Written {
    before: Option<u64>,
    after: Option<u64>,
}

fn one<'a>(facts: &'a Facts<'_>, stream: &'a Stream, samples: &'a Samples<'a>, written: Written) -> Seen<'a> {
    let within = |window: Option<(Duration, Duration)>, sample: &Sample| {
        window.is_some_and(|(from, until)| from <= sample.due && sample.due < until)
    };
    let (mut counts, mut before, mut after) = (Counts::default(), Vec::new(), Vec::new());
    // On somebody else's clock the fault is known less exactly; on one that dates nothing it is not known at all.
    let stalls = facts.stalls(stream);
    let error = facts.elsewhere(stream).map_or(Some(Duration::ZERO), |one| one.error);
    let fault = facts.fault().zip(error);
    let mut thinner = fault.map(|(fault, error)| Thinner::new(stalls, fault.widened(error), facts.began.hold));
    for sample in samples.iter() {
        counts.take(&sample);
        for (window, kept) in [(facts.before, &mut before), (facts.after, &mut after)] {
            if within(window, &sample) && !is_void(&sample, stalls) {
                kept.push(sample.clone());
            }
        }
        if let Some(thinner) = &mut thinner {
            thinner.take(sample);
        }
    }
    let steady = |window: Option<(Duration, Duration)>, kept: &[Sample], written: Option<u64>| {
        let window = window?;
        let seen = Steady::of(&kept.iter().collect::<Vec<_>>(), window.1.saturating_sub(window.0));
        Some(seen.with_writes(written, window))
    };
    let before = steady(facts.before, &before, written.before);
    let after = steady(facts.after, &after, written.after);
    let recovered = fault.zip(thinner).zip(before).map(|(((fault, error), thinner), steady)| {
        let hold = Hold { span: facts.began.hold, probes: facts.began.hold_probes, steady };
        recovery_from(&thinner.end(), fault, error, &hold)
    });
    Seen { stream, samples, counts, before, after, recovery: recovered }
}

impl Seen<'_> {
    /// When its first probe was due, and its last one.
    pub(super) fn dues(&self) -> Option<(Duration, Duration)> {
        self.counts.dues
    }

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
        let stalled = Stall::total(facts.stalls(self.stream));
        StreamRow {
            name: self.stream.name.clone(),
            path: self.stream.path.clone(),
            observer: self.stream.observer.clone(),
            what: self.stream.what.clone(),
            judged: self.judged(),
            every: secs(self.stream.every),
            deadline: secs(self.stream.deadline),
            due: self.samples.count(),
            good: self.counts.good,
            refused: self.counts.refused,
            silent: self.counts.silent,
            not_sent: self.counts.not_sent,
            stalled: secs(stalled),
            said: self.said(),
            recovery: self.words(facts),
            recovery_time: self.recovery.as_ref().and_then(Recovery::time).map(bounds),
            error: self.error(facts),
            down: self.spans().iter().map(|(began, length)| (since(*began, facts.zero), bounds(*length))).collect(),
        }
    }

    /// How wide its recovery time is, beside the bound that holds for a pace that is kept: two periods, the time in which
    /// the first failure was seen, and the time in which the first answer came, each of these at most the deadline. For an
    /// outage of a part there is no such bound: how soon a probe meets that part is not a matter of their pace.
    fn error(&self, facts: &Facts<'_>) -> Option<Width> {
        let Some(Recovery::Restored(outage)) = &self.recovery else { return None };
        if outage.in_part {
            return None;
        }
        let clock = facts.elsewhere(self.stream).and_then(|one| one.error).unwrap_or_default();
        let best = self.stream.every * 2 + facts.fault()?.widened(clock).width();
        let worst = best + self.stream.deadline * 2;
        Some(Width { measured: secs(outage.recovery_time.width()), best: secs(best), worst: secs(worst) })
    }

    /// What it says about the recovery.
    fn words(&self, facts: &Facts<'_>) -> String {
        let open = facts.elsewhere(self.stream).and_then(Elsewhere::open);
        match (&self.recovery, open) {
            (Some(recovery), None) => words(recovery),
            (Some(recovery), Some(open)) => format!("{}; {open}", words(recovery)),
            (None, Some(open)) if facts.fault().is_some() => open,
            (None, _) => "not measured: no fault was proven".to_owned(),
        }
    }

    /// Every time it was down: since when, and for how long.
    pub(super) fn spans(&self) -> Vec<(Interval, Interval)> {
        let spans = match &self.recovery {
            Some(Recovery::Restored(outage)) => &outage.spans[..],
            Some(Recovery::NotRestored { spans, .. }) => spans,
            Some(Recovery::Brief { perhaps, .. }) => perhaps.as_slice(),
            _ => &[],
        };
        spans.iter().map(|span| (Interval::new(span.first_sent, span.last_sent), span.length)).collect()
    }

    /// What failures said, the most frequent first to be kept.
    fn said(&self) -> BTreeMap<String, u64> {
        let mut most: Vec<(&String, &u64)> = self.counts.said.iter().collect();
        most.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        most.into_iter().take(SAID_MOST).map(|(text, count)| (text.clone(), *count)).collect()
    }
}

fn words(recovery: &Recovery) -> String {
    match recovery {
        Recovery::NoData => "no probe was sent after the fault".to_owned(),
        Recovery::Brief { longest, failures: 0, .. } => {
            format!("no probe failed: no outage longer than {}", seconds(secs(*longest)))
        }
        Recovery::Brief { longest, failures, perhaps } => {
            let failed = crate::humane::counted(*failures, "probe");
            let more = if perhaps.is_some() { ", but more than chance explains: perhaps a part was gone" } else { "" };
            format!("{failed} failed, no two in a row{more}: no outage longer than {}", seconds(secs(*longest)))
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
