//! An outage of known length, seen by an observer with a clock of its own: what it dates contains the truth on ours.

use super::super::outage::recovery_from;
use super::super::remote::{Look, Offset};
use super::super::thin::Thinner;
use super::super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

const FAULT: Duration = Duration::from_mins(1);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What somebody else saw of an outage from the fault to `up`, its clock reading `ahead` more than ours; and the looks at it.
fn seen(seed: u64, up: Duration, ahead: Duration) -> (Vec<Sample>, Vec<Look>) {
    let mut random = StdRng::seed_from_u64(seed);
    let phase = random.random_range(0..50);
    let sample = |number: u64| {
        let sent = ms(number * 50 + phase);
        let ended = sent + Duration::from_micros(300);
        let answer = if (FAULT..up).contains(&sent) { Answer::Refused("no".to_owned()) } else { Answer::Good };
        Sample { due: sent + ahead, sent: sent + ahead, ended: ended + ahead, answer }
    };
    let samples = (0..2_400).map(sample).collect();
    let look = |number: u64| {
        let asked = Duration::from_secs(2 * number);
        // The way there and the way back take different times, as they do.
        let (there, back) = (ms(random.random_range(20..200)), ms(random.random_range(20..200)));
        Look { asked, answered: asked + there + back, theirs: asked + there + ahead }
    };
    (samples, (0..60).map(look).collect())
}

/// The recovery time as it is measured; with `blind` as if the shift were exact.
fn measured(samples: &[Sample], looks: &[Look], blind: bool) -> (Interval, Interval, Duration) {
    let offset = Offset::at(looks, FAULT).unwrap();
    let error = if blind { Duration::ZERO } else { offset.error() };
    let fault = Interval::exact(FAULT);
    let samples: Vec<Sample> = samples.iter().map(|sample| offset.shift().sample(sample.clone())).collect();
    let before: Vec<&Sample> = samples.iter().filter(|sample| sample.sent + ms(500) < FAULT).collect();
    let hold = Hold { span: Duration::from_secs(10), probes: 59, steady: Steady::of(&before, FAULT) };
    let mut thinner = Thinner::new(&[], fault.widened(error), hold.span);
    for sample in samples {
        thinner.take(sample);
    }
    match recovery_from(&thinner.end(), fault, error, &hold) {
        Recovery::Restored(outage) => (outage.recovery_time, outage.restored, error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_error_of_the_clock_widens_what_somebody_else_saw_until_it_contains_the_truth() {
    let mut missed_without = 0;
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed + 9_000);
        let length = ms(random.random_range(400..20_000));
        let ahead = ms(random.random_range(0..10_000_000));
        let (samples, looks) = seen(seed, FAULT + length, ahead);
        let (time, restored, error) = measured(&samples, &looks, false);
        assert!(time.contains(length), "seed {seed}: {time} denies {length:?}");
        assert!(restored.contains(FAULT + length), "seed {seed}");
        let (exact, _, _) = measured(&samples, &looks, true);
        assert!(time.low <= exact.low && exact.high <= time.high, "seed {seed}");
        // No wider than the error on both sides of what was seen, but for a probe that falls to the other side.
        assert!(time.width() <= exact.width() + error * 2 + ms(100), "seed {seed}: {time} {exact} {error:?}");
        missed_without += u32::from(!exact.contains(length));
    }
    assert!(missed_without > 10, "{missed_without}: without the error some would have been wrong");
}
