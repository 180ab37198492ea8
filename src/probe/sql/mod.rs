//! A probe that runs one transaction, on a fresh connection or on one of a pool.
//!
//! How a connection is opened (addresses, TLS, passwords) is the caller's business: it comes in as a [`Dial`].

mod pending;
mod transaction;

pub(crate) use pending::Pending;
pub use transaction::{End, reading, write};

use super::ledger::Ledger;
use super::plan::Connection;
use super::service::{Reply, Service, Ticket};
use crate::error::{Error, Result};
use crate::observation::Outcome;
use async_trait::async_trait;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage};

/// An open connection to the target.
#[async_trait]
pub trait Link: Send + Sync {
    /// The driver's client.
    fn client(&self) -> &Client;

    /// What each transaction must begin with, where the session did not begin with the settings it was opened with.
    fn before(&self) -> Option<&str> {
        None
    }

    /// What the server said beside its answers since this was last asked: SQLSTATE and text, warnings only.
    fn take_notices(&self) -> Vec<(String, String)>;

    /// Asks the server to cancel what this connection is running.
    async fn cancel(&self);
}

/// Opens connections to the target. `drill::dial::Server` is the one over `postgres`.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Opens one whose session begins with these settings, given in its startup packet.
    async fn dial(&self, settings: &[(&'static str, String)]) -> Result<Box<dyn Link>>;
}

/// A way to connect that is passed around.
pub type SharedDial = Arc<dyn Dial>;

/// The settings with which a probe's session ends by itself, even if its client is gone: no wait for a lock, no statement,
/// no idle transaction outlives the deadline, and (from PostgreSQL 14) the server looks whether the client is there.
pub fn settings(deadline: Duration, major: u32) -> Vec<(&'static str, String)> {
    let limit = format!("{}ms", deadline.as_millis().max(1));
    let mut settings = vec![
        ("lock_timeout", limit.clone()),
        ("statement_timeout", limit.clone()),
        ("idle_in_transaction_session_timeout", limit),
    ];
    if major >= 14 {
        settings.push(("client_connection_check_interval", format!("{}ms", (deadline.as_millis() / 2).max(1))));
    }
    settings
}

/// The same as statements of one transaction, for whoever keeps a session's settings to itself, as poolers do: what is said
/// with `SET` would be said to strangers, too.
pub fn settings_of_a_transaction(settings: &[(&'static str, String)]) -> String {
    settings.iter().fold(String::new(), |all, (name, value)| all + " SET LOCAL " + name + " = '" + value + "';")
}

/// What a stream's transactions do.
enum Work {
    /// A row of the ledger, in this table.
    Write { ledger: Arc<Ledger>, table: String },
    /// A query; in a transaction of its own where `alone`.
    Read { sql: String, alone: bool },
}

/// Asks with one transaction.
pub struct SqlService {
    dial: SharedDial,
    settings: Vec<(&'static str, String)>,
    connection: Connection,
    work: Work,
    idle: Mutex<Vec<Box<dyn Link>>>,
}

impl SqlService {
    /// Each probe writes a row of `ledger` into `table` ([`Table::name`](super::ledger::Table::name)).
    pub fn writing(
        dial: SharedDial,
        settings: Vec<(&'static str, String)>,
        connection: Connection,
        ledger: Arc<Ledger>,
        table: &str,
    ) -> Self {
        Self::with(dial, settings, connection, Work::Write { ledger, table: table.to_owned() })
    }

    /// Each probe runs this query.
    pub fn reading(dial: SharedDial, settings: Vec<(&'static str, String)>, connection: Connection, sql: &str) -> Self {
        Self::with(dial, settings, connection, Work::Read { sql: sql.to_owned(), alone: false })
    }

    /// Each probe runs this query in a transaction that only reads; see [`reading`].
    pub fn asking(
        dial: SharedDial,
        settings: Vec<(&'static str, String)>,
        connection: Connection,
        query: &str,
    ) -> Self {
        Self::with(dial, settings, connection, Work::Read { sql: query.to_owned(), alone: true })
    }

    fn with(dial: SharedDial, settings: Vec<(&'static str, String)>, connection: Connection, work: Work) -> Self {
        Self { dial, settings, connection, work, idle: Mutex::new(Vec::new()) }
    }

    /// An open connection: of the pool the one that was used last, as pools do it, without looking whether it is alive.
    async fn link(&self) -> Result<Box<dyn Link>> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(link) => Ok(link),
            None => self.dial.dial(&self.settings).await,
        }
    }

    /// Only a connection on which everything went well goes back.
    fn give_back(&self, link: Box<dyn Link>) {
        if self.connection == Connection::Pooled {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }

    async fn read(&self, ticket: &Ticket, sql: &str, alone: bool) -> Reply {
        let link = tokio::select! {
            biased;
            link = self.link() => link,
            () = ticket.give_up.cancelled() => return given_up(),
        };
        let link = match link {
            Ok(link) => link,
            Err(error) => return Reply::Refused(error.to_string()),
        };
        let sql = match link.before() {
            None if !alone => Cow::Borrowed(sql),
            before => Cow::Owned(reading(before.unwrap_or_default(), sql)),
        };
        let asked = tokio::select! {
            biased;
            asked = link.client().simple_query(&sql) => asked,
            () = ticket.give_up.cancelled() => {
                link.cancel().await;
                return given_up();
            }
        };
        for (code, text) in link.take_notices() {
            ticket.notice(&code, &text);
        }
        match asked {
            Ok(answer) => {
                self.give_back(link);
                if transaction::says_no(&answer) {
                    Reply::Refused("the query answered false".to_owned())
                } else {
                    Reply::Good
                }
            }
            Err(error) => Reply::Refused(transaction::said(&error)),
        }
    }

    async fn write(&self, ticket: &Ticket, ledger: &Ledger, table: &str) -> Reply {
        let mut pending = match Pending::begin(ledger, &ticket.clock) {
            Ok(pending) => pending,
            Err(error) => return Reply::Refused(error.to_string()),
        };
        let link = tokio::select! {
            biased;
            link = self.link() => link,
            () = ticket.give_up.cancelled() => Err(Error::failed("no connection until the deadline")),
        };
        let link = match link {
            Ok(link) => link,
            // Without a connection nothing was sent: dropped as it is, the write has failed.
            Err(error) => return Reply::Refused(error.to_string()),
        };
        {
            let mut writing = std::pin::pin!(pending.write(&*link, table));
            tokio::select! {
                biased;
                () = &mut writing => {}
                () = ticket.give_up.cancelled() => {
                    // The server may still answer, and what it says is the truth about this write.
                    tokio::join!(link.cancel(), writing);
                }
            }
        }
        for (code, text) in &pending.end.notices {
            ticket.notice(code, text);
        }
        let said = pending.end.said.clone();
        match (pending.settle(), said) {
            (Ok(Outcome::Ok), _) => {
                self.give_back(link);
                Reply::Good
            }
            (Ok(_), said) => Reply::Refused(said.unwrap_or_default()),
            (Err(error), _) => Reply::Refused(error.to_string()),
        }
    }
}

fn given_up() -> Reply {
    Reply::Refused("given up".to_owned())
}

#[async_trait]
impl Service for SqlService {
    async fn probe(&self, ticket: Ticket) -> Reply {
        match &self.work {
            Work::Write { ledger, table } => self.write(&ticket, ledger, table).await,
            Work::Read { sql, alone } => self.read(&ticket, sql, *alone).await,
        }
    }
}

/// Runs a query whose result is read as text.
pub(super) async fn texts(link: &dyn Link, doing: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let answer = link.client().simple_query(sql).await;
    let answer = answer.map_err(|error| Error::failed(doing).because(transaction::said(&error)))?;
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()),
        _ => None,
    });
    Ok(rows.collect())
}

/// The number of connections that this login could still have: of the server those that are not kept for superusers, and
/// of the database and the role, whose limits superusers do not know. What others do is hidden from most logins, that they
/// are there is not.
const ROOM: &str = "SELECT least( \
     current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - count(a.pid), \
     (SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database() AND datconnlimit >= 0 \
         AND NOT me.rolsuper) - count(*) FILTER (WHERE datname = current_database()), \
     (SELECT me.rolconnlimit WHERE me.rolconnlimit >= 0 AND NOT me.rolsuper) - count(*) FILTER (WHERE usesysid = me.oid)) \
     FROM pg_catalog.pg_roles me LEFT JOIN pg_catalog.pg_stat_activity a ON a.datid IS NOT NULL AND a.usesysid IS NOT NULL \
         AND coalesce(a.backend_type, 'client backend') = 'client backend' \
     WHERE me.rolname = current_user GROUP BY me.oid, me.rolsuper, me.rolconnlimit";

/// Refuses streams that could use up the server's connections: probes must not be the outage.
///
/// # Errors
/// `Kind::Refused` where there is no room for `wanted` of them.
pub async fn check_room(link: &dyn Link, wanted: u32) -> Result<()> {
    let doing = "counting the free connections of the target";
    let answer = texts(link, doing, ROOM).await?;
    let free: i64 = answer.first().and_then(|row| row.first()?.as_ref()?.parse().ok()).unwrap_or(0);
    if free >= i64::from(wanted) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{doing}: the probes may hold {wanted} connections at once, and {} are free",
        free.max(0)
    ))
    .hint("probe less often, wait less long for an answer, or raise max_connections or the limit of the database or the role"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_a_probe_ends_by_itself() {
        let of_13 = settings(Duration::from_secs(1), 13);
        assert_eq!(of_13.len(), 3);
        assert!(of_13.iter().all(|(_, value)| value == "1000ms"));
        assert_eq!(settings(Duration::from_secs(1), 14)[3], ("client_connection_check_interval", "500ms".to_owned()));
    }
}
