//! `container-kill`, `pod-unready`, `cpu-pressure`, `memory-pressure`, `disk-pressure`, `pod-partition`, `pod-latency`.

use super::peers::peers;
use super::what::What;
use super::{Orders, arrive, evidence, heal, is_clean, leave, room, speak};
use crate::chaos::cluster::{is_ready, meta, pods};
use crate::chaos::evidence::{Evidence, Proof, ReadBack};
use crate::chaos::fault::{Facts, Fault, Held, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::pod;
use crate::chaos::select::Victim;
use crate::cluster::Fault as ApiFault;
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// All faults that helper pods carry.
pub(in crate::chaos) const FAULTS: [&dyn Fault; 7] = [
    &Inside { what: What::Kill },
    &Inside { what: What::Unready },
    &Inside { what: What::Cpu },
    &Inside { what: What::Memory },
    &Inside { what: What::Disk },
    &Inside { what: What::Partition },
    &Inside { what: What::Latency },
];

/// How long a container or a probe may take to be seen.
const SEEN: Duration = Duration::from_mins(1);
/// What a ballast leaves free at least, unless somebody says otherwise.
const FLOOR: u32 = 64;
const SIGNALS: [&str; 8] = ["KILL", "TERM", "INT", "HUP", "QUIT", "ABRT", "USR1", "USR2"];

#[derive(Debug)]
struct Inside {
    what: What,
}

#[async_trait]
impl Fault for Inside {
    fn facts(&self) -> Facts {
        self.what.facts()
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        self.amount(scene)?;
        // What runs nowhere has no world.
        Ok(pod::candidates(scene).await?.into_iter().filter(|victim| victim.facts["node"].is_string()).collect())
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        let mut findings = pod::objections(scene, victims).await?;
        if let Some(victim) = victims.first() {
            findings.extend(room::of_helper(scene, victim).await?);
        }
        Ok(findings)
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
        if pod["spec"]["hostNetwork"] == true && matches!(self.what, What::Partition | What::Latency) {
            let why = format!("{} uses the network of its node, which would be hit as a whole", victim.shown);
            return Err(Error::refused(why));
        }
        if self.what == What::Disk {
            outlives(&pod, &victim, status.and_then(|status| status["name"].as_str()), scene)?;
        }
        let text = |name: &str, default: &str| {
            scene.parameters.get(name).filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
        };
        let orders = Orders {
            what: self.what.word().to_owned(),
            node: pod::fact(&victim, "node")?.to_owned(),
            address: pod["status"]["podIP"].as_str().unwrap_or_default().to_owned(),
            container,
            amount: self.amount(scene)?,
            place: text("path", "/tmp"),
            floor: scene.parameters.read("floor", FLOOR)?,
            peers: peers(scene, &victim).await?,
        };
        let undo = match self.what {
            What::Kill => "nothing; the kubelet starts the container again".to_owned(),
            _ => format!("take the helper on {} away, and look that nothing of it is left", orders.node),
        };
        Ok(Prepared { victim, prior: json!(orders), undo })
    }

    async fn arrive(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        arrive(scene, prepared).await
    }

    async fn leave(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Option<ReadBack>> {
        leave(scene, prepared).await.map(Some)
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let word = speak(scene, prepared).await?;
        Ok(Held::nothing().noting(json!(word)))
    }

    /// Nothing was done before the helper got the word, and what it did it did before it was seen.
    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        let victim = &prepared.victim;
        let word = serde_json::from_value(held.notes.clone()).unwrap_or(asked);
        match self.what {
            What::Kill => {
                let orders: Orders = prepared.prior()?;
                let orders = &orders;
                let look = || async move { Ok(ended(&there(scene, victim).await?, &orders.container)) };
                let proof = scene.look(word, SEEN, "the node did not say that the container ended", look).await?;
                Ok(proof.since(word))
            }
            What::Unready => {
                let stopped = evidence(scene, prepared, word).await?;
                let Some(stopped) = stopped.evidence() else { return Ok(stopped) };
                let look = || async move {
                    let ready = is_ready(&there(scene, victim).await?);
                    Ok((!ready).then(|| format!("{}, and the pod is not ready", stopped.seen)))
                };
                // It serves nobody from the moment on that its processes stand.
                let why = "the pod stayed ready (has it a readiness probe?)";
                Ok(match scene.look(word, SEEN, why, look).await? {
                    Proof::Proven(seen) => Proof::Proven(Evidence { effective: stopped.effective, ..seen }),
                    unproven @ Proof::Unproven { .. } => unproven,
                })
            }
            _ => evidence(scene, prepared, word).await,
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
    fn amount(&self, scene: &Scene<'_>) -> Result<String> {
        let number = |name: &str, default: u32, most: u32| -> Result<u32> {
            let amount: u32 = scene.parameters.read(name, default)?;
            if (1..=most).contains(&amount) {
                return Ok(amount);
            }
            Err(Error::input(format!("reading the parameter {name}={amount}")).hint(format!("it is from 1 to {most}")))
        };
        match self.what {
            What::Cpu => Ok(number("amount", 2, 256)?.to_string()),
            What::Memory | What::Disk => Ok(number("amount", 64, 1 << 20)?.to_string()),
            What::Latency => Ok(format!("{}:{}", number("latency", 200, 60_000)?, number("port", 0, 65_535)?)),
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

/// Refuses a folder on a volume that is there when the pod is not: a ballast in it could not be found again.
fn outlives(pod: &Value, victim: &Victim, container: Option<&str>, scene: &Scene<'_>) -> Result<()> {
    let path = scene.parameters.get("path").filter(|path| !path.is_empty()).unwrap_or("/tmp");
    let list = |of: &Value, field: &str| of[field].as_array().cloned().unwrap_or_default();
    let containers = list(&pod["spec"], "containers");
    let container = containers.iter().find(|one| container.is_some_and(|name| one["name"] == name));
    let mounts = container.map(|container| list(container, "volumeMounts")).unwrap_or_default();
    let inside = |mount: &&Value| {
        let at = mount["mountPath"].as_str().unwrap_or_default().trim_end_matches('/');
        path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let Some(mount) = mounts.iter().filter(inside).max_by_key(|mount| mount["mountPath"].as_str().map(str::len)) else {
        return Ok(());
    };
    let volumes = list(&pod["spec"], "volumes");
    if volumes.iter().any(|volume| volume["name"] == mount["name"] && volume["emptyDir"].is_object()) {
        return Ok(());
    }
    Err(Error::refused(format!("filling {path} of {}: it is on a volume that outlives the pod", victim.shown))
        .hint("a folder in the container itself or in an emptyDir can be filled; disk-full is for databases"))
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
