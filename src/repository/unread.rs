//! Points that are signed and could not be read: a listing goes on without them, and nobody may take an older one for the
//! newest because of that.

use super::catalogue::{PointSummary, Refusal};
use super::chain::Link;
use crate::error::{Error, Kind};
use crate::humane::counted;
use crate::id::{PointId, SourceName};
use jiff::Timestamp;
use serde::Serialize;

/// A signed point that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// The source.
    pub source: SourceName,
    /// The point.
    pub point: PointId,
    /// Its number in the chain, where its signature tells.
    pub sequence: Option<u64>,
    /// The instant its content is of, where it is another than that of its id: it was sealed again.
    #[serde(skip)]
    pub instant: Option<Timestamp>,
    /// Why.
    pub why: String,
    /// The next step to try.
    #[serde(skip)]
    pub hint: Option<String>,
    /// Whether another key would open it; otherwise it is damaged.
    #[serde(skip)]
    pub by_key: bool,
}

impl Unread {
    pub(super) fn of(
        (source, point): (&SourceName, PointId),
        (link, instant): (Option<&Link>, Option<Timestamp>),
        error: &Error,
    ) -> Self {
        Self {
            source: source.clone(),
            point,
            sequence: link.map(|link| link.sequence),
            instant,
            why: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
            by_key: error.kind() == Kind::Input,
        }
    }

    /// Why those of a source that no key at hand opens are not shown; what is damaged is for `verify` to report.
    pub fn refusal(source: &SourceName, unread: &[Self]) -> Option<Refusal> {
        let closed: Vec<&Self> = unread.iter().filter(|one| one.by_key).collect();
        let newest = closed.iter().max_by_key(|one| one.sequence)?;
        let count = counted(closed.len() as u64, "point");
        let message = format!("{count} of {source} cannot be read, {} among them: {}", newest.point, newest.why);
        Some(Refusal { source: source.clone(), message, hint: newest.hint.clone() })
    }

    /// Whether its content is newer than that of this one; where nobody knows, it is.
    pub(super) fn follows(&self, found: &PointSummary) -> bool {
        match self.instant {
            Some(instant) => instant > found.snapshot_time,
            None => self.sequence.is_none_or(|sequence| sequence > found.link.sequence),
        }
    }

    /// Whether its content is of an instant after this one.
    pub(super) fn is_after(&self, time: Timestamp) -> bool {
        self.instant.unwrap_or_else(|| self.point.made_at()) > time
    }

    /// That this one was asked for.
    pub(super) fn is_meant(&self) -> Error {
        let kind = if self.by_key { Kind::Input } else { Kind::CheckFailed };
        let error = Error::new(kind, format!("finding point {}: it cannot be read: {}", self.point, self.why));
        self.hint.iter().fold(error, |error, hint| error.hint(hint.clone()))
    }

    /// That this one is newer than what would be taken for the newest.
    pub(super) fn newer(&self, doing: &str, found: Option<&PointId>) -> Error {
        let error = Error::refused(format!("{doing}: point {} is newer and cannot be read: {}", self.point, self.why));
        match found {
            Some(found) => {
                error.hint(format!("to use an older one, name it by its id: {found} is the newest that can be read"))
            }
            None => self.hint.iter().fold(error, |error, hint| error.hint(hint.clone())),
        }
    }
}
