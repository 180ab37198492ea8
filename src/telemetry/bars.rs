//! Progress on a terminal: a bar per stage, and one for all of them.

use crate::humane;
use crate::journal::{Amount, Event, Stage};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Bars are redrawn this often even when nothing happens, so that a stall looks like one.
const TICK: Duration = Duration::from_millis(250);
/// Each fits 80 columns; what does not is cut rather than wrapped.
const IN_BYTES: &str = "{prefix:>13} {bar:10} {percent:>3}%  {size}  {rate}  {left}  {wide_msg}";
const IN_ITEMS: &str = "{prefix:>13} {bar:10} {percent:>3}%  {count}  {left}  {wide_msg}";
const UNKNOWN: &str = "{prefix:>13} {spinner:10}  {left}  {wide_msg}";

/// All bars of one run.
pub(super) struct Bars {
    multi: MultiProgress,
    stages: Vec<Shown>,
    total: Option<ProgressBar>,
}

struct Shown {
    stage: Stage,
    unit: Unit,
    total: Amount,
    done: Amount,
    bar: ProgressBar,
}

/// What the length of a bar is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Rows,
    Items,
    Unknown,
}

impl Unit {
    const fn of(total: Amount) -> Self {
        match total {
            Amount { bytes: 1.., .. } => Self::Bytes,
            Amount { rows: 1.., .. } => Self::Rows,
            Amount { items: 1.., .. } => Self::Items,
            _ => Self::Unknown,
        }
    }

    const fn measure(self, amount: Amount) -> u64 {
        match self {
            Self::Bytes => amount.bytes,
            Self::Rows => amount.rows,
            Self::Items => amount.items,
            Self::Unknown => 0,
        }
    }

    const fn template(self) -> &'static str {
        match self {
            Self::Bytes => IN_BYTES,
            Self::Rows | Self::Items => IN_ITEMS,
            Self::Unknown => UNKNOWN,
        }
    }
}

impl Bars {
    pub(super) fn new(multi: MultiProgress) -> Self {
        Self { multi, stages: Vec::new(), total: None }
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::StageBegan { stage, total } => self.began(stage, *total),
            Event::Advanced { stage, by } => self.advanced(stage, *by),
            Event::StageEnded { stage, done } => self.ended(stage, *done),
            Event::Note { .. } | Event::Warning { .. } => {}
        }
        self.update_total();
    }

    pub(super) fn end(&mut self) {
        // A bar that is drawn again goes on counting time.
        for stage in self.stages.iter().filter(|stage| !stage.bar.is_finished()) {
            stage.bar.abandon();
        }
        if let Some(total) = self.total.take() {
            total.finish_and_clear();
        }
    }

    fn began(&mut self, stage: Stage, total: Amount) {
        let unit = Unit::of(total);
        let bar = self.multi.insert(self.stages.len(), ProgressBar::new(unit.measure(total)));
        bar.set_style(style(unit.template()));
        bar.set_prefix(stage);
        bar.enable_steady_tick(TICK);
        self.stages.push(Shown { stage, unit, total, done: Amount::default(), bar });
    }

    fn advanced(&mut self, stage: Stage, by: Amount) {
        let Some(bar) = self.stages.iter_mut().rev().find(|bar| bar.stage == stage) else { return };
        bar.done += by;
        bar.show();
    }

    fn ended(&mut self, stage: Stage, done: Amount) {
        let Some(bar) = self.stages.iter_mut().rev().find(|bar| bar.stage == stage) else { return };
        bar.done = done;
        // Estimates were only estimates: what was done is all there was.
        bar.total = done;
        bar.show();
        // From here on the time stands still.
        let took = format!("in {}", humane::seconds(bar.bar.elapsed().as_secs_f64()));
        bar.bar.set_style(style(&bar.unit.template().replace("{left}", &took)));
        bar.bar.finish();
    }

    /// One more bar for everything, as soon as there is more than one stage and something to add up: its time is that of
    /// the whole run, and whoever looks for the last line finds it wherever the run is.
    fn update_total(&mut self) {
        let mut in_bytes = self.stages.iter().filter(|bar| bar.unit == Unit::Bytes).peekable();
        if self.stages.len() < 2 || in_bytes.peek().is_none() {
            return;
        }
        let (done, all) = in_bytes.fold((0, 0), |(done, all), bar| (done + bar.done.bytes, all + bar.total.bytes));
        // Each row counts once, though a restore loads it in one stage and reads it back in another.
        let mut rows = BTreeMap::<Stage, u64>::new();
        for bar in &self.stages {
            *rows.entry(bar.stage).or_default() += bar.done.rows;
        }
        let rows = rows.into_values().max().filter(|rows| *rows > 0).map(rows_told);
        let total = self.total.get_or_insert_with(|| {
            let total = self.multi.add(ProgressBar::new(all));
            total.set_style(style(IN_BYTES));
            total.set_prefix("total");
            total.enable_steady_tick(TICK);
            total
        });
        total.set_length(all.max(done));
        total.set_position(done);
        total.set_message(rows.unwrap_or_default());
    }
}

