//! What the name of a dump says: when it was made, of which database, in which form. A name is a hint, never proof.

use super::codec::Codec;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::Serialize;

/// Words in names that name no database.
const NO_DATABASE: [&str; 26] = [
    "all",
    "backup",
    "backups",
    "bak",
    "cluster",
    "daily",
    "database",
    "databases",
    "db",
    "dump",
    "dumpall",
    "dumps",
    "file",
    "full",
    "globals",
    "hourly",
    "latest",
    "monthly",
    "pg",
    "pgdump",
    "prod",
    "production",
    "snapshot",
    "sql",
    "weekly",
    "yearly",
];

/// In which form a dump is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// SQL.
    Sql,
    /// A custom-format archive.
    Archive,
}

/// What a name says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guess {
    /// When it was made, read as UTC.
    pub time: Option<Timestamp>,
    /// The database it was made of.
    pub database: Option<String>,
    /// How it is compressed.
    pub codec: Option<Codec>,
    /// What is inside.
    pub content: Option<Form>,
}

/// Reads a name such as `daily/cloudflow_20260124_010000.sql.gz`; `None` if it is no name of a dump.
pub fn read(key: &str) -> Option<Guess> {
    let (folders, file) = key.rsplit_once('/').unwrap_or(("", key));
    let lower = file.to_ascii_lowercase();
    let (stem, codec) = match lower.rsplit_once('.') {
        Some((stem, "gz" | "gzip")) => (stem, Some(Codec::Gzip)),
        Some((stem, "zst" | "zstd")) => (stem, Some(Codec::Zstd)),
        _ => (lower.as_str(), None),
    };
    let (stem, content) = match stem.rsplit_once('.') {
        Some((stem, "sql" | "psql" | "pgsql")) => (stem, Some(Form::Sql)),
        Some((stem, "dump" | "pgdump" | "dmp" | "custom" | "fc")) => (stem, Some(Form::Archive)),
        Some((stem, "backup" | "bak" | "tar")) => (stem, None),
        // `backup.gz` may be a dump; anything else without an ending we know is not listed.
        _ if codec.is_some() => (stem, None),
        _ => return None,
    };
    // Cutting endings off keeps byte places; letters of the database keep their case.
    let stem = &file[..stem.len()];
    let (time, rest) = match time_in(stem) {
        Some((time, start, end)) => (Some(time), format!("{} {}", &stem[..start], &stem[end..])),
        None => (None, stem.to_owned()),
    };
    let time = time.or_else(|| folders.rsplit('/').find_map(time_in).map(|(time, ..)| time));
    let database =
        database_in(&rest).or_else(|| folders.rsplit('/').filter(|f| time_in(f).is_none()).find_map(database_in));
    Some(Guess { time, database, codec: codec.or(content.map(|_| Codec::Plain)), content })
}

/// What is left of a name when dates, numbers and words like `backup` are taken off at both ends.
fn database_in(name: &str) -> Option<String> {
    let is_part = |part: &str| {
        let number = part.bytes().all(|byte| byte.is_ascii_digit());
        !number && !NO_DATABASE.iter().any(|word| part.eq_ignore_ascii_case(word))
    };
    let separator = |letter: char| matches!(letter, '_' | '-' | '.' | ' ' | '@' | '+' | ':' | '=');
    let parts: Vec<(usize, &str)> = name
        .split(separator)
        .filter(|part| is_part(part) && !part.is_empty())
        .map(|part| (part.as_ptr() as usize - name.as_ptr() as usize, part))
        .collect();
    let (first, last) = (parts.first()?, parts.last()?);
    Some(name[first.0..last.0 + last.1.len()].to_owned())
}

/// The first date or Unix time in a text, and where it stands.
fn time_in(text: &str) -> Option<(Timestamp, usize, usize)> {
    let bytes = text.as_bytes();
    (0..bytes.len())
        .filter(|&start| bytes[start].is_ascii_digit() && (start == 0 || !bytes[start - 1].is_ascii_digit()))
        .find_map(|start| {
            let mut reader = Reader { bytes, place: start };
            let time = reader.date_and_time().or_else(|| {
                reader.place = start;
                reader.unix_time()
            })?;
            Some((time, start, reader.place))
        })
}

