//! What a run has stored so far, in signed batches: after a crash the next run uses these chunks again.

use crate::error::Result;
use crate::id::{PointId, RunId, SourceName};
use crate::repository::intent::Intent;
use crate::repository::layout;
use crate::repository::manifest::Chunk;
use crate::repository::record::{Privacy, RecordError};
use crate::repository::survey::Survey;
use crate::repository::{Repository, SIDE_BY_SIDE, failed};
use crate::store::ObjectKey;
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a run writes down what it has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPace {
    /// After this many new chunks …
    pub chunks: usize,
    /// … or this much time, whatever comes first.
    pub every: Duration,
}

impl Default for JournalPace {
    /// At most a minute's work, or 4 GiB of it, is sealed twice after a crash.
    fn default() -> Self {
        Self { chunks: 256, every: Duration::from_mins(1) }
    }
}

/// A batch of a run's journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) run: RunId,
    pub(super) source: SourceName,
    pub(super) point: PointId,
    /// Until when these chunks are locked, in steps of locking.
    pub(super) lock_step: u16,
    pub(super) chunks: Vec<Chunk>,
}

/// Collects what was stored and puts it away from time to time.
pub(super) struct Journal {
    pace: JournalPace,
    lock_step: u16,
    state: Mutex<State>,
}

struct State {
    chunks: Vec<Chunk>,
    batches: u64,
    last: Duration,
}

impl Journal {
    pub(super) fn new(pace: JournalPace, lock_step: u16, now: Duration) -> Self {
        Self { pace, lock_step, state: Mutex::new(State { chunks: Vec::new(), batches: 0, last: now }) }
    }

    /// Notes a chunk; what it returns is a batch to put away now, and its number.
    fn note(&self, chunk: Chunk, now: Duration) -> Option<(u64, Vec<Chunk>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.chunks.push(chunk);
        if state.chunks.len() < self.pace.chunks && now.saturating_sub(state.last) < self.pace.every {
            return None;
        }
        state.last = now;
        let number = state.batches;
        state.batches += 1;
        Some((number, std::mem::take(&mut state.chunks)))
    }

    /// How many batches were put away.
    pub(super) fn batches(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).batches
    }

    /// Notes a chunk that was stored for the run of `intent`, and puts a batch away if it is time.
    pub(super) async fn add(&self, repository: &Repository, intent: &Intent, chunk: Chunk) {
        if let Some((number, chunks)) = self.note(chunk, repository.clock().monotonic()) {
            self.put(repository, intent, number, chunks).await;
        }
    }

    /// Puts away what is not yet.
    pub(super) async fn flush(&self, repository: &Repository, intent: &Intent) {
        let (number, chunks) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.batches += 1;
            (state.batches - 1, std::mem::take(&mut state.chunks))
        };
        if !chunks.is_empty() {
            self.put(repository, intent, number, chunks).await;
        }
    }

    async fn put(&self, repository: &Repository, intent: &Intent, number: u64, chunks: Vec<Chunk>) {
        let (run, source, point) = (intent.run.clone(), intent.source.clone(), intent.point.clone());
        let batch = Batch { run, source, point, lock_step: self.lock_step, chunks };
        let key = layout::stored_batch(&intent.run, number);
        if let Err(error) = repository.put_record(&key, Privacy::Sealed, &batch, None).await {
            // Only a later run after a crash of this one would miss it; the point does not depend on it.
            tracing::warn!(%key, %error, "a journal batch could not be written");
        }
    }
}

impl Repository {
    /// What a run that did not commit has stored.
    pub(super) async fn stored_by(&self, intent: &Intent) -> Result<Vec<(Chunk, u16)>> {
        let (batches, damaged) = self.batches_of(intent).await?;
        for (key, what) in damaged {
            tracing::warn!(%key, %what, "a journal batch is damaged and not used");
        }
        let chunks = |batch: Batch| batch.chunks.into_iter().map(move |chunk| (chunk, batch.lock_step));
        Ok(batches.into_iter().flat_map(chunks).collect())
    }

    /// The batches of a run's journal, and those that cannot be believed.
    async fn batches_of(&self, intent: &Intent) -> Result<(Vec<Batch>, Vec<(ObjectKey, String)>)> {
        let mut keys = Vec::new();
        let folder = layout::stored_batches(&intent.run);
        let mut entries = self.store().list(&folder);
        while let Some(entry) =
            entries.try_next().await.map_err(failed(format!("reading the journal of run {}", intent.run)))?
        {
            keys.push(entry.key);
        }
        drop(entries);
        let (mut good, mut damaged) = (Vec::new(), Vec::new());
        let mut batches = futures_util::stream::iter(keys)
            .map(|key| async move { (self.record::<Batch>(&key).await, key) })
            .buffered(SIDE_BY_SIDE);
        while let Some((batch, key)) = batches.next().await {
            match batch {
                Ok(Some((batch, _))) if batch.run == intent.run => good.push(batch),
                Ok(_) => {}
                Err(RecordError::Damaged { what, .. }) => damaged.push((key, what)),
                Err(error) => return Err(error.into()),
            }
        }
        drop(batches);
        Ok((good, damaged))
    }

    /// What is wrong with the journals of a source's unfinished runs. No point depends on them: a chunk that a damaged
    /// batch names is stored anew.
    pub(in crate::repository) async fn damaged_journals(
        &self,
        source: &SourceName,
        survey: &Survey,
    ) -> Result<Vec<(ObjectKey, String)>> {
        let mut all = Vec::new();
        for intent in self.unfinished(source, survey).await? {
            all.extend(self.batches_of(&intent).await?.1);
        }
        Ok(all)
    }

    /// Takes away the journal of a run that committed: its manifest names all that the batches name. Credentials that
    /// may not delete leave it to the sweep.
    pub(super) async fn drop_journal(&self, run: &RunId, batches: u64) {
        for number in 0..batches {
            let key = layout::stored_batch(run, number);
            if let Err(error) = self.store().delete(&key).await {
                tracing::debug!(%key, %error, "a journal batch stays");
                return;
            }
        }
    }
}
