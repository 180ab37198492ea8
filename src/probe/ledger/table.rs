//! The table in the target that the rows of a ledger stand in: made by us, named, owned, and removed by us.

use crate::error::{Error, Result};
use crate::probe::sql::{Link, texts};
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use tokio_postgres::types::Type;

/// The schema of the table. A guard or a marker of the user's may stand in it, too.
pub(super) const SCHEMA: &str = "davit";

/// Whether a login may make a table of ours: in the schema, or the schema, too.
pub const MAY_CREATE: &str = "SELECT CASE WHEN pg_catalog.to_regnamespace('davit') IS NULL \
    THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') \
    ELSE coalesce(pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('davit')::oid, 'CREATE') \
        AND pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('davit')::oid, 'USAGE'), false) END";

/// The tables that drills have left, as SQL writes their names.
pub const LEFT: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = 'davit' AND c.relkind = 'r' AND c.relname LIKE 'ledger\\_%' \
    AND pg_catalog.obj_description(c.oid, 'pg_class') LIKE 'made by davit for the drill %' ORDER BY c.relname";

/// How the comment on the table and on a schema of ours begins.
const MARK: &str = "made by davit for the drill ";

/// For how many seconds the removal of a table waits for whoever reads it.
const REMOVAL: u32 = 30;

/// The table of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    name: String,
    owner: String,
    run: String,
}

impl Table {
    /// Makes the table of this run, and the schema if it is not there. There is no unique constraint on it: a row that
    /// stands there twice must be seen.
    ///
    /// # Errors
    /// Where the account may not, or the table is there already.
    pub async fn create(link: &dyn Link, run: &str) -> Result<Self> {
        let name = Self::of_run(run)?;
        let doing = format!("making the table {name} in the target");
        let sql = format!(
            "DO $davit$ BEGIN IF to_regnamespace('{SCHEMA}') IS NULL THEN CREATE SCHEMA {SCHEMA}; \
             COMMENT ON SCHEMA {SCHEMA} IS '{MARK}{run}'; END IF; END $davit$; \
             CREATE TABLE {name} (id bigint NOT NULL, payload bigint NOT NULL); \
             COMMENT ON TABLE {name} IS '{MARK}{run}'; SELECT current_user"
        );
        let answer = texts(link, &doing, &sql).await.map_err(|error| {
            error.hint("the account of the probes needs CREATE on the database, or a schema davit that it may use")
        })?;
        let owner = answer.into_iter().flatten().flatten().next().unwrap_or_default();
        Ok(Self { name, owner, run: run.to_owned() })
    }

    /// The table that an earlier process made for this run.
    ///
    /// # Errors
    /// `Kind::Input` for a run whose name no table can have.
    pub fn known(run: &str) -> Result<Self> {
        Ok(Self { name: Self::of_run(run)?, owner: String::new(), run: run.to_owned() })
    }

    fn of_run(run: &str) -> Result<String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if run.is_empty() || run.len() > 40 || !run.chars().all(fits) {
            return Err(Error::input(format!("naming the table of the run {run:?}: no table can be called so"))
                .hint("a run is named with up to 40 lower-case letters, digits, - and _"));
        }
        Ok(format!("{SCHEMA}.\"ledger_{run}\""))
    }

    /// Its name, ready for SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who made it; empty where it was made by an earlier process.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The run, in the letters that a table may have.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// SQL that removes the table if it is still ours, and the schema if we made it and nothing else is in it; it gives the
    /// table's name where it is still there, and otherwise null. Behind a dump that reads the table it would wait for hours.
    pub fn removal(&self) -> String {
        let (name, run) = (&self.name, &self.run);
        format!(
            "DO $davit$ BEGIN SET LOCAL lock_timeout = '{REMOVAL}s'; \
             IF obj_description(to_regclass('{name}'), 'pg_class') = '{MARK}{run}' THEN DROP TABLE {name}; END IF; \
             IF obj_description(to_regnamespace('{SCHEMA}'), 'pg_namespace') LIKE '{MARK}%' \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('{SCHEMA}')) \
             THEN DROP SCHEMA {SCHEMA}; END IF; END $davit$; SELECT to_regclass('{name}')"
        )
    }

    /// SQL that gives the comment on a relation of this name where that is ours, nothing but an empty text where it is not,
    /// and null where there is none of this name.
    pub fn presence(&self) -> String {
        let (name, run) = (&self.name, &self.run);
        format!(
            "SELECT CASE WHEN to_regclass('{name}') IS NULL THEN NULL \
             WHEN obj_description(to_regclass('{name}'), 'pg_class') = '{MARK}{run}' THEN '{MARK}{run}' ELSE '' END"
        )
    }

    /// All rows: id and content. A row that stands there twice comes twice.
    ///
    /// # Errors
    /// Where they cannot be read to the end: a part of them is no answer.
    pub async fn read(&self, link: &dyn Link) -> Result<Vec<(u64, u64)>> {
        let doing = || format!("reading the table {}", self.name);
        let failed = |error: tokio_postgres::Error| Error::failed(doing()).because(error);
        let sql = format!("SELECT id, payload FROM {}", self.name);
        let rows = link.client().query_typed_raw(&sql, Vec::<(i64, Type)>::new()).await.map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        let mut all = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let (id, payload): (i64, i64) = (row.get(0), row.get(1));
            all.push((id.cast_unsigned(), payload.cast_unsigned()));
        }
        Ok(all)
    }

    /// Removes the table if it is still ours, and the schema if we made it and nothing else is in it; then looks whether
    /// the table is gone.
    ///
    /// # Errors
    /// `Kind::Stuck` where it is still there.
    pub async fn remove(&self, link: &dyn Link) -> Result<()> {
        let name = &self.name;
        let doing = format!("removing the table {name} from the target");
        let stuck = |error: Error| error.as_kind(crate::error::Kind::Stuck);
        let answer = texts(link, &doing, &self.removal()).await.map_err(stuck)?;
        match answer.into_iter().flatten().next() {
            Some(None) => Ok(()),
            _ => Err(stuck(Error::failed(format!("{doing}: it is still there, or it is not ours")))
                .hint(format!("look at it, then: DROP TABLE {name}"))),
        }
    }

    /// The tables that runs left in the target: run and owner.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn left(link: &dyn Link) -> Result<BTreeMap<String, String>> {
        let sql = format!(
            "SELECT substr(obj_description(oid, 'pg_class'), {from}), pg_catalog.pg_get_userbyid(relowner) \
             FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('{SCHEMA}') AND relkind = 'r' \
             AND obj_description(oid, 'pg_class') LIKE '{MARK}%'",
            from = MARK.len() + 1
        );
        let rows = texts(link, "looking for tables that drills left", &sql).await?;
        let pair = |row: Vec<Option<String>>| {
            let mut row = row.into_iter();
            Some((row.next()??, row.next()??))
        };
        Ok(rows.into_iter().filter_map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_name_could_be_anything_else_is_refused() {
        assert_eq!(Table::known("2026-11-21-k3v").unwrap().name(), "davit.\"ledger_2026-11-21-k3v\"");
        for bad in ["", "a\"; DROP", "A", "it's", &"x".repeat(41)] {
            assert!(Table::known(bad).is_err(), "{bad}");
        }
    }
}
