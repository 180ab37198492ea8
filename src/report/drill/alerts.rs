//! Alerts that were expected: whether they fired, and whether in time.

use super::facts::Facts;
use super::model::Bounds;
use super::of::after;
use crate::measure::{Interval, Objective, Verdict};
use crate::report::journal::AlertSeen;
use crate::report::words::{aim, bounds, seconds, secs, since};
use serde::{Deserialize, Serialize};

/// An alert that was expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    /// Its name.
    pub name: String,
    /// Who was asked.
    pub asked: String,
    /// Seconds from the proven fault within which it was to fire.
    pub within: f64,
    /// `fired`, `late`, `not fired`, or `not known`.
    pub word: String,
    /// `met`, `missed` or `undecided`; nothing where no fault was proven.
    pub verdict: Option<String>,
    /// Between which two looks it began to fire, since the drill began.
    pub at: Option<Bounds>,
    /// The same counted from the proven fault.
    pub since_fault: Option<Bounds>,
    /// What shows that it fired.
    pub evidence: String,
    /// In words.
    pub sentence: String,
}

/// What became of one of them.
pub(super) struct Found<'a> {
    pub(super) alert: &'a AlertSeen,
    word: &'static str,
    pub(super) verdict: Option<Verdict>,
    /// From the proven fault until it fired.
    pub(super) actual: Option<Interval>,
    pub(super) sentence: String,
}

/// What became of each.
pub(super) fn found<'a>(facts: &Facts<'a>) -> Vec<Found<'a>> {
    facts.alerts.iter().map(|alert| one(facts, alert)).collect()
}

fn one<'a>(facts: &Facts<'a>, alert: &'a AlertSeen) -> Found<'a> {
    let wanted = aim(secs(alert.within));
    let (word, verdict, actual, sentence) = match (facts.fault(), alert.fired) {
        (None, _) => ("not known", None, None, "no fault was proven".to_owned()),
        (Some(fault), Some(at)) if at.high <= fault.low => {
            let sentence = "it fired before the fault, so that it says nothing of it".to_owned();
            ("not known", Some(Verdict::Undecided), None, sentence)
        }
        (Some(fault), Some(at)) => {
            // What began before the fault was not seen then.
            let actual = Interval::new(at.low.max(fault.low), at.high.max(fault.low)).since(fault);
            let verdict = Objective(alert.within).judge(actual);
            let word = if verdict == Verdict::Missed { "late" } else { "fired" };
            let sentence = match verdict {
                Verdict::Undecided => format!("it fired after {}, which straddles {wanted}", bounds(actual)),
                _ => format!(
                    "it {} after {}, wanted at most {wanted}",
                    if word == "late" { "fired late," } else { "fired" },
                    bounds(actual)
                ),
            };
            (word, Some(verdict), Some(actual), sentence)
        }
        (Some(fault), None) => {
            let why =
                alert.failed.as_ref().map(|why| format!("; once it could not be asked: {why}")).unwrap_or_default();
            match alert.silent.map(|silent| silent.saturating_sub(fault.high)) {
                Some(silent) if silent > alert.within => (
                    "not fired",
                    Some(Verdict::Missed),
                    None,
                    format!("it did not fire within {wanted} of the fault{why}"),
                ),
                Some(silent) => {
                    let asked = seconds(secs(silent));
                    let sentence = format!("it had not fired {asked} after the fault, when it was last asked for{why}");
                    ("not known", Some(Verdict::Undecided), None, sentence)
                }
                None => {
                    let why = alert.failed.as_deref().unwrap_or("nobody asked");
                    ("not known", Some(Verdict::Undecided), None, format!("nobody could be asked: {why}"))
                }
            }
        }
    };
    Found { alert, word, verdict, actual, sentence }
}

/// What the report says of them.
pub(super) fn rows(facts: &Facts<'_>) -> Vec<AlertRow> {
    let row = |found: Found<'_>| AlertRow {
        name: found.alert.name.clone(),
        asked: found.alert.how.clone(),
        within: secs(found.alert.within),
        word: found.word.to_owned(),
        verdict: found.verdict.map(|verdict| verdict.word().to_owned()),
        at: found.alert.fired.map(|at| since(at, facts.zero)),
        since_fault: found.alert.fired.zip(facts.fault()).map(|(at, fault)| after(at, fault)),
        evidence: found.alert.evidence.clone(),
        sentence: found.sentence,
    };
    found(facts).into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::super::tests::{Made, stored_is_the_same};
    use super::*;
    use crate::report::DrillReport;
    use crate::report::journal::{Event, Line};
    use crate::report::render::{Form, drill};
    use std::time::Duration;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The drill that never was, met but for an alert; its fault is at 1,030 s.
    fn report(silent: Option<u64>, fired: Option<(u64, u64)>) -> DrillReport {
        let alert = AlertSeen {
            name: "SlowLogins".to_owned(),
            within: s(20),
            how: "the program check-alert".to_owned(),
            silent: silent.map(s),
            fired: fired.map(|(low, high)| Interval::new(s(low), s(high))),
            evidence: "paged <the> team".to_owned(),
            failed: None,
        };
        let mut lines = Made::default().journal();
        let at = lines[lines.len() - 1].at;
        lines.insert(lines.len() - 1, Line { at, event: Event::Alert(alert) });
        stored_is_the_same(&lines);
        of(&lines).unwrap()
    }

    #[test]
    fn an_alert_is_judged_by_when_it_fired_and_every_form_says_so() {
        for (silent, fired, word, verdict, code) in [
            (Some(1_035), Some((1_035, 1_036)), "fired", "met", 0),
            (Some(1_055), Some((1_055, 1_056)), "late", "missed", 1),
            (Some(1_049), Some((1_049, 1_051)), "fired", "undecided", 6),
            (Some(1_060), None, "not fired", "missed", 1),
            (Some(1_040), None, "not known", "undecided", 6),
            (None, None, "not known", "undecided", 6),
            (None, Some((1_001, 1_002)), "not known", "undecided", 6),
        ] {
            let report = report(silent, fired);
            let row = &report.alerts[0];
            assert_eq!((row.word.as_str(), row.verdict.as_deref()), (word, Some(verdict)), "{row:?}");
            assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), (verdict, code), "{row:?}");
            assert!(verdict == "met" || report.verdict.sentence.contains("alert SlowLogins: "), "{:?}", report.verdict);
            for form in [Form::Text, Form::Markdown, Form::Html, Form::Json, Form::Junit] {
                assert!(drill(&report, form).unwrap().contains("SlowLogins"), "{form:?}");
            }
        }
        let html = drill(&report(Some(1_035), Some((1_035, 1_036))), Form::Html).unwrap();
        assert!(html.contains("paged &lt;the&gt; team"), "what others say is no markup");
    }
}
