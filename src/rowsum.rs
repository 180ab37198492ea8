//! The fingerprint of a set of rows that does not depend on their order: how many, and the sum of their hashes.
//!
//! Addition modulo 2^128, never XOR: under XOR a row that appears twice would vanish.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::AddAssign;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

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
        self.add_hash(xxh3_128(line));
    }

    /// Adds one row by its hash.
    pub fn add_hash(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }
}

/// Hashes the rows of a COPY text stream that comes in pieces; a row may lie across any number of them.
#[derive(Default)]
pub struct Rows {
    /// The hash so far of a row whose end has not come.
    open: Option<Box<Xxh3>>,
}

impl Rows {
    /// A reader at the beginning of a row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `each` with the hash of every row that ends in `piece`.
    pub fn each(&mut self, piece: &[u8], mut each: impl FnMut(u128)) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', piece) {
            let line = &piece[start..end];
            each(match self.open.take() {
                None => xxh3_128(line),
                Some(mut open) => {
                    open.update(line);
                    open.digest128()
                }
            });
            start = end + 1;
        }
        if start < piece.len() {
            self.open.get_or_insert_default().update(&piece[start..]);
        }
    }

    /// Count and sum of the rows that end in `piece`.
    pub fn sum(&mut self, piece: &[u8]) -> RowSum {
        let mut sum = RowSum::default();
        self.each(piece, |hash| sum.add_hash(hash));
        sum
    }

    /// Whether the last piece ended with a row.
    pub fn is_between_rows(&self) -> bool {
        self.open.is_none()
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("between_rows", &self.is_between_rows()).finish()
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
    fn rows_sum_to_the_same_however_they_are_cut_into_pieces() {
        let text = b"1\talpha\n\n2\t\\N\n3\tno end";
        for cut in 0..=text.len() {
            let mut rows = Rows::new();
            let mut sum = rows.sum(&text[..cut]);
            sum += rows.sum(&text[cut..]);
            assert_eq!(sum, sum_of(&["1\talpha", "", "2\t\\N"]), "cut at {cut}");
            assert!(!rows.is_between_rows());
        }
        let mut whole = Rows::new();
        whole.sum(b"a\n");
        assert!(whole.is_between_rows());
    }

    #[test]
    fn the_text_form_round_trips() {
        let sum = sum_of(&["1\talpha", "2\t\\N"]);
        let text = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<RowSum>(&text).unwrap(), sum);
    }
}
