//! One run of one program: its environment made by us, its errors kept within bounds, its whole process group ended with
//! it. That it exited with 0 is never proof of anything; callers look at what it made.

use crate::error::{Error, Result};
use crate::postgres::account::Account;
use crate::postgres::conninfo::ConnInfo;
use crate::postgres::fault::hint_for;
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Of a program's messages the first and the last so many bytes are kept.
const KEPT: usize = 16 * 1024;

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// A program about to be run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    doing: String,
}

impl Tool {
    /// A run of `program`; `doing` says what for, in error messages. Its environment is empty but for what every
    /// program needs: nothing of ours leaks into it.
    pub fn new(program: &Path, doing: impl Into<String>) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            // Without a home libpq finds no files but those we name.
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true);
        Self { command, doing: doing.into() }
    }

    /// Adds an argument. Never a secret: arguments can be read by everybody on the machine.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets it reach this database; take the connection of a session, which is pinned to one host.
    #[must_use]
    pub fn database(mut self, conn: &ConnInfo) -> Self {
        self.command.envs(conn.child_environment()).env("PGAPPNAME", "davit/tool");
        self
    }

    /// Gives it a standard input to be fed through [`Running::stdin`].
    #[must_use]
    pub fn fed(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Runs it as another account of this machine, with that account's group only.
    #[must_use]
    pub(in crate::postgres) fn account(mut self, account: &Account) -> Self {
        // The standard library drops all other groups when root changes the user.
        self.command.uid(account.uid).gid(account.gid);
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> Result<Running> {
        let mut child = self.command.spawn().map_err(|error| {
            let program = Path::new(self.command.as_std().get_program()).display().to_string();
            Error::failed(format!("{}: starting {program}", self.doing)).because(error)
        })?;
        let messages = Arc::new(Mutex::new(Bounded::default()));
        let reader = child.stderr.take().map(|stderr| tokio::spawn(collect(stderr, messages.clone())));
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let program = Path::new(self.command.as_std().get_program());
        Ok(Running {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            name: program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            doing: self.doing,
            child,
            group,
            messages,
            reader,
        })
    }

    /// Runs it to its end and gives what it printed, at most `limit` bytes.
    pub async fn output(self, limit: usize, cancel: &CancellationToken) -> Result<Vec<u8>> {
        let (printed, ended) = self.findings(limit, cancel).await?;
        ended.map(|_said| printed)
    }

    /// The same for a program that prints what it finds and fails because of that: what it printed, and how it ended.
    pub async fn findings(self, limit: usize, cancel: &CancellationToken) -> Result<(Vec<u8>, Result<String>)> {
        let doing = self.doing.clone();
        let mut running = self.spawn()?;
        let mut printed = Vec::new();
        if let Some(stdout) = running.stdout.take() {
            let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            let mut stdout = stdout.take(most);
            tokio::select! {
                read = stdout.read_to_end(&mut printed) => {
                    read.map_err(|error| Error::failed(format!("{doing}: reading its output")).because(error))?;
                }
                () = cancel.cancelled() => {}
            }
            if printed.len() > limit {
                return Err(Error::failed(format!("{doing}: it printed more than {limit} bytes")));
            }
        }
        Ok((printed, running.finish(cancel).await))
    }
}

/// A program that runs. Dropping it kills it and all it started.
#[derive(Debug)]
pub struct Running {
    /// Where to feed it, if [`Tool::fed`] was asked for. Drop it to tell the end.
    pub stdin: Option<ChildStdin>,
    /// What it prints.
    pub stdout: Option<ChildStdout>,
    name: String,
    doing: String,
    child: Child,
    group: Option<Pid>,
    messages: Arc<Mutex<Bounded>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it has said on standard error until now.
    pub fn messages(&self) -> String {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).text()
    }

    /// Waits for its end; a cancelled run is asked to end, then killed. Gives what it said on standard error.
    ///
    /// # Errors
    /// `Kind::Failed` with what it said, if it exited with anything but 0 or was cancelled.
    pub async fn finish(mut self, cancel: &CancellationToken) -> Result<String> {
        drop(self.stdin.take());
        // What nobody wanted to read is thrown away: a closed pipe would kill the program.
        let drain = self
            .stdout
            .take()
            .map(|mut stdout| tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await }));
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = cancel.cancelled() => {
                self.stop().await;
                return Err(Error::failed(format!("{}: {} was stopped", self.doing, self.name)));
            }
        };
        let status = status
            .map_err(|error| Error::failed(format!("{}: waiting for {}", self.doing, self.name)).because(error))?;
        self.group = None;
        if let Some(drain) = drain {
            drain.abort();
        }
        if let Some(reader) = self.reader.take() {
            // A grandchild that keeps the pipe open must not keep us.
            if tokio::time::timeout(GRACE, reader).await.is_err() {
                tracing::debug!("{} left its standard error open", self.name);
            }
        }
        let said = self.messages();
        if status.success() {
            return Ok(said);
        }
        let error = Error::failed(format!("{}: {} {}", self.doing, self.name, ended(status)));
        let error = match hint_for(&said) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        Err(if said.trim().is_empty() { error } else { error.because(said.trim().replace('\n', "; ")) })
    }

    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            if let Err(error) = self.child.wait().await {
                tracing::warn!("waiting for {}: {error}", self.name);
            }
        }
        self.group = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!("signalling {}: {error}", self.name);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// The beginning and the end of a text that may be long.
