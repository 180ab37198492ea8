//! How long a fault lasts: its time, or until an abort condition holds, somebody says stop, or the lease is lost.

use super::event::{Event, Witness};
use super::intent::{OpenIntent, open_intents};
use super::means::Means;
use super::run::Injection;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::units::Span;
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::time::Duration;

/// How often conditions are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a command may take to answer; one that takes longer did not say that all is well.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a runner may take to hear that it was asked to stop, and to heal.
const STOPPED: Duration = Duration::from_mins(2);

/// What ends a fault before its time. A drill adds its error rate as a future of its own: see [`Injection::watch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A command of the shell that ends with anything but 0, or not in time.
    Unless(String),
    /// Fewer pods of the target than this are ready.
    ReadyBelow(usize),
    /// It took longer than this in all, healing not counted.
    LongerThan(Duration),
}

/// Why a fault ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "kebab-case")]
pub enum Ending {
    /// Its time was over.
    TimeUp,
    /// Somebody said stop.
    Stopped {
        /// How.
        how: String,
    },
    /// An abort condition held.
    Aborted {
        /// Which, and what was seen.
        why: String,
    },
}

impl Injection {
    /// Waits until the fault should end. `alarm` may end it early with a reason; give `std::future::pending()` if nothing
    /// else watches.
    pub async fn watch(&self, witness: &dyn Witness, alarm: impl Future<Output = String>) -> Ending {
        let clock = &self.means.clock;
        let time = clock.wait_until(clock.monotonic().saturating_add(self.plan.request.duration));
        tokio::select! {
            biased;
            ending = self.watch_for_stop(witness, alarm) => ending,
            () = time => Ending::TimeUp,
        }
    }

    /// The same for a fault that has no time: it is over when it has struck, and what is given up early is the run.
    pub async fn watch_for_stop(&self, witness: &dyn Witness, alarm: impl Future<Output = String>) -> Ending {
        let ending = tokio::select! {
            biased;
            () = self.means.cancel.cancelled() => Ending::Stopped { how: "a signal".to_owned() },
            () = self.lost.cancelled() => Ending::Aborted { why: "the lease was lost: another run may begin".to_owned() },
            why = alarm => Ending::Aborted { why },
            ending = self.look() => ending,
        };
        if let Ending::Stopped { how: why } | Ending::Aborted { why } = &ending {
            super::heal::tell(witness, Event::Aborting { why: why.clone() }).await;
        }
        ending
    }

    /// Looks at the conditions and for a word from elsewhere.
    async fn look(&self) -> Ending {
        let clock = &self.means.clock;
        loop {
            for condition in &self.plan.request.abort {
                if let Some(why) = self.holds(condition).await {
                    return Ending::Aborted { why };
                }
            }
            if let Some(ending) = self.asked().await {
                return ending;
            }
            clock.sleep(LOOK).await;
        }
    }

    /// What the repository says: whether somebody elsewhere wants an end.
    async fn asked(&self) -> Option<Ending> {
        match self.means.repository.fault_stop_asked(&self.plan.run).await {
            Ok(true) => Some(Ending::Stopped { how: "davit chaos stop".to_owned() }),
            Ok(false) => None,
            // The repository is where the undo lies: without it a fault must not go on.
            Err(error) => Some(Ending::Aborted { why: format!("the repository is out of reach: {error}") }),
        }
    }

    /// Waits for a word from elsewhere before anything has begun; why it should not begin.
    pub(super) async fn told_to_stop(&self) -> String {
        loop {
            if let Some(Ending::Stopped { how: why } | Ending::Aborted { why }) = self.asked().await {
                return why;
            }
            self.means.clock.sleep(LOOK).await;
        }
    }

    async fn holds(&self, condition: &Condition) -> Option<String> {
        match condition {
            Condition::LongerThan(limit) => {
                let spent = self.means.clock.monotonic().saturating_sub(self.requested);
                (spent > *limit).then(|| format!("it took longer than {}", Span(*limit)))
            }
            Condition::Unless(command) => {
                let mut shell = tokio::process::Command::new("/bin/sh");
                shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                match tokio::time::timeout(ANSWER, shell.kill_on_drop(true).status()).await {
                    Ok(Ok(status)) if status.success() => None,
                    Ok(Ok(status)) => Some(format!("{command:?} ended with {status}")),
                    Ok(Err(why)) => Some(format!("{command:?} could not be run: {why}")),
                    Err(_) => Some(format!("{command:?} did not end within {} s", ANSWER.as_secs())),
                }
            }
            Condition::ReadyBelow(least) => match super::cluster::ready(&self.scene()).await {
                Ok(ready) if ready >= *least => None,
                Ok(ready) => Some(format!("{ready} pods are ready, and {least} must be")),
                Err(why) => Some(format!("how many pods are ready cannot be seen: {why}")),
            },
        }
    }
}

/// Asks a run that lives elsewhere to end its faults, and waits until its intents are closed; how many that were.
///
/// A drill that has only made something for itself has not broken anything yet, or not any more: it ends without, and what it
/// has made is waited for.
///
/// # Errors
/// Exit 5 if it does not in time: its runner may be dead, and the janitor is next.
pub async fn stop_run(means: &Means, run: &RunId) -> Result<usize> {
    let of_run = async || -> Result<Vec<OpenIntent>> {
        Ok(open_intents(means).await?.into_iter().filter(|intent| intent.run == *run).collect())
    };
    let begun = of_run().await?;
    if begun.is_empty() {
        return Ok(0);
    }
    // What a drill has made for itself stays until its end, which is not waited for once its faults are undone.
    let faults = begun.iter().any(OpenIntent::is_fault);
    let awaited = |open: &[OpenIntent]| -> usize { open.iter().filter(|intent| !faults || intent.is_fault()).count() };
    means.repository.put_fault_stop(run, &means.holder).await?;
    let since = means.clock.monotonic();
    loop {
        if awaited(&of_run().await?) == 0 {
            return Ok(awaited(&begun));
        }
        if means.clock.monotonic().saturating_sub(since) > STOPPED {
            return Err(Error::new(
                crate::error::Kind::Stuck,
                format!("stopping run {run}: two minutes later what it began is not proven undone"),
            )
            .hint(format!("its runner may be dead, or still at its recovery: davit chaos janitor --run {run}")));
        }
        tokio::select! {
            () = means.clock.sleep(LOOK) => {}
            () = means.cancel.cancelled() => return Err(Error::failed(format!("waiting for the end of run {run}: interrupted"))),
        }
    }
}
