//! Leases: who may run. An object per lease, moved by conditional writes only.
//!
//! A holder renews its lease three times per term. Whoever finds a lease held watches it: as soon as it changes,
//! its holder is alive and the watcher is refused; if it stays unchanged for its whole term *on the watcher's
//! monotonic clock*, its holder is dead and the lease is taken over. No wall clock is ever compared.
//!
//! A lease spares two runners each other's work. Safety does not rest on it: a holder that slept through its term
//! is caught by conditional writes and by the fence of a sweep, not here. The object is never deleted, so that the
//! fencing number only ever grows.

mod holding;
#[cfg(test)]
mod tests;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::id::{Nonce, SourceName};
use crate::store::{ETag, SharedStore};
use holding::{Holding, Wrote};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The newest lease format this build reads and the only one it writes.
const FORMAT: u32 = 1;

/// The term unless somebody chooses another: long enough to ride out a burst of 503, short enough to wait for.
pub const TERM: Duration = Duration::from_mins(1);

/// Two renewals may fail before a lease is lost.
const RENEWALS_PER_TERM: u32 = 3;

/// How often a waiting runner looks, within one term.
const LOOKS_PER_TERM: u32 = 12;

/// Who wants which lease for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The lease, such as `backup-shop`: part of an object's name.
    pub name: String,
    /// Who asks, for the message that a second runner gets: host and process.
    pub holder: String,
    /// How long the lease lasts without a renewal.
    pub term: Duration,
}

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    holder: String,
    /// Tells two acquisitions apart even if the holder's name is the same.
    token: Nonce,
    fence: u64,
    term_milliseconds: u64,
    /// By the holder's wall clock: shown, never compared.
    taken: Timestamp,
    renewals: u64,
    released: bool,
}

impl Record {
    fn first(claim: &Claim, fence: u64, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            holder: claim.holder.clone(),
            token: Nonce::random(),
            fence,
            term_milliseconds: u64::try_from(claim.term.as_millis()).unwrap_or(u64::MAX),
            taken: now,
            renewals: 0,
            released: false,
        }
    }

    fn term(&self) -> Duration {
        Duration::from_millis(self.term_milliseconds)
    }
}

impl Claim {
    /// What a run that makes points of `source` claims.
    pub fn of_source(source: &SourceName, holder: &str, term: Duration) -> Self {
        Self { name: format!("backup-{source}"), holder: holder.to_owned(), term }
    }
}

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    holding: Arc<Holding>,
    keeper: Option<JoinHandle<()>>,
}

impl Lease {
    /// Takes a lease and keeps it renewed in the background until it is released, dropped or lost.
    ///
    /// It may wait: up to a third of the term if the holder is alive (then it is refused with the holder's name and
    /// age), up to the whole term if the holder is dead.
    pub async fn acquire(
        store: &SharedStore,
        clock: &SharedClock,
        claim: &Claim,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let mut lease = Self::take(store, clock, claim, cancel).await?;
        lease.keeper = Some(tokio::spawn(Arc::clone(&lease.holding).keep_renewed()));
        Ok(lease)
    }

    /// Takes a lease; renewing it in time is up to the caller.
    pub async fn take(
        store: &SharedStore,
        clock: &SharedClock,
        claim: &Claim,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let holding = Holding::new(store, clock, claim)?;
        let mut watched: Option<Watched> = None;
        loop {
            let looked = clock.monotonic();
            let Some((record, etag)) = holding.look().await? else {
                if holding.put(Record::first(claim, 1, clock.now()), None).await? == Wrote::Ours {
                    return Ok(Self { holding: Arc::new(holding), keeper: None });
                }
                continue;
            };
            let dead = match &watched {
                None => false,
                Some(watched) if watched.etag != etag && !record.released => {
                    return Err(refusal(claim, &record, clock));
                }
                Some(watched) => looked.saturating_sub(watched.since) >= record.term(),
            };
            if dead || record.released {
                let next = Record::first(claim, record.fence + 1, clock.now());
                if holding.put(next, Some(&etag)).await? == Wrote::Ours {
                    return Ok(Self { holding: Arc::new(holding), keeper: None });
                }
                // Somebody was quicker. They are alive, so they are watched like any other holder.
                watched = None;
                continue;
            }
            let watched = watched.get_or_insert_with(|| Watched { etag, since: clock.monotonic() });
            let remaining = (watched.since + record.term()).saturating_sub(clock.monotonic());
            let pause = (record.term() / LOOKS_PER_TERM).min(remaining).max(Duration::from_millis(1));
            tokio::select! {
                () = clock.sleep(pause) => {}
                () = cancel.cancelled() => return Err(Error::failed(format!("{}: interrupted", waiting(claim, &record)))),
            }
        }
    }

