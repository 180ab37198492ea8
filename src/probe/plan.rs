//! What a stream asks, how often, and for how long it waits.

use crate::error::{Error, Result};
use crate::observation::{StreamFacts, nanos};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Ten probes a second, unless a plan says otherwise.
pub const EVERY: Duration = Duration::from_millis(100);

/// A probe that is not answered within this has failed, unless a plan says otherwise. This is for the bounds of an outage,
/// and may be shorter than the patience of the application.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// Where a probe's connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// A new one for each probe.
    Fresh,
    /// One that an earlier probe left open, as an application's pool does it: dead ones are found out by using them.
    Pooled,
}

/// What a stream asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// One transaction. The connection itself comes from the caller.
    Sql {
        /// Fresh or pooled.
        connection: Connection,
        /// Whether the transaction writes a row of the ledger; otherwise it reads, which may survive what writes do not.
        write: bool,
    },
    /// One query, in a transaction that only reads. An answer of one `false` is a failure, too.
    Query {
        /// Fresh or pooled.
        connection: Connection,
        /// One statement.
        query: String,
    },
    /// One request.
    Http {
        /// `http://…` or `https://…`.
        url: String,
        /// Fresh or pooled.
        connection: Connection,
        /// The status that is good; without it, any from 200 to 299.
        status: Option<u16>,
        /// What the body must contain.
        contains: Option<String>,
        /// Over TLS, the roots that are trusted, as PEM; those of its machine without them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<String>,
    },
    /// One connection; with `send`, also an answer to it.
    Tcp {
        /// `host:port`.
        address: String,
        /// What is sent once connected.
        send: Option<String>,
        /// What the answer must contain.
        expect: Option<String>,
    },
    /// One question for addresses.
    Dns {
        /// The name asked for.
        name: String,
        /// Whom to ask; without it, whom this machine asks.
        server: Option<SocketAddr>,
        /// The addresses that are right; without them, any.
        expect: Vec<IpAddr>,
    },
}

/// One stream of probes: what is asked, and at which pace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// Its name, unique among the streams of an observer.
    pub name: String,
    /// What is asked.
    pub ask: Ask,
    /// Whom it asks for the addresses of names; without it, whom this machine asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<SocketAddr>,
    /// A probe is due this often, whatever became of the ones before. In JSON nanoseconds, as in the log.
    #[serde(with = "nanos")]
    pub every: Duration,
    /// A probe that is not answered within this has failed.
    #[serde(with = "nanos")]
    pub deadline: Duration,
}

impl StreamPlan {
    /// A stream at the usual pace.
    pub fn new(name: impl Into<String>, ask: Ask) -> Self {
        Self { name: name.into(), ask, names: None, every: EVERY, deadline: DEADLINE }
    }

    /// The same at another pace.
    #[must_use]
    pub fn paced(mut self, every: Duration, deadline: Duration) -> Self {
        (self.every, self.deadline) = (every, deadline);
        self
    }

    /// The same with its names from this name server.
    #[must_use]
    pub fn asking(mut self, server: Option<SocketAddr>) -> Self {
        self.names = server;
        self
    }

    /// In words.
    pub fn describe(&self) -> String {
        match self.names {
            Some(server) => format!("{}, names from {server}", self.ask.describe()),
            None => self.ask.describe(),
        }
    }

    /// The most connections it ever holds: twice as many as probes can wait for their deadline at once, since one whose
    /// deadline has passed is cleaned up for as long again. A probe that would need another one is not sent, and counts
    /// as a gap.
    pub fn connections(&self) -> u32 {
        let every = self.every.as_nanos().max(1);
        let waiting = self.deadline.as_nanos().div_ceil(every).max(1);
        u32::try_from(waiting * 2).unwrap_or(u32::MAX)
    }

    /// What a log says of it.
    pub fn facts(&self) -> StreamFacts {
        StreamFacts {
            name: self.name.clone(),
            what: self.describe(),
            every: self.every,
            deadline: self.deadline,
            connections: self.connections(),
        }
    }

    /// Refuses a pace that nothing can keep.
    ///
    /// # Errors
    /// `Kind::Input`.
    pub fn check(&self) -> Result<()> {
        let doing = format!("planning the probes {:?}", self.name);
        if self.every < Duration::from_millis(1) {
            return Err(Error::input(format!("{doing}: one every {:?} is too often", self.every))
                .hint("at most 1,000 probes a second; a load of writes is another thing than probes"));
        }
        if self.deadline.is_zero() {
            return Err(Error::input(format!("{doing}: a deadline of nothing fails every probe")));
        }
        Ok(())
    }
}

impl Ask {
    /// Whether it asks a database.
    pub const fn is_sql(&self) -> bool {
        matches!(self, Self::Sql { .. } | Self::Query { .. })
    }

    /// In words.
    pub fn describe(&self) -> String {
        let connection = |connection: &Connection| match connection {
            Connection::Fresh => "a fresh connection each time",
            Connection::Pooled => "over pooled connections",
        };
        match self {
            Self::Sql { connection: kind, write } => {
                format!("SQL, {}, {}", if *write { "writing" } else { "reading" }, connection(kind))
            }
            Self::Query { connection: kind, query } => format!("SQL, {query}, {}", connection(kind)),
            Self::Http { url, connection: kind, .. } => {
                format!("{}, {}{}", crate::secret::redact(url), connection(kind), self.good())
            }
            Self::Tcp { address, .. } => format!("TCP to {address}{}", self.good()),
            Self::Dns { name, server: Some(server), .. } => {
                format!("the addresses of {name}, from {server}{}", self.good())
            }
            Self::Dns { name, server: None, .. } => format!("the addresses of {name}{}", self.good()),
        }
    }

    /// What a good answer must be besides none of failure, as the end of a sentence. What is sent may be a password.
    fn good(&self) -> String {
        let must: Vec<String> = match self {
            Self::Http { status, contains, .. } => {
                let body = contains.as_ref().map(|text| format!("a body with {text:?}"));
                status.map(|status| format!("status {status}")).into_iter().chain(body).collect()
            }
            Self::Tcp { expect, .. } => expect.iter().map(|text| format!("an answer with {text:?}")).collect(),
            Self::Dns { expect, .. } => expect.iter().map(ToString::to_string).collect(),
            Self::Sql { .. } | Self::Query { .. } => Vec::new(),
        };
        if must.is_empty() { String::new() } else { format!(", good: {}", must.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stated_connections_are_twice_those_that_can_wait() {
        let ask = Ask::Sql { connection: Connection::Fresh, write: true };
        let plan = StreamPlan::new("orders", ask);
        assert_eq!(plan.connections(), 20);
        let odd = plan.clone().paced(Duration::from_millis(300), Duration::from_secs(1));
        assert_eq!(odd.connections(), 8);
        assert_eq!(plan.paced(Duration::from_secs(5), Duration::from_secs(1)).connections(), 2);
    }

    #[test]
    fn a_pace_that_nothing_can_keep_is_refused() {
        let plan = StreamPlan::new("dns", Ask::Dns { name: "shop".to_owned(), server: None, expect: Vec::new() });
        assert!(plan.check().is_ok());
        assert!(plan.clone().paced(Duration::from_micros(10), DEADLINE).check().is_err());
        assert!(plan.paced(EVERY, Duration::ZERO).check().is_err());
    }
}
