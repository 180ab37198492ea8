//! From a journal to a report, step by step.

use super::actions::actions;
use super::alerts;
use super::budget::budget;
use super::facts::Facts;
use super::integrity::{Compared, compare};
use super::judge::{Judged, judge, why_invalid};
use super::model::{
    BlastRadius, Bounds, CheckRow, Cleanup, DrillReport, Forecast, GuardRow, HealingRow, Identity, Moment,
    ObjectiveRow, Overall, PhaseRow, RawFile, RestoreRow, SteadyReport, SteadyRow, StepRow, Validity,
};
use super::observers::observers;
use super::paths::{End, Path, paths};
use super::person;
use super::phases::phases;
use super::recovery::{Seen, look};
use super::replica;
use super::theory;
use super::undone;
use crate::error::{Kind, Result};
use crate::measure::{Instant, Interval, Stall, Steady, SteadyRule, Timeline, Verdict, Writes};
use crate::report::journal::{Began, FILE, Line, digest};
use crate::report::series::{Drawn, DrawnStream, Frame, Series};
use crate::report::words::{aim, percent, seconds, secs, since};
use std::collections::BTreeSet;
use std::time::Duration;

/// All instants of a drill, in order.
const INSTANTS: [(Instant, &str); 11] = [
    (Instant::Requested, "fault asked for"),
    (Instant::Effective, "fault proven"),
    (Instant::Onset, "users felt it"),
    (Instant::Detected, "system noticed"),
    (Instant::Decided, "recovery decided"),
    (Instant::Writer, "writer there again"),
    (Instant::Routable, "users are led to it"),
    (Instant::FirstSuccess, "first success"),
    (Instant::Restored, "service restored"),
    (Instant::Validated, "data validated"),
    (Instant::Redundant, "redundant again"),
];

/// A load counts as reached that comes so near to what was asked for.
const REACHED: f64 = 0.9;

/// Before and after an outage, a graph shows at least so much of normal life.
const AROUND: Duration = Duration::from_secs(5);

/// The report of the drill that wrote this journal. The same journal gives the same report, byte for byte.
pub fn of(journal: &[Line]) -> Result<DrillReport> {
    let facts = Facts::of(journal)?;
    let streams = look(&facts);
    let paths = paths(&facts, &streams);
    let mut compared = facts.fault().and_then(|fault| compare(&facts, fault));
    let steady = steady(&facts, &streams);
    let Judged { rows, verdict } = judge(&facts, &paths, compared.as_ref(), &steady.missed_after);
    let why = why_invalid(&facts, &steady.missed_before);
    let verdict = if why.is_empty() { verdict } else { Verdict::Invalid { why }.worst(verdict) };
    let timeline = timeline(&facts, &paths);
    let cleanup = cleanup(&facts);
    let overall = overall(&facts, &verdict, &rows, &cleanup);
    // A run that proves nothing adds to no confidence.
    if let Some(compared) = compared.as_mut().filter(|_| overall.word == "invalid") {
        compared.row.confidence = None;
    }
    let phases = phases(&facts, &timeline);
    let observers = observers(&facts, &streams, &rows);
    Ok(DrillReport {
        schema_version: crate::report::SCHEMA_VERSION,
        kind: "drill".to_owned(),
        run: facts.began.run.clone(),
        identity: identity(&facts),
        actions: actions(&facts, &overall, &rows, &cleanup, &verdict),
        validity: validity(&facts, &verdict, limits(&facts, &streams, &phases, compared.as_ref())),
        verdict: overall,
        objectives: rows,
        steady,
        timeline: moments(&facts, &timeline, &paths),
        restore: restore(&facts, &phases),
        phases,
        acknowledgement: person::row(&facts),
        alerts: alerts::rows(&facts),
        observers,
        streams: streams.iter().map(|seen| seen.row(&facts)).collect(),
        series: series(&facts, &streams, &timeline, compared.as_ref()),
        integrity: compared.map(|compared| compared.row),
        replica: replica::row(&facts),
        checks: facts
            .checks
            .iter()
            .map(|check| CheckRow { name: check.name.clone(), ok: check.ok, detail: check.detail.clone() })
            .collect(),
        blast_radius: blast_radius(&facts),
        guards: facts.guards.iter().map(|guard| guard_row(guard)).collect(),
        cleanup,
        error_budget: budget(&facts, &streams),
        steps: facts.steps.iter().map(|step| step_row(&facts, step)).collect(),
        surprises: facts.surprises.clone(),
        files: raw(&facts, journal)?,
    })
}