impl Shown {
    fn show(&self) {
        let position = self.unit.measure(self.done);
        self.bar.set_length(self.unit.measure(self.total).max(position));
        self.bar.set_position(position);
        let rows = (self.done.rows > 0 && self.unit != Unit::Rows).then(|| rows_told(self.done.rows));
        let items = (self.done.items > 0 && self.unit == Unit::Unknown).then(|| humane::count(self.done.items));
        self.bar.set_message(items.or(rows).unwrap_or_default());
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants, and a test draws every one of them.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style
        .progress_chars("=> ")
        .with_key("size", |state: &ProgressState, to: &mut dyn Write| told(to, &humane::bytes(state.pos())))
        .with_key("count", |state: &ProgressState, to: &mut dyn Write| told(to, &part_of(state)))
        .with_key("rate", |state: &ProgressState, to: &mut dyn Write| told(to, &rate(state)))
        .with_key("left", |state: &ProgressState, to: &mut dyn Write| told(to, &left(state)))
}

/// Nothing can be done about a bar that cannot be drawn.
fn told(to: &mut dyn Write, text: &str) {
    let _ignored = to.write_str(text);
}

/// `3 of 40`; what is done is one number.
fn part_of(state: &ProgressState) -> String {
    match state.len() {
        Some(all) if all > state.pos() => format!("{} of {}", humane::count(state.pos()), humane::count(all)),
        _ => humane::count(state.pos()),
    }
}

/// `422,050 rows`, `1,234.5 M rows`: as short as a line is.
fn rows_told(number: u64) -> String {
    match number {
        0..1_000_000 => humane::counted(number, "row"),
        _ => format!("{}.{} M rows", humane::count(number / 1_000_000), number / 100_000 % 10),
    }
}

fn rate(state: &ProgressState) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for reading")]
    let rate = state.per_sec().max(0.0) as u64;
    format!("{}/s", humane::bytes(rate))
}

