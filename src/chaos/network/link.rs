//! `network-…`: the way from a client to a server, through our proxy.

use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::proxy::{Conditions, Counters, Mode, Proxy};
use crate::chaos::select::Victim;
use crate::chaos::target::{Target, TargetKind};
use crate::clock::SharedClock;
use crate::error::{Context, Error, Kind, Result};
use async_trait::async_trait;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};

/// How long evidence may take: a round trip under the worst latency that makes sense.
const SEEN: Duration = Duration::from_secs(30);
/// How long one knock may take.
const KNOCK: Duration = Duration::from_secs(10);
/// Enough to fill a narrow wire.
const MUCH: usize = 16 * 1024;
/// How long what was sent is waited for before it is looked whether it was held back.
const GLANCE: Duration = Duration::from_millis(300);
/// What PostgreSQL answers with one byte, and what makes most other servers answer or close: enough for a round trip.
const QUESTION: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

#[derive(Debug)]
pub(in crate::chaos) struct Link {
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Latency,
    Bandwidth,
    SlowClose,
    Mode(Mode),
}

impl Link {
    pub(super) const LATENCY: Self = Self { what: What::Latency };
    pub(super) const BANDWIDTH: Self = Self { what: What::Bandwidth };
    pub(super) const SLOW_CLOSE: Self = Self { what: What::SlowClose };
    pub(super) const CUT: Self = Self { what: What::Mode(Mode::Cut) };
    pub(super) const RESET: Self = Self { what: What::Mode(Mode::Reset) };
    pub(super) const REFUSE: Self = Self { what: What::Mode(Mode::Refuse) };
    pub(super) const BLACK_HOLE: Self = Self { what: What::Mode(Mode::BlackHole) };
    pub(super) const HALF_OPEN: Self = Self { what: What::Mode(Mode::HalfOpen) };
}

const LISTEN: Parameter = Parameter {
    name: "listen",
    default: Some(""),
    what: "address where the proxy listens, which clients use instead of the server's [the drill's own proxy]",
};

