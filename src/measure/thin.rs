//! Of a day of probes few decide what became of the service. This keeps those, one probe at a time, so that a report of a day
//! needs no memory to match.
//!
//! Kept are all failures with their neighbours, and every probe near the fault and after a failure for as long as a recovery
//! is confirmed. What is left out are good probes between good ones, of which the longest distance is remembered.

use super::interval::Interval;
use super::sample::{Answer, Sample, Stall, is_void};
use std::collections::BTreeMap;
use std::time::Duration;

/// Probes come in the order in which they ended; so many are held back to put them into the order in which they were sent.
const REORDERED: usize = 4_096;
/// Beyond what a recovery is confirmed by, so much more is kept.
const MARGIN: Duration = Duration::from_secs(10);

/// What was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Probes in the order in which they were sent.
    pub samples: Vec<Sample>,
    /// The longest time after the fault from the send of a good probe to the end of the next one, over all probes.
    pub longest: Duration,
    /// How many probes ended after the fault, over all.
    pub probes: u64,
}

/// Takes probes, and keeps what decides.
#[derive(Debug)]
pub struct Thinner<'a> {
    stalls: &'a [Stall],
    fault: Interval,
    dense: Duration,
    waiting: BTreeMap<(Duration, u64), Sample>,
    number: u64,
    /// The last probe, of which is not decided yet, and whether the one before it was bad.
    last: Option<(Sample, bool)>,
    last_bad: Option<Duration>,
    /// The send of the last good probe, of the first probe of all, and the first good one's end.
    last_good: Option<Duration>,
    first: Option<Duration>,
    alone: Option<Duration>,
    longest: Option<Duration>,
    probes: u64,
    kept: Vec<Sample>,
}

impl<'a> Thinner<'a> {
    /// For a fault that took effect in this interval, where a recovery is confirmed for `hold`.
    pub fn new(stalls: &'a [Stall], fault: Interval, hold: Duration) -> Self {
        Self {
            stalls,
            fault,
            dense: hold * 2 + MARGIN,
            waiting: BTreeMap::new(),
            number: 0,
            last: None,
            last_bad: None,
            last_good: None,
            first: None,
            alone: None,
            longest: None,
            probes: 0,
            kept: Vec::new(),
        }
    }

    /// Takes one more.
    pub fn take(&mut self, sample: Sample) {
        if sample.answer == Answer::NotSent || is_void(&sample, self.stalls) {
            return;
        }
        self.number += 1;
        self.waiting.insert((sample.sent, self.number), sample);
        if self.waiting.len() > REORDERED
            && let Some((_, next)) = self.waiting.pop_first()
        {
            self.decide(next);
        }
    }

    /// What was kept of all that was taken.
    pub fn end(mut self) -> Kept {
        while let Some((_, next)) = self.waiting.pop_first() {
            self.decide(next);
        }
        self.kept.extend(self.last.take().map(|(last, _)| last));
        let longest = self.longest.or(self.alone).unwrap_or_default();
        Kept { samples: self.kept, longest, probes: self.probes }
    }

    /// Decides about the last probe, now that its successor is known.
    fn decide(&mut self, next: Sample) {
        self.measure(&next);
        let before_was_bad = self.last.as_ref().is_some_and(|(last, _)| last.bad());
        let first = self.last.is_none();
        if let Some((last, before_bad)) = self.last.take() {
            let near = last.sent + self.dense >= self.fault.low && last.sent <= self.fault.high + self.dense;
            let after_bad = self.last_bad.is_some_and(|bad| last.sent <= bad + self.dense);
            if last.bad() || before_bad || next.bad() || near || after_bad {
                self.kept.push(last);
            }
        }
        if next.bad() {
            self.last_bad = Some(next.sent);
        }
        // The very first one is a neighbour, too: of what nobody saw.
        self.last = Some((next, before_was_bad || first));
    }

