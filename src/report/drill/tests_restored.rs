//! What a restore takes away, and what probes that ask for something else do not see.

use super::DrillReport;
use super::tests::Made;
use crate::measure::Outcome;
use crate::report::journal::{Event, Line, PackedRead, Restored, Survival};
use crate::report::render::{self, Form};
use std::time::Duration;

/// The fault of these journals, on their axis.
const FAULT: Duration = Duration::from_secs(1030);

/// A table is dropped while the server goes on answering; six seconds later the point of ten seconds before the fault is in
/// the place of everything, and the ledger begins anew.
pub(super) fn restored(lost_until: Duration) -> Vec<Line> {
    let made = Made { outage: Duration::ZERO, lost: 0, fault_name: "dropped-table", ..Made::default() };
    let mut lines = made.journal();
    let writes = lines.iter().find_map(|line| match &line.event {
        Event::Writes(writes) => Some(writes.writes().collect::<Vec<_>>()),
        _ => None,
    });
    let writes = writes.unwrap();
    let there = writes.iter().filter(|write| write.outcome == Outcome::Ok && write.ended > lost_until);
    let rows: Vec<(u64, u64)> = there.map(|write| (write.id, write.payload)).collect();
    for line in &mut lines {
        match &mut line.event {
            Event::Began(began) => {
                began.scenario.ends_validated = true;
                began.scenario.recovery = "restore from latest-verified".to_owned();
            }
            Event::Read(read) => *read = PackedRead::of(rows.iter().copied(), &writes),
            Event::Survival(survival) => {
                *survival = Survival { before: Some(4), after: Some(4), fork: None, old_commits: None };
            }
            _ => {}
        }
    }
    let restored = Restored {
        point: "20261120T020020Z-p1q2r3".to_owned(),
        source: "cloudflow".to_owned(),
        snapshot_time: "2026-11-20T02:00:20Z".parse().unwrap(),
        phases: Vec::new(),
        rows: 21_001,
        objects: None,
        bytes: 190 << 10,
        bytes_today: 190 << 10,
        proof: "every table was read back and is that of the backup".to_owned(),
        ledger_covered: false,
        tables: Vec::new(),
    };
    let at = FAULT + Duration::from_secs(6);
    lines.insert(lines.len() - 1, Line { at, event: Event::Restored(Box::new(restored)) });
    lines
}

#[test]
fn a_restore_loses_what_was_acknowledged_before_the_fault_and_after_it() {
    let lines = restored(FAULT + Duration::from_secs(6));
    super::tests::stored_is_the_same(&lines);
    let report = super::of(&lines).unwrap();
    let integrity = report.integrity.as_ref().unwrap();
    assert_eq!((integrity.shape.as_str(), integrity.lost_after_fault), ("since-point", 1_199));
    let rpo = report.objectives.iter().find(|row| row.key == "rpo").unwrap();
    let said = "all that was written since the recovery point is lost: 10.00 s before the fault, and 6.01 s after it; of the drill's \
                own writes 7,198 of 23,998 acknowledged ones, 1,199 of them acknowledged after the fault";
    assert_eq!(rpo.sentence, said);
    assert_eq!(rpo.verdict.as_deref(), Some("met"), "what the point is too old by is judged as before: {rpo:?}");
    assert!(report.verdict.sentence.contains(said), "{}", report.verdict.sentence);
    for form in [Form::Text, Form::Markdown, Form::Html, Form::Json] {
        let page = render::drill(&report, form).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!page.contains("two servers"), "one server answered: {form:?}");
        assert!(
            page.contains("every write between the recovery point and the recovery is missing") || form == Form::Html
        );
    }
}

#[test]
fn a_restore_of_what_went_down_at_once_loses_nothing_after_the_fault() {
    let report = super::of(&restored(FAULT)).unwrap();
    let rpo = report.objectives.iter().find(|row| row.key == "rpo").unwrap();
    let said = "all that was written since the recovery point is lost: 10.00 s before the fault; of the drill's own writes \
                5,998 of 23,998 acknowledged ones";
    assert_eq!(rpo.sentence, said);
}

