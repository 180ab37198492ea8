//! The repository: one store laid out by Davit, with its keys, chunks, points and catalogue.

pub mod manifest;
