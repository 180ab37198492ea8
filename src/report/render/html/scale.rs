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
}
