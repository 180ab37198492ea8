//! Reading a ledger again, above all one whose writer was killed.

use super::line::{FORMAT, Line, Place};
use super::{SPACE, payload};
use crate::error::{Context, Error, Kind, Result};
use crate::observation::{Attempt, Outcome};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// What a ledger says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What rows contain follows from it.
    pub seed: u64,
    /// The writes whose end was written down, by id.
    pub settled: Vec<Attempt>,
    /// The ids that may have been tried.
    pub space: Range<u64>,
    /// Lines that were not whole. More than the last one means that the disk lost what it had not synced.
    pub torn: u64,
}

impl Account {
    /// Every write that must be accounted for: those whose end is known, and as unknown those of the others that stand in
    /// the target (`present`) or were certainly begun. An id that was announced, has no end and is not there may never have
    /// been tried, and makes no difference.
    pub fn attempts(&self, present: &HashSet<u64>) -> Vec<Attempt> {
        let known: HashSet<u64> = self.settled.iter().map(|attempt| attempt.id).collect();
        let begun = self.space.start..self.settled.last().map_or(self.space.start, |attempt| attempt.id + 1);
        let there = present.iter().copied().filter(|id| self.space.contains(id) && !begun.contains(id));
        let open = begun.clone().chain(there).filter(|id| !known.contains(id));
        let unknown = |id: u64| Attempt {
            id,
            payload: payload(self.seed, id),
            invoked: Duration::ZERO,
            ended: Duration::ZERO,
            outcome: Outcome::Unknown,
            timeline: None,
            lsn: None,
            xid: None,
        };
        let mut all: Vec<Attempt> = self.settled.iter().cloned().chain(open.map(unknown)).collect();
        all.sort_by_key(|attempt| attempt.id);
        all
    }
}

/// Reads a ledger on this disk.
pub(super) fn read(path: &Path) -> Result<Account> {
    let doing = || format!("reading the ledger {}", path.display());
    let file = File::open(path).context(Kind::Input, doing)?;
    // What is believed must still be there tomorrow.
    file.sync_all().context(Kind::Failed, doing)?;
    account(&path.display().to_string(), BufReader::new(file).split(b'\n'))
}

/// What the lines of a ledger say.
pub(super) fn account(name: &str, lines: impl Iterator<Item = io::Result<Vec<u8>>>) -> Result<Account> {
    let doing = || format!("reading the ledger {name}");
    let mut account = Account { seed: 0, settled: Vec::new(), space: 0..0, torn: 0 };
    let mut ends = BTreeMap::new();
    let mut began = false;
    for line in lines {
        let line = line.context(Kind::Failed, doing)?;
        match Line::parse(&line) {
            Some(Line::Began { format, .. }) if format > FORMAT => {
                return Err(Error::input(format!("{}: its format is {format}", doing()))
                    .hint("a newer Davit wrote it: read it with that one"));
            }
            Some(Line::Began { seed, from, travels, .. }) => {
                (account.seed, began) = (seed, true);
                account.space = from..if travels { from + SPACE } else { from };
            }
            Some(Line::Block { until, .. }) => account.space.end = account.space.end.max(until),
            Some(Line::Write(id, outcome, invoked, ended, place)) => {
                ends.insert(id, (outcome, invoked, ended, place));
            }
            None => account.torn += 1,
        }
    }
    if !began {
        return Err(Error::input(format!("{}: it is no ledger", doing())));
    }
    account.settled = settled(account.seed, ends);
    Ok(account)
}

type Told = (Outcome, u64, u64, Place);

fn settled(seed: u64, ends: BTreeMap<u64, Told>) -> Vec<Attempt> {
    let after = Positions::of(ends.values());
    let attempt = |(id, (outcome, invoked, ended, place)): (u64, Told)| Attempt {
        id,
        payload: payload(seed, id),
        invoked: Duration::from_nanos(invoked),
        ended: Duration::from_nanos(ended),
        outcome,
        timeline: place.tl,
        lsn: place.tl.zip(place.lsn).and_then(|(timeline, before)| Some((before, after.after(timeline, ended)?))),
        xid: place.xid,
    };
    ends.into_iter().map(attempt).collect()
}

/// Where the log of each timeline ended at which instant. A position that any write read after the acknowledgement of
/// another one lies behind that one's commit, so nobody has to ask for it a second time.
struct Positions {
    /// By timeline: when a write was sent, and the smallest position that it or a later one read.
    read: BTreeMap<u32, Vec<(u64, u64)>>,
}

