//! Each objective held against what was measured, and what the run as a whole is worth.

use super::alerts;
use super::facts::Facts;
use super::integrity::Compared;
use super::model::ObjectiveRow;
use super::paths::{End, Path};
use super::person::{self, Person};
use super::replica;
use crate::humane::{count, counted};
use crate::measure::{Instant, Interval, Objective, Shape, Verdict};
use crate::report::journal::Restored;
use crate::report::words::{aim, bounds, seconds, secs};
use std::time::Duration;

/// From when a service counts as degraded that no client felt to be gone.
const UNFELT: &str = "from the proven fault, which no client felt, until as redundant as before";

/// Why a run proves nothing whose journal has no end.
const UNFINISHED: &str = "the journal ends early: the drill was killed before it was over, or is still under way";

/// The rows of a report, and the worst of their verdicts.
pub(super) struct Judged {
    pub(super) rows: Vec<ObjectiveRow>,
    pub(super) verdict: Verdict,
}

impl Judged {
    fn add(&mut self, row: ObjectiveRow, verdict: Option<Verdict>) {
        let row = ObjectiveRow { verdict: verdict.as_ref().map(|verdict| verdict.word().to_owned()), ..row };
        if let Some(verdict) = verdict {
            self.verdict = std::mem::replace(&mut self.verdict, Verdict::Met).worst(verdict);
        }
        self.rows.push(row);
    }
}

fn row(key: &str, name: &str, by: &str, objective: Option<Duration>) -> ObjectiveRow {
    ObjectiveRow {
        key: key.to_owned(),
        name: name.to_owned(),
        by: by.to_owned(),
        observer: None,
        objective: objective.map(secs),
        actual: None,
        verdict: None,
        sentence: String::new(),
    }
}

fn invalid(why: impl Into<String>) -> Verdict {
    Verdict::Invalid { why: vec![why.into()] }
}

/// Holds everything that was wanted against everything that was measured.
pub(super) fn judge(facts: &Facts<'_>, paths: &[Path], compared: Option<&Compared>, missed_after: &[String]) -> Judged {
    let mut judged = Judged { rows: Vec::new(), verdict: Verdict::Met };
    if facts.fault().is_none() {
        not_measured(facts, &mut judged);
        return judged;
    }
    recovery(facts, paths, &mut judged);
    if facts.began.scenario.ends_validated {
        usable(facts, &mut judged);
    }
    if let Some(step) = &facts.began.scenario.ends_with {
        ended(facts, step, &mut judged);
    }
    for path in paths {
        service(facts, path, &mut judged);
    }
    observers(facts, &mut judged);
    lost_time(facts, compared, &mut judged);
    integrity(compared, &mut judged);
    if let Some(replica) = replica::row(facts).filter(|replica| replica.word == "differs") {
        let row = row("replica", "rows of the standby", "every row against those of the writer", None);
        judged.add(ObjectiveRow { sentence: replica.sentence, ..row }, Some(Verdict::Missed));
    }
    between(facts, "detection", "time to detect", (Instant::Effective, Instant::Detected), &mut judged);
    redundancy(facts, paths, &mut judged);
    acknowledgement(facts, &mut judged);
    for found in alerts::found(facts) {
        let (name, wanted) = (&found.alert.name, Some(found.alert.within));
        let by = format!("from the proven fault until {name} fires; asked: {}", found.alert.how);
        let row = row("alert", &format!("alert {name}"), &by, wanted);
        judged.add(ObjectiveRow { actual: found.actual.map(bounds), sentence: found.sentence, ..row }, found.verdict);
    }
    checks(facts, &mut judged);
    steady_after(missed_after, &mut judged);
    judged
}

/// Where no fault was proven there is nothing to count from.
fn not_measured(facts: &Facts<'_>, judged: &mut Judged) {
    let aims = facts.began.aims;
    for (key, name, wanted) in [("rto", "recovery time (RTO)", aims.rto), ("rpo", "data lost (RPO)", aims.rpo)] {
        if wanted.is_some() {
            let sentence = "not measured: no fault was proven".to_owned();
            judged.add(
                ObjectiveRow { sentence, ..row(key, name, "", wanted) },
                Some(Verdict::Invalid { why: Vec::new() }),
            );
        }
    }
}