/// What ties the report to what it was made from: probes, writes and reads are lines of the journal, too, and that says what
/// the files were from which it has them.
fn raw(facts: &Facts<'_>, journal: &[Line]) -> Result<Vec<RawFile>> {
    let (bytes, sha256) = digest(journal)?;
    let own = RawFile { name: FILE.to_owned(), lines: journal.len() as u64, bytes, sha256 };
    let beside = facts.files.iter().map(|file| RawFile {
        name: file.name.clone(),
        lines: file.lines,
        bytes: file.bytes,
        sha256: file.sha256,
    });
    Ok(std::iter::once(own).chain(beside).collect())
}

fn identity(facts: &Facts<'_>) -> Identity {
    let (began, scenario) = (facts.began, &facts.began.scenario);
    Identity {
        title: scenario.title.clone(),
        why: scenario.why.clone(),
        hypothesis: scenario.hypothesis.clone(),
        scenario: scenario.file.clone(),
        scenario_sha256: scenario.sha256,
        owner: scenario.owner.clone(),
        service: scenario.service.clone(),
        environment: scenario.environment.clone(),
        target: scenario.target.clone(),
        fault: scenario.fault.clone(),
        recovery: scenario.recovery.clone(),
        tool: began.tool.clone(),
        seed: began.seed,
        repetition: began.repetition,
        operator: began.operator.clone(),
        approver: approver(began),
        began: began.wall,
        seconds: secs(facts.last.saturating_sub(facts.zero)),
        versions: began.versions.clone(),
    }
}

/// Nobody but the operator is asked, and only for their word: what is said is who gave it, and how.
fn approver(began: &Began) -> Option<String> {
    let name = began.confirmed.as_ref()?;
    let who = began.operator.as_deref().unwrap_or("the operator");
    Some(format!("{who}, by typing {name} again"))
}

fn steady(facts: &Facts<'_>, streams: &[Seen<'_>]) -> SteadyReport {
    let rule = facts.began.steady;
    let rows = |of: fn(&Seen<'_>) -> Option<crate::measure::Steady>| -> Vec<SteadyRow> {
        streams.iter().filter_map(|seen| Some(seen.steady_row(&of(seen)?))).collect()
    };
    // Whoever ended early did not see the end of the last window: that is open, and no miss of the service.
    let saw = |seen: &&Seen<'_>| facts.elsewhere(seen.stream).is_none_or(|one| one.cut.is_none());
    let missed = |of: fn(&Seen<'_>) -> Option<crate::measure::Steady>, all: bool| -> Vec<String> {
        let judged = streams.iter().filter(|seen| seen.judged() && (all || saw(seen)));
        let judged = judged.filter_map(|seen| Some((seen, of(seen)?)));
        judged
            .flat_map(|(seen, steady)| {
                steady.misses(&rule).into_iter().map(move |why| format!("{}: {why}", seen.stream.name))
            })
            .collect()
    };
    SteadyReport {
        rule: rule_words(&rule),
        before: rows(|seen| seen.before),
        after: rows(|seen| seen.after),
        missed_before: missed(|seen| seen.before, true),
        missed_after: missed(|seen| seen.after, false),
    }
}

fn rule_words(rule: &SteadyRule) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(rule.p95.map(|p95| format!("P95 at most {}", aim(secs(p95)))));
    words.extend(rule.p99.map(|p99| format!("P99 at most {}", aim(secs(p99)))));
    words.push(format!("errors at most {}", percent(rule.errors.unwrap_or(0.001))));
    words.extend(rule.throughput.map(|rate| format!("at least {rate} a second")));
    words
}

/// What is dated by evidence, and what the worst path of users says.
fn timeline(facts: &Facts<'_>, paths: &[Path]) -> Timeline {
    let mut timeline = Timeline::default();
    for (instant, (at, _)) in &facts.marks {
        timeline.set(*instant, *at);
    }
    if let Some(path) = worst(paths)
        && let End::Restored { restored, first_success, .. } = &path.end
    {
        timeline.set(Instant::Restored, *restored);
        if let Some(first) = first_success {
            let elsewhere = facts.elsewhere.iter().find(|one| one.observer.name == path.observer);
            let error = elsewhere.and_then(|one| one.error).unwrap_or_default();
            timeline.set(Instant::FirstSuccess, Interval::exact(*first).widened(error));
        }
    }
    if let Some((_, onset)) = first_felt(paths) {
        timeline.set(Instant::Onset, onset);
    }
    timeline
}

