//! How long the parts of a restore took, on the drill's own axis, in the words of a report.
//!
//! Rows are fetched from the repository while others go to the server: these are two parts that overlap, and each is told with
//! when it began and when it ended.

use crate::clock::SharedClock;
use crate::journal::{Event, Progress, Recorder, SharedProgress, Stage};
use crate::report::journal::RestorePhase;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How the restore calls what it fetches, and what it loads.
const FETCH: Stage = "fetch";
const ROWS: Stage = "rows";

/// Listens to a restore, for when its parts began and ended.
pub(super) struct Meter {
    clock: SharedClock,
    recorder: Arc<Recorder>,
    start: Duration,
    spans: Mutex<Spans>,
}

/// The first and the last time that something of each was heard.
#[derive(Debug, Default, Clone, Copy)]
struct Spans {
    fetch: Option<(Duration, Duration)>,
    load: Option<(Duration, Duration)>,
}

impl Meter {
    /// Passes what it hears on to `next`.
    pub(super) fn new(clock: &SharedClock, next: SharedProgress) -> Arc<Self> {
        let recorder = Recorder::new(clock.clone(), next);
        Arc::new(Self { clock: clock.clone(), recorder, start: clock.monotonic(), spans: Mutex::default() })
    }

    /// The parts, of which those that take longer with more data name its bytes.
    pub(super) fn parts(&self, bytes: u64) -> Vec<RestorePhase> {
        let mut parts: Vec<RestorePhase> = Vec::new();
        for stamped in self.recorder.events() {
            let at = self.start + stamped.offset;
            match stamped.event {
                Event::StageBegan { stage, .. } if !parts.iter().any(|part| part.name == word(stage)) => {
                    // What moves or reads rows takes longer with more of them; definitions do not.
                    let grows =
                        matches!(stage, ROWS | "indexes" | "foreign-keys" | "analyze" | "read-back" | "readback");
                    let bytes = if grows { bytes } else { 0 };
                    parts.push(RestorePhase { name: word(stage).to_owned(), from: at, until: at, bytes });
                }
                Event::StageEnded { stage, .. } => {
                    for part in parts.iter_mut().filter(|part| part.name == word(stage)) {
                        part.until = part.until.max(at);
                    }
                }
                _ => {}
            }
        }
        let spans = *self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = parts.iter().position(|part| part.name == word(ROWS));
        if let (Some(rows), Some((asked, opened)), Some((sent, _))) = (rows, spans.fetch, spans.load) {
            // From the first row that went to the server until the last table was committed.
            parts[rows].from = sent;
            // Large objects are fetched once more to be compared, and that is no part of it.
            let until = opened.min(parts[rows].until).max(asked);
            parts.push(RestorePhase { name: FETCH.to_owned(), from: asked, until, bytes });
        } else if let Some(rows) = rows {
            "fetch and load".clone_into(&mut parts[rows].name);
        }
        parts
    }
}

impl Progress for Meter {
    fn event(&self, event: Event) {
        if let Event::Advanced { stage: stage @ (FETCH | ROWS), .. } = &event {
            let at = self.clock.monotonic();
            let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            let span = if *stage == FETCH { &mut spans.fetch } else { &mut spans.load };
            *span = Some((span.map_or(at, |(first, _)| first), at));
        }
        self.recorder.event(event);
    }
}

fn word(stage: &str) -> &str {
    match stage {
        ROWS => "load",
        "indexes" => "index",
        "foreign-keys" => "foreign keys",
        "large-objects" => "large objects",
        "analyze" => "analyse",
        "read-back" | "readback" => "read back",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::journal::{Amount, NoProgress};

    #[test]
    fn every_part_of_a_restore_has_a_name_that_a_scenario_may_say() {
        const STAGES: [Stage; 12] = [
            "globals",
            "definitions",
            ROWS,
            "large-objects",
            "sequences",
            "indexes",
            "foreign-keys",
            "triggers",
            "views",
            "analyze",
            "read-back",
            "readback",
        ];
        let clock: SharedClock = Arc::new(SimClock::at(jiff::Timestamp::UNIX_EPOCH));
        // Rows that are fetched while others are loaded, and a restore without any.
        for fetched in [vec![FETCH, ROWS], Vec::new()] {
            let meter = Meter::new(&clock, NoProgress::shared());
            let told = if fetched.is_empty() { "fetch and load" } else { "fetch" };
            for stage in STAGES {
                meter.event(Event::StageBegan { stage, total: Amount::default() });
            }
            for stage in fetched {
                meter.event(Event::Advanced { stage, by: Amount::default() });
            }
            let names: Vec<String> = meter.parts(0).into_iter().map(|part| part.name).collect();
            assert!(names.iter().any(|name| name == told), "{names:?}");
            for name in names {
                assert!(crate::measure::instants::PHASE_NAMES.contains(&name.as_str()), "{name}");
            }
        }
    }

    #[test]
    fn rows_that_are_fetched_while_others_are_loaded_are_two_parts_that_overlap() {
        let clock = Arc::new(SimClock::at(jiff::Timestamp::UNIX_EPOCH));
        let shared: SharedClock = clock.clone();
        let (meter, start) = (Meter::new(&shared, NoProgress::shared()), shared.monotonic());
        let after = |seconds: u64, event: Event| {
            clock.advance(Duration::from_secs(seconds));
            meter.event(event);
        };
        let none = Amount::default;
        after(1, Event::StageBegan { stage: "definitions", total: none() });
        after(1, Event::StageEnded { stage: "definitions", done: none() });
        after(1, Event::StageBegan { stage: ROWS, total: none() });
        after(1, Event::Advanced { stage: FETCH, by: none() });
        after(1, Event::Advanced { stage: FETCH, by: Amount::rows(0, 9) });
        after(1, Event::Advanced { stage: ROWS, by: none() });
        after(1, Event::Advanced { stage: FETCH, by: Amount::rows(0, 9) });
        after(2, Event::StageEnded { stage: ROWS, done: none() });
        let parts = meter.parts(18);
        let since = |at: Duration| at.saturating_sub(start).as_secs();
        let told: Vec<(&str, u64, u64, u64)> =
            parts.iter().map(|part| (part.name.as_str(), since(part.from), since(part.until), part.bytes)).collect();
        assert_eq!(told, [("definitions", 1, 2, 0), ("load", 6, 9, 18), ("fetch", 4, 7, 18)]);
    }
}
