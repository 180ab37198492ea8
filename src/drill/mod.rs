//! The one place where fault, recovery and measurement meet: a scenario, executed and judged.

pub mod dial;
pub mod streams;
