//! The journal lines of a fault, each written before what follows it is done.

use super::evidence::{Proof, ReadBack};
use super::guard::Allowed;
use super::select::Victim;
use crate::error::Result;
use crate::id::RunId;
use crate::measure::Interval;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One line. It carries no wall time: who writes it down stamps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// What will be done.
    Planned {
        /// The run.
        run: RunId,
        /// The fault.
        fault: String,
        /// The target, without a password.
        target: String,
        /// The seed that victims and phase come from.
        seed: u64,
        /// How many candidates there were.
        candidates: usize,
        /// Who was chosen.
        victims: Vec<Victim>,
        /// How long injection waits at random, so that the poll loops of the system are met in every phase.
        phase: Duration,
        /// What guards said yes, and which were lifted.
        guards: Vec<Allowed>,
        /// The most that may be hit, in words.
        #[serde(default)]
        cap: String,
        /// What undoing does, victim by victim, in words.
        #[serde(default)]
        undo: Vec<String>,
    },
    /// Somebody else holds the lease, or was killed with it.
    Waiting {
        /// Who, and for how long that may take.
        why: String,
    },
    /// The lease is held: no other drill runs.
    LeaseTaken {
        /// Its fencing number.
        fence: u64,
    },
    /// The undo of one victim lies in the repository.
    IntentDurable {
        /// Its number within the run.
        number: u32,
        /// Where.
        object: String,
    },
    /// t0: the effect on one victim is about to be asked for.
    Injecting {
        /// Of which intent.
        number: u32,
        /// On the monotonic clock.
        at: Duration,
    },
    /// It was asked for; that proves nothing.
    Injected {
        /// Of which intent.
        number: u32,
    },
    /// t1, or that there is none.
    Proof {
        /// Of which intent.
        number: u32,
        /// What was seen.
        proof: Proof,
    },
    /// An abort condition holds, or somebody said stop: healing begins early.
    Aborting {
        /// Why.
        why: String,
    },
    /// A person noticed the fault.
    Acknowledged {
        /// Who.
        by: String,
        /// What they had to say.
        note: Option<String>,
        /// Between which instants of the monotonic clock.
        at: Interval,
    },
    /// Healing of one victim begins.
    Healing {
        /// Of which intent.
        number: u32,
    },
    /// What was looked at afterwards.
    ReadBack {
        /// Of which intent.
        number: u32,
        /// What was found.
        read_back: ReadBack,
        /// When, on the monotonic clock.
        at: Duration,
    },
    /// The intent is closed.
    Closed {
        /// Which.
        number: u32,
    },
    /// Healing is not proven: the intent stays open and a person is needed.
    Stuck {
        /// Of which intent.
        number: u32,
        /// Why.
        why: String,
    },
    /// The lease was given back.
    LeaseReleased,
}

/// Who writes the journal. A line is durable when the call returns, and only then the next step is taken; if it fails
/// before the effect nothing is injected, and after it the target is healed.
#[async_trait]
pub trait Witness: Send + Sync {
    /// Takes one line.
    async fn line(&self, event: Event) -> Result<()>;
}

/// Nobody writes anything down.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWitness;

#[async_trait]
impl Witness for NoWitness {
    async fn line(&self, _event: Event) -> Result<()> {
        Ok(())
    }
}
