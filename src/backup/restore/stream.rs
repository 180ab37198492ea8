//! Points of the stream engine: one plain dump, played as it comes.

use super::content::Chunks;
use super::fill::{Filled, Hands};
use super::load::Supply;
use super::names::TableKey;
use super::readback;
use super::request::{Adjust, Proof};
use super::table::Table;
use crate::backup::facts::{StreamFacts, StreamedTable};
use crate::backup::foreign::player::{self, Options, PlayReport};
use crate::error::{Error, Result};
use crate::rowsum::RowSum;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::io::StreamReader;

impl Hands {
    /// Plays a dump into the database.
    pub(in crate::backup) async fn play(
        &self,
        facts: &StreamFacts,
        chunks: &Chunks,
        adjust: &Adjust,
        proof: Proof,
        jobs: usize,
    ) -> Result<Filled> {
        let pieces = self.feed.stream(Supply::of(&chunks.name, &chunks.ranges).drain());
        let bytes = futures_util::stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.recv().await?;
            let piece = piece.map(|piece| piece.bytes).map_err(std::io::Error::other);
            Some((piece, pieces))
        });
        let session = self.site.for_definitions().await?;
        let options = Options { name: chunks.name.name.clone(), adjust: adjust.clone(), ..Options::default() };
        let reader = StreamReader::new(Box::pin(bytes));
        let played = player::play(reader, &session, &options, self.progress.as_ref(), &self.cancel).await?;
        session.close().await;
        as_recorded(facts, &played)?;
        let mut filled = Filled { rows: played.rows, ..Filled::default() };
        if proof == Proof::ReadBack {
            let tables = self.tables_of(facts).await?;
            let read = self.read_back(tables.clone(), jobs).await?;
            let sent: Vec<RowSum> = tables.iter().map(|table| table.rows).collect();
            filled.differing = readback::compare(&tables, &sent, &read);
        }
        Ok(filled)
    }
}

impl Hands {
    /// The tables of a dump as they can be read back. Rows may have gone in through the root of a partitioned table:
    /// its partitions' rows then came under its name.
    pub(in crate::backup) async fn tables_of(&self, facts: &StreamFacts) -> Result<Vec<Table>> {
        let mut tables: Vec<Table> = Vec::new();
        for streamed in &facts.tables {
            let table = Table::of_dump(streamed);
            match tables.iter_mut().find(|known| known.key == table.key) {
                Some(known) => known.rows += table.rows,
                None => tables.push(table),
            }
        }
        let session = self.site.for_work().await?;
        let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p'";
        let rows = session.rows("looking for partitioned tables", sql, &[]).await?;
        let roots: BTreeSet<TableKey> =
            rows.iter().map(|row| TableKey { schema: row.get(0), table: row.get(1) }).collect();
        for table in tables.iter_mut().filter(|table| roots.contains(&table.key)) {
            table.route = Some(table.key.clone());
        }
        // Of an extension's table only the user's rows are in a dump; the extension brought the others.
        let sql = "SELECT n.nspname::text, c.relname::text, COALESCE(x.condition, '') FROM pg_catalog.pg_extension e \
                   CROSS JOIN ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) AS x(relid, condition) \
                   JOIN pg_catalog.pg_class c ON c.oid = x.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
        for row in session.rows("looking for tables of extensions", sql, &[]).await? {
            let key = TableKey { schema: row.get(0), table: row.get(1) };
            for table in tables.iter_mut().filter(|table| table.key == key) {
                table.condition = Some(row.get(2));
            }
        }
        session.close().await;
        Ok(tables)
    }
}

/// The rows that went by must be those that went by when the dump was taken.
fn as_recorded(facts: &StreamFacts, played: &PlayReport) -> Result<()> {
    let (recorded, played) = (by_name(&facts.tables), by_name(&played.tables));
    if recorded == played {
        return Ok(());
    }
    let differs = |(table, rows): &(&TableKey, &RowSum)| played.get(*table) != Some(*rows);
    let named = recorded.iter().find(differs).map_or("a table".to_owned(), |(table, _)| table.to_string());
    Err(Error::failed(format!("playing the dump: the rows of {named} are not those that were recorded")))
}

/// The rows of each table. One may come in several pieces: where rows go in through the root of a partitioned table, there
/// is a piece for each partition, and all have the root's name.
fn by_name(tables: &[StreamedTable]) -> BTreeMap<TableKey, RowSum> {
    let mut all: BTreeMap<TableKey, RowSum> = BTreeMap::new();
    for table in tables {
        *all.entry(TableKey::new(&table.schema, &table.table)).or_default() += table.rows;
    }
    all
}
