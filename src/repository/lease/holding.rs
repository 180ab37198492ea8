//! The holder's side of a lease: its writes, whose outcome may be unknown, and what it knows of its own hold.

use super::{Claim, FORMAT, RENEWALS_PER_TERM, Record};
use crate::clock::SharedClock;
use crate::error::{Context, Error, Kind, Result};
use crate::store::{ETag, ObjectKey, Put, SharedStore, StoreContext, StoreError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Who a write left as the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// We did it.
    Ours,
    /// Somebody else's record is there.
    Theirs,
}

/// One acquisition of one lease.
#[derive(Debug)]
pub(super) struct Holding {
    store: SharedStore,
    clock: SharedClock,
    name: String,
    key: ObjectKey,
    term: Duration,
    /// One write at a time, so that a renewal and a release never race each other.
    writing: tokio::sync::Mutex<()>,
    held: Mutex<Option<Held>>,
    lost: CancellationToken,
    /// Why the last renewal did not go through, for whoever has to say why a run ended.
    why: Mutex<Option<Error>>,
}

#[derive(Debug, Clone)]
struct Held {
    record: Record,
    etag: ETag,
    /// When the write that proved the hold was *begun*: a watcher's term began after that.
    proven: Duration,
}

impl Holding {
    pub(super) fn new(store: &SharedStore, clock: &SharedClock, claim: &Claim) -> Result<Self> {
        let key =
            ObjectKey::new(format!("leases/{}", claim.name)).doing(|| format!("naming the lease {}", claim.name))?;
        Ok(Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            name: claim.name.clone(),
            key,
            term: claim.term,
            writing: tokio::sync::Mutex::new(()),
            held: Mutex::new(None),
            lost: CancellationToken::new(),
            why: Mutex::new(None),
        })
    }

    /// What the lease's object says now; `None` if it was never taken.
    pub(super) async fn look(&self) -> Result<Option<(Record, ETag)>> {
        let doing = || format!("reading the lease {}", self.name);
        let object = match self.store.get(&self.key, None).await {
            Ok(object) => object,
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.explain(doing())),
        };
        let record: Record = serde_json::from_slice(&object.body).context(Kind::Failed, doing)?;
        if record.format != FORMAT {
            let why = format!("its format is {}, this davit knows {FORMAT}", record.format);
            return Err(Error::failed(doing()).because(why));
        }
        Ok(Some((record, object.meta.etag)))
    }

    /// Writes a record over the one whose tag is `expected`, or as the first one.
    pub(super) async fn put(&self, record: Record, expected: Option<&ETag>) -> Result<Wrote> {
        let doing = || format!("writing the lease {}", self.name);
        let begun = self.clock.monotonic();
        let put = Put::new(serde_json::to_vec(&record).context(Kind::Failed, doing)?);
        let stored = match expected {
            None => self.store.put_new(&self.key, put).await,
            Some(etag) => self.store.put_if_match(&self.key, put, etag).await,
        };
        let etag = match stored {
            Ok(stored) => stored.etag,
            // The write may be ours all the same: an answer was lost and the request sent again.
            Err(
                StoreError::AlreadyExists(_)
                | StoreError::Changed(_)
                | StoreError::NotFound(_)
                | StoreError::OutcomeUnknown { .. },
            ) => match self.look().await? {
                Some((found, etag)) if found == record => etag,
                _ => return Ok(Wrote::Theirs),
            },
            Err(error) => return Err(error.explain(doing())),
        };
        *self.held() = Some(Held { record, etag, proven: begun });
        Ok(Wrote::Ours)
    }

    pub(super) async fn renew(&self) -> Result<()> {
        let _one_at_a_time = self.writing.lock().await;
        let held = self.current()?;
        let next = Record { renewals: held.record.renewals + 1, ..held.record };
        self.replace(next, &held.etag).await
    }

    pub(super) async fn release(&self) -> Result<()> {
        let _one_at_a_time = self.writing.lock().await;
        let held = self.current()?;
        let next = Record { released: true, renewals: held.record.renewals + 1, ..held.record };
        self.replace(next, &held.etag).await
    }

    async fn replace(&self, record: Record, etag: &ETag) -> Result<()> {
        if self.put(record, Some(etag)).await? == Wrote::Ours {
            return Ok(());
        }
        let taken = |who: &str| {
            Error::failed(format!("keeping the lease {}: {who} holds it now", self.name))
                .hint("another runner took over while this one could not renew; its point is the one that counts")
        };
        self.say_why(taken("somebody else"));
        self.lost.cancel();
        let now = self.look().await?;
        Err(taken(&now.map_or_else(|| "nobody".to_owned(), |(record, _)| record.holder)))
    }

    /// Renews until the lease is lost. A renewal that fails is tried again at the next turn, as long as the term of
    /// the last good one lasts.
    pub(super) async fn keep_renewed(self: Arc<Self>) {
        let pause = self.term / RENEWALS_PER_TERM;
        while !self.lost.is_cancelled() {
            self.clock.wait_until(self.clock.monotonic() + pause).await;
            let deadline = self.clock.monotonic() + self.remaining();
            tokio::select! {
                renewed = self.renew() => if let Err(error) = renewed {
                    tracing::warn!(lease = %self.name, %error, "the lease could not be renewed");
                    if !self.lost.is_cancelled() {
                        self.say_why(error.during(self.unheard()));
                    }
                },
                () = self.clock.wait_until(deadline) => {}
            }
            if self.check().is_err() {
                self.lost.cancel();
            }
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.lost.is_cancelled() || self.remaining() == Duration::ZERO {
            let why = "no renewal went through for its whole term, or somebody else took it";
            return Err(Error::failed(format!("keeping the lease {}: {why}", self.name)));
        }
        Ok(())
    }

    /// Why the lease is lost: somebody else has it, or the store did not take a renewal for a whole term.
    pub(super) fn loss(&self) -> Error {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).take();
        why.unwrap_or_else(|| {
            let doing = format!("{}: the store did not answer", self.unheard());
            Error::failed(doing).hint("check that the store can be reached")
        })
    }

    fn unheard(&self) -> String {
        format!("keeping the lease {}: no renewal went through for {:?}", self.name, self.term)
    }

    fn say_why(&self, error: Error) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn fence(&self) -> u64 {
        self.held().as_ref().map_or(0, |held| held.record.fence)
    }

    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    fn remaining(&self) -> Duration {
        let until = self.held().as_ref().map_or(Duration::ZERO, |held| held.proven + self.term);
        until.saturating_sub(self.clock.monotonic())
    }

    fn current(&self) -> Result<Held> {
        self.held().clone().ok_or_else(|| Error::failed(format!("keeping the lease {}: it is not held", self.name)))
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
