//! Saving a namespace: a plan that reads, decides and changes nothing, and a run that does exactly that.

mod binding;
mod fill;
mod hooks;
mod kinds;
mod object;
mod output;
mod plan;
mod related;
mod report;
mod request;
mod rights;
mod rules;
mod run;

pub use hooks::{Hook, HookRule, OnError, When};
pub use plan::{SnapshotPlan, plan};
pub use report::SnapshotReport;
pub use request::Request;
pub use run::run;

/// Lists that are read side by side.
pub const LISTS: usize = 16;
