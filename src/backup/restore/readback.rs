//! Reading tables back: the row sum of what the server returns, in the session settings of the backup.

use super::names::TableKey;
use super::site::failed;
use super::table::Table;
use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress};
use crate::postgres::tap::RowSink;
use crate::postgres::{Session, quote};
use crate::rowsum::{RowSum, Rows};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::task::{Context, Poll};

/// The stage's name in progress and report.
pub(in crate::backup) const STAGE: &str = "read-back";

/// How many tables are asked for before the first has answered.
const PIPELINED: usize = 16;

/// A table of this size has a stream of its own; smaller ones answer one after another without being asked twice.
const OWN_STREAM_BYTES: u64 = 1 << 20;

/// A table whose rows came back otherwise than they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Difference {
    pub(in crate::backup) table: Table,
    pub(in crate::backup) sent: RowSum,
    pub(in crate::backup) read: RowSum,
}

/// Reads over one session.
pub(in crate::backup) struct Reader<'a> {
    pub(in crate::backup) session: &'a Session,
    pub(in crate::backup) progress: &'a SharedProgress,
}

impl Reader<'_> {
    /// The sums of whole tables, in their order.
    pub(in crate::backup) async fn tables(&self, tables: &[&Table]) -> Result<Vec<RowSum>> {
        let mut sums = vec![RowSum::default(); tables.len()];
        let is_large = |place: &usize| tables[*place].bytes >= OWN_STREAM_BYTES;
        let (large, small): (Vec<usize>, Vec<usize>) = (0..tables.len()).partition(is_large);
        let pipelined: Vec<_> = small.iter().map(|place| self.sum_of_small(tables[*place]).boxed()).collect();
        let found: Vec<RowSum> = futures_util::stream::iter(pipelined).buffered(PIPELINED).try_collect().await?;
        for (place, sum) in small.iter().zip(found) {
            sums[*place] = sum;
        }
        for place in large {
            sums[place] = self.sum(tables[place], &whole(tables[place])).await?;
        }
        Ok(sums)
    }

    /// The sum of one of `of` parts of a table, by its pages.
    pub(in crate::backup) async fn part(&self, table: &Table, part: u32, of: u32) -> Result<RowSum> {
        if of <= 1 {
            return self.sum(table, &whole(table)).await;
        }
        let doing = format!("measuring {}", table.key);
        let sql =
            "SELECT pg_catalog.pg_relation_size($1::text::regclass) / pg_catalog.current_setting('block_size')::bigint";
        let pages: i64 = self.session.row(&doing, sql, &[&table.sql()]).await?.get(0);
        let step = pages / i64::from(of) + 1;
        let first = step * i64::from(part);
        // The last part has no end: nobody writes here, but a page more must not be missed.
        let end = (part + 1 < of).then_some(first + step);
        self.sum(table, &pages_of(table, first, end)).await
    }

    /// Gives the hash of every row of a table to `each`, and gives that back.
    pub(in crate::backup) async fn hashes<E: EachRow>(&self, table: &Table, each: E) -> Result<E> {
        let doing = format!("reading {} back", table.key);
        let sink = Hashes { rows: Rows::new(), each };
        let (sink, _) = self.session.copy_out(&doing, &whole(table), sink).await?;
        Ok(sink.each)
    }

    /// Reads one answer as large pieces; the rows are summed where they leave the socket.
    async fn sum(&self, table: &Table, sql: &str) -> Result<RowSum> {
        let doing = format!("reading {} back", table.key);
        let progress = self.progress.clone();
        let sink = Summing { rows: Rows::new(), sum: RowSum::default(), told: Amount::default(), progress };
        let (sink, counted) = self.session.copy_out(&doing, sql, sink).await?;
        self.progress.advanced(STAGE, sink.told);
        if counted == sink.sum.rows {
            return Ok(sink.sum);
        }
        Err(Error::failed(format!("{doing}: the server sent {counted} rows and {} arrived", sink.sum.rows)))
    }

    /// The same through the driver, which lets several questions be on their way at once.
    async fn sum_of_small(&self, table: &Table) -> Result<RowSum> {
        let sql = whole(table);
        let lost = |error| failed(self.session, &error, &format!("reading {} back", table.key), &sql);
        let stream = self.session.client.copy_out(&sql).await.map_err(lost)?;
        let mut stream = std::pin::pin!(stream);
        let (mut rows, mut sum, mut bytes) = (Rows::new(), RowSum::default(), 0);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(lost)?;
            sum += rows.sum(&piece);
            bytes += piece.len() as u64;
        }
        self.progress.advanced(STAGE, Amount::rows(sum.rows, bytes));
        Ok(sum)
    }
}

/// Sums rows where they leave the socket.
struct Summing {
    rows: Rows,
    sum: RowSum,
    /// What was done since progress was told.
    told: Amount,
    progress: SharedProgress,
}

impl RowSink for Summing {
    fn poll_room(&mut self, left: usize, _fresh: bool, _cx: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(left)
    }

    fn put(&mut self, piece: &[u8], _last: bool) {
        let more = self.rows.sum(piece);
        self.sum += more;
        self.told += Amount::rows(more.rows, piece.len() as u64);
        if self.told.bytes >= 1 << 20 {
            self.progress.advanced(STAGE, std::mem::take(&mut self.told));
        }
    }
}