/// The path on which the fault was felt first: that it ended earlier there than on the worst one does not make it later.
fn first_felt(paths: &[Path]) -> Option<(&Path, Interval)> {
    let felt = paths.iter().filter_map(|path| match &path.end {
        End::Restored { onset, .. } => Some((path, *onset)),
        _ => None,
    });
    felt.min_by_key(|(_, onset)| (onset.high, onset.low))
}

/// The worst path of which something is known: one that its observer did not see dates nothing.
fn worst(paths: &[Path]) -> Option<&Path> {
    paths.iter().find(|path| path.open.is_none() || path.end != End::NoData)
}

fn moments(facts: &Facts<'_>, timeline: &Timeline, paths: &[Path]) -> Vec<Moment> {
    let path = worst(paths).map_or("no path was judged", |path| path.name.as_str());
    let felt = first_felt(paths).map_or(path, |(path, _)| path.name.as_str());
    let moment = |(instant, name): &(Instant, &str)| {
        let at = timeline.get(*instant);
        let from_probes = matches!(instant, Instant::Onset | Instant::FirstSuccess | Instant::Restored);
        let evidence = match (facts.marks.get(instant), at) {
            (Some((_, evidence)), _) if !from_probes => (*evidence).to_owned(),
            (_, Some(_)) if *instant == Instant::Onset => format!("probes of {felt}"),
            (_, Some(_)) => format!("probes of {path}"),
            _ => "not seen".to_owned(),
        };
        let wall = at.and_then(|at| facts.began.wall.checked_add(at.high.saturating_sub(facts.zero)).ok());
        Moment {
            symbol: instant.symbol(),
            name: (*name).to_owned(),
            at: at.map(|at| since(at, facts.zero)),
            since_fault: at.zip(facts.fault()).map(|(at, fault)| after(at, fault)),
            wall,
            evidence,
        }
    };
    let mut moments: Vec<Moment> = INSTANTS.iter().map(moment).collect();
    // Where a fault lasts, nobody is served before it is undone.
    let first =
        moments.iter().position(|moment| moment.symbol == Instant::FirstSuccess.symbol()).unwrap_or(moments.len());
    moments.splice(first..first, undone::moment(facts));
    moments.extend(person::moment(facts));
    moments
}

/// From one instant to another that may lie before it.
pub(super) fn after(at: Interval, fault: Interval) -> Bounds {
    if at.low == fault.low && at.high == fault.high {
        return Bounds { low: 0.0, high: 0.0 };
    }
    Bounds { low: since(at, fault.high).low, high: since(at, fault.low).high }
}

fn restore(facts: &Facts<'_>, phases: &[PhaseRow]) -> Option<RestoreRow> {
    let restored = facts.restored?;
    Some(RestoreRow {
        point: restored.point.clone(),
        source: restored.source.clone(),
        snapshot_time: restored.snapshot_time,
        rows: restored.rows,
        objects: restored.objects,
        bytes: restored.bytes,
        proof: restored.proof.clone(),
        forecast: forecast(facts, phases),
    })
}

/// What grows with the data is scaled, the rest stays: the time of one restore at another size.
fn forecast(facts: &Facts<'_>, phases: &[PhaseRow]) -> Option<Forecast> {
    let restored = facts.restored?;
    let whole = facts.marks.get(&Instant::Validated)?.0.since(facts.fault()?);
    if restored.bytes == 0 || restored.bytes_today == 0 {
        return None;
    }
    let grows = |name: &str| restored.phases.iter().any(|phase| phase.name == name && phase.bytes > 0);
    let growing = phases.iter().filter(|phase| grows(&phase.name)).map(|phase| (phase.from.low, phase.until.high));
    let growing = union(growing.collect());
    #[expect(clippy::cast_precision_loss, reason = "a forecast is rough by nature")]
    let factor = restored.bytes_today as f64 / restored.bytes as f64;
    let seconds = (whole.high.as_secs_f64() - growing).max(0.0) + growing * factor;
    let rate = crate::humane::bytes(rate(restored.bytes, growing));
    Some(Forecast {
        bytes: restored.bytes_today,
        seconds: (seconds * 10.0).round() / 10.0,
        rests_on: format!(
            "{rate} a second, as measured; {} that does not grow with the data",
            self::seconds(whole.high.as_secs_f64() - growing)
        ),
    })
}

