//! What runs told that left no point: batches of events, sealed and signed.

use super::check::damage;
use super::record::{Privacy, RecordError};
use super::{Damage, Repository, failed, layout};
use crate::error::{Error, Result};
use crate::id::RunId;
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use std::collections::BTreeMap;

impl Repository {
    /// Puts a batch of a run's events away, sealed and signed; numbers count from 0.
    pub async fn put_events<T: Serialize + Sync>(&self, run: &RunId, number: u64, events: &[T]) -> Result<()> {
        let put = self.put_record(&layout::journal_batch(run, number), Privacy::Sealed, &events, None).await;
        put.map(|_| ()).map_err(|error| Error::from(error).during(format!("keeping the journal of run {run}")))
    }

    /// The runs whose journals are kept, newest first.
    pub async fn runs(&self) -> Result<Vec<RunId>> {
        let names = self.store().folders(layout::JOURNALS).await.map_err(failed("listing the journals"))?;
        let mut runs: Vec<RunId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        // An id begins with its time.
        runs.sort_by(|one, other| other.cmp(one));
        Ok(runs)
    }

    /// Takes the events of a run away that made a point: all they say is in it. Credentials that may not delete leave them
    /// to the sweep.
    pub async fn drop_events(&self, run: &RunId, batches: u64) {
        for number in 0..batches {
            let key = layout::journal_batch(run, number);
            if let Err(error) = self.store().delete(&key).await {
                tracing::debug!(%key, %error, "a journal batch stays");
                return;
            }
        }
    }

    /// What is wrong with the events of runs: batches that cannot be believed, and such as are missing before others.
    pub async fn damaged_events(&self) -> Result<Vec<Damage>> {
        let doing = || failed("reading the journals");
        let mut found = Vec::new();
        let mut batches: BTreeMap<RunId, Vec<u64>> = BTreeMap::new();
        let mut entries = self.store().list(layout::JOURNALS);
        while let Some(entry) = entries.try_next().await.map_err(doing())? {
            if let Some((run, number)) = layout::parse_journal_batch(entry.key.as_str()) {
                batches.entry(run).or_default().push(number);
            }
        }
        drop(entries);
        for (run, numbers) in &batches {
            let all = 0..=numbers.iter().copied().max().unwrap_or_default();
            for number in all {
                let key = layout::journal_batch(run, number);
                match self.record::<Vec<IgnoredAny>>(&key).await {
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        found.push(damage("journal", key, "it is missing, but a later one of its run is there"));
                    }
                    Err(RecordError::Damaged { what, .. }) => found.push(damage("journal", key, what)),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(found)
    }

    /// What [`Self::put_events`] put away, in order. A batch that is missing between others, or damaged, is an error: a
    /// part of a journal says something else than the whole.
    pub async fn events<T: DeserializeOwned>(&self, run: &RunId) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut number = 0;
        while let Some(batch) = self.batch::<T>(run, number).await? {
            all.extend(batch);
            number += 1;
        }
        Ok(all)
    }

    /// [`Self::events`] of a journal of this kind of event; nothing where its first line is another kind's, such as a
    /// drill's, of which only the beginning is read.
    pub async fn events_of_kind<T: DeserializeOwned>(&self, run: &RunId) -> Result<Option<Vec<T>>> {
        let first = self.batch::<Value>(run, 0).await?.and_then(|batch| batch.into_iter().next());
        match first.map(serde_json::from_value::<T>) {
            Some(Ok(_)) => self.events(run).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn batch<T: DeserializeOwned>(&self, run: &RunId, number: u64) -> Result<Option<Vec<T>>> {
        let batch = self.record::<Vec<T>>(&layout::journal_batch(run, number)).await;
        let batch = batch.map_err(|error| Error::from(error).during(format!("reading the journal of run {run}")))?;
        Ok(batch.map(|(batch, _)| batch))
    }
}
