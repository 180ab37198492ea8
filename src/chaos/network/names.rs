//! `dns-…`: what a process hears that asks our name server.

use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::resolver::{Answering, Conditions, Resolver, own_upstream};
use crate::chaos::select::Victim;
use crate::chaos::target::{Target, TargetKind};
use crate::error::{Context, Error, Kind, Result};
use async_trait::async_trait;
use serde_json::Value;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

const SEEN: Duration = Duration::from_secs(10);
/// How long an answer may take before it counts as silence.
const ANSWER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::chaos) struct Names {
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Wrong,
    Silent,
    Stale,
}

impl Names {
    pub(super) const WRONG: Self = Self { what: What::Wrong };
    pub(super) const SILENT: Self = Self { what: What::Silent };
    pub(super) const STALE: Self = Self { what: What::Stale };
}

const LISTEN: Parameter = Parameter {
    name: "listen",
    default: Some(""),
    what: "address where the name server listens, whom clients ask [the drill's own name server]",
};
const UPSTREAM: Parameter = Parameter {
    name: "upstream",
    default: Some(""),
    what: "address and port of the name server that knows the truth [this machine's]",
};

#[async_trait]
impl Fault for Names {
    fn facts(&self) -> Facts {
        let common = Facts {
            name: "dns-silent",
            class: Class::Reversible,
            targets: &[TargetKind::Resolver],
            summary: "a name is not answered",
            needs: "clients that ask Davit's name server",
            proof: "a question of ours was touched by the fault, and got no answer",
            heals: "the name server passes answers on again",
            expires: "with the runner: the name server is a part of it",
            parameters: &[LISTEN, UPSTREAM],
            rbac: &[],
            many: false,
        };
        match self.what {
            What::Silent => common,
            What::Stale => Facts {
                name: "dns-stale",
                summary: "a name is answered with what was true before",
                proof: "a question of ours was touched by the fault, and answered with what was true before",
                parameters: &[
                    LISTEN,
                    UPSTREAM,
                    Parameter {
                        name: "before",
                        default: Some(""),
                        what: "the addresses that it had before, parted by commas [what is answered right before the fault]",
                    },
                ],
                ..common
            },
            What::Wrong => Facts {
                name: "dns-wrong",
                summary: "a name is answered with other addresses",
                proof: "a question of ours was touched by the fault, and answered with them",
                parameters: &[
                    LISTEN,
                    UPSTREAM,
                    Parameter { name: "addresses", default: None, what: "the addresses, parted by commas" },
                ],
                ..common
            },
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        self.conditions(scene)?;
        let name = name(scene)?;
        Ok(vec![Victim::new(format!("dns://{name}"), format!("the name {name}"))])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        match &scene.means.resolver {
            Some(resolver) if resolver.conditions() != Conditions::default() => {
                return Err(Error::refused(format!("answering {} badly: it is answered badly already", victim.shown)));
            }
            Some(_) => {}
            None => drop(own(scene)?),
        }
        Ok(Prepared { victim, prior: Value::Null, undo: "the name server passes answers on again".to_owned() })
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        let (resolver, held) = if let Some(resolver) = &scene.means.resolver {
            (Arc::clone(resolver), Held::nothing())
        } else {
            let (listen, upstream) = own(scene)?;
            let resolver = Arc::new(Resolver::start(listen, upstream, scene.means.clock.clone()).await?);
            (Arc::clone(&resolver), Held::nothing().keep(resolver))
        };
        let conditions = self.conditions(scene)?;
        if conditions.answering == Answering::Stale {
            // Nobody may have asked yet: then there would be no past to answer with.
            ask(resolver.address(), name(scene)?).await?;
        }
        resolver.set(conditions);
        Ok(held)
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        let resolver = scene.means.resolver.as_ref().or_else(|| held.carrier::<Arc<Resolver>>());
        let resolver = resolver.ok_or_else(|| Error::failed("looking for the name server: it is gone"))?;
        let (name, expected) = (name(scene)?, self.expected(scene)?);
        let expected = &expected;
        let look = || async move {
            let before = resolver.counters().touched;
            let heard = ask(resolver.address(), name).await?;
            let touched = resolver.counters().touched;
            let fits = match (self.what, &heard) {
                (What::Silent, Heard::Nothing) => true,
                (What::Wrong, Heard::Addresses(found)) => found == expected,
                (What::Stale, Heard::Addresses(found)) => expected.is_empty() || found == expected,
                _ => false,
            };
            Ok((fits && touched > before).then(|| format!("a question of ours for {name} was answered with {heard}")))
        };
        scene.look(asked, SEEN, "no question of ours met the fault", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        if let Some(resolver) = &scene.means.resolver {
            resolver.set(Conditions::default());
        }
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<ReadBack> {
        let Some(resolver) = &scene.means.resolver else {
            return Ok(ReadBack::NothingToUndo {
                seen: "the name server was the runner's and is gone with it".to_owned(),
            });
        };
        let before = resolver.counters();
        let heard = ask(resolver.address(), name(scene)?).await?;
        let after = resolver.counters();
        Ok(if resolver.conditions() == Conditions::default() && after.passed > before.passed {
            ReadBack::AsBefore { seen: format!("a question of ours was passed on, and answered with {heard}") }
        } else {
            ReadBack::Not { why: "a question of ours was not passed on".to_owned() }
        })
    }
}

impl Names {
    fn conditions(&self, scene: &Scene<'_>) -> Result<Conditions> {
        let expected: Vec<IpAddr> = self.expected(scene)?.into_iter().collect();
        let answering = match self.what {
            What::Silent => Answering::Silent,
            What::Stale if expected.is_empty() => Answering::Stale,
            What::Stale | What::Wrong => Answering::Wrong(expected),
        };
        let names = BTreeSet::from([name(scene)?.trim_end_matches('.').to_lowercase()]);
        Ok(Conditions { answering, names })
    }

    /// The addresses that the fault was told to answer with.
    fn expected(&self, scene: &Scene<'_>) -> Result<BTreeSet<IpAddr>> {
        let parameter = match self.what {
            What::Silent => return Ok(BTreeSet::new()),
            What::Stale => "before",
            What::Wrong => "addresses",
        };
        let read = |text: &String| {
            let wrong = || format!("reading {text:?} of the parameter {parameter} as an address");
            text.parse::<IpAddr>().context(Kind::Input, wrong)
        };
        let addresses: BTreeSet<IpAddr> = scene.parameters.list(parameter).iter().map(read).collect::<Result<_>>()?;
        if addresses.is_empty() && self.what == What::Wrong {
            return Err(Error::input("reading the parameters of dns-wrong: addresses is empty"));
        }
        Ok(addresses)
    }
}

fn name<'a>(scene: &Scene<'a>) -> Result<&'a str> {
    match scene.target {
        Target::Resolver(name) => Ok(name),
        other => Err(Error::input(format!("reading {other} as a name")).hint("a target is dns://NAME")),
    }
}

/// Where a name server that lasts as long as the fault listens, and whom it asks.
fn own(scene: &Scene<'_>) -> Result<(SocketAddr, SocketAddr)> {
    let listen = scene.parameters.get("listen").filter(|text| !text.trim().is_empty()).ok_or_else(|| {
        Error::input("looking for a name server in the path of a process: there is none")
            .hint("--set listen=127.0.0.1:5300 starts one for the fault; a scenario says `resolver: {listen: …}`")
    })?;
    let read = |what: &str, text: &str| {
        text.parse::<SocketAddr>()
            .map_err(|_| Error::input(format!("reading {what}={text:?} as an address")).hint("such as 127.0.0.1:5300"))
    };
    let upstream = match scene.parameters.get("upstream").filter(|text| !text.trim().is_empty()) {
        Some(upstream) => read("upstream", upstream)?,
        None => own_upstream().ok_or_else(|| {
            Error::input("looking for a name server that knows the truth: this machine names none")
                .hint("--set upstream=ADDRESS:53")
        })?,
    };
    Ok((read("listen", listen)?, upstream))
}

/// What a question of ours got.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Nothing,
    Addresses(BTreeSet<IpAddr>),
    Refusal(RCODE),
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => write!(f, "silence for {} s", ANSWER.as_secs()),
            Self::Addresses(found) if found.is_empty() => f.write_str("no address"),
            Self::Addresses(found) => {
                f.write_str(&found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Self::Refusal(RCODE::NameError) => f.write_str("that there is no such name"),
            Self::Refusal(code) => write!(f, "{code:?}"),
        }
    }
}

