//! What a drill cost of what is promised.

use super::facts::Facts;
use super::model::{Affected, Bounds, Budget};
use super::recovery::Seen;
use crate::measure::{Answer, Interval, Sample};
use crate::report::words::bounds;
use std::time::Duration;

/// The share of the error budget that the drill used up: how long users were down, and how many of them.
pub(super) fn budget(facts: &Facts<'_>, streams: &[Seen<'_>]) -> Option<Budget> {
    facts.fault()?;
    let (availability, days) = facts.began.availability;
    let budget = (1.0 - availability) * f64::from(days) * 86_400.0;
    let worst = streams.iter().filter(|seen| seen.judged()).max_by_key(|seen| down(seen).high)?;
    let down_seconds = bounds(down(worst));
    let share = |seconds: f64| if budget > 0.0 { rounded(seconds / budget) } else { 0.0 };
    let affected = affected(worst, streams).map(|(requests, failed)| {
        #[expect(clippy::cast_precision_loss, reason = "counts of probes stay far below 2^52")]
        let part = failed as f64 / requests as f64;
        let burned = Bounds { low: share(down_seconds.low * part), high: share(down_seconds.high * part) };
        Affected { requests, failed, share: rounded(part), burned }
    });
    Some(Budget {
        availability,
        days,
        budget_seconds: (budget * 10.0).round() / 10.0,
        down_seconds,
        burned: Bounds { low: share(down_seconds.low), high: share(down_seconds.high) },
        affected,
    })
}

/// How long a stream was down in all.
fn down(seen: &Seen<'_>) -> Interval {
    seen.spans().iter().fold(Interval::exact(Duration::ZERO), |sum, (_, length)| sum.plus(*length))
}

/// How many requests of users were sent while the worst of their paths was down, and how many of these failed: whoever went
/// another way, or was elsewhere, may have been served meanwhile. Nothing where no path was down.
fn affected(worst: &Seen<'_>, streams: &[Seen<'_>]) -> Option<(u64, u64)> {
    let spans: Vec<Interval> = worst.spans().into_iter().map(|(sends, _)| sends).collect();
    let within = |sample: &Sample| spans.iter().any(|sends| sends.contains(sample.sent));
    let (mut requests, mut failed) = (0, 0);
    for seen in streams.iter().filter(|seen| seen.judged()) {
        // What was not sent is no request.
        for sample in seen.samples.iter().filter(|sample| sample.answer != Answer::NotSent && within(sample)) {
            requests += 1;
            failed += u64::from(sample.answer != Answer::Good);
        }
    }
    (requests > 0).then_some((requests, failed))
}

/// To the millionth.
fn rounded(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}
