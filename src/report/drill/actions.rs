//! What follows from a drill: who does what, until when, and which scenario shows whether it helped.

use super::facts::Facts;
use super::model::{Action, Cleanup, ObjectiveRow, Overall};
use crate::measure::Verdict;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A missed objective is dealt with within two weeks, so that the next drill of the month can show it.
const HIGH_DAYS: i64 = 14;
/// What is not known yet is found out by the next monthly drill.
const NORMAL_DAYS: i64 = 30;

/// How urgent it is that something is still broken.
pub(in crate::report) const NOW: &str = "now";

/// Until when an action of a drill that began then is to be done: what is still broken on that day, a missed objective within
/// 14 days, what was undecided or invalid within 30.
pub(in crate::report) fn due(severity: &str, began: Timestamp) -> Date {
    let days = match severity {
        NOW => 0,
        "high" => HIGH_DAYS,
        _ => NORMAL_DAYS,
    };
    began.to_zoned(TimeZone::UTC).date().saturating_add(days.days())
}

/// What somebody has to do, and until when.
pub(super) fn actions(
    facts: &Facts<'_>,
    overall: &Overall,
    rows: &[ObjectiveRow],
    cleanup: &Cleanup,
    verdict: &Verdict,
) -> Vec<Action> {
    let scenario = &facts.began.scenario;
    // A guard that was lifted for this run stands in the way of the next.
    let lifted = facts.guards.iter().filter(|guard| guard.lifted);
    let retest = lifted.fold(scenario.file.clone(), |retest, guard| format!("{retest} --lift {}", guard.name));
    let action = |severity: &str, what: String| Action {
        severity: severity.to_owned(),
        what,
        owner: scenario.owner.clone(),
        due: Some(due(severity, facts.began.wall)),
        retest: retest.clone(),
    };
    let mut actions = Vec::new();
    for row in cleanup.healed.iter().filter(|row| !row.proven) {
        actions.push(action(NOW, format!("put back by hand: {} ({})", row.what, row.detail)));
    }
    if !facts.ended {
        let what = "find out what the drill left that did not end (davit chaos status), and repeat it";
        actions.push(action("high", what.to_owned()));
    }
    for row in rows.iter().filter(|row| row.verdict.as_deref() == Some("missed")) {
        actions.push(action("high", format!("{} missed: {}", row.name, row.sentence)));
    }
    if matches!(verdict, Verdict::Invalid { .. }) && cleanup.proven && facts.ended {
        actions.push(action("normal", format!("repeat the drill: {}", overall.sentence)));
    }
    for row in rows.iter().filter(|row| row.verdict.as_deref() == Some("undecided")) {
        actions.push(action("normal", format!("decide {}: {}", row.name, row.sentence)));
    }
    actions
}
