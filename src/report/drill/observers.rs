//! Who observed, and what each of them saw.

use super::facts::Facts;
use super::model::{ObjectiveRow, ObserverRow};
use super::recovery::Seen;
use crate::measure::{Stall, Verdict};
use crate::report::words::secs;

/// The machine that ran the drill first, then everybody else in the order of the scenario.
pub(super) fn observers(facts: &Facts<'_>, streams: &[Seen<'_>], rows: &[ObjectiveRow]) -> Vec<ObserverRow> {
    let is_elsewhere = |name: &str| facts.elsewhere.iter().any(|one| one.observer.name == name);
    let own = streams.iter().map(|seen| seen.stream.observer.as_str()).find(|name| !is_elsewhere(name));
    let own = own.map(|name| ObserverRow {
        place: "runs the drill".to_owned(),
        clock_error: Some(0.0),
        stalled: secs(Stall::total(&facts.stalls)),
        ..row(facts, streams, rows, name)
    });
    let elsewhere = facts.elsewhere.iter().map(|one| {
        let row = row(facts, streams, rows, &one.observer.name);
        let verdict = match (one.open(), row.verdict.as_deref()) {
            // What it missed may have been worse than what it saw.
            (Some(_), Some("met") | None) => Some(Verdict::Undecided.word().to_owned()),
            _ => row.verdict.clone(),
        };
        let why = one.cut.map(|cut| format!("; it ended early: {}", cut.why)).unwrap_or_default();
        ObserverRow {
            place: one.observer.place.clone(),
            clock_error: one.error.map(secs),
            stalled: secs(Stall::total(&one.stalls)),
            whole: one.cut.is_none(),
            verdict,
            sentence: format!("{}{why}", row.sentence),
            ..row
        }
    });
    own.into_iter().chain(elsewhere).collect()
}

/// What follows from its streams and from the paths that it walked.
fn row(facts: &Facts<'_>, streams: &[Seen<'_>], rows: &[ObjectiveRow], name: &str) -> ObserverRow {
    let dues = streams.iter().filter(|seen| seen.stream.observer == name).filter_map(Seen::dues);
    let last = dues.map(|(_, last)| last).max();
    // The paths come with the worst one first; of several verdicts the worst is not always that of the first path.
    let rank = |row: &ObjectiveRow| row.verdict.as_deref().and_then(Verdict::rank_of);
    let own = || rows.iter().filter(|row| row.observer.as_deref() == Some(name));
    let worst = own().map(rank).max();
    let worst = own().find(|row| Some(rank(row)) == worst);
    ObserverRow {
        name: name.to_owned(),
        place: String::new(),
        clock_error: None,
        stalled: 0.0,
        until: last.map(|last| secs(last.saturating_sub(facts.zero))),
        whole: true,
        verdict: worst.and_then(|row| row.verdict.clone()),
        recovery_time: worst.and_then(|row| row.actual),
        sentence: worst.map_or_else(|| "not measured: no fault was proven".to_owned(), |row| row.sentence.clone()),
    }
}
