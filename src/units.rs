//! Sizes and durations as people write them: `64MiB`, `50MB/s`, `30s`, `12h`, `90 days`.

use serde::de::{self, Deserialize, Deserializer};
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

/// Bytes, written `64MiB` (binary) or `64MB` (decimal), with an optional `/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A length of time, written `30s`, `5m`, `12h`, `90d` or in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const SIZES: [(&str, u64); 9] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

const TIMES_MS: [(&[&str], u64); 6] = [
    (&["ms", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "second", "seconds"], 1_000),
    (&["m", "min", "minute", "minutes"], 60_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

/// A whole number and its unit, in lower case.
fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim().to_ascii_lowercase()))
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size; write it as 64MiB or 50MB");
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let unit = unit.strip_suffix("/s").unwrap_or(&unit);
        let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a length of time; write it as 30s, 5m, 12h or 90d");
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let (_, factor) = TIMES_MS.iter().find(|(names, _)| names.contains(&unit.as_str())).ok_or_else(wrong)?;
        number.checked_mul(*factor).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZES[..5].iter().rev().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (name, factor) = exact.copied().unwrap_or(SIZES[0]);
        let name = match name {
            "kib" => "KiB",
            "mib" => "MiB",
            "gib" => "GiB",
            "tib" => "TiB",
            _ => "B",
        };
        write!(f, "{}{name}", self.0 / factor)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (names, factor) in TIMES_MS[..5].iter().rev() {
            if ms >= *factor {
                write!(text, "{}{}", ms / factor, names[0])?;
                ms %= factor;
            }
        }
        f.write_str(if text.is_empty() { "0s" } else { &text })
    }
}

/// Reads a type that has a textual form.
macro_rules! from_text {
    ($name:ty) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

from_text!(Bytes);
from_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes, back) in [
            ("64MiB", 64 << 20, "64MiB"),
            ("50 MB/s", 50_000_000, "50000000B"),
            ("16 kib", 16 << 10, "16KiB"),
            ("0b", 0, "0B"),
        ] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, back), "{text}");
        }
    }

    #[test]
    fn lengths_of_time_are_read_and_written_back() {
        for (text, seconds, back) in
            [("30s", 30, "30s"), ("90 days", 7_776_000, "90d"), ("1w", 604_800, "7d"), ("90m", 5_400, "1h30m")]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0.as_secs(), span.to_string().as_str()), (seconds, back), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_rather_than_guessed() {
        for text in ["30", "", "s", "-3s", "1.5h", "99999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
