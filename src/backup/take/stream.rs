//! One database by the `stream` engine: one `pg_dump`, cut into chunks as it comes, for where the parallel engine cannot
//! keep its promises. The script is read along, so that the rows of every table are counted and summed here, too.

use super::chunker::{CHUNK_BYTES, Filled};
use super::database::{Common, Taken, begin_watch};
use super::described::{Subject, describe};
use super::keeper::check_files;
use super::outlet::{Outlet, Putting, ROWS};
use super::pace::Pace;
use super::request::{LeavesOut, Request};
use super::sequences::left_out_names;
use super::watcher::Watcher;
use crate::backup::facts::{StreamFacts, StreamedTable, kind};
use crate::error::{Error, Result};
use crate::journal::Amount;
use crate::postgres::catalog::{self, Table};
use crate::postgres::script::{CopyBegin, DumpKind, Lexer, Limits, Token};
use crate::postgres::session::{Session, prepare_data_session};
use crate::postgres::tools::Tool;
use crate::postgres::{ConnInfo, connect};
use crate::rowsum::{RowSum, Rows};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

/// What is read from `pg_dump` at once.
const READ: usize = 256 * 1024;

/// Backs up one database. `announce` is called with the time before anything of it is written.
pub(crate) async fn take(
    common: &Common<'_>,
    conn: &ConnInfo,
    announce: impl FnOnce(Timestamp) -> Result<()>,
) -> Result<Taken> {
    let outlet = &common.outlet;
    let session = connect(conn, "keeper").await?;
    outlet.crew.joins(&session);
    let settings = prepare_data_session(&session).await?;
    let conn = session.conn().clone();
    let tables = catalog::tables(&session).await?;
    let taken = server_time(&session).await?;
    announce(taken)?;
    let lsn = catalog::lsn(&session).await?;
    let subject = Subject { session: &session, tables: &tables, settings: &settings, lsn: lsn.as_deref(), taken };
    let database = describe(&subject, common.request, outlet).await?;
    let watcher = begin_watch(common, &outlet.crew, &conn).await?;
    let began = common.clock.monotonic();
    let name = format!("davit/dump {}", outlet.writer.run());
    let leave_out = left_out_names(&session, &tables, common.request).await?;
    let of = Of { conn: &conn, database: &database, tables: &tables, leave_out: &leave_out };
    let dumping = CancellationToken::new();
    let dumped = async {
        tokio::try_join!(
            dump(common, &name, &of, &dumping),
            find(&session, &name, &watcher, common),
            check_files_once(&dumping, &session, &tables, common.request),
        )
    };
    let (tables, (), ()) = tokio::select! {
        biased;
        error = watcher.watch() => Err(error),
        dumped = dumped => dumped,
    }?;
    session.close().await;
    let held = common.clock.monotonic().saturating_sub(began);
    Ok(Taken { snapshot_time: taken, tables, sequences: 0, xmin_age_max: watcher.xmin_age_max(), held })
}

