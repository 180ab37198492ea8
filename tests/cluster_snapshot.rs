//! Snapshots on a real control plane: comparing, restoring, proving, from the library and from the command line.
//!
//! They run with `make soak` as long as not all of them pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement reads the clock and tells")]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]

mod cli_support;
mod control_support;
mod support;

#[path = "cluster_snapshot_cases/generator.rs"]
mod generator;
#[path = "cluster_snapshot_cases/fidelity.rs"]
mod soak_fidelity;
#[path = "cluster_snapshot_cases/line.rs"]
mod soak_line;
#[path = "cluster_snapshot_cases/modes.rs"]
mod soak_modes;
#[path = "cluster_snapshot_cases/proof.rs"]
mod soak_proof;
#[path = "cluster_snapshot_cases/restore.rs"]
mod soak_restore;
