//! The definitions of a database, by PostgreSQL's own hand: an archive without rows, and the same as SQL for whoever has
//! no `pg_restore`. Also the roles and tablespaces of the cluster.
//!
//! `--section` and not `--schema-only`, which would lose the owners of large objects and the refresh of materialised
//! views. The archive streams through us: to the store and into two `pg_restore`s at once, never onto a disk.

use super::chunker::CHUNK_BYTES;
use super::outlet::{Object, Outlet, Putting};
use crate::backup::facts::{OfDatabase, kind};
use crate::error::{Error, Result};
use crate::postgres::ConnInfo;
use crate::postgres::tools::{Running, Tool, Tools};
use crate::rowsum::RowSum;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The stage that dumps definitions.
pub(crate) const DEFINITIONS: &str = "definitions";

/// The head of an archive holds the time it was made: cut off there, the rest may be the same as last time.
const HEAD: usize = 4096;

/// What PostgreSQL's programs write last into the script of a database.
const END_OF_DATABASE: &str = "-- PostgreSQL database dump complete";

/// The same for the script of roles and tablespaces.
const END_OF_CLUSTER: &str = "-- PostgreSQL database cluster dump complete";

/// The end mark is found in so many bytes: little comes after it.
const TAIL: usize = 512;

/// What is read from a program at once.
const READ: usize = 64 * 1024;

/// How to dump the definitions of one database.
#[derive(Debug, Clone)]
pub(crate) struct Definitions<'a> {
    /// The programs.
    pub(crate) tools: &'a Tools,
    /// The database, on the one host where the snapshot is.
    pub(crate) conn: &'a ConnInfo,
    /// Its name in the manifest.
    pub(crate) database: &'a str,
    /// What `pg_dump` calls itself on the server.
    pub(crate) name: &'a str,
    /// The snapshot.
    pub(crate) snapshot: &'a str,
    /// Tables to leave out with their definition, as SQL writes them.
    pub(crate) leave_out: &'a [String],
    /// What it is not to read, as patterns: the values of sequences.
    pub(crate) without_rows: &'a [String],
    /// How long to wait for a lock.
    pub(crate) lock_budget: Duration,
}

impl Definitions<'_> {
    /// Dumps the definitions into three objects of the point.
    pub(crate) async fn dump(&self, outlet: &Outlet) -> Result<()> {
        let stop = outlet.crew.stop();
        let mut dump = self.pg_dump().spawn()?;
        let mut pre = self.pg_restore("pre-data").spawn()?;
        let mut post = self.pg_restore("post-data").spawn()?;
        let archive = tee(stdout(&mut dump)?, [stdin(&mut pre)?, stdin(&mut post)?]);
        let (archived, _, _) = tokio::try_join!(
            self.store(outlet, kind::ARCHIVE, archive, dump, stop),
            self.store(outlet, kind::PRE_DATA, stdout(&mut pre)?, pre, stop),
            self.store(outlet, kind::POST_DATA, stdout(&mut post)?, post, stop),
        )?;
        if archived == 0 {
            return Err(Error::failed(format!("dumping the definitions of {}: pg_dump wrote nothing", self.database)));
        }
        Ok(())
    }

    fn pg_dump(&self) -> Tool {
        // The keeper has these locks, so whoever stands in the way of them waits behind us. That is for the watcher to see,
        // which names the query; it has to be the first to lose patience.
        let wait = (self.lock_budget * 2 + Duration::from_secs(5)).as_millis().clamp(1, i32::MAX as u128);
        Tool::new(&self.tools.program("pg_dump"), format!("dumping the definitions of {}", self.database))
            .database(self.conn)
            .env("PGAPPNAME", self.name)
            .args(["-Fc", "-Z0", "--section=pre-data", "--section=post-data", "--no-password"])
            .arg(format!("--snapshot={}", self.snapshot))
            .arg(format!("--lock-wait-timeout={wait}"))
            .args(self.leave_out.iter().map(|table| format!("--exclude-table={table}")))
            .args(self.without_rows.iter().map(|pattern| format!("--exclude-table-data={pattern}")))
    }

    fn pg_restore(&self, section: &str) -> Tool {
        let doing = format!("writing the {section} of {} as SQL", self.database);
        Tool::new(&self.tools.program("pg_restore"), doing)
            .args(["-Fc", "-f", "-"])
            .arg(format!("--section={section}"))
            .fed()
    }

    /// Stores what a program prints as one object; gives its bytes.
    async fn store(
        &self,
        outlet: &Outlet,
        kind: &'static str,
        output: impl AsyncRead + Unpin,
        program: Running,
        stop: &CancellationToken,
    ) -> Result<u64> {
        let object = outlet.object(kind, format!("{kind} of {}", self.database));
        let doing = || format!("reading the {kind} of {}", self.database);
        let is_archive = kind == kind::ARCHIVE;
        let first_chunk = if is_archive { HEAD } else { CHUNK_BYTES };
        let tail = store_stream(outlet, &object, first_chunk, output, doing).await?;
        // An exit code of 0 is no proof, but any other one is a failure.
        program.finish(stop).await?;
        // An archive that is cut off is noticed by the programs that read it.
        if !is_archive {
            refuse_cut_off(&tail, END_OF_DATABASE, doing)?;
        }
        let totals = outlet.end_object(&object, &OfDatabase { database: self.database.to_owned() }).await?;
        Ok(totals.bytes)
    }
}

