//! From the object in the store to the rows in the new database.

use super::{Plan, Request};
use crate::backup::foreign::archive::Rendering;
use crate::backup::foreign::codec::{Content, Taken};
use crate::backup::foreign::player::{self, PlayReport, Prelude, Script};
use crate::backup::target::Beside;
use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress};
use crate::postgres::{Session, connect};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

/// The stage of reading the object, for progress: bytes as they lie in the store.
const READING: &str = "reading";

/// The stage of gathering statistics.
const ANALYZE: &str = "analyze";

/// Nothing is promised before the database gets its name, and that commit waits for the disk. Indexes are built in
/// memory where the server allows no more by itself.
const SETTINGS: &str = "SET default_transaction_read_only = off; SET synchronous_commit = off; \
    SELECT pg_catalog.set_config('maintenance_work_mem', GREATEST(setting::bigint, 262144)::text, false) \
    FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'";

/// The script of a dump, and the program that renders it, if one has to.
pub(super) struct Stream {
    script: Script,
    rendering: Option<Rendering>,
    name: String,
    progress: SharedProgress,
    size: u64,
}

impl Stream {
    pub(super) async fn open(plan: &Plan, progress: &SharedProgress) -> Result<Self> {
        let opened = plan.source.open().await?;
        // The object was looked at before; if it is another one now, the plan does not hold.
        if (opened.codec, opened.content) != (plan.codec, plan.content) {
            return Err(Error::input(format!("{} was replaced while its restore was planned", plan.source.url)));
        }
        let size = plan.source.meta.size;
        progress.began(READING, Amount { bytes: size, ..Amount::default() });
        let watched = Watched { inner: opened.reader, taken: opened.taken, told: 0, progress: progress.clone() };
        let (name, limits) = (plan.source.name().to_owned(), plan.request.limits);
        let (script, rendering) = match (&plan.tools, plan.content) {
            (Some(tools), Content::Archive { .. }) => {
                let (rendering, rendered) = Rendering::begin(tools, watched, &name)?;
                (Script::read(rendered, limits, &name), Some(rendering))
            }
            _ => (Script::read(watched, limits, &name), None),
        };
        Ok(Self { script, rendering, name, progress: progress.clone(), size })
    }

    /// Reads up to where a database is needed.
    pub(super) async fn prelude(&mut self, request: &Request, cancel: &CancellationToken) -> Result<Prelude> {
        tokio::select! {
            prelude = Prelude::read(&mut self.script, request.database.as_deref()) => prelude,
            () = cancel.cancelled() => Err(Error::failed("stopped on request")),
        }
    }

    /// Plays the rest and sees that the object was whole.
    async fn play(
        mut self,
        prelude: Prelude,
        session: &Session,
        request: &Request,
        cancel: &CancellationToken,
    ) -> Result<PlayReport> {
        let options = player::Options {
            name: self.name.clone(),
            limits: request.limits,
            unmarked: request.trust,
            adjust: request.adjust.clone(),
        };
        let progress = &*self.progress;
        let played = player::play_on(&mut self.script, prelude, session, &options, progress, cancel).await;
        let played = match self.rendering {
            Some(rendering) => rendering.end(played, self.script.is_at_end(), &self.name, cancel).await,
            None => played,
        };
        if played.is_ok() {
            self.progress.ended(READING, Amount { bytes: self.size, ..Amount::default() });
        }
        played
    }
}

/// Fills the new database; its statistics are gathered, because no dump holds them.
pub(super) async fn fill(
    beside: &Beside,
    stream: Stream,
    prelude: Prelude,
    request: &Request,
    progress: &SharedProgress,
    cancel: &CancellationToken,
) -> Result<PlayReport> {
    let session = Box::pin(connect(beside.conn(), "restore")).await?;
    session.execute("preparing a session for restoring", SETTINGS).await?;
    let played = stream.play(prelude, &session, request, cancel).await?;
    session.close().await;
    // A new session: the script has left its own settings on the other.
    let session = Box::pin(connect(beside.conn(), "restore")).await?;
    progress.began(ANALYZE, Amount::default());
    tokio::select! {
        outcome = session.execute("gathering statistics of the restored tables", "ANALYZE") => outcome?,
        () = cancel.cancelled() => {
            session.cancel().await?;
            return Err(Error::failed("stopped on request"));
        }
    }
    progress.ended(ANALYZE, Amount::default());
    session.close().await;
    Ok(played)
}

/// Tells how much of the object has been read.
struct Watched {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    taken: Taken,
    told: u64,
    progress: SharedProgress,
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let taken = this.taken.bytes();
        if taken > this.told {
            this.progress.advanced(READING, Amount { bytes: taken - this.told, ..Amount::default() });
            this.told = taken;
        }
        Poll::Ready(Ok(()))
    }
}
