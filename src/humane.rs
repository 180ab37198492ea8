//! How numbers and times look to people, in results, notes and errors alike.

use jiff::{SignedDuration, Timestamp};

/// `1,234,567`
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 table`, `1,234 tables`
pub fn counted(number: u64, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {singular}{plural}", count(number))
}

/// `1.4 GiB`, to three digits.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // A size is for reading: two lost bits beyond 2^52 bytes do not matter.
    #[expect(clippy::cast_precision_loss, reason = "shown to three digits")]
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if size < 99.95 { format!("{size:.1} {}", UNITS[unit]) } else { format!("{size:.0} {}", UNITS[unit]) }
}

/// `0.4 s`, `12.3 s`, `4 min 05 s`, `3 h 07 min`
pub fn seconds(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = SignedDuration::try_from_secs_f64(seconds.round()).unwrap_or(SignedDuration::MAX).as_secs();
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

/// How long ago: `12 s`, `5 min`, `3 h`, `40 d`; `in the future` where clocks disagree.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        ..0 => "in the future".to_owned(),
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7200 => format!("{} min", secs / 60),
        secs @ 7200..172_800 => format!("{} h", secs / 3600),
        secs => format!("{} d", secs / 86_400),
    }
}

/// `2026-11-20 01:00:00 UTC`
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "table"), counted(2, "row")], ["1 table", "2 rows"]);
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(1 << 20), bytes((1 << 20) - 1), bytes(123 << 30)],
            ["0 B", "1023 B", "1.5 KiB", "1.0 MiB", "1.0 MiB", "123 GiB"]
        );
        assert_eq!(
            [seconds(0.04), seconds(59.96), seconds(245.4), seconds(11_220.0)],
            ["0.0 s", "1 min 00 s", "4 min 05 s", "3 h 07 min"]
        );
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        let now = Timestamp::from_second(10_000_000).unwrap();
        let ages = [119, 7_199, 172_799, 864_000, -1];
        let texts = ages.map(|secs| age(now - SignedDuration::from_secs(secs), now));
        assert_eq!(texts, ["119 s", "119 min", "47 h", "10 d", "in the future"]);
    }
}
