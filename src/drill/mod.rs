//! The one place where fault, recovery and measurement meet: a scenario, executed and judged.
//!
//! ```text
//! plan    scenario → streams, fault with victims and guards, recovery         (reads only; the dry run)
//! run     steady state → inject → recover → hold → heal → steady state
//!         → quiet → compare every write → clean up → journal → report
//! rebuild stored journal → the same report
//! ```
//!
//! What happens is written down before what follows it is done, so that a runner that dies leaves a journal that says how
//! far it came, and intents that the janitor undoes.

mod alerts;
mod asking;
mod desk;
pub mod dial;
mod elsewhere;
mod entry;
mod hold;
mod kept;
mod lag;
mod live;
mod means;
mod meter;
mod namespace;
mod network;
mod notebook;
mod observing;
pub mod orders;
mod person;
mod plan;
mod platform;
mod recovery;
mod replica;
mod run;
mod store;
pub mod streams;
mod verify;

pub use kept::{FileSeen, Still, files_of};
pub use means::{Access, Means, drills};
pub use network::prepare_network;
pub use plan::{Choices, Elsewhere, Plan, Script, Stream, check, fault_of, plan};
pub use run::{Done, run};
pub use store::{rebuild, without_report};
