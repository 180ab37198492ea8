//! What was measured of a phase beside how long it can take by the settings of what was broken.

use super::facts::Facts;
use super::model::{Bounds, PhaseRow, TheoryRow};
use crate::report::journal::Theory;
use crate::report::words::{aim, secs};

/// How a phase of this length stands to its theory.
pub(super) fn row(theory: &Theory, length: Bounds) -> TheoryRow {
    let allowed = Bounds { low: secs(theory.best), high: secs(theory.worst) };
    let took = if length.low > allowed.high {
        "longer"
    } else if length.high < allowed.low {
        "shorter"
    } else if length.low >= allowed.low && length.high <= allowed.high {
        "within"
    } else {
        "undecided"
    };
    TheoryRow { allowed, took: took.to_owned(), because: theory.because.clone() }
}

impl TheoryRow {
    /// `as long as its settings allow, 2.00 s to 40.00 s: ttl 30 s, loop_wait 10 s`
    pub fn words(&self) -> String {
        let took = match self.took.as_str() {
            "longer" => "LONGER than its settings allow",
            "shorter" => "shorter than its settings allow",
            "within" => "as long as its settings allow",
            _ => "perhaps as long as its settings allow",
        };
        let because = self.because.as_ref().map(|because| format!(" ({because})")).unwrap_or_default();
        format!("{took}, {} to {}{because}", aim(self.allowed.low), aim(self.allowed.high))
    }
}

/// Gives each phase its theory.
pub(super) fn compare(facts: &Facts<'_>, phases: &mut [PhaseRow]) {
    for phase in phases {
        let theory = facts.began.scenario.theory.iter().find(|theory| theory.phase == phase.name);
        phase.theory = theory.map(|theory| row(theory, phase.length));
    }
}

/// Phases of which the scenario says something, and which this recovery did not have.
pub(super) fn unseen<'a>(facts: &'a Facts<'_>, phases: &[PhaseRow]) -> Vec<&'a str> {
    let names = facts.began.scenario.theory.iter().map(|theory| theory.phase.as_str());
    names.filter(|name| phases.iter().all(|phase| phase.name != *name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_not_certain_is_neither_within_nor_beyond() {
        let theory = Theory {
            phase: "failover".to_owned(),
            best: Duration::from_secs(2),
            worst: Duration::from_secs(40),
            because: None,
        };
        let took = |low, high| row(&theory, Bounds { low, high }).took;
        assert_eq!([took(2.0, 40.0), took(3.0, 3.5)], ["within", "within"]);
        assert_eq!([took(40.1, 41.0), took(0.5, 1.9)], ["longer", "shorter"]);
        assert_eq!([took(39.0, 40.1), took(1.9, 2.1), took(1.0, 50.0)], ["undecided"; 3]);
    }
}
