//! What a drill or a month showed: one canonical JSON, rendered for people and machines. Pure.
//!
//! ```text
//! journal   what the drill wrote down, line by line            →  drill::of    one drill's report
//! reports   of many drills, and what the repository knows      →  month::of    a month's report
//! reports   of the repetitions of one drill                     →  Repeated::of what they say together
//! a report                                                     →  render::…    text, Markdown, HTML, JUnit, OpenMetrics
//! ```
//!
//! A report comes from the journal alone and comes out the same, byte for byte, whenever it is made again.

pub mod drill;
pub mod journal;
pub mod month;
pub mod render;
mod repeat;
mod series;
mod words;

pub use drill::DrillReport;
pub use month::MonthReport;
pub use repeat::{Point, Repeated, Spread};

/// Raised when a field of a report changes its meaning or goes away; new fields do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// JSON Schema (2020-12) of a drill's report.
pub const SCHEMA: &str = include_str!("../../docs/report-schema/drill.schema.json");
