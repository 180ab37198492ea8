//! Which of the samples are evidence.

pub use crate::observation::{Answer, Sample, Stall};

/// The samples that are evidence, in the order in which they were sent.
///
/// A probe that ran into its deadline while its observer stood still says nothing about the service: it is left out, and
/// the gap widens the bounds. One that was answered counts, however late the answer was looked at.
pub fn evidence<'a>(samples: &'a [Sample], stalls: &[Stall]) -> Vec<&'a Sample> {
    let mut kept: Vec<&Sample> =
        samples.iter().filter(|sample| sample.answer != Answer::NotSent && !is_void(sample, stalls)).collect();
    kept.sort_by_key(|sample| sample.sent);
    kept
}

/// Whether a probe says nothing about the service, because its deadline passed while its observer stood still.
pub fn is_void(sample: &Sample, stalls: &[Stall]) -> bool {
    sample.answer == Answer::Silent && stalls.iter().any(|stall| stall.touches(sample))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sample(sent: u64, ended: u64, answer: Answer) -> Sample {
        let ms = Duration::from_millis;
        Sample { due: ms(sent), sent: ms(sent), ended: ms(ended), answer }
    }

    #[test]
    fn a_deadline_that_passed_while_the_observer_stood_still_is_no_evidence() {
        let stall = Stall { from: Duration::from_millis(500), until: Duration::from_millis(1700) };
        let samples = [
            sample(100, 400, Answer::Silent),
            sample(450, 1701, Answer::Silent),
            sample(460, 1702, Answer::Good),
            sample(470, 1703, Answer::Refused("reset".to_owned())),
            sample(1800, 1800, Answer::NotSent),
        ];
        let kept: Vec<u128> = evidence(&samples, &[stall]).iter().map(|sample| sample.sent.as_millis()).collect();
        assert_eq!(kept, [100, 460, 470]);
        assert_eq!(stall.length(), Duration::from_millis(1200));
    }
}
