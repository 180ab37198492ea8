//! The durations of a recovery, each named for what went on in it.

use super::facts::{Facts, Step};
use super::model::PhaseRow;
use super::person;
use super::theory;
use super::undone::undone;
use crate::measure::instants::PHASES;
use crate::measure::{Instant, Interval, Timeline};
use crate::report::words::{bounds, since};

/// How the journal calls a recovery that nobody but the platform brings about.
const PLATFORM: &str = "platform";
/// How it calls one by somebody's program.
const COMMAND: &str = "run command";

/// What went on between two instants.
struct Span {
    name: &'static str,
    from: Interval,
    until: Interval,
    counts: bool,
}

impl Span {
    /// Its row; nothing where it ended before it began: what is redundant again before it is restored was never degraded.
    fn row(&self, facts: &Facts<'_>) -> Option<PhaseRow> {
        (self.until.high >= self.from.low).then(|| PhaseRow {
            name: self.name.to_owned(),
            from: since(self.from, facts.zero),
            until: since(self.until, facts.zero),
            length: bounds(self.until.since(self.from)),
            counts: self.counts,
            theory: None,
        })
    }
}

/// All of them, in the order in which they began.
pub(super) fn phases(facts: &Facts<'_>, timeline: &Timeline) -> Vec<PhaseRow> {
    let mut spans: Vec<Span> = Vec::new();
    for phase in PHASES {
        let counts = match phase.name {
            "detection" | "decision" => true,
            "validation" => facts.began.scenario.ends_validated,
            "first success" | "degraded" => false,
            // How the service came back is told by what brought it back.
            _ => continue,
        };
        let ends = timeline.get(phase.from).zip(timeline.get(phase.to));
        spans.extend(ends.map(|(from, until)| Span { name: phase.name, from, until, counts }));
    }
    if facts.restored.is_none() {
        spans.extend(way_back(facts, timeline));
    }
    let mut rows: Vec<PhaseRow> = spans.iter().filter_map(|span| span.row(facts)).collect();
    rows.extend(person::phase(facts));
    for phase in facts.restored.iter().flat_map(|restored| &restored.phases) {
        let (from, until) = (Interval::exact(phase.from), Interval::exact(phase.until));
        rows.push(PhaseRow {
            name: phase.name.clone(),
            from: since(from, facts.zero),
            until: since(until, facts.zero),
            length: bounds(until.since(from)),
            counts: true,
            theory: None,
        });
    }
    rows.sort_by(|one, other| one.from.low.total_cmp(&other.from.low).then(one.until.low.total_cmp(&other.until.low)));
    theory::compare(facts, &mut rows);
    rows
}

/// What brought the service back, where that was no restore of ours, and what was left to wait for after it.
fn way_back(facts: &Facts<'_>, timeline: &Timeline) -> Vec<Span> {
    let Some(fault) = timeline.get(Instant::Effective) else { return Vec::new() };
    let back = timeline.get(Instant::Restored);
    let before = |at: &Interval| back.is_none_or(|back| at.low <= back.high);
    let platform = facts.began.scenario.recovery == PLATFORM;
    let known = [Instant::Decided, Instant::Detected].into_iter().filter_map(|instant| timeline.get(instant));
    let mut from = known.into_iter().find(before).unwrap_or(fault);
    let mut spans = Vec::new();
    let mut rest = "until the service was back";
    let undone = undone(facts);
    // By itself nothing that is held lets go: who waits for the platform waits for that.
    let waited = undone.filter(|at| platform && back.is_some() && before(at));
    spans.extend(undone.map(|until| {
        let name = "until the fault was undone";
        Span { name, from: fault, until, counts: waited.is_some() }
    }));
    // That a writer was there all the time says nothing about what came back.
    let writer = timeline.get(Instant::Writer).filter(|at| at.low > fault.high && before(at));
    if let Some(undone) = waited {
        (from, rest) = (undone, "back after the fault");
    } else if let Some(step) = command(facts, from) {
        let until = Interval::exact(step.until);
        // The service may be back before the command has ended.
        let within = before(&until);
        let counts = within || facts.began.scenario.ends_with.is_some();
        spans.push(Span { name: "recovery command", from: Interval::exact(step.from), until, counts });
        if within {
            (from, rest) = (until, "back after the command");
        }
    } else if let Some(writer) = writer {
        let name = if platform { "until a writer was back" } else { "failover" };
        spans.push(Span { name, from, until: writer, counts: true });
        (from, rest) = (writer, "routing and reconnection");
        if let Some(routable) = timeline.get(Instant::Routable).filter(before) {
            spans.push(Span { name: "routing", from: writer, until: routable, counts: true });
            (from, rest) = (routable, "reconnection");
        }
    }
    spans.extend(back.map(|until| Span { name: rest, from, until, counts: true }));
    spans
}

/// The program that was to bring the service back: the first that ran once that was decided.
fn command<'a>(facts: &'a Facts<'_>, decided: Interval) -> Option<&'a Step<'a>> {
    let by_command = facts.began.scenario.recovery == COMMAND;
    facts.steps.iter().find(|step| by_command && step.from >= decided.low)
}
