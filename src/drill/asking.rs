//! What is asked of the service, by the machine that runs the drill and by observers elsewhere.

use super::means::Access;
use super::plan::{Elsewhere, Stream, writes};
use crate::error::{Error, Result};
use crate::postgres::script::words::{Word, words};
use crate::probe::{Ask, Connection, StreamPlan};
use crate::scenario::{ObserverWish, Query, Scenario};
use crate::secret::Secret;
use std::collections::BTreeSet;
use std::net::SocketAddr;

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

/// Faults by which a name has an address, and the wrong one.
const ANSWERED: [&str; 2] = ["dns-wrong", "dns-stale"];

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
            refuse_any_address(scenario)?;
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

/// Whoever only asks for a name takes any address: where the fault gives a wrong one, nothing would be seen.
fn refuse_any_address(scenario: &Scenario) -> Result<()> {
    let name = scenario.fault.name.as_str();
    if !ANSWERED.contains(&name) {
        return Ok(());
    }
    Err(Error::input(format!(
        "planning the probes: {name} answers, and whoever only asks for the name takes any address"
    ))
    .hint("write `clients` as what is behind the name: http://shop.example.com/health or tcp://shop.example.com:5432"))
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

/// How faults of tables are told which ones.
const TABLES: [&str; 2] = ["table", "tables"];

/// Tables that the fault strikes and that nobody's query names: a server without them answers all that is asked of it. Over
/// another protocol nobody knows what a request reads.
pub(super) fn unasked<'a>(scenario: &Scenario, streams: impl Iterator<Item = &'a Stream>) -> Option<String> {
    let streams: Vec<&Stream> = streams.collect();
    if !streams.iter().all(|stream| stream.plan.ask.is_sql()) {
        return None;
    }
    let struck = TABLES.iter().find_map(|name| scenario.fault.with.get(*name)?.as_str())?;
    let asked: BTreeSet<String> = streams
        .iter()
        .filter_map(|stream| match &stream.plan.ask {
            Ask::Query { query, .. } => Some(words(query)),
            _ => None,
        })
        .flatten()
        .filter_map(|word| word.name())
        .collect();
    let unasked = |table: &&str| words(table).last().and_then(Word::name).is_none_or(|name| !asked.contains(&name));
    let unasked: Vec<&str> = struck.split(',').map(str::trim).filter(unasked).collect();
    (!unasked.is_empty()).then(|| unasked.join(", "))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What nobody asks for, where these are the query and what the fault is told.
    fn left(clients: &str, query: &str, with: &str) -> Option<String> {
        let text = format!(
            "title: t\nwhy: w\nobjectives: {{rto: 15m, rpo: 0s}}\n\
             target: {{service: s, environment: e, processes: {{clients: '{clients}'{query}}}}}\n\
             fault: {{name: dropped-table, with: {{{with}}}}}\nrecovery: platform\n"
        );
        let scenario = crate::scenario::read(&text, Path::new("x.yaml"), &[]).unwrap();
        let clients = Secret::new(clients.to_owned());
        let streams = streams(&scenario, &clients, &Asker::Own { names: None }).unwrap();
        unasked(&scenario, streams.iter())
    }

    #[test]
    fn a_table_that_the_fault_strikes_is_asked_for_or_said_not_to_be() {
        let (database, orders) = ("postgres://a@b/c", ", query: 'SELECT count(*) FROM public.orders WHERE id = 1'");
        let said = |query: &str, with: &str| left(database, query, with);
        assert_eq!(said("", "table: public.orders").as_deref(), Some("public.orders"), "SELECT 1 touches no table");
        assert_eq!(said(orders, "table: public.orders"), None);
        assert_eq!(said(orders, "table: 'shop.\"orders\"'"), None, "a name is the same in quotes");
        assert_eq!(said(orders, "tables: 'public.orders, public.customers'").as_deref(), Some("public.customers"));
        assert_eq!(said("", ""), None, "no table is struck");
        // What a page of a shop reads is not known here.
        assert_eq!(left("http://shop.test/", "", "table: public.orders"), None);
    }
}
