//! The end of a point: manifest, signature, head, catalogue, in this order. The signature is the commit.

use super::{Draft, PointWriter};
use crate::error::{Error, Result};
use crate::id::{PointId, Sha256};
use crate::repository::catalogue::{Entry, PointSummary};
use crate::repository::chain::{Head, HeadState, Link};
use crate::repository::manifest::{End, Header, Line};
use crate::repository::record::{Privacy, RecordError};
use crate::repository::{Repository, failed, layout};
use crate::store::{Lock, Put, StoreError};
use std::sync::PoisonError;
use std::time::Duration;

/// How often another run may move the head under us.
const HEAD_ATTEMPTS: u32 = 5;
/// How long an abandoned run may take to write down what it stored last.
const LAST_BATCH: Duration = Duration::from_secs(10);

/// A committed point.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// Its id.
    pub point: PointId,
    /// Its place in the chain: worth keeping where the store's owner cannot reach it.
    pub sequence: u64,
    /// SHA-256 of its sealed manifest.
    pub manifest_sha256: Sha256,
    /// Totals.
    pub end: End,
    /// What went wrong after the commit and is mended by the next run.
    pub warnings: Vec<String>,
}

/// A manifest that was sealed, and what it says.
struct Ready {
    header: Header,
    end: End,
    epochs: Vec<u32>,
    link: Link,
    body: bytes::Bytes,
    signature: String,
}

impl PointWriter {
    /// Ends the point: everything it names is stored and locked; now it says so, signed.
    pub async fn commit(&self, seconds: f64) -> Result<Committed> {
        let doing = || format!("committing point {}", self.point());
        let draft = self.manifest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let draft = draft.ok_or_else(|| Error::failed(format!("{}: it was ended already", doing())))?;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = super::DedupIndex::default();
        let chain = draft.chain.clone();
        let ready = self.seal_manifest(draft, seconds).await?;
        self.refuse_a_moved_chain(chain.as_ref()).await?;
        let lock = self.lock.as_ref().map(|(lock, _)| *lock);
        let manifest_stored = ready.body.len() as u64;
        let manifest = Put { body: ready.body, sha256: ready.link.manifest_sha256, lock };
        self.refuse_if_cancelled()?;
        let key = layout::manifest(self.source(), self.point());
        self.repository.store().put_new(&key, manifest).await.map_err(failed(doing()))?;
        // If we die here, the next run sees an intent without a signature: an unfinished run whose chunks it may use.
        self.refuse_if_cancelled()?;
        self.put_signature(&ready.signature, lock).await?;
        // If we die here, the next run finds a signed point above the head, accepts it and moves the head.
        let summary = PointSummary::new(ready.link.clone(), &ready.header, &ready.end, ready.epochs, manifest_stored);
        let warnings = self.publish(&ready.link, summary).await;
        Ok(Committed {
            point: self.point().clone(),
            sequence: self.sequence,
            manifest_sha256: ready.link.manifest_sha256,
            end: ready.end,
            warnings,
        })
    }

    fn refuse_if_cancelled(&self) -> Result<()> {
        if self.repository.cancel().is_cancelled() {
            return Err(Error::failed(format!("committing point {}: the run was stopped", self.point())));
        }
        Ok(())
    }

