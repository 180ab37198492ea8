//! Outages in which only a part of the requests fails: one of several servers is gone, and every second or third request
//! meets it, but never two in a row.
//!
//! Here a good probe proves nothing about the part that is gone, and one failure nothing about an outage: it may be as in
//! the steady state. What is certain is that among more failures than that allows at least one is of the outage. So the
//! bounds do without as many failures on either side as may be chance, and a part that was met at least every so often
//! while it was gone is back only after twice that time without a failure.

use super::hold::Hold;
use super::interval::Interval;
use super::outage::{Outage, Recovery, Span, spans};
use super::sample::Sample;
use std::time::Duration;

/// So many failures within a hold, none right after another, are chance at any time, however long the steady state was.
const CHANCE: u64 = 2;
/// No window is shorter, however short the hold.
const LEAST: Duration = Duration::from_secs(1);

/// Of so small a part that no hold holds more failures than chance explains, a longer time may: from the first failure after
/// the fault to the last one, and for how long at most a part of the service was gone.
///
/// That it was is not certain, and what is known is an upper bound: until a hold after the last failure. `probes` were made since
/// the fault, evenly.
pub(super) fn perhaps(all: &[&Sample], probes: u64, fault: Interval, hold: &Hold) -> Option<Span> {
    let after = |sample: &&&Sample| sample.bad() && sample.ended >= fault.low;
    let failures: Vec<&Sample> = all.iter().filter(after).copied().collect();
    let (first, last) = (failures.first()?, failures.last()?);
    let watched = all.last()?.sent.saturating_sub(fault.low);
    let too_many = |window: Duration| {
        let share = if watched.is_zero() { 1.0 } else { window.div_duration_f64(watched).min(1.0) };
        #[expect(clippy::cast_precision_loss, reason = "counts of probes stay far below 2^52")]
        let within = probes as f64 * share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more than the probes")]
        let plausible = hold.failures_allowed((within.ceil() as u64).max(hold.probes)) + CHANCE;
        // Whoever looks from every failure on, and over every length, sees more by chance than whoever looks once.
        let allowed = usize::try_from(plausible + plausible.isqrt()).unwrap_or(usize::MAX);
        let ends = failures.iter().skip(allowed);
        failures.iter().zip(ends).any(|(from, until)| until.sent <= from.sent + window)
    };
    let windows = std::iter::successors(Some(hold.span.max(LEAST) * 2), |window| window.checked_mul(2));
    let shorter = windows.take_while(|window| *window < watched);
    let unexplained = shorter.chain([watched]).any(too_many);
    unexplained.then(|| Span {
        first_sent: first.sent,
        last_sent: last.sent,
        failures: failures.len() as u64,
        length: Interval::new(Duration::ZERO, (last.ended + hold.span).saturating_sub(fault.low)),
    })
}

/// Where such an outage begins.
pub(super) struct Partial {
    /// The first of the failures that are too many.
    pub(super) first: usize,
    /// So many of them may be chance.
    allowed: usize,
    /// It had begun by then.
    seen: Duration,
}

impl Partial {
    /// Looks for the first failure after the fault that more others follow within a hold than the steady state allows, each
    /// of them alone.
    pub(super) fn find(all: &[&Sample], fault: Interval, hold: &Hold) -> Option<Self> {
        let bad = |at: Option<usize>| at.and_then(|at| all.get(at)).is_some_and(|sample| sample.bad());
        let alone = |at: &usize| bad(Some(*at)) && !bad(at.checked_sub(1)) && !bad(at.checked_add(1));
        let failures: Vec<usize> = (0..all.len()).filter(alone).filter(|at| all[*at].ended >= fault.low).collect();
        failures.iter().enumerate().find_map(|(number, first)| {
            let end = all[*first].sent + hold.span;
            let probes = all[*first..].iter().take_while(|sample| sample.sent <= end).count() as u64;
            let allowed = hold.failures_allowed(hold.probes.max(probes)).max(CHANCE);
            // Whoever looks from every failure on sees more by chance, now and then, than whoever looks once.
            let allowed = allowed + allowed.isqrt();
            let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
            let too_many = failures.get(number..=number.checked_add(allowed)?)?;
            let seen = too_many.iter().map(|at| all[*at].ended).max()?;
            (all[*too_many.last()?].sent <= end).then_some(Self { first: *first, allowed, seen })
        })
    }

