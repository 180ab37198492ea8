//! Whether something between us and the server gives our statements to different server processes.
//!
//! A backup needs one server process per session: its snapshot, its settings and its locks live there. A pooler in
//! transaction mode (PgBouncer, Odyssey, Supavisor, RDS Proxy, …) breaks that silently. It cannot be asked reliably who
//! it is, so we look at what it does: two of our connections are served by one process, or one connection by two.

use super::connect::connect;
use super::conninfo::{ConnInfo, percent_encode};
use super::fault::{Fault, classify};
use super::session::Session;
use crate::error::{Error, Result};

/// How often the two connections take turns. A pooler that hands out its idle servers in a ring gives itself away when the
/// ring has turned; one turn is enough for those that take the last used server.
const ROUNDS: usize = 3;

/// Only simple queries are sent: prepared statements fail through old poolers in ways that hide the reason.
const WHO: &str = "SELECT pg_catalog.pg_backend_pid()";

/// Refuses a connection that leads through a pooler which does not keep a session together.
///
/// Nothing is set in either session, because through a pooler it would be set for strangers, too.
///
/// # Errors
/// `Kind::Refused`, with the direct host to try as far as it can be learnt through the pooler.
pub async fn refuse_pooler(conn: &ConnInfo) -> Result<()> {
    let one = connect(conn, "preflight").await?;
    let other = connect(one.conn(), "preflight").await?;
    let pooled = takes_turns(&one, &other).await?;
    let refusal = match pooled {
        Some(seen) => {
            let error = Error::refused(format!(
                "connecting to {}: a connection pooler in transaction mode answers there ({seen})",
                conn.describe()
            ));
            Some(error.hint(direct_host(&one, conn).await))
        }
        None => None,
    };
    one.close().await;
    other.close().await;
    refusal.map_or(Ok(()), Err)
}

/// What gives a pooler away, if there is one.
async fn takes_turns(one: &Session, other: &Session) -> Result<Option<String>> {
    // Both are idle between their first statements, so a pooler has every reason to use one process for both.
    let first = pid(one).await?;
    if first != one.backend_pid() {
        return Ok(Some(changed(one.backend_pid(), first)));
    }
    let second = other.backend_pid();
    if first == second {
        return Ok(Some(shared(first)));
    }
    for _ in 0..ROUNDS {
        for (holder, asker, expected) in [(other, one, first), (one, other, second)] {
            // While one is inside a transaction, its server process is taken; the other one gets what is left.
            if let Some(seen) = begin(holder).await? {
                return Ok(Some(seen));
            }
            let (held, asked) = (pid(holder).await?, pid(asker).await?);
            holder.execute("ending a transaction", "ROLLBACK").await?;
            if asked != expected {
                return Ok(Some(changed(expected, asked)));
            }
            let holders = if expected == first { second } else { first };
            if held != holders {
                return Ok(Some(changed(holders, held)));
            }
        }
    }
    Ok(None)
}

fn changed(before: i32, after: i32) -> String {
    format!("one connection was served by process {before}, then by {after}")
}

fn shared(pid: i32) -> String {
    format!("two connections were served by the same process {pid}")
}

async fn begin(session: &Session) -> Result<Option<String>> {
    match session.client.batch_execute("BEGIN").await {
        Ok(()) => Ok(None),
        // PgBouncer in statement mode.
        Err(error) if classify(&error) == Fault::Other || classify(&error) == Fault::Gone => {
            Ok(Some(format!("it takes no transactions: {}", super::fault::said(&error))))
        }
        Err(error) => Err(session.explain(&error, "beginning a transaction")),
    }
}

async fn pid(session: &Session) -> Result<i32> {
    let rows = session.texts("asking which process serves the connection", WHO).await?;
    rows.first().and_then(|row| row.first()).and_then(|text| text.as_deref()?.parse().ok()).ok_or_else(|| {
        Error::failed("asking which process serves the connection: the server did not answer with a number")
    })
}

/// The server's own address, as it sees itself through the pooler.
async fn direct_host(session: &Session, conn: &ConnInfo) -> String {
    let asked = session
        .texts(
            "asking for the server's address",
            "SELECT pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.inet_server_port(), \
             pg_catalog.current_setting('port')",
        )
        .await;
    let row = asked.ok().and_then(|mut rows| rows.pop()).unwrap_or_default();
    let text = |i: usize| row.get(i).and_then(Option::as_deref);
    let name = percent_encode(conn.database());
    match (text(0), text(1), text(2)) {
        (Some(host), Some(port), _) => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            format!(
                "connect to PostgreSQL itself: the pooler reaches it at {host}:{port}, so try \
                 postgres://{}@{host}:{port}/{name}",
                conn.user()
            )
        }
        (_, _, Some(port)) => format!(
            "connect to PostgreSQL itself: it runs on the pooler's machine ({}), behind a Unix socket and perhaps on port {port}",
            conn.shown_hosts()
        ),
        _ => "connect to PostgreSQL itself, or to a pool in session mode".to_owned(),
    }
}
