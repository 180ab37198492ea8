//! Taking away: which recovery points stay and for how long, and which chunks nobody names any more.
//!
//! `policy` decides and does nothing else. `retain` removes points, `sweep` removes chunks; each has a plan that
//! changes nothing and a run that does exactly what the plan says.

mod plan;
pub mod policy;
mod purge;
mod run;
#[cfg(test)]
mod simulation;
pub mod sweep;
#[cfg(test)]
mod tests;

pub use plan::{Fate, PointPlan, RetainPlan, RulesBySource, SourcePlan, plan};
pub use policy::{Keep, Rules, Term, Tier};
pub use run::{RetainReport, run};
