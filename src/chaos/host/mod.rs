//! This machine: processes that are told from their successors, helpers that end a fault when nobody else does, and the fault of
//! a service that runs as a process here.

pub(super) mod fuse;
mod kill;
pub(super) mod process;

pub(super) use kill::running;
pub(crate) use kill::service_process;

use super::fault::Fault;

/// All faults of processes.
pub(super) const FAULTS: [&dyn Fault; 1] = [&kill::ProcessKill];