    /// What to tell whoever waits for a lease: who holds it, and for how long that may take. Nothing where it is free.
    pub async fn wait_for(store: &SharedStore, clock: &SharedClock, claim: &Claim) -> Result<Option<String>> {
        let looked = Holding::new(store, clock, claim)?.look().await?;
        let held = looked.filter(|(record, _)| !record.released);
        Ok(held.map(|(record, _)| {
            let term = SignedDuration::try_from(record.term()).unwrap_or(SignedDuration::MAX);
            format!(
                "{} holds the lease {}: waiting up to {term:#} to see whether it lives; one of a runner that was killed is taken over then",
                record.holder, claim.name
            )
        }))
    }

    /// Who holds a lease, as its object says: a holder that died is shown until somebody takes it over.
    pub async fn holder(store: &SharedStore, clock: &SharedClock, name: &str) -> Result<Option<String>> {
        let claim = Claim { name: name.to_owned(), holder: String::new(), term: TERM };
        let looked = Holding::new(store, clock, &claim)?.look().await?;
        Ok(looked.filter(|(record, _)| !record.released).map(|(record, _)| record.holder))
    }

    /// Grows with every acquisition of this lease.
    pub fn fence(&self) -> u64 {
        self.holding.fence()
    }

    /// Says now that we are still alive. An error that is not a loss may pass; see [`Lease::check`].
    pub async fn renew(&self) -> Result<()> {
        self.holding.renew().await
    }

    /// Fails if the lease is lost, or not known to be ours any more because no renewal went through for its term.
    pub fn check(&self) -> Result<()> {
        self.holding.check()
    }

    /// Is cancelled when the lease is lost; only an acquired lease watches itself.
    pub fn lost(&self) -> &CancellationToken {
        self.holding.lost()
    }

    /// Why it was lost, for the run that ends because of it.
    pub fn loss(&self) -> Error {
        self.holding.loss()
    }

    /// Gives the lease back, so that the next runner need not wait.
    pub async fn release(mut self) -> Result<()> {
        self.stop();
        self.holding.release().await
    }

    /// Gives the lease back after a run; that this failed is no failure of the run, and is told.
    pub async fn release_or_warn(self, warnings: &mut Vec<String>) {
        if let Err(error) = self.release().await {
            warnings.push(format!("{error}; it runs out by itself"));
        }
    }

    fn stop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
    }
}

impl Drop for Lease {
    /// Without a release the lease runs out by itself.
    fn drop(&mut self) {
        self.stop();
    }
}

struct Watched {
    etag: ETag,
    since: Duration,
}

fn waiting(claim: &Claim, record: &Record) -> String {
    format!("waiting whether {}, which holds the lease {}, is alive", record.holder, claim.name)
}

fn refusal(claim: &Claim, record: &Record, clock: &SharedClock) -> Error {
    let age = clock.now().duration_since(record.taken).max(SignedDuration::ZERO);
    let age = SignedDuration::from_secs(age.as_secs());
    Error::refused(format!("taking the lease {}: {} has held it for {age:#}", claim.name, record.holder))
        .hint("let that run end; if it is dead, its lease is taken over by itself")
}
