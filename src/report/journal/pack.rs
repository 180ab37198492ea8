//! Many probes, writes and rows in few bytes: columns of differences, which compress well and lose nothing.

use crate::measure::{Answer, Attempt, Outcome, Read, Sample};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Probes of one stream, a few bytes each: a day has a million of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedSamples {
    /// How many.
    count: u64,
    /// For each four numbers of variable length: when it was due, told by how much it departs from the pace of the two
    /// before; from due to sent; from sent to ended; the answer (0 good, 1 silent, 2 not sent, 3 and more: refused with the
    /// text of that number in `said`). The first three are nanoseconds.
    #[serde(with = "base64_text")]
    numbers: Vec<u8>,
    /// What refusals said, each text once.
    said: Vec<String>,
}

const GOOD: u64 = 0;
const SILENT: u64 = 1;
const NOT_SENT: u64 = 2;
const REFUSED: u64 = 3;

impl PackedSamples {
    /// Packs samples.
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let (mut packed, mut texts, mut pace) = (Self::default(), HashMap::new(), Pace::default());
        for sample in samples {
            let (due, sent, ended) = (nanos(sample.due), nanos(sample.sent), nanos(sample.ended));
            packed.count += 1;
            put_signed(&mut packed.numbers, pace.departure(due));
            put_signed(&mut packed.numbers, sent.wrapping_sub(due));
            put_signed(&mut packed.numbers, ended.wrapping_sub(sent));
            let answer = match &sample.answer {
                Answer::Good => GOOD,
                Answer::Silent => SILENT,
                Answer::NotSent => NOT_SENT,
                Answer::Refused(said) => *texts.entry(said.clone()).or_insert_with(|| {
                    packed.said.push(said.clone());
                    REFUSED + packed.said.len() as u64 - 1
                }),
            };
            put(&mut packed.numbers, answer);
        }
        packed
    }

    /// Unpacks them, one at a time.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        let (mut rest, mut pace) = (&self.numbers[..], Pace::default());
        (0..self.count).map_while(move |_| {
            let due = pace.due(take_signed(&mut rest)?);
            let sent = due.wrapping_add(take_signed(&mut rest)?);
            let ended = sent.wrapping_add(take_signed(&mut rest)?);
            let answer = match take(&mut rest)? {
                GOOD => Answer::Good,
                SILENT => Answer::Silent,
                NOT_SENT => Answer::NotSent,
                text => {
                    let said = usize::try_from(text - REFUSED).ok().and_then(|at| self.said.get(at));
                    Answer::Refused(said.cloned().unwrap_or_default())
                }
            };
            Some(Sample { due: since(due), sent: since(sent), ended: since(ended), answer })
        })
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Probes that are due at a steady pace.
#[derive(Debug, Default)]
struct Pace {
    before: i64,
    step: i64,
}

impl Pace {
    /// By how much `due` departs from the pace so far.
    fn departure(&mut self, due: i64) -> i64 {
        let step = due.wrapping_sub(self.before);
        let departure = step.wrapping_sub(self.step);
        (self.before, self.step) = (due, step);
        departure
    }

    /// When the probe was due that departs by so much.
    fn due(&mut self, departure: i64) -> i64 {
        self.step = self.step.wrapping_add(departure);
        self.before = self.before.wrapping_add(self.step);
        self.before
    }
}

/// A number, seven bits a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// One that may be negative: its sign is its lowest bit, so that small numbers are short on both sides of zero.
fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, unsigned((number << 1) ^ (number >> 63)));
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
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

fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let bits = take(bytes)?;
    Some(signed(bits >> 1) ^ -signed(bits & 1))
}

/// Bytes as the text of a JSON document.
mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD_NO_PAD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Writes of a ledger, in columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedWrites {
    /// Id, as the difference to the one before.
    id: Vec<i64>,
    /// What was written.
    payload: Vec<u64>,
    /// When it was sent, as the difference to the one before.
    invoked: Vec<i64>,
    /// How long it took.
    took: Vec<i64>,
    /// 0 ok, 1 fail, 2 unknown.
    outcome: Vec<u8>,
    /// The server's timeline, 0 where it is not known.
    timeline: Vec<u32>,
    /// The position before the commit, as the difference to the one before; 0 and 0 where it is not known.
    lsn: Vec<i64>,
    /// From there to the position after it.
    lsn_width: Vec<i64>,
    /// The transaction, as the difference to the one before.
    xid: Vec<i64>,
    /// Which writes have positions and a transaction: bits 1 and 2.
    known: Vec<u8>,
}

