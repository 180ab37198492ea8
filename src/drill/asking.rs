//! What is asked of the service, by the machine that runs the drill and by observers elsewhere.

use super::means::Access;
use super::plan::{Elsewhere, Stream, writes};
use crate::error::{Error, Result};
use crate::postgres::script::words::{Word, words};
use crate::probe::{Ask, Connection, StreamPlan, tls};
use crate::scenario::{Expect, Expected, ObserverWish, Query, Scenario};
use crate::secret::Secret;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

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

impl Asker<'_> {
    /// An entry of the scenario that is about them, in words.
    fn its(&self, entry: &str) -> String {
        match self {
            Self::Own { .. } => format!("the target's `{entry}`"),
            Self::Elsewhere(observer) => format!("`{entry}` of the observer {}", observer.name),
        }
    }
}

/// Faults by which a name has an address, and the wrong one.
const ANSWERED: [&str; 2] = ["dns-wrong", "dns-stale"];

/// The streams of probes that the way of users asks for.
pub(super) fn streams(
    scenario: &Scenario,
    clients: &Secret,
    ca: Option<&str>,
    asker: &Asker<'_>,
) -> Result<Vec<Stream>> {
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
    let url = clients.reveal();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let good = expected(scenario, asker, scheme)?;
    let ca = trusted(ca, asker, scheme)?;
    let all = match scheme {
        Some("postgres" | "postgresql") | None if scheme.is_some() || url.contains('=') => {
            if names.is_some() {
                return Err(Error::input("planning the probes: clients of a database ask this machine for names")
                    .hint("with a `resolver`, `clients` is an http://, https://, tcp:// or dns:// URL"));
            }
            of_database(scenario, asker)
        }
        Some("http" | "https") => of_web(url, good, ca.as_ref()),
        Some("tcp") => vec![of_port(url, good)],
        Some("dns") => vec![of_name(url, good, scenario)?],
        _ => {
            return Err(Error::input(format!("reading {}: it is no URL that can be probed", asker.its("clients")))
                .hint("write postgres://…, http://…, https://…, tcp://HOST:PORT or dns://NAME"));
        }
    };
    let all: Vec<Stream> = all.into_iter().map(|(name, ask, judged, path)| stream(name, ask, judged, path)).collect();
    if asks_for_more(scenario, asker) && !all.iter().any(|stream| stream.plan.ask.is_sql()) {
        return Err(Error::input("planning the probes: there is a `query`, and clients do not ask a database")
            .hint("leave it out, or write `clients` as postgres://…"));
    }
    all.iter().try_for_each(|stream| stream.plan.check())?;
    Ok(all)
}

/// A stream: its name, what is asked, whether it is judged, and the path of users that it walks.
type Asked = (&'static str, Ask, bool, &'static str);

const FRESH: &str = "new connections";
const POOLED: &str = "kept connections";

fn of_database(scenario: &Scenario, asker: &Asker<'_>) -> Vec<Asked> {
    let write = writes(scenario) && matches!(asker, Asker::Own { .. });
    let query = query(scenario, asker);
    let read = |connection| match query {
        Some(query) => Ask::Query { connection, query: query.text().to_owned() },
        None => Ask::Sql { connection, write: false },
    };
    let ask = |connection| if write { Ask::Sql { connection, write } } else { read(connection) };
    let mut all =
        vec![("sql-new", ask(Connection::Fresh), true, FRESH), ("sql-kept", ask(Connection::Pooled), true, POOLED)];
    if write {
        // What somebody asks for by name is what their users do; only that the server answers may survive.
        all.push(("sql-reads", read(Connection::Fresh), query.is_some(), "reads"));
    }
    all
}

fn of_web(url: &str, good: Option<&Expected>, ca: Option<&String>) -> Vec<Asked> {
    let (status, contains) = match good {
        Some(Expected::Http { status, body }) => (*status, body.as_ref()),
        _ => (None, None),
    };
    let ask = |connection| Ask::Http {
        url: url.to_owned(),
        connection,
        status,
        contains: contains.cloned(),
        ca: ca.cloned(),
    };
    vec![("http-new", ask(Connection::Fresh), true, FRESH), ("http-kept", ask(Connection::Pooled), true, POOLED)]
}

fn of_port(url: &str, good: Option<&Expected>) -> Asked {
    let address = url.trim_start_matches("tcp://").to_owned();
    let (send, expect) = match good {
        Some(Expected::Tcp { send, reply }) => (send.clone(), Some(reply.clone())),
        _ => (None, None),
    };
    ("tcp", Ask::Tcp { address, send, expect }, true, FRESH)
}

fn of_name(url: &str, good: Option<&Expected>, scenario: &Scenario) -> Result<Asked> {
    let expect = match good {
        Some(Expected::Dns { addresses }) => addresses.clone(),
        _ => Vec::new(),
    };
    refuse_any_address(scenario, &expect)?;
    let name = url.trim_start_matches("dns://").to_owned();
    Ok(("dns", Ask::Dns { name, server: None, expect }, true, "names"))
}