    /// The same outage, which began earlier with two failures in a row.
    pub(super) fn after(self, pair: Option<usize>, all: &[&Sample]) -> Self {
        match pair.filter(|pair| *pair < self.first) {
            Some(pair) => Self { first: pair, seen: all[pair].ended, ..self },
            None => self,
        }
    }

    /// What became of it; `restored` begins the span that confirms that it is over.
    pub(super) fn judge(&self, all: &[&Sample], fault: Interval, hold: &Hold, restored: Option<usize>) -> Recovery {
        let onset = Interval::new(fault.low, self.seen.max(fault.low));
        let back = restored.and_then(|restored| self.back(all, restored, fault, hold));
        let Some((last, end)) = back else {
            let last = (self.first..all.len()).rev().find(|at| all[*at].bad()).unwrap_or(self.first);
            let sure = self.sure(&all[self.first..]);
            let ended = all.iter().map(|sample| sample.ended).max().unwrap_or_default();
            let spans = vec![self.span(all, last, Interval::new(sure, ended.max(sure)).since(onset))];
            return Recovery::NotRestored {
                at_least: sure.saturating_sub(fault.high),
                last_failure: all[last].sent,
                spans,
            };
        };
        let mut down = vec![self.span(all, last, end.since(onset))];
        down.extend(spans(all, last + 1));
        Recovery::Restored(Outage {
            onset,
            first_success: all[self.first..].iter().find(|sample| sample.good()).map(|sample| sample.ended),
            restored: end,
            recovery_time: end.since(fault),
            spans: down,
            in_part: true,
        })
    }

    /// The last failure that may be of the outage, and between which instants the outage ended; nothing where the observation
    /// ends too early to tell. The span that confirms the recovery allows some failures, which may be the last of it.
    fn back(&self, all: &[&Sample], restored: usize, fault: Interval, hold: &Hold) -> Option<(usize, Interval)> {
        let confirmed = all[restored].sent + hold.span;
        let within = all.iter().take_while(|sample| sample.sent <= confirmed).count();
        let failures: Vec<usize> = (self.first..within).filter(|at| all[*at].bad()).collect();
        let before = failures.iter().filter(|at| **at < restored).count();
        let patience = (self.gap(all, &failures, before) * 2).min(hold.span);
        let mut last = *failures.get(before.checked_sub(1)?)?;
        for at in &failures[before..] {
            if all[*at].sent <= all[last].sent + patience {
                last = *at;
            }
        }
        let quiet = (all[last].sent + patience).max(fault.high);
        let proof = all[last..].iter().filter(|sample| sample.good() && sample.sent >= quiet);
        let high = proof.map(|sample| sample.ended).min()?;
        let low = self.sure(&all[self.first..within]);
        Some((last, Interval::new(low, high.max(low))))
    }

    /// The longest time between two failures of the outage: those before the span that confirms the recovery, without those
    /// at the beginning that may be chance, if that leaves any.
    fn gap(&self, all: &[&Sample], failures: &[usize], before: usize) -> Duration {
        let longest = |failures: &[usize]| {
            failures.windows(2).map(|pair| all[pair[1]].sent.saturating_sub(all[pair[0]].sent)).max()
        };
        let sure = failures.get(self.allowed..before).and_then(longest);
        sure.or_else(|| longest(failures)).unwrap_or_default()
    }

    /// Until when it lasted at least: of the last failures, so many may be chance.
    fn sure(&self, since_onset: &[&Sample]) -> Duration {
        let mut sends = since_onset.iter().rev().filter(|sample| sample.bad()).map(|sample| sample.sent);
        sends.nth(self.allowed).unwrap_or_default()
    }

    fn span(&self, all: &[&Sample], last: usize, length: Interval) -> Span {
        let failures = all[self.first..=last].iter().filter(|sample| sample.bad()).count() as u64;
        Span { first_sent: all[self.first].sent, last_sent: all[last].sent, failures, length }
    }
}
