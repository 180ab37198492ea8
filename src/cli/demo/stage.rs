//! Where the demo is shown: titles, plain words, and commands run as a person would run them.

use crate::cli::output;
use crate::error::{Context, Error, Kind, Result};
use crate::postgres::ConnInfo;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Runs commands of this very binary against the demo's server and repository.
pub(super) struct Stage {
    davit: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
}

impl Stage {
    pub(super) fn new(directory: &Path, server: &ConnInfo) -> Result<Self> {
        let davit = std::env::current_exe().context(Kind::Failed, || "finding davit's own program".to_owned())?;
        let mut environment = server.child_environment();
        // These two belong to libpq's own files, which must play no part here.
        environment.retain(|(name, _)| name != "PGDATABASE");
        let path = |name: &str| directory.join(name).display().to_string();
        environment.push(("DAVIT_REPOSITORY".to_owned(), path("repository")));
        environment.push(("DAVIT_KEYS".to_owned(), path("keys")));
        environment.push(("DAVIT_CONFIG".to_owned(), String::new()));
        environment.push(("XDG_STATE_HOME".to_owned(), path("state")));
        Ok(Self { davit, directory: directory.to_owned(), environment })
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
        command.args(arguments).current_dir(&self.directory).stdin(Stdio::null()).kill_on_drop(true);
        for (name, value) in &self.environment {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        let status = command.status().await.context(Kind::Failed, doing)?;
        match status.code() {
            Some(code) if expected.contains(&code) => {
                if code != 0 {
                    self.tell(&format!("(exit {code})"))?;
                }
                Ok(())
            }
            Some(code) => Err(Error::failed(format!("{}: it ended with exit {code}", doing()))),
            None => Err(Error::failed(format!("{}: it was killed", doing()))),
        }
    }
}
