//! Failures made on purpose: each with its target, its proof, its way back, and guards in front of it.

pub mod proxy;
pub mod resolver;
