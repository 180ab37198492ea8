//! Namespaces: saving one completely or saying what is missing, and reading a snapshot back.
//!
//! `collect` saves, `show` says what a point holds and lacks, `load` gives its objects back.

pub mod collect;
pub mod facts;
pub mod load;
pub mod output;
pub mod pack;
pub mod show;
