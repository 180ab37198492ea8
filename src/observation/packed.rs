//! Writes in few bytes: a day of them is held packed, and unpacked one at a time.

use super::numbers::{Pace, base64_text, nanos_of, put, put_delta, put_signed, since, take, take_delta, take_signed};
use super::{Attempt, Outcome};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;

/// Writes and what became of them, some twenty bytes each: a day at ten a second has a million of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedWrites {
    /// How many.
    count: u64,
    /// For each a byte that says how it ended (bits 0 and 1: 0 ok, 1 fail, 2 unknown) and what follows: that its timeline is
    /// not that of the one before (4), positions (8), a transaction (16). Then numbers of variable length: its id, told by the
    /// difference to the one before; what was written; when it was sent, told by how much it departs from the pace of the two
    /// before; from there to its end; and of what follows the timeline (0 where it is not known, otherwise one more), the
    /// position before the commit by its difference, from there to the one after it, the transaction by its difference. Times
    /// are nanoseconds.
    #[serde(with = "base64_text")]
    numbers: Vec<u8>,
}

const OK: u8 = 0;
const FAIL: u8 = 1;
const UNKNOWN: u8 = 2;
const OUTCOME: u8 = 3;
const OTHER_TIMELINE: u8 = 4;
const POSITIONS: u8 = 8;
const TRANSACTION: u8 = 16;

/// Writes of one part, which is one line of a journal: enough that the first of them, which is told in full, costs nothing.
const PART: usize = 20_000;

/// What is told by its difference to the write before.
#[derive(Default)]
struct Before {
    id: u64,
    sent: Pace,
    timeline: Option<u32>,
    position: u64,
    transaction: u64,
}

impl PackedWrites {
    /// Packs writes.
    pub fn of(writes: impl IntoIterator<Item: Borrow<Attempt>>) -> Self {
        let (mut packed, mut before) = (Self::default(), Before::default());
        for write in writes {
            packed.count += 1;
            before.put(&mut packed.numbers, write.borrow());
        }
        // What a growing list has in reserve would be held as long as the part.
        packed.numbers.shrink_to_fit();
        packed
    }

    /// Packs writes in parts, each as soon as it is asked for.
    pub fn parts(writes: impl IntoIterator<Item: Borrow<Attempt>>) -> impl Iterator<Item = Self> {
        let mut writes = writes.into_iter();
        std::iter::from_fn(move || Some(Self::of(writes.by_ref().take(PART))).filter(|part| part.count > 0))
    }

