//! This machine: processes that are told from their successors, helpers that end a fault when nobody else does, and the fault of
//! a service that runs as a process here.

pub(super) mod fuse;
mod kill;
mod machine;
pub(super) mod process;

pub(super) use kill::running;
pub(crate) use kill::service_process;
pub use machine::Machine;

use super::evidence::Proof;
use super::fault::{Fault, Held, Scene};
use crate::error::{Error, Result};
use process::Process;
use std::process::Stdio;
use std::time::Duration;

/// How long the kernel may take to take processes away.
const GONE: Duration = Duration::from_secs(10);

/// All faults of processes.
pub(super) const FAULTS: [&dyn Fault; 1] = [&kill::ProcessKill];

/// Looks until the processes that were noted when they were killed are gone, the first one of which stood above the others.
pub(super) async fn gone(scene: &Scene<'_>, held: &Held, asked: Duration) -> Result<Proof> {
    let killed: Vec<Process> = serde_json::from_value(held.notes.clone()).unwrap_or_default();
    let killed = &killed;
    let Some(first) = killed.first() else {
        return Ok(Proof::Unproven { why: "no process was killed".to_owned() });
    };
    let look = || async move {
        let left = killed.iter().filter(|process| process.status().is_some()).count();
        let children = killed.len() - 1;
        Ok((left == 0).then(|| format!("process {} and its {children} children are gone", first.pid)))
    };
    scene.look(asked, GONE, "not all of its processes were gone", look).await
}

/// Runs the command by which somebody has `what` started again.
pub(super) async fn start_again(command: &str, what: &str) -> Result<()> {
    let doing = || format!("starting {what} again");
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    let status = shell.status().await.map_err(|why| Error::failed(doing()).because(why))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("{}: {command:?} ended with {status}", doing())))
}
