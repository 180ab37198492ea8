//! How a command ended, as the process's exit code.

use crate::error::Kind;
use std::process::ExitCode;

/// How a command ended; several parts of one command end as its worst part did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and everything was as it should be.
    Done,
    /// Not so.
    Not(Kind),
}

impl Exit {
    /// The number that scripts see.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Not(kind) => kind.exit_code(),
        }
    }

    /// The worse of two: 5, 4, 6, then 3, 2, 1, 0.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.rank() >= other.rank() { self } else { other }
    }

    const fn rank(self) -> u8 {
        match self.code() {
            5 => 7,
            4 => 6,
            6 => 5,
            code => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_one_wins() {
        let best_to_worst = [
            Exit::Done,
            Exit::Not(Kind::CheckFailed),
            Exit::Not(Kind::Input),
            Exit::Not(Kind::Refused),
            Exit::Not(Kind::Undecided),
            Exit::Not(Kind::Failed),
            Exit::Not(Kind::Stuck),
        ];
        for (at, better) in best_to_worst.iter().enumerate() {
            for worse in &best_to_worst[at..] {
                assert_eq!((better.worst(*worse), worse.worst(*better)), (*worse, *worse));
            }
        }
    }
}
