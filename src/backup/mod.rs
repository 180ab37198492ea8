//! PostgreSQL: backup, restore, verification, and dumps that others made.

pub mod facts;
pub mod foreign;
pub mod restore;
pub mod take;
pub mod target;
pub mod verify;
