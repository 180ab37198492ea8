//! What `deploy/` makes of a cluster, on the real one of three nodes: the manifests, the accounts and each of their
//! rights, and the whole way from two scheduled jobs over the loss of a namespace to the same rows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]

mod cli_support;
mod support;

#[path = "cluster_acceptance_cases/accounts.rs"]
mod accounts;
#[path = "cluster_acceptance_cases/coverage.rs"]
mod coverage;
#[path = "cluster_acceptance_cases/deploy.rs"]
mod deploy;
#[path = "cluster_acceptance_cases/manifests.rs"]
mod manifests;
#[path = "cluster_acceptance_cases/restoring.rs"]
mod restoring;
#[path = "cluster_acceptance_cases/volumes.rs"]
mod volumes;
#[path = "cluster_acceptance_cases/whole_way.rs"]
mod whole_way;
