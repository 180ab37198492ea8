//! Outages of known length.

use super::super::*;
use crate::measure::outage::{recovery, recovery_of};
use crate::measure::sample::evidence;
use crate::measure::thin::Thinner;
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
    /// Of so many servers that take turns one fails; all there is where it is 1.
    servers: u32,
    turn: u32,
}

impl World {
    fn probe(&mut self, sent: Duration) -> Sample {
        let latency = Duration::from_micros(self.rng.random_range(800..8_000));
        let fails = self.rng.random_bool(self.background) && !self.failed_before;
        self.failed_before = fails;
        self.turn = (self.turn + 1) % self.servers;
        let (answer, ended) = match (fails, self.turn) {
            (true, _) => (Answer::Refused("background".to_owned()), sent + latency),
            (false, 0) => self.answer(sent, latency),
            (false, _) => (Answer::Good, sent + latency),
        };
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
        servers: 1,
        turn: 0,
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
fn the_time_down_contains_the_truth_where_probes_fail_for_no_reason_right_beside_it() {
    let mut beside = 0;
    for (seed, mode) in (0..1_000).zip(modes()) {
        let mut random = StdRng::seed_from_u64(seed + 30_000);
        let length = Duration::from_millis(random.random_range(3_000..20_000));
        let samples = world(seed, mode, length, 0.05).observe(None);
        let spans = match measure(&samples, &[]) {
            Recovery::Restored(outage) => outage.spans,
            Recovery::NotRestored { spans, .. } => spans,
            none => panic!("seed {seed}, {mode:?}: {none:?}"),
        };
        let down = spans.iter().max_by_key(|span| span.failures).unwrap();
        assert!(down.length.contains(length), "seed {seed}, {mode:?}: {length:?} is not in {}", down.length);
        // From the first failure to the last one would have been too long.
        beside += u32::from(down.last_sent.saturating_sub(down.first_sent) > length);
    }
    assert!(beside > 0, "no failure lay beside an outage");
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

/// One of some servers is gone, the others answer.
fn in_part(seed: u64, length: Duration, background: f64, servers: u32) -> Vec<Sample> {
    let mode = if seed.is_multiple_of(3) { Mode::BlackHole } else { Mode::Reset };
    let turn = u32::try_from(seed).unwrap() / 2 % servers;
    World { servers, turn, ..world(seed, mode, length, background) }.observe(None)
}

/// The same as [`measure`], from what is kept of it.
fn measure_kept(samples: &[Sample]) -> Recovery {
    let fault = Interval::exact(FAULT_AT);
    let before: Vec<&Sample> = evidence(samples, &[]).into_iter().filter(|sample| sample.ended < FAULT_AT).collect();
    let hold = Hold { span: Duration::from_secs(10), probes: 59, steady: Steady::of(&before, FAULT_AT) };
    let mut thinner = Thinner::new(&[], fault, hold.span);
    let mut ended = samples.to_vec();
    ended.sort_by_key(|sample| sample.ended);
    for sample in ended {
        thinner.take(sample);
    }
    recovery_of(&thinner.end(), fault, &hold)
}

#[test]
fn a_service_of_which_every_second_or_third_request_fails_is_down_for_as_long_as_that_lasts() {
    let mut widest = Duration::ZERO;
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed + 40_000);
        let length = Duration::from_millis(random.random_range(5_000..60_000));
        let servers = 2 + u32::try_from(seed % 2).unwrap();
        let samples = in_part(seed, length, 0.0, servers);
        let seen = measure(&samples, &[]);
        assert_eq!(measure_kept(&samples), seen, "seed {seed}");
        let Recovery::Restored(outage) = seen else { panic!("seed {seed}: {length:?} was not seen") };
        let time = outage.recovery_time;
        assert!(time.contains(length), "seed {seed}, one of {servers}: {length:?} is not in {time}");
        assert!(outage.onset.contains(FAULT_AT), "seed {seed}: {}", outage.onset);
        let [down] = &outage.spans[..] else { panic!("seed {seed}: {:?}", outage.spans) };
        assert!(down.length.contains(length), "seed {seed}: {length:?} is not in {}", down.length);
        // Three failures may be chance, and the fourth is one turn away; the end is two turns without a failure.
        let bound = PERIOD * servers * 6 + DEADLINE;
        assert!(time.width() <= bound, "seed {seed}, one of {servers}: {time} for {length:?} is wider than {bound:?}");
        widest = widest.max(time.width());
    }
    assert!(widest > PERIOD * 4, "{widest:?}");
}

#[test]
fn failures_for_no_reason_beside_an_outage_in_part_widen_its_bounds_and_never_make_them_wrong() {
    let (mut chance, mut in_a_row) = (0, 0);
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed + 50_000);
        let length = Duration::from_millis(random.random_range(5_000..40_000));
        let samples = in_part(seed, length, 0.001, 2 + u32::try_from(seed % 2).unwrap());
        let seen = measure(&samples, &[]);
        let Recovery::Restored(outage) = &seen else { panic!("seed {seed}: {length:?} was not seen") };
        let time = outage.recovery_time;
        assert!(time.contains(length), "seed {seed}: {length:?} is not in {time}");
        assert_eq!(measure_kept(&samples), seen, "seed {seed}");
        chance += u32::from(outage.spans.len() > 1);
        in_a_row += u32::from(samples.windows(2).any(|pair| pair[0].bad() && pair[1].bad()));
    }
    assert!(chance > 20 && in_a_row > 20, "failures for no reason: {chance} afterwards, {in_a_row} beside another one");
}

