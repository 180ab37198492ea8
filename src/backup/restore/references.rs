//! Foreign keys, looked at again: rows that came while nothing looked must refer to rows that are there.

use super::names::TableKey;
use super::site::failed;
use super::table::Table;
use crate::error::{Error, Result};
use crate::postgres::Session;
use std::collections::BTreeSet;
use tokio_postgres::SimpleQueryMessage;

/// A foreign key, and the question that counts the rows without the one they refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Reference {
    pub(in crate::backup) name: String,
    /// The table whose rows refer to others.
    pub(in crate::backup) table: TableKey,
    /// The table with the rows that are referred to.
    to: TableKey,
    question: String,
    /// Whether PostgreSQL itself has looked at every row when it was made.
    pub(in crate::backup) validated: bool,
}

/// Foreign keys of a database. The keys of a partition that are its parent's are asked for once, at the parent.
///
/// MATCH FULL differs from MATCH SIMPLE only in rows that are partly null, which the key itself has refused. Where two
/// columns are collated differently the one that is referred to decides, and where the operator wants another type a value
/// is taken as that, as PostgreSQL does it. A key over a period wants the periods that are referred to to cover its own.
/// All rows are counted: asked for the first one only, the planner would look up millions of rows one by one.
const REFERENCES: &str = "
    SELECT con.conname::text, n.nspname::text, c.relname::text,
           pg_catalog.format('SELECT pg_catalog.count(*) FROM %s %I.%I f WHERE %s AND NOT EXISTS (SELECT FROM %s %I.%I p WHERE %s%s)',
               CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, n.nspname, c.relname,
               pg_catalog.string_agg(pg_catalog.format('f.%I IS NOT NULL', fa.attname), ' AND '),
               CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, rn.nspname, r.relname,
               pg_catalog.string_agg(pg_catalog.format('p.%I%s OPERATOR(%I.%s) f.%I%s%s',
                   pa.attname, CASE WHEN op.oprleft <> pa.atttypid AND lt.typtype <> 'p'
                                    THEN pg_catalog.format('::%I.%I', ltn.nspname, lt.typname) END,
                   opn.nspname, op.oprname,
                   fa.attname, CASE WHEN op.oprright <> fa.atttypid AND rt.typtype <> 'p'
                                    THEN pg_catalog.format('::%I.%I', rtn.nspname, rt.typname) END,
                   CASE WHEN pa.attcollation <> fa.attcollation AND pa.attcollation <> 0
                        THEN pg_catalog.format(' COLLATE %I.%I', coln.nspname, col.collname) END), ' AND '),
               CASE WHEN period.it THEN pg_catalog.format(' HAVING f.%1$I OPERATOR(pg_catalog.<@) pg_catalog.range_agg(p.%2$I)',
                   (pg_catalog.array_agg(fa.attname ORDER BY k.place DESC))[1], (pg_catalog.array_agg(pa.attname ORDER BY k.place DESC))[1]) END),
           con.convalidated, rn.nspname::text, r.relname::text
    FROM pg_catalog.pg_constraint con
    CROSS JOIN LATERAL (SELECT COALESCE((pg_catalog.to_jsonb(con) ->> 'conperiod')::boolean, false) AS it) AS period
    JOIN pg_catalog.pg_class c ON c.oid = con.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class r ON r.oid = con.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(con.conkey), pg_catalog.unnest(con.confkey), pg_catalog.unnest(con.conpfeqop))
        WITH ORDINALITY AS k(fk, pk, operator, place)
    JOIN pg_catalog.pg_attribute fa ON fa.attrelid = con.conrelid AND fa.attnum = k.fk
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = k.pk
    JOIN pg_catalog.pg_operator op ON op.oid = k.operator JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
    JOIN pg_catalog.pg_type lt ON lt.oid = op.oprleft JOIN pg_catalog.pg_namespace ltn ON ltn.oid = lt.typnamespace
    JOIN pg_catalog.pg_type rt ON rt.oid = op.oprright JOIN pg_catalog.pg_namespace rtn ON rtn.oid = rt.typnamespace
    LEFT JOIN pg_catalog.pg_collation col ON col.oid = pa.attcollation
    LEFT JOIN pg_catalog.pg_namespace coln ON coln.oid = col.collnamespace
    WHERE con.contype = 'f' AND con.conparentid = 0
    GROUP BY con.oid, con.conname, n.nspname, c.relname, c.relkind, rn.nspname, r.relname, r.relkind, con.convalidated, period.it
    ORDER BY 2, 3, 1";

