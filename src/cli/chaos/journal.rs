//! The journal of an injection by hand: every line lies in the repository before the next step, and is told on stderr.

use crate::chaos::{self, Event, Proof, Witness};
use crate::clock::SharedClock;
use crate::error::Result;
use crate::id::RunId;
use crate::journal::Progress;
use crate::repository::Repository;
use crate::telemetry::Story;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Writes lines down.
pub(super) struct Journal {
    /// Where to; nowhere for the janitor, whose intents say what it does.
    keep: Option<(Repository, RunId)>,
    number: AtomicU64,
    clock: SharedClock,
    start: Duration,
    story: Arc<Story>,
}

/// A line with its time.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    monotonic: Duration,
    #[serde(flatten)]
    event: &'a Event,
}

impl Journal {
    pub(super) fn new(keep: Option<(Repository, RunId)>, clock: SharedClock, story: Arc<Story>) -> Self {
        let start = clock.monotonic();
        Self { keep, number: AtomicU64::new(0), clock, start, story }
    }

    fn since(&self, instant: Duration) -> f64 {
        instant.saturating_sub(self.start).as_secs_f64()
    }

    fn tell(&self, event: &Event) {
        let text = match event {
            Event::LeaseTaken { .. } | Event::Injected { .. } | Event::Closed { .. } | Event::LeaseReleased => return,
            Event::Waiting { why } => why.clone(),
            Event::Planned { fault, target, seed, victims, .. } => {
                let shown: Vec<&str> = victims.iter().map(|victim| victim.shown.as_str()).collect();
                format!("{fault} into {target}, seed {seed}: {}", shown.join(", "))
            }
            Event::IntentDurable { object, .. } => format!("the undo is durable: {object}"),
            Event::Injecting { number, at } => {
                format!("injecting into victim {} at {:.3} s", number + 1, self.since(*at))
            }
            Event::Proof { proof: Proof::Proven(evidence), .. } => format!(
                "PROVEN between {:.3} s and {:.3} s: {}",
                self.since(evidence.effective.low),
                self.since(evidence.effective.high),
                evidence.seen
            ),
            Event::Proof { proof: Proof::Unproven { why }, .. } => {
                return self.story.warn(format!("NOT PROVEN to have taken effect: {why}"), None);
            }
            Event::Aborting { why } => format!("ending it early: {why}"),
            Event::Acknowledged { by, note, at } => format!(
                "a person noticed between {:.3} s and {:.3} s: {by}{}",
                self.since(at.low),
                self.since(at.high),
                note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default()
            ),
            Event::Healing { number } if chaos::is_fault(*number) => format!("healing victim {}", number + 1),
            Event::Healing { .. } => "taking the ledger's table away".to_owned(),
            Event::ReadBack { read_back, .. } => format!("read back: {}", read_back.text()),
            Event::Stuck { why, .. } => return self.story.warn(format!("NOT HEALED: {why}"), None),
        };
        self.story.note(text);
    }
}

#[async_trait]
impl Witness for Journal {
    async fn line(&self, event: Event) -> Result<()> {
        if let Some((repository, run)) = &self.keep {
            let line = Line { at: self.clock.now(), monotonic: self.clock.monotonic(), event: &event };
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            repository.put_events(run, number, &[line]).await?;
        }
        self.tell(&event);
        Ok(())
    }
}
