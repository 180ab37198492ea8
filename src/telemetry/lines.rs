//! Progress where no terminal is: one line for each stage that ended.

use crate::clock::SharedClock;
use crate::humane;
use crate::journal::{Amount, Event, Level, Stage};
use crate::telemetry::Form;
use std::time::Duration;

/// The stages under way.
pub(super) struct Lines {
    clock: SharedClock,
    open: Vec<(Stage, Duration)>,
}

impl Lines {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, open: Vec::new() }
    }

    /// The line for an event, if it deserves one.
    pub(super) fn event(&mut self, event: &Event, form: Form, least: Level) -> Option<String> {
        match event {
            Event::StageBegan { stage, .. } => {
                self.open.push((stage, self.clock.monotonic()));
                match form {
                    Form::Json => self.json(event, None),
                    Form::Text => (least == Level::Detail).then(|| format!("{stage}: begun")),
                }
            }
            Event::StageEnded { stage, done } => {
                let seconds = self.close(stage);
                match form {
                    Form::Json => self.json(event, Some(seconds)),
                    Form::Text => Some(sentence(stage, *done, seconds)),
                }
            }
            Event::Advanced { .. } | Event::Note { .. } | Event::Warning { .. } => None,
        }
    }

    fn close(&mut self, stage: Stage) -> f64 {
        let now = self.clock.monotonic();
        let began = match self.open.iter().rposition(|(open, _)| *open == stage) {
            Some(at) => self.open.remove(at).1,
            None => now,
        };
        now.saturating_sub(began).as_secs_f64()
    }

    fn json(&self, event: &Event, seconds: Option<f64>) -> Option<String> {
        let mut line = serde_json::to_value(event).ok()?;
        let fields = line.as_object_mut()?;
        fields.insert("at".to_owned(), self.clock.now().to_string().into());
        if let Some(seconds) = seconds {
            fields.insert("seconds".to_owned(), seconds.into());
        }
        Some(line.to_string())
    }
}

/// `rows: 12 done, 1,234 rows, 3.4 MiB in 1.2 s (2.8 MiB/s)`
fn sentence(stage: Stage, done: Amount, seconds: f64) -> String {
    let parts = [
        (done.items > 0).then(|| format!("{} done", humane::count(done.items))),
        (done.rows > 0).then(|| humane::counted(done.rows, "row")),
        (done.bytes > 0).then(|| humane::bytes(done.bytes)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let what = if parts.is_empty() { "done".to_owned() } else { parts.join(", ") };
    // Below a tenth of a second a rate says nothing.
    if done.bytes == 0 || seconds < 0.1 {
        return format!("{stage}: {what} in {}", humane::seconds(seconds));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for reading"
    )]
    let rate = (done.bytes as f64 / seconds) as u64;
    format!("{stage}: {what} in {} ({}/s)", humane::seconds(seconds), humane::bytes(rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use jiff::Timestamp;
    use std::sync::Arc;

    fn told(form: Form, least: Level) -> Vec<String> {
        let clock = SimClock::at(Timestamp::UNIX_EPOCH);
        let mut lines = Lines::new(Arc::new(clock.clone()));
        let mut told = Vec::new();
        told.extend(lines.event(&Event::StageBegan { stage: "rows", total: Amount::rows(2, 9) }, form, least));
        clock.advance(Duration::from_secs(2));
        told.extend(lines.event(&Event::Advanced { stage: "rows", by: Amount::rows(1, 4) }, form, least));
        let done = Amount { items: 2, rows: 1500, bytes: 3 << 20 };
        told.extend(lines.event(&Event::StageEnded { stage: "rows", done }, form, least));
        told
    }

    #[test]
    fn a_stage_is_one_line() {
        assert_eq!(told(Form::Text, Level::Info), ["rows: 2 done, 1,500 rows, 3.0 MiB in 2.0 s (1.5 MiB/s)"]);
    }

    #[test]
    fn a_collector_gets_one_object_per_line() {
        insta::assert_snapshot!(told(Form::Json, Level::Info).join("\n"), @r#"
        {"at":"1970-01-01T00:00:00Z","event":"stage-began","stage":"rows","total":{"bytes":9,"items":0,"rows":2}}
        {"at":"1970-01-01T00:00:02Z","done":{"bytes":3145728,"items":2,"rows":1500},"event":"stage-ended","seconds":2.0,"stage":"rows"}
        "#);
    }
}
