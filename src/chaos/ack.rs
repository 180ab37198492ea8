//! That a person noticed: a mark beside the intents of a run, put once by whoever was alerted.
//!
//! Whoever runs the fault looks for the mark and dates it between two looks on its own clock; the clock of the machine
//! from which it came is a label. The end of a run puts the same mark, so that nobody can acknowledge what is over.

use super::database::ledger_table::is_fault;
use super::intent::{Intent, OpenIntent, open_intents};
use super::means::Means;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::measure::Interval;
use crate::repository::faults::Listed;
use crate::repository::lease::Lease;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often is looked: as exactly is known when a person noticed.
const LOOK: Duration = Duration::from_secs(1);
/// A note is a line of a report.
const LONGEST: usize = 300;

/// That somebody noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// Who: host and process.
    pub by: String,
    /// What they had to say.
    pub note: Option<String>,
    /// When, by the clock of their machine: a label.
    pub when: Timestamp,
}

/// What the mark says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "kebab-case")]
enum Mark {
    /// Somebody noticed.
    Noticed(Noticed),
    /// The run is over, and nobody had said so until then.
    Over {
        /// By the runner's wall clock.
        when: Timestamp,
    },
}

/// That a run was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// The run.
    pub run: RunId,
    /// Whether nobody had said so before.
    pub first: bool,
    /// Who was the first.
    #[serde(flatten)]
    pub noticed: Noticed,
}

/// An acknowledgement as the runner hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who said so.
    pub noticed: Noticed,
    /// Between which of the runner's looks.
    pub at: Interval,
}

/// The runner's side: looks whether somebody acknowledged a run.
#[derive(Debug)]
pub struct Ear<'a> {
    means: &'a Means,
    run: &'a RunId,
    not_yet: Duration,
}

impl<'a> Ear<'a> {
    /// Begins to listen: nobody has acknowledged the run yet.
    pub fn new(means: &'a Means, run: &'a RunId) -> Self {
        Self { means, run, not_yet: means.clock.monotonic() }
    }

    /// When nobody had acknowledged it yet, as far as that is known.
    pub fn not_yet(&self) -> Duration {
        self.not_yet
    }

    /// Waits until somebody does.
    pub async fn heard(&mut self) -> Heard {
        loop {
            let looked = self.means.clock.monotonic();
            match self.means.repository.fault_ack(self.run).await {
                Ok(Some(Mark::Noticed(noticed))) => return self.dated(noticed),
                Ok(Some(Mark::Over { .. })) => return std::future::pending().await,
                Ok(None) => self.not_yet = looked,
                // A look that failed makes the interval wider, and not wrong.
                Err(error) => tracing::debug!("{error}"),
            }
            self.means.clock.sleep(LOOK).await;
        }
    }

    /// From now on nobody can; gives who came between the last look and this.
    pub async fn close(&mut self) -> Result<Option<Heard>> {
        let looked = self.means.clock.monotonic();
        let noticed = close(self.means, self.run).await?;
        if noticed.is_none() {
            self.not_yet = looked;
        }
        Ok(noticed.map(|noticed| self.dated(noticed)))
    }

    fn dated(&self, noticed: Noticed) -> Heard {
        Heard { noticed, at: Interval::new(self.not_yet, self.means.clock.monotonic()) }
    }
}

/// The run is over: from now on nobody can acknowledge it. Gives who did.
pub(super) async fn close(means: &Means, run: &RunId) -> Result<Option<Noticed>> {
    if means.repository.put_fault_ack(run, &Mark::Over { when: means.clock.now() }).await? {
        return Ok(None);
    }
    match means.repository.fault_ack(run).await? {
        Some(Mark::Noticed(noticed)) => Ok(Some(noticed)),
        Some(Mark::Over { .. }) | None => Ok(None),
    }
}

/// Says that a person noticed the faults of a run; without one, of the only run that is under way.
///
/// # Errors
/// Exit 2 if there is no such run, if it is over, and if several could be meant.
pub async fn acknowledge(means: &Means, run: Option<&RunId>, note: Option<&str>) -> Result<Acknowledged> {
    let note = note.map(str::trim).filter(|note| !note.is_empty()).map(str::to_owned);
    if note.as_ref().is_some_and(|note| note.chars().count() > LONGEST || note.chars().any(char::is_control)) {
        return Err(Error::input(format!("reading the note: it is one line of at most {LONGEST} characters")));
    }
    let run = under_way(means, run).await?;
    let ours = Noticed { by: means.holder.clone(), note, when: means.clock.now() };
    let first = means.repository.put_fault_ack(&run, &Mark::Noticed(ours.clone())).await?;
    if first {
        return Ok(Acknowledged { run, first, noticed: ours });
    }
    match means.repository.fault_ack(&run).await? {
        // The answer to our own first attempt may have been lost.
        Some(Mark::Noticed(noticed)) => Ok(Acknowledged { first: noticed == ours, run, noticed }),
        Some(Mark::Over { .. }) | None => Err(over(&run)),
    }
}

/// The run that is meant, if its faults are open or its drill goes on.
async fn under_way(means: &Means, wanted: Option<&RunId>) -> Result<RunId> {
    let all = means.repository.fault_intents().await?;
    let all: Vec<Listed> = all.into_iter().filter(|listed| is_fault(listed.number)).collect();
    let open = open_intents(means).await?.into_iter().filter(OpenIntent::is_fault);
    let open: BTreeSet<RunId> = open.map(|intent| intent.run).collect();
    let newest = all.iter().max_by_key(|listed| &listed.run);
    let none = || {
        Error::input("acknowledging a fault: none is under way")
            .hint("davit chaos status shows faults that are injected; a run that is over cannot be acknowledged")
    };
    let run = match (wanted, open.first(), newest) {
        (Some(run), ..) => run,
        (None, Some(_), _) if open.len() > 1 => {
            let names: Vec<&str> = open.iter().map(RunId::as_str).collect();
            return Err(Error::input(format!("acknowledging a fault: {} are open", names.join(", "))).hint("name one"));
        }
        (None, Some(only), _) => only,
        (None, None, Some(newest)) => &newest.run,
        (None, None, None) => return Err(none()),
    };
    if open.contains(run) {
        return Ok(run.clone());
    }
    if !all.iter().any(|listed| listed.run == *run) {
        return Err(Error::input(format!("acknowledging run {run}: no fault of it is known here"))
            .hint("davit chaos status shows the runs whose faults are injected"));
    }
    match newest {
        Some(newest) if newest.run == *run && goes_on(means, newest).await? => Ok(run.clone()),
        _ if wanted.is_some() => Err(over(run)),
        _ => Err(none()),
    }
}

/// Whether the run of an intent that is undone goes on: a drill does for a while, and holds the lease. Another drill may hold
/// it that has not broken anything yet.
async fn goes_on(means: &Means, listed: &Listed) -> Result<bool> {
    let holder = Lease::holder(means.repository.store(), &means.clock, super::LEASE).await?;
    let Some(holder) = holder else { return Ok(false) };
    let intent: Intent = means.repository.fault_intent(&listed.run, listed.number).await?;
    Ok(intent.holder == holder)
}

fn over(run: &RunId) -> Error {
    Error::input(format!("acknowledging run {run}: it is over"))
        .hint(format!("davit report drill {run} shows what it measured, if it was a drill"))
}
