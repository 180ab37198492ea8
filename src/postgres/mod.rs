//! One PostgreSQL server, and what its tools print.

pub mod script;
