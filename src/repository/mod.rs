//! The repository: one store laid out by Davit, with its keys, chunks, points and catalogue.

pub mod intent;
pub mod lease;
pub mod manifest;
pub mod mark;
pub mod tombstone;