#[test]
fn a_restore_of_single_tables_loses_what_came_into_them_since_the_point_though_no_write_of_the_drill_is_lost() {
    let mut lines = restored(Duration::ZERO);
    for line in &mut lines {
        if let Event::Restored(restored) = &mut line.event {
            restored.tables = vec!["public.orders".to_owned(), "public.lines".to_owned()];
            restored.bytes_today = 0;
        }
    }
    super::tests::stored_is_the_same(&lines);
    let report = super::of(&lines).unwrap();
    let rpo = report.objectives.iter().find(|row| row.key == "rpo").unwrap();
    let said = "all that was written into public.orders, public.lines since the recovery point is lost: 10.00 s before the fault";
    assert_eq!(rpo.sentence, said);
    assert!((rpo.actual.unwrap().high - 10.0).abs() < 0.1, "{rpo:?}");
    assert_eq!(report.integrity.as_ref().unwrap().shape, "none");
    assert_eq!(report.restore.unwrap().forecast, None, "nobody knows how large they are today");
}

#[test]
fn what_the_drill_lost_beside_restored_tables_is_judged_as_ever() {
    let mut lines = restored(FAULT.checked_sub(Duration::from_secs(29)).unwrap());
    for line in &mut lines {
        match &mut line.event {
            Event::Restored(restored) => restored.tables = vec!["public.orders".to_owned()],
            Event::Began(began) => began.aims.rpo = Some(Duration::from_secs(15)),
            _ => {}
        }
    }
    let report = super::of(&lines).unwrap();
    let rpo = report.objectives.iter().find(|row| row.key == "rpo").unwrap();
    // The restore did not take these writes away: before others that are there, they are a hole.
    assert_eq!(report.integrity.as_ref().unwrap().shape, "holes");
    assert_eq!(rpo.verdict.as_deref(), Some("missed"), "{rpo:?}");
    assert!(rpo.sentence.contains("of the drill's own writes "), "{rpo:?}");
}

#[test]
fn what_no_probe_asked_for_is_said_to_be_unseen() {
    let mut lines = restored(FAULT + Duration::from_secs(6));
    let limits = |lines: &[Line]| super::of(lines).unwrap().validity.limits.join("\n");
    assert!(!limits(&lines).contains("no probe asked for"));
    if let Event::Began(began) = &mut lines[0].event {
        began.scenario.unasked = Some("public.orders".to_owned());
    }
    super::tests::stored_is_the_same(&lines);
    assert!(limits(&lines).contains("no probe asked for public.orders: "), "{}", limits(&lines));
}

#[test]
fn a_load_that_was_not_reached_is_a_limit_of_what_the_run_says() {
    let said = |writes: Option<f64>| {
        let mut lines = Made::default().journal();
        if let Event::Began(began) = &mut lines[0].event {
            began.scenario.writes = writes;
        }
        super::tests::stored_is_the_same(&lines);
        let report = super::of(&lines).unwrap();
        report.validity.limits.into_iter().find(|limit| limit.contains("writes a second"))
    };
    // These journals have two hundred a second.
    assert_eq!((said(None), said(Some(200.0)), said(Some(220.0))), (None, None, None));
    let few = "200 writes a second were acknowledged before the fault, and 1020 were asked for: more may be lost under that load";
    assert_eq!(said(Some(1_020.0)).as_deref(), Some(few));
}

#[test]
fn what_nothing_undoes_is_not_ticked_off() {
    let with = |nothing: bool, proven: bool| {
        let mut lines = Made::default().journal();
        for line in &mut lines {
            if let Event::Healing(healing) = &mut line.event {
                (healing.nothing, healing.proven) = (nothing, proven);
            }
        }
        super::of(&lines).unwrap()
    };
    let what = "primary-crash of server at 127.0.0.1:5432";
    let line = |report: &DrillReport, form: Form| {
        let page = render::drill(report, form).unwrap();
        let (_, cleanup) = page.split_once("leanup").unwrap();
        cleanup.lines().find(|line| line.contains(&format!("{what}: "))).unwrap().to_owned()
    };
    let down = with(true, true);
    assert_eq!(down.cleanup.sentence, format!("nothing was to be undone of {what}"));
    assert!(down.cleanup.proven && down.verdict.exit_code == 0);
    for form in [Form::Text, Form::Markdown] {
        let line = line(&down, form);
        assert!(line.contains(&format!("· {what}: nothing to undo; the server is down")), "{line}");
    }
    let page = render::drill(&down, Form::Html).unwrap();
    assert!(page.contains(">nothing to undo<") && !page.contains(">proven<"));
    assert!(line(&with(false, true), Form::Text).contains("✓ "));
    for nothing in [true, false] {
        assert!(line(&with(nothing, false), Form::Text).contains("✗ "), "what was not looked at is not proven");
    }
}
