//! `kubelet-stop`, `node-reboot`, `node-stop`: what no API of a cluster does. The user gives the command that does it, the
//! one that undoes it, and, where the cluster's own eyes are not enough, one that proves it: an SSH call, `aws ec2`, the
//! power switch of a rack.

use super::{READS, TARGETS, candidates, name, now, objections};
use crate::chaos::cluster::{self, is_ready, leases};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Place, Prepared, Rule, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::cluster::Fault as ApiFault;
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::process::{Output, Stdio};
use std::time::Duration;

/// How long a command may take.
const COMMAND: Duration = Duration::from_mins(5);
/// How long the cluster may take to miss a node, or to see it again: its grace period is 50 s, and a machine boots.
const SEEN: Duration = Duration::from_mins(5);

const HEARTBEATS: Rule =
    Rule { group: "coordination.k8s.io", resource: "leases", verbs: &["get"], place: Place::Heartbeats };

/// Runs the command that is its argument, in a process group of its own. When the runner goes, however it goes, its end of
/// our input closes, and the whole group is killed: what a killed runner had begun must not take effect after a janitor has
/// undone it. What the command leaves behind when it ends by itself, such as a timer, stays.
const LEASH: &str = r#"
exec 3<&0 </dev/null
(read -r _ <&3; kill -9 0) &
leash=$!
/bin/sh -c "$1" 3<&-
code=$?
kill "$leash"
exit "$code""#;

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
            rbac: &[READS, HEARTBEATS],
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
        // The control plane believes in a kubelet for as long as its grace period: "Ready" may be of before the fault. What
        // came after the undo is a heartbeat that was not there when the undo was done; no two clocks are compared.
        let last = &heartbeat(scene, victim).await?;
        let back = || async move {
            let ready = now(scene, victim).await?.is_some_and(|node| is_ready(&node));
            Ok(ready && (last.is_none() || heartbeat(scene, victim).await? != *last))
        };
        Ok(if scene.until(SEEN, back).await? {
            let since = if last.is_some() { ", and its kubelet has spoken since the undo" } else { "" };
            ReadBack::AsBefore { seen: format!("{} is Ready{since}", victim.shown) }
        } else {
            ReadBack::Not { why: format!("{} is not Ready, or its kubelet does not speak", victim.shown) }
        })
    }
}

/// When the node's kubelet last said that it lives, in its own words; `None` where nobody says so for this node.
async fn heartbeat(scene: &Scene<'_>, victim: &Victim) -> Result<Option<String>> {
    let name = name(victim)?;
    match scene.means.cluster()?.get(&leases(), Some(cluster::HEARTBEATS), name).await {
        Ok(lease) => Ok(lease["spec"]["renewTime"].as_str().map(str::to_owned)),
        Err(why) if why.fault == ApiFault::NotFound => Ok(None),
        Err(why) => Err(why.during(format!("reading the heartbeat of {}", victim.shown))),
    }
}

async fn run(scene: &Scene<'_>, victim: &Victim, command: &str) -> Result<()> {
    let doing = || format!("running {command:?} for {}", victim.shown);
    let expiry = scene.expiry().as_secs().to_string();
    let environment = [("NODE", name(victim)?), ("DURATION", expiry.as_str())];
    let output = tokio::time::timeout(COMMAND, leashed(command, &environment)).await;
    let output = output.map_err(|_| Error::failed(format!("{}: it did not end in time", doing())))?;
    let output = output.map_err(|why| Error::failed(doing()).because(why))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect::<String>();
    Err(Error::failed(format!("{}: it ended with {}: {said}", doing(), output.status)))
}

/// Runs a command that ends when we do, with everything that it began.
async fn leashed(command: &str, environment: &[(&str, &str)]) -> std::io::Result<Output> {
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", LEASH, "sh", command]).envs(environment.iter().copied()).process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = shell.spawn()?;
    // Waiting for it would close this end, which is what the leash watches.
    let leash = child.stdin.take();
    let output = child.wait_with_output().await;
    drop(leash);
    output
}

#[cfg(test)]
mod tests {
    use super::leashed;
    use std::time::Duration;

    #[tokio::test]
    async fn a_command_says_how_it_ended_and_is_told_its_node() {
        let output = leashed("echo $NODE; cat; echo no >&2; exit 3", &[("NODE", "node-3")]).await.unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"node-3\n"[..], &b"no\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    }

    #[tokio::test]
    async fn what_a_command_began_and_left_behind_outlives_it() {
        let output = leashed("sleep 300 >/dev/null 2>&1 & echo $!", &[]).await.unwrap();
        let pid = String::from_utf8(output.stdout).unwrap();
        let there = || std::path::Path::new("/proc").join(pid.trim()).exists();
        assert!(there(), "a timer that it armed");
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn whoever_lets_go_of_a_command_ends_all_that_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let pid = tokio::select! {
            output = leashed(&command, &[]) => panic!("it ended by itself: {output:?}"),
            pid = async {
                loop {
                    if let Ok(pid) = std::fs::read_to_string(&file) {
                        return pid;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => pid,
        };
        // A process that nobody has waited for yet is no process any more.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let runs = || !stat().is_empty() && !stat().contains(") Z");
        let gone = async {
            while runs() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    }
}
