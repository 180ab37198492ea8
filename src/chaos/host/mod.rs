//! This machine: processes that are told from their successors, and helpers that end a fault when nobody else does.

pub(super) mod fuse;
pub(super) mod process;
