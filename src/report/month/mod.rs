//! The report of a month: what was drilled, what was not, and what it showed.

mod model;
mod of;
mod series;

#[cfg(test)]
pub(in crate::report) mod tests;

pub use model::{
    ActionLine, BackupHealth, Cell, Coverage, Dot, DrillLine, MonthReport, Plot, Proof, Regression, Tally,
};
pub use of::{Month, Source, of};

use crate::error::{Error, Result};

/// JSON Schema (2020-12) of a month's report.
pub const SCHEMA: &str = include_str!("../../../docs/report-schema/month.schema.json");

impl MonthReport {
    /// The canonical JSON.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        Ok(text.map_err(|why| Error::failed("writing a month's report").because(why))? + "\n")
    }
}
