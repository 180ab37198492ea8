//! What a restore itself has made and written in a database that stays: only that may be undone. Whoever uses the database
//! meanwhile may make a table of the same name first, and may write rows beside ours.

use super::definitions::Definition;
use super::names::TableKey;
use crate::error::{Context, Kind, Result};
use crate::postgres::Session;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Relations and transactions of this restore.
#[derive(Debug, Default)]
pub(in crate::backup) struct Made(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    relations: BTreeSet<TableKey>,
    transactions: BTreeSet<u32>,
}

impl Made {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are sent to the server. Should its answer be lost, they may be there.
    pub(super) fn sent(&self, definitions: &[&Definition]) {
        self.lock().relations.extend(relations(definitions));
    }

    /// The server refused these: if one of the names is there, it is somebody else's.
    pub(super) fn refused(&self, definitions: &[&Definition]) {
        let mut known = self.lock();
        for relation in relations(definitions) {
            known.relations.remove(&relation);
        }
    }

    /// Notes the transaction that the session is in: its number is in every row that it writes.
    pub(super) async fn writes(&self, session: &Session) -> Result<()> {
        let doing = "beginning to load";
        let sql = "SELECT (pg_catalog.pg_current_xact_id()::text::numeric % 4294967296)::text";
        let row = session.row(doing, sql, &[]).await?;
        let number: u32 = row.get::<_, &str>(0).parse().context(Kind::Failed, || doing.to_owned())?;
        self.lock().transactions.insert(number);
        Ok(())
    }

    /// Those of the relations that are ours.
    pub(super) fn ours(&self, all: &[TableKey]) -> Vec<TableKey> {
        let known = self.lock();
        all.iter().filter(|key| known.relations.contains(*key)).cloned().collect()
    }

    /// Our transactions, as an array of SQL; nothing if there was none.
    pub(super) fn transactions(&self) -> Option<String> {
        let known = self.lock();
        let numbers: Vec<String> = known.transactions.iter().map(ToString::to_string).collect();
        (!numbers.is_empty()).then(|| format!("'{{{}}}'::xid[]", numbers.join(",")))
    }
}

fn relations<'a>(definitions: &'a [&Definition]) -> impl Iterator<Item = TableKey> + 'a {
    definitions.iter().filter_map(|definition| definition.relation())
}

#[cfg(test)]
impl Made {
    /// As if these had been made, and rows been written in these transactions.
    pub(super) fn of(relations: &[TableKey], transactions: &[u32]) -> Self {
        let known = Known {
            relations: relations.iter().cloned().collect(),
            transactions: transactions.iter().copied().collect(),
        };
        Self(Mutex::new(known))
    }
}
