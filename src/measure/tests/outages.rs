//! Outages of known length.

use super::super::*;
use crate::measure::outage::recovery;
use crate::measure::sample::evidence;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(1);
const FAULT_AT: Duration = Duration::from_mins(1);

/// How the service fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// New connections are refused at once, open ones are reset.
    Reset,
    /// Nothing is answered, not even what was asked before.
    BlackHole,
    /// Everything is kept and answered when the outage ends.
    HoldAndRelease,
    /// What is sent is lost, and sent again after 1 s, 3 s, 7 s.
    Retransmission,
}

struct World {
    mode: Mode,
    down: (Duration, Duration),
    /// How often a probe fails for no reason. Such failures come alone: two in a row are an outage by definition.
    background: f64,
    failed_before: bool,
    rng: StdRng,
}

impl World {
    fn probe(&mut self, sent: Duration) -> Sample {
        let latency = Duration::from_micros(self.rng.random_range(800..8_000));
        let fails = self.rng.random_bool(self.background) && !self.failed_before;
        self.failed_before = fails;
        let (answer, ended) =
            if fails { (Answer::Refused("background".to_owned()), sent + latency) } else { self.answer(sent, latency) };
        // A reply that comes too late is a failure at the deadline.
        let late = ended > sent + DEADLINE;
        let (answer, ended) = if late { (Answer::Silent, sent + DEADLINE) } else { (answer, ended) };
        Sample { due: sent, sent, ended, answer }
    }

    fn answer(&self, sent: Duration, latency: Duration) -> (Answer, Duration) {
        let (down, up) = self.down;
        if sent + latency < down || sent >= up {
            return (Answer::Good, sent + latency);
        }
        match self.mode {
            Mode::Reset => (Answer::Refused("reset".to_owned()), sent.max(down) + Duration::from_micros(300)),
            Mode::BlackHole => (Answer::Silent, sent + DEADLINE),
            Mode::HoldAndRelease => (Answer::Good, up + latency),
            Mode::Retransmission => {
                let tries = [0, 1, 3, 7, 15, 31, 63].map(|after| sent + Duration::from_secs(after));
                let heard = tries.into_iter().find(|at| *at >= up || *at + latency < down);
                (Answer::Good, heard.unwrap_or(sent + DEADLINE * 2) + latency)
            }
        }
    }

    /// Probes for a minute before the fault and half a minute after the end of the outage.
    fn observe(&mut self, stall: Option<Stall>) -> Vec<Sample> {
        let end = self.down.1 + Duration::from_secs(30);
        let jitter = Duration::from_micros(self.rng.random_range(0..100_000));
        let dues = (0_u32..).map(|number| jitter + PERIOD * number).take_while(|due| *due < end);
        let mut samples = Vec::new();
        for due in dues.collect::<Vec<_>>() {
            match stall.filter(|stall| stall.from <= due && due < stall.until) {
                Some(stall) => {
                    samples.push(Sample { due, sent: stall.until, ended: stall.until, answer: Answer::NotSent });
                }
                None => samples.push(self.seen_late(due, stall)),
            }
        }
        samples
    }

    /// A probe whose end falls into a stall of the observer is looked at when the stall is over.
    fn seen_late(&mut self, due: Duration, stall: Option<Stall>) -> Sample {
        let mut sample = self.probe(due);
        if let Some(stall) = stall.filter(|stall| stall.from <= sample.ended && sample.ended < stall.until) {
            sample.ended = stall.until;
        }
        sample
    }
}

fn world(seed: u64, mode: Mode, length: Duration, background: f64) -> World {
    World {
        mode,
        down: (FAULT_AT, FAULT_AT + length),
        background,
        failed_before: false,
        rng: StdRng::seed_from_u64(seed),
    }
}

fn measure(samples: &[Sample], stalls: &[Stall]) -> Recovery {
    let before: Vec<&Sample> = evidence(samples, stalls).into_iter().filter(|sample| sample.ended < FAULT_AT).collect();
    let hold = Hold { span: Duration::from_secs(10), probes: 59, steady: Steady::of(&before, FAULT_AT) };
    recovery(samples, stalls, Interval::exact(FAULT_AT), &hold)
}

fn modes() -> impl Iterator<Item = Mode> {
    [Mode::Reset, Mode::BlackHole, Mode::HoldAndRelease, Mode::Retransmission].into_iter().cycle()
}