impl Positions {
    fn of<'a>(ends: impl Iterator<Item = &'a Told>) -> Self {
        let mut read: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for (_, invoked, _, place) in ends {
            if let (Some(timeline), Some(lsn)) = (place.tl, place.lsn) {
                read.entry(timeline).or_default().push((*invoked, lsn));
            }
        }
        for positions in read.values_mut() {
            positions.sort_unstable();
            let mut least = u64::MAX;
            for (_, lsn) in positions.iter_mut().rev() {
                least = least.min(*lsn);
                *lsn = least;
            }
        }
        Self { read }
    }

    fn after(&self, timeline: u32, ended: u64) -> Option<u64> {
        let positions = self.read.get(&timeline)?;
        let at = positions.partition_point(|(invoked, _)| *invoked <= ended);
        positions.get(at).map(|(_, lsn)| *lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK, Ledger};
    use super::*;
    use crate::clock::SystemClock;
    use crate::probe::MemorySink;
    use std::io::Write;

    fn write(ledger: &Ledger, outcome: Outcome, lsn: u64) -> Attempt {
        let row = ledger.begin().unwrap();
        let attempt = Attempt {
            id: row.id,
            payload: row.payload,
            invoked: Duration::from_millis((row.id % BLOCK) * 10),
            ended: Duration::from_millis((row.id % BLOCK) * 10 + 5),
            outcome,
            timeline: Some(1),
            lsn: Some((lsn, lsn)),
            xid: Some(row.id + 700),
        };
        ledger.settle(&attempt).unwrap();
        attempt
    }

    #[test]
    fn what_was_settled_comes_back_with_the_positions_of_later_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let ledger = Ledger::create(&path, 7, SystemClock::shared()).unwrap();
        let outcomes = [Outcome::Ok, Outcome::Unknown, Outcome::Fail, Outcome::Ok];
        let written: Vec<Attempt> =
            (0..4_u64).zip(outcomes).map(|(number, outcome)| write(&ledger, outcome, 100 + number)).collect();
        ledger.sync().unwrap();
        let account = Ledger::reread(&path).unwrap();
        assert_eq!((account.seed, account.space.clone(), account.torn), (7, 0..BLOCK, 0));
        let mut expected = written;
        for (number, attempt) in expected.iter_mut().enumerate() {
            let before = 100 + number as u64;
            attempt.lsn = (number < 3).then_some((before, before + 1));
        }
        assert_eq!(account.settled, expected);
        assert!(Ledger::create(&path, 7, SystemClock::shared()).is_err(), "a ledger is never begun twice");
    }

    #[test]
    fn a_ledger_that_is_cut_anywhere_never_calls_an_unknown_write_ok() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let ledger = Ledger::create(&path, 7, SystemClock::shared()).unwrap();
        let outcomes = [Outcome::Unknown, Outcome::Ok, Outcome::Fail];
        for number in 0..30 {
            write(&ledger, outcomes[number % 3], number as u64);
        }
        drop(ledger);
        let whole = std::fs::read(&path).unwrap();
        let truth = Ledger::reread(&path).unwrap();
        let cut = directory.path().join("cut");
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in first..=whole.len() {
            // What lies behind the cut is what a disk may have there: old bytes.
            let mut file = File::create(&cut).unwrap();
            file.write_all(&whole[..end]).unwrap();
            file.write_all(if end % 2 == 0 { b"" } else { &[0; 37] }).unwrap();
            for attempt in Ledger::reread(&cut).unwrap().settled {
                let same = truth.settled.iter().find(|other| other.id == attempt.id).unwrap();
                assert_eq!((attempt.outcome, attempt.xid), (same.outcome, same.xid), "cut at {end}");
            }
        }
    }

    #[test]
    fn a_ledger_that_travels_has_ids_of_its_own_and_what_did_not_arrive_is_unknown() {
        let sink = MemorySink::new();
        let ledger = Ledger::travelling(sink.clone(), 7, 3, SystemClock::shared()).unwrap();
        for _ in 0..3 {
            write(&ledger, Outcome::Ok, 5);
        }
        let first = 3 * SPACE;
        let lines = sink.observation().unwrap().ledger;
        let arrived = Ledger::arrived(&lines[..lines.len() - 1]).unwrap();
        let present = HashSet::from([first, first + 1, first + 2, first + 3 * BLOCK, 5]);
        let attempts = arrived.attempts(&present);
        let seen: Vec<(u64, Outcome)> = attempts.iter().map(|attempt| (attempt.id - first, attempt.outcome)).collect();
        let unknown = Outcome::Unknown;
        assert_eq!(seen, [(0, Outcome::Ok), (1, Outcome::Ok), (2, unknown), (3 * BLOCK, unknown)]);
        assert!(Ledger::arrived(&lines[1..]).is_err(), "without its first line nothing is known");
    }

    #[test]
    fn a_changed_byte_makes_a_line_nothing_and_not_something_else() {
        let line = Line::Block { from: 0, until: BLOCK }.text();
        let line = line.trim_end().as_bytes();
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            assert_eq!(Line::parse(&changed), None, "byte {at}");
        }
        assert!(Line::parse(line).is_some());
    }

    #[test]
    fn an_id_without_an_end_is_unknown_where_it_may_matter() {
        let account = Account {
            seed: 1,
            space: 0..BLOCK,
            torn: 0,
            settled: settled(1, BTreeMap::from([(3, (Outcome::Ok, 1, 2, Place::default()))])),
        };
        let attempts = account.attempts(&HashSet::from([3, 90]));
        let ids: Vec<(u64, Outcome)> = attempts.iter().map(|attempt| (attempt.id, attempt.outcome)).collect();
        let unknown = Outcome::Unknown;
        assert_eq!(ids, [(0, unknown), (1, unknown), (2, unknown), (3, Outcome::Ok), (90, unknown)]);
    }
}
