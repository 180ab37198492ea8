//! What is asked for: one fault, its target, for how long, on how many, and which guards are lifted for this run.

use super::guard::{GuardName, Incident, Window};
use super::parameters::Parameters;
use super::select::Seed;
use super::target::Target;
use super::watch::Condition;
use crate::error::{Error, Result};
use crate::id::RunId;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How many of the candidates are hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(usize),
    /// So many of a hundred, rounded down.
    Percent(u8),
    /// All of them.
    All,
}

/// The most that may be hit; both hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// So many; any number where it is not said.
    pub count: Option<usize>,
    /// So many of a hundred, rounded down.
    pub percent: u8,
}

impl Default for Caps {
    /// One, and at most half: what stands alone is not hit unless somebody says so.
    fn default() -> Self {
        Self { count: Some(1), percent: 50 }
    }
}

impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(f, "{count} and at most {} %", self.percent),
            None => write!(f, "at most {} %", self.percent),
        }
    }
}

/// One fault that somebody wants.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name of the fault, as `davit chaos list` shows it.
    pub fault: String,
    /// What it is aimed at.
    pub target: Target,
    /// What else it is told.
    pub parameters: Parameters,
    /// How long it lasts, where it lasts.
    pub duration: Duration,
    /// How many are hit.
    pub amount: Amount,
    /// The most that may be hit; what is usual for the fault if not said.
    pub max_count: Option<usize>,
    /// The most of a hundred that may be hit, rounded down; what is usual for the fault if not said.
    pub max_percent: Option<u8>,
    /// Where victims and phase come from; a fresh one if not said.
    pub seed: Option<Seed>,
    /// The slowest control loop of the system: injection waits at random for a part of it.
    pub control_loop: Duration,
    /// The environment that the target must say it belongs to.
    pub environment: Option<String>,
    /// The target's name again, for production targets.
    pub confirmed: Option<String>,
    /// When faults are allowed; at any time if empty.
    pub windows: Vec<Window>,
    /// How to find out whether an incident is open.
    pub incident: Option<Incident>,
    /// Namespaces that are protected besides the usual ones: where observers run.
    pub protected: BTreeSet<String>,
    /// Nodes on which observers run.
    pub observed_from: BTreeSet<String>,
    /// How old the backup may be that an irreversible fault relies on.
    pub backup_age: Duration,
    /// Guards that are lifted for this run, each by its name.
    pub lifted: BTreeSet<GuardName>,
    /// What ends the fault early.
    pub abort: Vec<Condition>,
    /// The run it belongs to; a drill gives its own.
    pub run: Option<RunId>,
}

impl Request {
    /// A request with the defaults of `davit chaos inject`.
    pub fn new(fault: impl Into<String>, target: Target) -> Self {
        Self {
            fault: fault.into(),
            target,
            parameters: Parameters::default(),
            duration: Duration::from_secs(30),
            amount: Amount::Count(1),
            max_count: None,
            max_percent: None,
            seed: None,
            control_loop: Duration::ZERO,
            environment: None,
            confirmed: None,
            windows: Vec::new(),
            incident: None,
            protected: BTreeSet::new(),
            observed_from: BTreeSet::new(),
            backup_age: Duration::from_hours(24),
            lifted: BTreeSet::new(),
            abort: Vec::new(),
            run: None,
        }
    }

    /// The same with a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.set(name, value);
        self
    }

    /// The same for another time.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// The same with other caps.
    #[must_use]
    pub fn capped(mut self, count: usize, percent: u8) -> Self {
        (self.max_count, self.max_percent) = (Some(count), Some(percent));
        self
    }

    /// The same with a guard lifted.
    #[must_use]
    pub fn lifting(mut self, guard: GuardName) -> Self {
        self.lifted.insert(guard);
        self
    }
}

impl FromStr for Amount {
    type Err = Error;

    /// `3`, `25%` or `all`.
    fn from_str(text: &str) -> Result<Self> {
        let stranger = || Error::input(format!("reading {text:?} as an amount")).hint("write 3, 25% or all");
        match text.strip_suffix('%') {
            _ if text == "all" => Ok(Self::All),
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
                percent.map(Self::Percent).ok_or_else(stranger)
            }
            None => text.parse().ok().filter(|count| *count > 0).map(Self::Count).ok_or_else(stranger),
        }
    }
}
