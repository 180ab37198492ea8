//! Namespaces: saving one completely or saying what is missing, and bringing it back.
//!
//! `collect` saves, `show` says what a point holds and lacks, `load` gives its objects back. What is done to them on
//! the way into a cluster is pure and has a module each: `clean` (what belongs to the server), `order`, `map`, `diff`
//! and `plan`, which puts them together. `restore` executes a plan, `velero` reads what Velero left.

pub mod body;
pub mod clean;
pub mod collect;
pub mod diff;
pub mod facts;
pub mod load;
pub mod map;
pub mod mover;
mod noise;
pub mod object;
pub mod order;
pub mod output;
pub mod pack;
pub mod plan;
pub mod quantity;
pub mod restore;
pub mod show;
mod slim;
pub mod velero;
pub mod verify;
pub mod volumes;