fn rate(bytes: u64, seconds: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "for reading"
    )]
    let rate = (bytes as f64 / seconds.max(1e-3)) as u64;
    rate
}

/// How long at least one of these spans lasted.
fn union(mut spans: Vec<(f64, f64)>) -> f64 {
    spans.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut sum, mut end) = (0.0, f64::MIN);
    for (from, until) in spans {
        sum += (until - from.max(end)).max(0.0);
        end = end.max(until);
    }
    sum
}

fn drawn_stream<'a>(seen: &'a Seen<'a>) -> DrawnStream<'a> {
    let samples = seen.samples;
    DrawnStream {
        name: &seen.stream.name,
        every: seen.stream.every,
        samples: Box::new(move || Box::new(samples.iter())),
    }
}

fn series(facts: &Facts<'_>, streams: &[Seen<'_>], timeline: &Timeline, compared: Option<&Compared>) -> Vec<Series> {
    let none = BTreeSet::new();
    let drawn = Drawn {
        zero: facts.zero,
        streams: streams.iter().map(drawn_stream).collect(),
        attempts: &facts.attempts,
        lag: &facts.lag,
        lost: compared.map_or(&none, |compared| &compared.classes.lost),
    };
    let dues = || streams.iter().filter_map(Seen::dues);
    let (first, last) = (dues().map(|(first, _)| first).min(), dues().map(|(_, last)| last).max());
    let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
    let whole = Frame { name: "the whole drill", from: first.max(facts.zero), until: last };
    let mut frames = Vec::new();
    if let Some(fault) = facts.fault() {
        let end = timeline.get(Instant::Restored).or(timeline.get(Instant::Validated)).unwrap_or(fault).high;
        let margin = (end.saturating_sub(fault.low) / 3).max(AROUND);
        let from = fault.low.saturating_sub(margin).max(whole.from);
        let around = Frame { name: "around the fault", from, until: (end + margin * 2).min(last) };
        let share = |frame: &Frame| frame.until.saturating_sub(frame.from);
        if share(&around) * 10 < share(&whole) * 6 {
            frames.push(around);
        }
    }
    frames.push(whole);
    frames.iter().map(|frame| frame.draw(&drawn)).collect()
}

fn blast_radius(facts: &Facts<'_>) -> BlastRadius {
    let Some(planned) = &facts.planned else { return BlastRadius::default() };
    BlastRadius {
        candidates: planned.candidates,
        planned: planned.victims.iter().map(|victim| victim.name.clone()).collect(),
        touched: facts.touched.clone(),
        cap: planned.cap.to_owned(),
        phase: Some(secs(planned.phase)),
        undo: planned.undo.to_owned(),
    }
}

fn guard_row(guard: &crate::report::journal::Guard) -> GuardRow {
    let said = match (guard.lifted, guard.allowed) {
        (true, _) => "lifted",
        (false, true) => "allowed",
        (false, false) => "refused",
    };
    GuardRow { name: guard.name.clone(), said: said.to_owned(), detail: guard.detail.clone() }
}

fn step_row(facts: &Facts<'_>, step: &super::facts::Step<'_>) -> StepRow {
    StepRow {
        what: step.what.to_owned(),
        at: secs(step.from.saturating_sub(facts.zero)),
        seconds: secs(step.until.saturating_sub(step.from)),
        ok: step.ok,
        detail: step.detail.to_owned(),
    }
}

