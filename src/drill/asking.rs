//! What is asked of the service, by the machine that runs the drill and by observers elsewhere.

use super::means::Access;
use super::plan::{Elsewhere, Stream, writes};
use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnInfo, connect};
use crate::probe::sql::reading;
use crate::probe::{Ask, Connection, StreamPlan};
use crate::scenario::{ObserverWish, Query, Scenario};
use crate::secret::Secret;
use std::net::SocketAddr;
use std::time::Duration;

/// Who asks.
pub(super) enum Asker<'a> {
    /// The machine that runs the drill. It alone writes, because the ledger is its own.
    Own {
        /// Whom it asks for names; whom this machine asks, if nobody is said.
        names: Option<SocketAddr>,
    },
    /// An observer elsewhere: it reads, and asks for names whom its own machine asks.
    Elsewhere(&'a ObserverWish),
}

/// How long a query may take that is asked once before anything happens: nothing of it is in a cache yet.
const FIRST: Duration = Duration::from_secs(10);

/// The streams of probes that the way of users asks for.
pub(super) fn streams(scenario: &Scenario, clients: &Secret, asker: &Asker<'_>) -> Result<Vec<Stream>> {
    let (every, deadline) = (scenario.load.probes.period(), scenario.load.deadline);
    let names = match asker {
        Asker::Own { names } => *names,
        Asker::Elsewhere(_) => None,
    };
    let stream = |name: &str, ask: Ask, judged: bool, path: &'static str| {
        let name = match asker {
            Asker::Own { .. } => name.to_owned(),
            Asker::Elsewhere(observer) => format!("{}/{name}", observer.name),
        };
        Stream { plan: StreamPlan::new(name, ask).paced(every, deadline).asking(names), judged, path }
    };
    let (fresh, pooled) = ("new connections", "kept connections");
    let url = clients.reveal();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let all = match scheme {
        Some("postgres" | "postgresql") | None if scheme.is_some() || url.contains('=') => {
            if names.is_some() {
                return Err(Error::input("planning the probes: clients of a database ask this machine for names")
                    .hint("with a `resolver`, `clients` is an http://, https://, tcp:// or dns:// URL"));
            }
            let write = writes(scenario) && matches!(asker, Asker::Own { .. });
            let query = query(scenario, asker);
            let read = |connection| match query {
                Some(query) => Ask::Query { connection, query: query.text().to_owned() },
                None => Ask::Sql { connection, write: false },
            };
            let ask = |connection| if write { Ask::Sql { connection, write } } else { read(connection) };
            let mut all = vec![
                stream("sql-new", ask(Connection::Fresh), true, fresh),
                stream("sql-kept", ask(Connection::Pooled), true, pooled),
            ];
            if write {
                // What somebody asks for by name is what their users do; only that the server answers may survive.
                all.push(stream("sql-reads", read(Connection::Fresh), query.is_some(), "reads"));
            }
            all
        }
        Some("http" | "https") => {
            let ask = |connection| Ask::Http { url: url.to_owned(), connection, status: None, contains: None };
            vec![
                stream("http-new", ask(Connection::Fresh), true, fresh),
                stream("http-kept", ask(Connection::Pooled), true, pooled),
            ]
        }
        Some("tcp") => {
            let address = url.trim_start_matches("tcp://").to_owned();
            vec![stream("tcp", Ask::Tcp { address, send: None, expect: None }, true, fresh)]
        }
        Some("dns") => {
            let name = url.trim_start_matches("dns://").to_owned();
            vec![stream("dns", Ask::Dns { name, server: None, expect: Vec::new() }, true, "names")]
        }
        _ => {
            let whose = match asker {
                Asker::Own { .. } => "the target's `clients`".to_owned(),
                Asker::Elsewhere(observer) => format!("`clients` of the observer {}", observer.name),
            };
            return Err(Error::input(format!("reading {whose}: it is no URL that can be probed"))
                .hint("write postgres://…, http://…, https://…, tcp://HOST:PORT or dns://NAME"));
        }
    };
    if asks_for_more(scenario, asker) && !all.iter().any(|stream| stream.plan.ask.is_sql()) {
        return Err(Error::input("planning the probes: there is a `query`, and clients do not ask a database")
            .hint("leave it out, or write `clients` as postgres://…"));
    }
    all.iter().try_for_each(|stream| stream.plan.check())?;
    Ok(all)
}

/// What somebody's probes ask a database, where it is said.
fn query<'a>(scenario: &'a Scenario, asker: &'a Asker<'_>) -> Option<&'a Query> {
    let own = match asker {
        Asker::Own { .. } => None,
        Asker::Elsewhere(observer) => observer.query.as_ref(),
    };
    own.or(scenario.target.place.query())
}

/// Whether a query was written for this asker: one that goes another way need not ask a database because others do.
fn asks_for_more(scenario: &Scenario, asker: &Asker<'_>) -> bool {
    match asker {
        Asker::Own { .. } => scenario.target.place.query().is_some(),
        Asker::Elsewhere(observer) => observer.query.is_some(),
    }
}

/// Asks once what the probes of this machine will ask, if somebody wrote it: a table that is not there or may not be read is
/// found out before anything is touched.
pub(super) async fn try_out(conn: &ConnInfo, streams: &[Stream]) -> Result<()> {
    let query = streams.iter().find_map(|stream| match &stream.plan.ask {
        Ask::Query { query, .. } => Some(query),
        _ => None,
    });
    let Some(query) = query else { return Ok(()) };
    let refused = |error: Error| if error.kind() == Kind::Failed { error.as_kind(Kind::Refused) } else { error };
    let session = connect(conn, "drill").await.map_err(refused)?;
    let limit = format!(" SET LOCAL statement_timeout = {};", FIRST.as_millis());
    let asked = session.texts(&format!("asking once what probes will ask ({query})"), &reading(&limit, query)).await;
    session.close().await;
    asked.map(drop).map_err(|error| refused(error).hint("`query` in the scenario's target says what they ask"))
}

/// What observers elsewhere ask.
pub(super) fn elsewhere(scenario: &Scenario, access: &Access) -> Result<Vec<Elsewhere>> {
    let one = |wish: &ObserverWish| {
        let clients = access.observers.get(&wish.name).unwrap_or(&access.clients).clone();
        let streams = streams(scenario, &clients, &Asker::Elsewhere(wish))?;
        Ok(Elsewhere { wish: wish.clone(), seat: None, clients, streams })
    };
    scenario.observers.iter().map(one).collect()
}
