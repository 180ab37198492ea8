//! Whether an incident is open: asked of a command or a file. What cannot be read means refuse.

use super::{Finding, GuardName};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// How long a command may take to say.
const LIMIT: Duration = Duration::from_secs(20);
/// What of its words is shown.
const SHOWN: usize = 200;

/// How to find out whether an incident is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Incident {
    /// A command of the shell: it ends with 0 when none is open.
    Command(String),
    /// A file: it is empty, or says `none`, when none is open.
    File(PathBuf),
}

impl Incident {
    pub(super) async fn ask(&self) -> Finding {
        match self {
            Self::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) if text.trim().is_empty() || text.trim().eq_ignore_ascii_case("none") => {
                    Finding::yes(GuardName::Incident, format!("{} names none", path.display()))
                }
                Ok(text) => Finding::no(GuardName::Incident, format!("{} says {:?}", path.display(), shown(&text))),
                Err(why) => Finding::no(GuardName::Incident, format!("{} cannot be read: {why}", path.display())),
            },
            Self::Command(command) => {
                let mut shell = tokio::process::Command::new("/bin/sh");
                shell.args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true);
                match tokio::time::timeout(LIMIT, shell.output()).await {
                    Ok(Ok(output)) if output.status.success() => {
                        Finding::yes(GuardName::Incident, "the command says that none is open")
                    }
                    Ok(Ok(output)) => {
                        let said = String::from_utf8_lossy(&output.stdout).into_owned();
                        let why = format!("the command that looks for incidents ended with {}", output.status);
                        Finding::no(GuardName::Incident, format!("{why}: {}", shown(&said)))
                    }
                    Ok(Err(why)) => Finding::no(GuardName::Incident, format!("the command cannot be run: {why}")),
                    Err(_) => {
                        let why = format!("the command did not end within {} s", LIMIT.as_secs());
                        Finding::no(GuardName::Incident, why)
                    }
                }
            }
        }
    }
}

fn shown(text: &str) -> String {
    text.trim().chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_readable_none_lets_a_fault_pass() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("incidents");
        let ask = async || Incident::File(file.clone()).ask().await.says.is_ok();
        assert!(!ask().await, "a file that is not there");
        for (text, good) in [("", true), ("none\n", true), ("INC-7: checkout is down", false)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(ask().await, good, "{text:?}");
        }
        for (command, good) in [("true", true), ("echo INC-7; exit 1", false), ("/nowhere/at/all", false)] {
            assert_eq!(Incident::Command(command.to_owned()).ask().await.says.is_ok(), good, "{command}");
        }
    }
}
