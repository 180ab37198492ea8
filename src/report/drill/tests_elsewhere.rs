//! What a report says where somebody else observed, too.

#![allow(clippy::unchecked_time_subtraction, reason = "the instants of a drill that never was are constants")]

use super::tests::{Made, stored_is_the_same};
use super::*;
use crate::measure::remote::Look;
use crate::measure::{Answer, Sample, Stall};
use crate::report::journal::*;
use crate::report::render::{Form, drill};
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The drill that never was begins here on our clock, and its fault is proven here.
const ZERO: Duration = Duration::from_secs(1000);
const FAULT: Duration = Duration::from_secs(1030);
const END: Duration = Duration::from_secs(1120);
/// The clock of the office reads so much more than ours.
const AHEAD: Duration = Duration::from_secs(77_000);

/// What the office saw: it was down from the fault for `outage`, and its stream ended at `cut`.
#[derive(Clone)]
struct Office {
    outage: Duration,
    cut: Option<Duration>,
    /// How long a question for its clock takes there, and back.
    way: (Duration, Duration),
    stepped: bool,
    stalls: Vec<Stall>,
    answer: Answer,
}

impl Default for Office {
    fn default() -> Self {
        let answer = Answer::Refused("connection refused".to_owned());
        Self { outage: Duration::ZERO, cut: None, way: (ms(1), ms(1)), stepped: false, stalls: Vec::new(), answer }
    }
}

impl Office {
    /// The journal of a drill that the office watched, too.
    fn journal(&self, made: &Made) -> Vec<Line> {
        let mut lines = made.journal();
        let ended = lines.pop().unwrap();
        let line = |at, event| Line { at, event };
        let (name, place) = ("office".to_owned(), "begun by ssh".to_owned());
        lines.insert(1, line(ZERO, Event::Observer(Observer { name: name.clone(), place })));
        let stream = Stream {
            name: "office/tcp".to_owned(),
            path: "new connections".to_owned(),
            observer: name.clone(),
            what: "TCP to shop:443".to_owned(),
            role: StreamRole::Judged,
            every: ms(100),
            deadline: ms(1000),
        };
        lines.insert(2, line(ZERO, Event::Stream(stream)));
        let samples = PackedSamples::of(&self.samples());
        lines.push(line(END, Event::Samples { stream: "office/tcp".to_owned(), samples }));
        let cut = self.cut.map(|at| Cut { at, why: "ssh ended with exit status: 255".to_owned() });
        let stalls = self.stalls.clone();
        lines.push(line(END, Event::Watched(Box::new(Watched { observer: name, looks: self.looks(), stalls, cut }))));
        lines.push(ended);
        lines
    }

    fn samples(&self) -> Vec<Sample> {
        let sample = |number: u32| {
            let sent = ZERO + ms(37) + ms(100) * number;
            let down = (FAULT..FAULT + self.outage).contains(&sent);
            let answer = if down { self.answer.clone() } else { Answer::Good };
            let took = if answer == Answer::Silent { ms(1000) } else { ms(2) };
            Sample { due: sent + AHEAD, sent: sent + AHEAD, ended: sent + AHEAD + took, answer }
        };
        let until = self.cut.unwrap_or(END);
        (0..1_200).map(sample).filter(|sample| sample.ended < until + AHEAD).collect()
    }

    fn looks(&self) -> Vec<Look> {
        let look = |number: u32| {
            let asked = ZERO + Duration::from_secs(2) * number;
            let stepped = if self.stepped && asked > FAULT { ms(3_600_000) } else { Duration::ZERO };
            Look { asked, answered: asked + self.way.0 + self.way.1, theirs: asked + self.way.0 + AHEAD + stepped }
        };
        (0..60).map(look).collect()
    }

    fn report(&self, made: &Made) -> DrillReport {
        super::of(&self.journal(made)).unwrap()
    }
}

/// Objectives of a minute, and a service that was down for 12.4 s on the machine that ran the drill.
fn minute() -> Made {
    let calm = Made::default();
    Made { aims: Aims { rto: Some(Duration::from_mins(1)), ..calm.aims }, ..calm }
}

fn verdicts(report: &DrillReport) -> Vec<(&str, Option<&str>)> {
    report.observers.iter().map(|observer| (observer.name.as_str(), observer.verdict.as_deref())).collect()
}

#[test]
fn the_worse_of_two_observers_decides_whoever_it_is() {
    let both = Office { outage: ms(20_000), ..Office::default() }.report(&minute());
    assert_eq!(both.verdict.word, "met", "{}", both.verdict.sentence);
    assert_eq!(verdicts(&both), [("this machine", Some("met")), ("office", Some("met"))]);
    assert!(both.verdict.sentence.contains("after the fault, seen from office (wanted: "), "{}", both.verdict.sentence);

    let office = Office { outage: ms(75_000), ..Office::default() }.report(&minute());
    assert_eq!((office.verdict.word.as_str(), office.verdict.exit_code), ("missed", 1));
    assert_eq!(verdicts(&office), [("this machine", Some("met")), ("office", Some("missed"))]);
    assert!(office.verdict.sentence.contains("seen from office"), "{}", office.verdict.sentence);
    assert!(office.timeline.iter().any(|moment| moment.evidence.contains("seen from office")));

    let own = Office::default().report(&Made { outage: ms(70_000), watched: Duration::from_secs(150), ..minute() });
    assert_eq!((own.verdict.word.as_str(), own.verdict.exit_code), ("missed", 1));
    assert_eq!(verdicts(&own), [("this machine", Some("missed")), ("office", Some("met"))]);
}

