//! Breaking things on purpose, so that every fault is proven to have taken effect and is undone for certain.
//!
//! One file per fault. Each says what it needs, finds its candidates, notes what was there before, acts, proves by
//! evidence of its own that it took effect, heals, and reads back. What is common to all of them is here:
//!
//! ```text
//! plan    request → candidates in a fixed order → victims by seed and caps → guards → what will be done   (reads only)
//! inject  lease → intents durable in the repository → act → proof                                        → Injection
//! watch   for a time, or until an abort condition holds or somebody says stop; who noticed is told by [`Ear`]
//! heal    undo from the intent alone → read back → intent closed                                          → Healing
//! ```
//!
//! The undo is data: it lies in the repository before the effect, never only in the system under test or in this
//! process. [`janitor()`] reads the same data and does the same as [`Injection::heal`] when the runner was killed, and no
//! run begins while an intent is open. What carries a fault (a session, a helper process or pod) ends by itself soon
//! after the fault should have ended, also with nobody there to heal it.
//!
//! ```no_run
//! # use davit::chaos::{self, Means, Request, Witness};
//! # async fn drill(means: &Means, witness: &dyn Witness) -> davit::error::Result<()> {
//! let target = "postgres://postgres@127.0.0.1/shop".parse()?;
//! let request = Request::new("lock-storm", target).with("tables", "public.orders").lasting(std::time::Duration::from_secs(30));
//! let plan = chaos::plan(means, request).await?; // refuses by name of the guard; `plan.lines()` is the dry run
//! let injection = chaos::inject(means, plan, witness).await?; // intents, effect, proof
//! let effective = injection.effective(); // t1 as an interval on the clock's monotonic scale; None: unproven, invalid
//! let healing = injection.heal(witness).await; // `healing.result()` is exit 5 where read back did not show it healed
//! # drop((effective, healing.result()?)); Ok(()) }
//! ```

mod ack;
pub(crate) mod cluster;
mod copy;
mod database;
mod event;
mod evidence;
mod fault;
mod guard;
mod heal;
mod helper;
mod host;
mod intent;
mod janitor;
mod means;
mod namespace;
mod network;
mod node;
mod parameters;
mod plan;
mod pod;
pub mod proxy;
mod request;
pub mod resolver;
mod run;
mod select;
mod target;
mod watch;

pub(crate) use cluster::HEARTBEATS;
pub(crate) use database::ledger_table::is_fault;
pub(crate) use host::service_process;

pub use ack::{Acknowledged, Ear, Heard, Noticed, acknowledge};
pub use database::failover::may_promote;
pub use database::ledger_table::Promised;
pub use event::{Event, NoWitness, Witness};
pub use evidence::{Evidence, Proof, ReadBack};
pub use fault::{Class, Facts, Fault, Held, Parameter, Place, Prepared, Rule, Scene, Server, all, find};
pub use guard::{Allowed, Finding, GuardName, Incident, Window};
pub use heal::{Healed, Healing};
pub use helper::fuse::burn;
pub use host::Machine;
pub use intent::{Intent, OpenIntent, Undone, open_intents};
pub use janitor::{Cleaned, janitor};
pub use means::{Helper, Means};
pub use parameters::Parameters;
pub use plan::{Plan, plan};
pub use request::{Amount, Caps, Request};
pub use run::{Injection, inject, inject_in_drill, take_lease};
pub use select::{Seed, Victim};
pub use target::{PodChoice, Target, TargetKind};
pub use watch::{Condition, Ending, stop_run};

/// The lease that one drill or injection of a repository holds: no two break things at once.
pub const LEASE: &str = "drill";
