//! When a person noticed, which is another thing than when the system did: the mark that `davit chaos ack` puts.

use super::facts::Facts;
use super::model::{Acknowledgement, Moment, PhaseRow};
use super::of::after;
use crate::measure::{Instant, Interval};
use crate::report::journal::Acknowledged;
use crate::report::words::{bounds, seconds, secs, since};
use jiff::Timestamp;
use std::time::Duration;

/// What became of a person's attention.
#[derive(Debug, Clone, Copy)]
pub(super) enum Person<'a> {
    /// Somebody said that they noticed.
    Said(&'a Acknowledged),
    /// Nobody had.
    Nobody {
        /// Until when.
        until: Duration,
    },
}

/// Clocks of two machines that differ by less are said to agree.
const APART: Duration = Duration::from_secs(1);

/// When a person noticed the fault; nothing where nobody did, or where they spoke before it took effect.
pub(super) fn noticed(facts: &Facts<'_>) -> Option<Interval> {
    match facts.person {
        Some(Person::Said(said)) => facts.fault().filter(|fault| said.at.high >= fault.low).map(|_| said.at),
        _ => None,
    }
}

/// What the report says of it; nothing where it was not looked for.
pub(super) fn row(facts: &Facts<'_>) -> Option<Acknowledgement> {
    let person = facts.person?;
    let sentence = sentence(facts, person);
    Some(match person {
        Person::Said(said) => Acknowledgement {
            acknowledged: true,
            by: Some(said.by.clone()),
            note: said.note.clone(),
            at: Some(since(said.at, facts.zero)),
            since_fault: facts.fault().map(|fault| after(said.at, fault)),
            their_clock: Some(said.when),
            sentence,
        },
        Person::Nobody { .. } => Acknowledgement {
            acknowledged: false,
            by: None,
            note: None,
            at: None,
            since_fault: None,
            their_clock: None,
            sentence,
        },
    })
}

fn sentence(facts: &Facts<'_>, person: Person<'_>) -> String {
    let said = match (person, facts.fault()) {
        (Person::Nobody { until }, Some(fault)) => {
            let watched = seconds(secs(until.saturating_sub(fault.high)));
            return format!("nobody acknowledged it within {watched} of the fault (davit chaos ack)");
        }
        (Person::Nobody { .. }, None) => return "nobody acknowledged it (davit chaos ack)".to_owned(),
        (Person::Said(said), _) => said,
    };
    let found = match noticed(facts).zip(facts.fault()) {
        Some((at, fault)) => format!("a person noticed: {} after the fault", bounds(at.since(fault))),
        None => "somebody spoke before the fault took effect, which is no detection of it".to_owned(),
    };
    let note = said.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let apart = apart(facts, said).map(|apart| format!("; {apart}")).unwrap_or_default();
    format!("{found} (davit chaos ack by {}{note}), between two looks of the drill, by its clock{apart}", said.by)
}

/// How far the clock of the other machine is from ours, where that can be told: it dates nothing.
fn apart(facts: &Facts<'_>, said: &Acknowledged) -> Option<String> {
    let ours = |at: Duration| wall(facts, at);
    let (early, late) = (ours(said.at.low)?, ours(said.at.high)?);
    let at_least = |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).ok();
    let (word, by) = match (at_least(said.when, early), at_least(late, said.when)) {
        (Some(behind), _) if behind >= APART => ("behind", behind),
        (_, Some(ahead)) if ahead >= APART => ("ahead", ahead),
        _ => return None,
    };
    Some(format!("the clock of their machine is at least {} {word} and dates nothing", seconds(secs(by))))
}

fn wall(facts: &Facts<'_>, at: Duration) -> Option<Timestamp> {
    facts.began.wall.checked_add(at.saturating_sub(facts.zero)).ok()
}

/// The row of the timeline.
pub(super) fn moment(facts: &Facts<'_>) -> Option<Moment> {
    let person = facts.person?;
    let at = match person {
        Person::Said(said) => Some(said.at),
        Person::Nobody { .. } => None,
    };
    Some(Moment {
        symbol: "tm".to_owned(),
        name: "a person noticed".to_owned(),
        at: at.map(|at| since(at, facts.zero)),
        since_fault: at.zip(facts.fault()).map(|(at, fault)| after(at, fault)),
        wall: at.and_then(|at| wall(facts, at.high)),
        evidence: sentence(facts, person),
    })
}

/// The phase: it lies beside the recovery time, which no person's attention is a part of unless they bring it about.
pub(super) fn phase(facts: &Facts<'_>) -> Option<PhaseRow> {
    let (fault, at) = (facts.marks.get(&Instant::Effective)?.0, noticed(facts)?);
    Some(PhaseRow {
        name: "detection by a person".to_owned(),
        from: since(fault, facts.zero),
        until: since(at, facts.zero),
        length: bounds(at.since(fault)),
        counts: false,
        theory: None,
    })
}

