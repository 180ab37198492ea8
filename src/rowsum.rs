//! The fingerprint of a set of rows that does not depend on their order: how many, and the sum of their hashes.
//!
//! Addition modulo 2^128, never XOR: under XOR a row that appears twice would vanish.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::AddAssign;

/// Count and hash sum of rows, each row being one COPY text line without its line feed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RowSum {
    /// How many rows.
    pub rows: u64,
    /// Sum of their XXH3-128 hashes modulo 2^128.
    pub sum: u128,
}

impl RowSum {
    /// Adds one row: a COPY text line without its line feed.
    pub fn add_row(&mut self, line: &[u8]) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(xxhash_rust::xxh3::xxh3_128(line));
    }
}

impl AddAssign for RowSum {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl fmt::Display for RowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.rows, self.sum)
    }
}

impl fmt::Debug for RowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowSum({self})")
    }
}

impl Serialize for RowSum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowSum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let parsed = text
            .split_once(':')
            .and_then(|(rows, sum)| Some(Self { rows: rows.parse().ok()?, sum: u128::from_str_radix(sum, 16).ok()? }));
        parsed.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a row sum such as 3:00ff")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(lines: &[&str]) -> RowSum {
        let mut sum = RowSum::default();
        for line in lines {
            sum.add_row(line.as_bytes());
        }
        sum
    }

    #[test]
    fn order_does_not_matter_but_repetition_does() {
        assert_eq!(sum_of(&["a", "b"]), sum_of(&["b", "a"]));
        assert_ne!(sum_of(&["a", "a"]).sum, sum_of(&["b", "b"]).sum);
        assert_ne!(sum_of(&["a", "a", "b"]), sum_of(&["a", "b", "b"]));
    }

    #[test]
    fn the_text_form_round_trips() {
        let sum = sum_of(&["1\talpha", "2\t\\N"]);
        let text = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<RowSum>(&text).unwrap(), sum);
    }
}
