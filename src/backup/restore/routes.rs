//! Rows that may belong to another partition here than they did at the source go in through the root.
//!
//! The hash of an enum or a composite value depends on oids, and the order of text on the collation's version: what
//! PostgreSQL itself calls reasons for `pg_dump --load-via-partition-root`.

use super::names::TableKey;
use super::table::Table;
use crate::error::Result;
use crate::postgres::Session;
use std::collections::HashMap;

/// Partitions with an ancestor whose key may sort or hash its rows otherwise, and the root of their tree.
const UNSURE: &str = "
    WITH RECURSIVE up(leaf, ancestor) AS (
        SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i
        JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relispartition
        UNION ALL
        SELECT up.leaf, i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.ancestor
        JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relispartition
    ), keys(parent, strategy, column_number, collation_oid) AS (
        SELECT p.partrelid, p.partstrat, k.attnum, k.coll
        FROM pg_catalog.pg_partitioned_table p,
             ROWS FROM (pg_catalog.unnest(p.partattrs::int2[]), pg_catalog.unnest(p.partcollation::oid[])) AS k(attnum, coll)
    ), unsure AS (
        SELECT DISTINCT parent FROM keys
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = parent AND a.attnum = column_number
        LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_collation c ON c.oid = collation_oid
        WHERE (strategy = 'h' AND (column_number = 0 OR t.typtype <> 'b' OR t.typelem <> 0))
           OR (strategy = 'r' AND collation_oid <> 0 AND c.collprovider <> 'b' AND c.collname NOT IN ('C', 'POSIX')
               AND NOT (c.collname = 'default' AND
                        (SELECT datcollate IN ('C', 'POSIX') FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())))
    )
    SELECT DISTINCT ln.nspname::text, l.relname::text, rn.nspname::text, r.relname::text
    FROM up
    JOIN unsure ON unsure.parent = up.ancestor
    JOIN pg_catalog.pg_class l ON l.oid = up.leaf JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace
    JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(up.leaf)
    JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    WHERE l.relkind = 'r'";

/// Sends the rows of such partitions through their root.
pub(in crate::backup) async fn find(session: &Session, tables: &mut [Table]) -> Result<()> {
    let rows = session.rows("looking for partitions whose rows may sort otherwise here", UNSURE, &[]).await?;
    let key = |row: &tokio_postgres::Row, at: usize| TableKey { schema: row.get(at), table: row.get(at + 1) };
    let roots: HashMap<TableKey, TableKey> = rows.iter().map(|row| (key(row, 0), key(row, 2))).collect();
    for table in tables {
        table.route = roots.get(&table.key).cloned();
    }
    Ok(())
}
