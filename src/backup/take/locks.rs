//! ACCESS SHARE on every table that is read, and the names of those who stand in the way.

use crate::error::Result;
use crate::postgres::catalog::{Table, TableKind};
use crate::postgres::session::Session;
use crate::postgres::{Fault, classify};
use std::time::Duration;

/// So many tables are named in one statement; a statement has no limit, but its text is kept by the server.
const AT_ONCE: usize = 500;

/// What came of an attempt to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// All tables are locked.
    All,
    /// A table is not there any more.
    Gone,
}

/// The statements that lock `tables`; views and foreign tables cannot be locked, and need not be.
fn statements<'a>(tables: impl Iterator<Item = &'a Table>) -> Vec<String> {
    let names: Vec<String> = tables
        .filter(|table| table.kind != TableKind::Foreign)
        .map(|table| format!("ONLY {}", table.qualified()))
        .collect();
    names.chunks(AT_ONCE).map(|some| format!("LOCK TABLE {} IN ACCESS SHARE MODE", some.join(", "))).collect()
}

/// Locks `tables` in the session's transaction, waiting no longer than `budget` for each. LOCK TABLE takes no snapshot,
/// so the keeper may do this before it takes its own.
pub(crate) async fn lock<'a>(
    session: &Session,
    tables: impl Iterator<Item = &'a Table>,
    budget: Duration,
) -> Result<Locked> {
    let mut sql = format!("SET LOCAL lock_timeout = {}; ", budget.as_millis().clamp(1, i32::MAX as u128));
    for statement in statements(tables) {
        sql.push_str(&statement);
        sql.push_str("; ");
    }
    // COPY waits for no lock that we do not hold already; what else may wait is for the watcher to see.
    sql.push_str("SET LOCAL lock_timeout = 0");
    match session.client.batch_execute(&sql).await {
        Ok(()) => Ok(Locked::All),
        Err(error) if classify(&error) == Fault::Missing => Ok(Locked::Gone),
        Err(error) if classify(&error) == Fault::Locked => {
            Err(session.explain(&error, format!("locking tables: somebody held one for {} s", budget.as_secs())))
        }
        Err(error) => Err(session.explain(&error, "locking tables")),
    }
}

/// Who holds what one of these processes waits for, as a sentence; the longest transaction first.
pub(crate) async fn in_the_way_of(session: &Session, pids: &[i32]) -> Result<Option<String>> {
    let sql = "SELECT b.pid, COALESCE(a.usename::text, '?'), COALESCE(n.nspname || '.' || c.relname, w.locktype), \
               COALESCE(pg_catalog.left(a.query, 200), '?') FROM pg_catalog.pg_locks w \
               CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b(pid) \
               LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid \
               LEFT JOIN pg_catalog.pg_class c ON c.oid = w.relation \
               LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE NOT w.granted AND w.pid = ANY ($1) AND b.pid <> ALL ($1) ORDER BY a.xact_start LIMIT 1";
    let rows = session.rows("looking who is in the way of the backup", sql, &[&pids]).await?;
    Ok(rows.first().map(|row| {
        let (pid, user, table, query): (i32, &str, &str, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("process {pid} of {user} holds {table}; its last query: {query}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, kind: TableKind) -> Table {
        Table {
            oid: 1,
            schema: "public".into(),
            name: name.into(),
            kind,
            owner: String::new(),
            unlogged: false,
            access_method: None,
            partition: false,
            parents: Vec::new(),
            of_type: None,
            columns: Vec::new(),
            generated: Vec::new(),
            filenode: None,
            pages_estimate: 0,
            rows_estimate: None,
            index_count: 0,
            access: crate::postgres::catalog::Access::Full,
            extension: None,
        }
    }

    #[test]
    fn tables_are_locked_alone_without_their_children_and_foreign_ones_not_at_all() {
        let tables =
            [table("a", TableKind::Ordinary), table("far", TableKind::Foreign), table("p", TableKind::Partitioned)];
        assert_eq!(
            statements(tables.iter()),
            ["LOCK TABLE ONLY \"public\".\"a\", ONLY \"public\".\"p\" IN ACCESS SHARE MODE"]
        );
        assert_eq!(statements(tables[1..2].iter()), Vec::<String>::new());
    }
}
