//! What the observer sees while it sees it: enough to know when something fails and when it is back, and no more.

use crate::error::Result;
use crate::measure::outage::recovery;
use crate::measure::sample::is_void;
use crate::measure::{Hold, Interval, Recovery, Sample, Stall, Steady};
use crate::observation::{Answer, Entry};
use crate::probe::Sink;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The last probes of every stream.
#[derive(Debug, Default)]
pub(super) struct Live {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<String, Vec<Sample>>,
    /// By observer; the one without a name is this machine.
    observers: BTreeMap<String, Watched>,
    /// Samples before this are forgotten.
    from: Duration,
}

/// What is known of one observer.
#[derive(Debug, Default)]
struct Watched {
    stalls: Vec<Stall>,
    /// How far its clock may be from what we take it for.
    error: Duration,
    /// Nothing more comes from it.
    gone: bool,
}

impl State {
    fn stalls(&self, stream: &str) -> &[Stall] {
        self.observers.get(observer_of(stream)).map_or(&[], |observer| &observer.stalls)
    }

    fn error(&self, stream: &str) -> Duration {
        self.observers.get(observer_of(stream)).map_or(Duration::ZERO, |observer| observer.error)
    }
}

/// The observer of a stream: what stands before the slash in its name; nothing for those of this machine.
fn observer_of(stream: &str) -> &str {
    stream.split_once('/').map_or("", |(observer, _)| observer)
}

/// So many probes of a stream are kept before the fault; a long steady state needs no more to be judged live.
const KEPT: usize = 36_000;
/// So many of the oldest are forgotten at once.
const FORGOTTEN: usize = 2_000;

impl Live {
    /// Nothing seen yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Forgets what was due before.
    pub(super) fn forget_before(&self, from: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.from = from;
        for samples in state.streams.values_mut() {
            samples.retain(|sample| sample.due >= from);
        }
    }

    /// What a stream showed in a window.
    pub(super) fn steady(&self, stream: &str, from: Duration, until: Duration) -> Steady {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = state.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        let within = samples.iter().filter(|sample| from <= sample.due && sample.due < until);
        let within: Vec<&Sample> = within.filter(|sample| !is_void(sample, state.stalls(stream))).collect();
        Steady::of(&within, until.saturating_sub(from))
    }

    /// What a stream says about the recovery so far.
    pub(super) fn recovery(&self, stream: &str, fault: Interval, hold: &Hold) -> Recovery {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = state.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        recovery(samples, state.stalls(stream), fault.widened(state.error(stream)), hold)
    }

    /// When the second of two probes in a row of any of these streams failed after `since`.
    pub(super) fn two_failed(&self, streams: &[String], since: Duration) -> Option<Interval> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let second = |stream: &String| {
            let samples = state.streams.get(stream)?;
            let mut after: Vec<&Sample> = samples.iter().filter(|sample| sample.sent >= since).collect();
            after.sort_by_key(|sample| sample.sent);
            let two = after.windows(2).find(|pair| pair[0].bad() && pair[1].bad())?;
            Some(Interval::exact(two[0].ended.max(two[1].ended)).widened(state.error(stream)))
        };
        streams.iter().filter_map(second).min_by_key(|at| at.high)
    }

    /// The first answer to a probe of any of these streams that was sent after `since`.
    pub(super) fn first_good(&self, streams: &[String], since: Duration) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let good = |sample: &&Sample| sample.good() && sample.sent >= since;
        let first = |stream: &String| state.streams.get(stream)?.iter().filter(good).map(|sample| sample.ended).min();
        streams.iter().filter_map(first).min()
    }

    /// The share of probes of these streams that failed since then, if there were enough to tell; of several observers
    /// what the one says that sees most of it.
    pub(super) fn failing(&self, streams: &[String], since: Duration) -> Option<f64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for stream in streams {
            let samples = state.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
            let (sent, failed) = counts.entry(observer_of(stream)).or_default();
            for sample in samples.iter().filter(|sample| sample.due >= since) {
                *sent += 1;
                *failed += u32::from(!sample.good());
            }
        }
        let enough = counts.into_values().filter(|(sent, _)| *sent >= 20);
        enough.map(|(sent, failed)| f64::from(failed) / f64::from(sent)).max_by(f64::total_cmp)
    }

    /// How far the clock of an observer may be from what we take it for.
    pub(super) fn dated(&self, observer: &str, error: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.observers.entry(observer.to_owned()).or_default().error = error;
    }

    /// Nothing more comes from an observer: nobody waits for what it would have seen.
    pub(super) fn lost(&self, observer: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.observers.entry(observer.to_owned()).or_default().gone = true;
    }

    /// Whether the observer of a stream is lost.
    pub(super) fn is_lost(&self, stream: &str) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.observers.get(observer_of(stream)).is_some_and(|observer| observer.gone)
    }

    /// The observers that are lost.
    pub(super) fn all_lost(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = state.observers.iter().filter(|(_, observer)| observer.gone);
        lost.map(|(name, _)| name.clone()).collect()
    }

    /// Takes what an observer saw, on our clock.
    pub(super) fn heard(&self, observer: &str, entry: &Entry) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match entry {
            Entry::Sample { stream, due, sent, ended, answer } if *due >= state.from => {
                // The words of a failure are in the log; here only that it was one counts.
                let answer = match answer {
                    Answer::Refused(_) => Answer::Refused(String::new()),
                    other => other.clone(),
                };
                let samples = state.streams.entry(stream.clone()).or_default();
                samples.push(Sample { due: *due, sent: *sent, ended: *ended, answer });
                if samples.len() > KEPT + FORGOTTEN {
                    samples.drain(..FORGOTTEN);
                }
            }
            Entry::Stall { from, until } => {
                let stall = Stall { from: *from, until: *until };
                state.observers.entry(observer.to_owned()).or_default().stalls.push(stall);
            }
            _ => {}
        }
    }
}

impl Sink for Live {
    fn put(&self, entry: &Entry) {
        self.heard("", entry);
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
