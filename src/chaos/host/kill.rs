//! `process-kill`: kills a service's process and everything below it, as the kernel's memory killer or a failing machine would.
//! It is what deleting a pod is in a cluster: whoever supervises the service starts it again, and clients tell how long that took.

use super::process::{self, Process, kill_tree};
use super::{Machine, gone, start_again};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::select::Victim;
use crate::chaos::target::{Target, TargetKind};
use crate::error::{Context, Error, Kind, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// How long a start may take.
const STARTED: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(in crate::chaos) struct ProcessKill;

#[derive(Debug, Serialize, Deserialize)]
struct Prior {
    process: Process,
    start: String,
    /// The machine; intents of older versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
}

impl Prior {
    /// Whether it runs, and no successor of its number on a machine that was started anew since.
    fn runs(&self, scene: &Scene<'_>) -> bool {
        let restarted = self.machine.as_ref().is_some_and(|then| scene.means.machine.was_restarted(then));
        !restarted && self.process.status().is_some()
    }

    /// Whether the file names a process that is another one.
    fn was_followed(&self, scene: &Scene<'_>) -> bool {
        running(scene).is_ok_and(|now| now != self.process || !self.runs(scene))
    }
}

#[async_trait]
impl Fault for ProcessKill {
    fn facts(&self) -> Facts {
        Facts {
            name: "process-kill",
            class: Class::SelfHealing,
            targets: &[TargetKind::Process],
            summary: "kills a process and everything below it at once (SIGKILL)",
            needs: "to run on its machine, as root or as its account",
            proof: "the process and all its children are gone",
            heals: "its supervisor starts it, or the command given as `start`",
            expires: "at once",
            parameters: &[Parameter {
                name: "start",
                default: Some(""),
                what: "command that starts it again when healing begins [somebody else does]",
            }],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let process = running(scene)?;
        let name = process::command_line(process.pid).into_iter().next().unwrap_or_default();
        let shown = format!("process {} ({name}) and its children", process.pid);
        Ok(vec![Victim::new(format!("{}.{}", process.pid, process.start), shown)])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let process = running(scene)?;
        let start = scene.parameters.get("start").unwrap_or_default().to_owned();
        let undo = match start.as_str() {
            "" => "nothing; its supervisor starts it".to_owned(),
            start => format!("run: {start}"),
        };
        let machine = Some(scene.means.machine.clone());
        Ok(Prepared { victim, prior: json!(Prior { process, start, machine }), undo })
    }

    async fn inject(&self, _scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let Prior { process, .. } = prepared.prior()?;
        Ok(Held::nothing().noting(json!(kill_tree(process)?)))
    }

    async fn proof(&self, scene: &Scene<'_>, _prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        gone(scene, held, asked).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let prior: &Prior = &prepared.prior()?;
        if prior.start.is_empty() || prior.runs(scene) || prior.was_followed(scene) {
            return Ok(());
        }
        start_again(&prior.start, "the process").await?;
        scene.until(STARTED, || async move { Ok(prior.was_followed(scene)) }).await?;
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let prior: Prior = prepared.prior()?;
        Ok(match (prior.was_followed(scene), prior.start.is_empty()) {
            _ if prior.runs(scene) => ReadBack::NothingToUndo { seen: "it runs, as before".to_owned() },
            (true, _) => ReadBack::AsBefore { seen: "another process runs in its place".to_owned() },
            (false, true) => ReadBack::NothingToUndo { seen: "it is gone; its supervisor starts it".to_owned() },
            (false, false) => {
                ReadBack::Not { why: "it was started, and its file names no process that runs".to_owned() }
            }
        })
    }
}

/// Number and start of the process that a file names, if it runs.
pub(crate) fn service_process(file: &Path) -> Option<(i32, u64)> {
    let process = Process::of(number(file).ok()?)?;
    process.status().map(|status| (status.process.pid, status.process.start))
}

/// The process that the target's file names.
pub(in crate::chaos) fn running(scene: &Scene<'_>) -> Result<Process> {
    let Target::Process(file) = scene.target else {
        return Err(
            Error::input(format!("reading {} as a process", scene.target)).hint("a target is pid:/run/NAME.pid")
        );
    };
    let doing = || format!("looking for the process that {} names", file.display());
    let pid = number(file)?;
    let found = Process::of(pid).filter(|process| process.status().is_some());
    let found = found.ok_or_else(|| Error::refused(format!("{}: process {pid} does not run", doing())))?;
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    if pid <= 1 || process::tree(found).iter().any(|below| below.pid == own) {
        return Err(Error::refused(format!("{}: Davit itself runs below process {pid}", doing())));
    }
    Ok(found)
}

fn number(file: &Path) -> Result<i32> {
    let doing = || format!("reading the process number in {}", file.display());
    let text = std::fs::read_to_string(file).context(Kind::Input, doing)?;
    let first = text.lines().next().unwrap_or_default().trim();
    first.parse().map_err(|_| Error::input(doing()).hint("its first line is the number of a process"))
}