#[derive(Debug, Default)]
struct Bounded {
    first: Vec<u8>,
    last: Vec<u8>,
    left_out: u64,
}

impl Bounded {
    fn push(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.first.len()).min(bytes.len());
        let (head, tail) = bytes.split_at(room);
        self.first.extend_from_slice(head);
        self.last.extend_from_slice(tail);
        if self.last.len() > 2 * KEPT {
            let surplus = self.last.len() - KEPT;
            self.last.drain(..surplus);
            self.left_out += surplus as u64;
        }
    }

    fn text(&self) -> String {
        let first = String::from_utf8_lossy(&self.first);
        let last = String::from_utf8_lossy(&self.last);
        if self.left_out == 0 {
            return format!("{first}{last}");
        }
        format!("{first}\n[… {} bytes left out …]\n{last}", self.left_out)
    }
}

async fn collect(mut stderr: impl AsyncRead + Unpin, messages: Arc<Mutex<Bounded>>) {
    let mut buffer = vec![0; 4096];
    while let Ok(read) = stderr.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        messages.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new(Path::new("/bin/sh"), "testing").args(["-c", script])
    }

    #[tokio::test]
    async fn a_failure_carries_the_exit_code_and_what_was_said() {
        let error =
            shell("echo oh no >&2; exit 3").spawn().unwrap().finish(&CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "testing: sh exited with 3: oh no");
        assert_eq!(error.hint_text(), None);
    }

    #[tokio::test]
    async fn what_a_failing_program_has_found_is_not_lost() {
        let failing = || shell("echo found; echo oh no >&2; exit 2");
        let (printed, ended) = failing().findings(100, &CancellationToken::new()).await.unwrap();
        assert_eq!(printed, b"found\n");
        assert_eq!(ended.unwrap_err().to_string(), "testing: sh exited with 2: oh no");
        let error = failing().output(100, &CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "testing: sh exited with 2: oh no");
    }

    #[tokio::test]
    async fn a_program_that_lost_its_server_ends_with_the_hint_of_a_session_that_did() {
        for (said, hint) in [
            ("pg_dump: error: query failed: server closed the connection unexpectedly", "the server's log says why"),
            (
                "pg_dump: error: query failed: FATAL:  terminating connection due to administrator command",
                "log says why",
            ),
            (
                "pg_dump: error: connection to server at \"10.0.0.7\", port 5432 failed: Connection refused",
                "is the port right",
            ),
            ("pg_dump: error: query failed: ERROR:  permission denied for table salaries", "pg_read_all_data"),
        ] {
            let script = format!("echo '{said}' >&2; exit 1");
            let error = shell(&script).spawn().unwrap().finish(&CancellationToken::new()).await.unwrap_err();
            assert!(error.hint_text().is_some_and(|given| given.contains(hint)), "{said}: {:?}", error.hint_text());
        }
    }

    #[tokio::test]
    async fn nothing_of_our_environment_reaches_a_program() {
        let printed = shell("env | sort").output(10_000, &CancellationToken::new()).await.unwrap();
        let printed = String::from_utf8(printed).unwrap();
        let names: Vec<_> = printed.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert_eq!(
            names.iter().filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)).collect::<Vec<_>>(),
            [&"HOME", &"LC_ALL", &"PATH"]
        );
    }

    #[tokio::test]
    async fn cancelling_ends_the_program_and_its_children() {
        let cancel = CancellationToken::new();
        let mut running = shell("sleep 1000 & echo $!; wait").spawn().unwrap();
        let mut line = [0; 16];
        let read = running.stdout.as_mut().unwrap().read(&mut line).await.unwrap();
        let child: i32 = std::str::from_utf8(&line[..read]).unwrap().trim().parse().unwrap();
        cancel.cancel();
        let error = running.finish(&cancel).await.unwrap_err();
        assert!(error.to_string().contains("was stopped"), "{error}");
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let deadline = tokio::time::timeout(Duration::from_mins(1), async {
            while !gone() {
                tokio::task::yield_now().await;
            }
        });
        assert!(deadline.await.is_ok(), "the grandchild still runs");
    }

    #[tokio::test]
    async fn endless_messages_and_output_stay_within_bounds() {
        let running = shell("yes complaint | head -c 1000000 >&2; echo last >&2").spawn().unwrap();
        let said = running.finish(&CancellationToken::new()).await.unwrap();
        assert!(said.len() < 4 * KEPT && said.starts_with("complaint") && said.ends_with("last\n"), "{}", said.len());
        let error = shell("yes").output(1000, &CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().contains("more than 1000 bytes"), "{error}");
    }
}
