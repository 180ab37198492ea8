//! A network in memory, in simulated time, that fails in known ways at known times.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

pub mod cost;
pub mod measured;

use async_trait::async_trait;
use davit::clock::{Clock, EventClock};
use davit::probe::transport::{Transport, Wire};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How the network fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// New connections are refused, open ones are reset.
    Refuse,
    /// New connections are made and reset as soon as they say something, open ones are reset.
    Reset,
    /// What is sent is lost for good.
    BlackHole,
    /// What is sent is kept and arrives when the outage ends.
    HoldAndRelease,
    /// What is sent is lost, and sent again as TCP does it.
    Retransmission,
}

/// All of them.
pub const FAILING: [Failing; 5] =
    [Failing::Refuse, Failing::Reset, Failing::BlackHole, Failing::HoldAndRelease, Failing::Retransmission];

/// After how long a first packet is sent again, in milliseconds.
const SYN_AGAIN: [u64; 5] = [1000, 3000, 7000, 15_000, 31_000];

/// The same for later ones.
const DATA_AGAIN: [u64; 7] = [200, 600, 1400, 3000, 6200, 12_600, 25_400];

/// The network.
#[derive(Clone)]
pub struct Net {
    clock: EventClock,
    failing: Failing,
    down: (Duration, Duration),
    background: f64,
    state: Arc<Mutex<(StdRng, bool)>>,
}

enum Fate {
    Arrives(Duration),
    Breaks(Duration),
    Never,
}

impl Net {
    /// A network that is down from the first to the second instant, and fails this share of connections for no reason.
    /// Such failures come alone: two in a row are an outage by definition.
    pub fn new(clock: &EventClock, seed: u64, failing: Failing, down: (Duration, Duration), background: f64) -> Self {
        let state = Arc::new(Mutex::new((StdRng::seed_from_u64(seed), false)));
        Self { clock: clock.clone(), failing, down, background, state }
    }

    fn is_down(&self, at: Duration) -> bool {
        self.down.0 <= at && at < self.down.1
    }

    fn latency(&self) -> Duration {
        Duration::from_micros(self.state.lock().unwrap().0.random_range(200..2_000))
    }

    fn fails_for_no_reason(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let fails = state.0.random_bool(self.background) && !state.1;
        state.1 = fails;
        fails
    }

    /// What becomes of a packet that is sent now.
    fn carry(&self, again: &[u64]) -> Fate {
        let (sent, latency) = (self.clock.monotonic(), self.latency());
        let passes = |at: Duration| !self.is_down(at) && !self.is_down(at + latency);
        if passes(sent) {
            return Fate::Arrives(sent + latency);
        }
        match self.failing {
            Failing::Refuse | Failing::Reset => Fate::Breaks(sent.max(self.down.0) + latency),
            Failing::BlackHole => Fate::Never,
            Failing::HoldAndRelease => Fate::Arrives(self.down.1 + latency),
            Failing::Retransmission => {
                let tries = again.iter().map(|after| sent + Duration::from_millis(*after));
                tries.into_iter().find(|at| passes(*at)).map_or(Fate::Never, |at| Fate::Arrives(at + latency))
            }
        }
    }

    async fn carried(&self, again: &[u64], broken: io::ErrorKind) -> io::Result<()> {
        match self.carry(again) {
            Fate::Arrives(at) => {
                self.clock.sleep_until(at).await;
                Ok(())
            }
            Fate::Breaks(at) => {
                self.clock.sleep_until(at).await;
                Err(broken.into())
            }
            Fate::Never => std::future::pending().await,
        }
    }

    /// A request there and its answer back.
    async fn exchange(self) -> io::Result<()> {
        self.carried(&DATA_AGAIN, io::ErrorKind::ConnectionReset).await?;
        self.carried(&DATA_AGAIN, io::ErrorKind::ConnectionReset).await
    }
}

#[async_trait]
impl Transport for Net {
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn Wire>> {
        if self.fails_for_no_reason() {
            self.clock.sleep(self.latency()).await;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let accepted_and_reset = self.failing == Failing::Reset && self.is_down(self.clock.monotonic());
        if !accepted_and_reset {
            self.carried(&SYN_AGAIN, io::ErrorKind::ConnectionRefused).await?;
        }
        Ok(Box::new(Line { net: self.clone(), answer: None }))
    }
}

/// An open connection to a server that answers `pong` to anything.
struct Line {
    net: Net,
    answer: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let net = self.net.clone();
        self.answer = Some(Box::pin(net.exchange()));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        ready!(answer.as_mut().poll(cx))?;
        self.answer = None;
        out.put_slice(b"pong");
        Poll::Ready(Ok(()))
    }
}
