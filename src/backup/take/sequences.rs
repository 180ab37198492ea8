//! Where the sequences stood. They know no snapshots, and whoever has read one keeps a lock on it until the transaction
//! ends; so they are read outside the keeper's transaction, one statement at a time.
//!
//! They are read twice. Once right after the snapshot: what a row of it took from a sequence was taken before, so no value
//! is behind the rows. And once last, so that numbers which were handed out meanwhile are not handed out again after a
//! restore. The second reading only moves a value on: a sequence that was dropped, replaced or set back meanwhile is in the
//! definitions of the snapshot, and stays where it stood then.

use super::outlet::Outlet;
use super::request::{LeavesOut, Request};
use super::watcher::Watcher;
use crate::backup::facts::{SequenceFacts, SequenceValue, kind};
use crate::error::{Error, Result};
use crate::postgres::catalog::{self, Sequence, Table};
use crate::postgres::session::{Session, prepare_data_session};
use crate::postgres::{ConnInfo, connect, quote};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How long the second reading waits for a lock: shorter than PostgreSQL waits before it looks for deadlocks.
const LAST_WAIT: Duration = Duration::from_millis(200);

/// So many sequences are named in one pattern: a query of `pg_dump` for each pattern, and no pattern too complex for it.
const NAMES_PER_PATTERN: usize = 100;

/// How the first reading reaches the server.
pub(crate) struct FirstReading<'a> {
    /// The very server on which the snapshot is.
    pub(crate) conn: &'a ConnInfo,
    /// Who sees whether anybody waits behind it.
    pub(crate) watcher: &'a Watcher,
    /// How long it waits for a lock.
    pub(crate) lock_budget: Duration,
}

/// The sequences of a snapshot, and where they stood when it was taken.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    sequences: Vec<Sequence>,
    at_first: Vec<catalog::SequenceValue>,
}

impl Sequences {
    /// Lists the sequences that the keeper sees and reads them a first time; `None` if one is gone already.
    pub(crate) async fn read_first(
        keeper: &Session,
        tables: &[Table],
        request: &Request,
        reading: &FirstReading<'_>,
    ) -> Result<Option<Self>> {
        let sequences = sequences(keeper, tables, request).await?;
        if sequences.is_empty() {
            return Ok(Some(Self::default()));
        }
        let session = connect(reading.conn, "sequences").await?;
        prepare_data_session(&session).await?;
        let pid = session.backend_pid();
        reading.watcher.watch_over(pid);
        wait_at_most(&session, reading.lock_budget).await?;
        let at_first = catalog::sequence_values(&session, &sequences).await?;
        reading.watcher.forget(pid);
        session.close().await;
        Ok((at_first.len() == sequences.len()).then_some(Self { sequences, at_first }))
    }

    /// Patterns that keep `pg_dump` from reading them. It would for nothing, would lock each until it ends, and would fail
    /// over one that is gone.
    pub(crate) fn patterns(&self) -> Vec<String> {
        let mut by_schema: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for sequence in &self.sequences {
            by_schema.entry(&sequence.schema).or_default().push(quote::ident(&sequence.name));
        }
        let patterns = by_schema.iter().flat_map(|(schema, names)| {
            let schema = quote::ident(schema);
            names.chunks(NAMES_PER_PATTERN).map(move |some| format!("{schema}.({})", some.join("|")))
        });
        patterns.collect()
    }

    /// Reads them again, after all rows, on a session without a transaction; puts the values into the point and gives
    /// their number.
    pub(crate) async fn read_last(&self, session: &Session, database: &str, outlet: &Outlet) -> Result<u64> {
        wait_at_most(session, LAST_WAIT).await?;
        let at_last = catalog::sequence_values_unless_held(session, &self.sequences).await?;
        let at_last: HashMap<u32, catalog::SequenceValue> =
            at_last.into_iter().map(|value| (value.oid, value)).collect();
        let values = self.sequences.iter().zip(&self.at_first).map(|(sequence, first)| {
            let value = further(sequence, first, at_last.get(&sequence.oid));
            let (schema, name) = (sequence.schema.clone(), sequence.name.clone());
            SequenceValue { schema, name, last_value: value.last_value, is_called: value.is_called }
        });
        let sequences: Vec<SequenceValue> = values.collect();
        let count = sequences.len() as u64;
        let object = outlet.object(kind::SEQUENCES, format!("sequences of {database}"));
        outlet.end_object(&object, &SequenceFacts { database: database.to_owned(), sequences }).await?;
        Ok(count)
    }
}

/// Of two states of a sequence the one that has handed out more.
fn further<'a>(
    sequence: &Sequence,
    first: &'a catalog::SequenceValue,
    last: Option<&'a catalog::SequenceValue>,
) -> &'a catalog::SequenceValue {
    let place = |value: &catalog::SequenceValue| {
        let number = i128::from(value.last_value);
        (if sequence.increment < 0 { -number } else { number }, value.is_called)
    };
    last.filter(|last| place(last) > place(first)).unwrap_or(first)
}

