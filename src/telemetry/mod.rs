//! The story of a run on stderr: bars on a terminal, one line per stage elsewhere, JSON lines for log collectors.
//!
//! Nothing below configures any of this; verbs send events, libraries write `tracing` records, and both end here, so
//! that a bar and a line never tear each other apart. What goes out here is redacted once more.

mod bars;
mod lines;
mod trace;

pub use trace::install;

use crate::clock::SharedClock;
use crate::error::Error;
use crate::journal::{Event, Level, Progress};
use crate::secret::redact;
use anstyle::{AnsiColor, Style};
use bars::Bars;
use indicatif::MultiProgress;
use lines::Lines;
use std::io::{IsTerminal, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

/// How the story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Who tells the story of this run.
pub struct Story {
    form: Form,
    least: Level,
    multi: MultiProgress,
    view: View,
}

enum View {
    Bars(Mutex<Bars>),
    Lines(Mutex<Lines>),
}

impl Story {
    /// A story on stderr. `verbose` also tells what is only of interest to somebody who looks for a cause.
    /// A `terminal` that is `dumb` moves no cursor, so no bars are drawn on it.
    pub fn on_stderr(form: Form, verbose: bool, terminal: Option<&str>, clock: SharedClock) -> Arc<Self> {
        let multi = MultiProgress::new();
        let draws = std::io::stderr().is_terminal() && terminal.is_some_and(|name| name != "dumb");
        let view = if form == Form::Text && draws {
            View::Bars(Mutex::new(Bars::new(multi.clone())))
        } else {
            View::Lines(Mutex::new(Lines::new(clock)))
        };
        let least = if verbose { Level::Detail } else { Level::Info };
        Arc::new(Self { form, least, multi, view })
    }

    /// Takes the bars away; whatever is printed from here on has the terminal for itself.
    pub fn end(&self) {
        if let View::Bars(bars) = &self.view {
            bars.lock().unwrap_or_else(PoisonError::into_inner).end();
        }
    }

    /// Tells why the command failed, and what to try.
    pub fn failure(&self, error: &Error) {
        let text = error.to_string();
        self.labelled("error", AnsiColor::Red, &text, error.hint_text());
    }

    fn labelled(&self, label: &str, colour: AnsiColor, text: &str, hint: Option<&str>) {
        if self.form == Form::Json {
            let line = serde_json::json!({ "level": label, "text": redact(text), "hint": hint.map(redact) });
            return self.line(&line.to_string());
        }
        let hint = hint.map(|hint| format!("\n{}: {}", painted("hint", AnsiColor::Cyan), redact(hint)));
        self.line(&format!("{}: {}{}", painted(label, colour), redact(text), hint.unwrap_or_default()));
    }

    fn line(&self, text: &str) {
        // A closed stderr is no reason to fail a backup.
        self.multi.suspend(|| drop(writeln!(anstream::stderr().lock(), "{text}")));
    }

    fn stage(&self, event: &Event) {
        match &self.view {
            View::Bars(bars) => bars.lock().unwrap_or_else(PoisonError::into_inner).event(event),
            View::Lines(lines) => {
                let told = lines.lock().unwrap_or_else(PoisonError::into_inner).event(event, self.form, self.least);
                if let Some(text) = told {
                    self.line(&text);
                }
            }
        }
    }
}

impl Progress for Story {
    fn event(&self, event: Event) {
        match &event {
            Event::Note { level, .. } if *level < self.least => {}
            Event::Note { text, .. } if self.form == Form::Text => self.line(&redact(text)),
            Event::Note { level, text } => {
                let line = serde_json::json!({ "level": level, "text": redact(text) });
                self.line(&line.to_string());
            }
            Event::Warning { text, hint } => self.labelled("warning", AnsiColor::Yellow, text, hint.as_deref()),
            stage => self.stage(stage),
        }
    }
}

fn painted(label: &str, colour: AnsiColor) -> String {
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{label}{style:#}")
}
