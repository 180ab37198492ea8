//! The rows of one table on their way to the server, counted and summed as they go by.

use crate::backup::facts::StreamedTable;
use crate::error::{Error, Result};
use crate::postgres::Session;
use crate::postgres::script::CopyBegin;
use crate::rowsum::{RowSum, Rows};
use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::Pin;
use tokio_postgres::CopyInSink;

/// One COPY is given no more than about this. The server tells of a bad row only at the end of a COPY, and nobody
/// should wait for the end of a table of a terabyte to hear of its first row.
const COPY_BYTES: u64 = 64 << 20;

/// A table that is being filled.
pub(super) struct Filling<'a> {
    session: &'a Session,
    sql: String,
    head: CopyBegin,
    sink: Option<Pin<Box<CopyInSink<Bytes>>>>,
    /// Bytes and rows of the COPY that is open.
    open_bytes: u64,
    open_rows: u64,
    total: RowSum,
}

impl<'a> Filling<'a> {
    /// Opens the first COPY, so that a table that is not there is noticed even without rows.
    pub(super) async fn begin(session: &'a Session, sql: String, head: CopyBegin) -> Result<Self> {
        let total = RowSum::default();
        let mut filling = Self { session, sql, head, sink: None, open_bytes: 0, open_rows: 0, total };
        filling.open().await?;
        Ok(filling)
    }

    async fn open(&mut self) -> Result<()> {
        let sink = self.session.client.copy_in(&self.sql).await;
        let sink =
            sink.map_err(|error| self.session.explain(&error, format!("line {}: {}", self.head.line, self.sql)))?;
        self.sink = Some(Box::pin(sink));
        Ok(())
    }

    /// Sends whole rows; gives how many.
    pub(super) async fn rows(&mut self, rows: Bytes) -> Result<u64> {
        if self.sink.is_none() {
            self.open().await?;
        }
        let sum = Rows::new().sum(&rows);
        let bytes = rows.len() as u64;
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.send(rows).await
        {
            return Err(self.explain(&error));
        }
        self.total += sum;
        self.open_rows += sum.rows;
        self.open_bytes += bytes;
        if self.open_bytes >= COPY_BYTES {
            self.close().await?;
        }
        Ok(sum.rows)
    }

    async fn close(&mut self) -> Result<()> {
        let Some(mut sink) = self.sink.take() else { return Ok(()) };
        let counted = sink.as_mut().finish().await.map_err(|error| self.explain(&error))?;
        if counted != self.open_rows {
            return Err(Error::failed(format!(
                "line {}: the server counted {counted} rows of {} where {} were sent",
                self.head.line, self.head.table, self.open_rows
            ))
            .hint("a trigger or rule that takes rows away is at work; look at the table's definition in the dump"));
        }
        (self.open_rows, self.open_bytes) = (0, 0);
        Ok(())
    }

    /// Closes the last COPY and says what the table got.
    pub(super) async fn end(mut self) -> Result<StreamedTable> {
        self.close().await?;
        let (table, columns) = (self.head.table, self.head.columns);
        Ok(StreamedTable { schema: table.schema.unwrap_or_default(), table: table.name, columns, rows: self.total })
    }

    /// The server counts rows from the beginning of its COPY; people look for the line in the dump.
    fn explain(&self, error: &tokio_postgres::Error) -> Error {
        let table = &self.head.table;
        let row = error.as_db_error().and_then(|db| db.where_()).and_then(|place| row_of(place, &table.name));
        let doing = match row {
            Some(row) => {
                let row = self.total.rows - self.open_rows + row;
                format!("line {}, row {row} of {table}", self.head.first_row_line + row - 1)
            }
            None => format!("rows of {table} from line {}", self.head.first_row_line),
        };
        self.session.explain(error, doing)
    }
}

/// The row number in the server's context `COPY orders, line 5, column a: "x"`; its words may be translated.
fn row_of(context: &str, table: &str) -> Option<u64> {
    let rest = context.split_once(table)?.1;
    let digits = rest.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_found_in_the_servers_words_in_any_language() {
        assert_eq!(row_of("COPY t2, line 15, column a: \"x 7\"", "t2"), Some(15));
        assert_eq!(row_of("COPY t2, Zeile 15, Spalte a: \"x 7\"", "t2"), Some(15));
        assert_eq!(row_of("PL/pgSQL function f()", "t2"), None);
    }
}
