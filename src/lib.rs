//! Davit lowers the lifeboat: it backs up PostgreSQL and Kubernetes namespaces, restores them, and proves the restore.

pub mod backup;
pub mod chaos;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod drill;
pub mod error;
pub mod humane;
pub mod id;
pub mod journal;
pub mod measure;
pub mod observation;
pub mod postgres;
pub mod probe;
pub mod report;
pub mod repository;
pub mod retention;
pub mod retry;
pub mod rowsum;
pub mod scenario;
pub mod secret;
pub mod snapshot;
pub mod store;
pub mod telemetry;
