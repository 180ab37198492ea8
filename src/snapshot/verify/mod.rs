//! Proving a snapshot by restoring it into a scratch namespace, without anything outside noticing.
//!
//! Every object is put to the server as a dry run, whole, and its answer is compared with what was saved. Kinds that
//! do nothing by themselves are made for real besides, made inert first, and read back. Then the namespace goes.

mod checked;
mod inert;
mod lost;
mod make;
mod run;
mod scratch;

pub use checked::{ByReason, Checked};
pub use inert::{Treatment, treat};
pub use run::{Request, run};
pub use scratch::{Leftover, leftovers, remove_leftover, scratch_name};
