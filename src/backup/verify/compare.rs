//! What is in the restored database, against what the manifest says: row for row, by count and sum.

use super::locate::{self, Found};
use super::printing::Printing;
use super::report::VerifyReport;
use crate::backup::facts::DatabaseFacts;
use crate::backup::restore::content::Chunks;
use crate::backup::restore::fill::Hands;
use crate::backup::restore::names::TableKey;
use crate::backup::restore::readback::{self, Difference};
use crate::backup::restore::selection::Selection;
use crate::backup::restore::table::Table;
use crate::backup::restore::{Means, large_objects, routes};
use crate::error::Result;
use crate::repository::{Check, Damage};
use crate::rowsum::RowSum;

/// A database that was restored to be looked at.
pub(super) struct Restored {
    /// Writing and checking as the lesser role.
    pub(super) hands: Hands,
    /// Reading as whoever sees everything.
    pub(super) reading: Hands,
    pub(super) selection: Selection,
    pub(super) facts: DatabaseFacts,
    pub(super) same_major: bool,
}

/// The comparison of one database.
pub(super) struct Comparison<'a> {
    pub(super) means: &'a Means,
    pub(super) restored: &'a Restored,
}

impl Comparison<'_> {
    /// Compares everything; fills in what differs.
    pub(super) async fn run(&self, report: &mut VerifyReport) -> Result<()> {
        let mut tables = self.restored.selection.tables.clone();
        let session = self.restored.reading.site.for_work().await?;
        // The tables of a dump say themselves how they were filled.
        if !self.restored.selection.rows.is_empty() {
            routes::find(&session, &mut tables).await?;
        }
        let read = self.restored.reading.read_back(tables.clone(), self.means.workers()).await?;
        let sent: Vec<RowSum> = tables.iter().map(|table| table.rows).collect();
        let differing = readback::compare(&tables, &sent, &read);
        report.tables += tables.len() as u64;
        let printing = Printing::read(&session, &self.restored.facts, self.restored.same_major).await?;
        for difference in &differing {
            match printing.may_differ(&difference.table) {
                Some(why) => report.checks.push(undecided(difference, &why)),
                None => self.name(difference, &tables, report).await?,
            }
        }
        if differing.is_empty() {
            let rows: u64 = read.iter().map(|sum| sum.rows).sum();
            let detail = format!("{} tables, {rows} rows: every count and sum is that of the backup", tables.len());
            report.checks.push(Check { name: "rows".to_owned(), ok: Some(true), detail });
        }
        session.close().await;
        self.large_objects(report).await
    }

    /// Finds out which rows differ, and in which chunks they were.
    async fn name(&self, difference: &Difference, tables: &[Table], report: &mut VerifyReport) -> Result<()> {
        let root = |table: &Table| table.route.clone().unwrap_or_else(|| table.key.clone());
        let group: TableKey = root(&difference.table);
        let members: Vec<(&Table, &Chunks)> =
            tables.iter().zip(&self.restored.selection.rows).filter(|(table, _)| root(table) == group).collect();
        let found = locate::rows(&self.restored.reading, &members).await?;
        let Found { damage, more, other_rows } = found;
        if damage.is_empty() {
            report.damage.push(Damage {
                object: group.to_string(),
                table: Some(group.to_string()),
                chunk: String::new(),
                range: 0,
                rows: None,
                what: format!("{} rows were backed up and {} are there", difference.sent.rows, difference.read.rows),
            });
        }
        report.damage.extend(damage);
        if more || other_rows > 0 {
            let detail = if more {
                format!("{group}: too many rows differ to name them all")
            } else {
                format!("{group}: {other_rows} rows are there that were not backed up")
            };
            report.checks.push(Check { name: "rows".to_owned(), ok: Some(false), detail });
        }
        Ok(())
    }

    async fn large_objects(&self, report: &mut VerifyReport) -> Result<()> {
        let Some(chunks) = &self.restored.selection.large_objects else { return Ok(()) };
        let session = self.restored.reading.site.for_work().await?;
        let differing = large_objects::differing(&session, &self.restored.reading.feed, chunks).await?;
        session.close().await;
        report.damage.extend(differing.iter().map(|oid| Damage {
            object: format!("large object {oid}"),
            table: None,
            chunk: String::new(),
            range: 0,
            rows: None,
            what: "its bytes are not those that were backed up".to_owned(),
        }));
        Ok(())
    }
}

fn undecided(difference: &Difference, why: &str) -> Check {
    let detail = format!("{}: its rows look otherwise here, and {why}", difference.table.key);
    Check { name: "rows".to_owned(), ok: None, detail }
}
