//! Numbers of variable length: what is many is written down in few bytes, which compress well and lose nothing.

use std::time::Duration;

/// What comes at a steady pace.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    before: i64,
    step: i64,
}

impl Pace {
    /// By how much `due` departs from the pace so far.
    pub(crate) fn departure(&mut self, due: i64) -> i64 {
        let step = due.wrapping_sub(self.before);
        let departure = step.wrapping_sub(self.step);
        (self.before, self.step) = (due, step);
        departure
    }

    /// When that was due which departs by so much.
    pub(crate) fn due(&mut self, departure: i64) -> i64 {
        self.step = self.step.wrapping_add(departure);
        self.before = self.before.wrapping_add(self.step);
        self.before
    }
}

/// A number, seven bits a byte, the lowest first.
pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// One that may be negative: its sign is its lowest bit, so that small numbers are short on both sides of zero.
pub(crate) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, unsigned((number << 1) ^ (number >> 63)));
}

/// A number, as the difference to the one before, which wraps, so that every 64-bit number fits.
pub(crate) fn put_delta(bytes: &mut Vec<u8>, number: u64, before: &mut u64) {
    put_signed(bytes, signed(number.wrapping_sub(std::mem::replace(before, number))));
}

/// The next number; nothing where the bytes end.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The next one that may be negative.
pub(crate) fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let bits = take(bytes)?;
    Some(signed(bits >> 1) ^ -signed(bits & 1))
}

/// The next one that is told by its difference.
pub(crate) fn take_delta(bytes: &mut &[u8], before: &mut u64) -> Option<u64> {
    *before = before.wrapping_add(unsigned(take_signed(bytes)?));
    Some(*before)
}

/// An instant in nanoseconds.
pub(crate) fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The instant of so many nanoseconds.
pub(crate) fn since(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

fn signed(bits: u64) -> i64 {
    i64::from_ne_bytes(bits.to_ne_bytes())
}

fn unsigned(bits: i64) -> u64 {
    u64::from_ne_bytes(bits.to_ne_bytes())
}

/// Bytes as the text of a JSON document.
pub(crate) mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD_NO_PAD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
