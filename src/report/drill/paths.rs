//! The paths of users: what several observers of one path say together, and which path was worst off.

use super::recovery::Seen;
use crate::measure::{Interval, Recovery};
use std::time::Duration;

/// A path of users and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) name: String,
    pub(super) end: End,
    /// Whether two observers exclude each other: then neither bound is believed.
    pub(super) contradiction: bool,
}

/// How a path ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is known.
    NoData,
    /// No outage longer than this.
    Up(Duration),
    /// It came back.
    Restored {
        /// From the proven fault.
        time: Interval,
        /// When.
        restored: Interval,
        /// When it was first felt.
        onset: Interval,
        /// The first success after that.
        first_success: Option<Duration>,
    },
    /// It had not come back.
    Down {
        /// The recovery takes at least this long.
        at_least: Duration,
    },
}

impl End {
    fn of(recovery: &Recovery) -> Self {
        match recovery {
            Recovery::NoData => Self::NoData,
            Recovery::Brief { longest, .. } => Self::Up(*longest),
            Recovery::Restored(outage) => Self::Restored {
                time: outage.recovery_time,
                restored: outage.restored,
                onset: outage.onset,
                first_success: outage.first_success,
            },
            Recovery::NotRestored { at_least, .. } => Self::Down { at_least: *at_least },
        }
    }

    fn rank(&self) -> (u8, Duration) {
        match self {
            Self::Up(longest) => (0, *longest),
            Self::Restored { time, .. } => (1, time.high),
            Self::Down { at_least } => (2, *at_least),
            Self::NoData => (3, Duration::ZERO),
        }
    }

    /// What two observers of one path know together.
    fn with(self, other: Self) -> (Self, bool) {
        match (&self, &other) {
            // An observer that saw nothing takes nothing away from what another one saw.
            (Self::NoData, _) => (other, false),
            (_, Self::NoData) => (self, false),
            (
                Self::Restored { time, restored, onset, first_success },
                Self::Restored { time: its, restored: its_end, onset: its_onset, first_success: its_first },
            ) => match (time.and(*its), restored.and(*its_end)) {
                (Some(time), Some(restored)) => {
                    let onset = onset.and(*its_onset).unwrap_or(*onset);
                    let first_success = (*first_success).min(*its_first).or(*first_success).or(*its_first);
                    (Self::Restored { time, restored, onset, first_success }, false)
                }
                _ if self.rank() >= other.rank() => (self, true),
                _ => (other, true),
            },
            _ if self.rank() >= other.rank() => (self, false),
            _ => (other, false),
        }
    }
}

/// The judged paths, the worst first.
pub(super) fn paths(streams: &[Seen<'_>]) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    for seen in streams.iter().filter(|seen| seen.judged()) {
        let end = seen.recovery.as_ref().map_or(End::NoData, End::of);
        match paths.iter_mut().find(|path| path.name == seen.stream.path) {
            Some(path) => {
                let (both, contradiction) = std::mem::replace(&mut path.end, End::NoData).with(end);
                path.end = both;
                path.contradiction |= contradiction;
            }
            None => paths.push(Path { name: seen.stream.path.clone(), end, contradiction: false }),
        }
    }
    paths.sort_by_key(|path| std::cmp::Reverse(path.end.rank()));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(low: u64, high: u64) -> End {
        let between = Interval::new(Duration::from_secs(low), Duration::from_secs(high));
        End::Restored { time: between, restored: between, onset: between, first_success: None }
    }

    #[test]
    fn two_observers_know_what_both_allow() {
        assert_eq!(restored(3, 9).with(restored(5, 12)), (restored(5, 9), false));
        assert_eq!(restored(3, 9).with(End::NoData), (restored(3, 9), false));
        let (kept, contradiction) = restored(3, 4).with(restored(8, 9));
        assert_eq!((kept, contradiction), (restored(8, 9), true));
    }
}
