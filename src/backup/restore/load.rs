//! Rows into tables: COPY streams fed from the store.

use super::feed::{Feed, ObjectName, Piece, Portion};
use super::made::Made;
use super::site::failed;
use super::table::Table;
use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress};
use crate::postgres::Session;
use crate::repository::manifest::Range;
use crate::rowsum::RowSum;
use bytes::Bytes;
use futures_util::SinkExt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// How much goes to the server in one message: small enough to be cut off quickly, large enough to be cheap.
const MESSAGE_BYTES: usize = 256 << 10;

/// The stage's name in progress and report.
pub(in crate::backup) const STAGE: &str = "rows";

/// The portions of one table that nobody has taken yet; several writers share it.
#[derive(Debug, Default)]
pub(in crate::backup) struct Supply(Mutex<VecDeque<Portion>>);

impl Supply {
    /// All ranges of an object, in order.
    pub(in crate::backup) fn of(object: &Arc<ObjectName>, ranges: &[Arc<Range>]) -> Arc<Self> {
        let mut first_row = 0;
        let portions = ranges.iter().filter(|range| !range.chunks.is_empty()).map(|range| {
            let portion = Portion { object: object.clone(), range: range.clone(), first_row };
            first_row += rows_of(range);
            portion
        });
        Arc::new(Self(Mutex::new(portions.collect())))
    }

    /// Takes the next one.
    pub(in crate::backup) fn take(&self) -> Option<Portion> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Takes them one after another, as long as there are any.
    pub(in crate::backup) fn drain(self: Arc<Self>) -> impl Iterator<Item = Portion> + Send {
        std::iter::from_fn(move || self.take())
    }
}

/// How many rows a range has.
pub(in crate::backup) fn rows_of(range: &Range) -> u64 {
    range.chunks.iter().map(|chunk| chunk.rows.rows).sum()
}

/// Writes rows over one session.
pub(super) struct Loader<'a> {
    pub(super) session: &'a Session,
    pub(super) feed: &'a Arc<Feed>,
    pub(super) progress: &'a SharedProgress,
    /// Where the transactions are noted, if others may write into these tables, too.
    pub(super) made: Option<&'a Made>,
}

impl Loader<'_> {
    async fn begin(&self) -> Result<()> {
        self.session.execute("beginning to load", "BEGIN").await?;
        match self.made {
            Some(made) => made.writes(self.session).await,
            None => Ok(()),
        }
    }

    /// Loads whole tables in one transaction; `freeze` spares their first VACUUM. Gives what each was sent.
    pub(super) async fn tables(&self, tables: &[(&Table, &Arc<Supply>)], freeze: bool) -> Result<Vec<RowSum>> {
        self.begin().await?;
        if freeze {
            // COPY FREEZE wants a table that was made or emptied in the same transaction (manual, COPY).
            for (table, _) in tables {
                let sql = format!("TRUNCATE ONLY {}", table.sql());
                let done = self.session.client.batch_execute(&sql).await;
                done.map_err(|error| failed(self.session, &error, "loading", &sql))?;
            }
        }
        let supplies: Vec<Arc<Supply>> = tables.iter().map(|(_, supply)| (*supply).clone()).collect();
        let counts: Vec<usize> = supplies.iter().map(|supply| supply.len()).collect();
        let mut pieces = self.feed.stream(supplies.into_iter().flat_map(Supply::drain));
        let mut sent = vec![RowSum::default(); tables.len()];
        for (((table, _), portions), sent) in tables.iter().zip(counts).zip(&mut sent) {
            let sql = copy_statement(table, freeze);
            for _ in 0..portions {
                *sent += self.portion(table, &sql, &mut pieces).await?.unwrap_or_default();
            }
        }
        self.session.execute("committing rows", "COMMIT").await?;
        Ok(sent)
    }

    /// Loads what it can get of a table that other sessions load as well. Gives what was sent.
    ///
    /// It is one transaction, because a commit tells autovacuum of new rows: it would begin to vacuum a table that is
    /// half full, and the first index would wait a second for it to give way.
    pub(super) async fn share(&self, table: &Table, supply: &Arc<Supply>) -> Result<RowSum> {
        self.begin().await?;
        let sql = copy_statement(table, false);
        let mut pieces = self.feed.stream(supply.clone().drain());
        let mut sent = RowSum::default();
        while let Some(more) = self.portion(table, &sql, &mut pieces).await? {
            sent += more;
        }
        self.session.execute("committing rows", "COMMIT").await?;
        Ok(sent)
    }

    /// One COPY; `None` if there was nothing left for it.
    async fn portion(
        &self,
        table: &Table,
        sql: &str,
        pieces: &mut mpsc::Receiver<Result<Piece>>,
    ) -> Result<Option<RowSum>> {
        let Some(first) = pieces.recv().await else { return Ok(None) };
        let mut piece = first?;
        let doing = || format!("loading {}", table.key);
        let lost = |error: tokio_postgres::Error| failed(self.session, &error, &doing(), sql);
        let sink = self.session.client.copy_in::<_, Bytes>(sql).await.map_err(lost)?;
        let mut sink = std::pin::pin!(sink);
        let mut sent = RowSum::default();
        loop {
            sent += piece.rows;
            let amount = Amount::rows(piece.rows.rows, piece.bytes.len() as u64);
            let mut left = std::mem::take(&mut piece.bytes);
            while !left.is_empty() {
                let message = left.split_to(left.len().min(MESSAGE_BYTES));
                if let Err(error) = sink.feed(message).await {
                    // The server's own word on it comes with the end of the COPY.
                    return Err(lost(sink.finish().await.err().unwrap_or(error)));
                }
            }
            self.progress.advanced(STAGE, amount);
            if piece.last {
                break;
            }
            piece = match pieces.recv().await {
                Some(next) => next?,
                None => return Err(Error::failed(format!("{}: its chunks ended early", doing()))),
            };
        }
        let taken = sink.finish().await.map_err(lost)?;
        if taken != sent.rows {
            return Err(Error::check(format!("{}: {} rows were sent and the server took {taken}", doing(), sent.rows))
                .hint("a rule or trigger at the target may have swallowed rows"));
        }
        Ok(Some(sent))
    }
}

impl Supply {
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The COPY that takes a table's rows.
pub(super) fn copy_statement(table: &Table, freeze: bool) -> String {
    let into = table.route.as_ref().map_or_else(|| table.sql(), super::names::TableKey::sql);
    let options = if freeze { " WITH (FREEZE)" } else { "" };
    format!("COPY {into}{} FROM STDIN{options}", table.column_list())
}
