//! What the login of the clients must find when a drill begins: asked once, and before anything is touched.

use super::dial::Open;
use super::observing::writers;
use super::plan::{Stream, writes};
use super::streams::connections;
use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnInfo, Session, connect};
use crate::probe::ledger::{LEFT, MAY_CREATE};
use crate::probe::sql::{check_room, reading};
use crate::probe::{Ask, StreamPlan};
use crate::scenario::{CheckHow, Scenario};
use std::time::Duration;

/// How long a query may take that is asked once: nothing of it is in a cache yet.
const FIRST: Duration = Duration::from_secs(10);

/// Tries out what a drill needs of the database that clients use; gives what is worth a note.
///
/// # Errors
/// Exit 3: no way in, no room, no right to make the ledger's table, or a `query` or a check that cannot be asked.
pub(super) async fn look(conn: &ConnInfo, scenario: &Scenario, streams: &[Stream]) -> Result<Vec<String>> {
    // Nothing was touched yet.
    let refused = |error: Error| if error.kind() == Kind::Failed { error.as_kind(Kind::Refused) } else { error };
    let session = connect(conn, "drill").await.map_err(refused)?;
    let looked = async {
        ask_once(&session, streams).await?;
        explain_checks(&session, scenario).await?;
        if writes(scenario) {
            ledger(&session).await?;
        }
        left(&session).await
    };
    let notes = looked.await.map_err(refused)?;
    let plans: Vec<&StreamPlan> = streams.iter().map(|stream| &stream.plan).collect();
    let load = scenario.load.writes.map_or(0, writers);
    check_room(&Open(session), connections(&plans) + load).await.map_err(refused)?;
    Ok(notes)
}

/// Asks once what somebody wrote for probes to ask: a table that is not there or may not be read is found out here.
async fn ask_once(session: &Session, streams: &[Stream]) -> Result<()> {
    let query = streams.iter().find_map(|stream| match &stream.plan.ask {
        Ask::Query { query, .. } => Some(query),
        _ => None,
    });
    let Some(query) = query else { return Ok(()) };
    let limit = format!(" SET LOCAL statement_timeout = {};", FIRST.as_millis());
    let asked = session.texts(&format!("asking once what probes will ask ({query})"), &reading(&limit, query)).await;
    asked.map(drop).map_err(|error| error.hint("`query` in the scenario's target says what they ask"))
}

/// Has the server plan the checks: one that it does not understand, or that this login may not make, is found out here
/// and not after the fault. None is run: a check may take long, and is for what was recovered.
async fn explain_checks(session: &Session, scenario: &Scenario) -> Result<()> {
    let limit = format!(" SET LOCAL statement_timeout = {};", FIRST.as_millis());
    for check in &scenario.checks {
        let CheckHow::Sql(sql) = &check.how else { continue };
        let first = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        // The others have no plan.
        if ["SELECT", "WITH", "VALUES", "TABLE"].contains(&first.as_str()) {
            let doing = format!("planning the check {:?}", check.name);
            let planned = session.texts(&doing, &reading(&limit, &format!("EXPLAIN {sql}"))).await;
            planned.map_err(|error| {
                error
                    .hint("`checks` in the scenario says what is asked; its tables must be there before the fault, too")
            })?;
        }
    }
    Ok(())
}

/// Whether the ledger's table can be made.
async fn ledger(session: &Session) -> Result<()> {
    let conn = session.conn();
    let doing = || format!("planning the writes into {}", conn.describe());
    if session.is_standby() {
        return Err(Error::refused(format!("{}: it is a standby, and takes none", doing()))
            .hint("`clients` in the scenario's target is the way of the users; objectives.rpo: none and no load.writes for one that only reads"));
    }
    if answer(session, "asking whether the ledger's table can be made", MAY_CREATE).await?.as_deref() == Some("t") {
        return Ok(());
    }
    Err(Error::refused(format!("{}: {} may not make the ledger's table there", doing(), conn.user())).hint(
        "GRANT CREATE ON DATABASE to it, or CREATE SCHEMA davit and GRANT USAGE, CREATE ON SCHEMA davit to it; objectives.rpo: none does without",
    ))
}

async fn answer(session: &Session, doing: &str, sql: &str) -> Result<Option<String>> {
    let rows = session.texts(doing, sql).await?;
    Ok(rows.into_iter().flatten().next().flatten())
}

/// Tables of drills that were killed: their rows were never compared, and nobody else takes them away.
async fn left(session: &Session) -> Result<Vec<String>> {
    let tables = session.texts("looking for tables of earlier drills", LEFT).await?;
    let drop = |table: String| format!("a drill that was ended early has left its table: DROP TABLE {table}");
    Ok(tables.into_iter().flatten().flatten().map(drop).collect())
}
