//! What a point of a namespace holds, and what it lacks, without opening its objects.

use super::facts::{Coverage, Missing, PointFacts, kind as line};
use crate::error::{Error, Result};
use crate::id::{PointId, SourceName};
use crate::repository::manifest::{End, Line, PointKind};
use crate::repository::{PointSummary, Repository};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a point holds and lacks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The point.
    pub point: PointId,
    /// Its source.
    pub source: SourceName,
    /// Its place in the chain.
    pub sequence: u64,
    /// The instant it is of.
    pub snapshot_time: Timestamp,
    /// What it was to hold.
    #[serde(flatten)]
    pub facts: PointFacts,
    /// Whether it holds that.
    pub complete: bool,
    /// What is missing.
    pub missing: Vec<Missing>,
    /// What was looked at and how it went.
    pub coverage: Coverage,
    /// Objects.
    pub objects: u64,
    /// Totals.
    pub end: End,
}

/// Reads what a point says of itself.
pub async fn show(repository: &Repository, point: &PointSummary) -> Result<Shown> {
    point.must_be(PointKind::Namespace)?;
    let mut manifest = repository.read_point(&point.source, point.point()).await?;
    let header = manifest.header().clone();
    let facts: PointFacts = details("the header", header.details)?;
    let (mut coverage, mut missing, mut end) = (None, Vec::new(), End::default());
    while let Some(next) = manifest.next().await? {
        match next {
            Line::Object(object) if object.kind == line::COVERAGE => {
                coverage = Some(details::<Coverage>("the coverage", object.details)?);
            }
            Line::Object(object) if object.kind == line::MISSING => {
                missing.push(details("what is missing", object.details)?);
            }
            Line::End(totals) => end = totals,
            _ => {}
        }
    }
    let coverage = coverage.ok_or_else(|| {
        Error::check(format!(
            "reading point {}: it has no coverage, so nobody knows whether it is complete",
            point.point()
        ))
    })?;
    Ok(Shown {
        point: point.point().clone(),
        source: point.source.clone(),
        sequence: header.sequence,
        snapshot_time: header.snapshot_time,
        facts,
        complete: missing.is_empty(),
        missing,
        objects: coverage.kinds.iter().map(|kind| kind.objects).sum(),
        coverage,
        end,
    })
}

pub(super) fn details<T: DeserializeOwned>(what: &str, details: serde_json::Value) -> Result<T> {
    serde_json::from_value(details).map_err(|why| {
        Error::check(format!("reading {what} of a snapshot"))
            .because(why)
            .hint("is this davit older than the one that made it?")
    })
}
