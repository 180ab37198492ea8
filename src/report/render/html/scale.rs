//! Axes: where a value lies, and round numbers to write beside it.

/// From values to places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) until: f64,
    /// Where `from` lies.
    pub(super) start: f64,
    /// How many dots it is to `until`.
    pub(super) size: f64,
}

impl Scale {
    /// The place of a value, held within the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let span = self.until - self.from;
        let share = if span > 0.0 { ((value - self.from) / span).clamp(0.0, 1.0) } else { 0.0 };
        self.start + share * self.size
    }

    /// How many dots a length is.
    pub(super) fn length(&self, length: f64) -> f64 {
        let span = self.until - self.from;
        if span > 0.0 { length / span * self.size } else { 0.0 }
    }
}

/// Steps of time that people count in.
const STEPS: [f64; 24] = [
    0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
    3600.0, 7200.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0,
];

/// Round moments between two, counted from `zero`, at most `most` of them.
pub(super) fn moments(from: f64, until: f64, zero: f64, most: u32) -> Vec<(f64, String)> {
    let span = until - from;
    let step = STEPS.into_iter().find(|step| span / step <= f64::from(most)).unwrap_or(span.max(1.0));
    let mut at = ((from - zero) / step).ceil() * step;
    let mut moments = Vec::new();
    while at + zero <= until + step * 1e-9 && moments.len() <= most as usize + 1 {
        moments.push((at + zero, moment(at, step)));
        at += step;
    }
    moments
}

/// `+10 s`, `0`, `−2 min`, `+1 h 30`
fn moment(at: f64, step: f64) -> String {
    let size = at.abs();
    if size < step / 2.0 {
        return "0".to_owned();
    }
    let sign = if at < 0.0 { "−" } else { "+" };
    if step < 0.1 {
        format!("{sign}{:.0} ms", size * 1e3)
    } else if step < 1.0 {
        format!("{sign}{size:.1} s")
    } else if step < 60.0 && size < 180.0 {
        format!("{sign}{size:.0} s")
    } else if step < 60.0 {
        format!("{sign}{:.0}:{:02.0} min", (size / 60.0).floor(), size % 60.0)
    } else if step < 3600.0 && size < 7200.0 {
        format!("{sign}{:.0} min", size / 60.0)
    } else {
        let (hours, minutes) = ((size / 3600.0).floor(), (size % 3600.0 / 60.0).round());
        if minutes < 1.0 { format!("{sign}{hours:.0} h") } else { format!("{sign}{hours:.0}:{minutes:02.0} h") }
    }
}

/// Units of an axis of durations: how many seconds one is, and its word.
const UNITS: [(f64, &str); 5] = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms")];
/// An axis of durations has at most so many parts.
const PARTS: f64 = 5.0;

/// Marks from nothing to at least `most` seconds, all in one unit: where each is, and what stands beside it.
pub(super) fn durations(most: f64) -> Vec<(f64, String)> {
    // What would need fewer than two of a unit is told in the next smaller one.
    let unit = UNITS.into_iter().find(|(unit, _)| most >= unit * 2.0).unwrap_or((0.001, "ms"));
    let step = round_step(most / unit.0 / PARTS, unit.0);
    let mut marks = vec![(0.0, "0".to_owned())];
    while marks.last().is_some_and(|(at, _)| *at < most * 0.999_999) {
        #[expect(clippy::cast_precision_loss, reason = "a handful of marks")]
        let number = step * marks.len() as f64;
        marks.push((number * unit.0, format!("{number} {}", unit.1)));
    }
    marks
}

/// The next round number of a unit at or above a value. Hours are counted in quarters of a day, minutes and seconds in quarters
/// of an hour and of a minute.
fn round_step(value: f64, unit: f64) -> f64 {
    let steps: &[f64] = match unit {
        3600.0 => &[1.0, 2.0, 3.0, 4.0, 6.0, 12.0],
        60.0 | 1.0 => &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0],
        _ => &[],
    };
    steps.iter().copied().find(|step| *step >= value * 0.999_999).unwrap_or_else(|| round_up(value).max(1.0))
}

/// The next round number at or above a value: 1, 2 or 5 times a power of ten.
pub(super) fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_labelled_with_round_numbers_around_the_fault() {
        let texts =
            |from, until, zero| moments(from, until, zero, 6).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(20.0, 60.0, 30.0), ["−10 s", "0", "+10 s", "+20 s", "+30 s"]);
        assert_eq!(texts(0.0, 86_400.0, 43_200.0), ["−12 h", "−6 h", "0", "+6 h", "+12 h"]);
        let rounded = [0.0, 3.2, 50.0, 980.0].map(|value| format!("{}", round_up(value)));
        assert_eq!(rounded, ["1", "5", "50", "1000"]);
    }

    #[test]
    fn an_axis_of_durations_has_one_unit_and_round_numbers_of_it() {
        let texts = |most| durations(most).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ");
        for (most, marks) in [
            (0.3, "0, 100 ms, 200 ms, 300 ms"),
            (15.0, "0, 5 s, 10 s, 15 s"),
            (90.0, "0, 20 s, 40 s, 60 s, 80 s, 100 s"),
            (900.0, "0, 5 min, 10 min, 15 min"),
            (3600.0 * 1.05, "0, 15 min, 30 min, 45 min, 60 min, 75 min"),
            (14_400.0 * 1.05, "0, 1 h, 2 h, 3 h, 4 h, 5 h"),
            (86_400.0 * 1.05, "0, 6 h, 12 h, 18 h, 24 h, 30 h"),
            (604_800.0, "0, 2 d, 4 d, 6 d, 8 d"),
        ] {
            assert_eq!(texts(most), marks, "{most}");
            assert!(durations(most).last().is_some_and(|(at, _)| *at >= most * 0.999), "{most}");
        }
    }
}