    fn measure(&mut self, next: &Sample) {
        let first = *self.first.get_or_insert(next.sent);
        self.probes += u64::from(next.ended >= self.fault.low);
        if !next.good() {
            return;
        }
        self.alone.get_or_insert(next.ended.saturating_sub(first));
        if let Some(before) = self.last_good.filter(|_| next.ended >= self.fault.low) {
            self.longest = self.longest.max(Some(next.ended.saturating_sub(before)));
        }
        self.last_good = Some(next.sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::outage::{recovery, recovery_of};
    use crate::measure::{Hold, Recovery, Steady};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// An hour of probes, a fault in it, outages and lone failures after and before it.
    fn history(seed: u64) -> (Vec<Sample>, Vec<Stall>, Interval) {
        let mut random = StdRng::seed_from_u64(seed);
        let at = |ms: u64| Duration::from_millis(ms);
        let fault = Interval::new(at(600_000), at(600_000 + random.random_range(0..500)));
        let outages: Vec<(u64, u64)> = (0..random.random_range(0..4))
            .map(|number| (600_000 + number * random.random_range(1..400_000), random.random_range(50..60_000)))
            .collect();
        let stalls: Vec<Stall> = (0..random.random_range(0..3))
            .map(|_| (random.random_range(0..3_600_000), random.random_range(60..3_000)))
            .map(|(from, length)| Stall { from: at(from), until: at(from + length) })
            .collect();
        let mut samples: Vec<Sample> = (0..36_000_u64)
            .map(|number| {
                let due = number * 100;
                let sent = due + random.random_range(0..3);
                let down = outages.iter().any(|(from, length)| (*from..from + length).contains(&sent));
                // In part of the histories only one of two or three servers is gone.
                let down = down && number.is_multiple_of(1 + seed / 2 % 3);
                let answer = match random.random_range(0..2_000) {
                    0 => Answer::Refused("alone".to_owned()),
                    1 => Answer::NotSent,
                    _ if down && seed.is_multiple_of(2) => Answer::Silent,
                    _ if down => Answer::Refused("down".to_owned()),
                    _ => Answer::Good,
                };
                let took = if answer == Answer::Silent { 1_000 } else { random.random_range(1..90) };
                Sample { due: at(due), sent: at(sent), ended: at(sent + took), answer }
            })
            .collect();
        samples.sort_by_key(|sample| sample.ended);
        (samples, stalls, fault)
    }

    #[test]
    fn what_is_kept_says_the_same_as_all_of_it_and_is_little() {
        let ends = compare(0..60);
        assert!(ends[0] > 2 && ends[1] > 20, "{ends:?}");
    }

    #[test]
    #[ignore = "soak: a minute"]
    fn soak_what_is_kept_says_the_same_as_all_of_it_and_is_little() {
        let ends = compare(60..500);
        assert!(ends[0] > 10 && ends[1] > 100, "{ends:?}");
    }

    /// How many histories ended in each way, of which what is kept says the same as all of it.
    fn compare(seeds: std::ops::Range<u64>) -> [u32; 3] {
        let mut ends = [0; 3];
        for seed in seeds {
            let (samples, stalls, fault) = history(seed);
            let before: Vec<&Sample> = samples.iter().filter(|sample| sample.ended < fault.low).collect();
            let steady = Steady::of(&before, fault.low);
            let hold = Hold { span: Duration::from_secs(10), probes: 59, steady };
            let mut thinner = Thinner::new(&stalls, fault, hold.span);
            samples.iter().cloned().for_each(|sample| thinner.take(sample));
            let kept = thinner.end();
            let whole = recovery(&samples, &stalls, fault, &hold);
            assert_eq!(recovery_of(&kept, fault, &hold), whole, "seed {seed}");
            assert!(kept.samples.len() < 16_000, "seed {seed}: {}", kept.samples.len());
            ends[match whole {
                Recovery::Brief { .. } => 0,
                Recovery::Restored(_) => 1,
                _ => 2,
            }] += 1;
        }
        ends
    }
}
