//! How durations, intervals and verdicts are said in every form of a report.

use super::drill::Bounds;
use crate::measure::Interval;
use std::time::Duration;

/// Seconds to the microsecond: finer than any clock here, and the same text on every machine.
pub(super) fn secs(duration: Duration) -> f64 {
    micros_to_secs(duration.as_micros())
}

fn micros_to_secs(micros: u128) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a century are below 2^52")]
    let secs = micros as f64 / 1e6;
    secs
}

/// The bounds of an interval of durations.
pub(super) fn bounds(interval: Interval) -> Bounds {
    Bounds { low: secs(interval.low), high: secs(interval.high) }
}

/// The bounds of an instant, counted from `zero`; what lies before it is negative.
pub(super) fn since(interval: Interval, zero: Duration) -> Bounds {
    let from = |at: Duration| secs(at.saturating_sub(zero)) - secs(zero.saturating_sub(at));
    Bounds { low: from(interval.low), high: from(interval.high) }
}

/// `12.43 s`, `4 min 05 s`, `0.250 s`
pub(super) fn seconds(seconds: f64) -> String {
    let (sign, size) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    if size <= 0.0 {
        "0 s".to_owned()
    } else if size < 0.000_5 {
        // Nothing is before or after at this scale.
        "0 ms".to_owned()
    } else if size < 1.0 {
        format!("{sign}{:.0} ms", size * 1e3)
    } else if size < 60.0 {
        format!("{sign}{size:.2} s")
    } else if size < 599.95 {
        // Tenths still tell the two ends of an interval apart.
        format!("{sign}{:.0} min {:04.1} s", (size / 60.0).floor(), size % 60.0)
    } else {
        format!("{sign}{}", crate::humane::seconds(size))
    }
}

/// The error of something, which is never said to be smaller than it is: rounded up to what is shown of it.
pub(super) fn error(size: f64) -> String {
    let shown = match size {
        ..1.0 => 1e3,
        ..60.0 => 1e2,
        _ => 1e1,
    };
    // A hair below the next step is what a computer makes of that step.
    seconds((size * shown - 1e-6).ceil() / shown)
}

/// A whole number of minutes and hours as people set it: `15 min`, `4 h`, `24 h`.
pub(super) fn aim(seconds: f64) -> String {
    let exact = |unit: f64| seconds >= unit && (seconds / unit).fract() <= 0.0;
    if exact(3600.0) {
        format!("{} h", seconds / 3600.0)
    } else if exact(60.0) {
        format!("{} min", seconds / 60.0)
    } else {
        self::seconds(seconds)
    }
}

impl std::fmt::Display for Bounds {
    /// `12.30 to 12.60 s`, or one figure where both read the same.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = (seconds(self.low), seconds(self.high));
        if low == high {
            return f.write_str(&high);
        }
        match (low.rsplit_once(' '), high.rsplit_once(' ')) {
            (Some((number, unit)), Some((other, same)))
                if unit == same && !number.contains(' ') && !other.contains(' ') =>
            {
                write!(f, "{number} to {high}")
            }
            _ => write!(f, "{low} to {high}"),
        }
    }
}

/// `99.97 %`
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = format!("{percent:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_well() {
        let between = |low, high| Bounds { low, high }.to_string();
        assert_eq!(between(12.304, 12.596), "12.30 to 12.60 s");
        assert_eq!(between(0.25, 0.25), "250 ms");
        assert_eq!(between(0.0, 0.1021), "0 s to 102 ms");
        assert_eq!(between(55.0, 245.0), "55.00 s to 4 min 05.0 s");
        assert_eq!([aim(900.0), aim(14_400.0), aim(86_400.0), aim(0.5)], ["15 min", "4 h", "24 h", "500 ms"]);
        assert_eq!([error(0.000_02), error(0.003), error(1.201)], ["1 ms", "3 ms", "1.21 s"]);
        assert_eq!(between(-0.000_1, 0.3), "0 to 300 ms");
        assert_eq!([percent(0.999), percent(0.5), percent(0.000_231)], ["99.9 %", "50 %", "0.023 %"]);
    }
}
