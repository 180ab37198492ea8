//! Evidence: what a verification saw, signed and kept beside the point it is about.

use super::catalogue::{Catalogue, Depth, Entry, PointSummary, Verified};
use super::chain::PointFolder;
use super::record::{Privacy, RecordError};
use super::{Repository, layout};
use crate::error::{Error, Result};
use crate::id::{PointId, RunId, Sha256, SourceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One thing that is wrong, in the words of what was backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The object of the point, or what else is damaged (`manifest`, `chain`, `head`).
    pub object: String,
    /// The table, if it is one.
    pub table: Option<String>,
    /// Name of the object in the store.
    pub chunk: String,
    /// The range within the object.
    pub range: u32,
    /// The rows of the object that are touched, the first and the one after the last, in the order of a restore.
    pub rows: Option<(u64, u64)>,
    /// What is wrong.
    pub what: String,
}

/// One check of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// `true`, `false`, or nothing where it could not be decided.
    pub ok: Option<bool>,
    /// What was seen.
    pub detail: String,
}

/// What a verification saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The run that verified.
    pub run: RunId,
    /// The point.
    pub point: PointId,
    /// Which manifest exactly.
    pub manifest_sha256: Sha256,
    /// How deeply.
    pub depth: Depth,
    /// Whether all was well.
    pub ok: bool,
    /// When it ended.
    pub when: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Chunks looked at.
    pub chunks: u64,
    /// What is wrong.
    pub damage: Vec<Damage>,
    /// What else was checked.
    pub checks: Vec<Check>,
    /// `davit` and its version.
    pub tool: String,
}

impl Evidence {
    /// Whether it says neither that all is well nor that something is wrong: a check could not be made.
    pub fn is_undecided(&self) -> bool {
        !self.ok && self.damage.is_empty() && !self.checks.iter().any(|check| check.ok == Some(false))
    }

    fn summary(&self) -> Verified {
        let mut damaged: Vec<String> = self
            .damage
            .iter()
            .map(|damage| damage.chunk.clone())
            .filter(|chunk| chunk.starts_with("chunks/"))
            .collect();
        damaged.sort();
        damaged.dedup();
        Verified { run: self.run.clone(), depth: self.depth, ok: self.ok, when: self.when, damaged }
    }
}

impl Repository {
    /// Signs evidence and keeps it beside its point. Chunks it names as damaged are sealed anew by the next backup.
    /// What was left undecided is kept, too, but counts for nothing: the catalogue does not name it.
    pub async fn record_evidence(&self, point: &PointSummary, evidence: &Evidence) -> Result<()> {
        let doing = || format!("recording the verification of {}", point.link.point);
        if evidence.manifest_sha256 != point.link.manifest_sha256 || evidence.point != point.link.point {
            return Err(Error::failed(format!("{}: it is about another manifest", doing())));
        }
        let key = layout::evidence(&point.source, &point.link.point, &evidence.run);
        let put = self.put_record(&key, Privacy::Sealed, evidence, None).await;
        put.map_err(|error| Error::from(error).during(doing()))?;
        if evidence.is_undecided() {
            return Ok(());
        }
        let entry = Entry::Verified { point: point.link.point.clone(), verified: evidence.summary() };
        self.append_to_catalogue(&point.source, vec![entry]).await
    }

    /// Reads one piece of evidence; `None` if it is not there.
    pub async fn evidence(
        &self,
        source: &SourceName,
        point: &PointId,
        run: &RunId,
    ) -> Result<Option<Evidence>, RecordError> {
        let key = layout::evidence(source, point, run);
        let Some((evidence, _)) = self.record::<Evidence>(&key).await? else { return Ok(None) };
        if evidence.point == *point && evidence.run == *run {
            return Ok(Some(evidence));
        }
        Err(RecordError::Damaged { key: key.to_string(), what: "it is about another point".to_owned() })
    }

    /// Puts the evidence of points that are new to a catalogue into it.
    pub(super) async fn read_missing_evidence(
        &self,
        source: &SourceName,
        folders: &BTreeMap<PointId, PointFolder>,
        catalogue: &mut Catalogue,
        points: &[PointId],
    ) -> Result<()> {
        for point in points {
            for run in folders.get(point).map_or(&[][..], |folder| &folder.evidence) {
                let verified = match self.evidence(source, point, run).await {
                    Ok(Some(evidence)) if !evidence.is_undecided() => evidence.summary(),
                    Ok(_) => continue,
                    Err(RecordError::Damaged { key, what }) => {
                        tracing::warn!(%key, %what, "evidence is damaged and not counted");
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                catalogue.note_verified(point, verified);
            }
        }
        Ok(())
    }
}
