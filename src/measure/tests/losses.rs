//! Writes whose fate is planted: every class must be found exactly.

use super::super::ledger::{Survivor, classify};
use super::super::loss::{contradictions, loss};
use super::super::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

const FAULT: Interval = Interval::exact(Duration::from_secs(10));
const ACK: Duration = Duration::from_millis(3);

/// An honest history: a write every ten milliseconds until the fault, and from two seconds after it on another timeline.
fn history() -> Vec<Attempt> {
    let before = (0..1_000_u64).map(|number| (number, Duration::from_millis(number * 10), 1));
    let after = (1_000..1_300_u64).map(|number| (number, Duration::from_millis(12_000 + (number - 1_000) * 10), 2));
    let attempt = |(id, invoked, timeline): (u64, Duration, u32)| Attempt {
        id,
        payload: id * 31,
        invoked,
        ended: invoked + ACK,
        outcome: Outcome::Ok,
        timeline: Some(timeline),
        lsn: Some((id * 100, id * 100 + 50)),
        xid: Some(id + 700),
    };
    before.chain(after).map(attempt).collect()
}

fn rows(attempts: &[Attempt], without: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let there = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Ok && !without.contains(&attempt.id));
    there.map(|attempt| (attempt.id, attempt.payload)).collect()
}

fn pick(rng: &mut StdRng, from: &mut Vec<u64>, most: usize) -> BTreeSet<u64> {
    let count = rng.random_range(0..most);
    let chosen: BTreeSet<u64> = from.sample(rng, count).copied().collect();
    from.retain(|id| !chosen.contains(id));
    chosen
}

#[test]
fn every_class_is_recognised_exactly_in_a_thousand_histories() {
    let survivor = Survivor { timeline: Some(2), fault: FAULT.high };
    for seed in 0..1_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut attempts = history();
        let mut free: Vec<u64> = (0..1_300).collect();
        let planted = Classes {
            acknowledged: 0,
            lost: pick(&mut rng, &mut free, 20),
            recovered: pick(&mut rng, &mut free, 20),
            vanished: pick(&mut rng, &mut free, 20),
            zombie: pick(&mut rng, &mut free, 20),
            phantom: (0..rng.random_range(0..5)).map(|number| 9_000 + number).collect(),
            duplicate: pick(&mut rng, &mut free, 20),
            mutated: pick(&mut rng, &mut free, 20),
            stale: pick(&mut rng, &mut free, 20),
            split_ack: BTreeSet::new(),
        };
        for attempt in &mut attempts {
            if planted.recovered.contains(&attempt.id) || planted.vanished.contains(&attempt.id) {
                attempt.outcome = Outcome::Unknown;
            }
            if planted.zombie.contains(&attempt.id) {
                attempt.outcome = Outcome::Fail;
            }
        }
        let split: BTreeSet<u64> =
            attempts.iter().filter(|attempt| attempt.id >= 1_295).map(|attempt| attempt.id).collect();
        let (split_ack, acknowledged) = split_and_count(&mut attempts, &split);
        let mut last = rows(&attempts, &planted.lost);
        last.extend(planted.recovered.iter().chain(&planted.zombie).map(|id| (*id, id * 31)));
        last.extend(planted.phantom.iter().map(|id| (*id, 1)));
        last.extend(planted.duplicate.iter().map(|id| (*id, id * 31)));
        for row in last.iter_mut().filter(|row| planted.mutated.contains(&row.0)) {
            row.1 += 1;
        }
        let earlier = rows(&attempts, &planted.lost.union(&planted.stale).copied().collect());
        let reads: [Read; 2] = [earlier.into_iter().collect(), last.into_iter().collect()];
        let planted = Classes { acknowledged, split_ack, ..planted };
        assert_eq!(classify(&attempts, &reads, survivor), planted, "seed {seed}");
    }
}

