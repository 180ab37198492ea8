//! The server's process: under another account where we are root, without a network where the kernel lets us, and
//! never outliving us.

use crate::error::{Error, Result};
use crate::postgres::account::{self, Account};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a server may take to end. It kills its own children after 5 s of an immediate shutdown.
pub(super) const SHUTDOWN: Duration = Duration::from_secs(8);

/// Becomes the server, and leaves behind a watcher that holds the other end of our pipe: when we end, however we end, the
/// pipe closes, and the watcher ends the server and empties its directory. `$1` is the data directory.
const WATCHED: &str = r#"
data=$1; shift
exec 3<&0 0</dev/null
(
    while read -r line <&3; do :; done
    kill -QUIT $$ 2>/dev/null
    for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 $$ 2>/dev/null || break; sleep 1; done
    kill -KILL $$ 2>/dev/null
    rm -rf "$data"/*
) &
exec 3<&-
exec "$@"
"#;

/// Whether the server can reach a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// It has none but its Unix socket.
    Cut,
    /// It could connect to others, and why this could not be prevented.
    Open(String),
}

/// How the server is wrapped.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) egress: Egress,
    account: Account,
}

impl Sandbox {
    /// Tries whether a process of this account can be cut off from the network.
    pub(super) fn probe(account: &Account) -> Self {
        let mut sandbox = Self { egress: Egress::Cut, account: account.clone() };
        let tried = sandbox.command(Path::new("/bin/true")).stdin(Stdio::null()).output();
        let why = match tried {
            Ok(output) if output.status.success() => return sandbox,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("unshare: {error}"),
        };
        sandbox.egress = Egress::Open(why);
        sandbox
    }

    /// A command that runs `program` inside.
    fn command(&self, program: &Path) -> Command {
        let root = account::is_root();
        let mut command = match (&self.egress, root) {
            (Egress::Cut, true) => {
                let mut command = Command::new("unshare");
                command.args(["--net", "--setuid", &self.account.uid.to_string()]);
                command.args(["--setgid", &self.account.gid.to_string()]);
                command.arg("--").arg(program);
                command
            }
            (Egress::Cut, false) => {
                let mut command = Command::new("unshare");
                command.args(["--net", "--map-current-user", "--"]).arg(program);
                command
            }
            (Egress::Open(_), true) => {
                let mut command = Command::new(program);
                command.uid(self.account.uid).gid(self.account.gid);
                command
            }
            (Egress::Open(_), false) => Command::new(program),
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .current_dir("/");
        command
    }

    /// Starts the server.
    pub(super) fn start(
        &self,
        postgres: &Path,
        data: &Path,
        arguments: &[String],
        log: &Path,
    ) -> Result<ServerProcess> {
        let failed = |error: std::io::Error| Error::failed("starting a throw-away server").because(error);
        let log = File::create(log).map_err(failed)?;
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", WATCHED, "sh"]).arg(data).arg(postgres).arg("-D").arg(data).args(arguments);
        command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(failed)?).stderr(log).process_group(0);
        let child = command.spawn().map_err(failed)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(ServerProcess { child: Some(child), group })
    }
}

/// A running server. Dropping it ends the server and waits for that.
#[derive(Debug)]
pub(super) struct ServerProcess {
    /// With it goes our end of the watcher's pipe.
    child: Option<Child>,
    group: Option<Pid>,
}

impl ServerProcess {
    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// The postmaster.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends the server at once (nothing in it is to be kept), and the watcher with it. Blocks until that is done.
    pub(super) fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The pipe stays open until the watcher is gone, too: there is nothing left for it to do.
        let pipe = child.stdin.take();
        self.signal(Signal::QUIT);
        let (done, waiting) = mpsc::channel::<()>();
        // A thread, because the standard library cannot wait for a child with a limit.
        let waiter = std::thread::spawn(move || {
            if let Err(error) = child.wait() {
                tracing::debug!("waiting for a throw-away server: {error}");
            }
            drop(done);
        });
        let ended = waiting.recv_timeout(SHUTDOWN) != Err(mpsc::RecvTimeoutError::Timeout);
        // As long as the watcher lives the group's number is not given to anybody else.
        self.signal(Signal::KILL);
        if !ended {
            tracing::warn!("a throw-away server had to be killed");
        }
        if waiter.join().is_err() {
            tracing::warn!("waiting for a throw-away server failed");
        }
        drop(pipe);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!("signalling a throw-away server: {error}");
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether `gone` came true within `limit`; asked some ten times a second.
pub(super) fn gone_within(limit: Duration, gone: impl Fn() -> bool) -> bool {
    let step = Duration::from_millis(100);
    let (_keep, never) = mpsc::channel::<()>();
    let mut waited = Duration::ZERO;
    while !gone() {
        if waited >= limit {
            return false;
        }
        // A channel on which nothing comes is a pause.
        if never.recv_timeout(step).is_ok() {
            return false;
        }
        waited += step;
    }
    true
}
