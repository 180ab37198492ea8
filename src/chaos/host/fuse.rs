//! A fuse: a small process of its own that undoes a fault after a time, when nobody else did. It stands in a session of
//! its own, so that what kills the runner does not reach it, and carries the run's mark on its command line, so that
//! whoever heals finds it and takes it away.

use super::process::{self, Process};
use crate::error::{Error, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;

/// What the shell calls itself: `$0`.
const NAME: &str = "davit-fuse";

/// Lights one: after `time`, `script` runs in a shell, with `arguments` as `$1`, `$2`, …
pub(in crate::chaos) async fn light(mark: &str, time: Duration, script: &str, arguments: &[String]) -> Result<()> {
    let doing = "starting the helper that ends a fault by itself";
    let seconds = time.as_secs_f64().ceil();
    // The mark is an argument that the script does not see.
    let whole = format!("sleep {seconds}; shift; {script}");
    let mut command = tokio::process::Command::new("setsid");
    command.args(["--fork", "/bin/sh", "-c", &whole, NAME, mark]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    let status = command.status().await.map_err(|why| Error::failed(doing).because(why))?;
    if !status.success() {
        return Err(Error::failed(format!("{doing}: setsid ended with {status}")));
    }
    Ok(())
}

/// Those of a run that still burn.
fn burning(mark: &str) -> Vec<Process> {
    let of_it = |pid: i32| {
        let line = process::command_line(pid);
        line.iter().any(|part| part == NAME) && line.iter().any(|part| part == mark)
    };
    process::all()
        .values()
        .filter(|status| !status.is_gone() && of_it(status.process.pid))
        .map(|status| status.process)
        .collect()
}

/// Takes those of a run away.
pub(in crate::chaos) fn extinguish(mark: &str) -> Result<()> {
    for fuse in burning(mark) {
        let group = Pid::from_raw(fuse.pid).filter(|_| fuse.status().is_some());
        if let Some(group) = group
            && let Err(why) = kill_process_group(group, Signal::KILL)
            && why != rustix::io::Errno::SRCH
        {
            return Err(Error::failed(format!("ending the helper {}", fuse.pid)).because(why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Asks until it holds; the limit is far beyond what it takes.
    async fn eventually(what: &str, holds: impl Fn() -> bool) {
        for _ in 0..500 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} did not come true");
    }

    #[tokio::test]
    async fn a_fuse_burns_down_by_itself_or_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        let mark = |which: &str| format!("test-{}-{which}", std::process::id());
        let script = "echo \"$1\" > \"$2\"";
        let arguments = |file: &std::path::Path| vec!["burnt".to_owned(), file.display().to_string()];
        light(&mark("a"), Duration::from_secs(1), script, &arguments(&first)).await.unwrap();
        light(&mark("b"), Duration::from_mins(10), script, &arguments(&second)).await.unwrap();
        eventually("the second fuse burning", || !burning(&mark("b")).is_empty()).await;
        extinguish(&mark("b")).unwrap();
        eventually("the second fuse being gone", || burning(&mark("b")).is_empty()).await;
        eventually("the first fuse's work", || std::fs::read_to_string(&first).is_ok_and(|text| text == "burnt\n"))
            .await;
        eventually("the first fuse being gone", || burning(&mark("a")).is_empty()).await;
        assert!(!second.exists());
    }
}