/// All foreign keys.
pub(in crate::backup) async fn all(session: &Session) -> Result<Vec<Reference>> {
    let rows = session.rows("listing foreign keys", REFERENCES, &[]).await?;
    let reference = |row: &tokio_postgres::Row| Reference {
        name: row.get(0),
        table: TableKey { schema: row.get(1), table: row.get(2) },
        question: row.get(3),
        validated: row.get(4),
        to: TableKey { schema: row.get(5), table: row.get(6) },
    };
    Ok(rows.iter().map(reference).collect())
}

impl Reference {
    /// Whether every row refers to one that is there.
    pub(in crate::backup) async fn holds(&self, session: &Session) -> Result<bool> {
        let found = session.client.simple_query(&self.question).await;
        let found =
            found.map_err(|error| failed(session, &error, &format!("checking {}", self.name), &self.question))?;
        let counted = found.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(counted == Some("0"))
    }
}

/// Fails if a foreign key does not hold that was made before the rows came and did not look at them. What it takes is
/// what PostgreSQL takes for the same question: the memory for maintenance, and the cores that nobody else uses.
pub(super) async fn must_hold_now(session: &Session, table: &TableKey, name: &str, spare: usize) -> Result<()> {
    let sql = format!(
        "SELECT pg_catalog.set_config('work_mem', pg_catalog.current_setting('maintenance_work_mem'), false); \
         SET max_parallel_workers_per_gather = {spare}"
    );
    session.execute("preparing to check a foreign key", &sql).await?;
    let all = all(session).await?;
    let Some(reference) = all.iter().find(|reference| reference.table == *table && reference.name == name) else {
        return Err(Error::failed(format!("foreign key {name} of {table} is not there")));
    };
    if !reference.holds(session).await? {
        return Err(does_not_hold(reference));
    }
    session.execute("tidying up a session", "RESET work_mem; SET max_parallel_workers_per_gather = 0").await
}

fn does_not_hold(reference: &Reference) -> Error {
    Error::failed(format!("foreign key {} of {} does not hold", reference.name, reference.table))
}

/// Fails on the first foreign key that does not hold, if it is of one of these tables or refers to any.
pub(super) async fn must_hold(session: &Session, tables: &[Table]) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    for reference in all(session).await?.iter().filter(|reference| reference.validated) {
        if !reference.holds(session).await? {
            return Err(
                does_not_hold(reference).hint("--data-only needs the rows of the tables that are referred to as well")
            );
        }
    }
    Ok(())
}

/// Fails on the first foreign key that does not hold any more without rows of these tables: somebody's rows refer to them.
pub(super) async fn must_hold_without(session: &Session, tables: &[TableKey]) -> Result<()> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.iter().map(|key| (key.schema.as_str(), key.table.as_str())).unzip();
    // Whoever refers to a partitioned table refers to the rows of its partitions.
    let sql = "SELECT an.nspname::text, a.relname::text \
               FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS k(schema, name) \
               JOIN pg_catalog.pg_namespace n ON n.nspname = k.schema \
               JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = k.name \
               CROSS JOIN LATERAL (SELECT c.oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_ancestors(c.oid)) AS up(oid) \
               JOIN pg_catalog.pg_class a ON a.oid = up.oid JOIN pg_catalog.pg_namespace an ON an.oid = a.relnamespace";
    let rows = session.rows("looking for what refers to restored rows", sql, &[&schemas, &names]).await?;
    let referred_to: BTreeSet<TableKey> =
        rows.iter().map(|row| TableKey { schema: row.get(0), table: row.get(1) }).collect();
    for reference in all(session).await?.iter().filter(|one| one.validated && referred_to.contains(&one.to)) {
        if !reference.holds(session).await? {
            let (name, table) = (&reference.name, &reference.table);
            return Err(Error::failed(format!(
                "foreign key {name} of {table} would not hold, because rows that came meanwhile refer to restored ones"
            )));
        }
    }
    Ok(())
}
