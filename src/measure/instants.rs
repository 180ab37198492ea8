//! The instants of a drill and the durations between them.

use super::interval::Interval;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What can be dated in a drill, in the order in which it should happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instant {
    /// t0: the fault was asked for.
    Requested,
    /// t1: the fault was proven to have taken effect; the recovery time counts from here.
    Effective,
    /// t2: the first user-level failure.
    Onset,
    /// t3: the system noticed.
    Detected,
    /// t4: what to do was decided, and begun.
    Decided,
    /// t5: there is a writer again.
    Writer,
    /// t6: the path of users leads to it.
    Routable,
    /// t7: the first success through the path of users.
    FirstSuccess,
    /// t8: the service is restored; the recovery time ends here.
    Restored,
    /// t9: the data were compared and found good.
    Validated,
    /// t10: as redundant as before.
    Redundant,
}

impl Instant {
    /// `t0` to `t10`.
    pub fn symbol(self) -> String {
        format!("t{}", self as u8)
    }
}

/// A named duration between two instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// The name of a report.
    pub name: &'static str,
    /// From.
    pub from: Instant,
    /// To.
    pub to: Instant,
}

/// The durations a report shows, in order.
pub const PHASES: [Phase; 8] = [
    Phase { name: "detection", from: Instant::Effective, to: Instant::Detected },
    Phase { name: "decision", from: Instant::Detected, to: Instant::Decided },
    Phase { name: "failover", from: Instant::Decided, to: Instant::Writer },
    Phase { name: "routing", from: Instant::Writer, to: Instant::Routable },
    Phase { name: "reconnection", from: Instant::Routable, to: Instant::Restored },
    Phase { name: "first success", from: Instant::Effective, to: Instant::FirstSuccess },
    Phase { name: "validation", from: Instant::Restored, to: Instant::Validated },
    Phase { name: "degraded", from: Instant::Restored, to: Instant::Redundant },
];

/// What reports call the phases of a recovery.
pub const PHASE_NAMES: [&str; 35] = [
    "detection",
    "decision",
    "failover",
    "routing",
    "reconnection",
    "routing and reconnection",
    "until a writer was back",
    "until the service was back",
    "until the fault was undone",
    "back after the fault",
    "recovery command",
    "back after the command",
    "provisioning",
    "fetch",
    "fetch and load",
    "globals",
    "definitions",
    "load",
    "large objects",
    "sequences",
    "index",
    "foreign keys",
    "triggers",
    "views",
    "analyse",
    "read back",
    "first good query",
    "old namespace gone",
    "fetch and plan",
    "objects made and read back",
    "first good answer",
    "first success",
    "validation",
    "degraded",
    "detection by a person",
];

/// When each instant was, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    at: BTreeMap<Instant, Interval>,
}

impl Timeline {
    /// Dates an instant.
    pub fn set(&mut self, instant: Instant, at: Interval) {
        self.at.insert(instant, at);
    }

    /// When it was, if that is known.
    pub fn get(&self, instant: Instant) -> Option<Interval> {
        self.at.get(&instant).copied()
    }

    /// All that are known, in order.
    pub fn known(&self) -> impl Iterator<Item = (Instant, Interval)> + '_ {
        self.at.iter().map(|(instant, at)| (*instant, *at))
    }

    /// From one instant to another, if both are known.
    pub fn between(&self, from: Instant, to: Instant) -> Option<Interval> {
        Some(self.get(to)?.since(self.get(from)?))
    }

    /// The phases whose ends are both known.
    pub fn phases(&self) -> Vec<(&'static str, Interval)> {
        PHASES.iter().filter_map(|phase| Some((phase.name, self.between(phase.from, phase.to)?))).collect()
    }

    /// The recovery time of a service: from the proven fault until it was restored.
    pub fn recovery_time(&self) -> Option<Interval> {
        self.between(Instant::Effective, Instant::Restored)
    }

    /// The recovery time of a restore: from the proven fault until the data are usable, that is validated.
    pub fn restore_time(&self) -> Option<Interval> {
        self.between(Instant::Effective, Instant::Validated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_recovery_time_counts_from_the_proof_and_not_from_the_request() {
        let ms = Duration::from_millis;
        let mut timeline = Timeline::default();
        timeline.set(Instant::Requested, Interval::exact(ms(0)));
        timeline.set(Instant::Effective, Interval::new(ms(200), ms(240)));
        timeline.set(Instant::Restored, Interval::new(ms(5100), ms(5200)));
        assert_eq!(timeline.recovery_time(), Some(Interval::new(ms(4860), ms(5000))));
        assert_eq!(timeline.restore_time(), None, "it was not validated");
        assert_eq!(Instant::Redundant.symbol(), "t10");
        assert_eq!(timeline.phases(), []);
    }
}