#[async_trait]
impl Fault for Link {
    fn facts(&self) -> Facts {
        let common = Facts {
            name: "network-latency",
            class: Class::Reversible,
            targets: &[TargetKind::Link],
            summary: "every byte between client and server arrives later",
            needs: "clients that reach the server through Davit's proxy",
            proof: "a round trip through the proxy takes so much longer than one past it",
            heals: "the proxy passes everything on again",
            expires: "with the runner: the proxy is a part of it",
            parameters: &[
                LISTEN,
                Parameter { name: "latency", default: Some("200"), what: "milliseconds in each direction" },
                Parameter { name: "jitter", default: Some("0"), what: "up to so many milliseconds more" },
            ],
            rbac: &[],
            many: false,
        };
        let only = Facts { parameters: &[LISTEN], ..common };
        match self.what {
            What::Latency => common,
            What::Bandwidth => Facts {
                name: "network-bandwidth",
                summary: "so many bytes a second pass, over all connections",
                proof: "bytes of ours waited for the wire: the proxy's counters moved",
                parameters: &[LISTEN, Parameter { name: "rate", default: Some("65536"), what: "bytes a second" }],
                ..common
            },
            What::SlowClose => Facts {
                name: "network-slow-close",
                summary: "the end of a connection is passed on late",
                proof: "a connection of ours through the proxy ended so much later",
                parameters: &[LISTEN, Parameter { name: "delay", default: Some("5000"), what: "milliseconds" }],
                ..common
            },
            What::Mode(Mode::Cut) => Facts {
                name: "network-cut",
                summary: "connections are closed in the orderly way, also new ones",
                proof: "the proxy closed connections, one of ours among them",
                ..only
            },
            What::Mode(Mode::Reset) => Facts {
                name: "network-reset",
                summary: "connections are reset, also new ones",
                proof: "the proxy reset connections, one of ours among them",
                ..only
            },
            What::Mode(Mode::BlackHole) => Facts {
                name: "network-black-hole",
                summary: "whatever is sent is lost, and nobody is told",
                proof: "bytes were lost: the proxy's counter moved",
                ..only
            },
            What::Mode(Mode::HalfOpen) => Facts {
                name: "network-half-open",
                summary: "the server's end of each connection is closed, and the client is not told",
                proof: "the proxy closed the server's end of connections, of one of ours among them",
                ..only
            },
            What::Mode(_) => Facts {
                name: "network-refuse",
                summary: "nobody listens: new connections are refused, open ones reset",
                proof: "a connection of ours was refused",
                ..only
            },
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        self.conditions(scene)?;
        let place = place(scene)?;
        Ok(vec![Victim::new(format!("tcp://{place}"), format!("the way to {place}"))])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        if let Some(proxy) = scene.means.proxies.get(place(scene)?)
            && proxy.conditions() != Conditions::default()
        {
            return Err(Error::refused(format!("making {} bad: it is bad already", victim.shown)));
        }
        if !scene.means.proxies.contains_key(place(scene)?) {
            listen(scene)?;
        }
        Ok(Prepared { victim, prior: Value::Null, undo: "the proxy passes everything on again".to_owned() })
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let (proxy, own) = proxy(scene)?;
        // Open connections are a part of what is hit; one of them is ours.
        let open = TcpStream::connect(proxy.address()).await.ok();
        let counters = serde_json::json!({"address": proxy.address(), "counters": proxy.counters()});
        proxy.set(self.conditions(scene)?);
        let held = Held::nothing().noting(counters).keep(open);
        Ok(if own { held.keep(Arc::clone(&proxy)).keep(Restore(proxy)) } else { held })
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        let address: SocketAddr = serde_json::from_value(held.notes["address"].clone())
            .context(Kind::Failed, || "reading where the proxy listens".to_owned())?;
        let counters: Counters = serde_json::from_value(held.notes["counters"].clone()).unwrap_or_default();
        let proxy = held.carrier::<Arc<Proxy>>().or_else(|| scene.means.proxies.get(place(scene).ok()?));
        let proxy = proxy.ok_or_else(|| Error::failed("looking for the proxy: it is gone"))?;
        let (wanted, clock, place) = (self.conditions(scene)?, &scene.means.clock, place(scene)?);
        let look = || async move {
            Ok(match self.what {
                // A server that is slow for a moment is slow beside the proxy, too: both are asked at once, and whatever
                // the machine does meanwhile, the next pair is another one.
                What::Latency => match tokio::join!(round_trip(clock, address), round_trip(clock, place)) {
                    (Some(slow), Some(straight)) if slow >= straight + wanted.latency * 2 => {
                        let [slow, straight] = [slow, straight].map(|took| took.as_millis());
                        Some(format!("a round trip takes {slow} ms, and {straight} ms past the proxy"))
                    }
                    _ => None,
                },
                What::SlowClose => goodbye(clock, address)
                    .await
                    .filter(|took| *took >= wanted.close_delay)
                    .map(|took| format!("the end of a connection took {} ms", took.as_millis())),
                What::Bandwidth => {
                    push(address, wanted.bandwidth).await;
                    let held_up = |counters: Counters| Duration::from_micros(counters.waited);
                    let held_back = held_up(proxy.counters()).saturating_sub(held_up(counters));
                    let passed = proxy.counters().up.saturating_sub(counters.up);
                    (passed > 0 && !held_back.is_zero()).then(|| {
                        format!("{passed} bytes of ours waited {:.1} ms for the wire", held_back.as_secs_f64() * 1e3)
                    })
                }
                What::Mode(mode) => {
                    let seen = met(address, mode).await;
                    seen.and_then(|seen| counted(mode, counters, proxy.counters(), seen))
                }
            })
        };
        scene.look(asked, SEEN, "nothing was seen of it through the proxy", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        if let Some(proxy) = scene.means.proxies.get(place(scene)?) {
            proxy.set(Conditions::default());
        }
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<ReadBack> {
        Ok(match scene.means.proxies.get(place(scene)?) {
            Some(proxy) if proxy.conditions() == Conditions::default() => {
                ReadBack::AsBefore { seen: "the proxy passes everything on".to_owned() }
            }
            Some(proxy) => {
                ReadBack::Not { why: format!("the proxy is still told to be bad: {:?}", proxy.conditions()) }
            }
            None => ReadBack::NothingToUndo { seen: "the proxy was the runner's and is gone with it".to_owned() },
        })
    }
}

impl Link {
    fn conditions(&self, scene: &Scene<'_>) -> Result<Conditions> {
        let millis = |name: &str, default: u64| scene.parameters.read(name, default).map(Duration::from_millis);
        Ok(match self.what {
            What::Latency => {
                Conditions { latency: millis("latency", 200)?, jitter: millis("jitter", 0)?, ..Conditions::default() }
            }
            What::Bandwidth => {
                let rate: u64 = scene.parameters.read("rate", 65_536)?;
                Conditions { bandwidth: Some(rate.max(1)), ..Conditions::default() }
            }
            What::SlowClose => Conditions { close_delay: millis("delay", 5000)?, ..Conditions::default() },
            What::Mode(mode) => Conditions::only(mode),
        })
    }
}

/// Makes the way good again before the proxy goes, whoever lets go of it.
struct Restore(Arc<Proxy>);

impl Drop for Restore {
    fn drop(&mut self) {
        self.0.set(Conditions::default());
    }
}

fn place<'a>(scene: &Scene<'a>) -> Result<&'a str> {
    match scene.target {
        Target::Link(place) => Ok(place),
        other => {
            Err(Error::input(format!("reading {other} as the way to a server")).hint("a target is tcp://HOST:PORT"))
        }
    }
}

fn listen(scene: &Scene<'_>) -> Result<SocketAddr> {
    let text = scene.parameters.needed("a fault of the network", "listen")?;
    text.parse()
        .map_err(|_| Error::input(format!("reading listen={text:?} as an address")).hint("such as 127.0.0.1:6543"))
}

/// The drill's own proxy in front of this place, or one that lasts as long as the fault.
fn proxy(scene: &Scene<'_>) -> Result<(Arc<Proxy>, bool)> {
    let place = place(scene)?;
    if let Some(proxy) = scene.means.proxies.get(place) {
        return Ok((Arc::clone(proxy), false));
    }
    Ok((Arc::new(Proxy::start(listen(scene)?, place, scene.means.clock.clone())?), true))
}

/// How long it takes until the server says or does something; `None` if it does not in time.
async fn round_trip(clock: &SharedClock, address: impl ToSocketAddrs) -> Option<Duration> {
    timed(clock, async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(&QUESTION).await.ok()?;
        let mut answer = [0; 1];
        if let Ok(read) = tokio::time::timeout(GLANCE, stream.read(&mut answer)).await {
            return read.ok();
        }
        // A server of lines, such as HTTP, waits for the end of one.
        stream.write_all(b"\r\n\r\n").await.ok()?;
        stream.read(&mut answer).await.ok()
    })
    .await
}

