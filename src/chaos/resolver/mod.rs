//! A name server in the path of a process: it asks another one and passes the answers on, until it is told to answer
//! wrongly, not at all, or with what was true before.
//!
//! UDP only. A client that falls back to TCP finds nobody there.

mod answer;

use crate::clock::SharedClock;
use crate::error::{Context, Kind, Result};
use answer::{Query, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long the other name server may take.
const UPSTREAM: Duration = Duration::from_secs(5);

/// Answers over UDP are not longer than this.
const ANSWER_MAX: usize = 4096;

/// How questions are answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answering {
    /// As the other name server does.
    #[default]
    Right,
    /// With these addresses.
    Wrong(Vec<IpAddr>),
    /// Not at all.
    Silent,
    /// That there is no such name.
    NoName,
    /// With what was answered before the fault; a question that was not asked before fails.
    Stale,
}

/// What is answered how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// How.
    pub answering: Answering,
    /// Only questions for these names (lower case, no dot at the end); every one if there is none.
    pub names: BTreeSet<String>,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Questions that came in.
    pub asked: u64,
    /// Questions that were answered as the other name server did.
    pub passed: u64,
    /// Questions that a fault touched.
    pub touched: u64,
}

struct Shared {
    upstream: SocketAddr,
    clock: SharedClock,
    conditions: watch::Sender<Conditions>,
    seen: Mutex<Seen>,
    counting: [AtomicU64; 3],
}

/// A running name server. Dropping it ends it.
pub struct Resolver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Resolver {
    /// Listens at `listen` (port 0: any) and asks `upstream`. Needs a tokio runtime that keeps running.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub async fn start(listen: SocketAddr, upstream: SocketAddr, clock: SharedClock) -> Result<Self> {
        let doing = || format!("starting a name server at {listen}");
        let socket = UdpSocket::bind(listen).await.context(Kind::Failed, doing)?;
        let address = socket.local_addr().context(Kind::Failed, doing)?;
        let shared = Arc::new(Shared {
            upstream,
            clock,
            conditions: watch::Sender::new(Conditions::default()),
            seen: Mutex::default(),
            counting: Default::default(),
        });
        let task = tokio::spawn(listen_at(Arc::new(socket), Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers so from now on.
    pub fn set(&self, conditions: Conditions) {
        self.shared.conditions.send_replace(conditions);
    }

    /// How questions are answered.
    pub fn conditions(&self) -> Conditions {
        self.shared.conditions.borrow().clone()
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let [asked, passed, touched] = &self.shared.counting;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters { asked: read(asked), passed: read(passed), touched: read(touched) }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first name server that this machine asks.
pub fn own_upstream() -> Option<SocketAddr> {
    first_server(&std::fs::read_to_string("/etc/resolv.conf").ok()?)
}

fn first_server(text: &str) -> Option<SocketAddr> {
    let addresses = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    addresses.map(|address: IpAddr| SocketAddr::new(address, 53)).next()
}

async fn listen_at(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut questions = JoinSet::new();
    let mut buffer = vec![0; ANSWER_MAX];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let (question, socket, shared) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&shared));
                    questions.spawn(async move {
                        if let Some(answer) = shared.answer(&question).await {
                            drop(socket.send_to(&answer, from).await);
                        }
                    });
                }
                // A client that is gone already is told to us as an error of the socket.
                Err(error) => tracing::debug!("receiving in a name server: {error}"),
            },
            Some(_) = questions.join_next() => {}
        }
    }
}

impl Shared {
    async fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        self.counting[0].fetch_add(1, Ordering::Relaxed);
        let query = Query::parse(question)?;
        let conditions = self.conditions.borrow().clone();
        let meant = conditions.names.is_empty() || conditions.names.contains(&query.name);
        let answering = if meant { conditions.answering } else { Answering::Right };
        self.counting[if answering == Answering::Right { 1 } else { 2 }].fetch_add(1, Ordering::Relaxed);
        match answering {
            Answering::Right => {
                let answer = self.ask(question).await?;
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).keep(&query, &answer);
                Some(answer)
            }
            Answering::Wrong(addresses) => query.with_addresses(&addresses),
            Answering::Silent => None,
            Answering::NoName => query.without_name(),
            Answering::Stale => {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).again(&query);
                seen.or_else(|| query.failed())
            }
        }
    }

    /// Asks the other name server. Its silence is passed on as silence.
    async fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        let any = if self.upstream.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await.ok()?;
        socket.connect(self.upstream).await.ok()?;
        socket.send(question).await.ok()?;
        let mut buffer = vec![0; ANSWER_MAX];
        tokio::select! {
            received = socket.recv(&mut buffer) => {
                buffer.truncate(received.ok()?);
                Some(buffer)
            }
            () = self.clock.sleep(UPSTREAM) => None,
        }
    }
}

#[cfg(test)]
mod tests;
