//! `davit key rotate --rewrap`: seals kept points again, to the present readers, source by source.

use crate::cli::exit::Exit;
use crate::error::{Error, Kind, Result};
use crate::humane::counted;
use crate::id::{PointId, RunId, SourceName};
use crate::journal::{Amount, SharedProgress};
use crate::repository::lease::{Claim, Lease};
use crate::repository::{PointSummary, Refusal, Repository};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const STAGE: &str = "sealing again";

/// What sealing again takes.
pub(super) struct Rewrap<'a> {
    pub(super) repository: &'a Repository,
    /// Who holds the leases, and for how long without a renewal.
    pub(super) holder: String,
    pub(super) term: Duration,
    pub(super) stop: CancellationToken,
    pub(super) progress: SharedProgress,
}

/// What became of the points.
#[derive(Debug, Default)]
pub(super) struct Rewrapped {
    /// Those that were sealed again, by the ids they had.
    pub(super) sealed: Vec<PointId>,
    /// Those that stay as they are.
    pub(super) not_sealed: Vec<NotSealed>,
    pub(super) bytes_new: u64,
}

/// A point, or all of a source, that could not be sealed again.
#[derive(Debug, Serialize)]
pub(super) struct NotSealed {
    pub(super) what: String,
    pub(super) why: String,
    pub(super) hint: Option<String>,
    #[serde(skip)]
    kind: Kind,
}

impl NotSealed {
    fn of(what: &impl ToString, error: &Error) -> Self {
        let hint = error.hint_text().map(str::to_owned);
        Self { what: what.to_string(), why: error.to_string(), hint, kind: error.kind() }
    }

    fn hidden(refusal: &Refusal) -> Self {
        match &refusal.point {
            Some(point) => Self::of(point, &refusal.error()),
            None => Self::of(&refusal.source, &refusal.error()),
        }
    }

    /// How a command ends that could not seal these.
    pub(super) fn worst(all: &[Self]) -> Exit {
        all.iter().map(|one| Exit::Not(one.kind)).fold(Exit::Done, Exit::worst)
    }
}

impl Rewrap<'_> {
    /// Seals again what needs it. What is wrong with one point or source leaves the others their turn.
    pub(super) async fn run(&self) -> Result<Rewrapped> {
        let (points, refusals) = self.repository.points_and_refusals().await?;
        let needing: Vec<&PointSummary> = self.needing(&points).collect();
        self.refuse_without_keys(&needing)?;
        let mut done = Rewrapped::default();
        done.not_sealed.extend(refusals.iter().map(NotSealed::hidden));
        self.progress.began(STAGE, Amount::items(needing.len() as u64));
        let sources: BTreeSet<&SourceName> = needing.iter().map(|point| &point.source).collect();
        for source in sources {
            self.source(source, &mut done).await?;
        }
        let amount = Amount { items: done.sealed.len() as u64, rows: 0, bytes: done.bytes_new };
        self.progress.ended(STAGE, amount);
        Ok(done)
    }

    fn needing<'p>(&self, points: &'p [PointSummary]) -> impl Iterator<Item = &'p PointSummary> {
        points.iter().filter(|point| self.repository.needs_resealing(point))
    }

    /// Where the keys at hand seal none of them again, that is the answer, and nobody's lease is asked for.
    fn refuse_without_keys(&self, needing: &[&PointSummary]) -> Result<()> {
        let mut why = None;
        for point in needing {
            match self.repository.may_reseal(point) {
                Ok(()) => return Ok(()),
                Err(error) => why = why.or(Some(error)),
            }
        }
        why.map_or(Ok(()), Err)
    }

    /// One source, under its lease.
    async fn source(&self, source: &SourceName, done: &mut Rewrapped) -> Result<()> {
        self.go_on(done)?;
        let lease = match self.lease(source).await {
            Ok(lease) => lease,
            Err(error) => {
                self.go_on(done)?;
                done.not_sealed.push(NotSealed::of(source, &error));
                return Ok(());
            }
        };
        let ended = self.points(source, &lease, done).await;
        let mut warnings = Vec::new();
        lease.release_or_warn(&mut warnings).await;
        for warning in warnings {
            self.progress.warn(warning, None);
        }
        ended
    }

    async fn lease(&self, source: &SourceName) -> Result<Lease> {
        let (store, clock) = (self.repository.store(), self.repository.clock());
        let claim = Claim::of_source(source, &self.holder, self.term);
        if let Some(words) = Lease::wait_for(store, clock, &claim).await? {
            self.progress.note(words);
        }
        Lease::acquire(store, clock, &claim, &self.stop).await
    }

    async fn points(&self, source: &SourceName, lease: &Lease, done: &mut Rewrapped) -> Result<()> {
        // Before the lease was ours somebody else may have sealed some of them again, or removed them.
        let points = match self.repository.points(Some(source)).await {
            Ok(points) => points,
            Err(error) => {
                self.go_on(done)?;
                done.not_sealed.push(NotSealed::of(source, &error));
                return Ok(());
            }
        };
        for point in self.needing(&points) {
            self.go_on(done)?;
            if let Err(lost) = lease.check() {
                done.not_sealed.push(NotSealed::of(source, &lost));
                return Ok(());
            }
            // What a run took away of a source stands in one record, put at once: each point is a run of its own.
            match self.repository.reseal(point, &RunId::at(self.repository.clock().now())).await {
                Ok(committed) => {
                    done.sealed.push(point.point().clone());
                    done.bytes_new += committed.end.stored_new;
                }
                Err(error) => {
                    self.go_on(done)?;
                    done.not_sealed.push(NotSealed::of(point.point(), &error));
                }
            }
            self.progress.advanced(STAGE, Amount::items(1));
        }
        Ok(())
    }

    /// Fails once it is asked to stop; whatever failed because of that is left to the next time.
    fn go_on(&self, done: &Rewrapped) -> Result<()> {
        if !self.stop.is_cancelled() {
            return Ok(());
        }
        let sealed = counted(done.sealed.len() as u64, "point");
        Err(Error::failed(format!("sealing points again: it was stopped after {sealed}"))
            .hint("the same command goes on with those that are left"))
    }
}

#[cfg(test)]
mod tests;