/// How long it will take; as long as nothing is known of that, how long it has taken.
fn left(state: &ProgressState) -> String {
    if state.pos() == 0 {
        return humane::seconds(state.elapsed().as_secs_f64());
    }
    match state.eta().as_secs() {
        seconds @ 0..60 => format!("{seconds} s left"),
        seconds @ 60..7200 => format!("{} min left", seconds / 60),
        seconds => format!("{} h left", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::io;
    use std::sync::{Arc, Mutex};

    /// A terminal of 80 columns that remembers each line it was given.
    #[derive(Debug, Clone, Default)]
    struct Narrow(Arc<Mutex<String>>);

    impl Narrow {
        fn add(&self, text: &str) {
            self.0.lock().unwrap().extend([text, "\n"]);
        }
    }

    impl TermLike for Narrow {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            self.add("");
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            self.add("");
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            self.add("");
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.add(text);
            Ok(())
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.add(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.add("");
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn after(events: &[Event]) -> Bars {
        let mut bars = Bars::new(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        for event in events {
            bars.event(event);
        }
        bars
    }

    #[test]
    fn every_template_is_well_formed() {
        for template in [IN_BYTES, IN_ITEMS, UNKNOWN] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_line_fits_a_terminal_of_80_columns() {
        let term = Narrow::default();
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let mut bars = Bars::new(MultiProgress::with_draw_target(target));
        bars.event(&Event::StageBegan { stage: "rows", total: Amount::rows(0, 987 << 30) });
        bars.event(&Event::StageBegan { stage: "large-objects", total: Amount::items(1_234_567) });
        bars.event(&Event::Advanced { stage: "rows", by: Amount::rows(1_234_567_890, 567 << 30) });
        bars.event(&Event::StageEnded { stage: "large-objects", done: Amount::items(1_234_567) });
        bars.end();
        let screen = term.0.lock().unwrap().clone();
        let widest = screen.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
        assert!(widest <= 80, "{widest}: {screen}");
        assert!(screen.contains("rows =====>") && screen.contains("57%  567 GiB"), "{screen}");
        assert!(screen.contains("1,234.5 M rows"), "{screen}");
        assert!(screen.contains("100%  1,234,567  in "), "{screen}");
    }

    #[test]
    fn a_stage_that_ended_shows_what_was_done_even_if_more_was_expected() {
        let bars = after(&[
            Event::StageBegan { stage: "rows", total: Amount::rows(10, 4096) },
            Event::Advanced { stage: "rows", by: Amount::rows(5, 1024) },
            Event::StageEnded { stage: "rows", done: Amount::rows(1500, 2048) },
        ]);
        let bar = &bars.stages[0].bar;
        assert_eq!((bar.position(), bar.length(), bar.message().as_str()), (2048, Some(2048), "1,500 rows"));
        assert!(bar.is_finished() && bars.total.is_none());
    }

    #[test]
    fn two_stages_in_bytes_are_added_up_and_an_estimate_that_was_too_low_grows() {
        let bars = after(&[
            Event::StageBegan { stage: "rows", total: Amount::rows(0, 3072) },
            Event::StageBegan { stage: "objects", total: Amount::rows(0, 1024) },
            Event::Advanced { stage: "rows", by: Amount::rows(0, 5000) },
        ]);
        assert_eq!(bars.stages[0].bar.length(), Some(5000));
        let total = bars.total.unwrap();
        assert_eq!((total.position(), total.length()), (5000, Some(5000)));
    }

    #[test]
    fn the_total_of_one_database_is_there_too_and_counts_each_row_once() {
        let backup = [
            Event::StageBegan { stage: "schema", total: Amount::items(1) },
            Event::StageBegan { stage: "rows", total: Amount::rows(0, 4096) },
            Event::Advanced { stage: "rows", by: Amount::rows(20, 1024) },
        ];
        let total = after(&backup).total.unwrap();
        assert_eq!((total.position(), total.length(), total.message().as_str()), (1024, Some(4096), "20 rows"));

        let another = Event::StageBegan { stage: "rows", total: Amount::rows(0, 1024) };
        let more = Event::Advanced { stage: "rows", by: Amount::rows(5, 512) };
        let read_back = Event::StageEnded { stage: "read-back", done: Amount::rows(25, 0) };
        let seen = [&backup[..], &[another, more]].concat();
        let begun = Event::StageBegan { stage: "read-back", total: Amount::items(1) };
        let total = after(&[&seen[..], &[begun, read_back]].concat()).total.unwrap();
        assert_eq!((total.position(), total.length(), total.message().as_str()), (1536, Some(5120), "25 rows"));
    }
}