/// A recovery that did not work is the finding, whatever else brought the service back.
fn recovery(facts: &Facts<'_>, paths: &[Path], judged: &mut Judged) {
    let Some(why) = facts.recovery_failed else { return };
    let row = row("recovery", "the recovery itself", &facts.began.scenario.recovery, None);
    let back = |path: &Path| path.open.is_none() && matches!(path.end, End::Restored { .. });
    let never_gone = |path: &Path| path.open.is_none() && matches!(path.end, End::Up(_));
    let without = if !paths.is_empty() && paths.iter().all(never_gone) {
        "; the service was never gone"
    } else if paths.iter().any(back) && paths.iter().all(|path| back(path) || never_gone(path)) {
        "; the service came back without it"
    } else {
        ""
    };
    let sentence = format!("the recovery failed: {why}{without}");
    judged.add(ObjectiveRow { sentence, ..row }, Some(Verdict::Missed));
}

/// What the recovery had not brought about when the drill ended. Where it had failed nothing more would have come.
fn not_recovered(
    facts: &Facts<'_>,
    row: ObjectiveRow,
    wanted: Option<Duration>,
    at_least: Option<Duration>,
    judged: &mut Judged,
) {
    if facts.recovery_failed.is_none() {
        return open_ended(row, wanted, at_least, judged);
    }
    let sentence = format!("{}: the recovery had failed", row.sentence);
    judged.add(ObjectiveRow { sentence, ..row }, wanted.map(|_| Verdict::Missed));
}

/// A restore counts until the data are validated.
fn usable(facts: &Facts<'_>, judged: &mut Judged) {
    let wanted = facts.began.aims.rto;
    let by = "from the proven fault until the restored data were compared";
    let row = row("rto", "recovery time (RTO), until usable", by, wanted);
    let ends = facts.fault().zip(facts.marks.get(&Instant::Validated));
    if let Some((fault, (validated, _))) = ends {
        return measured(row, wanted, validated.since(fault), judged);
    }
    let sentence = "the data were not usable when the drill ended".to_owned();
    let at_least = facts.fault().map(|fault| facts.last.saturating_sub(fault.high));
    not_recovered(facts, ObjectiveRow { sentence, ..row }, wanted, at_least, judged);
}

/// What has to be done in spite of the fault counts until it is done.
fn ended(facts: &Facts<'_>, what: &str, judged: &mut Judged) {
    let wanted = facts.began.aims.rto;
    let by = format!("from the proven fault until the end of {what}");
    let row = row("rto", "recovery time (RTO), until done", &by, wanted);
    let Some(fault) = facts.fault() else { return };
    if let Some(step) = facts.steps.iter().find(|step| step.what == what && step.ok) {
        return measured(row, wanted, Interval::exact(step.until).since(fault), judged);
    }
    let sentence = "it had not ended well when the drill ended".to_owned();
    let at_least = Some(facts.last.saturating_sub(fault.high));
    not_recovered(facts, ObjectiveRow { sentence, ..row }, wanted, at_least, judged);
}

/// A service counts until it behaves as before.
fn service(facts: &Facts<'_>, path: &Path, judged: &mut Judged) {
    // Of a restore the service's own time is shown beside; what is judged is when the data were usable.
    let ends_validated = facts.began.scenario.ends_validated;
    let wanted = facts.began.aims.rto.filter(|_| !ends_validated);
    let name = if ends_validated { "service answering again" } else { "recovery time (RTO)" };
    let row = row(if ends_validated { "service" } else { "rto" }, name, &path.name, wanted);
    let row = ObjectiveRow { observer: Some(path.observer.clone()), ..row };
    match (&path.end, &path.open) {
        // What an observer did not see is neither a success nor a failure of the service.
        (End::NoData, Some(open)) => {
            judged.add(ObjectiveRow { sentence: open.clone(), ..row }, wanted.map(|_| Verdict::Undecided));
        }
        (End::Up(longest), Some(open)) => {
            let sentence = format!("no outage longer than {} was seen; {open}", seconds(secs(*longest)));
            judged.add(ObjectiveRow { sentence, ..row }, wanted.map(|_| Verdict::Undecided));
        }
        (End::NoData, None) => {
            let why = format!("{}: no probe was sent after the fault", path.name);
            let verdict = Some(invalid(why.clone()));
            judged.add(ObjectiveRow { sentence: why, ..row }, verdict);
        }
        (End::Up(longest), None) => {
            let sentence = format!("no outage longer than {}", seconds(secs(*longest)));
            let actual = Interval::new(Duration::ZERO, *longest);
            let verdict = wanted.map(|wanted| Objective(wanted).judge(actual));
            judged.add(ObjectiveRow { actual: Some(bounds(actual)), sentence, ..row }, verdict);
        }
        (End::Restored { time, .. }, _) => measured(row, wanted, *time, judged),
        (End::Down { at_least }, _) => {
            let sentence =
                format!("not restored when the observation ended, after at least {}", seconds(secs(*at_least)));
            not_recovered(facts, ObjectiveRow { sentence, ..row }, wanted, Some(*at_least), judged);
        }
    }
}

