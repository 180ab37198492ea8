//! Restoring a recovery point, and proving it.

mod apply;
mod content;
mod crew;
mod definitions;
mod feed;
mod fill;
mod globals;
mod graph;
mod in_place;
mod large_objects;
mod listed;
mod load;
mod means;
mod names;
mod plan;
mod preflight;
mod readback;
mod references;
mod report;
mod request;
mod routes;
mod run;
mod selection;
mod sequences;
mod site;
mod stages;
mod stream;
mod table;
mod work;

pub use means::Means;
pub use plan::{RestorePlan, plan};
pub use report::{PlanSummary, RestoreReport};
pub use request::{Adjust, Existing, Part, Proof, Wanted};
pub use run::run;

use crate::error::{Error, Result};
use tokio_util::sync::CancellationToken;

/// Ends a step when the run was asked to stop.
fn stopped(cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() { Err(was_stopped()) } else { Ok(()) }
}

fn was_stopped() -> Error {
    Error::failed("restoring: the run was stopped")
}
