//! What a command in a pod writes, as a point of a source of its own: no file lies anywhere meanwhile.

use super::hooks::{Hook, When, exec_of};
use super::plan::SnapshotPlan;
use crate::error::{Error, Result};
use crate::id::{RunId, SourceName};
use crate::repository::manifest::{Chunk, ObjectLine, PointKind, Range};
use crate::repository::{BeginPoint, PointWriter, Repository};
use crate::rowsum::RowSum;
use crate::snapshot::facts::{Missing, OutputFacts, OutputPoint, kind as line};
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The size of a chunk of output.
const CHUNK: usize = 4 << 20;
/// What the pipe between the command and the chunks holds.
const PIPE: usize = 256 << 10;

/// What taking outputs gave.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pub(super) points: Vec<OutputPoint>,
    pub(super) missing: Vec<Missing>,
}

/// Takes every output that pods declare, one after another. An output that fails is in what is given back.
pub(super) async fn take(
    plan: &SnapshotPlan,
    repository: &Repository,
    (began, rebind): (Duration, bool),
) -> Result<Outputs> {
    let mut outputs = Outputs::default();
    for hook in &plan.hooks {
        let When::Output { name, allow_empty } = &hook.when else { continue };
        match one(plan, repository, hook, (name, *allow_empty), (began, rebind)).await {
            Ok(point) => outputs.points.push(point),
            Err(why) if repository.cancel().is_cancelled() => return Err(why),
            Err(why) => {
                let what = format!("output {name} of pod {}", hook.pod);
                outputs.missing.push(Missing { what, why: why.to_string() });
            }
        }
    }
    Ok(outputs)
}

async fn one(
    plan: &SnapshotPlan,
    repository: &Repository,
    hook: &Hook,
    (name, allow_empty): (&str, bool),
    (start, rebind): (Duration, bool),
) -> Result<OutputPoint> {
    if !hook.running {
        return Err(Error::failed("the pod does not run"));
    }
    let source: SourceName = format!("{}.{name}", plan.source).parse()?;
    let facts = OutputFacts {
        namespace: plan.request.namespace.clone(),
        pod: hook.pod.clone(),
        container: hook.container.clone(),
        command: hook.command.clone(),
    };
    let now = repository.clock().now();
    let identity = format!("output {name} of {}", plan.identity);
    let mut begin = BeginPoint::new(source.clone(), PointKind::Command, identity, RunId::at(now), now);
    begin.rebind = rebind;
    begin.tier.clone_from(&plan.request.tier);
    begin.lock_until = plan.request.lock_until;
    begin.details = serde_json::to_value(facts).map_err(|why| Error::failed("describing an output").because(why))?;
    let writer = repository.begin(begin).await?;
    let bytes = match take_stdout(plan, &writer, hook, name, allow_empty).await {
        Ok(bytes) => bytes,
        Err(error) => {
            writer.abandon().await?;
            return Err(error);
        }
    };
    let seconds = repository.clock().monotonic().saturating_sub(start).as_secs_f64();
    let committed = writer.commit(seconds).await?;
    Ok(OutputPoint { source: source.to_string(), point: committed.point.to_string(), pod: hook.pod.clone(), bytes })
}

/// Runs the command and stores what it writes; gives the number of bytes.
async fn take_stdout(
    plan: &SnapshotPlan,
    writer: &PointWriter,
    hook: &Hook,
    name: &str,
    allow_empty: bool,
) -> Result<u64> {
    let (mut entry, exit) = tokio::io::duplex(PIPE);
    let exec = exec_of(&plan.request.namespace, hook);
    let command = async {
        let outcome = plan.cluster.exec(&exec, None, &mut entry).await;
        // The end of the pipe is the end of the output.
        drop(entry);
        outcome
    };
    let (outcome, chunks) = futures_util::join!(command, cut(exit, writer));
    // A store that failed broke the pipe; that is the cause, and not what the command said of it.
    let chunks = chunks?;
    let outcome = outcome.map_err(|why| why.during("running its command"))?;
    if !outcome.is_success() {
        return Err(Error::failed(format!("running its command: {outcome}")));
    }
    let bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    if bytes == 0 && !allow_empty {
        return Err(Error::failed("running its command: it ended with 0 and wrote nothing")
            .hint("if that is right, say davit.dev/output-allow-empty: \"true\""));
    }
    let number = chunks.len() as u64;
    if number > 0 {
        writer.add_range(Range { object: 0, range: 0, pages: None, chunks }).await?;
    }
    let object = ObjectLine {
        object: 0,
        kind: line::OUTPUT.to_owned(),
        name: name.to_owned(),
        rows: RowSum::default(),
        bytes,
        ranges: u32::from(number > 0),
        chunks: number,
        details: serde_json::Value::Null,
    };
    writer.add_object(object).await?;
    Ok(bytes)
}

async fn cut(mut output: impl AsyncRead + Unpin, writer: &PointWriter) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        while chunk.len() < CHUNK {
            let read = output.read_buf(&mut chunk).await;
            if read.map_err(|why| Error::failed("reading an output").because(why))? == 0 {
                break;
            }
        }
        if chunk.is_empty() {
            return Ok(chunks);
        }
        chunks.push(writer.put_chunk(chunk.freeze(), RowSum::default()).await?.chunk);
    }
}