/// An observer that ended early may have missed the worst: then nothing is a pass, whatever the others saw.
fn observers(facts: &Facts<'_>, judged: &mut Judged) {
    for one in &facts.elsewhere {
        let name = &one.observer.name;
        let Some(open) = one.open() else { continue };
        let why = one.cut.map(|cut| format!(": {}", cut.why)).unwrap_or_default();
        let row = row("observers", "observers", name, None);
        judged.add(ObjectiveRow { sentence: format!("{name}: {open}{why}"), ..row }, Some(Verdict::Undecided));
    }
}

/// A duration that was measured with both its bounds.
fn measured(row: ObjectiveRow, wanted: Option<Duration>, actual: Interval, judged: &mut Judged) {
    let verdict = wanted.map(|wanted| Objective(wanted).judge(actual));
    let sentence = match (&verdict, wanted) {
        (Some(Verdict::Undecided), Some(wanted)) => format!(
            "{} straddles {}: a higher rate of probes, or a repetition, would tell",
            bounds(actual),
            aim(secs(wanted))
        ),
        (_, Some(wanted)) => format!("{}, wanted at most {}", bounds(actual), aim(secs(wanted))),
        (_, None) => bounds(actual).to_string(),
    };
    judged.add(ObjectiveRow { actual: Some(bounds(actual)), sentence, ..row }, verdict);
}

/// A duration that had not ended: it is a miss once it is longer than what was wanted, and open before.
fn open_ended(row: ObjectiveRow, wanted: Option<Duration>, at_least: Option<Duration>, judged: &mut Judged) {
    let verdict = wanted.map(|wanted| {
        if at_least.is_some_and(|at_least| at_least > wanted) { Verdict::Missed } else { Verdict::Undecided }
    });
    judged.add(row, verdict);
}

fn lost_time(facts: &Facts<'_>, compared: Option<&Compared>, judged: &mut Judged) {
    let wanted = facts.began.aims.rpo;
    let row = row("rpo", "data lost (RPO)", "age of the oldest lost acknowledged write", wanted);
    if let (Some(restored), Some(fault)) = (facts.restored.filter(|restored| !restored.ledger_covered), facts.fault()) {
        return point_age(facts, row, restored, fault, compared, judged);
    }
    if let Some(Compared { loss, .. }) = compared {
        let writes = format!("{} of {} acknowledged writes", count(loss.count), count(loss.acknowledged));
        let sentence = match loss.shape {
            Shape::None => format!("0 lost in {} acknowledged writes", count(loss.acknowledged)),
            Shape::Suffix | Shape::SincePoint => format!("{writes}, the oldest {} old", bounds(loss.age)),
            Shape::Holes | Shape::BeyondFault => format!("{writes}: {}", super::integrity::shape(loss.shape).1),
        };
        let actual = matches!(loss.shape, Shape::None | Shape::Suffix | Shape::SincePoint).then(|| bounds(loss.age));
        let verdict = wanted.map(|wanted| match loss.acknowledged {
            0 => invalid("no write was acknowledged, so none could be lost"),
            _ => loss.judge(Objective(wanted)),
        });
        return judged.add(ObjectiveRow { actual, sentence, ..row }, verdict);
    }
    if facts.recovery_failed.is_some() {
        // Where no server answers nothing can be read, and that is told by the recovery's own row.
        let sentence = "not measured: the recovery failed, and what was written could not be read back".to_owned();
        return judged.add(ObjectiveRow { sentence, ..row }, None);
    }
    if facts.ledger {
        let why = "what was written was not read back";
        let verdict = wanted.map(|_| invalid(why));
        return judged.add(ObjectiveRow { sentence: why.to_owned(), ..row }, verdict);
    }
    if wanted.is_some() {
        let why = "no writes were made, so no loss can be measured";
        judged.add(ObjectiveRow { sentence: why.to_owned(), ..row }, Some(invalid(why)));
    }
}

