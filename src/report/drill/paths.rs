//! The paths of users, one for each observer who walks it, and which of them was worst off.

use super::facts::{Elsewhere, Facts};
use super::recovery::Seen;
use crate::measure::{Interval, Recovery};
use std::time::Duration;

/// A path of users and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) name: String,
    /// Who walked it.
    pub(super) observer: String,
    pub(super) end: End,
    /// Why not all of it is known: an observer elsewhere ended early, or its clock dates nothing.
    pub(super) open: Option<String>,
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
}

/// The judged paths, the worst first. Observers are in different places, and what reaches one may not reach the other: each
/// path of each observer stands for itself, and is never excused by what somebody else saw.
pub(super) fn paths(facts: &Facts<'_>, streams: &[Seen<'_>]) -> Vec<Path> {
    let path = |seen: &Seen<'_>| Path {
        // Who looked is said where more than one did.
        name: if facts.elsewhere.is_empty() {
            seen.stream.path.clone()
        } else {
            format!("{}, seen from {}", seen.stream.path, seen.stream.observer)
        },
        observer: seen.stream.observer.clone(),
        end: seen.recovery.as_ref().map_or(End::NoData, End::of),
        open: facts.elsewhere(seen.stream).and_then(Elsewhere::open),
    };
    let mut paths: Vec<Path> = streams.iter().filter(|seen| seen.judged()).map(path).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.end.rank()));
    paths
}
