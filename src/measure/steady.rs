//! The steady state: what normal looks like, and whether it was there before anything was broken.

use super::ledger::{Attempt, Outcome};
use super::sample::{Answer, Sample};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What must hold for a service to be called steady; what is `None` is not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteadyRule {
    /// 95 % of the probes are answered within this.
    #[serde(default)]
    pub p95: Option<Duration>,
    /// 99 % of the probes are answered within this.
    #[serde(default)]
    pub p99: Option<Duration>,
    /// No larger share of the probes fails.
    #[serde(default)]
    pub errors: Option<f64>,
    /// At least so many are answered in a second.
    #[serde(default)]
    pub throughput: Option<f64>,
}

/// Without a rule of its own a service that fails more than one probe in a thousand is not steady.
const ERRORS_AT_MOST: f64 = 0.001;

/// One probe of so many may be due and not sent.
const UNSENT_AT_MOST: u64 = 5;

/// What a window of probes showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    /// Probes sent.
    pub probes: u64,
    /// Those that failed.
    pub failures: u64,
    /// Probes that were due and that the observer did not send: they say nothing about the service.
    #[serde(default)]
    pub unsent: u64,
    /// Half of the answers came within this.
    pub p50: Duration,
    /// 95 %.
    pub p95: Duration,
    /// 99 %.
    pub p99: Duration,
    /// The slowest answer.
    pub max: Duration,
    /// Answers in a second.
    pub throughput: f64,
}

impl Steady {
    /// How many of these writes were acknowledged within `window`; nothing where there are none at all.
    pub fn acknowledged(attempts: impl IntoIterator<Item = Attempt>, window: (Duration, Duration)) -> Option<u64> {
        attempts.into_iter().fold(None, |count, attempt| {
            let within = window.0 <= attempt.ended && attempt.ended < window.1;
            Some(count.unwrap_or_default() + u64::from(attempt.outcome == Outcome::Ok && within))
        })
    }

    /// The same where a ledger was kept: the writes that were acknowledged within the window are the throughput.
    #[must_use]
    pub fn with_writes(self, acknowledged: Option<u64>, window: (Duration, Duration)) -> Self {
        match acknowledged {
            Some(count) if window.1 > window.0 => {
                Self { throughput: per_second(count, window.1.saturating_sub(window.0)), ..self }
            }
            _ => self,
        }
    }

    /// What `samples`, sent during `window`, show. Failures count as the slowest of all, since a user waited for nothing.
    pub fn of(samples: &[&Sample], window: Duration) -> Self {
        let due = samples.len();
        let samples: Vec<&&Sample> = samples.iter().filter(|sample| sample.answer != Answer::NotSent).collect();
        let failures = samples.iter().filter(|sample| !sample.good()).count();
        let mut latencies: Vec<Duration> =
            samples.iter().map(|sample| if sample.good() { sample.latency() } else { Duration::MAX }).collect();
        latencies.sort_unstable();
        let good = (samples.len() - failures) as u64;
        Self {
            probes: samples.len() as u64,
            failures: failures as u64,
            unsent: (due - samples.len()) as u64,
            p50: rank(&latencies, 0.50),
            p95: rank(&latencies, 0.95),
            p99: rank(&latencies, 0.99),
            max: latencies.last().copied().unwrap_or_default(),
            throughput: per_second(good, window),
        }
    }

    /// The share that failed; 1 where nothing was sent, because no data is no success.
    pub fn errors(&self) -> f64 {
        if self.probes == 0 { 1.0 } else { ratio(self.failures, self.probes) }
    }

    /// The largest share of failures that this window leaves possible (the rule of three, from the failures seen).
    pub fn errors_bound(&self) -> f64 {
        if self.probes == 0 { 1.0 } else { ratio(self.failures + 3, self.probes).min(1.0) }
    }

