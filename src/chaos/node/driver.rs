//! `kubelet-stop`, `node-reboot`, `node-stop`: what no API of a cluster does. The user gives the command that does it, the
//! one that undoes it, and, where the cluster's own eyes are not enough, one that proves it: an SSH call, `aws ec2`, the
//! power switch of a rack.

use super::{READS, TARGETS, candidates, name, now, objections};
use crate::chaos::cluster::is_ready;
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;

/// How long a command may take.
const COMMAND: Duration = Duration::from_mins(5);
/// How long the cluster may take to miss a node, or to see it again: its grace period is 50 s, and a machine boots.
const SEEN: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub(in crate::chaos) struct Driver {
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    KubeletStop,
    Reboot,
    Stop,
}

#[derive(Debug, Serialize, Deserialize)]
struct Prior {
    boot: String,
    undo: String,
}

impl Driver {
    pub(super) const KUBELET_STOP: Self = Self { what: What::KubeletStop };
    pub(super) const REBOOT: Self = Self { what: What::Reboot };
    pub(super) const STOP: Self = Self { what: What::Stop };
}

const DO: Parameter = Parameter {
    name: "do",
    default: None,
    what: "command that does it; $NODE is the node's name, $DURATION the seconds",
};
const UNDO: Parameter =
    Parameter { name: "undo", default: None, what: "command that undoes it; it may be run more than once" };
const PROOF: Parameter = Parameter {
    name: "proof",
    default: Some(""),
    what: "command that ends with 0 once it took effect [the cluster's own eyes]",
};

#[async_trait]
impl Fault for Driver {
    fn facts(&self) -> Facts {
        let common = Facts {
            name: "node-stop",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "stops a node by a command of yours, as a power failure does",
            needs: "whatever the command needs",
            proof: "your command says so, or the control plane misses the node's heartbeat",
            heals: "your undo command; then the node must be Ready",
            expires: "if your command arms a timer on the node's side first ($DURATION)",
            parameters: &[DO, UNDO, PROOF],
            rbac: &[READS],
            many: true,
        };
        match self.what {
            What::Stop => common,
            What::KubeletStop => Facts {
                name: "kubelet-stop",
                summary: "stops a node's kubelet by a command of yours; its containers run on",
                ..common
            },
            What::Reboot => Facts {
                name: "node-reboot",
                class: Class::SelfHealing,
                summary: "reboots a node by a command of yours",
                proof: "your command says so, or the node has another boot id",
                heals: "the node comes back by itself; your undo command, if you give one, helps it",
                parameters: &[DO, Parameter { default: Some(""), ..UNDO }, PROOF],
                ..common
            },
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        candidates(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, victims: &[Victim]) -> Result<Vec<Finding>> {
        objections(scene, victims).await
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let node = super::there(scene, &victim).await?;
        if !is_ready(&node) {
            return Err(Error::refused(format!("stopping {}: it is not Ready already", victim.shown)));
        }
        let boot = node["status"]["nodeInfo"]["bootID"].as_str().unwrap_or_default().to_owned();
        let undo = scene.parameters.get("undo").unwrap_or_default().to_owned();
        let shown =
            if undo.is_empty() { "nothing; the node comes back by itself".to_owned() } else { format!("run: {undo}") };
        Ok(Prepared { victim, prior: json!(Prior { boot, undo }), undo: shown })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let command = scene.parameters.needed(self.facts().name, "do")?;
        run(scene, &prepared.victim, command).await?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let prior: Prior = prepared.prior()?;
        let (victim, prior) = (&prepared.victim, &prior);
        let command = scene.parameters.get("proof").filter(|text| !text.is_empty());
        let look = || async move {
            if let Some(command) = command {
                return Ok(run(scene, victim, command).await.is_ok().then(|| format!("{command:?} says so")));
            }
            let Some(node) = now(scene, victim).await? else {
                return Ok(Some(format!("{} was removed from the cluster", victim.shown)));
            };
            let boot = node["status"]["nodeInfo"]["bootID"].as_str().unwrap_or_default();
            Ok(match self.what {
                What::Reboot => (boot != prior.boot).then(|| format!("{} has another boot id", victim.shown)),
                _ => (!is_ready(&node)).then(|| format!("the control plane misses the heartbeat of {}", victim.shown)),
            })
        };
        // The command took a while, and the control plane takes longer to miss a heartbeat.
        Ok(scene.look(asked, SEEN, "nobody saw that it took effect", look).await?.since(asked))
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let Prior { undo, .. } = prepared.prior()?;
        if undo.is_empty() {
            return Ok(());
        }
        run(scene, &prepared.victim, &undo).await
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let victim = &prepared.victim;
        let back = || async move { Ok(now(scene, victim).await?.is_some_and(|node| is_ready(&node))) };
        Ok(if scene.until(SEEN, back).await? {
            ReadBack::AsBefore { seen: format!("{} is Ready", victim.shown) }
        } else {
            ReadBack::Not { why: format!("{} is not Ready", victim.shown) }
        })
    }
}

async fn run(scene: &Scene<'_>, victim: &Victim, command: &str) -> Result<()> {
    let doing = || format!("running {command:?} for {}", victim.shown);
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", command]).env("NODE", name(victim)?).env("DURATION", scene.expiry().as_secs().to_string());
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND, shell.output()).await;
    let output = output.map_err(|_| Error::failed(format!("{}: it did not end in time", doing())))?;
    let output = output.map_err(|why| Error::failed(doing()).because(why))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect::<String>();
    Err(Error::failed(format!("{}: it ended with {}: {said}", doing(), output.status)))
}
