//! Intents of faults: what a failure that is injected on purpose needs to be undone, put before the effect.
//!
//! `intents/<run>/<n>` is put once and never changed; `intents/<run>/<n>.undone` is put when the undo was read back. An
//! intent without a believable `.undone` beside it is open. What they say is the business of whoever injects.

use super::record::{Privacy, RecordError};
use super::{Repository, failed, layout};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::store::{ObjectKey, StoreError};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The folder of all intents.
const INTENTS: &str = "intents/";

/// One intent as the listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The run.
    pub run: RunId,
    /// Its number within the run.
    pub number: u32,
    /// Whether an object says that it was undone; only reading it tells whether that can be believed.
    pub undone: bool,
}

impl Repository {
    /// Puts an intent; gives its name in the store.
    pub async fn put_fault_intent<T: Serialize + Sync>(
        &self,
        run: &RunId,
        number: u32,
        intent: &T,
    ) -> Result<ObjectKey> {
        let key = layout::fault_intent(run, number);
        let put = self.put_record(&key, Privacy::Sealed, intent, None).await;
        put.map_err(|why| Error::from(why).during(format!("putting the intent {key}")))?;
        Ok(key)
    }

    /// Closes an intent. Whoever comes second finds it closed.
    pub async fn close_fault_intent<T: Serialize + Sync>(&self, run: &RunId, number: u32, undone: &T) -> Result<()> {
        let key = layout::fault_undone(run, number);
        match self.put_record(&key, Privacy::Sealed, undone, None).await {
            Ok(_) | Err(RecordError::Store(StoreError::AlreadyExists(_))) => Ok(()),
            Err(why) => {
                Err(Error::from(why).during(format!("closing the intent {}", layout::fault_intent(run, number))))
            }
        }
    }

    /// Asks a run to end its faults.
    pub async fn put_fault_stop<T: Serialize + Sync>(&self, run: &RunId, who: &T) -> Result<()> {
        match self.put_record(&layout::fault_stop(run), Privacy::Sealed, who, None).await {
            Ok(_) | Err(RecordError::Store(StoreError::AlreadyExists(_))) => Ok(()),
            Err(why) => Err(Error::from(why).during(format!("asking run {run} to stop"))),
        }
    }

    /// Whether somebody asked a run to end its faults. Anybody who can write there may: it only heals early.
    pub async fn fault_stop_asked(&self, run: &RunId) -> Result<bool> {
        match self.store().head(&layout::fault_stop(run), None).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound(_)) => Ok(false),
            Err(why) => Err(failed(format!("looking whether run {run} was asked to stop"))(why)),
        }
    }

    /// Says once for all what became of the attention that a run's faults were to get; `false` where somebody has said so
    /// before, and then that stays.
    pub async fn put_fault_ack<T: Serialize + Sync>(&self, run: &RunId, ack: &T) -> Result<bool> {
        match self.put_record(&layout::fault_ack(run), Privacy::Sealed, ack, None).await {
            Ok(_) => Ok(true),
            Err(RecordError::Store(StoreError::AlreadyExists(_))) => Ok(false),
            Err(why) => Err(Error::from(why).during(format!("acknowledging run {run}"))),
        }
    }

    /// What was said of the attention that a run's faults got; `None` if nothing was.
    pub async fn fault_ack<T: DeserializeOwned>(&self, run: &RunId) -> Result<Option<T>> {
        let found = self.record(&layout::fault_ack(run)).await;
        let found = found.map_err(|why| Error::from(why).during(format!("looking who acknowledged run {run}")));
        Ok(found?.map(|(ack, _)| ack))
    }

    /// All intents, in order.
    pub async fn fault_intents(&self) -> Result<Vec<Listed>> {
        let mut found: BTreeMap<(RunId, u32), bool> = BTreeMap::new();
        let mut undone = Vec::new();
        let mut listing = self.store().list(INTENTS);
        while let Some(entry) = listing.try_next().await.map_err(failed("listing the intents"))? {
            let stranger = || {
                Error::failed(format!("listing the intents: {} has no place there", entry.key))
                    .hint("a newer davit may have written it; use that one")
            };
            let rest = entry.key.as_str().strip_prefix(INTENTS).ok_or_else(stranger)?;
            let (run, name) = rest.split_once('/').ok_or_else(stranger)?;
            let run: RunId = run.parse().map_err(|_| stranger())?;
            let number = |text: &str| text.parse::<u32>().map_err(|_| stranger());
            match name.strip_suffix(".undone") {
                _ if name == "stop" || name == "ack" => {}
                Some(name) => undone.push((run, number(name)?)),
                None => drop(found.insert((run, number(name)?), false)),
            }
        }
        for key in undone {
            if let Some(closed) = found.get_mut(&key) {
                *closed = true;
            }
        }
        Ok(found.into_iter().map(|((run, number), undone)| Listed { run, number, undone }).collect())
    }

    /// Reads an intent.
    pub async fn fault_intent<T: DeserializeOwned>(&self, run: &RunId, number: u32) -> Result<T> {
        let key = layout::fault_intent(run, number);
        let doing = || format!("reading the intent {key}");
        match self.record(&key).await {
            Ok(Some((intent, _))) => Ok(intent),
            Ok(None) => Err(Error::failed(format!("{}: it is gone", doing()))),
            Err(why) => Err(Error::from(why).during(doing())),
        }
    }

    /// Reads what was seen when an intent was closed; `None` if nothing there can be believed.
    pub async fn fault_undone<T: DeserializeOwned>(&self, run: &RunId, number: u32) -> Result<Option<T>> {
        let key = layout::fault_undone(run, number);
        match self.record(&key).await {
            Ok(found) => Ok(found.map(|(undone, _)| undone)),
            Err(RecordError::Damaged { key, what }) => {
                tracing::warn!(%key, %what, "this does not close its intent");
                Ok(None)
            }
            Err(why) => Err(Error::from(why).during(format!("reading {key}"))),
        }
    }
}
