//! A write that was begun: whatever happens to it, the ledger hears how it ended, as far as that is known.

use super::Link;
use super::transaction::{End, write};
use crate::clock::SharedClock;
use crate::error::Result;
use crate::observation::{Attempt, Outcome};
use crate::probe::ledger::{Ledger, Row};

/// A write under way. Dropping it (its time was over) writes down what was known then: a transaction whose COMMIT was never
/// sent has failed, any other is unknown.
pub(crate) struct Pending<'a> {
    ledger: &'a Ledger,
    clock: SharedClock,
    row: Row,
    /// What is known so far.
    pub(crate) end: End,
    settled: bool,
}

impl<'a> Pending<'a> {
    /// Takes the next row of the ledger.
    pub(crate) fn begin(ledger: &'a Ledger, clock: &SharedClock) -> Result<Self> {
        let row = ledger.begin()?;
        Ok(Self { ledger, clock: clock.clone(), row, end: End::nothing(), settled: false })
    }

    /// Writes the row and commits it.
    pub(crate) async fn write(&mut self, link: &dyn Link, table: &str) {
        write(link, table, self.row.id, self.row.payload, &mut self.end).await;
    }

    /// Writes down how it ended.
    pub(crate) fn settle(mut self) -> Result<Outcome> {
        self.settled = true;
        self.put().map(|()| self.end.outcome)
    }

    fn put(&self) -> Result<()> {
        self.ledger.settle(&Attempt {
            id: self.row.id,
            payload: self.row.payload,
            invoked: self.row.invoked,
            ended: self.clock.monotonic(),
            outcome: self.end.outcome,
            timeline: self.end.timeline,
            lsn: self.end.lsn.map(|at| (at, at)),
            xid: self.end.xid,
        })
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = self.put()
        {
            tracing::error!("{error}");
        }
    }
}