/// Some of the last writes were acknowledged by the old server.
fn split_and_count(attempts: &mut [Attempt], split: &BTreeSet<u64>) -> (BTreeSet<u64>, u64) {
    let mut of_old = BTreeSet::new();
    for attempt in attempts.iter_mut().filter(|attempt| split.contains(&attempt.id)) {
        attempt.timeline = Some(1);
        if attempt.outcome == Outcome::Ok {
            of_old.insert(attempt.id);
        }
    }
    (of_old, attempts.iter().filter(|attempt| attempt.outcome == Outcome::Ok).count() as u64)
}

fn lose(gone: impl IntoIterator<Item = u64>) -> (Vec<Attempt>, Classes, Loss) {
    let attempts = history();
    let read: Read = rows(&attempts, &gone.into_iter().collect()).into_iter().collect();
    let classes = classify(&attempts, &[read.clone(), read], Survivor { timeline: Some(2), fault: FAULT.high });
    let loss = loss(&attempts, &classes, FAULT);
    (attempts, classes, loss)
}

#[test]
fn a_lost_suffix_is_as_old_as_its_oldest_write() {
    let (attempts, classes, loss) = lose(950..1_000);
    assert_eq!((loss.count, loss.acknowledged, loss.shape), (50, 1_300, Shape::Suffix));
    assert_eq!(loss.age, Interval::new(Duration::from_millis(497), Duration::from_millis(510)));
    assert_eq!(loss.newest, Some(Duration::from_millis(7)));
    let fork = 949 * 100 + 60;
    assert!(contradictions(&attempts, &classes, 1, fork).is_empty());
    assert_eq!(contradictions(&attempts, &classes, 1, fork + 100), [950]);
    assert_eq!(loss.clone().with_fork(&attempts, 1, fork).bytes, Some(999 * 100 + 50 - fork));
    assert_eq!(loss.judge(Objective(Duration::from_secs(1))), Verdict::Met);
    assert_eq!(loss.judge(Objective(Duration::from_millis(500))), Verdict::Undecided);
    assert_eq!(loss.judge(Objective(Duration::from_millis(400))), Verdict::Missed);
}

#[test]
fn the_shape_of_a_loss_its_count_and_its_age_are_recognised_in_a_thousand_histories() {
    for seed in 0..1_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let length = rng.random_range(1..400);
        let suffix: BTreeSet<u64> = (1_000 - length..1_000).collect();
        let mut early: Vec<u64> = (0..999).collect();
        // What was written last before the fault is there: no suffix is lost.
        let mut holes = pick(&mut rng, &mut early, 40);
        holes.insert(rng.random_range(0..990));
        let beyond: BTreeSet<u64> = suffix.iter().copied().chain([rng.random_range(1_000..1_300)]).collect();
        for (gone, shape) in [(suffix, Shape::Suffix), (holes, Shape::Holes), (beyond, Shape::BeyondFault)] {
            let oldest = Duration::from_millis(gone.first().unwrap() * 10);
            let (_, classes, loss) = lose(gone.iter().copied());
            assert_eq!((&classes.lost, loss.shape, loss.count), (&gone, shape, gone.len() as u64), "seed {seed}");
            assert_eq!(loss.age.low, FAULT.low.saturating_sub(oldest + ACK), "seed {seed}");
            assert!(loss.age.high >= FAULT.high.saturating_sub(oldest), "seed {seed}: {:?}", loss.age);
        }
    }
}

#[test]
fn holes_and_losses_beyond_the_fault_are_missed_whatever_the_seconds() {
    let long = Objective(Duration::from_hours(1));
    let (_, _, holes) = lose([500, 999]);
    assert_eq!((holes.shape, holes.judge(long)), (Shape::Holes, Verdict::Missed));
    let (_, _, beyond) = lose([999, 1_100]);
    assert_eq!((beyond.shape, beyond.judge(long)), (Shape::BeyondFault, Verdict::Missed));
}

#[test]
fn nothing_lost_is_met_with_the_number_of_writes_it_rests_on() {
    let (_, classes, loss) = lose([]);
    assert!(classes.clean());
    assert_eq!((loss.count, loss.acknowledged, loss.shape), (0, 1_300, Shape::None));
    assert_eq!(loss.judge(Objective(Duration::ZERO)), Verdict::Met);
}
