//! Reading a ledger again, above all one whose writer was killed.

use super::line::{FORMAT, Line};
use super::{SPACE, payload};
use crate::error::{Context, Error, Kind, Result};
use crate::observation::{Attempt, Outcome, PackedWrites};
use std::collections::{BTreeMap, BTreeSet};
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
    /// The writes whose end was written down, in the order of their ids, without what follows from the seed.
    packed: Vec<PackedWrites>,
    /// The ids that may have been tried.
    pub space: Range<u64>,
    /// One past the last id whose end was written down.
    begun: u64,
    /// Lines that were not whole. More than the last one means that the disk lost what it had not synced.
    pub torn: u64,
}

impl Account {
    /// The writes whose end was written down, in the order of their ids.
    pub fn settled(&self) -> impl Iterator<Item = Attempt> + '_ {
        let (seed, all) = (self.seed, self.packed.iter().flat_map(PackedWrites::writes));
        all.map(move |write| Attempt { payload: payload(seed, write.id), ..write })
    }

    /// Every write that must be accounted for, in the order of their ids: those whose end is known, and as unknown those of the
    /// others that stand in the target (`present`) or were certainly begun. An id that was announced, has no end and is not
    /// there may never have been tried, and makes no difference.
    pub fn attempts(&self, present: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Attempt> + '_ {
        let beyond: BTreeSet<u64> = present.into_iter().filter(|id| self.beyond(*id)).collect();
        let (seed, mut next) = (self.seed, self.space.start);
        let unknown = move |id: u64| Attempt {
            id,
            payload: payload(seed, id),
            invoked: Duration::ZERO,
            ended: Duration::ZERO,
            outcome: Outcome::Unknown,
            timeline: None,
            lsn: None,
            xid: None,
        };
        let begun = self.settled().flat_map(move |write| {
            let open = next..write.id;
            next = next.max(write.id.saturating_add(1));
            open.map(unknown).chain([write])
        });
        begun.chain(beyond.into_iter().map(unknown))
    }

    /// Whether an id that stands in the target may have been tried after the last one whose end was written down.
    pub fn beyond(&self, id: u64) -> bool {
        self.space.contains(&id) && id >= self.begun
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
    let mut account = Account { seed: 0, packed: Vec::new(), space: 0..0, begun: 0, torn: 0 };
    let (mut ends, mut positions) = (Ends::default(), Positions::default());
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
                let at = Duration::from_nanos;
                positions.add(place.tl, invoked, place.lsn);
                ends.add(Attempt {
                    id,
                    payload: 0,
                    invoked: at(invoked),
                    ended: at(ended),
                    outcome,
                    timeline: place.tl,
                    lsn: place.lsn.map(|lsn| (lsn, lsn)),
                    xid: place.xid,
                });
            }
            None => account.torn += 1,
        }
    }
    if !began {
        return Err(Error::input(format!("{}: it is no ledger", doing())));
    }
    (account.packed, account.begun) = settled(ends, &positions.sorted(), account.space.start);
    Ok(account)
}

/// The writes in the order of their ids, each with the position after its commit; and one past the last id.
fn settled(ends: Ends, positions: &Positions, start: u64) -> (Vec<PackedWrites>, u64) {
    let mut begun = start;
    let writes = ends.sorted().map(|write| {
        begun = write.id.saturating_add(1);
        let before = write.timeline.zip(write.lsn).map(|(timeline, (before, _))| (timeline, before));
        let lsn = before.and_then(|(timeline, before)| Some((before, positions.after(timeline, write.ended)?)));
        Attempt { lsn, ..write }
    });
    let packed = PackedWrites::parts(writes).collect();
    (packed, begun)
}

/// Writes as their ends were written down, nearly in the order of their ids: so many are held back to put them into it.
const REORDERED: usize = 10_000;

/// Writes on the way into the order of their ids. Of two ends of one id the later line counts.
#[derive(Default)]
struct Ends {
    /// The last ones.
    waiting: BTreeMap<u64, Attempt>,
    /// Those before them, in order.
    packed: Vec<PackedWrites>,
    /// One past the last id of `packed`.
    until: u64,
    /// Those that came too late for that.
    late: BTreeMap<u64, Attempt>,
}

impl Ends {
    fn add(&mut self, write: Attempt) {
        if write.id < self.until {
            self.late.insert(write.id, write);
            return;
        }
        self.waiting.insert(write.id, write);
        if self.waiting.len() >= 2 * REORDERED {
            self.pack(REORDERED);
        }
    }