#[test]
fn a_part_that_never_came_back_has_a_lower_bound_only() {
    for servers in [2, 3] {
        let samples = in_part(1, Duration::from_mins(1), 0.0, servers);
        let cut = samples.into_iter().filter(|sample| sample.sent < FAULT_AT + Duration::from_secs(30));
        let seen = measure(&cut.collect::<Vec<_>>(), &[]);
        let Recovery::NotRestored { at_least, spans, .. } = &seen else { panic!("{seen:?}") };
        assert!(*at_least > Duration::from_secs(28) && *at_least < Duration::from_secs(30), "{at_least:?}");
        assert_eq!(spans.len(), 1);
    }
}

#[test]
fn failures_as_in_the_steady_state_are_no_outage() {
    let seen = (0..400).map(|seed| measure(&world(seed, Mode::Reset, Duration::ZERO, 0.001).observe(None), &[]));
    let outages = seen.filter(|seen| !matches!(seen, Recovery::Brief { .. })).count();
    assert!(outages <= 2, "{outages} of 400");
}

/// Ten probes a second since a minute before the fault, of which some fail for no reason, never two in a row; beside these the
/// ones that `also` names by their number since the fault. And what normal was, over a time of any length.
fn alone(seed: u64, seconds: u64, background: f64, normal: (u64, u64), also: impl Fn(u64) -> bool) -> Recovery {
    let mut random = StdRng::seed_from_u64(seed + 60_000);
    let mut before = false;
    let mut samples: Vec<Sample> = Vec::new();
    for number in 0..600 + seconds * 10 {
        let at = PERIOD * u32::try_from(number).unwrap();
        let bad = !before && (random.random_bool(background) || number >= 600 && also(number - 600));
        before = bad;
        let answer = if bad { Answer::Refused("alone".to_owned()) } else { Answer::Good };
        samples.push(Sample { due: at, sent: at, ended: at + Duration::from_millis(2), answer });
    }
    let steady = Steady { probes: normal.0, failures: normal.1, ..Steady::of(&[], FAULT_AT) };
    let hold = Hold { span: Duration::from_secs(10), probes: 59, steady };
    let fault = Interval::exact(FAULT_AT);
    let judged = recovery(&samples, &[], fault, &hold);
    let mut thinner = Thinner::new(&[], fault, hold.span);
    for sample in samples {
        thinner.take(sample);
    }
    assert_eq!(recovery_of(&thinner.end(), fault, &hold), judged, "seed {seed}");
    judged
}

#[test]
fn a_twentieth_that_is_gone_for_minutes_is_not_called_no_outage() {
    // A service of which normally none of 300 probes fails; for ten minutes one probe every two seconds meets what is gone.
    for seed in 0..20 {
        let seen = alone(seed, 720, 0.0, (300, 0), |number| number < 6_000 && number % 20 == seed);
        let Recovery::Brief { longest, failures: 300, perhaps: Some(span) } = &seen else { panic!("{seed}: {seen:?}") };
        let time = seen.time().unwrap();
        assert!(time.contains(Duration::from_mins(10)) && *longest < Duration::from_secs(620), "{seed}: {time}");
        assert_eq!((span.failures, Objective(Duration::from_mins(5)).judge(time)), (300, Verdict::Undecided), "{seed}");
    }
}

#[test]
fn background_errors_of_a_long_watch_are_chance() {
    // Of 36,000 probes 36 failed, which is known as well as a steady state of an hour allows; or one of 1,000 in a short one.
    let mut unexplained = 0;
    for seed in 0..12 {
        for normal in [(36_000, 36), (1_000, 1)] {
            let seen = alone(seed, 3_600, 0.001, normal, |_| false);
            unexplained += u32::from(!matches!(seen, Recovery::Brief { perhaps: None, .. }));
        }
    }
    assert!(unexplained <= 1, "{unexplained} of 24 hours");
}

#[test]
fn an_outage_that_no_probe_saw_is_bounded_and_never_zero() {
    let samples = world(1, Mode::Reset, Duration::ZERO, 0.0).observe(None);
    match measure(&samples, &[]) {
        Recovery::Brief { longest, failures: 0, perhaps: None } => {
            assert!(longest > PERIOD && longest < 2 * PERIOD, "{longest:?}");
        }
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