impl PackedWrites {
    /// Packs writes.
    pub fn of<'a>(writes: impl IntoIterator<Item = &'a Attempt>) -> Self {
        let mut packed = Self::default();
        let (mut id, mut invoked, mut lsn, mut xid) = (0, 0, 0, 0);
        for write in writes {
            packed.id.push(delta(write.id, &mut id));
            packed.payload.push(write.payload);
            let sent = write.invoked;
            packed.invoked.push(nanos(sent) - invoked);
            invoked = nanos(sent);
            packed.took.push(nanos(write.ended) - nanos(sent));
            packed.outcome.push(match write.outcome {
                Outcome::Ok => 0,
                Outcome::Fail => 1,
                Outcome::Unknown => 2,
            });
            packed.timeline.push(write.timeline.unwrap_or_default());
            let (from, to) = write.lsn.unwrap_or((lsn, lsn));
            packed.lsn.push(delta(from, &mut lsn));
            packed.lsn_width.push(signed(to.wrapping_sub(from)));
            packed.xid.push(delta(write.xid.unwrap_or(xid), &mut xid));
            packed.known.push(u8::from(write.lsn.is_some()) | u8::from(write.xid.is_some()) << 1);
        }
        packed
    }

    /// Unpacks them.
    pub fn writes(&self) -> Vec<Attempt> {
        let (mut id, mut invoked, mut lsn, mut xid) = (0_u64, 0, 0_u64, 0_u64);
        let one = |at: usize| {
            id = id.wrapping_add(unsigned(*self.id.get(at)?));
            invoked += self.invoked.get(at)?;
            lsn = lsn.wrapping_add(unsigned(*self.lsn.get(at)?));
            xid = xid.wrapping_add(unsigned(*self.xid.get(at)?));
            let known = self.known.get(at)?;
            let width = unsigned(*self.lsn_width.get(at)?);
            Some(Attempt {
                id,
                payload: *self.payload.get(at)?,
                invoked: since(invoked),
                ended: since(invoked + self.took.get(at)?),
                outcome: match self.outcome.get(at)? {
                    0 => Outcome::Ok,
                    1 => Outcome::Fail,
                    _ => Outcome::Unknown,
                },
                timeline: Some(*self.timeline.get(at)?).filter(|timeline| *timeline > 0),
                lsn: (known & 1 > 0).then_some((lsn, lsn.wrapping_add(width))),
                xid: (known & 2 > 0).then_some(xid),
            })
        };
        (0..self.id.len()).map_while(one).collect()
    }
}

/// A whole read, told by what differs from what was attempted: nearly every row is there once and as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedRead {
    /// Spans of ids, from and to, that are there once with what was attempted.
    as_written: Vec<(u64, u64)>,
    /// Every other id that is there, with all that stands there.
    otherwise: BTreeMap<u64, Vec<u64>>,
}

impl PackedRead {
    /// Packs the rows of a read, each an id and what stands there.
    pub fn of(rows: impl IntoIterator<Item = (u64, u64)>, attempts: &[Attempt]) -> Self {
        let mut there: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (id, payload) in rows {
            there.entry(id).or_default().push(payload);
        }
        let mut packed = Self::default();
        for (id, payload) in sorted(attempts) {
            // A span stands for attempted ids only, so ids that nobody tried do not end it.
            let usual = there.get(&id).is_some_and(|found| found[..] == [payload]);
            if usual {
                there.remove(&id);
                match packed.as_written.last_mut().filter(|span| span.1 != u64::MAX) {
                    Some(span) => span.1 = id,
                    None => packed.as_written.push((id, id)),
                }
            } else if packed.as_written.last().is_some_and(|span| span.1 != u64::MAX) {
                // Ends the span: the next usual id begins a new one.
                packed.as_written.push((u64::MAX, u64::MAX));
            }
        }
        packed.as_written = Self::joined(packed.as_written);
        packed.otherwise = there;
        packed
    }