    /// Gives the point up. What it stored is used by the next run; its intent stays for the sweep to close.
    pub async fn abandon(&self) -> Result<()> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The store may be what failed; the next run can do without this.
        if tokio::time::timeout(LAST_BATCH, self.journal.flush(&self.repository, &self.intent)).await.is_err() {
            tracing::debug!(point = %self.point(), "the last journal batch was not written in time");
        }
        Ok(())
    }

    async fn seal_manifest(&self, mut draft: Draft, seconds: f64) -> Result<Ready> {
        if let Some(object) = draft.open.keys().next() {
            return Err(Error::failed(format!(
                "committing point {}: object {object} has ranges but no line",
                self.point()
            )));
        }
        let totals = self.totals();
        let mut end = std::mem::take(&mut draft.named);
        end.chunks_new = totals.chunks_new;
        end.stored_new = totals.stored_new;
        end.seconds = seconds;
        draft.write(&Line::End(end.clone()))?;
        let Draft { header, stream, epochs, .. } = draft;
        let sealed = self.repository.off_async(move || stream.finish()).await??;
        let link = Link {
            point: self.point().clone(),
            sequence: self.sequence,
            previous: header.previous,
            manifest_sha256: sealed.sha256,
        };
        let comment = link.comment(self.repository.id(), self.source());
        let signature = self.repository.signer()?.sign(&sealed.prehash, &comment);
        Ok(Ready { header, end, epochs: epochs.into_iter().collect(), link, body: sealed.body, signature })
    }

    /// Two runs of one source without a lease: the slower one fails before it signs.
    async fn refuse_a_moved_chain(&self, chain: Option<&Link>) -> Result<()> {
        let HeadState::Signed(head, _) = self.repository.head(self.source()).await? else { return Ok(()) };
        if head.sequence < self.sequence || chain.is_some_and(|link| link.point == head.point) {
            return Ok(());
        }
        Err(Error::failed(format!(
            "committing point {}: another run committed {} as number {} meanwhile",
            self.point(),
            head.point,
            head.sequence
        ))
        .hint("two runs of one source at once; the next one uses what this one stored"))
    }

    async fn put_signature(&self, signature: &str, lock: Option<Lock>) -> Result<()> {
        let key = layout::signature(self.source(), self.point());
        let put = Put::new(signature.to_owned()).locked(lock);
        match self.repository.store().put_new(&key, put).await {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists(_)) => Err(Error::failed(format!(
                "committing point {}: the run was closed by a sweep because it took longer than the longest run allowed",
                self.point()
            ))
            .hint("make the run shorter (--jobs, fewer databases in one source); the next one uses what this one stored")),
            Err(error) => Err(failed(format!("committing point {}", self.point()))(error)),
        }
    }

    /// Head and catalogue. The point is committed already: what fails here is mended by the next run.
    async fn publish(&self, link: &Link, summary: PointSummary) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Err(error) = self.repository.move_head(self.source(), link).await {
            warnings.push(format!("the head was not moved ({error}); the next run does it"));
        }
        if let Err(error) = self.repository.meet_newest(self.source(), link.sequence) {
            warnings.push(error.to_string());
        }
        let entries = vec![Entry::Point(Box::new(summary))];
        if let Err(error) = self.repository.append_to_catalogue(self.source(), entries).await {
            warnings.push(format!("the catalogue was not extended ({error}); it is read from the points instead"));
        }
        self.repository.drop_journal(self.run(), self.journal.batches()).await;
        warnings
    }
}

impl Repository {
    /// Moves the head of a source to `link`, unless it is there or above already.
    pub(in crate::repository) async fn move_head(&self, source: &crate::id::SourceName, link: &Link) -> Result<()> {
        let key = layout::head(source);
        let head = Head {
            source: source.clone(),
            sequence: link.sequence,
            point: link.point.clone(),
            manifest_sha256: link.manifest_sha256,
        };
        for _ in 0..HEAD_ATTEMPTS {
            let put = match self.head(source).await? {
                HeadState::Signed(known, _) if known.sequence >= link.sequence => return Ok(()),
                HeadState::Signed(_, etag) | HeadState::Damaged(_, etag) => {
                    self.replace_record(&key, Privacy::Open, &head, &etag).await
                }
                HeadState::Absent => self.put_record(&key, Privacy::Open, &head, None).await,
            };
            match put {
                Ok(_) => return Ok(()),
                Err(RecordError::Store(StoreError::Changed(_) | StoreError::AlreadyExists(_))) => {}
                Err(error) => return Err(Error::from(error).during(format!("moving the head of {source}"))),
            }
        }
        Err(Error::failed(format!("moving the head of {source}: others were quicker {HEAD_ATTEMPTS} times")))
    }
}
