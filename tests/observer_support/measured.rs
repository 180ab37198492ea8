//! From a log to the recovery time that it allows.

use davit::measure::outage::recovery;
use davit::measure::sample::evidence;
use davit::measure::{Hold, Interval, Recovery, Sample, Steady};
use davit::observation::Observation;
use std::time::Duration;

/// What the samples of `stream` say about an outage that began within `fault`, holding for `span`.
pub fn measured(seen: &Observation, stream: &str, fault: Interval, span: Duration) -> Recovery {
    let samples = &seen.streams[stream].samples;
    let before: Vec<&Sample> =
        evidence(samples, &seen.stalls).into_iter().filter(|sample| sample.ended < fault.low).collect();
    let window = fault.low.saturating_sub(seen.began.map_or(Duration::ZERO, |(_, at)| at));
    let hold = Hold { span, probes: 14, steady: Steady::of(&before, window) };
    recovery(samples, &seen.stalls, fault, &hold)
}
