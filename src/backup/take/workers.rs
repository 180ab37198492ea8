//! The connections that read rows: each sees the keeper's snapshot, holds its own locks before the first COPY, and takes
//! the next piece of work as soon as it is done with one.

use super::item::Item;
use super::keeper;
use super::locks::{self, Locked};
use super::outlet::Outlet;
use super::pace::{Pace, Rate};
use super::sink::ChunkSink;
use super::work::WorkList;
use crate::error::{Error, Result};
use crate::postgres::catalog::Table;
use crate::postgres::session::{Session, prepare_data_session};
use crate::postgres::{ConnInfo, connect};
use std::sync::Arc;
use std::time::Duration;

/// A connection ready to read.
pub(crate) struct Worker {
    session: Session,
    number: usize,
}

impl Worker {
    /// Connects, imports the snapshot, and locks all `tables`. After this no COPY waits for anybody.
    pub(crate) async fn ready(
        conn: &ConnInfo,
        number: usize,
        snapshot: &str,
        tables: impl Iterator<Item = &Table>,
        lock_budget: Duration,
    ) -> Result<Self> {
        let session = connect(conn, "worker").await?;
        prepare_data_session(&session).await?;
        keeper::import(&session, snapshot).await?;
        match locks::lock(&session, tables, lock_budget).await? {
            Locked::All => Ok(Self { session, number }),
            // The keeper holds them, so this cannot be, unless the keeper is dead.
            Locked::Gone => Err(Error::failed("locking tables for reading: one of them is gone")),
        }
    }

    /// The connection.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Reads until there is nothing left.
    pub(crate) async fn read(&self, work: &WorkList, outlet: &Outlet, rate: Option<&Arc<Rate>>) -> Result<()> {
        while let Some(item) = work.next() {
            let Item { sql, object, pages } = item;
            let doing = format!("reading {}", object.name);
            let pace = rate.map(|rate| Pace::of(Arc::clone(rate)));
            let sink = ChunkSink::new(outlet.clone(), object, pages, pace);
            let (sink, copied) = self.session.copy_out(&doing, &sql, sink).await?;
            sink.finish(copied)?;
        }
        tracing::debug!("reader {} has nothing left to read", self.number);
        Ok(())
    }

    /// Ends its transaction, and with it snapshot and locks; gives the connection for what needs neither.
    pub(crate) async fn release(self) -> Result<Session> {
        self.session.execute("ending the reading", "COMMIT").await?;
        Ok(self.session)
    }
}