    /// Why it is not what `rule` wants; nothing where it is.
    pub fn misses(&self, rule: &SteadyRule) -> Vec<String> {
        let mut why = Vec::new();
        if self.probes == 0 {
            return vec!["steady state: no probe was sent".to_owned()];
        }
        // An observer that hardly observed has not seen what normal is.
        if self.unsent * UNSENT_AT_MOST > self.probes + self.unsent {
            why.push(format!("steady state: {} of {} probes were not sent", self.unsent, self.probes + self.unsent));
        }
        let allowed = rule.errors.unwrap_or(ERRORS_AT_MOST);
        if self.errors() > allowed {
            let (seen, allowed) = (self.errors() * 100.0, allowed * 100.0);
            why.push(format!("steady state: {seen:.2} % of the probes failed, allowed are {allowed} %"));
        }
        for (name, seen, allowed) in [("P95", self.p95, rule.p95), ("P99", self.p99, rule.p99)] {
            if let Some(allowed) = allowed.filter(|allowed| seen > *allowed) {
                let seen =
                    if seen == Duration::MAX { "a failure".to_owned() } else { format!("{} ms", seen.as_millis()) };
                why.push(format!("steady state: {name} is {seen}, allowed are {} ms", allowed.as_millis()));
            }
        }
        if let Some(wanted) = rule.throughput.filter(|wanted| self.throughput < *wanted) {
            why.push(format!("steady state: {:.1} answers a second, wanted are {wanted}", self.throughput));
        }
        why
    }
}

/// The nearest rank: a value that was really seen.
fn rank(sorted: &[Duration], share: f64) -> Duration {
    if sorted.is_empty() {
        return Duration::ZERO;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of probes stay far below 2^52")]
    let wanted = (share * sorted.len() as f64).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
    let at = (wanted as usize).clamp(1, sorted.len());
    sorted[at - 1]
}

#[expect(clippy::cast_precision_loss, reason = "counts of probes stay far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of probes stay far below 2^52")]
fn per_second(count: u64, window: Duration) -> f64 {
    if window.is_zero() { 0.0 } else { count as f64 / window.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(latencies_ms: &[u64]) -> Vec<Sample> {
        let at = |number: usize| Duration::from_millis(100 * number as u64);
        let sample = |(number, latency): (usize, &u64)| Sample {
            due: at(number),
            sent: at(number),
            ended: at(number) + Duration::from_millis(*latency),
            answer: if *latency >= 1000 { Answer::Silent } else { Answer::Good },
        };
        latencies_ms.iter().enumerate().map(sample).collect()
    }

    fn steady(latencies_ms: &[u64]) -> Steady {
        let samples = probes(latencies_ms);
        Steady::of(&samples.iter().collect::<Vec<_>>(), Duration::from_millis(100 * latencies_ms.len() as u64))
    }

    #[test]
    fn a_failure_is_slower_than_every_answer() {
        let seen = steady(&[[10; 19].as_slice(), &[1000]].concat());
        assert_eq!((seen.probes, seen.failures), (20, 1));
        assert_eq!(seen.p95, Duration::from_millis(10));
        assert_eq!(seen.p99, Duration::MAX);
        assert!((seen.throughput - 9.5).abs() < 1e-9, "{}", seen.throughput);
    }

    #[test]
    fn what_the_observer_did_not_send_is_no_failure_of_the_service_until_it_is_too_much() {
        let mut samples = probes(&[10; 40]);
        for sample in &mut samples[..8] {
            sample.answer = Answer::NotSent;
        }
        let seen = |samples: &[Sample]| Steady::of(&samples.iter().collect::<Vec<_>>(), Duration::from_secs(4));
        let few = seen(&samples);
        assert_eq!((few.probes, few.failures, few.unsent), (32, 0, 8));
        assert_eq!(few.misses(&SteadyRule::default()), Vec::<String>::new());
        samples[8].answer = Answer::NotSent;
        assert_eq!(seen(&samples).misses(&SteadyRule::default()), ["steady state: 9 of 40 probes were not sent"]);
    }

    #[test]
    fn each_part_of_the_rule_that_is_missed_is_named() {
        let rule = SteadyRule {
            p95: Some(Duration::from_millis(20)),
            p99: Some(Duration::from_millis(500)),
            errors: Some(0.1),
            throughput: Some(9.0),
        };
        assert_eq!(steady(&[10; 40]).misses(&rule), Vec::<String>::new());
        let why = steady(&[[10; 30].as_slice(), &[40; 5], &[1000; 5]].concat()).misses(&rule);
        assert_eq!(why.len(), 4, "{why:?}");
        assert_eq!(steady(&[]).misses(&SteadyRule::default()), ["steady state: no probe was sent"]);
    }

    #[test]
    fn one_failure_in_five_hundred_is_not_steady_unless_the_rule_says_so() {
        let seen = steady(&[[10; 499].as_slice(), &[1000]].concat());
        assert_eq!(seen.misses(&SteadyRule::default()).len(), 1);
        assert!(seen.misses(&SteadyRule { errors: Some(0.01), ..SteadyRule::default() }).is_empty());
        assert!(seen.errors_bound() > seen.errors());
    }
}
