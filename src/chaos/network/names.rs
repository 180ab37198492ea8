//! `dns-…`: what a process hears that asks our name server.

use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::resolver::{Answering, Conditions, Resolver};
use crate::chaos::select::Victim;
use crate::chaos::target::{Target, TargetKind};
use crate::error::{Context, Error, Kind, Result};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
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

#[async_trait]
impl Fault for Names {
    fn facts(&self) -> Facts {
        let common = Facts {
            name: "dns-silent",
            class: Class::Reversible,
            targets: &[TargetKind::Resolver],
            summary: "a name is not answered",
            needs: "a drill whose clients ask Davit's name server",
            proof: "a question of ours was touched by the fault: the name server's counter moved",
            heals: "the name server passes answers on again",
            expires: "with the runner: the name server is a part of it",
            parameters: &[],
            rbac: &[],
            many: false,
        };
        match self.what {
            What::Silent => common,
            What::Stale => {
                Facts { name: "dns-stale", summary: "a name is answered with what was true before", ..common }
            }
            What::Wrong => Facts {
                name: "dns-wrong",
                summary: "a name is answered with other addresses",
                parameters: &[Parameter { name: "addresses", default: None, what: "the addresses, parted by commas" }],
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
        resolver(scene)?;
        Ok(Prepared { victim, prior: Value::Null, undo: "the name server passes answers on again".to_owned() })
    }

    async fn inject(&self, scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        resolver(scene)?.set(self.conditions(scene)?);
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let (resolver, name) = (&resolver(scene)?, name(scene)?);
        let look = || async move {
            let before = resolver.counters().touched;
            ask(resolver.address(), name).await?;
            let touched = resolver.counters().touched;
            Ok((touched > before)
                .then(|| format!("{touched} questions were touched, one of ours for {name} among them")))
        };
        scene.look(asked, SEEN, "no question was touched", look).await
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
        ask(resolver.address(), name(scene)?).await?;
        let after = resolver.counters();
        Ok(if after.passed > before.passed && after.touched == before.touched {
            ReadBack::AsBefore { seen: "a question of ours was passed on".to_owned() }
        } else {
            ReadBack::Not { why: "a question of ours was not passed on".to_owned() }
        })
    }
}

impl Names {
    fn conditions(&self, scene: &Scene<'_>) -> Result<Conditions> {
        let answering = match self.what {
            What::Silent => Answering::Silent,
            What::Stale => Answering::Stale,
            What::Wrong => {
                let read = |text: &String| text.parse::<IpAddr>();
                let addresses = scene.parameters.list("addresses");
                let addresses: Result<Vec<IpAddr>, _> = addresses.iter().map(read).collect();
                Answering::Wrong(addresses.context(Kind::Input, || "reading the parameter addresses".to_owned())?)
            }
        };
        let names = BTreeSet::from([name(scene)?.trim_end_matches('.').to_lowercase()]);
        Ok(Conditions { answering, names })
    }
}

fn name<'a>(scene: &Scene<'a>) -> Result<&'a str> {
    match scene.target {
        Target::Resolver(name) => Ok(name),
        other => Err(Error::input(format!("reading {other} as a name")).hint("a target is dns://NAME")),
    }
}

fn resolver(scene: &Scene<'_>) -> Result<Arc<Resolver>> {
    scene.means.resolver.clone().ok_or_else(|| {
        Error::refused("looking for a name server in the path of a process: there is none")
            .hint("faults of names are for drills, whose clients ask Davit's name server")
    })
}

/// Asks for the IPv4 addresses of a name; whether an answer came does not matter.
async fn ask(server: SocketAddr, name: &str) -> Result<()> {
    let mut question = vec![0x77, 0x77, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length));
        question.push(length.ok_or_else(|| Error::input(format!("reading {name:?} as a name")))?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let doing = || format!("asking the name server at {server}");
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.context(Kind::Failed, doing)?;
    socket.send_to(&question, server).await.context(Kind::Failed, doing)?;
    let mut answer = [0; 512];
    drop(tokio::time::timeout(ANSWER, socket.recv(&mut answer)).await);
    Ok(())
}
