//! Processes of this machine. A number alone is no identity: it is given out again. The number and the time of the start
//! are, and a signal goes through a file descriptor that cannot come to mean another process.

use crate::error::{Error, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Processes may be made while others are killed; they are few.
const ROUNDS: usize = 100;

/// One process, told from every other one since the machine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in crate::chaos) struct Process {
    /// Its number.
    pub(in crate::chaos) pid: i32,
    /// When it was started, in clock ticks since the machine was.
    pub(in crate::chaos) start: u64,
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) struct Status {
    /// Which.
    pub(in crate::chaos) process: Process,
    /// Its parent.
    pub(in crate::chaos) parent: i32,
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub(in crate::chaos) state: char,
}

impl Status {
    /// Whether it is gone, or only waits for its parent to look.
    pub(in crate::chaos) fn is_gone(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Whether it is stopped.
    pub(in crate::chaos) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// What the kernel says of a number now; `None` if no process has it.
pub(in crate::chaos) fn status(pid: i32) -> Option<Status> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(line: &str) -> Option<Status> {
    let pid = line.split(' ').next()?.parse().ok()?;
    // The name is in parentheses and may hold anything, also parentheses.
    let rest = line.get(line.rfind(')')? + 2..)?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let state = fields.first()?.chars().next()?;
    let parent = fields.get(1)?.parse().ok()?;
    let start = fields.get(19)?.parse().ok()?;
    Some(Status { process: Process { pid, start }, parent, state })
}

impl Process {
    /// The process that has a number now.
    pub(in crate::chaos) fn of(pid: i32) -> Option<Self> {
        status(pid).map(|status| status.process)
    }

    /// What the kernel says of it; `None` if it is gone, also where its number was given to another one.
    pub(in crate::chaos) fn status(self) -> Option<Status> {
        status(self.pid).filter(|status| status.process == self && !status.is_gone())
    }

    /// Sends it a signal; `false` if it is gone.
    pub(in crate::chaos) fn signal(self, signal: Signal) -> Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        let doing = || format!("sending {signal:?} to process {}", self.pid);
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(why) => return Err(Error::failed(doing()).because(why)),
        };
        // Now the number cannot change hands any more: look whose it is.
        if status(self.pid).is_none_or(|status| status.process != self) {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(why) => Err(Error::failed(doing()).because(why)),
        }
    }
}

/// All processes now, by number.
pub(in crate::chaos) fn all() -> BTreeMap<i32, Status> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| Some((pid, status(pid)?))).collect()
}

/// A process and everything below it, parents before children.
pub(in crate::chaos) fn tree(root: Process) -> Vec<Process> {
    let all = all();
    if all.get(&root.pid).is_none_or(|status| status.process != root || status.is_gone()) {
        return Vec::new();
    }
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        let children = all.values().filter(|status| status.parent == parent.pid && !status.is_gone());
        let children: Vec<Process> =
            children.map(|status| status.process).filter(|child| !tree.contains(child)).collect();
        tree.extend(children);
        at += 1;
    }
    tree
}

/// Kills a process and everything below it. The first one is stopped before, so that it makes no more of them.
pub(in crate::chaos) fn kill_tree(root: Process) -> Result<Vec<Process>> {
    if !root.signal(Signal::STOP)? {
        return Err(Error::failed(format!("killing process {}: it is gone already", root.pid)));
    }
    let mut killed: Vec<Process> = vec![root];
    for _ in 0..ROUNDS {
        let below: Vec<Process> = tree(root).into_iter().filter(|process| !killed.contains(process)).collect();
        if below.is_empty() {
            break;
        }
        for process in &below {
            process.signal(Signal::KILL)?;
        }
        killed.extend(below);
    }
    root.signal(Signal::KILL)?;
    Ok(killed)
}

/// What a process was started as.
pub(in crate::chaos) fn command_line(pid: i32) -> Vec<String> {
    let bytes = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// A variable of the environment that a process was started with; `None` also where we may not look.
pub(in crate::chaos) fn variable(pid: i32, name: &str) -> Option<String> {
    let bytes = std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
    let values = bytes.split(|byte| *byte == 0).filter_map(|part| std::str::from_utf8(part).ok()?.split_once('='));
    values.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 2 3";
        let status = parse(stat).unwrap();
        assert_eq!((status.process, status.parent, status.state), (Process { pid: 42, start: 98765 }, 7, 'S'));
        assert!(parse("nonsense").is_none());
    }

    #[test]
    fn a_signal_never_reaches_a_successor_of_the_same_number() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        let earlier = Process { start: process.start - 1, ..process };
        assert!(!earlier.signal(Signal::KILL).unwrap());
        assert!(process.status().is_some());
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(tree(own).contains(&process));
        assert!(process.signal(Signal::KILL).unwrap());
        child.wait().unwrap();
        assert!(process.status().is_none() && !process.signal(Signal::KILL).unwrap());
    }
}
