//! Restoring a recovery point, and proving it.

mod alike;
mod apply;
pub(in crate::backup) mod content;
mod crew;
pub(in crate::backup) mod definitions;
pub(in crate::backup) mod feed;
pub(in crate::backup) mod fill;
pub(in crate::backup) mod globals;
mod graph;
mod in_place;
pub(in crate::backup) mod large_objects;
pub(in crate::backup) mod listed;
pub(in crate::backup) mod load;
mod made;
mod means;
pub(in crate::backup) mod names;
pub(in crate::backup) mod plan;
pub(in crate::backup) mod preflight;
pub(in crate::backup) mod readback;
pub(in crate::backup) mod references;
mod report;
mod request;
pub(in crate::backup) mod routes;
mod run;
pub(in crate::backup) mod selection;
pub(in crate::backup) mod sequences;
pub(in crate::backup) mod site;
mod stages;
mod stream;
pub(in crate::backup) mod table;
mod unfinished;
mod work;

pub(in crate::backup) use definitions::with_roles;
pub use means::Means;
pub use plan::{RestorePlan, plan};
pub use report::{PlanSummary, PlannedTable, RestoreReport};
pub use request::{Adjust, Existing, Part, Proof, Wanted};
pub use run::run;

use crate::error::{Error, Result};
use tokio_util::sync::CancellationToken;

/// Ends a step when the run was asked to stop.
pub(in crate::backup) fn stopped(cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() { Err(was_stopped()) } else { Ok(()) }
}

pub(in crate::backup) fn was_stopped() -> Error {
    Error::failed("restoring: the run was stopped")
}
