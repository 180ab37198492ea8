//! When a service counts as restored: not at its first answer, but at the one that begins a span in which it behaves as it
//! did in its steady state.

use super::sample::Sample;
use super::steady::Steady;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The rule that confirms a recovery. Its span is confirmation only, and is not added to the recovery time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Longer than the slowest control loop that could take the service down again.
    pub span: Duration,
    /// At least so many probes within it, or it confirms nothing.
    pub probes: u64,
    /// What normal was.
    pub steady: Steady,
}

impl Hold {
    /// Whether the probes from `samples[0]` on confirm a recovery; `None` where they end too early to tell.
    ///
    /// Two failures in a row never do, nor more failures than the steady state makes plausible.
    pub fn confirms(&self, samples: &[&Sample]) -> Option<bool> {
        let first = samples.first()?;
        if !first.good() {
            return Some(false);
        }
        let end = first.sent + self.span;
        let (mut probes, mut failures, mut before_failed) = (0, 0, false);
        for sample in samples.iter().take_while(|sample| sample.sent <= end) {
            probes += 1;
            failures += u64::from(sample.bad());
            if sample.bad() && before_failed || failures > self.failures_allowed(self.probes.max(probes)) {
                return Some(false);
            }
            before_failed = sample.bad();
        }
        if samples.last().is_none_or(|last| last.sent < end) {
            return None;
        }
        Some(probes >= self.probes)
    }

    /// How many failures among `probes` the steady state makes plausible: the expected number and three deviations.
    pub(super) fn failures_allowed(&self, probes: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of probes stay far below 2^52")]
        let expected = self.steady.errors_bound() * probes as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
        let allowed = (expected + 3.0 * expected.sqrt()).floor() as u64;
        allowed
    }
}

/// How many good probes in a row it takes to notice, with 95 % confidence, a service that still fails this share of them.
pub fn probes_to_notice(share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    let probes = (0.05_f64.ln() / (1.0 - share).ln()).ceil() as u64;
    probes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fourteen_good_probes_notice_a_fifth_that_fails_and_fifty_nine_a_twentieth() {
        assert_eq!((probes_to_notice(0.20), probes_to_notice(0.05)), (14, 59));
    }
}
