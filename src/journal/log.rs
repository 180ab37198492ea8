//! The journal of a run as a repository keeps it: that it began, what it told, and why it failed.
//!
//! A run that failed leaves no recovery point; this is where somebody reads the next morning why there is none. A
//! journal without an end is that of a run that was killed, or that goes on. Of one that made a point nothing is kept:
//! the point says it all, signed.

use super::{Amount, Event, Level, Stamped};
use crate::id::SourceName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, by the clock of the machine that the run was on.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The first line.
    RunBegan {
        /// What was asked for: `backup`, `snapshot`.
        verb: String,
        /// Of what.
        source: SourceName,
        /// Who ran it: host and process.
        holder: String,
        /// `davit` and its version.
        tool: String,
    },
    /// A stage began.
    StageBegan {
        /// Which.
        stage: String,
        /// How much there is to do.
        total: Amount,
    },
    /// A stage ended.
    StageEnded {
        /// Which.
        stage: String,
        /// How much was done.
        done: Amount,
    },
    /// A sentence for the reader.
    Note {
        /// For whom.
        level: Level,
        /// The sentence.
        text: String,
    },
    /// Something odd.
    Warning {
        /// What.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The last line: there is no point.
    RunFailed {
        /// How long it took.
        seconds: f64,
        /// The number that scripts saw.
        exit_code: u8,
        /// What was being done to what, and why it failed.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
}

impl Line {
    /// What was heard, to be kept; nothing for small steps, of which there are too many.
    pub fn of(heard: &Stamped) -> Option<Self> {
        let what = match heard.event.clone() {
            Event::StageBegan { stage, total } => What::StageBegan { stage: stage.to_owned(), total },
            Event::StageEnded { stage, done } => What::StageEnded { stage: stage.to_owned(), done },
            Event::Note { level, text } => What::Note { level, text },
            Event::Warning { text, hint } => What::Warning { text, hint },
            Event::Advanced { .. } => return None,
        };
        Some(Self { at: heard.at, what })
    }
}
