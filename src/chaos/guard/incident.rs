//! Whether an incident is open: asked of a command, a file or a URL. What cannot be read means refuse.

use super::{Finding, GuardName};
use crate::probe::Connection;
use crate::probe::http::{Good, HttpService};
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
    /// A URL: it answers 200 to 299 with nothing, or with `none`, when none is open.
    Url(String),
}

impl Incident {
    pub(super) async fn ask(&self) -> Finding {
        match self {
            Self::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) if says_none(&text) => {
                    Finding::yes(GuardName::Incident, format!("{} names none", path.display()))
                }
                Ok(text) => Finding::no(GuardName::Incident, format!("{} says {:?}", path.display(), shown(&text))),
                Err(why) => Finding::no(GuardName::Incident, format!("{} cannot be read: {why}", path.display())),
            },
            Self::Url(url) => {
                let shown_url = crate::secret::redact(url);
                match tokio::time::timeout(LIMIT, fetch(url)).await {
                    Ok(Ok(text)) if says_none(&text) => {
                        Finding::yes(GuardName::Incident, format!("{shown_url} names none"))
                    }
                    Ok(Ok(text)) => Finding::no(GuardName::Incident, format!("{shown_url} says {:?}", shown(&text))),
                    Ok(Err(why)) => Finding::no(GuardName::Incident, format!("{shown_url} cannot be read: {why}")),
                    Err(_) => {
                        let why = format!("{shown_url} did not answer within {} s", LIMIT.as_secs());
                        Finding::no(GuardName::Incident, why)
                    }
                }
            }
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

fn says_none(text: &str) -> bool {
    // JSON services say the same as an empty list or an empty object.
    ["", "[]", "{}"].contains(&text.trim()) || text.trim().trim_matches('"').eq_ignore_ascii_case("none")
}

async fn fetch(url: &str) -> Result<String, String> {
    let service = HttpService::new(url, Connection::Fresh, Good::default()).map_err(|error| error.to_string())?;
    let body = service.fetch().await?;
    String::from_utf8(body.to_vec()).map_err(|_| "its answer is no text".to_owned())
}

fn shown(text: &str) -> String {
    text.trim().chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that answers once with this status and body; its address.
    async fn answering(status: &'static str, body: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            client.read_buf(&mut Vec::new()).await.unwrap();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            client.write_all(answer.as_bytes()).await.unwrap();
        });
        format!("http://{address}/incidents?token=hunter2")
    }

    #[tokio::test]
    async fn a_url_lets_a_fault_pass_only_if_it_answers_that_none_is_open() {
        let ask = async |url: String| Incident::Url(url).ask().await.says;
        for (body, good) in [("", true), ("none", true), ("[]\n", true), ("[{\"id\": 7}]", false)] {
            assert_eq!(ask(answering("200 OK", body).await).await.is_ok(), good, "{body}");
        }
        let broken = ask(answering("503 Busy", "").await).await.unwrap_err();
        assert!(broken.contains("cannot be read: status 503"), "{broken}");
        assert!(ask("http://127.0.0.1:1/".to_owned()).await.is_err(), "nobody answers");
        assert!(ask("nowhere".to_owned()).await.is_err(), "no URL at all");
    }

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