fn cleanup(facts: &Facts<'_>) -> Cleanup {
    let row = |healing: &&crate::report::journal::Healing| HealingRow {
        what: healing.what.clone(),
        proven: healing.proven,
        nothing_to_undo: healing.nothing,
        detail: healing.detail.clone(),
    };
    let healed: Vec<HealingRow> = facts.healings.iter().map(row).collect();
    let injected = facts.marks.contains_key(&Instant::Requested);
    let open: Vec<&str> = healed.iter().filter(|row| !row.proven).map(|row| row.what.as_str()).collect();
    let nothing: Vec<&str> = healed.iter().filter(|row| row.nothing_to_undo).map(|row| row.what.as_str()).collect();
    let known = facts.ended || !healed.is_empty();
    let (proven, sentence) = match (injected, healed.is_empty(), open.is_empty()) {
        _ if !known => (false, "not known: the journal ends before anything was put back".to_owned()),
        (false, true, _) => (true, "nothing was injected, so there was nothing to undo".to_owned()),
        (true, true, _) => (false, "nobody looked whether the fault was undone".to_owned()),
        (_, _, false) => (false, format!("NOT PROVEN: {}", open.join(", "))),
        _ if nothing.is_empty() => (true, "everything was put back and looked at".to_owned()),
        // How that stands is seen; that it is well again is said by the objectives, or by nobody.
        _ if nothing.len() == healed.len() => (true, format!("nothing was to be undone of {}", nothing.join(", "))),
        _ => (true, format!("put back and looked at, but for what nothing undoes: {}", nothing.join(", "))),
    };
    Cleanup { proven, sentence, healed }
}

fn overall(facts: &Facts<'_>, verdict: &Verdict, rows: &[ObjectiveRow], cleanup: &Cleanup) -> Overall {
    let kind = match (cleanup.proven, facts.aborted, verdict) {
        (false, _, _) => Some(Kind::Stuck),
        (_, Some(_), _) => Some(Kind::Failed),
        (_, _, Verdict::Invalid { .. } | Verdict::Undecided) => Some(Kind::Undecided),
        // The worst code wins, and of these two it is that of the doubt; the word says what is known.
        // That a recovery does not work is no doubt, whatever could not be measured for it.
        (_, _, Verdict::Missed) if facts.recovery_failed.is_some() => Some(Kind::CheckFailed),
        (_, _, Verdict::Missed) if undecided(rows).next().is_some() => Some(Kind::Undecided),
        (_, _, Verdict::Missed) => Some(Kind::CheckFailed),
        (_, _, Verdict::Met) => None,
    };
    let mut sentence = match (facts.aborted, verdict) {
        (Some(why), _) => format!("aborted: {why}"),
        (None, Verdict::Invalid { why }) => match why.as_slice() {
            [] => "the run proves nothing".to_owned(),
            why => format!("the run proves nothing: {}", why.join("; ")),
        },
        (None, _) => judged_sentence(facts, verdict, rows),
    };
    if !cleanup.proven {
        sentence = format!("cleanup {}; {sentence}", cleanup.sentence);
    }
    let word = if facts.aborted.is_some() { "invalid" } else { verdict.word() };
    Overall { word: word.to_owned(), sentence, exit_code: kind.map_or(0, Kind::exit_code) }
}

/// The objectives of which nobody can say whether they were met.
fn undecided(rows: &[ObjectiveRow]) -> impl Iterator<Item = &ObjectiveRow> {
    rows.iter().filter(|row| row.verdict.as_deref() == Some(Verdict::Undecided.word()))
}