async fn server_time(session: &Session) -> Result<Timestamp> {
    let sql = "SELECT (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint";
    let row = session.row("asking for the server's time", sql, &[]).await?;
    Ok(Timestamp::from_microsecond(row.get(0)).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Looks for the process that serves `pg_dump`, so that the watcher knows whose locks are ours.
async fn find(session: &Session, name: &str, watcher: &Watcher, common: &Common<'_>) -> Result<()> {
    let sql = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = $1";
    // A dump that is over before it was seen had no time to stand in anybody's way.
    for _ in 0..50 {
        if let Some(row) = session.rows("looking for pg_dump on the server", sql, &[&name]).await?.first() {
            watcher.keeper_is(row.get(0));
            return Ok(());
        }
        common.clock.sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Looks for tables that were truncated or rewritten between the snapshot of `pg_dump` and its locks, as soon as it has
/// all of these. They would be empty in the dump, and it says nothing about that.
async fn check_files_once(
    dumping: &CancellationToken,
    session: &Session,
    tables: &[Table],
    request: &Request,
) -> Result<()> {
    dumping.cancelled().await;
    check_files(session, tables, request).await
}

/// Dumps; `dumping` is told when the first bytes come: by then `pg_dump` has locked every table.
async fn dump(common: &Common<'_>, name: &str, of: &Of<'_>, dumping: &CancellationToken) -> Result<u64> {
    let (outlet, database) = (&common.outlet, of.database);
    outlet.progress.began(ROWS, Amount::default());
    let mut running = pg_dump(common, name, of).spawn()?;
    let output = running.stdout.take().ok_or_else(|| Error::failed("reading a program's output: it has none"))?;
    let object = outlet.object(kind::DUMP, format!("dump of {database}"));
    let pace = common.rate.as_ref().map(|rate| Pace::of(Arc::clone(rate)));
    let mut cutter = Cutter { outlet, reading: Reading::new(), putting: Vec::new(), pace, dumping, ended: false };
    let read = cutter.read(output).await;
    dumping.cancel();
    if cutter.ended {
        // What it says when it fails is worth more than that the script is not whole.
        running.finish(outlet.crew.stop()).await?;
    }
    read?;
    let Cutter { reading, putting, .. } = cutter;
    let tables = reading.finish(database)?;
    outlet.write_range(&object, None, putting).await?;
    let count = tables.len() as u64;
    let facts = StreamFacts { database: database.to_owned(), tables };
    let totals = outlet.end_object(&object, &facts).await?;
    outlet.progress.ended(ROWS, Amount { items: count, rows: totals.rows.rows, bytes: totals.bytes });
    Ok(count)
}

/// What is dumped, and what of it is not.
struct Of<'a> {
    conn: &'a ConnInfo,
    database: &'a str,
    tables: &'a [Table],
    leave_out: &'a [String],
}

fn pg_dump(common: &Common<'_>, name: &str, of: &Of<'_>) -> Tool {
    let request = common.request;
    let wait = request.lock_budget.as_millis().clamp(1, i32::MAX as u128);
    let mut tool = Tool::new(&common.tools.program("pg_dump"), format!("dumping {}", of.database))
        .database(of.conn)
        .env("PGAPPNAME", name)
        .args(["-Fp", "--no-password"])
        .arg(format!("--lock-wait-timeout={wait}"));
    if !request.include_unlogged || common.standby {
        tool = tool.arg("--no-unlogged-table-data");
    }
    let rows_only = |table: &&Table| request.leaves_out(&table.schema, &table.name) == Some(LeavesOut::Rows);
    tool.args(of.leave_out.iter().map(|name| format!("--exclude-table={name}")))
        .args(of.tables.iter().filter(rows_only).map(|table| format!("--exclude-table-data={}", table.qualified())))
}

/// Cuts the stream into chunks while it is read along.
struct Cutter<'a> {
    outlet: &'a Outlet,
    reading: Reading,
    putting: Vec<Putting>,
    pace: Option<Pace>,
    dumping: &'a CancellationToken,
    /// Whether the stream has come to its end.
    ended: bool,
}

impl Cutter<'_> {
    async fn read(&mut self, mut output: impl AsyncRead + Unpin) -> Result<()> {
        loop {
            let mut text = poll_fn(|cx| self.outlet.buffers.poll_take(cx)).await;
            let mut rows = RowSum::default();
            while text.len() < CHUNK_BYTES && !self.ended {
                if let Some(pace) = &mut self.pace {
                    poll_fn(|cx| pace.poll(cx)).await;
                }
                let before = text.len();
                let room = (CHUNK_BYTES - before).min(READ) as u64;
                let read = (&mut output).take(room).read_buf(&mut text).await;
                let read = read.map_err(|error| Error::failed("reading the dump").because(error))?;
                self.ended = read == 0;
                self.dumping.cancel();
                if let Some(pace) = &mut self.pace {
                    pace.passed(read);
                }
                rows += self.reading.push(&text[before..], self.ended)?;
            }
            if text.is_empty() {
                self.outlet.buffers.give(text);
            } else {
                self.putting.push(self.outlet.put(Filled { text, rows }));
            }
            if self.ended {
                return Ok(());
            }
        }
    }
}

/// Reads the script along: whose rows are going by, and whether it is whole.
struct Reading {
    lexer: Lexer,
    /// The rows of each table so far, in the order of the dump.
    tables: Vec<StreamedTable>,
    places: BTreeMap<(String, String), usize>,
    /// The table whose rows are going by.
    open: Option<usize>,
    complete: bool,
}

impl Reading {
    fn new() -> Self {
        let lexer = Lexer::new(Limits::default());
        Self { lexer, tables: Vec::new(), places: BTreeMap::new(), open: None, complete: false }
    }

    /// Takes the next bytes; gives the rows that are whole with them.
    fn push(&mut self, bytes: &[u8], last: bool) -> Result<RowSum> {
        self.lexer.push(bytes);
        if last {
            self.lexer.finish();
        }
        let mut rows = RowSum::default();
        loop {
            let token = self.lexer.next_token().map_err(|error| Error::failed("reading the dump").because(error))?;
            match token {
                None => return Ok(rows),
                Some(Token::CopyBegin(begin)) => self.open = Some(self.place(begin)),
                Some(Token::CopyRows(text)) => {
                    let some = Rows::new().sum(&text);
                    rows += some;
                    if let Some(table) = self.open.and_then(|place| self.tables.get_mut(place)) {
                        table.rows += some;
                    }
                }
                Some(Token::CopyEnd) => self.open = None,
                Some(Token::EndMarker(DumpKind::Database)) => self.complete = true,
                Some(_) => {}
            }
        }
    }

    /// Where the rows of a table are counted; a dump may name one twice.
    fn place(&mut self, begin: CopyBegin) -> usize {
        let CopyBegin { table, columns, .. } = begin;
        let (schema, name) = (table.schema.unwrap_or_default(), table.name);
        let next = self.tables.len();
        let place = *self.places.entry((schema.clone(), name.clone())).or_insert(next);
        if place == next {
            self.tables.push(StreamedTable { schema, table: name, columns, rows: RowSum::default() });
        }
        place
    }

    fn finish(self, database: &str) -> Result<Vec<StreamedTable>> {
        if !self.complete {
            return Err(Error::failed(format!("dumping {database}: the dump ended without its end mark")));
        }
        Ok(self.tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.a (i integer, t text);\n\
        COPY public.a (i, t) FROM stdin;\n1\tone\n2\t\\N\n\\.\n\nCOPY public.\"B b\" (x) FROM stdin;\n\\.\n\n\
        SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n\n";

    fn read(text: &str, step: usize) -> (Reading, RowSum) {
        let mut reading = Reading::new();
        let mut rows = RowSum::default();
        for piece in text.as_bytes().chunks(step) {
            rows += reading.push(piece, false).unwrap();
        }
        rows += reading.push(b"", true).unwrap();
        (reading, rows)
    }

    #[test]
    fn rows_are_counted_per_table_however_the_dump_arrives() {
        let mut expected = RowSum::default();
        expected.add_row(b"1\tone");
        expected.add_row(b"2\t\\N");
        for step in [1, 7, 1000] {
            let (reading, rows) = read(DUMP, step);
            assert_eq!(rows, expected, "step {step}");
            let tables = reading.finish("shop").unwrap();
            let seen: Vec<_> = tables.iter().map(|t| (t.schema.as_str(), t.table.as_str(), t.rows)).collect();
            assert_eq!(seen, [("public", "a", expected), ("public", "B b", RowSum::default())]);
            assert_eq!(tables[0].columns, ["i", "t"]);
        }
    }

    #[test]
    fn a_dump_without_its_end_mark_is_no_backup() {
        let cut = DUMP.split("-- PostgreSQL database dump complete").next().unwrap();
        let (reading, _) = read(cut, 1000);
        assert!(reading.finish("shop").unwrap_err().to_string().contains("without its end mark"));
    }
}
