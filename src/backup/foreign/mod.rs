//! Dumps that others made, and dumps for others.
//!
//! What an earlier script left in a bucket is listed, recognised by its first bytes and restored as a stream,
//! without a temporary file and without `psql`. The player of SQL scripts also
//! restores points of the `stream` engine.

pub mod archive;
pub mod codec;
pub mod export;
pub mod globals;
pub mod list;
pub mod name;
pub mod player;
pub mod restore;
pub mod source;

pub use list::{ForeignDump, Listing, list};
pub use source::Source;
