//! How far the standby was behind, as panels of their own under those that everybody has.

use super::graph::{frame, place};
use super::scale::{Scale, round_up};
use crate::report::series::Series;
use std::fmt::Write as _;

/// How high one panel is.
pub(super) const HEIGHT: f64 = 62.0;

/// One panel: what, its values, and how its axis is labelled.
pub(super) struct Panel {
    title: &'static str,
    values: Vec<Option<f64>>,
    /// From a value to what it is called.
    label: fn(f64) -> String,
    /// What the axis counts in.
    unit: f64,
}

/// Bytes that were not replayed, and how old what the standby showed was: each only where it was seen.
pub(super) fn panels(series: &Series) -> Vec<Panel> {
    #[expect(clippy::cast_precision_loss, reason = "for a drawing")]
    let bytes: Vec<Option<f64>> = series.lag_bytes.iter().map(|bytes| bytes.map(|bytes| bytes as f64)).collect();
    let most = bytes.iter().flatten().copied().fold(0.0, f64::max);
    let (unit, label): (f64, fn(f64) -> String) = match most {
        1_048_576.0.. => (1_048_576.0, |value| format!("{value} MiB")),
        1024.0.. => (1024.0, |value| format!("{value} KiB")),
        _ => (1.0, |value| format!("{value} B")),
    };
    let panels = [
        Panel { title: "Replica lag: log that is not replayed", values: bytes, label, unit },
        Panel {
            title: "Replica lag: how old what it shows is",
            values: series.lag_seconds.clone(),
            label: |value| format!("{value} s"),
            unit: 1.0,
        },
    ];
    panels.into_iter().filter(|panel| panel.values.iter().any(Option::is_some)).collect()
}

impl Panel {
    /// A step for each bucket in which it was seen; what was not seen is left open.
    pub(super) fn draw(&self, svg: &mut String, series: &Series, x: &Scale, top: f64) {
        let most = round_up(self.values.iter().flatten().copied().fold(0.0, f64::max) / self.unit);
        let y = |value: f64| top + HEIGHT * (1.0 - (value / self.unit / most).clamp(0.0, 1.0));
        let ticks = [most, 0.0].map(|value| (y(value * self.unit), (self.label)(value)));
        frame(svg, top, HEIGHT, self.title, &ticks);
        let mut path = String::new();
        let mut last: Option<(usize, f64)> = None;
        for (at, value) in self.values.iter().enumerate() {
            let Some(value) = *value else { continue };
            let left = place(series, x, at);
            let joined = last.is_some_and(|(before, _)| near(series, before, at));
            // Writing to a String cannot fail.
            let _ignored = match last {
                Some(_) if joined => write!(path, "H{left:.1}V{:.1}", y(value)),
                Some((before, _)) => {
                    write!(path, "H{:.1}M{left:.1} {:.1}", place(series, x, before + 1), y(value))
                }
                None => write!(path, "M{left:.1} {:.1}", y(value)),
            };
            last = Some((at, value));
        }
        if let Some((before, _)) = last {
            let _ignored = write!(path, "H{:.1}", place(series, x, before + 1));
        }
        let _ignored = write!(svg, "<path class=\"seriesline s3\" d=\"{path}\"/>");
    }
}

/// Whether nothing is missing between two buckets: it is looked at once a second, and twice that may pass.
fn near(series: &Series, before: usize, at: usize) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred buckets")]
    let apart = (at - before) as f64 * series.step;
    at == before + 1 || apart <= 2.5
}