#[cfg(test)]
#[allow(clippy::unchecked_time_subtraction, reason = "the instants of a drill that never was are constants")]
mod tests {
    use super::super::of;
    use super::super::tests::Made;
    use super::*;
    use crate::report::DrillReport;
    use crate::report::drill::Bounds;
    use crate::report::journal::{Aims, Event, Line};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The drill that never was, met but for the person; `event` says what became of them, counted from the fault.
    fn report(wanted: Option<Duration>, event: impl FnOnce(Duration, Timestamp) -> Event) -> DrillReport {
        let made = Made::default();
        let made = Made { aims: Aims { acknowledgement: wanted, ..made.aims }, ..made };
        let mut journal = made.journal();
        let fault = journal.iter().find_map(|line| match &line.event {
            Event::Mark(mark) if mark.instant == Instant::Effective => Some(mark.at.low),
            _ => None,
        });
        let (fault, zero) = (fault.unwrap_or_default(), journal[0].at);
        let wall: Timestamp = made.began.parse().unwrap_or_default();
        let wall = wall.checked_add(fault.saturating_sub(zero)).unwrap_or_default();
        let at = journal.len() - 1;
        journal.insert(at, Line { at: fault, event: event(fault, wall) });
        of(&journal).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn said(low: Duration, high: Duration, when: Timestamp) -> Event {
        let (by, note) = ("ops@pager (1)".to_owned(), Some("slow logins".to_owned()));
        Event::Acknowledged(Acknowledged { at: Interval::new(low, high), by, note, when })
    }

    fn verdict(report: &DrillReport) -> Option<&str> {
        let mut rows = report.objectives.iter();
        rows.find(|row| row.key == "acknowledgement").and_then(|row| row.verdict.as_deref())
    }

    #[test]
    fn a_person_is_dated_by_the_clock_of_the_drill_whatever_theirs_says() {
        for (theirs, apart) in [(42_500, None), (45_500, Some("2.50 s ahead")), (12_000, Some("30.00 s behind"))] {
            let report = report(None, |fault, wall| {
                let when = wall.checked_add(Duration::from_millis(theirs)).unwrap_or(wall);
                said(fault + seconds(42), fault + seconds(43), when)
            });
            let person = report.acknowledgement.as_ref().unwrap_or_else(|| unreachable!("it was looked for"));
            let at = person.since_fault.unwrap_or(Bounds { low: 0.0, high: 0.0 });
            assert!(at.low <= 42.0 && 41.9 < at.low && at.high >= 43.0 && at.high < 43.1, "{at}");
            assert_eq!(person.sentence.contains("dates nothing"), apart.is_some(), "{}", person.sentence);
            assert!(apart.is_none_or(|apart| person.sentence.contains(apart)), "{}", person.sentence);
            let phase = report.phases.iter().find(|phase| phase.name == "detection by a person");
            assert!(phase.is_some_and(|phase| !phase.counts && phase.length.low <= 42.0));
            let moment = report.timeline.last().map(|moment| (moment.symbol.as_str(), moment.since_fault));
            assert_eq!(moment, Some(("tm", Some(at))));
            assert_eq!((report.verdict.word.as_str(), verdict(&report)), ("met", None));
        }
    }

    #[test]
    fn a_person_is_judged_only_where_that_was_asked_for() {
        let nobody = |fault: Duration, _| Event::Unacknowledged { until: fault + seconds(61) };
        let spoke = |fault: Duration, wall| said(fault + seconds(42), fault + seconds(43), wall);
        let early = |fault: Duration, wall| said(fault - seconds(3), fault - seconds(2), wall);
        for (wanted, report, expected) in [
            (None, report(None, nobody), None),
            (Some(60), report(Some(seconds(60)), nobody), Some("missed")),
            (Some(90), report(Some(seconds(90)), nobody), Some("undecided")),
            (Some(60), report(Some(seconds(60)), spoke), Some("met")),
            (Some(30), report(Some(seconds(30)), spoke), Some("missed")),
            (Some(60), report(Some(seconds(60)), early), Some("undecided")),
        ] {
            assert_eq!(verdict(&report), expected, "{wanted:?}: {:?}", report.acknowledgement);
            assert_eq!(report.verdict.word, expected.unwrap_or("met"));
        }
        let silent = report(None, nobody);
        let sentence = silent.acknowledgement.as_ref().map(|person| (person.acknowledged, person.sentence.as_str()));
        assert_eq!(
            sentence,
            Some((false, "nobody acknowledged it within 1 min 01.0 s of the fault (davit chaos ack)"))
        );
        assert_eq!(silent.timeline.last().map(|moment| (moment.symbol.as_str(), moment.at)), Some(("tm", None)));
    }

    #[test]
    fn the_first_who_speaks_counts_and_a_drill_that_did_not_listen_says_nothing() {
        let mut journal = Made::default().journal();
        assert!(of(&journal).is_ok_and(|report| report.acknowledgement.is_none() && report.timeline.len() == 11));
        let (end, wall) = (journal[journal.len() - 1].at, Timestamp::default());
        for by in [2, 1] {
            let line = Line { at: end, event: said(end - seconds(by + 1), end - seconds(by), wall) };
            journal.insert(journal.len() - 1, line);
        }
        let at = of(&journal).ok().and_then(|report| report.acknowledgement?.at);
        assert_eq!(at, Some(since(Interval::new(end - seconds(3), end - seconds(2)), journal[0].at)));
    }
}
