//! Random content by the seed: the same seed draws the same again.

#![allow(dead_code, reason = "each generator uses its part")]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// What is drawn from.
pub struct Draw {
    random: StdRng,
    /// How long words are.
    lengths: RangeInclusive<usize>,
}

impl Draw {
    pub fn new(seed: u64, lengths: RangeInclusive<usize>) -> Self {
        Self { random: StdRng::seed_from_u64(seed), lengths }
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.random.random_range(0..most)
    }

    pub fn maybe(&mut self) -> bool {
        self.random.random_bool(0.5)
    }

    pub fn word(&mut self) -> String {
        let length = self.random.random_range(self.lengths.clone());
        (0..length).map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap())).collect()
    }

    /// Up to so many words by words.
    pub fn words(&mut self, most: usize) -> Map<String, Value> {
        let count = self.below(most + 1);
        (0..count).map(|_| (self.word(), Value::from(self.word()))).collect()
    }

    pub fn quantity(&mut self) -> Value {
        let number = 1 + self.below(9);
        let unit = ["m", "", "Mi", "Gi", "k"][self.below(5)];
        json!(format!("{number}{unit}"))
    }

    /// Text with what is hard to quote.
    pub fn text(&mut self) -> String {
        let pieces = [
            "plain",
            "a: b",
            "\"quoted\"",
            "line\nend\n",
            "tab\there",
            "ünï ©ode ✓",
            "{{ mustache }}",
            "'",
            "\\",
            "- x",
            "0x1",
            "null",
            "1e3",
        ];
        (0..=self.below(4)).map(|_| pieces[self.below(pieces.len())]).collect::<Vec<_>>().join(" ")
    }
}
