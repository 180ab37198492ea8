//! A month made of drills that never were.

use super::*;
use crate::report::drill::tests::{Made, four};
use crate::report::drill::{DrillReport, RestoreRow};
use crate::report::journal::{Event, Line};
use crate::report::render::{self, Form};
use jiff::Timestamp;
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Drills of two months, and two sources.
pub(in crate::report) fn november() -> MonthReport {
    let mut made: Vec<Made> = four().into_iter().map(|(_, made)| made).collect();
    let drill = |run, began, outage: u64, fault_name, service, title| Made {
        run,
        began,
        outage: Duration::from_millis(outage),
        fault_name,
        service,
        title,
        ..Made::default()
    };
    let (locked, lock) = ("A migration locks the busiest table", "lock-storm");
    let crash = "The primary crashes, an asynchronous standby takes over";
    made.push(drill("20260907T020000Z-s2a3b4", "2026-09-07T02:00:00Z", 9_800, lock, "cloudcart-postgres", locked));
    made.push(drill(
        "20261005T020000Z-q2a3b4",
        "2026-10-05T02:00:00Z",
        14_900,
        "primary-crash",
        "covetpy-database",
        crash,
    ));
    made.push(drill(
        "20261102T020000Z-n2a3b4",
        "2026-11-02T02:00:00Z",
        8_400,
        "pod-delete",
        "cloudflow-api",
        "A pod of the API is deleted",
    ));
    made.push(drill(
        "20261109T020000Z-n4d5e6",
        "2026-11-09T02:00:00Z",
        21_700,
        "pod-delete",
        "cloudflow-api",
        "A pod of the API is deleted",
    ));
    let drills: Vec<_> = made.iter().map(Made::report).collect();
    let nightly = (1..=21).map(|day| (at(&format!("2026-11-{day:02}T01:00:00Z")), 734_003_200));
    let proof = |when, ok| Some(Proof { point: "20261120T010000Z-p1q2r3".to_owned(), when: at(when), ok });
    let sources = [
        Source {
            name: "cloudflow".to_owned(),
            points: nightly.collect(),
            restored: proof("2026-11-20T03:00:00Z", true),
            stored: proof("2026-11-21T01:30:00Z", true),
        },
        Source {
            name: "ecotrack".to_owned(),
            points: vec![(at("2026-11-13T02:00:00Z"), 88_080_384)],
            restored: None,
            stored: None,
        },
    ];
    of("2026-11".parse().unwrap(), at("2026-11-21T12:00:00Z"), &drills, &sources)
}

#[test]
fn a_month_counts_its_own_drills_and_knows_the_earlier_ones() {
    let month = november();
    assert_eq!(month.tally, Tally { run: 6, met: 3, missed: 1, undecided: 1, invalid: 1, ..Tally::default() });
    let cell = |fault: &str, service: &str| {
        let row = month.coverage.faults.iter().position(|name| name == fault).unwrap();
        let column = month.coverage.services.iter().position(|name| name == service).unwrap();
        month.coverage.cells[row][column].as_ref().map(Cell::words)
    };
    assert_eq!(cell("lock-storm", "cloudcart-postgres").unwrap(), "7 Sep met (stale)");
    assert_eq!(cell("lock-storm", "cloudflow-api"), None);
    assert_eq!(cell("pod-delete", "cloudflow-api").unwrap(), "9 Nov met");
    // The invalid run of 21 November is no coverage.
    assert_eq!(cell("primary-crash", "covetpy-database").unwrap(), "21 Nov undecided");
}

#[test]
fn an_action_stays_open_until_a_later_run_met_its_objectives() {
    let month = november();
    let missed: Vec<_> = month.actions.iter().filter(|action| action.run.ends_with("m7q2xz")).collect();
    assert!(!missed.is_empty() && missed.iter().all(|action| action.state == "open"));
    assert_eq!(missed[0].detail, "re-test 21 Nov invalid");
}

