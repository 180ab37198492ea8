//! What the time of a recovery is called, when its fault was undone, and how the drill is repeated.

use super::tests::Made;
use crate::measure::{Instant, Interval};
use crate::report::journal::{Event, Healing, Line, Mark, Stage, Theory};
use crate::report::render::{self, Form};
use std::time::Duration;

/// The fault of these journals, on their axis.
const FAULT: Duration = Duration::from_secs(1030);

const fn after(ms: u64) -> Duration {
    FAULT.saturating_add(Duration::from_millis(ms))
}

/// The drill that never was, of twelve seconds, with another recovery and other marks after the fault than it had.
fn recovered(by: &str, more: Vec<Line>) -> Vec<Line> {
    let made = Made { lost: 0, ..Made::default() };
    let mut lines = made.journal();
    lines.retain(|line| match &line.event {
        Event::Mark(mark) => matches!(mark.instant, Instant::Requested | Instant::Effective),
        Event::Step { .. } | Event::Healing(_) => false,
        _ => true,
    });
    if let Event::Began(began) = &mut lines[0].event {
        began.scenario.recovery = by.to_owned();
    }
    let end = lines.len() - 1;
    lines.splice(end..end, more);
    lines
}

fn mark(instant: Instant, low: u64, high: u64) -> Line {
    let at = Interval::new(after(low), after(high));
    Line { at: at.high, event: Event::Mark(Mark { instant, at, evidence: "seen".to_owned() }) }
}

fn stage(stage: Stage, ms: u64) -> Line {
    Line { at: after(ms), event: Event::Stage(stage) }
}

fn healing(ms: u64, proven: bool, nothing: bool) -> Line {
    let detail = "no session of this run is left".to_owned();
    Line { at: after(ms), event: Event::Healing(Healing { nothing, what: "lock-storm".to_owned(), proven, detail }) }
}

fn step(what: &str, from: u64, until: u64) -> Line {
    let event = Event::Step { what: what.to_owned(), from: after(from), ok: true, detail: "done".to_owned() };
    Line { at: after(until), event }
}

/// The phases that are a part of the recovery time.
fn counted(lines: &[Line]) -> Vec<String> {
    let report = super::of(lines).unwrap();
    report.phases.into_iter().filter(|phase| phase.counts).map(|phase| phase.name).collect()
}

/// The server was there all the time: what was waited for is the end of the fault.
fn held(outcome: Line) -> Vec<Line> {
    let (writer, routable) = (mark(Instant::Writer, 0, 94), mark(Instant::Routable, 0, 94));
    let ledger = healing(60_000, true, false);
    let over = stage(Stage::Verification, 50_000);
    recovered("platform", vec![writer, routable, stage(Stage::Healing, 12_100), outcome, over, ledger])
}

#[test]
fn who_waits_for_the_end_of_a_fault_is_not_said_to_reconnect() {
    let lines = held(healing(12_200, true, false));
    super::tests::stored_is_the_same(&lines);
    assert_eq!(counted(&lines), ["until the fault was undone", "back after the fault"]);
    let report = super::of(&lines).unwrap();
    let undone = report.timeline.iter().find(|moment| moment.symbol == "th").unwrap();
    let at = undone.since_fault.unwrap();
    assert!(at.low >= 12.0 && at.low <= 12.1 && at.high >= 12.2 && at.high < 12.3, "{undone:?}");
    assert_eq!((undone.name.as_str(), undone.evidence.as_str()), ("fault undone", "no session of this run is left"));
    for form in [Form::Text, Form::Markdown, Form::Html] {
        let page = render::drill(&report, form).unwrap();
        assert!(page.contains("fault undone") && !page.contains("reconnection"), "{form:?}");
    }
}

#[test]
fn what_nothing_undoes_or_is_not_proven_to_be_undone_has_no_end() {
    for (outcome, said) in [
        (healing(12_200, true, true), "nothing to undo: no session of this run is left"),
        (healing(12_200, false, false), "not proven: no session of this run is left"),
    ] {
        let lines = held(outcome);
        let report = super::of(&lines).unwrap();
        let undone = report.timeline.iter().find(|moment| moment.symbol == "th").unwrap();
        assert_eq!((undone.at, undone.evidence.as_str()), (None, said));
        assert_eq!(counted(&lines), ["until the service was back"]);
    }
    let report = Made::default().report();
    assert!(report.timeline.iter().all(|moment| moment.symbol != "th"), "nobody came to undo anything");
}

#[test]
fn the_time_of_a_recovery_command_has_a_name() {
    let noticed = || vec![mark(Instant::Detected, 2_100, 2_100), mark(Instant::Decided, 4_100, 4_100)];
    let command = [noticed(), vec![step("systemctl restart postgresql", 4_100, 11_000)]].concat();
    let names = ["detection", "decision", "recovery command", "back after the command"];
    assert_eq!(counted(&recovered("run command", command.clone())), names);
    let report = super::of(&recovered("run command", command)).unwrap();
    let phase = report.phases.iter().find(|phase| phase.name == "recovery command").unwrap();
    assert!((phase.length.low - 6.9).abs() < 1e-6, "{phase:?}");
    // The service was back before the command ended: that end is no part of its recovery time.
    let late = [noticed(), vec![step("systemctl restart postgresql", 4_100, 20_000)]].concat();
    assert_eq!(counted(&recovered("run command", late)), ["detection", "decision", "until the service was back"]);
}

