//! Taking a backup: one recovery point of one or several databases of a PostgreSQL server.
//!
//! `plan` looks and decides, `run` acts. The rows leave the server through many connections that share one snapshot
//! (`database`, `keeper`, `workers`), are cut on a grid that stays the same from backup to backup (`grid`, `chunker`)
//! and go into the repository chunk by chunk (`outlet`). Where that cannot be promised, one `pg_dump` is cut into chunks
//! as it comes (`stream`). A watcher gives way to whoever waits behind our locks.

mod buffers;
mod chunker;
mod crew;
mod database;
mod definitions;
mod described;
mod grid;
mod item;
mod keeper;
mod large_objects;
mod locks;
mod outlet;
mod pace;
mod pattern;
mod plan;
mod preflight;
mod report;
mod request;
mod run;
mod sequences;
mod sink;
mod stream;
mod watcher;
mod work;
mod workers;

pub use chunker::CHUNK_BYTES;
pub use large_objects::copy_statement as large_objects_copy;
pub use pattern::TablePattern;
pub use plan::{BackupPlan, DatabasePlan, TablePlan, plan};
pub use report::BackupReport;
pub use request::{Databases, EngineChoice, MOST_DEFAULT_JOBS, MinContent, Request, XMIN_AGE_BUDGET};
pub use run::run;
