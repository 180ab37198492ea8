//! What is asked of the service, by the machine that runs the drill and by observers elsewhere.

use super::means::Access;
use super::plan::{Elsewhere, Stream, writes};
use crate::error::{Error, Result};
use crate::probe::{Ask, Connection, StreamPlan};
use crate::scenario::Scenario;
use crate::secret::Secret;
use std::net::SocketAddr;

/// Who asks.
pub(super) enum Asker<'a> {
    /// The machine that runs the drill. It alone writes, because the ledger is its own.
    Own {
        /// Whom it asks for names; whom this machine asks, if nobody is said.
        names: Option<SocketAddr>,
    },
    /// An observer elsewhere: it reads, and asks for names whom its own machine asks.
    Elsewhere(&'a str),
}

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
            Asker::Elsewhere(observer) => format!("{observer}/{name}"),
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
            let ask = |connection, write| Ask::Sql { connection, write };
            let mut all = vec![
                stream("sql-new", ask(Connection::Fresh, write), true, fresh),
                stream("sql-kept", ask(Connection::Pooled, write), true, pooled),
            ];
            if write {
                all.push(stream("sql-reads", ask(Connection::Fresh, false), false, "reads"));
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
                Asker::Elsewhere(observer) => format!("`clients` of the observer {observer}"),
            };
            return Err(Error::input(format!("reading {whose}: it is no URL that can be probed"))
                .hint("write postgres://…, http://…, https://…, tcp://HOST:PORT or dns://NAME"));
        }
    };
    all.iter().try_for_each(|stream| stream.plan.check())?;
    Ok(all)
}

/// What observers elsewhere ask.
pub(super) fn elsewhere(scenario: &Scenario, access: &Access) -> Result<Vec<Elsewhere>> {
    let one = |wish: &crate::scenario::ObserverWish| {
        let clients = access.observers.get(&wish.name).unwrap_or(&access.clients).clone();
        let streams = streams(scenario, &clients, &Asker::Elsewhere(&wish.name))?;
        Ok(Elsewhere { wish: wish.clone(), seat: None, clients, streams })
    };
    scenario.observers.iter().map(one).collect()
}