#[test]
fn a_platform_and_a_promotion_are_told_by_what_they_bring_back() {
    let seen = || vec![mark(Instant::Writer, 11_000, 11_200), mark(Instant::Routable, 11_300, 11_500)];
    let platform = [vec![mark(Instant::Detected, 2_000, 2_200)], seen()].concat();
    let names = ["detection", "until a writer was back", "routing", "reconnection"];
    assert_eq!(counted(&recovered("platform", platform)), names);
    let decided = vec![mark(Instant::Detected, 2_000, 2_200), mark(Instant::Decided, 4_000, 4_000)];
    let promoted = [decided, seen()].concat();
    let names = ["detection", "decision", "failover", "routing", "reconnection"];
    assert_eq!(counted(&recovered("promote standby", promoted)), names);
    assert_eq!(counted(&recovered("platform", Vec::new())), ["until the service was back"]);
}

#[test]
fn a_phase_stands_beside_what_its_settings_allow_in_every_form() {
    let mut lines =
        recovered("promote standby", vec![mark(Instant::Writer, 2000, 2100), mark(Instant::Routable, 2300, 2400)]);
    let theory = |phase: &str, best: u64, worst: u64| Theory {
        phase: phase.to_owned(),
        best: Duration::from_secs(best),
        worst: Duration::from_secs(worst),
        because: Some(format!("{phase} by <its> settings")),
    };
    if let Event::Began(began) = &mut lines[0].event {
        began.scenario.theory = vec![theory("failover", 1, 40), theory("reconnection", 0, 1), theory("decision", 1, 2)];
    }
    let report = super::of(&lines).unwrap();
    let took: Vec<(&str, &str)> = report.theories().map(|(phase, theory)| (phase, theory.took.as_str())).collect();
    assert_eq!(took, [("failover", "within"), ("reconnection", "longer")], "{:?}", report.phases);
    assert!(report.validity.limits.iter().any(|limit| limit.contains("\"decision\"")), "{:?}", report.validity.limits);
    let text = render::drill(&report, Form::Text).unwrap();
    assert!(text.contains("as long as its settings allow, 1.00 s to 40.00 s (failover by <its> settings)"), "{text}");
    let markdown = render::drill(&report, Form::Markdown).unwrap();
    assert!(markdown.contains("reconnection: LONGER than its settings allow, 0 s to 1.00 s"), "{markdown}");
    let html = render::drill(&report, Form::Html).unwrap();
    assert!(
        html.contains("failover by &lt;its&gt; settings") && html.matches("class=\"theory\"").count() == 2,
        "{html}"
    );
    // What is twenty times as long as all that was measured leaves room for that: its line has no end.
    let reconnection = html.split("class=\"theory\" d=\"").nth(2).unwrap();
    let line = html.split("class=\"theory\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(
        (line.matches('M').count(), reconnection.split('"').next().unwrap().matches('M').count()),
        (2, 3),
        "{line}"
    );
}

#[test]
fn every_phase_of_a_recovery_has_a_name_that_a_scenario_may_say() {
    let lines = [
        recovered("platform", vec![mark(Instant::Writer, 2000, 2100), mark(Instant::Routable, 2300, 2400)]),
        recovered("promote standby", vec![mark(Instant::Decided, 500, 600), mark(Instant::Writer, 2000, 2100)]),
        recovered("run command", vec![mark(Instant::Decided, 500, 600), step("systemctl", 700, 2100)]),
        recovered("platform", vec![mark(Instant::Detected, 500, 600), healing(2000, true, false)]),
        recovered("platform", Vec::new()),
        super::tests_restored::restored(Duration::from_secs(1036)),
    ];
    let mut names = std::collections::BTreeSet::new();
    for lines in lines {
        names.extend(super::of(&lines).unwrap().phases.into_iter().map(|phase| phase.name));
    }
    assert!(names.len() > 8, "{names:?}");
    let unknown: Vec<&String> =
        names.iter().filter(|name| !crate::measure::instants::PHASE_NAMES.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_was_lifted_for_a_run_is_lifted_again_by_whoever_repeats_it() {
    let mut lines = Made { healed: false, ..Made::default() }.journal();
    assert!(!super::of(&lines).unwrap().actions[0].retest.contains("--lift"));
    for line in &mut lines {
        if let Event::Guard(guard) = &mut line.event {
            guard.lifted = guard.name == "lease";
        }
    }
    let retest = super::of(&lines).unwrap().actions[0].retest.clone();
    assert!(retest.ends_with(" --lift lease"), "{retest}");
}
