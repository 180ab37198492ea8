//! The other way: a recovery point as one SQL script that stock `psql` loads, in the order `pg_dump` would have written
//! it: definitions, rows, large objects, sequences, then everything that rests on the rows, and the end marker.
//!
//! Nothing is held but the chunks under way. Whoever loads the script must see its end marker: a script without it was
//! cut short, and this module writes it only when every row has been written.

mod parts;
mod routes;
mod script;

use crate::error::{Error, Result};
use crate::journal::{Amount, Progress};
use crate::postgres::quote;
use crate::postgres::script::TableName;
use crate::repository::manifest::Chunk;
use crate::repository::{FetchError, PointSummary, Repository};
use crate::rowsum::{RowSum, Rows};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use parts::{Parts, TablePart};
use routes::Routes;
use script::Out;
use serde::Serialize;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

/// The stage of an export, for progress.
pub const STAGE: &str = "export";

/// Chunks fetched ahead of the writer.
const CHUNKS_AHEAD: usize = 3;

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// The point.
    pub point: String,
    /// The database.
    pub database: String,
    /// Tables with rows in the backup, empty ones included.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of the script.
    pub bytes: u64,
}

/// Writes one database of a point to `out` as SQL.
///
/// # Errors
///
/// Input if the point holds several databases and none was named; Failed if a chunk is damaged, in which case the
/// script ends without its end marker.
pub async fn run(
    repository: &Repository,
    point: &PointSummary,
    database: Option<&str>,
    out: impl AsyncWrite + Send + Unpin,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<ExportReport> {
    let whole = repository.load_point(&point.source, point.point()).await?;
    let parts = Parts::of(whole, database)?;
    let mut exporter = Exporter { repository, out: Out::new(out), progress, rows: 0 };
    progress.began(STAGE, Amount { items: 0, rows: parts.rows(), bytes: parts.bytes() });
    tokio::select! {
        outcome = exporter.write(&parts) => outcome.map_err(|error| error.during(format!("exporting {}", point.point())))?,
        () = cancel.cancelled() => return Err(Error::failed("stopped on request")),
    }
    let (rows, bytes) = (exporter.rows, exporter.out.bytes());
    progress.ended(STAGE, Amount::rows(rows, bytes));
    let (database, tables) = (parts.facts.database.clone(), parts.table_count());
    Ok(ExportReport { point: point.point().to_string(), database, tables, rows, bytes })
}

struct Exporter<'a, W> {
    repository: &'a Repository,
    out: Out<W>,
    progress: &'a dyn Progress,
    rows: u64,
}

impl<W: AsyncWrite + Send + Unpin> Exporter<'_, W> {
    async fn write(&mut self, parts: &Parts) -> Result<()> {
        if let Some(dump) = &parts.dump {
            // It is what pg_dump printed, end marker included.
            self.each_chunk(&dump.chunks, "the dump", async |exporter, chunk| {
                exporter.out.bytes_as_they_are(&chunk).await
            })
            .await?;
            self.rows = dump.rows;
            return self.out.finish().await;
        }
        self.out.begin().await?;
        let routes = self.definitions(&parts.pre_data, "the definitions before the rows").await?;
        self.out.settings_of_rows().await?;
        for table in &parts.tables {
            self.table(table, &routes).await?;
        }
        self.out.end_settings_of_rows().await?;
        self.large_objects(&parts.large_objects).await?;
        for sequence in &parts.sequences {
            let name = quote::literal(&quote::qualified(&sequence.schema, &sequence.name));
            let (value, called) = (sequence.last_value, sequence.is_called);
            self.out.line(&format!("SELECT pg_catalog.setval({}, {value}, {called});\n", name.trim_start())).await?;
        }
        self.definitions(&parts.post_data, "the definitions after the rows").await?;
        self.out.end().await
    }

    /// Definitions as they were rendered, but for the comments that would tell a reader that the script ends here.
    async fn definitions(&mut self, chunks: &[Chunk], what: &str) -> Result<Routes> {
        let mut rendered = script::Rendered::new();
        self.each_chunk(chunks, what, async |exporter, chunk| {
            let text = rendered.push(&chunk)?;
            exporter.out.bytes_as_they_are(&text).await
        })
        .await?;
        let (rest, routes) = rendered.finish()?;
        self.out.bytes_as_they_are(&rest).await?;
        Ok(routes)
    }

    async fn table(&mut self, table: &TablePart, routes: &Routes) -> Result<()> {
        let name = TableName { schema: Some(table.facts.schema.clone()), name: table.facts.table.clone() };
        let columns: Vec<String> = table.facts.columns.iter().map(|column| quote::ident(&column.name)).collect();
        self.out.begin_rows(&name, &routes.loads_into(name.clone()), &columns).await?;
        let mut rows = Rows::new();
        let mut total = RowSum::default();
        self.each_chunk(&table.chunks, &name.to_string(), async |exporter, chunk| {
            total += rows.sum(&chunk);
            exporter.out.bytes_as_they_are(&chunk).await
        })
        .await?;
        if total != table.rows || !rows.is_between_rows() {
            return Err(Error::failed(format!("{name} has {total} where the manifest says {}", table.rows)));
        }
        self.rows += total.rows;
        self.out.end_rows().await
    }

    /// Lines of oid, offset and bytes, which may go on from one chunk in the next.
    async fn large_objects(&mut self, chunks: &[Chunk]) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.out.line("BEGIN;\n").await?;
        let mut begun = BytesMut::new();
        self.each_chunk(chunks, "large objects", async |exporter, chunk| {
            begun.extend_from_slice(&chunk);
            while let Some(end) = memchr::memchr(b'\n', &begun) {
                let line = begun.split_to(end + 1);
                exporter.out.line(&script::large_object(&line)?).await?;
            }
            Ok(())
        })
        .await?;
        if !begun.is_empty() {
            return Err(Error::failed("the last line of the large objects is not whole"));
        }
        self.out.line("\nCOMMIT;\n").await
    }

    /// Calls `each` with every chunk in order; a few are fetched ahead.
    async fn each_chunk(
        &mut self,
        chunks: &[Chunk],
        what: &str,
        mut each: impl AsyncFnMut(&mut Self, Bytes) -> Result<()>,
    ) -> Result<()> {
        let repository = self.repository;
        let mut fetched = stream::iter(chunks)
            .map(|chunk| async move { (chunk, repository.fetch_chunk(chunk).await) })
            .buffered(CHUNKS_AHEAD);
        let mut before = 0;
        while let Some((found, chunk)) = fetched.next().await {
            let (id, rows) = (&found.id, found.rows.rows);
            let chunk = chunk.map_err(|error| match error {
                FetchError::Damage(damage) if rows > 0 => {
                    let (first, last) = (before + 1, before + rows);
                    broken(&format!("{what}, rows {first} to {last}, chunk {id}: {damage}"))
                }
                FetchError::Damage(damage) => broken(&format!("{what}, chunk {id}: {damage}")),
                FetchError::Error(error) => error.during(format!("reading {what}")),
            })?;
            before += rows;
            self.progress.advanced(STAGE, Amount::rows(rows, chunk.len() as u64));
            each(self, chunk).await?;
        }
        Ok(())
    }
}

/// What was saved is not whole: no second try helps.
fn broken(what: &str) -> Error {
    Error::check(what).hint("davit verify tells what else is damaged; davit restore --allow-damage saves the rest")
}
