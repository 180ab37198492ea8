//! Points that are signed and could not be read: a listing goes on without them, and nobody may take an older one for the
//! newest because of that.

use super::catalogue::PointSummary;
use super::chain::Link;
use super::check::damage;
use super::evidence::Damage;
use super::layout;
use crate::error::{Error, Kind};
use crate::humane::counted;
use crate::id::{PointId, SourceName};
use jiff::Timestamp;
use serde::Serialize;

/// What a listing goes on without: a source whose points cannot be believed any more, such as one that was rolled back, or
/// points that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The source.
    pub source: SourceName,
    /// The point, if it is about a single one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<PointId>,
    /// What is wrong.
    pub message: String,
    /// The next step to try.
    pub hint: Option<String>,
    /// How a command ends that has to do without.
    #[serde(skip)]
    pub kind: Kind,
}

impl Refusal {
    /// Of a source that was refused with this error.
    pub fn of(source: SourceName, error: &Error) -> Self {
        let hint = error.hint_text().map(str::to_owned);
        Self { source, point: None, message: error.to_string(), hint, kind: error.kind() }
    }

    /// The error, where there is nothing else to tell.
    pub fn error(&self) -> Error {
        let error = Error::new(self.kind, self.message.clone());
        self.hint.iter().fold(error, |error, hint| error.hint(hint.clone()))
    }

    /// The manifest that is damaged, if that is why.
    pub fn damage(&self) -> Option<Damage> {
        let point = self.point.as_ref().filter(|_| self.kind == Kind::CheckFailed)?;
        Some(damage("manifest", layout::manifest(&self.source, point), self.message.clone()))
    }
}

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
    /// `Input` where another key would open it, `Refused` where a newer davit would read it; otherwise it is damaged.
    #[serde(skip)]
    pub kind: Kind,
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
            kind: error.kind(),
        }
    }

    /// Why those of a source are not shown: in one sentence those that no key at hand opens, and each of the others.
    pub fn refusals(source: &SourceName, unread: &[Self]) -> Vec<Refusal> {
        let (closed, others): (Vec<&Self>, Vec<&Self>) = unread.iter().partition(|one| one.kind == Kind::Input);
        let newest = closed.iter().max_by_key(|one| one.sequence);
        let by_key = newest.map(|newest| {
            let count = counted(closed.len() as u64, "point");
            let message = format!("{count} of {source} cannot be read, {} among them: {}", newest.point, newest.why);
            Refusal { source: source.clone(), point: None, message, hint: newest.hint.clone(), kind: Kind::Refused }
        });
        let alone = |one: &Self| Refusal {
            source: source.clone(),
            point: Some(one.point.clone()),
            message: one.words(),
            hint: one.hint.clone(),
            kind: one.kind,
        };
        by_key.into_iter().chain(others.into_iter().map(alone)).collect()
    }

    fn words(&self) -> String {
        format!("point {} of {} cannot be read: {}", self.point, self.source, self.why)
    }

    /// That nothing goes as long as nobody knows what this one needs.
    pub(super) fn keeps_all(&self) -> Error {
        let error = Error::refused(format!("looking which points may go (nothing was removed): {}", self.words()));
        error.hint(self.hint.as_deref().unwrap_or("davit verify --all tells what is damaged"))
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
        let error = Error::new(self.kind, format!("finding point {}: it cannot be read: {}", self.point, self.why));
        self.hint.iter().fold(error, |error, hint| error.hint(hint.clone()))
    }

    /// That this one is newer than what would be taken for the newest, or all that there is.
    pub(super) fn newer(&self, doing: &str, found: Option<&PointId>) -> Error {
        let Some(found) = found else {
            let error = Error::refused(format!("{doing}: {}", self.words()));
            return self.hint.iter().fold(error, |error, hint| error.hint(hint.clone()));
        };
        Error::refused(format!("{doing}: point {} is newer and cannot be read: {}", self.point, self.why))
            .hint(format!("to use an older one, name it by its id: {found} is the newest that can be read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(second: i64, kind: Kind) -> Unread {
        let point = PointId::at(Timestamp::from_second(second).unwrap());
        Unread::of((&"shop".parse().unwrap(), point), (None, None), &Error::new(kind, "it is odd").hint("look"))
    }

    #[test]
    fn points_of_another_key_are_one_refusal_and_each_other_one_keeps_its_kind() {
        let all =
            [unread(1, Kind::Input), unread(2, Kind::CheckFailed), unread(3, Kind::Refused), unread(4, Kind::Input)];
        let refusals = Unread::refusals(&"shop".parse().unwrap(), &all);
        let seen: Vec<_> = refusals.iter().map(|one| (one.point.as_ref(), one.kind, one.damage().is_some())).collect();
        let damaged = (Some(&all[1].point), Kind::CheckFailed, true);
        let newer = (Some(&all[2].point), Kind::Refused, false);
        assert_eq!(seen, [(None, Kind::Refused, false), damaged, newer]);
        assert!(refusals[0].message.starts_with("2 points of shop cannot be read"), "{}", refusals[0].message);
        assert_eq!(all[2].is_meant().kind(), Kind::Refused);
        assert!(refusals.iter().all(|one| one.error().hint_text() == Some("look")));
    }
}