#[test]
fn an_action_that_is_open_after_its_day_is_overdue() {
    let [_, (_, missed), ..] = four();
    let mut report = missed.report();
    // One was stored before there was a day: the rule is the same.
    report.actions[0].due = None;
    let as_of = |now: &str| {
        let month = of(now[..7].parse().unwrap(), at(now), std::slice::from_ref(&report), &[]);
        (month.actions, month.sentence)
    };
    let (actions, sentence) = as_of("2026-12-05T23:59:59Z");
    assert!(actions.iter().all(|action| !action.overdue && action.due_words() == "due 5 Dec"), "{actions:?}");
    assert!(!sentence.contains("overdue"), "{sentence}");
    let (actions, sentence) = as_of("2026-12-06T00:00:01Z");
    assert!(actions.iter().all(|action| action.overdue && action.due_words() == "OVERDUE since 5 Dec"), "{actions:?}");
    assert_eq!(sentence, "no drill was run, 3 actions open, 3 overdue");
    // A month that is over is told as it was on its last day.
    let november = of("2026-11".parse().unwrap(), at("2027-01-05T00:00:00Z"), &[report.clone()], &[]);
    assert!(november.actions.iter().all(|action| !action.overdue));
    // What a later run has closed is no more overdue.
    let again = Made { run: "20261204T020000Z-z7q2xz", began: "2026-12-04T02:00:00Z", ..Made::default() }.report();
    let closed = of("2026-12".parse().unwrap(), at("2026-12-20T00:00:00Z"), &[report.clone(), again], &[]);
    assert!(closed.actions.iter().all(|action| action.state == "closed" && !action.overdue), "{:?}", closed.actions);
}

#[test]
fn a_source_that_no_drill_restored_has_a_column_of_its_own() {
    let source = |name: &str| Source { name: name.to_owned(), ..Source::default() };
    let mut drilled = Made::default().report();
    drilled.restore = Some(RestoreRow {
        point: "20261120T010000Z-p1q2r3".to_owned(),
        source: "shop".to_owned(),
        snapshot_time: at("2026-11-20T01:00:00Z"),
        rows: 1,
        objects: None,
        bytes: 1,
        proof: "read back".to_owned(),
        forecast: None,
    });
    let month = |drills: &[DrillReport], sources: &[Source]| {
        of("2026-11".parse().unwrap(), at("2026-11-30T00:00:00Z"), drills, sources)
    };
    // One was restored in a drill, one is called as a service that was drilled, one was never touched.
    let sources = [source("shop"), source("covetpy-database"), source("ecotrack")];
    let seen = month(std::slice::from_ref(&drilled), &sources);
    assert_eq!(seen.coverage.services, ["covetpy-database", "ecotrack"]);
    assert_eq!(seen.coverage.never_drilled, ["ecotrack"]);
    assert_eq!(seen.coverage.cells[0][1], None);
    assert_eq!(seen.sentence, "1 drill, 1 met, 1 never drilled");
    for form in [Form::Text, Form::Markdown, Form::Html] {
        let page = render::month(&seen, form).unwrap();
        assert!(page.to_lowercase().matches("never drilled").count() >= 3, "{form:?}: {page}");
    }
    // A run that proves nothing is no coverage; and without a drill there is still something to say.
    drilled.validity.word = "invalid".to_owned();
    let seen = month(&[drilled], &sources);
    assert_eq!(seen.coverage.never_drilled, ["covetpy-database", "ecotrack", "shop"]);
    let seen = month(&[], &sources);
    assert_eq!(seen.sentence, "no drill was run, 3 never drilled");
    let text = render::month(&seen, Form::Text).unwrap();
    assert!(text.contains("  never drilled: covetpy-database, ecotrack, shop\n"), "{text}");
}

#[test]
fn every_run_is_a_dot_and_nothing_is_averaged() {
    let month = november();
    let plot =
        month.plots.iter().find(|plot| plot.title.starts_with("A pod of the API") && plot.title.ends_with("sql-fresh"));
    let plot = plot.unwrap();
    assert_eq!(plot.dots.len(), 2);
    assert!(plot.words().starts_with("2 runs, 8."), "{}", plot.words());
    assert!(!month.json().unwrap().contains("mean"));
}