/// A restore loses what was written after the instant its point is of: before the fault, which is what is judged, and from the
/// fault until the recovery, which is said beside it. The ledger, which is younger than the point, says at least how much.
fn point_age(
    facts: &Facts<'_>,
    row: ObjectiveRow,
    restored: &Restored,
    fault: Interval,
    compared: Option<&Compared>,
    judged: &mut Judged,
) {
    let wall = facts.began.wall.checked_add(fault.high.saturating_sub(facts.zero)).unwrap_or(facts.began.wall);
    let age = Duration::try_from(wall.duration_since(restored.snapshot_time)).unwrap_or_default();
    let lost = compared.filter(|compared| compared.loss.count > 0);
    let at_least = lost.map(|compared| compared.loss.age.low).unwrap_or_default();
    let actual = Interval::new(at_least.min(age), age);
    let verdict = facts.began.aims.rpo.map(|wanted| {
        let of_point = Objective(wanted).judge(actual);
        // What is missing beside the tables that were restored is missing for another reason.
        let beside = lost.filter(|_| !restored.tables.is_empty());
        beside.map_or(of_point.clone(), |compared| of_point.worst(compared.loss.judge(Objective(wanted))))
    });
    let before = seconds(secs(age));
    let into = match &restored.tables[..] {
        [] => String::new(),
        tables => format!(" into {}", tables.join(", ")),
    };
    let (meanwhile, writes) = lost.map_or_else(Default::default, |Compared { loss, later, .. }| {
        let (more, after) = later.map_or_else(Default::default, |(number, until)| {
            let more = format!(", and {} after it", seconds(secs(until)));
            (more, format!(", {} of them acknowledged after the fault", count(number)))
        });
        let (of, all) = (count(loss.count), count(loss.acknowledged));
        (more, format!("; of the drill's own writes {of} of {all} acknowledged ones{after}"))
    });
    let sentence = format!(
        "all that was written{into} since the recovery point is lost: {before} before the fault{meanwhile}{writes}"
    );
    let by = "age of the recovery point at the fault, by the wall clock".to_owned();
    judged.add(ObjectiveRow { by, actual: Some(bounds(actual)), sentence, ..row }, verdict);
}

/// What no honest server does is a miss, whatever the seconds.
fn integrity(compared: Option<&Compared>, judged: &mut Judged) {
    let Some(Compared { classes, findings, .. }) = compared else { return };
    let row = row("integrity", "data integrity", "every write against two whole reads", None);
    let strange = classes.strange();
    if !findings.is_empty() {
        let sentence = findings.join("; ");
        let verdict = Verdict::Invalid { why: findings.clone() };
        return judged.add(ObjectiveRow { sentence, ..row }, Some(verdict));
    }
    if strange.is_empty() {
        let sentence = "nothing is there twice, changed, or that nobody wrote".to_owned();
        return judged.add(ObjectiveRow { sentence, ..row }, Some(Verdict::Met));
    }
    let words: Vec<String> =
        strange.iter().map(|(class, number)| format!("{} {class}", count(*number as u64))).collect();
    judged.add(ObjectiveRow { sentence: words.join(", "), ..row }, Some(Verdict::Missed));
}

/// An objective over the time between two instants. One that is not known decides nothing.
fn between(facts: &Facts<'_>, key: &str, name: &str, ends: (Instant, Instant), judged: &mut Judged) {
    let Some(wanted) = facts.began.aims.detection else { return };
    let at = |instant| facts.marks.get(&instant).map(|(at, _)| *at);
    let row = row(key, name, "from the proven fault until the system noticed", Some(wanted));
    if let Some((from, to)) = at(ends.0).zip(at(ends.1)) {
        return measured(row, Some(wanted), to.since(from), judged);
    }
    let sentence = "nothing showed when the system noticed".to_owned();
    judged.add(ObjectiveRow { sentence, ..row }, Some(Verdict::Undecided));
}

fn redundancy(facts: &Facts<'_>, paths: &[Path], judged: &mut Judged) {
    let Some(wanted) = facts.began.aims.redundancy else { return };
    let row = row("redundancy", "time degraded", "from restored until as redundant as before", Some(wanted));
    let restored = paths.iter().find_map(|path| match &path.end {
        End::Restored { restored, .. } => Some(*restored),
        _ => None,
    });
    // Where no client noticed anything, nothing had to be restored: it was degraded from the fault on.
    let felt = paths.iter().any(|path| !matches!(path.end, End::Up(_)));
    let (row, restored) = match facts.fault().filter(|_| !felt) {
        Some(fault) => (ObjectiveRow { by: UNFELT.to_owned(), ..row }, Some(fault)),
        None => (row, restored),
    };
    if let Some((restored, (redundant, _))) = restored.zip(facts.marks.get(&Instant::Redundant)) {
        return measured(row, Some(wanted), redundant.since(restored), judged);
    }
    let sentence = "it was not seen to be as redundant as before".to_owned();
    let at_least = restored.zip(facts.degraded).map(|(restored, until)| until.saturating_sub(restored.high));
    open_ended(ObjectiveRow { sentence, ..row }, Some(wanted), at_least, judged);
}

