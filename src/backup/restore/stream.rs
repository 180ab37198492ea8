//! Points of the stream engine: one plain dump, played as it comes.

use super::content::Chunks;
use super::fill::{Difference, Filled, Hands};
use super::load::Supply;
use super::names::TableKey;
use super::readback::{self, Reader};
use super::request::Proof;
use super::table::Table;
use crate::backup::facts::{StreamFacts, StreamedTable};
use crate::backup::foreign::player::{self, Options, PlayReport};
use crate::error::{Error, Result};
use crate::journal::Amount;
use crate::rowsum::RowSum;
use tokio_util::io::StreamReader;

impl Hands {
    /// Plays a dump into the database.
    pub(in crate::backup) async fn play(&self, facts: &StreamFacts, chunks: &Chunks, proof: Proof) -> Result<Filled> {
        let pieces = self.feed.stream(Supply::of(&chunks.name, &chunks.ranges).drain());
        let bytes = futures_util::stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.recv().await?;
            let piece = piece.map(|piece| piece.bytes).map_err(std::io::Error::other);
            Some((piece, pieces))
        });
        let session = self.site.for_definitions().await?;
        let options = Options { name: chunks.name.name.clone(), ..Options::default() };
        let reader = StreamReader::new(Box::pin(bytes));
        let played = player::play(reader, &session, &options, self.progress.as_ref(), &self.cancel).await?;
        session.close().await;
        as_recorded(facts, &played)?;
        let mut filled = Filled { rows: played.rows, ..Filled::default() };
        if proof == Proof::ReadBack {
            filled.differing = self.read_back(facts).await?;
        }
        Ok(filled)
    }

    async fn read_back(&self, facts: &StreamFacts) -> Result<Vec<Difference>> {
        let tables: Vec<Table> = facts.tables.iter().map(table).collect();
        let total = Amount { items: tables.len() as u64, ..Amount::default() };
        self.progress.began(readback::STAGE, total);
        let session = self.site.for_work().await?;
        let reader = Reader { session: &session, progress: &self.progress };
        let read = reader.tables(&tables.iter().collect::<Vec<_>>()).await?;
        session.close().await;
        self.progress.ended(readback::STAGE, total);
        let sent: Vec<RowSum> = tables.iter().map(|table| table.rows).collect();
        Ok(readback::compare(&tables, &sent, &read))
    }
}

/// The rows that went by must be those that went by when the dump was taken.
fn as_recorded(facts: &StreamFacts, played: &PlayReport) -> Result<()> {
    if facts.tables == played.tables {
        return Ok(());
    }
    let differs = |table: &&StreamedTable| !played.tables.contains(table);
    let named = facts
        .tables
        .iter()
        .find(differs)
        .map_or("a table".to_owned(), |table| format!("{}.{}", table.schema, table.table));
    Err(Error::failed(format!("playing the dump: the rows of {named} are not those that were recorded")))
}

fn table(streamed: &StreamedTable) -> Table {
    Table {
        object: 0,
        key: TableKey::new(&streamed.schema, &streamed.table),
        columns: streamed.columns.clone(),
        types: Vec::new(),
        ranges: 1,
        // Not known for one table of a dump: each has a stream of its own if it has many rows.
        bytes: streamed.rows.rows * 64,
        rows: streamed.rows,
        indexes: Vec::new(),
        condition: None,
        heap_bytes: 0,
        route: None,
    }
}