#[test]
fn what_an_observer_did_not_see_is_open_and_never_a_pass() {
    // It saw no outage while it looked; it had no look at the fault; it looked away during an outage.
    for (outage, cut, words) in [
        (Duration::ZERO, FAULT + ms(5_000), "no outage longer than"),
        (Duration::ZERO, FAULT - ms(2_000), "it ended early, and what came later is not known"),
        (ms(20_000), FAULT + ms(8_000), "not restored when the observation ended"),
        // It saw the whole recovery, and what came afterwards is open all the same.
        (ms(5_000), FAULT + ms(60_000), "wanted at most"),
    ] {
        let office = Office { outage, cut: Some(cut), ..Office::default() };
        let report = office.report(&minute());
        assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("undecided", 6), "{words}");
        assert_eq!(verdicts(&report), [("this machine", Some("met")), ("office", Some("undecided"))], "{words}");
        let row = report.objectives.iter().find(|row| row.observer.as_deref() == Some("office")).unwrap();
        assert!(row.sentence.contains(words), "{}", row.sentence);
        assert!(report.verdict.sentence.contains("ssh ended with exit status: 255"), "{}", report.verdict.sentence);
        assert!(!report.observers[1].whole && report.observers[0].whole);
        // Nobody is excused by what somebody else did not see.
        let missed = office.report(&Made { outage: ms(70_000), watched: Duration::from_secs(150), ..minute() });
        assert_eq!((missed.verdict.word.as_str(), missed.verdict.exit_code), ("missed", 6), "{words}");
    }
}

#[test]
fn the_error_of_its_clock_widens_what_it_says_and_may_leave_it_open() {
    let row = |way: (Duration, Duration)| {
        let report = Office { outage: ms(59_000), way, ..Office::default() }.report(&minute());
        let row = report.objectives.iter().find(|row| row.observer.as_deref() == Some("office")).unwrap().clone();
        (row.actual.unwrap(), row.verdict.unwrap(), report.observers[1].clock_error.unwrap())
    };
    let (near, met, small) = row((ms(1), ms(1)));
    // The way back is the longer one: taken for half of both, what it dates would be a second late.
    let (far, open, large) = row((ms(0), ms(2_000)));
    assert_eq!((met.as_str(), open.as_str()), ("met", "undecided"));
    assert!(small < 0.003 && (0.999..1.1).contains(&large), "{small} {large}");
    for actual in [near, far] {
        assert!(actual.low <= 59.0 && 59.0 <= actual.high, "{actual}");
    }
    assert!(far.high - far.low >= near.high - near.low + 1.9, "{near} {far}");
}

#[test]
fn a_clock_that_was_stepped_dates_nothing() {
    let report = Office { outage: ms(5_000), stepped: true, ..Office::default() }.report(&minute());
    assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("undecided", 6));
    assert_eq!(report.observers[1].clock_error, None);
    assert!(report.verdict.sentence.contains("its clock was stepped"), "{}", report.verdict.sentence);
}

#[test]
fn stalls_are_those_of_the_observer_that_stood_still() {
    // The office stood still during all of an outage in which nothing was answered: that says nothing of the service.
    let stalls = vec![Stall { from: FAULT + AHEAD - ms(500), until: FAULT + AHEAD + ms(7_500) }];
    let silent = Office { outage: ms(6_000), answer: Answer::Silent, ..Office::default() };
    let down = |report: &DrillReport, observer: &str| {
        let of = report.streams.iter().filter(|stream| stream.observer == observer && stream.judged);
        of.map(|stream| stream.down.len()).sum::<usize>()
    };
    let awake = silent.report(&minute());
    let asleep = Office { stalls, ..silent }.report(&minute());
    assert_eq!((down(&awake, "office"), down(&asleep, "office")), (1, 0));
    assert_eq!(down(&awake, "this machine"), down(&asleep, "this machine"));
    let stalled: Vec<String> = asleep.observers.iter().map(|observer| format!("{} s", observer.stalled)).collect();
    assert_eq!(stalled, ["0 s", "8 s"]);
}

#[test]
fn every_form_says_who_saw_what() {
    let report = Office { outage: ms(75_000), ..Office::default() }.report(&minute());
    for form in [Form::Text, Form::Markdown, Form::Html, Form::Json] {
        let text = drill(&report, form).unwrap();
        assert!(text.contains("office") && text.contains("begun by ssh"), "{form:?}: {text}");
    }
    let text = drill(&report, Form::Text).unwrap();
    let at = text.find("observers (the worst one decides)").unwrap();
    insta::assert_snapshot!(text[at..].split("\n\n").next().unwrap(), @"
    observers (the worst one decides)
      ✓ met     this machine  12.60 to 12.82 s, wanted at most 1 min              runs the drill, the drill's own clock
      ✗ missed  office        1 min 14.8 s to 1 min 15.1 s, wanted at most 1 min  begun by ssh, its clock known to 2 ms
    ");
    let alone = drill(&minute().report(), Form::Text).unwrap();
    assert!(!alone.contains("observers ("), "who observes alone has no section");
}

#[test]
fn a_journal_with_observers_gives_the_same_report_byte_for_byte() {
    let office = Office { outage: ms(20_000), cut: Some(END - ms(500)), ..Office::default() };
    stored_is_the_same(&office.journal(&minute()));
}