    /// Packs so many of those that wait.
    fn pack(&mut self, count: usize) {
        let (waiting, until) = (&mut self.waiting, &mut self.until);
        let first = std::iter::from_fn(|| waiting.pop_first()).take(count).map(|(id, write)| {
            *until = id.saturating_add(1);
            write
        });
        self.packed.push(PackedWrites::of(first));
    }

    /// All of them in order; a part is given back as soon as it was looked at.
    fn sorted(mut self) -> impl Iterator<Item = Attempt> {
        self.pack(usize::MAX);
        let mut late = self.late;
        let parts = self.packed.into_iter().map(move |part| {
            let mut writes: Vec<Attempt> = part.writes().filter(|write| !late.contains_key(&write.id)).collect();
            if let Some(last) = part.writes().last() {
                let after = late.split_off(&last.id.saturating_add(1));
                writes.extend(std::mem::replace(&mut late, after).into_values());
                writes.sort_by_key(|write| write.id);
            }
            writes
        });
        parts.flatten()
    }
}

/// Where the log of each timeline ended at which instant. A position that any write read after the acknowledgement of
/// another one lies behind that one's commit, so nobody has to ask for it a second time.
#[derive(Default)]
struct Positions {
    /// By timeline: when a write was sent, and the smallest position that it or a later one read.
    read: BTreeMap<u32, Vec<(u64, u64)>>,
}

impl Positions {
    fn add(&mut self, timeline: Option<u32>, invoked: u64, lsn: Option<u64>) {
        if let Some((timeline, lsn)) = timeline.zip(lsn) {
            self.read.entry(timeline).or_default().push((invoked, lsn));
        }
    }

    fn sorted(mut self) -> Self {
        for positions in self.read.values_mut() {
            positions.sort_unstable();
            let mut least = u64::MAX;
            for (_, lsn) in positions.iter_mut().rev() {
                least = least.min(*lsn);
                *lsn = least;
            }
        }
        self
    }

    fn after(&self, timeline: u32, ended: Duration) -> Option<u64> {
        let positions = self.read.get(&timeline)?;
        let at = positions.partition_point(|(invoked, _)| Duration::from_nanos(*invoked) <= ended);
        positions.get(at).map(|(_, lsn)| *lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Place;
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
        assert_eq!(account.settled().collect::<Vec<_>>(), expected);
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
            for attempt in Ledger::reread(&cut).unwrap().settled() {
                let same = truth.settled().find(|other| other.id == attempt.id).unwrap();
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
        let attempts = arrived.attempts([first, first + 1, first + 2, first + 3 * BLOCK, 5]);
        let seen: Vec<(u64, Outcome)> = attempts.map(|attempt| (attempt.id - first, attempt.outcome)).collect();
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
        let lines = [
            Line::Began { format: FORMAT, seed: 1, from: 0, travels: false },
            Line::Block { from: 0, until: BLOCK },
            Line::Write(3, Outcome::Ok, 1, 2, Place::default()),
        ];
        let account = account("of a test", lines.iter().map(|line| Ok(line.text().trim_end().into()))).unwrap();
        let attempts = account.attempts([3, 90]);
        let ids: Vec<(u64, Outcome)> = attempts.map(|attempt| (attempt.id, attempt.outcome)).collect();
        let unknown = Outcome::Unknown;
        assert_eq!(ids, [(0, unknown), (1, unknown), (2, unknown), (3, Outcome::Ok), (90, unknown)]);
    }

    #[test]
    fn writes_come_back_in_the_order_of_their_ids_however_late_their_ends_were_written_down() {
        let write = |id: u64, ended: u64| Attempt {
            id,
            payload: 0,
            invoked: Duration::from_nanos(id),
            ended: Duration::from_nanos(ended),
            outcome: Outcome::Ok,
            timeline: None,
            lsn: None,
            xid: None,
        };
        let count = 5 * REORDERED as u64;
        let mut ends = Ends::default();
        // Neighbours are swapped, two come last of all, and of one a second end is told.
        let (last, twice) = ([5, count - 2], 7);
        for id in (0..count).map(|id| id ^ 1).filter(|id| !last.contains(id)) {
            ends.add(write(id, id + 10));
        }
        for id in last.into_iter().chain([twice]) {
            ends.add(write(id, id + 20));
        }
        let later = |id: u64| if last.contains(&id) || id == twice { 20 } else { 10 };
        assert!(ends.sorted().eq((0..count).map(|id| write(id, id + later(id)))));
    }
}
