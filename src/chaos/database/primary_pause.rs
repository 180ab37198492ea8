//! `primary-pause`: stops every process of a server, as a frozen virtual machine does: connections stay, nothing answers.

use super::local::{self, Local};
use super::{TARGETS, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Prepared, Scene};
use crate::chaos::host::fuse;
use crate::chaos::host::process::{self, Status};
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use async_trait::async_trait;
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// How long stopping and going on may take.
const SOON: Duration = Duration::from_secs(10);
const ROUNDS: usize = 100;

/// Lets a process (`$1`, started at `$2`, so that no successor is meant) and its children go on.
const GO_ON: &str = r#"now=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)
[ "$now" = "$2" ] || exit 0
for stat in /proc/[0-9]*/stat; do
    parent=$(sed 's/.*) //' "$stat" 2>/dev/null | cut -d' ' -f2)
    pid=${stat#/proc/}
    [ "$parent" = "$1" ] && kill -CONT "${pid%/stat}"
done
kill -CONT "$1""#;

#[derive(Debug)]
pub(in crate::chaos) struct PrimaryPause;

#[async_trait]
impl Fault for PrimaryPause {
    fn facts(&self) -> Facts {
        Facts {
            name: "primary-pause",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "stops every process of the server (SIGSTOP): connections stay open and nothing answers",
            needs: "to run on the server's machine, as root or as its account; a login that may read data_directory",
            proof: "the kernel shows every process of the server stopped",
            heals: "all its processes go on (SIGCONT)",
            expires: "a helper process on the machine lets them go on",
            parameters: &[],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        whole(scene).await
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let server = local::of(scene).await?;
        let undo = format!("process {} and its children go on (SIGCONT)", server.postmaster.pid);
        Ok(Prepared { victim, prior: json!(server), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let server: Local = prepared.prior()?;
        let root = server.postmaster;
        let arguments = [root.pid.to_string(), root.start.to_string()];
        fuse::light(&scene.mark(), scene.expiry(), GO_ON, &arguments).await?;
        // Stopped first, the first process makes no more of them.
        if !root.signal(Signal::STOP)? {
            return Err(Error::failed(format!("stopping process {}: it is gone", root.pid)));
        }
        for _ in 0..ROUNDS {
            let running: Vec<Status> =
                states(scene, &server).into_iter().filter(|status| !status.is_stopped()).collect();
            if running.is_empty() {
                break;
            }
            for status in running {
                status.process.signal(Signal::STOP)?;
            }
        }
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let server: &Local = &prepared.prior()?;
        let look = || async move {
            let all = states(scene, server);
            let stopped = !all.is_empty() && all.iter().all(Status::is_stopped);
            Ok(stopped
                .then(|| format!("process {} and its {} children are stopped", server.postmaster.pid, all.len() - 1)))
        };
        scene.look(asked, SOON, "not all of its processes were stopped", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let server: Local = prepared.prior()?;
        // Children first: the first process may have work for them at once.
        for status in states(scene, &server).into_iter().rev() {
            status.process.signal(Signal::CONT)?;
        }
        fuse::extinguish(&scene.mark())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let server: Local = prepared.prior()?;
        let goes_on =
            scene.until(SOON, || async { Ok(!states(scene, &server).iter().any(Status::is_stopped)) }).await?;
        if !goes_on {
            return Ok(ReadBack::Not { why: "some of its processes are still stopped".to_owned() });
        }
        let answer = tokio::time::timeout(SOON, scene.session()).await;
        Ok(match answer {
            Ok(Ok(session)) => {
                session.close().await;
                ReadBack::AsBefore {
                    seen: format!("process {} and its children run, and it answers", server.postmaster.pid),
                }
            }
            Ok(Err(_)) if server.status(scene).is_none() => {
                ReadBack::NothingToUndo { seen: "the server is gone; somebody ended it meanwhile".to_owned() }
            }
            Ok(Err(why)) => ReadBack::Not { why: format!("its processes run, and it does not answer: {why}") },
            Err(_) => ReadBack::Not { why: "its processes run, and it does not answer in time".to_owned() },
        })
    }
}

/// What the kernel says of the first process and its children: all that are the server itself.
fn states(scene: &Scene<'_>, server: &Local) -> Vec<Status> {
    let Some(first) = server.status(scene) else { return Vec::new() };
    let parent = first.process.pid;
    let children = process::all().into_values().filter(|status| status.parent == parent && !status.is_gone());
    std::iter::once(first).chain(children).collect()
}
