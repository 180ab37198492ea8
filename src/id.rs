//! Names and numbers that cross a border, each with a type of its own.

use crate::error::{Error, Result};
use jiff::Timestamp;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Writes bytes as lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads exactly `N` bytes of hexadecimal; `None` if it is anything else.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Reads any number of bytes of hexadecimal; `None` if it is anything else.
pub fn from_hex_bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Fixed-size bytes that are written as hexadecimal everywhere.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                from_hex(text).map(Self).ok_or_else(|| {
                    Error::input(format!("reading {text:?} as {} hexadecimal digits", $bytes * 2))
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// Keyed BLAKE3 of a chunk's plaintext.
    ChunkId, 32
);
hex_id!(
    /// What tells two sealed objects of one chunk apart.
    Nonce, 8
);
hex_id!(
    /// SHA-256 of bytes as they lie in the store.
    Sha256, 32
);
hex_id!(
    /// Which repository this is; drawn at random by `init`.
    RepositoryId, 16
);

impl Nonce {
    /// A fresh random nonce.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }
}

impl RepositoryId {
    /// A fresh random id.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }
}

impl Sha256 {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }
}

/// Counts and hashes what is written into it, and keeps none of it.
pub struct Hashing {
    context: aws_lc_rs::digest::Context,
    bytes: u64,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { context: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256), bytes: 0 }
    }
}

impl Hashing {
    /// How many bytes were written, and their SHA-256.
    pub fn finish(self) -> (u64, Sha256) {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.context.finish().as_ref());
        (self.bytes, Sha256(hash))
    }
}

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Names made of a UTC second and six random letters: they sort by time and never meet.
macro_rules! timed_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A new one, made at `now`.
            pub fn at(now: Timestamp) -> Self {
                Self(timed_name(now))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The second it was made.
            pub fn made_at(&self) -> Timestamp {
                time_of(&self.0).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                match time_of(text) {
                    Some(_) => Ok(Self(text.to_owned())),
                    None => Err(Error::input(format!("reading {text:?} as the id of a {}", $what))
                        .hint("an id looks like 20261120T010000Z-k3f9ab")),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

timed_id!(
    /// One recovery point.
    PointId, "recovery point"
);
timed_id!(
    /// One execution of a verb.
    RunId, "run"
);

/// Letters and digits that are not mistaken for each other when read aloud.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

fn timed_name(now: Timestamp) -> String {
    let mut name = now.strftime("%Y%m%dT%H%M%SZ-").to_string();
    let mut rng = rand::rng();
    for _ in 0..6 {
        name.push(char::from(LETTERS[rng.random_range(0..LETTERS.len())]));
    }
    name
}

fn time_of(name: &str) -> Option<Timestamp> {
    let (time, letters) = name.split_once('-')?;
    let known = |c: u8| LETTERS.contains(&c);
    if time.len() != 16 || letters.len() != 6 || !letters.bytes().all(known) {
        return None;
    }
    let zoneless = time.strip_suffix('Z')?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", zoneless).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// What is backed up, by the name its user calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(String);

impl SourceName {
    /// The longest name; it is a folder in the store.
    pub const LONGEST: usize = 128;

    /// The name of a source that has none of its own: its database's, with what a name cannot hold replaced.
    pub fn from_database(database: &str) -> Self {
        let mut name: String = database
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
            .take(Self::LONGEST)
            .collect();
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            name.insert(0, 'x');
            name.truncate(Self::LONGEST);
        }
        Self(name)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SourceName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let well_formed = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= Self::LONGEST
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if well_formed {
            return Ok(Self(text.to_owned()));
        }
        let error = Error::input(format!("reading {text:?} as the name of a source"));
        if text.contains("://") {
            return Err(error.hint(
                "this is a URL: davit.yaml gives it a name under `sources`; only davit backup takes one as it is",
            ));
        }
        Err(error.hint(
            "a name is letters, digits, '.', '_' and '-', begins with a letter or digit, and is at most 128 long",
        ))
    }
}

impl TryFrom<String> for SourceName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_point_id_tells_its_second_and_sorts_by_it() {
        let early = PointId::at(Timestamp::from_second(1_800_000_000).unwrap());
        let late = PointId::at(Timestamp::from_second(1_800_000_001).unwrap());
        assert!(early < late);
        assert_eq!(early.made_at().as_second(), 1_800_000_000);
        assert_eq!(early.as_str().parse::<PointId>().unwrap(), early);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "latest", "20261120T010000Z", "20261320T010000Z-k3f9ab", "20261120T010000Z-../../"] {
            assert!(text.parse::<PointId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_round_trips(bytes: [u8; 32]) {
            prop_assert_eq!(from_hex::<32>(&to_hex(&bytes)), Some(bytes));
        }

        #[test]
        fn every_database_name_gives_a_source_name(database in "\\PC{1,200}") {
            let name = SourceName::from_database(&database);
            prop_assert!(name.as_str().parse::<SourceName>().is_ok(), "{name}");
        }
    }
}
