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
    stalls: Vec<Stall>,
    /// Samples before this are forgotten.
    from: Duration,
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
        let within: Vec<&Sample> = within.filter(|sample| !is_void(sample, &state.stalls)).collect();
        Steady::of(&within, until.saturating_sub(from))
    }

    /// What a stream says about the recovery so far.
    pub(super) fn recovery(&self, stream: &str, fault: Interval, hold: &Hold) -> Recovery {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = state.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        recovery(samples, &state.stalls, fault, hold)
    }

    /// When the second of two probes in a row of any of these streams failed after `since`.
    pub(super) fn two_failed(&self, streams: &[String], since: Duration) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let second = |stream: &String| {
            let samples = state.streams.get(stream)?;
            let mut after: Vec<&Sample> = samples.iter().filter(|sample| sample.sent >= since).collect();
            after.sort_by_key(|sample| sample.sent);
            after.windows(2).find(|pair| pair[0].bad() && pair[1].bad()).map(|pair| pair[0].ended.max(pair[1].ended))
        };
        streams.iter().filter_map(second).min()
    }

    /// The first answer to a probe of any of these streams that was sent after `since`.
    pub(super) fn first_good(&self, streams: &[String], since: Duration) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let good = |sample: &&Sample| sample.good() && sample.sent >= since;
        let first = |stream: &String| state.streams.get(stream)?.iter().filter(good).map(|sample| sample.ended).min();
        streams.iter().filter_map(first).min()
    }

    /// The share of probes of these streams that failed since then, if there were enough to tell.
    pub(super) fn failing(&self, streams: &[String], since: Duration) -> Option<f64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let all = streams.iter().filter_map(|stream| state.streams.get(stream)).flatten();
        let (mut sent, mut failed) = (0_u32, 0_u32);
        for sample in all.filter(|sample| sample.due >= since) {
            sent += 1;
            failed += u32::from(!sample.good());
        }
        (sent >= 20).then(|| f64::from(failed) / f64::from(sent))
    }
}

impl Sink for Live {
    fn put(&self, entry: &Entry) {
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
            Entry::Stall { from, until } => state.stalls.push(Stall { from: *from, until: *until }),
            _ => {}
        }
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
