//! What every command has at hand: settings, clock, story, and the way to the store, the repository and servers.

use crate::cli::args::OutputForm;
use crate::cli::signal::Stop;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::journal::SharedProgress;
use crate::telemetry::Story;
use std::sync::Arc;

/// What every command has at hand.
pub struct Shell {
    /// What was settled.
    pub settings: Settings,
    /// Form of the result.
    pub form: OutputForm,
    /// Time.
    pub clock: SharedClock,
    /// Who tells the story.
    pub story: Arc<Story>,
    /// What signals ask for.
    pub stop: Stop,
}

impl Shell {
    /// The listener that verbs send their events to.
    pub fn progress(&self) -> SharedProgress {
        self.story.clone()
    }
}
