//! Whether what the definitions promise holds: constraints that count as checked, foreign keys looked at once more,
//! indexes that may be used, sequences beyond the values of their columns.

use crate::backup::restore::selection::Selection;
use crate::backup::restore::sequences::Drawn;
use crate::backup::restore::site::{Site, failed};
use crate::backup::restore::{references, sequences};
use crate::error::Result;
use crate::postgres::Session;
use crate::repository::Check;

/// Checks that PostgreSQL has not looked at every row for, by their definition.
const NOT_VALID: &str = "
    SELECT con.conname::text, pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT con.convalidated ORDER BY 2, 1";

/// Checks of tables with rows of their own, and the question that finds a row against them.
const CHECKS: &str = "
    SELECT con.conname::text, pg_catalog.format('%I.%I', n.nspname, c.relname),
           pg_catalog.format('SELECT 1 FROM ONLY %I.%I WHERE NOT (%s) LIMIT 1', n.nspname, c.relname,
                             pg_catalog.pg_get_expr(con.conbin, con.conrelid))
    FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE con.contype = 'c' AND con.convalidated AND c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%'
      AND n.nspname <> 'information_schema' ORDER BY 2, 1";

const UNUSABLE: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (i.indisvalid AND i.indisready) ORDER BY 1";

/// Sequences of columns, and the question whether the next value is there already.
const SEQUENCES: &str = "
    SELECT pg_catalog.format('%I.%I', sn.nspname, s.relname),
           pg_catalog.format('SELECT 1 FROM %I.%I q, (SELECT pg_catalog.%s(%I) AS far FROM %I.%I) m WHERE m.far %s q.last_value',
               sn.nspname, s.relname, CASE WHEN p.seqincrement > 0 THEN 'max' ELSE 'min' END, a.attname,
               n.nspname, c.relname, CASE WHEN p.seqincrement > 0 THEN '>' ELSE '<' END)
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
    JOIN pg_catalog.pg_sequence p ON p.seqrelid = s.oid AND NOT p.seqcycle
    JOIN pg_catalog.pg_class c ON c.oid = d.refobjid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typname IN ('int2', 'int4', 'int8')
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND d.deptype IN ('a', 'i') AND c.relkind IN ('r', 'p') ORDER BY 1";

/// Looks at all of it.
pub(super) async fn look(site: &Site, selection: &Selection) -> Result<Vec<Check>> {
    let session = site.for_work().await?;
    // A server that is set so answers the question for rows against a check by the check itself.
    session.execute("looking at every row", "SET constraint_exclusion = off").await?;
    let checks = vec![
        foreign_keys(&session).await?,
        checks(&session).await?,
        indexes(&session).await?,
        sequences_of(&session, selection).await?,
    ];
    session.close().await;
    Ok(checks)
}

async fn foreign_keys(session: &Session) -> Result<Check> {
    let all = references::all(session).await?;
    let mut broken = Vec::new();
    for reference in all.iter().filter(|reference| reference.validated) {
        if !reference.holds(session).await? {
            broken.push(format!("{} of {}", reference.name, reference.table));
        }
    }
    let well = format!("{} foreign keys were looked at again, and every row has the one it refers to", all.len());
    Ok(check("foreign-keys", &broken, "do not hold", well))
}

async fn checks(session: &Session) -> Result<Check> {
    let rows = session.rows("listing check constraints", CHECKS, &[]).await?;
    let mut broken = Vec::new();
    for row in &rows {
        let (name, table, question): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let found = session.client.simple_query(&question).await;
        let found =
            found.map_err(|error| failed(session, &error, &format!("checking {name} of {table}"), &question))?;
        if found.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_))) {
            broken.push(format!("{name} of {table}"));
        }
    }
    let unchecked = session.rows("listing constraints that are not valid", NOT_VALID, &[]).await?;
    let well = format!("{} check constraints hold; {} are NOT VALID, as at the source", rows.len(), unchecked.len());
    Ok(check("constraints", &broken, "do not hold", well))
}

async fn indexes(session: &Session) -> Result<Check> {
    let rows = session.rows("listing indexes that cannot be used", UNUSABLE, &[]).await?;
    let unusable: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(check("indexes", &unusable, "cannot be used", "every index can be used".to_owned()))
}

/// A sequence behind its column is a trap for the next insert; it may have been so at the source, but then it stands
/// where it stood there.
async fn sequences_of(session: &Session, selection: &Selection) -> Result<Check> {
    let recorded = &selection.sequences;
    let moved = sequences::moved(session, recorded, Drawn::by(&selection.definitions)).await?;
    if !moved.is_empty() {
        let moved: Vec<String> = moved.iter().map(ToString::to_string).collect();
        return Ok(check("sequences", &moved, "here", String::new()));
    }
    let mut behind = Vec::new();
    for row in session.rows("listing sequences", SEQUENCES, &[]).await? {
        let (name, question): (String, String) = (row.get(0), row.get(1));
        let found = session.client.simple_query(&question).await;
        let found =
            found.map_err(|error| failed(session, &error, &format!("looking at sequence {name}"), &question))?;
        if found.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_))) {
            behind.push(name);
        }
    }
    let detail = if behind.is_empty() {
        let read = match recorded.len() {
            0 => "",
            _ => ", and stands where it stood",
        };
        format!("every sequence is at or beyond the values of its column{read}")
    } else {
        format!("{} stand behind the values of their columns, as at the source", behind.join(", "))
    };
    Ok(Check { name: "sequences".to_owned(), ok: Some(true), detail })
}

fn check(name: &str, broken: &[String], how: &str, well: String) -> Check {
    let ok = broken.is_empty();
    let detail = if ok { well } else { format!("{} {how}", broken.join(", ")) };
    Check { name: name.to_owned(), ok: Some(ok), detail }
}
