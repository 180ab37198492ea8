//! The report of one drill, from its journal alone.

mod actions;
mod alerts;
mod budget;
mod facts;
mod integrity;
mod judge;
mod model;
mod observers;
mod of;
mod paths;
mod person;
mod phases;
mod recovery;
mod replica;
mod said;
mod theory;
mod undone;

#[cfg(test)]
pub(in crate::report) mod tests;
#[cfg(test)]
mod tests_elsewhere;
#[cfg(test)]
mod tests_files;
#[cfg(test)]
mod tests_partial;
#[cfg(test)]
mod tests_phases;
#[cfg(test)]
mod tests_restored;

pub(in crate::report) use actions::{NOW, due};
pub use alerts::AlertRow;
pub use model::{
    Acknowledgement, Action, Affected, BlastRadius, Bounds, Budget, CheckRow, ClassRow, Cleanup, DrillReport, Forecast,
    GuardRow, HealingRow, Identity, Integrity, Moment, ObjectiveRow, ObserverRow, Overall, PhaseRow, RawFile,
    RestoreRow, SteadyReport, SteadyRow, StepRow, StreamRow, TheoryRow, Validity, Width,
};
pub use of::of;
pub use replica::ReplicaRow;

use crate::error::{Error, Result};

impl DrillReport {
    /// That two parts of a restore lie on each other, where they do.
    pub fn overlap_words(&self) -> Option<&'static str> {
        let part = |name: &str| self.phases.iter().find(|phase| phase.name == name);
        let (fetch, load) = part("fetch").zip(part("load"))?;
        let overlap = load.from.low < fetch.until.high;
        overlap.then_some("fetch and load overlap: rows go to the server while others are fetched")
    }

    /// The phases of which the scenario says how long they can take.
    pub fn theories(&self) -> impl Iterator<Item = (&str, &TheoryRow)> {
        self.phases.iter().filter_map(|phase| Some((phase.name.as_str(), phase.theory.as_ref()?)))
    }

    /// The canonical JSON.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        Ok(text.map_err(|why| Error::failed("writing a drill's report").because(why))? + "\n")
    }

    /// Reads the canonical JSON.
    pub fn parse(text: &str) -> Result<Self> {
        let report: Self = serde_json::from_str(text)
            .map_err(|why| Error::input("reading a drill's report").because(why).hint("is it the JSON form of one?"))?;
        if report.schema_version > super::SCHEMA_VERSION {
            return Err(Error::input(format!(
                "reading a drill's report: its schema_version is {}",
                report.schema_version
            ))
            .hint("a newer Davit wrote it: read it with that one"));
        }
        Ok(report)
    }
}
