//! A TCP proxy between a client and a server whose network can be made bad while it runs.
//!
//! It stands where the client believes the server to be. Every condition can be switched at any time, for connections that
//! are open as well as for new ones, and counters say what was really done to them: that is the proof of the fault. It ends,
//! and the way is gone, when it is dropped; so the network is never left bad by a proxy that was killed, only closed.
//!
//! A proxy is not a wire: what a client sent into a held connection was acknowledged by this machine's kernel, and a black
//! hole is felt by what is sent, not by the handshake of TCP.

mod connection;
mod door;
mod pump;

use crate::clock::SharedClock;
use crate::error::{Context, Kind, Result};
use door::Door;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Bytes pass.
    #[default]
    Pass,
    /// Nobody listens: new connections are refused by the kernel, open ones are reset.
    Refuse,
    /// Open connections are reset, new ones as soon as they are accepted.
    Reset,
    /// Open connections are closed in the orderly way, new ones as soon as they are accepted.
    Cut,
    /// Whatever is sent is lost for good. A connection that lost something stays silent after the fault, too, until one
    /// of its ends closes it.
    BlackHole,
    /// Whatever is sent is kept, and delivered when the fault is over. A connection that is made meanwhile reaches its
    /// server then, if its client has not hung up: over a held wire it would not even have been made. Were those delivered,
    /// too, everybody who had given up would crowd out whoever is served.
    Hold,
    /// The server's end of each connection is closed, and the client is not told.
    HalfOpen,
}

/// The state of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// What becomes of connections.
    pub mode: Mode,
    /// Every byte arrives so much later, in each direction.
    pub latency: Duration,
    /// Up to so much more, drawn anew for each piece; the order of bytes stays.
    pub jitter: Duration,
    /// So many bytes a second in each direction, over all connections together.
    pub bandwidth: Option<u64>,
    /// The end of a connection is passed on so much later.
    pub close_delay: Duration,
}

impl Conditions {
    /// A network that only has this mode.
    pub fn only(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections reset.
    pub reset: u64,
    /// Connections closed in the orderly way by a fault.
    pub cut: u64,
    /// Connections whose server end was closed alone.
    pub half_open: u64,
    /// Bytes that went from the client to the server.
    pub up: u64,
    /// Bytes that went from the server to the client.
    pub down: u64,
    /// Bytes that were lost.
    pub lost: u64,
    /// Times that the door was closed, so that the kernel refuses.
    pub closed: u64,
    /// Microseconds that bytes waited because the wire was full.
    pub waited: u64,
}

#[derive(Debug, Default)]
struct Counting {
    accepted: AtomicU64,
    reset: AtomicU64,
    cut: AtomicU64,
    half_open: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    lost: AtomicU64,
    closed: AtomicU64,
    waited: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// What every connection shares.
struct Shared {
    clock: SharedClock,
    conditions: watch::Sender<Conditions>,
    upstream: watch::Sender<String>,
    counting: Counting,
    /// When the wire to the server and the wire to the client are free again, where bandwidth is limited.
    free: [Mutex<Duration>; 2],
}

/// A running proxy. Dropping it closes its door and all connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens at `listen` (port 0: any) in front of `upstream`, `host:port`. Needs a tokio runtime that keeps running.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub fn start(listen: SocketAddr, upstream: &str, clock: SharedClock) -> Result<Self> {
        let doing = || format!("starting a proxy at {listen} in front of {upstream}");
        let door = Door::new(listen).context(Kind::Failed, doing)?;
        let address = door.address();
        let shared = Arc::new(Shared {
            clock,
            conditions: watch::Sender::new(Conditions::default()),
            upstream: watch::Sender::new(upstream.to_owned()),
            counting: Counting::default(),
            free: Default::default(),
        });
        let task = tokio::spawn(door.keep(Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the network so; holds from this moment, for open connections, too.
    pub fn set(&self, conditions: Conditions) {
        self.shared.conditions.send_replace(conditions);
    }

    /// How the network is.
    pub fn conditions(&self) -> Conditions {
        *self.shared.conditions.borrow()
    }

    /// New connections lead to another server from now on.
    pub fn lead_to(&self, upstream: &str) {
        self.shared.upstream.send_replace(upstream.to_owned());
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let counting = &self.shared.counting;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            accepted: read(&counting.accepted),
            reset: read(&counting.reset),
            cut: read(&counting.cut),
            half_open: read(&counting.half_open),
            up: read(&counting.up),
            down: read(&counting.down),
            lost: read(&counting.lost),
            closed: read(&counting.closed),
            waited: read(&counting.waited),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
