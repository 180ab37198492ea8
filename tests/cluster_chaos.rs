//! Faults and drills on the real cluster of three nodes: each is injected by the command line, its proof seen, healed and
//! read back; what a killed runner leaves is undone by the janitor; accounts have exactly what they need.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]
#![allow(clippy::disallowed_methods, reason = "a runner gets its orders through its environment; tests measure time")]
#![allow(clippy::print_stdout, reason = "what was measured is said")]

mod chaos_support;
mod cli_support;
mod drill_support;
mod support;

#[path = "cluster_chaos_cases/accounts.rs"]
mod accounts;
#[path = "cluster_chaos_cases/drills.rs"]
mod drills;
#[path = "cluster_chaos_cases/inside.rs"]
mod inside;
#[path = "cluster_chaos_cases/janitor.rs"]
mod janitor;
#[path = "cluster_chaos_cases/nodes.rs"]
mod nodes;
#[path = "cluster_chaos_cases/pods.rs"]
mod pods;
#[path = "cluster_chaos_cases/stand.rs"]
mod stand;
#[path = "cluster_chaos_cases/whole.rs"]
mod whole;
