//! What is asked of a verification.

use crate::error::{Error, Result};
use crate::id::SourceName;
use crate::postgres::ConnInfo;
use crate::repository::{Depth, PointSpec};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Point(PointSpec),
    /// Every point of every source, with their chains.
    All,
}

/// SQL of the user's that must hold in a restored database.
///
/// Every statement must return no rows, or exactly one row with one value that is `true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlCheck {
    /// What to call it: the file's name.
    pub name: String,
    /// One or several statements.
    pub sql: String,
}

/// What to verify, and how deeply.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which points.
    pub which: Which,
    /// How deeply.
    pub depth: Depth,
    /// Which database of points that have several; all by default.
    pub database: Option<String>,
    /// The user's own checks, for every point.
    pub checks: Vec<SqlCheck>,
    /// Those that belong to the points of one source.
    pub own_checks: BTreeMap<SourceName, Vec<SqlCheck>>,
    /// Look only at this share of the chunks (above 0, at most 1), drawn at random.
    pub sample: Option<f64>,
    /// Restore into a new database of this server instead of a throw-away one; it is dropped afterwards.
    pub into: Option<ConnInfo>,
    /// Where a throw-away server's directory is made.
    pub scratch_dir: PathBuf,
    /// The account that runs a throw-away server of root's; `nobody` by default.
    pub account: Option<String>,
}

impl Request {
    /// A verification of `which` at `depth`, with everything else at its default.
    pub fn new(which: Which, depth: Depth) -> Self {
        Self {
            which,
            depth,
            database: None,
            checks: Vec::new(),
            own_checks: BTreeMap::new(),
            sample: None,
            into: None,
            scratch_dir: std::env::temp_dir(),
            account: None,
        }
    }

    /// The checks of a point of `source`.
    pub(super) fn checks_of(&self, source: &SourceName) -> impl Iterator<Item = &SqlCheck> {
        self.checks.iter().chain(self.own_checks.get(source).into_iter().flatten())
    }

    /// All of them.
    pub(super) fn all_checks(&self) -> impl Iterator<Item = &SqlCheck> {
        self.checks.iter().chain(self.own_checks.values().flatten())
    }

    pub(super) fn must_be_consistent(&self) -> Result<()> {
        let restored = self.depth == Depth::Restored;
        if !restored && (!self.checks.is_empty() || self.into.is_some()) {
            return Err(Error::input("--check and --into look at a restored database").hint("add --depth restored"));
        }
        if self.sample.is_some() && self.depth != Depth::Stored {
            return Err(Error::input("--sample draws from the chunks whose bytes are read")
                .hint("it goes with --depth stored; the other depths look at everything"));
        }
        Ok(())
    }
}

/// Reads `5%` as a share.
pub fn sample(text: &str) -> Result<f64> {
    let share =
        text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok()).map(|percent| percent / 100.0);
    share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(|| {
        Error::input(format!("reading {text:?} as a sample")).hint("it is a percentage above 0, such as 5%")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_percentage_above_nothing() {
        assert!((sample("5%").unwrap() - 0.05).abs() < 1e-9);
        for text in ["5", "0%", "101%", "-1%", "x%", "%", "NaN%"] {
            assert!(sample(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_belongs_to_another_depth_is_bad_input() {
        let mut request = Request::new(Which::All, Depth::Stored);
        request.sample = Some(0.5);
        assert!(request.must_be_consistent().is_ok());
        request.checks.push(SqlCheck { name: "a".into(), sql: "SELECT 1".into() });
        assert!(request.must_be_consistent().is_err());
        let mut request = Request::new(Which::All, Depth::Restored);
        request.sample = Some(0.5);
        assert!(request.must_be_consistent().is_err());
    }
}