/// Asks for the addresses of a name, of both families.
async fn ask(server: SocketAddr, name: &str) -> Result<Heard> {
    let doing = || format!("asking the name server at {server} for {name}");
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.context(Kind::Failed, doing)?;
    let (mut found, mut refused, mut heard) = (BTreeSet::new(), None, false);
    for (id, kind) in [(0x7701, TYPE::A), (0x7702, TYPE::AAAA)] {
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let asked = Name::new(name).context(Kind::Input, || format!("reading {name:?} as a name"))?;
        packet.questions.push(Question::new(asked, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        let bytes = packet.build_bytes_vec().context(Kind::Failed, doing)?;
        socket.send_to(&bytes, server).await.context(Kind::Failed, doing)?;
        let mut buffer = [0; 4096];
        let Ok(received) = tokio::time::timeout(ANSWER, socket.recv(&mut buffer)).await else { continue };
        let length = received.context(Kind::Failed, doing)?;
        let Ok(answer) = Packet::parse(&buffer[..length]) else { continue };
        heard = true;
        match answer.rcode() {
            RCODE::NoError => found.extend(answer.answers.iter().filter_map(|record| address(&record.rdata))),
            code => refused = Some(code),
        }
    }
    Ok(match refused {
        _ if !heard => Heard::Nothing,
        Some(code) if found.is_empty() => Heard::Refusal(code),
        _ => Heard::Addresses(found),
    })
}

fn address(data: &RData<'_>) -> Option<IpAddr> {
    match data {
        RData::A(four) => Some(IpAddr::from(Ipv4Addr::from(four.address))),
        RData::AAAA(six) => Some(IpAddr::from(Ipv6Addr::from(six.address))),
        _ => None,
    }
}
