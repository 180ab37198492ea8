//! What a run tells about itself while it runs: stages that begin, advance and end, notes and warnings.
//!
//! Verbs only send events to a [`Progress`]; who listens decides what becomes of them (bars on a terminal, one line
//! per stage in a log, a journal in the repository, an assertion in a test). An event carries no time: the
//! listener stamps it, so that a verb needs no clock to talk. Events never carry secrets: a journal can be pasted.

pub mod log;

use crate::clock::SharedClock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The name of a stage, in the words of the verb: `definitions`, `rows`, `indexes`.
pub type Stage = &'static str;

/// How much of something; 0 where it does not apply or is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Things a person counts: tables, chunks, indexes.
    pub items: u64,
    /// Rows.
    pub rows: u64,
    /// Plaintext bytes.
    pub bytes: u64,
}

impl Amount {
    /// Only things.
    pub const fn items(items: u64) -> Self {
        Self { items, rows: 0, bytes: 0 }
    }

    /// Rows and their bytes.
    pub const fn rows(rows: u64, bytes: u64) -> Self {
        Self { items: 0, rows, bytes }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.items += more.items;
        self.rows += more.rows;
        self.bytes += more.bytes;
    }
}

/// How much a reader of notes wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only for somebody who looks for a cause.
    Detail,
    /// Worth a line in every run.
    Info,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A stage began; several may be open at once.
    StageBegan {
        /// Which.
        stage: Stage,
        /// How much there is to do, as far as it is known (an estimate may be passed).
        total: Amount,
    },
    /// A stage did a little more.
    Advanced {
        /// Which.
        stage: Stage,
        /// How much was done since its last event.
        by: Amount,
    },
    /// A stage ended, and all of it was done.
    StageEnded {
        /// Which.
        stage: Stage,
        /// How much was done in all.
        done: Amount,
    },
    /// A sentence for the reader.
    Note {
        /// For whom.
        level: Level,
        /// Lower case, no full stop.
        text: String,
    },
    /// The run goes on, but something is odd.
    Warning {
        /// Lower case, no full stop.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// Who listens to a run.
pub trait Progress: Send + Sync {
    /// Takes one event; must be quick, and must not fail.
    fn event(&self, event: Event);

    /// A stage began.
    fn began(&self, stage: Stage, total: Amount) {
        self.event(Event::StageBegan { stage, total });
    }

    /// A stage did a little more.
    fn advanced(&self, stage: Stage, by: Amount) {
        self.event(Event::Advanced { stage, by });
    }

    /// A stage ended.
    fn ended(&self, stage: Stage, done: Amount) {
        self.event(Event::StageEnded { stage, done });
    }

    /// A sentence for every reader.
    fn note(&self, text: String) {
        self.event(Event::Note { level: Level::Info, text });
    }

    /// A sentence for somebody who looks for a cause.
    fn detail(&self, text: String) {
        self.event(Event::Note { level: Level::Detail, text });
    }

    /// Something odd that does not end the run.
    fn warn(&self, text: String, hint: Option<String>) {
        self.event(Event::Warning { text, hint });
    }
}

/// A listener that is passed around.
pub type SharedProgress = Arc<dyn Progress>;

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl NoProgress {
    /// The same, ready to be passed around.
    pub fn shared() -> SharedProgress {
        Arc::new(Self)
    }
}

impl Progress for NoProgress {
    fn event(&self, _event: Event) {}
}

/// An event and when it was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stamped {
    /// Wall time, for the reader.
    pub at: Timestamp,
    /// Monotonic time since the recorder was made, for durations.
    pub offset: Duration,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Which stage.
    pub stage: Stage,
    /// From its first beginning to its last end.
    pub seconds: f64,
    /// How much was done.
    #[serde(flatten)]
    pub done: Amount,
}

/// Keeps every event but the small steps, passes all of them on, and tells afterwards how long each stage took.
pub struct Recorder {
    clock: SharedClock,
    start: Duration,
    next: SharedProgress,
    heard: Mutex<Vec<Stamped>>,
}

impl Recorder {
    /// A recorder that passes what it hears on to `next`.
    pub fn new(clock: SharedClock, next: SharedProgress) -> Arc<Self> {
        let start = clock.monotonic();
        Arc::new(Self { clock, start, next, heard: Mutex::new(Vec::new()) })
    }

    /// Everything kept so far, in order.
    pub fn events(&self) -> Vec<Stamped> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long each stage that ended took, in the order of their beginnings.
    pub fn phases(&self) -> Vec<Phase> {
        phases(&self.events())
    }
}

impl Progress for Recorder {
    fn event(&self, event: Event) {
        if !matches!(event, Event::Advanced { .. }) {
            let offset = self.clock.monotonic().saturating_sub(self.start);
            let stamped = Stamped { at: self.clock.now(), offset, event: event.clone() };
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(stamped);
        }
        self.next.event(event);
    }
}

/// The stages that ended in `events`, each with its duration, in the order of their beginnings.
pub fn phases(events: &[Stamped]) -> Vec<Phase> {
    let mut open: Vec<(Stage, Duration)> = Vec::new();
    let mut phases: Vec<Phase> = Vec::new();
    for Stamped { offset, event, .. } in events {
        match event {
            Event::StageBegan { stage, .. } if !open.iter().any(|(known, _)| known == stage) => {
                open.push((stage, *offset));
                phases.push(Phase { stage, seconds: f64::NAN, done: Amount::default() });
            }
            Event::StageEnded { stage, done } => {
                let began = open.iter().find(|(known, _)| known == stage).map(|(_, began)| *began);
                if let (Some(began), Some(phase)) = (began, phases.iter_mut().find(|phase| phase.stage == *stage)) {
                    phase.seconds = offset.saturating_sub(began).as_secs_f64();
                    phase.done += *done;
                }
            }
            _ => {}
        }
    }
    phases.retain(|phase| !phase.seconds.is_nan());
    phases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    #[test]
    fn a_recorder_tells_how_long_each_stage_took_and_leaves_out_those_that_never_ended() {
        let clock = SimClock::at(Timestamp::UNIX_EPOCH);
        let recorder = Recorder::new(Arc::new(clock.clone()), NoProgress::shared());
        recorder.began("rows", Amount::rows(10, 100));
        recorder.began("indexes", Amount::items(2));
        clock.advance(Duration::from_secs(3));
        recorder.advanced("rows", Amount::rows(10, 100));
        recorder.ended("rows", Amount::rows(10, 100));
        let expected = Phase { stage: "rows", seconds: 3.0, done: Amount::rows(10, 100) };
        assert_eq!(recorder.phases(), [expected]);
        assert_eq!(recorder.events().len(), 3, "small steps are not kept");
    }

    #[test]
    fn an_event_is_one_flat_json_object() {
        let stamped = Stamped {
            at: Timestamp::UNIX_EPOCH,
            offset: Duration::ZERO,
            event: Event::Warning { text: "odd".to_owned(), hint: None },
        };
        let json = serde_json::to_value(&stamped).unwrap();
        assert_eq!((json["event"].as_str(), json["text"].as_str()), (Some("warning"), Some("odd")));
    }
}