    /// Takes the marks between spans out.
    fn joined(spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
        spans.into_iter().filter(|span| span.0 != u64::MAX).collect()
    }

    /// The read.
    pub fn read(&self, attempts: &[Attempt]) -> Read {
        let (mut rows, mut spans) = (Vec::new(), self.as_written.iter().peekable());
        for (id, payload) in sorted(attempts) {
            while spans.next_if(|span| span.1 < id).is_some() {}
            if spans.peek().is_some_and(|span| span.0 <= id) {
                rows.push((id, payload));
            }
        }
        let others = self.otherwise.iter().flat_map(|(id, all)| all.iter().map(|payload| (*id, *payload)));
        rows.into_iter().chain(others).collect()
    }
}

/// Ids and what was written, in the order of ids.
fn sorted(attempts: &[Attempt]) -> BTreeMap<u64, u64> {
    attempts.iter().map(|attempt| (attempt.id, attempt.payload)).collect()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn since(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// The difference to the one before, which wraps, so that every 64-bit number fits.
fn delta(now: u64, before: &mut u64) -> i64 {
    signed(now.wrapping_sub(std::mem::replace(before, now)))
}

fn signed(bits: u64) -> i64 {
    i64::from_ne_bytes(bits.to_ne_bytes())
}

fn unsigned(bits: i64) -> u64 {
    u64::from_ne_bytes(bits.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> impl Strategy<Value = Sample> {
        let answer = prop_oneof![
            Just(Answer::Good),
            Just(Answer::Silent),
            Just(Answer::NotSent),
            "[a-c]{1,2}".prop_map(Answer::Refused)
        ];
        (0..1_u64 << 50, 0..1_u64 << 40, 0..1_u64 << 40, answer).prop_map(|(due, wait, took, answer)| {
            let at = Duration::from_nanos;
            Sample { due: at(due), sent: at(due + wait), ended: at(due + wait + took), answer }
        })
    }

    fn attempt() -> impl Strategy<Value = Attempt> {
        let outcome = prop_oneof![Just(Outcome::Ok), Just(Outcome::Fail), Just(Outcome::Unknown)];
        let known = (prop::option::of(1..9_u32), prop::option::of(any::<(u64, u64)>()), prop::option::of(any::<u64>()));
        (0..200_u64, 0..3_u64, 0..1_u64 << 50, 0..1_u64 << 40, outcome, known).prop_map(
            |(id, payload, invoked, took, outcome, (timeline, lsn, xid))| {
                let at = Duration::from_nanos;
                Attempt { id, payload, invoked: at(invoked), ended: at(invoked + took), outcome, timeline, lsn, xid }
            },
        )
    }

    proptest! {
        #[test]
        fn samples_come_back_as_they_were(samples in prop::collection::vec(sample(), 0..40)) {
            let packed = PackedSamples::of(&samples);
            let text = serde_json::to_string(&packed).unwrap();
            let packed: PackedSamples = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(packed.samples().collect::<Vec<_>>(), samples);
        }

        #[test]
        fn writes_come_back_as_they_were(writes in prop::collection::vec(attempt(), 0..40)) {
            let text = serde_json::to_string(&PackedWrites::of(&writes)).unwrap();
            let packed: PackedWrites = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(packed.writes(), writes);
        }

        #[test]
        fn a_read_comes_back_as_it_was(
            writes in prop::collection::vec(attempt(), 0..60),
            rows in prop::collection::vec((0..250_u64, 0..3_u64), 0..120),
        ) {
            let mut writes = writes;
            writes.sort_by_key(|write| write.id);
            writes.dedup_by_key(|write| write.id);
            // Rows of one id come in any order from a server; sorted they are the same read.
            let mut rows = rows;
            rows.sort_unstable();
            let read: Read = rows.iter().copied().collect();
            prop_assert_eq!(PackedRead::of(rows, &writes).read(&writes), read);
        }
    }
}
