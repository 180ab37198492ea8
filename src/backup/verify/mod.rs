//! Proving recovery points, at three depths that are always named: every object is there (`listed`), every object has
//! its SHA-256 (`stored`), and it was restored and compared (`restored`).
//!
//! Only `restored` says that a backup is good. Its evidence is signed and bound to the manifest it is about.

mod amcheck;
mod checks;
mod compare;
mod constraints;
mod elsewhere;
mod evidence;
mod locate;
mod objects;
mod printing;
mod report;
mod request;
mod restored;
mod run;
mod scratch;

pub use elsewhere::{Prove, Proven};
pub use report::{Verdict, Verification, VerifyReport};
pub use request::{Request, SqlCheck, Which, sample};
pub use run::{look, run, run_with};
