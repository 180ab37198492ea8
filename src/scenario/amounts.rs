//! Amounts as a scenario writes them: `15m`, `none`, `0.1%`, `10/s`.

use crate::measure::Objective;
use crate::units::Span;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An objective, or the word that it does not apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Aim {
    /// Nobody asked for anything.
    #[default]
    None,
    /// At most so long.
    Within(Duration),
}

/// A share of a whole, written `0.1%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

/// So many in a second, written `10/s`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

/// How many of those that match are hit: a number, or a share that is rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victims {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded down.
    Percent(u8),
    /// All of them.
    All,
}

impl Aim {
    /// The objective, if there is one.
    pub fn objective(self) -> Option<Objective> {
        match self {
            Self::None => None,
            Self::Within(span) => Some(Objective(span)),
        }
    }
}

impl Rate {
    /// Between two of them.
    pub fn period(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }
}

impl FromStr for Aim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self::None);
        }
        let span: Span = text.parse().map_err(|_| {
            format!("{text:?} is not an objective; write it as 15m or 4h, or none where it does not apply")
        })?;
        Ok(Self::Within(span.0))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a share; write it as 0.1%");
        let percent: f64 = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
        if (0.0..=100.0).contains(&percent) { Ok(Self(percent / 100.0)) } else { Err(wrong()) }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a rate; write it as 10/s");
        let rate: f64 = text.trim().strip_suffix("/s").ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
        if rate > 0.0 && rate <= 100_000.0 { Ok(Self(rate)) } else { Err(wrong()) }
    }
}

impl FromStr for Victims {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a number of victims; write it as 1, 30% or all");
        let text = text.trim();
        match text.strip_suffix('%') {
            _ if text == "all" => Ok(Self::All),
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            },
            None => match text.parse() {
                Ok(count) if count > 0 => Ok(Self::Count(count)),
                _ => Err(wrong()),
            },
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Within(span) => Span(*span).fmt(f),
        }
    }
}

impl fmt::Display for Victims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::All => f.write_str("all"),
        }
    }
}

impl Serialize for Aim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Within(span) => serializer.serialize_some(&span.as_secs_f64()),
        }
    }
}

/// Reads a type that has a textual form; a bare number is given to it as its text.
macro_rules! from_text {
    ($name:ty, $expecting:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    fn visit_unit<E: de::Error>(self) -> Result<$name, E> {
                        "".parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    };
}

from_text!(Aim, "a length of time such as 15m, or none");
from_text!(Share, "a share such as 0.1%");
from_text!(Rate, "a rate such as 10/s");
from_text!(Victims, "a number such as 1, a share such as 30%, or all");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!("15m".parse(), Ok(Aim::Within(Duration::from_mins(15))));
        assert_eq!("none".parse(), Ok(Aim::None));
        assert_eq!("0.1%".parse(), Ok(Share(0.001)));
        assert_eq!("10/s".parse(), Ok(Rate(10.0)));
        assert_eq!("30%".parse(), Ok(Victims::Percent(30)));
        assert_eq!("2".parse(), Ok(Victims::Count(2)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for text in ["-5m", "15", "", "soon"] {
            assert!(text.parse::<Aim>().unwrap_err().contains("write it as 15m"), "{text}");
        }
        for text in ["0.001", "101%", "-1%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert!("0/s".parse::<Rate>().is_err());
        for text in ["0", "-1", "0%", "101%"] {
            assert!(text.parse::<Victims>().is_err(), "{text}");
        }
    }
}
