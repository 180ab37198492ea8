//! Snapshots on a real control plane: comparing, restoring, proving, from the library and from the command line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement reads the clock and tells")]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]

mod cli_support;
mod control_support;
mod support;

#[path = "snapshot_cases/fidelity.rs"]
mod fidelity;
#[path = "snapshot_cases/flags.rs"]
mod flags;
#[path = "snapshot_cases/generator.rs"]
mod generator;
#[path = "snapshot_cases/line.rs"]
mod line;
#[path = "snapshot_cases/met.rs"]
mod met;
#[path = "snapshot_cases/modes.rs"]
mod modes;
#[path = "snapshot_cases/proof.rs"]
mod proof;
#[path = "snapshot_cases/restore.rs"]
mod restore;
