//! The ledger held against the write-ahead log that died with the old primary: two ways to know what was lost, which share
//! nothing, and must say the same row for row.

use super::ledger::{Attempt, Classes, Writes};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where ledger and log agree, and where they do not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Writes that both say are gone: committed at or after the fork, and not there.
    pub both: BTreeSet<u64>,
    /// Writes that vanished and that the log never saw committed: there was nothing to lose.
    pub never_committed: BTreeSet<u64>,
    /// Lost writes that the log does not have after the fork. Each is a finding.
    pub only_ledger: BTreeSet<u64>,
    /// Transactions that the log has after the fork and the ledger does not miss. Each is a finding, unless somebody
    /// else wrote, too.
    pub only_log: BTreeSet<u32>,
}

impl Agreement {
    /// Whether they agree row for row.
    pub fn whole(&self) -> bool {
        self.only_ledger.is_empty() && self.only_log.is_empty()
    }
}

/// Compares `classes` with the transactions `committed` at or after the fork.
pub fn agreement(attempts: &dyn Writes, classes: &Classes, committed: &BTreeSet<u32>) -> Agreement {
    // The log carries the lower half of a transaction's number.
    #[expect(clippy::cast_possible_truncation, reason = "that is what the log does")]
    let number = |attempt: &Attempt| attempt.xid.map(|xid| xid as u32);
    let mut found = Agreement::default();
    let mut missed = BTreeMap::new();
    for attempt in attempts.each() {
        let lost = classes.lost.contains(&attempt.id);
        if !lost && !classes.vanished.contains(&attempt.id) {
            continue;
        }
        let class = match number(&attempt) {
            Some(xid) if committed.contains(&xid) => {
                missed.insert(xid, attempt.id);
                &mut found.both
            }
            _ if lost => &mut found.only_ledger,
            _ => &mut found.never_committed,
        };
        class.insert(attempt.id);
    }
    found.only_log = committed.iter().filter(|xid| !missed.contains_key(xid)).copied().collect();
    found
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Outcome, Read, Survivor, classify};
    use super::*;
    use std::time::Duration;

    fn write(id: u64, outcome: Outcome) -> Attempt {
        let (invoked, ended) = (Duration::from_secs(id), Duration::from_secs(id + 1));
        let xid = Some((7 << 32) + 700 + id);
        Attempt { id, payload: id, invoked, ended, outcome, timeline: Some(1), lsn: None, xid }
    }

    #[test]
    fn both_ways_must_say_the_same_row_for_row() {
        let outcomes = [Outcome::Ok, Outcome::Ok, Outcome::Unknown, Outcome::Unknown, Outcome::Fail];
        let attempts: Vec<Attempt> = (0..).zip(outcomes).map(|(id, outcome)| write(id, outcome)).collect();
        let read: Read = [(0, 0)].into_iter().collect();
        let classes = classify(&attempts, &[read], Survivor::default());
        let agree = agreement(&attempts, &classes, &BTreeSet::from([701, 702]));
        assert!(agree.whole());
        assert_eq!((agree.both, agree.never_committed), (BTreeSet::from([1, 2]), BTreeSet::from([3])));
        let more = agreement(&attempts, &classes, &BTreeSet::from([700, 702]));
        assert_eq!((more.only_ledger, more.only_log), (BTreeSet::from([1]), BTreeSet::from([700])));
    }
}