async fn wait_at_most(session: &Session, wait: Duration) -> Result<()> {
    let wait = wait.as_millis().clamp(1, i32::MAX as u128);
    session.execute("preparing to read sequences", &format!("SET lock_timeout = {wait}")).await
}

/// The sequences that are taken: not those of a table that is left out, and not unlogged ones on a standby, which cannot
/// read them.
///
/// # Errors
/// One of them cannot be read, and would start again at its beginning after a restore.
pub(crate) async fn sequences(session: &Session, tables: &[Table], request: &Request) -> Result<Vec<Sequence>> {
    let left_out = left_out_sequences(session, tables, request).await?;
    let mut sequences = catalog::sequences(session).await?;
    sequences.retain(|sequence| !left_out.contains(&sequence.oid));
    sequences.retain(|sequence| !sequence.unlogged || !session.is_standby());
    refuse_unreadable(&sequences)?;
    Ok(sequences)
}

/// The sequences that belong to tables which are left out.
async fn left_out_sequences(session: &Session, tables: &[Table], request: &Request) -> Result<Vec<u32>> {
    let owners: Vec<u32> = left_out_tables(tables, request).map(|table| table.oid).collect();
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT d.objid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid \
               WHERE c.relkind = 'S' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY ($1) \
               AND d.deptype IN ('a', 'i')";
    let rows = session.rows("listing sequences of tables that are left out", sql, &[&owners]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tables that are left out with their definition.
fn left_out_tables<'a>(tables: &'a [Table], request: &Request) -> impl Iterator<Item = &'a Table> {
    tables.iter().filter(|table| request.leaves_out(&table.schema, &table.name) == Some(LeavesOut::Table))
}

/// What `pg_dump` is told to leave out: these tables, and their sequences, which it would dump as if they were alone.
pub(crate) async fn left_out_names(session: &Session, tables: &[Table], request: &Request) -> Result<Vec<String>> {
    let mut names: Vec<String> = left_out_tables(tables, request).map(Table::qualified).collect();
    let left_out = left_out_sequences(session, tables, request).await?;
    if !left_out.is_empty() {
        let sequences = catalog::sequences(session).await?;
        let left_out = sequences.iter().filter(|sequence| left_out.contains(&sequence.oid));
        names.extend(left_out.map(|s| quote::qualified(&s.schema, &s.name)));
    }
    Ok(names)
}

fn refuse_unreadable(sequences: &[Sequence]) -> Result<()> {
    match sequences.iter().find(|sequence| !sequence.readable) {
        Some(Sequence { schema, name, .. }) => {
            Err(Error::refused(format!("reading sequences: no privilege on {schema}.{name}"))
                .hint("GRANT SELECT ON ALL SEQUENCES IN SCHEMA, or back up as a member of pg_read_all_data"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(name: &str, increment: i64) -> Sequence {
        let (schema, name) = ("public".to_owned(), name.to_owned());
        Sequence { oid: 1, schema, name, unlogged: false, readable: true, of_extension: false, increment }
    }

    #[test]
    fn sequences_are_named_to_pg_dump_many_at_once_with_nothing_in_a_name_that_it_reads_as_a_pattern() {
        let names = (0..250).map(|number| sequence(&format!("s{number}"), 1));
        let odd = Sequence { schema: "Odd \"one\"".into(), ..sequence("a|b.*", 1) };
        let sequences = Sequences { sequences: names.chain([odd]).collect(), at_first: Vec::new() };
        let patterns = sequences.patterns();
        assert_eq!(patterns.len(), 4);
        assert_eq!(patterns[0], "\"Odd \"\"one\"\"\".(\"a|b.*\")");
        assert!(
            patterns[1].starts_with("\"public\".(\"s0\"|\"s1\"|") && patterns[3].ends_with("|\"s249\")"),
            "{patterns:?}"
        );
    }

    #[test]
    fn the_second_reading_only_moves_a_sequence_on() {
        let value = |last_value, is_called| catalog::SequenceValue {
            oid: 1,
            schema: "public".into(),
            name: "s".into(),
            last_value,
            is_called,
        };
        let (five, handed_out, nine) = (value(5, false), value(5, true), value(9, true));
        let (up, down) = (sequence("s", 1), sequence("s", -2));
        assert_eq!(further(&up, &five, None), &five);
        assert_eq!(further(&up, &five, Some(&handed_out)), &handed_out);
        assert_eq!(further(&up, &handed_out, Some(&five)), &handed_out);
        assert_eq!(further(&up, &handed_out, Some(&nine)), &nine);
        assert_eq!(further(&up, &nine, Some(&five)), &nine);
        assert_eq!(further(&down, &nine, Some(&five)), &five);
        assert_eq!(further(&down, &five, Some(&nine)), &five);
        assert_eq!(further(&down, &value(i64::MIN, true), Some(&nine)).last_value, i64::MIN);
    }
}