/// Something that wants the hash of every row.
pub(in crate::backup) trait EachRow: Send + 'static {
    /// Takes one.
    fn row(&mut self, hash: u128);
}

/// Hands on the hash of each row.
struct Hashes<E> {
    rows: Rows,
    each: E,
}

impl<E: EachRow> RowSink for Hashes<E> {
    fn poll_room(&mut self, left: usize, _fresh: bool, _cx: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(left)
    }

    fn put(&mut self, piece: &[u8], _last: bool) {
        self.rows.each(piece, |hash| self.each.row(hash));
    }
}

/// The tables whose rows came back otherwise than they were sent. Partitions that were filled through their root are
/// compared together: here a row may rightly lie in another one.
pub(in crate::backup) fn compare(tables: &[Table], sent: &[RowSum], read: &[RowSum]) -> Vec<Difference> {
    let mut groups: BTreeMap<&TableKey, Difference> = BTreeMap::new();
    for (table, (sent, read)) in tables.iter().zip(sent.iter().zip(read)) {
        let key = table.route.as_ref().unwrap_or(&table.key);
        let none = || Difference { table: table.clone(), sent: RowSum::default(), read: RowSum::default() };
        let group = groups.entry(key).or_insert_with(none);
        group.sent += *sent;
        group.read += *read;
    }
    groups.into_values().filter(|group| group.sent != group.read).collect()
}

/// The statement that reads all rows of a table, as a backup reads them.
fn whole(table: &Table) -> String {
    match table.condition.as_deref() {
        Some(condition) if !condition.trim().is_empty() => {
            format!("COPY (SELECT {} FROM ONLY {} {condition}) TO STDOUT", columns(table), table.sql())
        }
        // A partitioned table has no rows of its own; those of all its partitions are meant.
        _ if table.route.as_ref() == Some(&table.key) => {
            format!("COPY (SELECT {} FROM {}) TO STDOUT", columns(table), table.sql())
        }
        _ => format!("COPY {}{} TO STDOUT", table.sql(), table.column_list()),
    }
}

/// The statement that reads some pages of a table.
fn pages_of(table: &Table, first: i64, end: Option<i64>) -> String {
    let mut sql = format!("COPY (SELECT {} FROM ONLY {} WHERE ctid >= '({first},0)'::tid", columns(table), table.sql());
    if let Some(end) = end {
        sql = format!("{sql} AND ctid < '({end},0)'::tid");
    }
    if let Some(condition) = table.condition.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        // An extension registers its condition with the keyword.
        let bare = condition.get(.."WHERE".len()).filter(|word| word.eq_ignore_ascii_case("where"));
        let bare = bare.map_or(condition, |word| &condition[word.len()..]);
        sql = format!("{sql} AND ({bare})");
    }
    sql.push_str(") TO STDOUT");
    sql
}

fn columns(table: &Table) -> String {
    table.columns.iter().map(|name| quote::ident(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(condition: Option<&str>) -> Table {
        Table {
            object: 1,
            key: TableKey::new("public", "t"),
            columns: vec!["a".into(), "b c".into()],
            types: vec!["integer".into(), "text".into()],
            ranges: 1,
            bytes: 1,
            rows: RowSum::default(),
            indexes: vec![],
            condition: condition.map(str::to_owned),
            heap_bytes: 0,
            route: None,
        }
    }

    #[test]
    fn partitions_that_were_filled_through_their_root_are_compared_together() {
        let sum = |rows: &[&str]| {
            let mut sum = RowSum::default();
            for row in rows {
                sum.add_row(row.as_bytes());
            }
            sum
        };
        let (mut one, mut other) = (table(None), table(None));
        other.key = TableKey::new("public", "u");
        let (sent, read) = ([sum(&["a", "b"]), sum(&["c"])], [sum(&["a"]), sum(&["b", "c"])]);
        assert_eq!(compare(&[one.clone(), other.clone()], &sent, &read).len(), 2);
        one.route = Some(TableKey::new("public", "root"));
        other.route.clone_from(&one.route);
        assert_eq!(compare(&[one.clone(), other.clone()], &sent, &read), []);
        assert_eq!(compare(&[one, other], &sent, &[sum(&["a"]), sum(&["b", "x"])]).len(), 1);
    }

    #[test]
    fn parts_meet_at_their_pages_and_the_last_has_no_end() {
        assert_eq!(whole(&table(None)), "COPY \"public\".\"t\" (\"a\", \"b c\") TO STDOUT");
        let middle = "COPY (SELECT \"a\", \"b c\" FROM ONLY \"public\".\"t\" \
                      WHERE ctid >= '(10,0)'::tid AND ctid < '(20,0)'::tid) TO STDOUT";
        assert_eq!(pages_of(&table(None), 10, Some(20)), middle);
        assert!(pages_of(&table(None), 20, None).ends_with("ctid >= '(20,0)'::tid) TO STDOUT"));
    }

    #[test]
    fn the_rows_of_an_extension_are_read_with_its_condition() {
        let table = table(Some("WHERE a > 1"));
        assert!(whole(&table).ends_with("FROM ONLY \"public\".\"t\" WHERE a > 1) TO STDOUT"));
        assert!(pages_of(&table, 0, None).ends_with("AND ( a > 1)) TO STDOUT"));
    }
}
