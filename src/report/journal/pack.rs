//! Many probes and rows in few bytes, which compress well and lose nothing.

use crate::measure::{Answer, Attempt, Read, Sample};
use crate::observation::numbers::{Pace, base64_text, nanos_of, put, put_signed, since, take, take_signed};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

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
            let (due, sent, ended) = (nanos_of(sample.due), nanos_of(sample.sent), nanos_of(sample.ended));
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
        // What a growing list has in reserve would be held as long as the journal.
        packed.numbers.shrink_to_fit();
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

/// A whole read, told by what differs from what was attempted: nearly every row is there once and as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedRead {
    /// Spans of ids, from and to: every id of them that was attempted is there once with what was written. They stand for
    /// attempted ids only.
    as_written: Vec<(u64, u64)>,
    /// Every other id that is there, with all that stands there.
    otherwise: BTreeMap<u64, Vec<u64>>,
}

impl PackedRead {
    /// Packs the rows of a read, each an id and what stands there. Rows of ids that are attempted, but not among `attempts`, must
    /// lie beyond all that are.
    pub fn of(rows: impl IntoIterator<Item = (u64, u64)>, attempts: impl IntoIterator<Item: Borrow<Attempt>>) -> Self {
        let mut rows: Vec<(u64, u64)> = rows.into_iter().collect();
        rows.sort_unstable();
        let (mut usual, mut others) = (vec![false; rows.len()], Vec::new());
        for attempt in attempts {
            let attempt: &Attempt = attempt.borrow();
            let (id, payload) = (attempt.id, attempt.payload);
            let at = rows.partition_point(|row| row.0 < id);
            let next = rows.get(at + 1).is_some_and(|row| row.0 == id);
            match (rows.get(at), usual.get_mut(at)) {
                (Some(row), Some(usual)) if *row == (id, payload) && !next => *usual = true,
                _ => others.push(id),
            }
        }
        // They end spans; ids that nobody tried do not.
        others.sort_unstable();
        let (mut packed, mut others) = (Self::default(), others.into_iter().peekable());
        let mut ended = true;
        for ((id, payload), usual) in rows.into_iter().zip(usual) {
            while others.next_if(|other| *other < id).is_some() {
                ended = true;
            }
            let as_written = usual && others.peek() != Some(&id);
            match packed.as_written.last_mut() {
                _ if !as_written => packed.otherwise.entry(id).or_default().push(payload),
                Some(span) if !ended => span.1 = id,
                _ => packed.as_written.push((id, id)),
            }
            ended &= !as_written;
        }
        packed
    }

    /// The read.
    pub fn read(&self) -> Read {
        let others = self.otherwise.iter().flat_map(|(id, all)| all.iter().map(|payload| (*id, *payload)));
        others.collect::<Read>().with_written(self.as_written.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Outcome;
    use crate::measure::ledger::{Survivor, classify};
    use crate::observation::packed::tests::attempt;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

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

    /// All rows of a packed read.
    fn rows(packed: &PackedRead, writes: &[Attempt]) -> Vec<(u64, u64)> {
        let within = |id: u64| packed.as_written.iter().any(|span| span.0 <= id && id <= span.1);
        let written = writes.iter().filter(|write| within(write.id)).map(|write| (write.id, write.payload));
        let others = packed.otherwise.iter().flat_map(|(id, all)| all.iter().map(|payload| (*id, *payload)));
        let mut rows: Vec<(u64, u64)> = written.chain(others).collect();
        rows.sort_unstable();
        rows
    }

    /// Writes of different ids, in any order.
    fn writes() -> impl Strategy<Value = Vec<Attempt>> {
        prop::collection::vec(attempt(), 0..60).prop_map(|writes| {
            let mut ids = BTreeSet::new();
            writes.into_iter().filter(|write| ids.insert(write.id)).collect()
        })
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
        fn a_read_comes_back_as_it_was(
            writes in writes(),
            read in prop::collection::vec((0..250_u64, 0..3_u64), 0..120),
        ) {
            // Rows of one id come in any order from a server; sorted they are the same read.
            let mut sorted = read.clone();
            sorted.sort_unstable();
            let text = serde_json::to_string(&PackedRead::of(read, &writes)).unwrap();
            let packed: PackedRead = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(rows(&packed, &writes), sorted);
        }

        #[test]
        fn packed_reads_are_classified_as_whole_ones(
            writes in writes(),
            honest in prop::collection::vec(0..4_u8, 60),
            more in prop::collection::vec((0..250_u64, 0..3_u64), 0..20),
        ) {
            // Nearly every write is there as it was written, as nearly always.
            let there = |most: u8| {
                let written = writes.iter().zip(&honest).filter(move |(_, honest)| **honest < most);
                written.map(|(write, _)| (write.id, write.payload)).chain(more.iter().copied()).collect::<Vec<_>>()
            };
            let plain: Vec<Read> = [2, 3].map(|most| there(most).into_iter().collect()).to_vec();
            let packed: Vec<Read> = [2, 3].map(|most| PackedRead::of(there(most), &writes).read()).to_vec();
            let survivor = Survivor { timeline: Some(2), fault: Duration::from_nanos(1 << 49) };
            prop_assert_eq!(classify(&writes, &packed, survivor), classify(&writes, &plain, survivor));
        }
    }

    #[test]
    fn a_read_of_what_was_written_is_one_span_but_for_what_is_missing() {
        let write = |id: u64| Attempt {
            id,
            payload: id * 31,
            invoked: Duration::ZERO,
            ended: Duration::ZERO,
            outcome: Outcome::Ok,
            timeline: None,
            lsn: None,
            xid: None,
        };
        let writes: Vec<Attempt> = (0..100).rev().map(write).collect();
        let there = writes.iter().filter(|write| write.id != 70).map(|write| (write.id, write.payload));
        let packed = PackedRead::of(there.chain([(200, 1)]), &writes);
        assert_eq!(packed.as_written, [(0, 69), (71, 99)]);
        assert_eq!(packed.otherwise, BTreeMap::from([(200, vec![1])]));
    }
}
