//! Where the demo is shown: titles, plain words, and commands run as a person would run them.

use crate::cli::output;
use crate::error::{Context, Error, Kind, Result};
use crate::postgres::ConnInfo;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// How long a command that was asked to stop may take to undo what it began.
const UNDOING: Duration = Duration::from_secs(20);
/// How much later than the command we may hear that both were to stop.
const HEARD: Duration = Duration::from_secs(1);

/// Runs commands of this very binary against the demo's server and repository.
pub(super) struct Stage {
    davit: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    stop: CancellationToken,
}

impl Stage {
    pub(super) fn new(directory: &Path, server: &ConnInfo, stop: CancellationToken) -> Result<Self> {
        let davit = std::env::current_exe().context(Kind::Failed, || "finding davit's own program".to_owned())?;
        let mut environment = server.child_environment();
        // These two belong to libpq's own files, which must play no part here.
        environment.retain(|(name, _)| name != "PGDATABASE");
        // What the caller's shell says of other repositories must play no part, either.
        for name in ["REPOSITORY", "KEYS", "CONFIG", "STATE", "JOBS", "LIMIT_RATE"] {
            environment.push((format!("DAVIT_{name}"), String::new()));
        }
        Ok(Self { davit, directory: directory.to_owned(), environment, stop })
    }

    /// A heading.
    pub(super) fn title(&self, text: &str) -> Result<()> {
        let bold = anstyle::Style::new().bold();
        self.print(&format!("\n{bold}{text}{bold:#}\n\n"))
    }

    /// Plain words.
    pub(super) fn tell(&self, text: &str) -> Result<()> {
        let mut lines = String::new();
        for line in text.lines() {
            // Writing to a String cannot fail.
            let _ignored = writeln!(lines, "  {line}");
        }
        self.print(&lines)
    }

    /// Text as it is.
    #[expect(clippy::unused_self, reason = "everything the demo shows goes over its stage")]
    pub(super) fn print(&self, text: &str) -> Result<()> {
        output::print(text)
    }

    /// Shows a command line and runs it; any exit code but the `expected` ones ends the demo.
    pub(super) async fn run(&self, arguments: &[&str], expected: &[i32]) -> Result<()> {
        self.print(&format!("  $ davit {}\n", arguments.join(" ")))?;
        let doing = || format!("running davit {}", arguments.join(" "));
        let mut command = Command::new(&self.davit);
        // A group of its own: Ctrl-C in a terminal comes to us alone, and we pass it on once. Twice would mean "at once".
        command.args(arguments).current_dir(&self.directory).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        for (name, value) in &self.environment {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        let mut child = command.spawn().context(Kind::Failed, doing)?;
        let status = tokio::select! {
            status = child.wait() => status.context(Kind::Failed, doing)?,
            () = self.stop.cancelled() => {
                end(child).await;
                return Err(self.stopped());
            }
        };
        match status.code() {
            Some(code) if expected.contains(&code) => {
                if code != 0 {
                    self.tell(&format!("(exit {code})"))?;
                }
                Ok(())
            }
            // Ctrl-C may meet the command before it has a group of its own, or learned what to do when it comes.
            _ if tokio::time::timeout(HEARD, self.stop.cancelled()).await.is_ok() => Err(self.stopped()),
            Some(code) => Err(Error::failed(format!("{}: it ended with exit {code}", doing()))),
            None => Err(Error::failed(format!("{}: it was killed", doing()))),
        }
    }

    /// Does a step that is no command, unless the demo is to stop.
    pub(super) async fn unless_stopped<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = step => done,
            () = self.stop.cancelled() => Err(self.stopped()),
        }
    }

    fn stopped(&self) -> Error {
        Error::failed("running the demo: stopped")
            .hint(format!("what it had made is in {}; its server is gone", self.directory.display()))
    }
}

/// Asks a command to stop, and gives it time to undo what it began: it may have a throw-away server of its own.
async fn end(mut child: Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let asked = pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok());
    if asked && tokio::time::timeout(UNDOING, child.wait()).await.is_err() {
        tracing::warn!("a command of the demo did not stop within {} s and is killed", UNDOING.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        let (davit, directory) = (PathBuf::from("/bin/sh"), std::env::temp_dir());
        Stage { davit, directory, environment: Vec::new(), stop: CancellationToken::new() }
    }

    #[tokio::test]
    async fn a_command_that_a_signal_met_before_us_was_stopped_and_did_not_fail() {
        // Not the signal of Ctrl-C, which whoever runs tests in the background ignores.
        let killed = ["-c", "kill -TERM $$"];
        let stage = stage();
        let heard = async {
            // The command is gone before we hear of the signal that was for both.
            tokio::time::sleep(Duration::from_millis(200)).await;
            stage.stop.cancel();
        };
        let (ended, ()) = tokio::join!(stage.run(&killed, &[0]), heard);
        assert_eq!(ended.unwrap_err().to_string(), "running the demo: stopped");
        let alone = self::stage().run(&killed, &[0]).await.unwrap_err().to_string();
        assert!(alone.ends_with("it was killed"), "{alone}");
    }
}
