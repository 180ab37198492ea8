//! What shows that a fault took effect, and that its target is as it was before.

use crate::measure::Interval;
use serde::{Deserialize, Serialize};

/// Something that was seen, with the instants between which it came true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was seen, for people: `process 4711 is gone`, `SQLSTATE 53300 on a fresh connection`.
    pub seen: String,
    /// When the fault took effect, on the monotonic clock of [`super::Means`]: between the last instant at which it had
    /// not and the first at which this was seen.
    pub effective: Interval,
}

/// Whether a fault is proven to have taken effect on one victim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "kebab-case")]
pub enum Proof {
    /// It is.
    Proven(Evidence),
    /// It is not: whatever was measured is invalid.
    Unproven {
        /// What was looked for and not seen.
        why: String,
    },
}

impl Proof {
    /// The evidence, if there is some.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Proven(evidence) => Some(evidence),
            Self::Unproven { .. } => None,
        }
    }

    /// The same where what is seen comes later than the effect that it shows: it may have begun as early as this.
    #[must_use]
    pub fn since(mut self, asked: std::time::Duration) -> Self {
        if let Self::Proven(Evidence { effective, .. }) = &mut self {
            effective.low = asked;
        }
        self
    }
}

/// What was found when the target was looked at after healing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "read_back", rename_all = "kebab-case")]
pub enum ReadBack {
    /// It is as the intent says that it was.
    AsBefore {
        /// What was looked at.
        seen: String,
    },
    /// There is nothing to undo: the platform replaces what was broken, or a person restores it.
    NothingToUndo {
        /// What stands there now.
        seen: String,
    },
    /// It is not as it was, or could not be looked at.
    Not {
        /// What is wrong.
        why: String,
    },
}

impl ReadBack {
    /// Whether an intent may be closed.
    pub fn is_good(&self) -> bool {
        !matches!(self, Self::Not { .. })
    }

    /// What was seen, or what is wrong.
    pub fn text(&self) -> &str {
        match self {
            Self::AsBefore { seen } | Self::NothingToUndo { seen } => seen,
            Self::Not { why } => why,
        }
    }
}
