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

pub use plan::{Fate, PointPlan, RetainPlan, RulesBySource, SourcePlan, plan};
pub use policy::{Keep, Rules, Term, Tier};
pub use run::{RetainReport, run};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;

    /// A service spawns these on any thread.
    #[test]
    fn every_plan_and_run_can_be_spawned() {
        fn spawnable<T: Send>(_: impl Fn(&'static Repository) -> T) -> bool {
            true
        }
        assert!(spawnable(|repository| plan(repository, Box::leak(Box::default()))));
        assert!(spawnable(|repository| sweep::plan(repository, Box::leak(Box::default()))));
    }
}