/// A person's attention is judged only where it was asked for.
fn acknowledgement(facts: &Facts<'_>, judged: &mut Judged) {
    let (Some(wanted), Some(fault)) = (facts.began.aims.acknowledgement, facts.fault()) else { return };
    let by = "from the proven fault until davit chaos ack";
    let row = row("acknowledgement", "time until a person noticed", by, Some(wanted));
    if let Some(at) = person::noticed(facts) {
        return measured(row, Some(wanted), at.since(fault), judged);
    }
    let sentence = person::row(facts).map_or_else(|| "it was not looked for".to_owned(), |person| person.sentence);
    let at_least = match facts.person {
        Some(Person::Nobody { until }) => Some(until.saturating_sub(fault.high)),
        _ => None,
    };
    open_ended(ObjectiveRow { sentence, ..row }, Some(wanted), at_least, judged);
}

fn checks(facts: &Facts<'_>, judged: &mut Judged) {
    if facts.checks.is_empty() {
        return;
    }
    let row = row("checks", "checks", "what else had to be true", None);
    let names = |ok: Option<bool>| {
        let which = facts.checks.iter().filter(|check| check.ok == ok);
        which.map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (failed, open) = (names(Some(false)), names(None));
    let (sentence, verdict) = if !failed.is_empty() {
        (format!("not true: {failed}"), Verdict::Missed)
    } else if !open.is_empty() {
        let verdict = match facts.recovery_failed {
            Some(_) => Verdict::Missed,
            None => invalid(format!("checks could not be made: {open}")),
        };
        (format!("could not be found out: {open}"), verdict)
    } else {
        (format!("{} true", counted(facts.checks.len() as u64, "check")), Verdict::Met)
    };
    judged.add(ObjectiveRow { sentence, ..row }, Some(verdict));
}

/// A service that came back and does not behave as before has not come back.
fn steady_after(missed: &[String], judged: &mut Judged) {
    if !missed.is_empty() {
        let row = row("steady-after", "steady state afterwards", "as before the fault", None);
        judged.add(ObjectiveRow { sentence: missed.join("; "), ..row }, Some(Verdict::Missed));
    }
}

/// Why the run proves nothing, if it does not.
pub(super) fn why_invalid(facts: &Facts<'_>, missed_before: &[String]) -> Vec<String> {
    let mut why: Vec<String> = missed_before.to_vec();
    if facts.before.is_none() && facts.aborted.is_none() {
        why.push("the steady state was not looked at before the fault".to_owned());
    }
    why.extend(facts.unproven.iter().map(|what| format!("the fault is not proven: {what}")));
    if facts.fault().is_none() {
        let early = facts.elsewhere.iter().filter_map(|one| Some((&one.observer.name, one.cut?)));
        why.extend(early.map(|(name, cut)| format!("the observer {name} ended before the fault: {}", cut.why)));
    }
    if facts.fault().is_none() && facts.aborted.is_none() && why.is_empty() {
        why.push("the fault is not proven to have taken effect".to_owned());
    }
    if !facts.ended {
        why.push(UNFINISHED.to_owned());
    }
    why
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::super::tests::Made;
    use super::*;
    use crate::report::journal::{Aims, Event, Line, Mark};
    use crate::report::render::Form;

    #[test]
    fn a_service_that_nobody_missed_was_degraded_from_the_fault_on() {
        let redundant = |outage: u64, seconds: u64| {
            let aims = Aims { redundancy: Some(Duration::from_mins(1)), ..Made::default().aims };
            let mut lines = Made { outage: Duration::from_millis(outage), lost: 0, aims, ..Made::default() }.journal();
            // Only who connects anew: the others of these journals feel every fault for a moment.
            lines.retain(|line| match &line.event {
                Event::Samples { stream, .. } => stream == "sql-fresh",
                Event::Stream(stream) => stream.name == "sql-fresh",
                _ => true,
            });
            // The fault is at 1,030 s on the axis of these journals.
            let at = Duration::from_secs(1_030 + seconds);
            let mark =
                Mark { instant: Instant::Redundant, at: Interval::exact(at), evidence: "three are ready".to_owned() };
            lines.insert(lines.len() - 1, Line { at, event: Event::Mark(mark) });
            let report = of(&lines).unwrap();
            report.objectives.into_iter().find(|row| row.key == "redundancy").unwrap()
        };
        for (outage, seconds, by, verdict) in [
            (0, 40, UNFELT, "met"),
            (0, 70, UNFELT, "missed"),
            (12_400, 40, "from restored until as redundant as before", "met"),
        ] {
            let row = redundant(outage, seconds);
            assert_eq!((row.by.as_str(), row.verdict.as_deref()), (by, Some(verdict)), "{row:?}");
            let felt = if outage == 0 { 0.0 } else { 12.4 };
            let actual = row.actual.unwrap();
            assert!((actual.high - (f64::from(u32::try_from(seconds).unwrap()) - felt)).abs() < 0.3, "{actual:?}");
        }
    }

    /// The drill that never was, whose recovery says that it failed.
    fn failed(made: &Made) -> crate::report::DrillReport {
        let mut lines = made.journal();
        let at = Duration::from_secs(1_034);
        let why = "running false: exit status: 1: it said nothing".to_owned();
        lines.insert(lines.len() - 1, Line { at, event: Event::RecoveryFailed { why } });
        super::super::tests::stored_is_the_same(&lines);
        of(&lines).unwrap()
    }

    #[test]
    fn a_recovery_that_failed_is_a_miss_even_where_the_service_came_back() {
        let report = failed(&Made::default());
        assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("missed", 1));
        let sentence =
            "the recovery failed: running false: exit status: 1: it said nothing; the service came back without it";
        assert_eq!(report.verdict.sentence, sentence);
        assert_eq!(report.validity.word, "valid");
        let rto = report.objectives.iter().find(|row| row.key == "rto").unwrap();
        assert_eq!((rto.verdict.as_deref(), rto.actual.is_some()), (Some("met"), true), "what was measured stays");
        assert_eq!(report.actions[0].severity, "high");
        let render = |form| crate::report::render::drill(&report, form).unwrap();
        for form in [Form::Text, Form::Markdown, Form::Html, Form::Json, Form::Junit] {
            assert!(render(form).contains("the recovery failed: running false"), "{form:?}");
        }
        let junit = render(Form::Junit);
        assert!(junit.contains("failures=\"1\" errors=\"0\""), "{junit}");
    }

    #[test]
    fn what_a_failed_recovery_never_brought_back_is_missed_and_not_open() {
        let down =
            Made { outage: Duration::from_secs(500), watched: Duration::from_secs(30), lost: 0, ..Made::default() };
        let open = down.report();
        assert_eq!((open.verdict.word.as_str(), open.verdict.exit_code), ("missed", 6), "{:?}", open.objectives);
        let report = failed(&down);
        assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("missed", 1));
        assert!(report.verdict.sentence.starts_with("the recovery failed: running false"), "{:?}", report.verdict);
        let rto = report.objectives.iter().find(|row| row.key == "rto").unwrap();
        assert_eq!(rto.verdict.as_deref(), Some("missed"), "{rto:?}");
        assert!(rto.sentence.ends_with("the recovery had failed"), "{rto:?}");
    }

    #[test]
    fn writes_that_nobody_can_read_after_a_failed_recovery_do_not_make_its_miss_invalid() {
        let down = Made { outage: Duration::from_secs(500), watched: Duration::from_secs(30), ..Made::default() };
        let mut lines = down.journal();
        lines.retain(|line| !matches!(line.event, Event::Writes(_) | Event::Read(_) | Event::Survival(_)));
        assert_eq!(of(&lines).unwrap().verdict.word, "invalid");
        let why = "promoting the standby: no".to_owned();
        lines.insert(lines.len() - 1, Line { at: Duration::from_secs(1_034), event: Event::RecoveryFailed { why } });
        let report = of(&lines).unwrap();
        assert_eq!((report.verdict.word.as_str(), report.verdict.exit_code), ("missed", 1), "{:?}", report.objectives);
        let rpo = report.objectives.iter().find(|row| row.key == "rpo").unwrap();
        assert_eq!(rpo.verdict, None, "{rpo:?}");
    }
}