#[test]
fn the_interval_contains_the_truth_in_every_one_of_a_thousand_outages_and_is_narrow() {
    let mut widest = Duration::ZERO;
    for (seed, mode) in (0..1_000).zip(modes()) {
        let mut random = StdRng::seed_from_u64(seed + 10_000);
        let length = Duration::from_millis(random.random_range(200..60_000));
        let samples = world(seed, mode, length, 0.001).observe(None);
        let time = measure(&samples, &[]).time();
        let time = time.unwrap_or_else(|| panic!("seed {seed}, {mode:?}: {length:?} has no bound"));
        assert!(time.contains(length), "seed {seed}, {mode:?}: {length:?} is not in {time}");
        let first_failure = if mode == Mode::Reset { Duration::from_millis(8) } else { DEADLINE };
        let bound = 2 * PERIOD + first_failure + Duration::from_millis(10);
        assert!(time.width() <= bound, "seed {seed}, {mode:?}: {time} for {length:?} is wider than {bound:?}");
        widest = widest.max(time.width());
    }
    assert!(widest > PERIOD, "an interval narrower than the period of the probes would be a lie: {widest:?}");
}

#[test]
fn a_stall_of_the_observer_widens_the_interval_and_never_makes_it_wrong() {
    let mut widened = 0;
    for (seed, mode) in (0..400).zip(modes()) {
        let mut random = StdRng::seed_from_u64(seed + 20_000);
        let length = Duration::from_millis(random.random_range(2_000..20_000));
        let from = FAULT_AT + Duration::from_millis(random.random_range(0..20_000));
        let stall = Stall { from, until: from + Duration::from_millis(random.random_range(300..3_000)) };
        let plain = measure(&world(seed, mode, length, 0.0).observe(None), &[]).time().unwrap();
        let time = measure(&world(seed, mode, length, 0.0).observe(Some(stall)), &[stall]).time().unwrap();
        assert!(time.contains(length), "seed {seed}, {mode:?}: {length:?} is not in {time}, stalled {stall:?}");
        assert!(time.width() <= plain.width() + stall.length() + DEADLINE + PERIOD, "seed {seed}: {time} {plain}");
        widened += u32::from(time.width() > plain.width());
    }
    assert!(widened > 50, "only {widened} intervals were widened");
}

#[test]
fn an_outage_that_no_probe_saw_is_bounded_and_never_zero() {
    let samples = world(1, Mode::Reset, Duration::ZERO, 0.0).observe(None);
    match measure(&samples, &[]) {
        Recovery::Brief { longest, failures: 0 } => assert!(longest > PERIOD && longest < 2 * PERIOD, "{longest:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_that_answers_once_and_fails_again_is_not_restored_by_that_answer() {
    let mut samples = world(2, Mode::Reset, Duration::from_secs(20), 0.0).observe(None);
    let lucky = samples.iter_mut().find(|sample| sample.sent > FAULT_AT + Duration::from_secs(8)).unwrap();
    lucky.answer = Answer::Good;
    let Recovery::Restored(outage) = measure(&samples, &[]) else { panic!("not restored") };
    assert!(outage.recovery_time.contains(Duration::from_secs(20)), "{}", outage.recovery_time);
    assert!(outage.first_success.unwrap() < FAULT_AT + Duration::from_secs(9));
    assert_eq!(outage.spans.len(), 2, "{:?}", outage.spans);
}

#[test]
fn a_later_outage_is_listed_and_does_not_move_the_restoration() {
    let mut samples = world(3, Mode::Reset, Duration::from_secs(5), 0.0).observe(None);
    for sample in samples.iter_mut().filter(|sample| sample.sent > FAULT_AT + Duration::from_secs(25)).take(10) {
        sample.answer = Answer::Refused("again".to_owned());
    }
    let Recovery::Restored(outage) = measure(&samples, &[]) else { panic!("not restored") };
    assert!(outage.recovery_time.contains(Duration::from_secs(5)), "{}", outage.recovery_time);
    assert_eq!(outage.spans.iter().map(|span| span.failures).collect::<Vec<_>>(), [50, 10]);
}

#[test]
fn what_never_came_back_has_a_lower_bound_only() {
    let mut world = world(4, Mode::BlackHole, Duration::from_secs(20), 0.0);
    let samples: Vec<Sample> =
        world.observe(None).into_iter().filter(|sample| sample.sent < FAULT_AT + Duration::from_secs(15)).collect();
    let Recovery::NotRestored { at_least, spans, .. } = measure(&samples, &[]) else { panic!("restored") };
    assert!(at_least > Duration::from_secs(14) && at_least < Duration::from_secs(15), "{at_least:?}");
    assert_eq!(spans.len(), 1);
    assert_eq!(measure(&samples, &[]).time(), None);
}

#[test]
fn without_a_probe_after_the_fault_nothing_is_known() {
    let samples: Vec<Sample> = world(5, Mode::Reset, Duration::from_secs(5), 0.0)
        .observe(None)
        .into_iter()
        .filter(|sample| sample.sent < FAULT_AT)
        .collect();
    assert_eq!(measure(&samples, &[]), Recovery::NoData);
}