    /// Unpacks them, one at a time.
    pub fn writes(&self) -> impl Iterator<Item = Attempt> + '_ {
        let (mut rest, mut before) = (&self.numbers[..], Before::default());
        (0..self.count).map_while(move |_| before.take(&mut rest))
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Before {
    fn put(&mut self, bytes: &mut Vec<u8>, write: &Attempt) {
        let outcome = match write.outcome {
            Outcome::Ok => OK,
            Outcome::Fail => FAIL,
            Outcome::Unknown => UNKNOWN,
        };
        let other_timeline = write.timeline != self.timeline;
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        bytes.push(
            outcome
                | flag(other_timeline, OTHER_TIMELINE)
                | flag(write.lsn.is_some(), POSITIONS)
                | flag(write.xid.is_some(), TRANSACTION),
        );
        put_delta(bytes, write.id, &mut self.id);
        put(bytes, write.payload);
        let sent = nanos_of(write.invoked);
        put_signed(bytes, self.sent.departure(sent));
        put_signed(bytes, nanos_of(write.ended).wrapping_sub(sent));
        if other_timeline {
            put(bytes, write.timeline.map_or(0, |timeline| u64::from(timeline) + 1));
            self.timeline = write.timeline;
        }
        if let Some((from, to)) = write.lsn {
            put_delta(bytes, from, &mut self.position);
            put_delta(bytes, to, &mut { from });
        }
        if let Some(xid) = write.xid {
            put_delta(bytes, xid, &mut self.transaction);
        }
    }

    fn take(&mut self, rest: &mut &[u8]) -> Option<Attempt> {
        let (head, numbers) = rest.split_first()?;
        *rest = numbers;
        let outcome = match head & OUTCOME {
            OK => Outcome::Ok,
            FAIL => Outcome::Fail,
            _ => Outcome::Unknown,
        };
        let (id, payload) = (take_delta(rest, &mut self.id)?, take(rest)?);
        let sent = self.sent.due(take_signed(rest)?);
        let ended = sent.wrapping_add(take_signed(rest)?);
        if head & OTHER_TIMELINE > 0 {
            self.timeline = take(rest)?.checked_sub(1).and_then(|timeline| u32::try_from(timeline).ok());
        }
        let mut lsn = None;
        if head & POSITIONS > 0 {
            let from = take_delta(rest, &mut self.position)?;
            lsn = Some((from, take_delta(rest, &mut { from })?));
        }
        let xid = if head & TRANSACTION > 0 { Some(take_delta(rest, &mut self.transaction)?) } else { None };
        let (invoked, ended) = (since(sent), since(ended));
        Some(Attempt { id, payload, invoked, ended, outcome, timeline: self.timeline, lsn, xid })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Any write, with one of few ids and contents, so that they meet those of rows.
    pub(crate) fn attempt() -> impl Strategy<Value = Attempt> {
        let outcome = prop_oneof![Just(Outcome::Ok), Just(Outcome::Fail), Just(Outcome::Unknown)];
        let known = (prop::option::of(0..9_u32), prop::option::of(any::<(u64, u64)>()), prop::option::of(any::<u64>()));
        (0..200_u64, 0..3_u64, 0..1_u64 << 50, 0..1_u64 << 40, outcome, known).prop_map(
            |(id, payload, invoked, took, outcome, (timeline, lsn, xid))| {
                let at = Duration::from_nanos;
                Attempt { id, payload, invoked: at(invoked), ended: at(invoked + took), outcome, timeline, lsn, xid }
            },
        )
    }

    proptest! {
        #[test]
        fn writes_come_back_as_they_were(
            writes in prop::collection::vec((attempt(), any::<u64>(), any::<u64>()), 0..40),
        ) {
            let any = |(write, id, payload): (Attempt, u64, u64)| {
                // Half of the ids are near each other, as they are, and half of them anywhere.
                Attempt { id: if id.is_multiple_of(2) { id } else { write.id }, payload, ..write }
            };
            let writes: Vec<Attempt> = writes.into_iter().map(any).collect();
            let text = serde_json::to_string(&PackedWrites::of(&writes)).unwrap();
            let packed: PackedWrites = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(packed.count(), writes.len() as u64);
            prop_assert_eq!(packed.writes().collect::<Vec<_>>(), writes);
        }
    }

    #[test]
    fn parts_have_all_writes_in_their_order_and_few_bytes_each() {
        let at = |id: u64| Duration::from_millis(id * 100) + Duration::from_micros(id * 7_919 % 5_000);
        let write = |id: u64| Attempt {
            id,
            payload: id.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            invoked: at(id),
            ended: at(id) + Duration::from_micros(2_000 + id % 977),
            outcome: Outcome::Ok,
            timeline: Some(3),
            lsn: Some((id * 300, id * 300 + 250)),
            xid: Some(id + 700),
        };
        let count = 2 * PART as u64 + 1;
        let parts: Vec<PackedWrites> = PackedWrites::parts((0..count).map(write)).collect();
        assert_eq!(parts.iter().map(PackedWrites::count).collect::<Vec<_>>(), [PART as u64, PART as u64, 1]);
        assert!(parts.iter().flat_map(PackedWrites::writes).eq((0..count).map(write)));
        let bytes: usize = parts.iter().map(|part| part.numbers.capacity()).sum();
        assert!((bytes as u64) < 25 * count, "{bytes} bytes for {count} writes");
    }
}
