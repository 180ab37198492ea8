//! What a database is made of, read from its catalogue in few round trips: one query per kind of object, whether
//! there are three tables or a hundred thousand.
//!
//! Every name in these queries is qualified: a function in somebody's schema must never step in for PostgreSQL's.
//! `tables` and `indexes` empty the session's search path, because definitions are printed according to it.
//! Nothing here takes a lock on a table, except `sizes`; so it can be read before the locks are taken and again after.

mod cluster;
mod database;
mod indexes;
mod objects;
mod statements;
mod tables;

pub use cluster::{Identity, LockBudget, Standby, databases, identity, lock_budget, lsn, standby};
pub use database::{Database, Extension, database_facts, not_included};
pub use indexes::{Constraint, Index, indexes, indexes_of};
pub use objects::{
    LargeObjects, Sequence, SequenceValue, extensions, large_objects, sequence_values, sequence_values_unless_held,
    sequences,
};
pub use tables::{Access, Column, ExtensionRows, Table, TableKind, sizes, tables};

/// Restricts `pg_class c` in `pg_namespace n` to what a dump of the database holds, as `pg_dump` sees it: no system
/// schemas, nothing temporary, nothing that belongs to an extension unless the extension says that its rows are the
/// user's. The alias `config` has the columns `extension` and `condition`.
pub(super) const OF_USERS: &str = r"
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend member ON member.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND member.objid = c.oid AND member.objsubid = 0 AND member.deptype = 'e'
    AND member.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
LEFT JOIN (
    SELECT e.extname AS extension, c.relid, c.condition
    FROM pg_catalog.pg_extension e, ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) AS c(relid, condition)
) config ON config.relid = c.oid
WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
    AND (member.objid IS NULL OR config.relid IS NOT NULL)";

/// Whether we may read the relation `c` in the schema `n`, `kind` being `table` or `sequence`. The functions that tell look
/// at the catalogue as it is now and know nothing of what was dropped since the snapshot: whoever reads that finds out.
pub(super) fn readable(kind: &str) -> String {
    format!(
        "COALESCE(pg_catalog.has_{kind}_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'), true)"
    )
}