/// The rows that decided it, in one sentence, and what is open beside them.
fn judged_sentence(facts: &Facts<'_>, verdict: &Verdict, rows: &[ObjectiveRow]) -> String {
    let word = verdict.word();
    let speaks = |row: &&ObjectiveRow| match verdict {
        Verdict::Met => matches!(row.key.as_str(), "rto" | "rpo"),
        _ => row.verdict.as_deref() == Some(word),
    };
    let mut parts: Vec<String> = Vec::new();
    // Of several paths the worst one comes first, and speaks for all.
    let worst = |at: usize, row: &ObjectiveRow| {
        row.key != "rto" || rows[..at].iter().all(|before| before.key != "rto" || !speaks(&before))
    };
    for (_, row) in rows.iter().enumerate().filter(|(at, row)| speaks(row) && worst(*at, row)) {
        let part = match row.key.as_str() {
            "rto" => match row.actual {
                Some(actual) if actual.low <= 0.0 => {
                    format!("no outage longer than {}{}", seconds(actual.high), seen_by(facts, row))
                }
                Some(actual) => {
                    let scenario = &facts.began.scenario;
                    // What has to be done in spite of the fault is seen by nobody's probes.
                    let how = if scenario.ends_with.is_some() && row.observer.is_none() { "done" } else { "restored" };
                    format!("{} {how} {actual} after the fault{}", scenario.service, seen_by(facts, row))
                }
                None => format!("{}{}", row.sentence, seen_by(facts, row)),
            },
            "rpo" | "recovery" => row.sentence.clone(),
            _ => format!("{}: {}", row.name, row.sentence),
        };
        let part = match row.objective.filter(|_| row.key == "rto" || row.key == "rpo") {
            Some(wanted) => format!("{part} (wanted: {})", aim(wanted)),
            None => part,
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if *verdict == Verdict::Missed {
        parts.extend(undecided(rows).map(|row| match row.by.as_str() {
            "" => format!("undecided: {}", row.name),
            by => format!("undecided: {}, {by}", row.name),
        }));
    }
    if parts.is_empty() { "nothing was asked for, and nothing went wrong".to_owned() } else { parts.join("; ") }
}

/// Who saw it, where it makes a difference.
fn seen_by(facts: &Facts<'_>, row: &ObjectiveRow) -> String {
    match &row.observer {
        Some(observer) if !facts.elsewhere.is_empty() => format!(", seen from {observer}"),
        _ => String::new(),
    }
}

fn validity(facts: &Facts<'_>, verdict: &Verdict, limits: Vec<String>) -> Validity {
    let (word, why) = match (facts.aborted, verdict) {
        (Some(why), _) => ("aborted", vec![why.to_owned()]),
        (None, Verdict::Invalid { why }) => ("invalid", why.clone()),
        _ => ("valid", Vec::new()),
    };
    Validity { word: word.to_owned(), finished: facts.ended, why, limits }
}

/// What the figures do not say.
/// A load that was not reached had less to lose than somebody wanted.
fn too_few_writes(facts: &Facts<'_>) -> Option<String> {
    let (wanted, (from, until)) = (facts.began.scenario.writes?, facts.before?);
    let made = Steady::acknowledged(facts.attempts.each(), (from, until)).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts of writes stay far below 2^52")]
    let rate = made as f64 / secs(until.saturating_sub(from));
    (made > 0 && rate < wanted * REACHED).then(|| {
        format!("{rate:.0} writes a second were acknowledged before the fault, and {wanted:.0} were asked for: more may be lost under that load")
    })
}

fn limits(facts: &Facts<'_>, streams: &[Seen<'_>], phases: &[PhaseRow], compared: Option<&Compared>) -> Vec<String> {
    let mut limits = Vec::new();
    let observers: BTreeSet<&str> = streams.iter().map(|seen| seen.stream.observer.as_str()).collect();
    if let (1, Some(only)) = (observers.len(), observers.first()) {
        limits.push(format!("one observer, {only}: what only others would have felt is not in here"));
    }
    if let Some(every) = streams.iter().filter(|seen| seen.judged()).map(|seen| seen.stream.every).max() {
        limits.push(format!("a probe every {}: an outage shorter than that may pass unseen", aim(secs(every))));
    }
    if let Some(tables) = &facts.began.scenario.unasked {
        limits.push(format!(
            "no probe asked for {tables}: that others could not use what the fault struck is not in the times of these paths"
        ));
    }
    let stalled = Stall::total(&facts.stalls);
    if stalled > Duration::ZERO {
        let total = seconds(secs(stalled));
        limits.push(format!("the observer stood still for {total} in all: where that touches a bound, it is wider"));
    }
    for one in &facts.elsewhere {
        let name = &one.observer.name;
        if let Some(error) = one.error {
            let error = crate::report::words::error(secs(error));
            limits.push(format!(
                "the clock of {name} is known to {error}: what it dates is wider by that, on both sides"
            ));
        }
        let stalled = Stall::total(&one.stalls);
        if stalled > Duration::ZERO {
            limits.push(format!("{name} stood still for {} in all", seconds(secs(stalled))));
        }
    }
    if let Some(resolution) = compared.and_then(|compared| compared.row.resolution_seconds) {
        limits.push(format!("writes came up to {} apart: no shorter loss can be seen", seconds(resolution)));
    }
    limits.extend(too_few_writes(facts));
    for name in theory::unseen(facts, phases) {
        limits.push(format!("the scenario says how long {name:?} can take, and this recovery had no such phase"));
    }
    limits.push("one run says nothing certain about the next: repeat it, in another phase".to_owned());
    limits
}
