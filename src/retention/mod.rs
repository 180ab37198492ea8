//! Taking away: which recovery points stay and for how long, and which chunks nobody names any more.
//!
//! `policy` decides and does nothing else. `retain` removes points, `sweep` removes chunks; each has a plan that
//! changes nothing and a run that does exactly what the plan says.

pub mod policy;