#[test]
fn a_scenario_with_other_settings_is_drawn_apart_and_what_was_never_restored_is_counted() {
    let of_run = |run, outage: u64| Made { run, outage: Duration::from_millis(outage), ..Made::default() }.report();
    let mut drills = [
        of_run("20261103T020000Z-n2a3b4", 8_400),
        of_run("20261104T020000Z-n2a3b4", 9_400),
        of_run("20261105T020000Z-n2a3b4", 12_400),
    ];
    // The newest is of another version, and proves nothing; the one before has no figure.
    drills[2].identity.scenario_sha256 = crate::id::Sha256::of(b"other settings");
    let month = |drills: &[DrillReport]| of("2026-11".parse().unwrap(), at("2026-11-30T00:00:00Z"), drills, &[]);
    let rto = |month: &MonthReport| -> Vec<(String, String)> {
        let plots =
            month.plots.iter().filter(|plot| plot.title.ends_with("sql-fresh") || plot.title.contains("sql-fresh ("));
        plots.map(|plot| (plot.title.clone(), plot.words())).collect()
    };
    let apart = rto(&month(&drills));
    assert_eq!(apart.len(), 2, "{apart:?}");
    assert!(apart.iter().all(|(title, _)| title.contains(" (scenario ")), "{apart:?}");
    assert!(apart.iter().any(|(_, words)| words.starts_with("2 runs, ")), "{apart:?}");
    assert!(apart.iter().any(|(_, words)| words.starts_with("1 run, ")), "{apart:?}");
    drills[2].validity.word = "invalid".to_owned();
    for row in &mut drills[1].objectives {
        row.actual = None;
    }
    let left = rto(&month(&drills));
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].1.starts_with("1 run, ") && left[0].1.ends_with(", and 1 run without a figure"), "{left:?}");
    assert!(!left[0].0.contains("(scenario"), "{left:?}");
}

#[test]
fn a_proof_from_after_the_month_was_not_known_in_it() {
    let later = Proof { point: "20261120T010000Z-p1q2r3".to_owned(), when: at("2026-11-20T03:00:00Z"), ok: true };
    let source = Source { name: "shop".to_owned(), restored: Some(later), ..Source::default() };
    let told = |month: &str| {
        let report = of(month.parse().unwrap(), at("2026-12-02T00:00:00Z"), &[], std::slice::from_ref(&source));
        report.backups[0].restored_words()
    };
    assert_eq!(told("2026-10"), "NEVER RESTORED");
    assert!(told("2026-11").contains("20 Nov"), "{}", told("2026-11"));
}

#[test]
fn a_source_without_a_proof_says_so() {
    let month = november();
    assert_eq!(month.backups[1].restored_words(), "NEVER RESTORED");
    assert_eq!(month.backups[0].words(), "21 made, 21 kept, newest 11 h 00 min old, 700 MiB, longest gap 24 h 00 min");
}

#[test]
fn a_month_is_written_as_one() {
    for text in ["2026", "2026-13", "2026-1", "november", "-2026-11"] {
        let error = text.parse::<Month>().unwrap_err();
        assert_eq!(error.hint_text(), Some("write it as 2026-11"), "{text}");
    }
    assert_eq!("2026-11".parse::<Month>().unwrap().to_string(), "2026-11");
}

#[test]
fn a_scenario_that_was_changed_is_told_from_the_one_that_it_was() {
    let made = |run, began, outage: u64| {
        Made { run, began, outage: Duration::from_millis(outage), ..Made::default() }.report()
    };
    let mut drills = [
        made("20261102T020000Z-n2a3b4", "2026-11-02T02:00:00Z", 8_400),
        made("20261109T020000Z-n4d5e6", "2026-11-09T02:00:00Z", 8_900),
    ];
    let until = at("2026-11-21T12:00:00Z");
    let same = of("2026-11".parse().unwrap(), until, &drills, &[]).confidence;
    assert!(same.len() == 1 && !same[0].contains("(scenario "), "{same:?}");
    drills[1].identity.scenario_sha256 = crate::id::Sha256([0xab; 32]);
    let apart = of("2026-11".parse().unwrap(), until, &drills, &[]).confidence;
    let told: Vec<&str> = apart.iter().map(|line| line.split_once(" (scenario ").unwrap().1).collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().any(|told| told.starts_with("abababab, last run 9 November 2026 02:")), "{told:?}");
    assert!(told.iter().any(|told| told.contains(", last run 2 November 2026 02:")), "{told:?}");
}

