//! What a restore did, object by object where it matters.

use super::super::object::Place;
use crate::error::Kind;
use serde::Serialize;

/// An object and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Which.
    #[serde(flatten)]
    pub place: Place,
    /// Why, in the server's words where it has some.
    pub why: String,
}

/// What a restore did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreReport {
    /// The field manager that the objects carry.
    pub manager: String,
    /// Objects that were made.
    pub created: u64,
    /// Objects that were patched.
    pub merged: u64,
    /// Objects that were replaced in place.
    pub replaced: u64,
    /// Objects that were deleted and made anew.
    pub recreated: u64,
    /// Objects that were deleted.
    pub pruned: u64,
    /// Which these are.
    pub pruned_objects: Vec<Place>,
    /// Objects that were there and equal.
    pub same: u64,
    /// Objects that were not touched, and why.
    pub left: Vec<Failure>,
    /// Objects that are not restored, and why.
    pub failed: Vec<Failure>,
    /// Objects that are not, a moment later, what was sent.
    pub diverged: Vec<Failure>,
    /// Whether it was stopped before its end: what was made stays, and was not looked at again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl RestoreReport {
    /// What a report like this makes of the exit code.
    pub fn kind(&self) -> Option<Kind> {
        let wrong = !self.failed.is_empty() || !self.diverged.is_empty();
        if self.stopped { Some(Kind::Failed) } else { wrong.then_some(Kind::CheckFailed) }
    }

    /// Objects that were changed.
    pub fn changed(&self) -> u64 {
        self.created + self.merged + self.replaced + self.recreated + self.pruned
    }
}
