//! One thing that a worker reads.

use super::outlet::Object;
use std::sync::Arc;

/// One COPY.
#[derive(Debug)]
pub(crate) struct Item {
    /// The statement.
    pub(crate) sql: String,
    /// What its rows belong to.
    pub(crate) object: Arc<Object>,
    /// The heap pages (or oids of large objects) it reads; an open end is the largest number.
    pub(crate) pages: Option<(u64, u64)>,
}
