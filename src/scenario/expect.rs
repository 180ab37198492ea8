//! What a good answer looks like, where a scenario says it. Pure.

use super::settle::line;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::net::IpAddr;

/// What the service's answers must be. Without it any answer that is no failure is good.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Spanned<RawExpect>")]
pub struct Expect {
    /// Where the file says it.
    pub line: Option<u64>,
    /// What it says.
    pub answer: Expected,
}

/// A good answer, by who gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A web service.
    Http {
        /// Its status; any from 200 to 299 where it is not said.
        status: Option<u16>,
        /// What its body contains.
        body: Option<String>,
    },
    /// Whoever listens on a port.
    Tcp {
        /// What is said first.
        send: Option<String>,
        /// What the answer contains.
        reply: String,
    },
    /// Whoever is asked for a name: these addresses, and no others of their kind.
    Dns {
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
}

impl Expected {
    /// The entries by which it is said.
    pub const fn entries(&self) -> &'static str {
        match self {
            Self::Http { .. } => "`status` or `body`",
            Self::Tcp { .. } => "`reply`",
            Self::Dns { .. } => "`addresses`",
        }
    }

    /// Whose answers it can be about.
    pub const fn clients(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http:// or https://",
            Self::Tcp { .. } => "tcp://",
            Self::Dns { .. } => "dns://",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    status: Option<u16>,
    body: Option<String>,
    send: Option<String>,
    reply: Option<String>,
    addresses: Option<Vec<String>>,
}

impl TryFrom<Spanned<RawExpect>> for Expect {
    type Error = String;

    fn try_from(raw: Spanned<RawExpect>) -> Result<Self, String> {
        let at = line(&raw);
        Ok(Self { line: at, answer: answer(raw.value)? })
    }
}

fn answer(raw: RawExpect) -> Result<Expected, String> {
    const EXAMPLE: &str = "write {status: 200, body: ok} of a web service, {send: \"PING\\r\\n\", reply: +PONG} of a port, \
         or {addresses: [10.0.0.5]} of a name";
    let RawExpect { status, body, send, reply, addresses } = raw;
    for (name, text) in [("body", &body), ("send", &send), ("reply", &reply)] {
        if text.as_ref().is_some_and(String::is_empty) {
            return Err(format!("the {name:?} that is expected is empty, and every answer has that; {EXAMPLE}"));
        }
    }
    match (status.is_some() || body.is_some(), reply, addresses) {
        (true, None, None) if send.is_none() => match status {
            Some(status) if !(100..600).contains(&status) => {
                Err(format!("{status} is no status of HTTP; write one from 100 to 599"))
            }
            status => Ok(Expected::Http { status, body }),
        },
        (false, Some(reply), None) => Ok(Expected::Tcp { send, reply }),
        (false, None, Some(addresses)) if send.is_none() => {
            let address = |text: &String| text.parse().map_err(|_| format!("{text:?} is no address; write 10.0.0.5"));
            let addresses = addresses.iter().map(address).collect::<Result<Vec<IpAddr>, String>>()?;
            if addresses.is_empty() {
                return Err(format!("no address is expected, and then any is good; {EXAMPLE}"));
            }
            Ok(Expected::Dns { addresses })
        }
        (false, None, None) if send.is_some() => {
            Err("it is said what is sent, and not what is replied; write `reply: …` beside `send`".to_owned())
        }
        (false, None, None) => Err(format!("it is not said what is expected; {EXAMPLE}")),
        _ => Err(format!("one answer cannot be all of this; {EXAMPLE}")),
    }
}
