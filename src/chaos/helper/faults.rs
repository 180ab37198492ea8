//! `container-kill`, `pod-unready`, `cpu-pressure`, `memory-pressure`, `disk-pressure`, `pod-partition`.

use super::{Orders, RBAC, evidence, heal, hold, is_clean};
use crate::chaos::cluster::{is_ready, meta, pods};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::pod;
use crate::chaos::select::Victim;
use crate::chaos::target::TargetKind;
use crate::cluster::Fault as ApiFault;
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// All faults that helper pods carry.
pub(in crate::chaos) const FAULTS: [&dyn Fault; 6] = [
    &Inside { what: What::Kill },
    &Inside { what: What::Unready },
    &Inside { what: What::Cpu },
    &Inside { what: What::Memory },
    &Inside { what: What::Disk },
    &Inside { what: What::Partition },
];

/// How long a container or a probe may take to be seen.
const SEEN: Duration = Duration::from_mins(1);
const SIGNALS: [&str; 8] = ["KILL", "TERM", "INT", "HUP", "QUIT", "ABRT", "USR1", "USR2"];

#[derive(Debug)]
struct Inside {
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Kill,
    Unready,
    Cpu,
    Memory,
    Disk,
    Partition,
}

const CONTAINER: Parameter = Parameter { name: "container", default: Some(""), what: "which container [the first]" };