/// What was seen, if the proxy's own counters agree: a server that says nothing to a stranger is silent without a fault, too.
fn counted(mode: Mode, before: Counters, now: Counters, seen: String) -> Option<String> {
    match mode {
        Mode::BlackHole => {
            let lost = now.lost.saturating_sub(before.lost);
            (lost > 0).then(|| format!("{seen}; {lost} bytes were lost"))
        }
        Mode::HalfOpen => (now.half_open > before.half_open).then_some(seen),
        _ => Some(seen),
    }
}

/// Sends what takes a narrow wire about a tenth of a second, and no more: clients wait for the same wire.
async fn push(address: SocketAddr, rate: Option<u64>) {
    let enough = usize::try_from(rate.unwrap_or_default() / 10).unwrap_or(MUCH).clamp(QUESTION.len(), MUCH);
    let send = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut bytes = QUESTION.to_vec();
        bytes.resize(enough, 0);
        stream.write_all(&bytes).await?;
        // Whether it is answered does not matter: the proxy counts what it held back.
        stream.read_u8().await
    };
    drop(tokio::time::timeout(GLANCE, send).await);
}

/// How long it takes until the end of a connection comes back.
async fn goodbye(clock: &SharedClock, address: SocketAddr) -> Option<Duration> {
    timed(clock, async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.shutdown().await.ok()?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok()
    })
    .await
}

async fn timed<T>(clock: &SharedClock, action: impl Future<Output = Option<T>>) -> Option<Duration> {
    let began = clock.monotonic();
    tokio::time::timeout(KNOCK, action).await.ok()??;
    Some(clock.monotonic().saturating_sub(began))
}

/// What a fresh connection of ours meets.
async fn met(address: SocketAddr, mode: Mode) -> Option<String> {
    let connected = TcpStream::connect(address).await;
    let mut stream = match (connected, mode) {
        (Err(why), Mode::Refuse) if why.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Some("a fresh connection was refused".to_owned());
        }
        (Ok(stream), _) => stream,
        (Err(_), _) => return None,
    };
    let sent = stream.write_all(&QUESTION).await;
    let mut answer = [0; 1];
    let read = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut answer)).await;
    let reset = |why: &std::io::Error| why.kind() == std::io::ErrorKind::ConnectionReset;
    match (mode, read, sent) {
        (Mode::Cut, Ok(Ok(0)), _) => Some("a fresh connection was closed in the orderly way".to_owned()),
        // What was sent into a closed connection is answered by a reset.
        (Mode::Cut, Ok(Err(_)), _) | (Mode::Cut, _, Err(_)) => Some("a fresh connection was closed".to_owned()),
        (Mode::Reset, Ok(Err(why)), _) if reset(&why) => Some("a fresh connection was reset".to_owned()),
        (Mode::Reset, _, Err(why)) if reset(&why) => Some("a fresh connection was reset".to_owned()),
        (Mode::BlackHole | Mode::HalfOpen | Mode::Hold, Err(_), _) => {
            Some("a fresh connection got no answer in 2 s, and no end".to_owned())
        }
        _ => None,
    }
}
