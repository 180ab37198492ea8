//! What a verification saw.

use crate::error::Kind;
use crate::id::{PointId, SourceName};
use crate::journal::Phase;
use crate::repository::manifest::PointKind;
use crate::repository::{Check, Damage, Depth, Refusal};
use serde::Serialize;

/// How a verification came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All that was looked at is well.
    Ok,
    /// Something could not be looked at.
    Undecided,
    /// Something is wrong.
    Failed,
}

/// What was seen of one point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// The point.
    pub point: PointId,
    /// Its source.
    pub source: SourceName,
    /// What it is a point of.
    pub kind: PointKind,
    /// How deeply it was verified; less than was asked for, where a note says why.
    pub depth: Depth,
    /// Whether all was well.
    pub ok: bool,
    /// Whether it could be decided.
    pub verdict: Verdict,
    /// What is wrong.
    pub damage: Vec<Damage>,
    /// What else was checked.
    pub checks: Vec<Check>,
    /// What by rule was not checked, and why it was not verified more deeply.
    pub notes: Vec<String>,
    /// Whether it could have been restored in another place than here.
    #[serde(skip)]
    pub fell_short: bool,
    /// Chunks whose bytes were looked at.
    pub chunks: u64,
    /// Their bytes in the store.
    pub bytes: u64,
    /// The share of chunks that was drawn, if not all were looked at.
    pub sample: Option<f64>,
    /// Tables that were compared.
    pub tables: u64,
    /// Rows that were compared.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
    /// How long each stage took; stages overlap.
    pub phases: Vec<Phase>,
    /// Where the evidence is kept; nothing if it could not be.
    pub evidence: Option<String>,
}

/// What was seen of all points.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Each point.
    pub points: Vec<VerifyReport>,
    /// What is wrong beside the points: chains, heads, holds.
    pub damage: Vec<Damage>,
    /// Sources that were not looked at, because what is there is not what was seen before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// How long it took.
    pub seconds: f64,
}

impl VerifyReport {
    /// Sets the verdict from what was found.
    pub(super) fn decide(&mut self) {
        let failed = !self.damage.is_empty() || self.checks.iter().any(|check| check.ok == Some(false));
        let open = self.checks.iter().any(|check| check.ok.is_none());
        self.verdict = match (failed, open) {
            (true, _) => Verdict::Failed,
            (_, true) => Verdict::Undecided,
            _ => Verdict::Ok,
        };
        self.ok = self.verdict == Verdict::Ok;
    }
}

impl Verification {
    /// Decides nothing where a restore was asked for and not one point was restored, although one could have been in
    /// another place: that its chunks are whole is not what was asked.
    pub(super) fn decide(&mut self) {
        let restored = self.points.iter().any(|point| point.depth == Depth::Restored);
        for point in self.points.iter_mut().filter(|point| !restored && point.fell_short) {
            if point.verdict == Verdict::Ok {
                (point.ok, point.verdict) = (false, Verdict::Undecided);
            }
        }
    }

    /// Whether everything is well.
    pub fn ok(&self) -> bool {
        self.kind().is_none()
    }

    /// How the run ended, if not well. What could not be decided outranks what is wrong, as in the table of exit codes.
    pub fn kind(&self) -> Option<Kind> {
        let any = |verdict| self.points.iter().any(|point| point.verdict == verdict);
        if any(Verdict::Undecided) {
            Some(Kind::Undecided)
        } else if !self.refused.is_empty() {
            Some(Kind::Refused)
        } else if any(Verdict::Failed) || !self.damage.is_empty() {
            Some(Kind::CheckFailed)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: &[Option<bool>]) -> VerifyReport {
        let check = |ok: &Option<bool>| Check { name: "x".into(), ok: *ok, detail: String::new() };
        let mut report = VerifyReport {
            point: PointId::at(jiff::Timestamp::UNIX_EPOCH),
            source: "shop".parse().unwrap(),
            kind: PointKind::Database,
            depth: Depth::Restored,
            ok: true,
            verdict: Verdict::Ok,
            damage: vec![],
            checks: checks.iter().map(check).collect(),
            notes: vec![],
            fell_short: false,
            chunks: 0,
            bytes: 0,
            sample: None,
            tables: 0,
            rows: 0,
            seconds: 0.0,
            phases: vec![],
            evidence: None,
        };
        report.decide();
        report
    }

    #[test]
    fn a_check_that_could_not_run_never_passes() {
        assert_eq!(report(&[Some(true)]).verdict, Verdict::Ok);
        assert_eq!(report(&[Some(true), None]).verdict, Verdict::Undecided);
        assert_eq!(report(&[None, Some(false)]).verdict, Verdict::Failed);
        assert!(!report(&[None]).ok);
    }

    #[test]
    fn the_worst_exit_code_wins() {
        let all = |points| Verification { points, ..Verification::default() };
        assert_eq!(all(vec![report(&[Some(true)])]).kind(), None);
        assert_eq!(all(vec![report(&[Some(false)]), report(&[])]).kind(), Some(Kind::CheckFailed));
        assert_eq!(all(vec![report(&[Some(false)]), report(&[None])]).kind(), Some(Kind::Undecided));
    }

    #[test]
    fn a_namespace_that_no_cluster_was_there_for_leaves_the_others_their_verdict_but_never_stands_alone() {
        let short = || VerifyReport { depth: Depth::Stored, fell_short: true, ..report(&[]) };
        let decided = |points| {
            let mut all = Verification { points, ..Verification::default() };
            all.decide();
            all.kind()
        };
        assert_eq!(decided(vec![short()]), Some(Kind::Undecided));
        assert_eq!(decided(vec![short(), report(&[Some(true)])]), None);
        assert_eq!(decided(vec![short(), report(&[Some(false)])]), Some(Kind::CheckFailed));
        let output = VerifyReport { depth: Depth::Stored, ..report(&[]) };
        assert_eq!(decided(vec![output.clone()]), None, "it is verified as deeply as it can be");
        assert_eq!(decided(vec![output, short()]), Some(Kind::Undecided));
    }
}
