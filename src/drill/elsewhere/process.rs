//! A program that leads to an observer: its standard input and output are the observer's.

use crate::error::{Context, Error, Kind, Result};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// What leads to an observer.
pub(super) struct Wire {
    /// What it reads.
    pub(super) input: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it says.
    pub(super) output: Box<dyn AsyncRead + Send + Unpin>,
    /// What it said last beside that.
    pub(super) said: Arc<Mutex<String>>,
    /// How it ended, in words. Ends the program when it is aborted.
    pub(super) end: JoinHandle<String>,
}

/// Begins a program.
pub(super) fn begin(command: &[String]) -> Result<Wire> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Error::input("beginning an observer: it names no program"))?;
    let doing = || format!("running {program}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Whoever stops the drill from its terminal stops the drill, which then ends the observer as it should.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context(Kind::Failed, doing)?;
    let missing = || Error::failed(format!("{}: it has no standard input and output", doing()));
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let said = Arc::new(Mutex::new(String::new()));
    let end = tokio::spawn(follow(child, stderr, Arc::clone(&said), program.clone()));
    Ok(Wire { input: Box::new(input), output: Box::new(output), said, end })
}

/// Follows a program to its end.
async fn follow(mut child: Child, stderr: ChildStderr, said: Arc<Mutex<String>>, program: String) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let heard = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if !line.trim().is_empty() {
                line.trim().clone_into(&mut said.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    };
    let (status, ()) = tokio::join!(child.wait(), heard);
    match status {
        Ok(status) => format!("{program} ended with {status}"),
        Err(error) => format!("{program}: {error}"),
    }
}