/// Runs a week apart with these outages, in milliseconds; the last ones are of November.
fn weekly(outages: &[u64]) -> Vec<DrillReport> {
    const RUNS: [(&str, &str); 8] = [
        ("20261005T020000Z-a2a3b4", "2026-10-05T02:00:00Z"),
        ("20261012T020000Z-b2a3b4", "2026-10-12T02:00:00Z"),
        ("20261019T020000Z-c2a3b4", "2026-10-19T02:00:00Z"),
        ("20261026T020000Z-d2a3b4", "2026-10-26T02:00:00Z"),
        ("20261102T020000Z-e2a3b4", "2026-11-02T02:00:00Z"),
        ("20261109T020000Z-f2a3b4", "2026-11-09T02:00:00Z"),
        ("20261116T020000Z-g2a3b4", "2026-11-16T02:00:00Z"),
        ("20261123T020000Z-h2a3b4", "2026-11-23T02:00:00Z"),
    ];
    let made = |((run, began), outage): (&(&'static str, &'static str), &u64)| {
        Made { run, began, outage: Duration::from_millis(*outage), ..Made::default() }.report()
    };
    RUNS[RUNS.len() - outages.len()..].iter().zip(outages).map(made).collect()
}

fn of_november(drills: &[DrillReport]) -> MonthReport {
    of("2026-11".parse().unwrap(), at("2026-11-30T00:00:00Z"), drills, &[])
}

