//! A command in a container: its output as it comes, its exit code, and an end even if it has none of its own.

use super::Cluster;
use super::fault::{ApiError, Fault};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What is read at once from a stream.
const PIECE: usize = 64 << 10;
/// Of what a command says on stderr this much is kept, the end of it.
const STDERR_KEPT: usize = 4 << 10;

/// A command to run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The container; the pod's only or default one if not said.
    pub container: Option<&'a str>,
    /// Program and arguments.
    pub command: &'a [String],
    /// After this time it counts as failed, and the connection is closed.
    pub timeout: Duration,
    /// Goes on although the run was stopped: it undoes something, or whoever began it ends it.
    pub insists: bool,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Its exit code; `None` if the server did not say how it ended.
    pub code: Option<i32>,
    /// What the server said of it, if it did not end well.
    pub message: String,
    /// Bytes it wrote to stdout.
    pub bytes: u64,
    /// The end of what it wrote to stderr.
    pub stderr: String,
}

impl ExecOutcome {
    /// Whether it ended with 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for ExecOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "it ended with {code}")?,
            None => write!(f, "how it ended is not known")?,
        }
        if !self.message.is_empty() && self.code.is_none() {
            write!(f, ": {}", self.message)?;
        }
        let said = self.stderr.trim();
        if said.is_empty() { Ok(()) } else { write!(f, "; it said: {said}") }
    }
}

impl Cluster {
    /// Runs a command; `input` goes to its stdin, its stdout goes to `output` as it comes.
    ///
    /// # Errors
    /// It could not be begun, `output` failed, or the time ran out. A command that began and failed is an outcome.
    pub async fn exec(
        &self,
        exec: &Exec<'_>,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<ExecOutcome, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.0.client.clone(), exec.namespace);
        let params = AttachParams {
            container: exec.container.map(str::to_owned),
            stdin: input.is_some(),
            max_stdin_buf_size: Some(PIECE),
            max_stdout_buf_size: Some(PIECE),
            max_stderr_buf_size: Some(PIECE),
            ..AttachParams::default()
        };
        let run = async {
            let begun = pods.exec(exec.pod, exec.command.iter().cloned(), &params).await;
            let process = begun.map_err(|why| not_begun(&why))?;
            follow(process, input, output).await
        };
        // Dropping the run closes the connection, and the runtime ends the command's streams.
        tokio::select! {
            done = tokio::time::timeout(exec.timeout, run) => done.unwrap_or_else(|_| {
                Err(ApiError::of_silence(format!("it did not end within {} s", exec.timeout.as_secs())))
            }),
            () = self.0.cancel.cancelled(), if !exec.insists => Err(ApiError::new(Fault::Other, "the run was stopped")),
        }
    }
}

async fn follow(
    mut process: AttachedProcess,
    input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<ExecOutcome, ApiError> {
    let (stdin, stdout, stderr) = (process.stdin(), process.stdout(), process.stderr());
    let status = process.take_status();
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command that does not read to the end closes its stdin; how it ended says whether that was right.
            let _fed = tokio::io::copy(input, &mut stdin).await;
            let _closed = stdin.shutdown().await;
        }
    };
    let passed = async {
        let mut bytes = 0;
        if let Some(mut stdout) = stdout {
            bytes = tokio::io::copy(&mut stdout, output).await?;
        }
        output.flush().await?;
        Ok::<u64, std::io::Error>(bytes)
    };
    let said = async {
        let mut kept = Vec::new();
        if let Some(mut stderr) = stderr {
            let mut piece = vec![0; PIECE];
            while let Ok(read @ 1..) = stderr.read(&mut piece).await {
                kept.extend_from_slice(&piece[..read]);
                let surplus = kept.len().saturating_sub(STDERR_KEPT);
                kept.drain(..surplus);
            }
        }
        String::from_utf8_lossy(&kept).into_owned()
    };
    let ((), passed, stderr) = futures_util::join!(feed, passed, said);
    let bytes = passed.map_err(|why| ApiError::new(Fault::Other, format!("passing its output on: {why}")))?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let ended = process.join().await;
    let Some(status) = status else {
        let why = ended.err().map_or_else(|| "the connection was closed".to_owned(), |why| why.to_string());
        return Ok(ExecOutcome { code: None, message: why, bytes, stderr });
    };
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let said = causes.into_iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = match status.status.as_deref() {
        Some("Success") => Some(0),
        _ => said.and_then(|cause| cause.message).and_then(|message| message.parse().ok()),
    };
    Ok(ExecOutcome { code, message: status.message.unwrap_or_default(), bytes, stderr })
}

fn not_begun(why: &kube::Error) -> ApiError {
    match why {
        kube::Error::Api(status) => ApiError::of_answer(
            status.code,
            None,
            serde_json::json!({ "reason": status.reason, "message": status.message }).to_string().as_bytes(),
        ),
        other => ApiError::of_silence(format!("it could not be begun: {other}")),
    }
}
