//! How many good probes confirm a recovery, and what a scenario's pace leaves unseen.

use crate::error::{Error, Result};
use crate::measure::hold::probes_to_notice;
use crate::scenario::Scenario;
use crate::units::Span;
use std::time::Duration;

/// A recovery is believed after so many good probes: then a service that still fails one in twenty would have been seen.
const RESIDUAL: f64 = 0.05;
/// With fewer than these nothing is confirmed, however long they take: a service that fails every second request passes
/// three in a row one time in eight.
const LEAST: u64 = 4;

/// At least so many good probes confirm a recovery; fewer where the scenario's pace allows no more.
pub(super) fn hold_probes(scenario: &Scenario) -> u64 {
    // The first and the last one may lie just outside of the span.
    probes_to_notice(RESIDUAL).min(fit(scenario).saturating_sub(1))
}

/// Probes of one stream that are due within the hold.
fn fit(scenario: &Scenario) -> u64 {
    let fit = scenario.limits.hold.as_nanos() / scenario.load.probes.period().as_nanos().max(1);
    u64::try_from(fit).unwrap_or(u64::MAX)
}

/// Refuses a pace at which no recovery could ever be confirmed.
pub(super) fn check(scenario: &Scenario) -> Result<()> {
    if hold_probes(scenario) >= LEAST {
        return Ok(());
    }
    let (hold, every) = (Span(scenario.limits.hold), Span(scenario.load.probes.period()));
    let what = format!("with a probe every {every}, a hold of {hold} has {} of them", fit(scenario));
    Err(Error::input(format!("planning how the recovery is confirmed: {what}, and at least {} must be", LEAST + 1))
        .hint(enough(scenario, LEAST + 1)))
}

/// What to say where fewer probes confirm the recovery than would notice one failure in twenty.
pub(super) fn remark(scenario: &Scenario) -> Option<String> {
    let (probes, wanted) = (hold_probes(scenario), probes_to_notice(RESIDUAL));
    if probes >= wanted {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "fewer than sixty")]
    let unseen = (1.0 - 0.05_f64.powf(1.0 / probes.max(1) as f64)) * 100.0;
    Some(format!(
        "only {probes} probes confirm the recovery: a service that still fails up to {unseen:.0} % of its requests may pass; {}",
        enough(scenario, wanted + 1)
    ))
}

/// How so many probes come into the hold.
fn enough(scenario: &Scenario, probes: u64) -> String {
    let seconds = scenario.limits.hold.as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "fewer than a hundred")]
    let rate = (probes as f64 / seconds).ceil();
    let span = scenario.load.probes.period() * u32::try_from(probes).unwrap_or(u32::MAX);
    let span = Span(Duration::from_secs(span.as_secs() + u64::from(span.subsec_nanos() > 0)));
    format!("write `load: {{probes: {rate}/s}}` or `limits: {{hold: {span}}}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::outage::recovery;
    use crate::measure::{Answer, Hold, Interval, Recovery, Sample, Steady};
    use std::path::Path;

    fn paced(probes: &str, hold: &str) -> Scenario {
        let text = format!(
            "title: t\nwhy: w\nobjectives: {{rto: 15m, rpo: none}}\n\
             target: {{service: s, environment: e, processes: {{clients: http://h/}}}}\n\
             fault: {{name: network-cut}}\nrecovery: platform\nload: {{probes: {probes}}}\nlimits: {{hold: {hold}}}\n"
        );
        crate::scenario::read(&text, Path::new("x.yaml"), &[]).unwrap()
    }

    /// Ten minutes of probes at this pace, each sent up to a fifth of the period late, with an outage in the middle.
    fn observed(scenario: &Scenario) -> Recovery {
        let every = scenario.load.probes.period();
        let down = Interval::exact(Duration::from_secs(200));
        let samples: Vec<Sample> = (0..60_000)
            .map(|number: u32| (every * number, every * number + every / 25 * (number % 5)))
            .take_while(|(due, _)| *due < Duration::from_mins(10))
            .map(|(due, sent)| {
                let failed = (down.low..Duration::from_mins(5)).contains(&sent);
                let answer = if failed { Answer::Refused("no".to_owned()) } else { Answer::Good };
                Sample { due, sent, ended: sent + Duration::from_millis(2), answer }
            })
            .collect();
        let before: Vec<&Sample> = samples.iter().filter(|sample| sample.sent < down.low).collect();
        let steady = Steady::of(&before, down.low);
        let hold = Hold { span: scenario.limits.hold, probes: hold_probes(scenario), steady };
        recovery(&samples, &[], down, &hold)
    }

    #[test]
    fn what_is_not_refused_is_confirmed_at_every_pace() {
        for (probes, hold) in [("10/s", "10s"), ("5/s", "10s"), ("1/s", "10s"), ("0.5/s", "10s"), ("100/s", "1s")] {
            let scenario = paced(probes, hold);
            check(&scenario).unwrap();
            assert!(matches!(observed(&scenario), Recovery::Restored(_)), "{probes} {hold}");
        }
    }

    #[test]
    fn a_hold_with_too_few_probes_is_refused_with_what_would_do() {
        let error = check(&paced("0.2/s", "10s")).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        insta::assert_snapshot!(error.to_string(), @"planning how the recovery is confirmed: with a probe every 5s, a hold of 10s has 2 of them, and at least 5 must be");
        insta::assert_snapshot!(error.hint_text().unwrap(), @"write `load: {probes: 1/s}` or `limits: {hold: 25s}`");
        for (probes, hold) in [("0.2/s", "25s"), ("0.5/s", "10s")] {
            check(&paced(probes, hold)).unwrap();
        }
    }

    #[test]
    fn a_hold_that_leaves_much_unseen_says_how_much() {
        assert_eq!(remark(&paced("10/s", "10s")), None);
        insta::assert_snapshot!(remark(&paced("1/s", "10s")).unwrap(), @"only 9 probes confirm the recovery: a service that still fails up to 28 % of its requests may pass; write `load: {probes: 6/s}` or `limits: {hold: 1m}`");
    }
}