#[test]
fn runs_against_another_version_or_other_settings_are_another_series() {
    let mut drills = weekly(&[8_400, 8_900, 8_500, 8_700]);
    let one = of_november(&drills);
    assert_eq!((one.confidence.len(), one.regressions.len()), (1, 1));
    let plots = one.plots.len();
    for drill in &mut drills[2..] {
        drill.identity.versions.insert("PostgreSQL".to_owned(), "16.4".to_owned());
    }
    drills[3].identity.versions.remove("synchronous_commit");
    let month = of_november(&drills);
    assert_eq!(month.plots.len(), plots * 3);
    assert!(month.plots.iter().all(|plot| plot.dots.len() <= 2), "{:?}", month.plots);
    let title = &drills[0].identity.title;
    let names: Vec<&str> = month.regressions.iter().map(|regression| regression.title.as_str()).collect();
    let expected = [
        format!("{title} (PostgreSQL 15.14, synchronous_commit off, last run 9 November 2026 02:00)"),
        format!("{title} (PostgreSQL 16.4, synchronous_commit not known, last run 23 November 2026 02:00)"),
        format!("{title} (PostgreSQL 16.4, synchronous_commit off, last run 16 November 2026 02:00)"),
    ];
    assert_eq!(names, expected);
    // What machines call a series stays, whatever became of the others.
    let ids: Vec<&str> = month.regressions.iter().map(|regression| regression.series.as_str()).collect();
    assert!(ids[0] == one.regressions[0].series && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    assert!(month.confidence.iter().zip(&expected).all(|(line, name)| line.starts_with(name.as_str())), "{month:?}");
    assert!(month.confidence[0].contains("2 valid runs"), "{:?}", month.confidence);
    assert!(month.plots.iter().any(|plot| plot.title.ends_with("(PostgreSQL 15.14, synchronous_commit off)")));
}

#[test]
fn recoveries_that_got_slower_are_flagged_and_too_few_say_so() {
    let steady = [8_400, 9_900, 8_500, 9_700, 8_800];
    let said = |last: [u64; 3]| {
        let month = of_november(&weekly(&[&steady[..], &last].concat()));
        let [regression] = month.regressions.as_slice() else { panic!("{:?}", month.regressions) };
        (regression.word.clone(), regression.sentence.clone(), month)
    };
    let (word, sentence, month) = said([12_400, 13_900, 15_000]);
    assert_eq!(word, "slower");
    assert_eq!(
        sentence,
        "the last 3 recoveries were slower than the 5 before them: chance alone would do that in at most 1.8 % of such series"
    );
    assert!(month.sentence.contains("1 slower than before"), "{}", month.sentence);
    for form in [Form::Text, Form::Markdown, Form::Html, Form::Json, Form::OpenMetrics] {
        let page = render::month(&month, form).unwrap();
        assert!(page.contains("slower") || page.contains("SLOWER"), "{form:?}: {page}");
    }
    let (word, sentence, month) = said([8_400, 9_800, 15_000]);
    assert_eq!(word, "not shown", "{sentence}");
    assert!(!month.sentence.contains("slower"), "{}", month.sentence);
    let few = of_november(&weekly(&[8_400, 8_500, 20_000, 21_000, 22_000]));
    assert_eq!(few.regressions[0].word, "not enough data");
    assert!(few.regressions[0].sentence.contains("5 of at least 8 recovery times"), "{:?}", few.regressions);
}

#[test]
fn a_drill_that_was_given_up_is_counted_as_that() {
    let mut drills = weekly(&[8_400, 8_900]);
    let made = Made { run: "20261122T020000Z-d7q2xz", began: "2026-11-22T02:00:00Z", ..Made::default() };
    let mut journal = made.journal();
    let end = journal.pop().unwrap();
    let why = "somebody said stop".to_owned();
    journal.push(Line { at: end.at, event: Event::Aborted { why } });
    // Killed on top of that: how it ended nobody knows.
    let killed = crate::report::drill::of(&journal).unwrap();
    journal.push(end);
    let aborted = crate::report::drill::of(&journal).unwrap();
    assert_eq!((aborted.validity.word.as_str(), aborted.validity.finished), ("aborted", true));
    drills.push(aborted);
    let month = of_november(&drills);
    assert_eq!(month.tally, Tally { run: 3, met: 2, aborted: 1, ..Tally::default() });
    assert!(month.sentence.starts_with("3 drills, 2 met, 1 aborted"), "{}", month.sentence);
    let line = month.drills.iter().find(|line| line.run == made.run).unwrap();
    assert_eq!((line.word.as_str(), line.sentence.as_str()), ("aborted", "aborted: somebody said stop"));
    assert!(render::month(&month, Form::OpenMetrics).unwrap().contains("verdict=\"aborted\"} 1"));
    drills[2] = killed;
    assert_eq!(of_november(&drills).tally, Tally { run: 3, met: 2, unfinished: 1, ..Tally::default() });
    // A report of an older Davit was stored when its drill had ended.
    let mut old = serde_json::to_value(&drills[0]).unwrap();
    old["validity"].as_object_mut().unwrap().remove("finished").unwrap();
    assert!(DrillReport::parse(&old.to_string()).unwrap().validity.finished);
}

#[test]
fn a_drill_that_was_killed_is_listed_and_counts_for_nothing() {
    let made = Made { run: "20261122T020000Z-d7q2xz", began: "2026-11-22T02:00:00Z", ..Made::default() };
    // What was stored before anything was broken is all that there is of it.
    let mut journal = made.journal();
    journal.truncate(4);
    let killed = crate::report::drill::of(&journal).unwrap();
    assert!(!killed.validity.finished);
    assert_eq!(killed.cleanup.sentence, "not known: the journal ends before anything was put back");
    assert!(killed.actions[0].what.contains("davit chaos status"), "{:?}", killed.actions);
    let month = of("2026-11".parse().unwrap(), at("2026-11-30T00:00:00Z"), &[killed, Made::default().report()], &[]);
    let tally = Tally { run: 2, met: 1, unfinished: 1, ..Tally::default() };
    assert_eq!(month.tally, tally);
    assert!(month.sentence.starts_with("2 drills, 1 met, 1 unfinished"), "{}", month.sentence);
    let line = month.drills.iter().find(|line| line.run == made.run).unwrap();
    assert_eq!((line.word.as_str(), line.clean), ("unfinished", false));
    assert!(month.confidence.iter().all(|line| line.contains("1 valid run")), "{:?}", month.confidence);
    assert!(month.plots.iter().flat_map(|plot| &plot.dots).all(|dot| dot.run != made.run));
    for form in [Form::Text, Form::Markdown, Form::Html, Form::Json, Form::Junit] {
        let page = render::month(&month, form).unwrap();
        assert!(page.contains(made.run), "{form:?}: {page}");
    }
    assert!(render::month(&month, Form::OpenMetrics).unwrap().contains("unfinished"));
}
