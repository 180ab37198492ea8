//! Foreign keys, looked at again: rows that came while nothing looked must refer to rows that are there.

use super::site::failed;
use super::table::Table;
use crate::error::{Error, Result};
use crate::postgres::Session;

/// A foreign key, and the question that finds a row without the one it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Reference {
    pub(in crate::backup) name: String,
    pub(in crate::backup) table: String,
    question: String,
    /// Whether PostgreSQL itself has looked at every row when it was made.
    pub(in crate::backup) validated: bool,
}

/// Foreign keys of a database. The keys of a partition that are its parent's are asked for once, at the parent.
///
/// MATCH FULL differs from MATCH SIMPLE only in rows that are partly null, which the key itself has refused.
const REFERENCES: &str = "
    SELECT con.conname::text, pg_catalog.format('%I.%I', n.nspname, c.relname),
           pg_catalog.format('SELECT 1 FROM %s %I.%I f WHERE %s AND NOT EXISTS (SELECT FROM %s %I.%I p WHERE %s) LIMIT 1',
               CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, n.nspname, c.relname,
               pg_catalog.string_agg(pg_catalog.format('f.%I IS NOT NULL', fa.attname), ' AND '),
               CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, rn.nspname, r.relname,
               pg_catalog.string_agg(pg_catalog.format('p.%I OPERATOR(%I.%s) f.%I', pa.attname, opn.nspname, op.oprname, fa.attname), ' AND ')),
           con.convalidated
    FROM pg_catalog.pg_constraint con
    JOIN pg_catalog.pg_class c ON c.oid = con.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class r ON r.oid = con.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(con.conkey), pg_catalog.unnest(con.confkey), pg_catalog.unnest(con.conpfeqop))
        AS k(fk, pk, operator)
    JOIN pg_catalog.pg_attribute fa ON fa.attrelid = con.conrelid AND fa.attnum = k.fk
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = k.pk
    JOIN pg_catalog.pg_operator op ON op.oid = k.operator JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
    WHERE con.contype = 'f' AND con.conparentid = 0
    GROUP BY con.oid, con.conname, n.nspname, c.relname, c.relkind, rn.nspname, r.relname, r.relkind, con.convalidated
    ORDER BY 2, 1";

/// All foreign keys.
pub(in crate::backup) async fn all(session: &Session) -> Result<Vec<Reference>> {
    let rows = session.rows("listing foreign keys", REFERENCES, &[]).await?;
    let reference = |row: &tokio_postgres::Row| Reference {
        name: row.get(0),
        table: row.get(1),
        question: row.get(2),
        validated: row.get(3),
    };
    Ok(rows.iter().map(reference).collect())
}

impl Reference {
    /// Whether every row refers to one that is there.
    pub(in crate::backup) async fn holds(&self, session: &Session) -> Result<bool> {
        let found = session.client.simple_query(&self.question).await;
        let found =
            found.map_err(|error| failed(session, &error, &format!("checking {}", self.name), &self.question))?;
        Ok(!found.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_))))
    }
}

/// Fails on the first foreign key that does not hold, if it is of one of these tables or refers to any.
pub(super) async fn must_hold(session: &Session, tables: &[Table]) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    for reference in all(session).await?.iter().filter(|reference| reference.validated) {
        if !reference.holds(session).await? {
            return Err(Error::failed(format!("foreign key {} of {} does not hold", reference.name, reference.table))
                .hint("--data-only needs the rows of the tables that are referred to as well"));
        }
    }
    Ok(())
}