#[async_trait]
impl Fault for Inside {
    fn facts(&self) -> Facts {
        let common = Facts {
            name: "cpu-pressure",
            class: Class::Reversible,
            targets: &[TargetKind::Pods],
            summary: "busy processes in the victim's own control group",
            needs: "the helper's namespace: privileged pods on the victim's node",
            proof: "the helper sees the busy processes in the container's control group",
            heals: "the helper is taken away, and another one looks that nothing is left",
            expires: "the helper and the processes end by themselves",
            parameters: &[CONTAINER, Parameter { name: "amount", default: Some("2"), what: "how many busy processes" }],
            rbac: &RBAC,
            many: true,
        };
        match self.what {
            What::Cpu => common,
            What::Memory => Facts {
                name: "memory-pressure",
                summary: "a process in the victim's own control group holds memory; beyond the limit the kernel kills in it",
                proof: "the helper sees the memory held in the container's control group",
                parameters: &[CONTAINER, Parameter { name: "amount", default: Some("64"), what: "MiB" }],
                ..common
            },
            What::Disk => Facts {
                name: "disk-pressure",
                summary: "a file of our own fills a folder of the victim",
                proof: "the helper sees the file, and what is free beside it",
                expires: "the helper deletes the file",
                parameters: &[
                    CONTAINER,
                    Parameter { name: "amount", default: Some("64"), what: "MiB" },
                    Parameter { name: "path", default: Some("/tmp"), what: "the folder in the container" },
                ],
                ..common
            },
            What::Unready => Facts {
                name: "pod-unready",
                summary: "stops the container's processes (SIGSTOP), so that its readiness probe fails",
                proof: "every process of the container is stopped, and the pod is not ready",
                expires: "the helper lets them go on",
                parameters: &[CONTAINER],
                ..common
            },
            What::Partition => Facts {
                name: "pod-partition",
                summary: "drops the victim's packets in a chain of our own in its network namespace",
                proof: "the chain's packet counter moved",
                expires: "the rules end in the kernel (--datestop), and the helper takes the chain away",
                parameters: &[
                    CONTAINER,
                    Parameter { name: "peer", default: Some(""), what: "only from and to this address [everybody]" },
                ],
                ..common
            },
            What::Kill => Facts {
                name: "container-kill",
                class: Class::SelfHealing,
                summary: "sends a signal to a container's first process from its node",
                proof: "the node says that the container of this id has ended",
                heals: "the kubelet starts the container again",
                expires: "at once",
                parameters: &[
                    CONTAINER,
                    Parameter { name: "signal", default: Some("KILL"), what: "KILL, TERM, INT, HUP, …" },
                ],
                ..common
            },
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        self.amount(scene)?;
        // What runs nowhere has no world.
        Ok(pod::candidates(scene).await?.into_iter().filter(|victim| victim.facts["node"].is_string()).collect())
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        pod::objections(scene, victims).await
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let pod = there(scene, &victim).await?;
        let wanted = scene.parameters.get("container").filter(|name| !name.is_empty());
        let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        let status = statuses.into_iter().find(|status| wanted.is_none_or(|name| status["name"] == name));
        let id = status
            .filter(|status| status["state"]["running"].is_object())
            .and_then(|status| status["containerID"].as_str());
        let id = id.and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned());
        let container =
            id.ok_or_else(|| Error::refused(format!("looking for a container of {}: none that runs", victim.shown)))?;
        let text = |name: &str, default: &str| {
            scene.parameters.get(name).filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
        };
        let orders = Orders {
            what: self.word().to_owned(),
            node: pod::fact(&victim, "node")?.to_owned(),
            container,
            amount: self.amount(scene)?,
            place: text("path", "/tmp"),
            peer: text("peer", ""),
            until: scene.means.clock.now().as_second() + i64::try_from(scene.expiry().as_secs()).unwrap_or(3600) + 1,
        };
        let undo = match self.what {
            What::Kill => "nothing; the kubelet starts the container again".to_owned(),
            _ => format!("take the helper on {} away, and look that nothing of it is left", orders.node),
        };
        Ok(Prepared { victim, prior: json!(orders), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        hold(scene, prepared).await?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let victim = &prepared.victim;
        match self.what {
            What::Kill => {
                let orders: Orders = prepared.prior()?;
                let orders = &orders;
                let look = || async move { Ok(ended(&there(scene, victim).await?, &orders.container)) };
                scene.look(asked, SEEN, "the node did not say that the container ended", look).await
            }
            What::Unready => {
                let stopped = evidence(scene, prepared, asked).await?;
                let Some(stopped) = stopped.evidence() else { return Ok(stopped) };
                let look = || async move {
                    let ready = is_ready(&there(scene, victim).await?);
                    Ok((!ready).then(|| format!("{}, and the pod is not ready", stopped.seen)))
                };
                scene.look(asked, SEEN, "the pod stayed ready (has it a readiness probe?)", look).await
            }
            _ => evidence(scene, prepared, asked).await,
        }
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        heal(scene, prepared).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        if !is_clean(scene, prepared).await? {
            return Ok(ReadBack::Not { why: "the helper on the node still sees something of this run".to_owned() });
        }
        if self.what == What::Kill {
            return Ok(ReadBack::NothingToUndo { seen: pod::standing(scene, &prepared.victim).await? });
        }
        Ok(ReadBack::AsBefore {
            seen: "a helper on the node sees nothing of this run, and no other helper is left".to_owned(),
        })
    }
}

impl Inside {
    const fn word(&self) -> &'static str {
        match self.what {
            What::Kill => "kill",
            What::Unready => "stop",
            What::Cpu => "cpu",
            What::Memory => "memory",
            What::Disk => "disk",
            What::Partition => "partition",
        }
    }

    fn amount(&self, scene: &Scene<'_>) -> Result<String> {
        let number = |default: u32, most: u32| -> Result<String> {
            let amount: u32 = scene.parameters.read("amount", default)?;
            if (1..=most).contains(&amount) {
                return Ok(amount.to_string());
            }
            Err(Error::input(format!("reading the parameter amount={amount}")).hint(format!("it is from 1 to {most}")))
        };
        match self.what {
            What::Cpu => number(2, 256),
            What::Memory | What::Disk => number(64, 1 << 20),
            What::Kill => {
                let signal = scene.parameters.get("signal").unwrap_or("KILL").to_uppercase();
                let signal = signal.trim_start_matches("SIG").to_owned();
                if SIGNALS.contains(&signal.as_str()) {
                    return Ok(signal);
                }
                Err(Error::input(format!("reading the parameter signal={signal:?}")).hint(SIGNALS.join(", ")))
            }
            What::Unready | What::Partition => Ok(String::new()),
        }
    }
}

/// What says that the container of an id ended: the node's word, in the present or the last state.
fn ended(pod: &Value, container: &str) -> Option<String> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    statuses.iter().find_map(|status| {
        let states = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        let state =
            states.into_iter().find(|state| state["containerID"].as_str().is_some_and(|id| id.ends_with(container)))?;
        let (code, at) = (&state["exitCode"], state["finishedAt"].as_str().unwrap_or_default());
        Some(format!("the container {} ended at {at} with {code}", &container[..container.len().min(12)]))
    })
}

async fn there(scene: &Scene<'_>, victim: &Victim) -> Result<Value> {
    let (namespace, name) = (pod::fact(victim, "namespace")?, pod::fact(victim, "name")?);
    match scene.means.cluster()?.get(&pods(), Some(namespace), name).await {
        Ok(pod) if meta(&pod, "uid") == victim.key => Ok(pod),
        Ok(_) => Err(Error::refused(format!("reading {}: it was replaced", victim.shown))),
        Err(why) if why.fault == ApiFault::NotFound => {
            Err(Error::refused(format!("reading {}: it is gone", victim.shown)))
        }
        Err(why) => Err(why.during(format!("reading {}", victim.shown))),
    }
}