/// What a good answer to somebody's probes is, where it is said. What is said for the target holds also for who observes
/// from elsewhere, unless they go another way.
fn expected<'a>(scenario: &'a Scenario, asker: &Asker<'a>, scheme: Option<&str>) -> Result<Option<&'a Expected>> {
    let of_target = scenario.target.place.expect();
    let (said, binding) = match asker {
        Asker::Own { .. } => (of_target, true),
        Asker::Elsewhere(ObserverWish { expect: None, .. }) => (of_target, false),
        Asker::Elsewhere(observer) => (observer.expect.as_ref(), true),
    };
    let Some(Expect { line, answer }) = said else { return Ok(None) };
    let fits = match answer {
        Expected::Http { .. } => matches!(scheme, Some("http" | "https")),
        Expected::Tcp { .. } => scheme == Some("tcp"),
        Expected::Dns { .. } => scheme == Some("dns"),
    };
    match (fits, binding) {
        (true, _) => Ok(Some(answer)),
        (false, false) => Ok(None),
        (false, true) => {
            let at = line.map_or_else(|| asker.its("expect"), |line| format!("line {line} of the scenario"));
            let (entries, clients) = (answer.entries(), answer.clients());
            Err(Error::input(format!("reading {at}: {entries} is expected of {clients}, and clients go another way"))
                .hint("`status` and `body` are for http:// and https://, `send` and `reply` for tcp://, `addresses` for dns://; what a database is asked is its `query`"))
        }
    }
}

/// The roots that somebody's probes trust, where some are named: who does not speak TLS here trusts nobody by them.
fn trusted(ca: Option<&str>, asker: &Asker<'_>, scheme: Option<&str>) -> Result<Option<String>> {
    let Some(pem) = ca else { return Ok(None) };
    let doing = || format!("reading {}", asker.its("ca"));
    if scheme != Some("https") {
        return Err(Error::input(format!("{}: clients do not go over https://", doing()))
            .hint("leave it out; of a database, `sslrootcert` in its URL says whom to trust"));
    }
    tls::roots(pem).map_err(|error| error.during(doing()))?;
    Ok(Some(pem.to_owned()))
}

/// Whoever only asks for a name takes any address: where the fault gives a wrong one, nothing would be seen.
fn refuse_any_address(scenario: &Scenario, expected: &[IpAddr]) -> Result<()> {
    let name = scenario.fault.name.as_str();
    if !ANSWERED.contains(&name) || !expected.is_empty() {
        return Ok(());
    }
    Err(Error::input(format!(
        "planning the probes: {name} answers, and whoever only asks for the name takes any address"
    ))
    .hint("write which are right, `expect: {addresses: [10.0.0.5]}`, or `clients` as what is behind the name: http://shop.example.com/health"))
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
        let own = access.observers.get(&wish.name);
        // Whom to trust belongs to the way there: who goes another one says it again.
        let ca = access.observers_ca.get(&wish.name).or(access.ca.as_ref().filter(|_| own.is_none()));
        let clients = own.unwrap_or(&access.clients).clone();
        let streams = streams(scenario, &clients, ca.map(String::as_str), &Asker::Elsewhere(wish))?;
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
        let streams = streams(&scenario, &clients, None, &Asker::Own { names: None }).unwrap();
        unasked(&scenario, streams.iter())
    }

    /// What probes ask, or why they cannot be planned, where the file says this of clients, and of the fault.
    fn asked(clients: &str, more: &str, fault: &str) -> Result<Vec<String>> {
        let text = format!(
            "title: t\nwhy: w\nobjectives: {{rto: 15m, rpo: none}}\n\
             target:\n  service: s\n  environment: e\n  processes:\n    clients: '{clients}'\n    {more}\n\
             fault: {{name: {fault}}}\nrecovery: platform\n\
             observers: [{{name: office, command: [ssh], clients: 'tcp://shop:1'}}]\n"
        );
        let scenario = crate::scenario::read(&text, Path::new("x.yaml"), &[])?;
        let (own, other) = (Secret::new(clients.to_owned()), Secret::new("tcp://shop:1".to_owned()));
        let mut all = streams(&scenario, &own, None, &Asker::Own { names: None })?;
        all.extend(streams(&scenario, &other, None, &Asker::Elsewhere(&scenario.observers[0]))?);
        Ok(all.iter().map(|stream| stream.plan.describe()).collect())
    }

    #[test]
    fn what_is_expected_of_the_service_is_asked_of_it_and_of_nobody_who_goes_another_way() {
        for (clients, expect, all) in [
            (
                "https://shop.test/health",
                "{status: 204, body: ok}",
                &[
                    "https://shop.test/health, a fresh connection each time, good: status 204, a body with \"ok\"",
                    "https://shop.test/health, over pooled connections, good: status 204, a body with \"ok\"",
                    "TCP to shop:1",
                ][..],
            ),
            (
                "tcp://cache:6379",
                r#"{send: "PING\r\n", reply: +PONG}"#,
                &["TCP to cache:6379, good: an answer with \"+PONG\""; 1],
            ),
            (
                "dns://shop.test",
                "{addresses: [10.0.0.5, 'fd00::5']}",
                &["the addresses of shop.test, good: 10.0.0.5, fd00::5", "TCP to shop:1"],
            ),
        ] {
            let said = asked(clients, &format!("expect: {expect}"), "dns-silent").unwrap();
            assert_eq!(said[..all.len()], *all, "{clients}");
        }
        assert!(asked("dns://shop.test", "", "dns-stale").is_err(), "any address would be good");
        assert!(asked("dns://shop.test", "expect: {addresses: [10.0.0.5]}", "dns-stale").is_ok());
    }

    #[test]
    fn what_nobody_can_answer_is_refused_with_its_line() {
        for (clients, expect, entry) in [
            ("postgres://a@b/c", "{status: 200}", "`status` or `body`"),
            ("tcp://b:1", "{body: ok}", "`status` or `body`"),
            ("https://b/", "{reply: +PONG}", "`reply`"),
            ("http://b/", "{addresses: [10.0.0.5]}", "`addresses`"),
        ] {
            let error = asked(clients, &format!("expect: {expect}"), "dns-silent").unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Input);
            let said = format!("reading line 9 of the scenario: {entry} is expected of");
            assert!(error.to_string().starts_with(&said), "{error}");
        }
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
