//! Windows: the times at which faults are allowed.

use super::{Finding, GuardName};
use crate::error::{Error, Result};
use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Days and hours in a time zone: `Mon-Fri 09:00-17:00 Europe/Berlin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    zone: TimeZone,
    text: String,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Window {
    /// Whether an instant lies in it. One that ends before it begins goes over midnight and belongs to the day on which
    /// it began.
    pub fn contains(&self, now: Timestamp) -> bool {
        let now = now.to_zoned(self.zone.clone());
        let (time, today) = (now.time(), now.weekday());
        if self.from < self.to {
            return self.days.contains(&today) && self.from <= time && time < self.to;
        }
        let before_midnight = self.days.contains(&today) && self.from <= time;
        before_midnight || (self.days.contains(&today.previous()) && time < self.to)
    }
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let stranger = || {
            Error::input(format!("reading {text:?} as a window"))
                .hint("write days, hours and a time zone: Mon-Fri 09:00-17:00 Europe/Berlin")
        };
        let unknown = |zone: &str| {
            Error::input(format!("reading {text:?} as a window: {zone:?} is no time zone"))
                .hint("name it as the tz database does: Europe/Berlin, America/New_York or UTC")
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let days = match words.first() {
            Some(first) if first.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let days = days(first).ok_or_else(stranger)?;
                words.remove(0);
                days
            }
            _ => DAYS.iter().map(|(_, day)| *day).collect(),
        };
        let (hours, zone) = match words.as_slice() {
            [hours] => (*hours, TimeZone::UTC),
            [hours, zone] => (*hours, TimeZone::get(zone).map_err(|_| unknown(zone))?),
            _ => return Err(stranger()),
        };
        let (from, to) = hours.split_once('-').ok_or_else(stranger)?;
        let time = |text: &str| Time::strptime("%H:%M", text).map_err(|_| stranger());
        Ok(Self { days, from: time(from)?, to: time(to)?, zone, text: text.to_owned() })
    }
}

fn days(text: &str) -> Option<Vec<Weekday>> {
    let place = |name: &str| DAYS.iter().position(|(day, _)| day.eq_ignore_ascii_case(name));
    let mut found = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (place(from)?, place(to)?);
        let count = (to + 7 - from) % 7;
        found.extend((0..=count).map(|step| DAYS[(from + step) % 7].1));
    }
    Some(found)
}

impl TryFrom<String> for Window {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.text
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether now is allowed.
pub(super) fn ask(windows: &[Window], now: Timestamp) -> Finding {
    if windows.is_empty() {
        return Finding::yes(GuardName::Window, "no window was set");
    }
    let shown = windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match windows.iter().find(|window| window.contains(now)) {
        Some(open) => Finding::yes(GuardName::Window, format!("{open} is open")),
        None => Finding::no(GuardName::Window, format!("now is outside of {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_open_in_its_own_zone_and_over_midnight() {
        let office: Window = "Mon-Fri 09:00-17:00 Europe/Berlin".parse().unwrap();
        // 2026-11-20 is a Friday; Berlin is an hour ahead.
        assert!(office.contains(at("2026-11-20T08:00:00Z")) && !office.contains(at("2026-11-20T07:59:59Z")));
        assert!(!office.contains(at("2026-11-20T16:00:00Z")) && !office.contains(at("2026-11-21T10:00:00Z")));
        let night: Window = "Fri 22:00-04:00".parse().unwrap();
        assert!(night.contains(at("2026-11-20T23:00:00Z")) && night.contains(at("2026-11-21T03:59:00Z")));
        assert!(!night.contains(at("2026-11-21T23:00:00Z")) && !night.contains(at("2026-11-20T03:00:00Z")));
        let weekend: Window = "sat-mon,wed 00:00-23:59".parse().unwrap();
        assert_eq!(weekend.days.len(), 4);
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in ["", "always", "Mon", "09:00", "9-17", "Mon-Fri 09:00-17:00 Nowhere/Land", "Moon 09:00-17:00"] {
            assert_eq!(text.parse::<Window>().unwrap_err().kind().exit_code(), 2, "{text}");
        }
    }
}
