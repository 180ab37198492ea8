//! Who is hit: candidates in a fixed order, chosen by a seed that is recorded, never more than the caps allow.

use super::request::{Amount, Caps};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Where chance comes from. The same seed and the same candidates give the same victims and the same phase, on any
/// machine and in any version: it is a hash, and no generator that a library may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

/// Something that a fault can hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// What tells it from all others, also from a successor of the same name: a uid, or a process and its start.
    pub key: String,
    /// For people.
    pub shown: String,
    /// What the fault needs to know of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub facts: Value,
}

impl Victim {
    /// A victim of which only its key is known.
    pub fn new(key: impl Into<String>, shown: impl Into<String>) -> Self {
        Self { key: key.into(), shown: shown.into(), facts: Value::Null }
    }

    /// The same with facts.
    #[must_use]
    pub fn with(mut self, facts: Value) -> Self {
        self.facts = facts;
        self
    }
}

impl Seed {
    /// A fresh one.
    pub fn random() -> Self {
        // 53 bits pass through every JSON reader unharmed.
        Self(rand::random::<u64>() >> 11)
    }

    fn draw(self, purpose: &str, key: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        hasher.update(key.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// A duration below `loop_length`, uniform over it.
    pub fn phase(self, loop_length: Duration) -> Duration {
        let drawn = self.draw("phase", "");
        let number =
            u64::from_le_bytes([drawn[0], drawn[1], drawn[2], drawn[3], drawn[4], drawn[5], drawn[6], drawn[7]]);
        let nanos = (loop_length.as_nanos() * u128::from(number)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// How many of `candidates` are asked for; a percentage is rounded down, and may be none.
pub(super) fn wanted(amount: Amount, candidates: usize) -> usize {
    match amount {
        Amount::Count(count) => count,
        Amount::Percent(percent) => percent_of(percent, candidates),
        Amount::All => candidates,
    }
}

/// The most victims that the caps allow.
pub(super) fn most(caps: Caps, candidates: usize) -> usize {
    let of_percent = percent_of(caps.percent, candidates);
    caps.count.map_or(of_percent, |count| count.min(of_percent))
}

fn percent_of(percent: u8, candidates: usize) -> usize {
    candidates * usize::from(percent.min(100)) / 100
}

/// Puts candidates into their fixed order and takes `count` of them as the seed says; they come in the order in which
/// they are hit.
pub(super) fn choose(seed: Seed, mut candidates: Vec<Victim>, count: usize) -> Vec<Victim> {
    candidates.sort_by(|one, other| one.key.cmp(&other.key));
    candidates.dedup_by(|one, other| one.key == other.key);
    candidates.sort_by_cached_key(|candidate| seed.draw("victims", &candidate.key));
    candidates.truncate(count);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inventory(count: usize) -> Vec<Victim> {
        (0..count).map(|number| Victim::new(format!("uid-{number:04}"), format!("web-{number}"))).collect()
    }

    proptest! {
        #[test]
        fn same_seed_and_inventory_same_victims_and_phase_in_whatever_order_the_inventory_came(
            seed in any::<u64>(), count in 1usize..=1000, wanted in 1usize..=1000, turn in 0usize..1000
        ) {
            let seed = Seed(seed);
            let mut turned = inventory(count);
            turned.rotate_left(turn % count);
            let chosen = choose(seed, inventory(count), wanted);
            prop_assert_eq!(&chosen, &choose(seed, turned, wanted));
            prop_assert_eq!(chosen.len(), wanted.min(count));
            let loop_length = Duration::from_secs(10);
            prop_assert_eq!(seed.phase(loop_length), seed.phase(loop_length));
            prop_assert!(seed.phase(loop_length) < loop_length);
        }
    }

    #[test]
    fn caps_are_never_exceeded_for_any_count() {
        for candidates in 1..=1000 {
            for percent in 0..=100u8 {
                for count in [1, 3, 1000] {
                    let most = most(Caps { count: Some(count), percent }, candidates);
                    assert!(most <= count && most * 100 <= candidates * usize::from(percent), "{candidates} {percent}");
                    assert_eq!(wanted(Amount::Percent(percent), candidates), candidates * usize::from(percent) / 100);
                }
            }
        }
    }

    #[test]
    fn every_candidate_has_its_turn_and_every_phase_too() {
        let mut hit = [0u32; 10];
        let mut quarters = [0u32; 4];
        for seed in 0..2000 {
            let chosen = choose(Seed(seed), inventory(10), 1);
            let number: usize = chosen[0].shown.strip_prefix("web-").unwrap().parse().unwrap();
            hit[number] += 1;
            let quarter = Seed(seed).phase(Duration::from_secs(4)).as_secs();
            quarters[usize::try_from(quarter).unwrap()] += 1;
        }
        // 200 and 500 are expected; five standard deviations are 67 and 97.
        assert!(hit.iter().all(|count| (133..=267).contains(count)), "{hit:?}");
        assert!(quarters.iter().all(|count| (403..=597).contains(count)), "{quarters:?}");
    }
}
