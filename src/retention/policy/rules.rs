//! The rules of retention as a user writes them.

use crate::error::{Error, Result};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How long points are kept. Without any rule nothing is ever removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// The newest point of each hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<Keep>,
    /// The newest point of each day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<Keep>,
    /// The newest point of each week (Monday to Sunday, numbered as ISO 8601 does).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<Keep>,
    /// The newest point of each month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<Keep>,
    /// The newest point of each year.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<Keep>,
    /// So many newest points, whatever their tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// Every point that is not older than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Term>,
    /// Where days, weeks, months and years begin.
    #[serde(serialize_with = "jiff::fmt::serde::tz::required::serialize", deserialize_with = "time_zone")]
    pub time_zone: TimeZone,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            hourly: None,
            daily: None,
            weekly: None,
            monthly: None,
            yearly: None,
            keep_last: None,
            keep_within: None,
            time_zone: TimeZone::UTC,
        }
    }
}

impl Rules {
    /// The rule of one tier.
    pub fn of(&self, tier: Tier) -> Option<&Keep> {
        match tier {
            Tier::Hourly => self.hourly.as_ref(),
            Tier::Daily => self.daily.as_ref(),
            Tier::Weekly => self.weekly.as_ref(),
            Tier::Monthly => self.monthly.as_ref(),
            Tier::Yearly => self.yearly.as_ref(),
        }
    }

    /// Whether there is no rule at all, so that nothing may be removed.
    pub fn are_empty(&self) -> bool {
        self.keep_last.is_none() && self.keep_within.is_none() && Tier::ALL.iter().all(|tier| self.of(*tier).is_none())
    }

    /// Until when a point made at `time` stays for certain, as far as that is known when it is made: its own tier's
    /// term, else that of the shortest period that has one. `retain` promises more when a period has ended.
    pub fn first_promise(&self, time: Timestamp, tier: Option<Tier>) -> Option<Timestamp> {
        let time = time.to_zoned(self.time_zone.clone());
        let terms = |tier: &Tier| match self.of(*tier) {
            Some(Keep::For(term)) => Some(term.after(&time)),
            _ => None,
        };
        let by_tier = match tier {
            Some(tier) => terms(&tier),
            None => Tier::ALL.iter().find_map(terms),
        };
        by_tier.max(self.keep_within.as_ref().map(|term| term.after(&time)))
    }
}

/// How long a point may be kept because it is the newest of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Of its hour.
    Hourly,
    /// Of its day.
    Daily,
    /// Of its week.
    Weekly,
    /// Of its month.
    Monthly,
    /// Of its year.
    Yearly,
}

impl Tier {
    /// From the shortest period to the longest.
    pub const ALL: [Self; 5] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// Its name in settings, flags and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tier {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|tier| tier.name() == text);
        found.ok_or_else(|| {
            Error::input(format!("reading {text:?} as a tier"))
                .hint("a tier is hourly, daily, weekly, monthly or yearly")
        })
    }
}

/// For how long, or how many.
#[derive(Debug, Clone, PartialEq)]
pub enum Keep {
    /// Until a point is this old.
    For(Term),
    /// The newest so many periods that have a point.
    Count(u32),
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(term) => write!(f, "{term}"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for Keep {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.trim().parse::<u32>() {
            Ok(0) => {
                Err(Error::input("reading 0 as a rule of retention").hint("leave the rule out to keep nothing by it"))
            }
            Ok(count) => Ok(Self::Count(count)),
            Err(_) => text.parse().map(Self::For),
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::For(term) => term.serialize(serializer),
            Self::Count(count) => count.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a term such as \"30 days\", or a number of periods")]
        enum Either {
            Count(u32),
            Text(String),
        }
        let text = match Either::deserialize(deserializer)? {
            Either::Count(count) => count.to_string(),
            Either::Text(text) => text,
        };
        text.parse().map_err(|error| explained(&error))
    }
}

/// A length of time in calendar units, as the user wrote it: `30 days`, `1 year`, `36h`.
#[derive(Debug, Clone)]
pub struct Term {
    text: String,
    span: Span,
}

impl Term {
    /// The instant at which something of `time` is as old as this. Days, months and years are those of the calendar
    /// in the time's own zone, so a day that is 23 or 25 hours long counts as one day.
    pub fn after(&self, time: &Zoned) -> Timestamp {
        time.checked_add(self.span).map_or(Timestamp::MAX, |until| until.timestamp())
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.span.fieldwise() == other.span
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const TERM_HINT: &str = "write it as 30 days, 12 weeks, 6 months, 1 year or 36 hours";

impl FromStr for Term {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let doing = || format!("reading {text:?} as a length of time");
        let span: Span =
            // The parser's own words are about designators; the hint shows what is wanted.
            text.parse().map_err(|_: jiff::Error| Error::input(doing()).hint(TERM_HINT))?;
        if !span.is_positive() {
            return Err(Error::input(doing()).because("it is not positive").hint(TERM_HINT));
        }
        Ok(Self { text: text.to_owned(), span })
    }
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| explained(&error))
    }
}

/// A time zone by its name; the reader's own words are about databases of zones.
fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(deserializer)?;
    let read: Result<TimeZone, serde::de::value::Error> =
        jiff::fmt::serde::tz::required::deserialize(name.as_str().into_deserializer());
    read.map_err(|_| {
        let hint = "write a name such as UTC, Europe/Berlin or America/New_York";
        explained(&Error::input(format!("reading {name:?} as a time zone")).hint(hint))
    })
}

/// A settings reader shows one text; the next step belongs into it.
fn explained<E: serde::de::Error>(error: &Error) -> E {
    match error.hint_text() {
        Some(hint) => E::custom(format!("{error} ({hint})")),
        None => E::custom(error),
    }
}
