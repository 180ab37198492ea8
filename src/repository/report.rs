//! Reports of drills: kept sealed and signed, and signed as files for whoever gets one handed.

use super::minisign::{Signature, prehash};
use super::record::Privacy;
use super::{Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Result};
use crate::id::RunId;
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Repository {
    /// Keeps the report of a drill.
    pub async fn put_report<T: Serialize + Sync>(&self, month: &str, run: &RunId, report: &T) -> Result<()> {
        let put = self.put_record(&layout::report(month, run), Privacy::Sealed, report, None).await;
        put.map(drop).map_err(|error| Error::from(error).during(format!("keeping the report of run {run}")))
    }

    /// Every report there is, in the order of their months and runs.
    pub async fn reports<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let doing = "reading the reports of drills";
        let mut keys = Vec::new();
        let mut entries = self.store().list(layout::REPORTS);
        while let Some(entry) = entries.try_next().await.map_err(failed(doing))? {
            keys.push(entry.key);
        }
        drop(entries);
        let mut read = futures_util::stream::iter(keys)
            .map(|key| async move { self.record::<T>(&key).await })
            .buffered(SIDE_BY_SIDE);
        let mut reports = Vec::new();
        while let Some(report) = read.next().await {
            // One that was taken away between the listing and the reading is no report any more.
            reports.extend(report.map_err(|error| Error::from(error).during(doing))?.map(|(report, _)| report));
        }
        Ok(reports)
    }

    /// A signature of a file that leaves the repository; stock `minisign -V` checks it, too.
    pub fn sign_file(&self, bytes: &[u8], what: &str) -> Result<String> {
        Ok(self.signer()?.sign(&prehash(bytes), &format!("{}{what}", self.file_comment())))
    }

    /// Whether somebody who may sign for this repository signed these bytes; what they are, in the signer's words.
    ///
    /// # Errors
    /// `Kind::CheckFailed` where nobody who may sign did.
    pub fn check_file(&self, bytes: &[u8], signature: &str) -> Result<String> {
        let doing = "checking the signature of a report";
        let signature = Signature::parse(signature)
            .ok_or_else(|| Error::check(format!("{doing}: it is no signature, or was changed")))?;
        let what = signature
            .trusted()
            .strip_prefix(&self.file_comment())
            .ok_or_else(|| Error::check(format!("{doing}: it is of another repository")))?
            .to_owned();
        let charter = &self.0.charter;
        let active = charter.writers.iter().filter(|writer| writer.retired.is_none()).map(|writer| &writer.key);
        if active.chain([&charter.root]).any(|key| signature.is_by(key, &prehash(bytes))) {
            return Ok(what);
        }
        Err(Error::check(format!(
            "{doing}: the file was changed, or nobody who may sign for this repository signed it"
        )))
    }

    fn file_comment(&self) -> String {
        format!("davit report repository={} ", self.id())
    }
}