/// Dumps roles and tablespaces; their passwords too where the provider does not hide them.
pub(crate) async fn dump_globals(outlet: &Outlet, tools: &Tools, conn: &ConnInfo, passwords: bool) -> Result<()> {
    let tool = Tool::new(&tools.program("pg_dumpall"), "dumping roles and tablespaces")
        .database(conn)
        .args(["--globals-only", "--no-password"])
        .arg(format!("--database={}", conn.database()));
    let tool = if passwords { tool } else { tool.arg("--no-role-passwords") };
    let mut dump = tool.spawn()?;
    let object = outlet.object(kind::GLOBALS, "roles and tablespaces");
    let output = stdout(&mut dump)?;
    let doing = || "reading roles and tablespaces".to_owned();
    let tail = store_stream(outlet, &object, CHUNK_BYTES, output, doing).await?;
    dump.finish(outlet.crew.stop()).await?;
    refuse_cut_off(&tail, END_OF_CLUSTER, doing)?;
    outlet.end_object(&object, &serde_json::Value::Null).await?;
    Ok(())
}

/// A program that was stopped by others may have said that all was well.
fn refuse_cut_off(tail: &[u8], mark: &str, doing: impl Fn() -> String) -> Result<()> {
    if memchr::memmem::find(tail, mark.as_bytes()).is_some() {
        return Ok(());
    }
    Err(Error::failed(format!("{}: it ended without its end mark", doing())).hint("run the backup again"))
}

fn stdout(program: &mut Running) -> Result<ChildStdout> {
    program.stdout.take().ok_or_else(|| Error::failed("reading a program's output: it has none"))
}

fn stdin(program: &mut Running) -> Result<ChildStdin> {
    program.stdin.take().ok_or_else(|| Error::failed("feeding a program: it takes no input"))
}

/// Stores a stream of bytes as the only range of `object`, in chunks that do not depend on how it arrives; gives its last
/// bytes.
async fn store_stream(
    outlet: &Outlet,
    object: &Arc<Object>,
    first_chunk: usize,
    mut output: impl AsyncRead + Unpin,
    doing: impl Fn() -> String,
) -> Result<Vec<u8>> {
    let mut putting: Vec<Putting> = Vec::new();
    let mut tail = Vec::new();
    let mut limit = first_chunk;
    loop {
        // Not from the shared buffers: these streams feed each other, and one without a buffer would stop the others.
        let mut text = BytesMut::new();
        let whole = fill(&mut output, &mut text, limit).await.map_err(|error| Error::failed(doing()).because(error))?;
        limit = CHUNK_BYTES;
        tail.extend_from_slice(&text[text.len().saturating_sub(TAIL)..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
        if !text.is_empty() {
            putting.push(outlet.put_text(text.freeze(), RowSum::default()));
        }
        if !whole {
            break;
        }
    }
    outlet.write_range(object, None, putting).await?;
    Ok(tail)
}

/// Reads until `text` holds `limit` bytes; false if the stream ended before.
async fn fill(output: &mut (impl AsyncRead + Unpin), text: &mut BytesMut, limit: usize) -> std::io::Result<bool> {
    while text.len() < limit {
        text.reserve(READ.min(limit - text.len()));
        let room = u64::try_from(limit - text.len()).unwrap_or(u64::MAX);
        if output.take(room).read_buf(text).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Lets two programs read along; gives what was read.
fn tee(mut from: ChildStdout, into: [ChildStdin; 2]) -> impl AsyncRead + Unpin {
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(4);
    tokio::spawn(async move {
        let mut into = into.map(Some);
        loop {
            let mut piece = BytesMut::with_capacity(READ);
            let piece = match from.read_buf(&mut piece).await {
                Ok(0) => return,
                Ok(_) => Ok(piece.freeze()),
                Err(error) => Err(error),
            };
            if let Ok(bytes) = &piece {
                for reader in &mut into {
                    // A program that has seen enough closes its input; its exit code tells whether it was content.
                    if let Some(open) = reader
                        && open.write_all(bytes).await.is_err()
                    {
                        *reader = None;
                    }
                }
            }
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    Box::pin(tokio_util::io::StreamReader::new(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    })))
}