struct Reader<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl Reader<'_> {
    /// `20260124_010000`, `2026-01-24T01:00:00Z`, `2026-01-24`, `20260124T0100`, …
    fn date_and_time(&mut self) -> Option<Timestamp> {
        let year = self.number(4)?;
        let separator = self.sign(b"-_.");
        let month = self.number(2)?;
        if separator.is_some() && self.sign(b"-_.").is_none() {
            return None;
        }
        let day = self.number(2)?;
        let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        if !(1990..2200).contains(&year) {
            return None;
        }
        let after_date = self.place;
        let time = self.time().unwrap_or_else(|| {
            self.place = after_date;
            Time::midnight()
        });
        DateTime::from_parts(date, time).to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }

    fn time(&mut self) -> Option<Time> {
        self.sign(b"_-T.t :@");
        let hour = self.number(2)?;
        self.sign(b":-_.h");
        let minute = self.number(2)?;
        let before_second = self.place;
        self.sign(b":-_.m");
        let second = self.number(2).unwrap_or_else(|| {
            self.place = before_second;
            0
        });
        self.sign(b"Zz");
        let part = |number: i16| i8::try_from(number).ok();
        Time::new(part(hour)?, part(minute)?, part(second)?, 0).ok()
    }

    /// Seconds since 1970, ten digits that stand alone.
    fn unix_time(&mut self) -> Option<Timestamp> {
        let digits = self.bytes[self.place..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits != 10 {
            return None;
        }
        let text = std::str::from_utf8(&self.bytes[self.place..self.place + digits]).ok()?;
        self.place += digits;
        Timestamp::from_second(text.parse().ok()?).ok()
    }

    /// A number of exactly this many digits, at least.
    fn number(&mut self, digits: usize) -> Option<i16> {
        let part = self.bytes.get(self.place..self.place + digits)?;
        if !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.place += digits;
        std::str::from_utf8(part).ok()?.parse().ok()
    }

    fn sign(&mut self, signs: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.place).is_some_and(|byte| signs.contains(byte));
        self.place += usize::from(found);
        found.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(key: &str) -> (Option<String>, Option<String>, Option<Codec>, Option<Form>) {
        let guess = read(key).unwrap();
        (guess.time.map(|time| time.to_string()), guess.database, guess.codec, guess.content)
    }

    #[test]
    fn names_of_the_usual_scripts_are_understood() {
        let some = |text: &str| Some(text.to_owned());
        for (key, time, database) in [
            ("daily/cloudflow_20260124_010000.sql.gz", some("2026-01-24T01:00:00Z"), some("cloudflow")),
            ("prod/2025-10-04.sql", some("2025-10-04T00:00:00Z"), None),
            ("myapp/prod/2025-10-04.sql", some("2025-10-04T00:00:00Z"), some("myapp")),
            ("backup-2026-01-24T01:00:00Z.sql.zst", some("2026-01-24T01:00:00Z"), None),
            ("pg_backup_my-shop.Orders_202601240100.dump", some("2026-01-24T01:00:00Z"), some("my-shop.Orders")),
            ("ecotrack/2026/01/24/backup.sql", None, some("ecotrack")),
            ("shop/2026-01-24/dump.sql.gz", some("2026-01-24T00:00:00Z"), some("shop")),
            ("shop-1706054400.sql.gz", some("2024-01-24T00:00:00Z"), some("shop")),
            ("db-2026_01_24-13h05.sql", some("2026-01-24T13:05:00Z"), None),
            ("v2_orders.sql", None, some("v2_orders")),
        ] {
            let found = guess(key);
            assert_eq!((found.0, found.1), (time, database), "{key}");
        }
    }

    #[test]
    fn the_ending_says_the_form() {
        assert_eq!(guess("a.sql.gz").2, Some(Codec::Gzip));
        assert_eq!(guess("a.SQL").2, Some(Codec::Plain));
        assert_eq!(guess("a.dump").3, Some(Form::Archive));
        assert_eq!((guess("a.backup.gz").2, guess("a.backup.gz").3), (Some(Codec::Gzip), None));
        assert_eq!(read("a.txt"), None);
        assert_eq!(read("daily/"), None);
    }

    #[test]
    fn numbers_that_are_no_dates_are_none() {
        for text in ["99999999", "20261341", "12345678901", "1234", "20260124x"] {
            let time = time_in(text).map(|(time, ..)| time.to_string());
            let expected = (text == "20260124x").then(|| "2026-01-24T00:00:00Z".to_owned());
            assert_eq!(time, expected, "{text}");
        }
    }
}
