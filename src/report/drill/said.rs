//! How parts of a report are said, in every form the same.

use super::model::{Affected, Bounds, Budget, HealingRow, ObserverRow, RawFile, RestoreRow, Width};
use crate::humane::{bytes, count, counted};
use crate::report::words::{self, percent};

impl ObserverRow {
    /// How well its clock was known.
    pub fn clock_words(&self) -> String {
        match self.clock_error {
            Some(0.0) => "the drill's own clock".to_owned(),
            Some(error) => format!("its clock known to {}", words::error(error)),
            None => "its clock not known".to_owned(),
        }
    }
}

impl HealingRow {
    /// What was seen: that something is as before is said of nothing else than what was put back.
    pub fn words(&self) -> String {
        let nothing = if self.proven && self.nothing_to_undo { "nothing to undo; " } else { "" };
        format!("{nothing}{}", self.detail)
    }

    /// The verdict that its sign is of; none where nothing was to be proven.
    pub fn verdict(&self) -> Option<&'static str> {
        match (self.proven, self.nothing_to_undo) {
            (false, _) => Some("missed"),
            (true, true) => None,
            (true, false) => Some("met"),
        }
    }
}

impl Width {
    /// `213 ms (its pace allows 212 ms to 2.21 s)`
    pub fn words(&self) -> String {
        let (measured, worst) = (words::error(self.measured), words::error(self.worst));
        if self.measured > self.worst {
            // Whoever stood still, or sent nothing, was not at that pace.
            return format!("{measured} (its pace alone allows no more than {worst}: it was not kept)");
        }
        format!("{measured} (its pace allows {})", Bounds { low: self.best, high: self.worst })
    }
}

impl RestoreRow {
    /// How much was restored: `20,000 rows`, `57 objects`.
    pub fn amount(&self) -> String {
        match self.objects {
            Some(objects) => counted(objects, "object"),
            None => counted(self.rows, "row"),
        }
    }
}

impl Budget {
    /// The share of the budget that the drill used up, as exactly as it is known.
    pub fn used(&self) -> Bounds {
        self.affected.as_ref().map_or(self.burned, |affected| affected.burned)
    }

    /// `1,490 of 1,492 requests failed meanwhile (99.866 %): 2.874 % to 2.882 % of it`
    pub fn affected_words(&self) -> Option<String> {
        let Affected { requests, failed, share, burned } = self.affected.as_ref()?;
        let (failed, requests, share) = (count(*failed), counted(*requests, "request"), percent(*share));
        let burned = (percent(burned.low), percent(burned.high));
        Some(format!("{failed} of {requests} failed meanwhile ({share}): {} to {} of it", burned.0, burned.1))
    }
}

impl RawFile {
    /// `journal.jsonl, 34 lines, 512 KiB, SHA-256 9f86d0…`
    pub fn words(&self) -> String {
        format!("{}, {}, {}, SHA-256 {}", self.name, counted(self.lines, "line"), bytes(self.bytes), self.sha256)
    }
}
