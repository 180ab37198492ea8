//! From the drills of a month, those before it, and what the repository knows, to its report.

use super::model::{
    ActionLine, BackupHealth, Cell, Coverage, Dot, DrillLine, MonthReport, Plot, Proof, Regression, Tally,
};
use super::series::{Series, regression, series};
use crate::error::{Error, Result};
use crate::humane::counted;
use crate::report::drill::{Bounds, DrillReport, NOW, due};
use crate::report::repeat;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// From one first Monday to the next there are up to 35 days.
const STALE_AFTER_DAYS: u32 = 35;

/// A month, `2026-11`, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month(Date);

impl FromStr for Month {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::input(format!("reading {text:?} as a month")).hint("write it as 2026-11");
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        if (year.len(), month.len()) != (4, 2) {
            return Err(wrong());
        }
        let date = year.parse().ok().zip(month.parse().ok());
        let date = date.and_then(|(year, month)| Date::new(year, month, 1).ok());
        date.map(Self).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl Month {
    /// The month of an instant.
    pub fn of(at: Timestamp) -> Self {
        Self(at.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// Its first instant, and the first one after it.
    pub fn span(self) -> (Timestamp, Timestamp) {
        let at = |date: Date| date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp());
        (at(self.0), at(self.0.saturating_add(1.month())))
    }
}

/// What the repository knows of one source.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its recovery points: when, and their bytes.
    pub points: Vec<(Timestamp, u64)>,
    /// The last verification that restored one.
    pub restored: Option<Proof>,
    /// The last one that read every object.
    pub stored: Option<Proof>,
}

/// The report of a month, as of `now`, from the drills that ended before its end and what the repository knows.
pub fn of(month: Month, now: Timestamp, drills: &[DrillReport], sources: &[Source]) -> MonthReport {
    let (from, until) = month.span();
    let mut known: Vec<&DrillReport> = drills.iter().filter(|drill| drill.identity.began < until).collect();
    known.sort_by(|one, other| one.identity.began.cmp(&other.identity.began).then(one.run.cmp(&other.run)));
    let own: Vec<&DrillReport> = known.iter().copied().filter(|drill| drill.identity.began >= from).collect();
    let tally = tally(&own);
    let actions = actions(&known, (from, until.min(now)));
    let coverage = coverage(&known, sources, (from, until.min(now)));
    let comparable: Vec<&DrillReport> = known.iter().copied().filter(|drill| valid(drill)).collect();
    let comparable = series(&comparable);
    let of_month = |runs: &[&DrillReport]| runs.iter().any(|drill| drill.identity.began >= from);
    let regressions: Vec<Regression> =
        comparable.iter().filter(|series| of_month(&series.runs)).map(regression).collect();
    MonthReport {
        schema_version: crate::report::SCHEMA_VERSION,
        kind: "month".to_owned(),
        month: month.to_string(),
        sentence: sentence(&tally, &coverage, &actions, &regressions),
        plots: plots(&known, from),
        actions,
        coverage,
        tally,
        backups: sources.iter().map(|source| health(source, &own, (from, until.min(now)))).collect(),
        confidence: comparable
            .iter()
            .map(|series| format!("{}: {}", series.name, repeat::sure(&series.runs)))
            .collect(),
        regressions,
        budgets: budgets(&own),
        drills: own.iter().map(|drill| line(drill)).collect(),
    }
}

fn valid(drill: &DrillReport) -> bool {
    drill.validity.word == "valid"
}

fn tally(own: &[&DrillReport]) -> Tally {
    let count = |is: &str| own.iter().filter(|drill| word(drill) == is).count() as u64;
    Tally {
        run: own.len() as u64,
        met: count("met"),
        missed: count("missed"),
        undecided: count("undecided"),
        invalid: count("invalid"),
        aborted: count(ABORTED),
        unfinished: count(UNFINISHED),
    }
}

/// The word for a drill of which nobody knows how it ended.
const UNFINISHED: &str = "unfinished";

/// The word for one that was given up.
const ABORTED: &str = "aborted";

/// How a drill ended.
fn word(drill: &DrillReport) -> &str {
    match drill.validity.word.as_str() {
        _ if !drill.validity.finished => UNFINISHED,
        ABORTED => ABORTED,
        _ => &drill.verdict.word,
    }
}

fn sentence(tally: &Tally, coverage: &Coverage, actions: &[ActionLine], regressions: &[Regression]) -> String {
    let run = if tally.run == 0 { "no drill was run".to_owned() } else { counted(tally.run, "drill") };
    let mut parts = vec![run];
    for (number, word) in [
        (tally.met, "met"),
        (tally.missed, "missed"),
        (tally.undecided, "undecided"),
        (tally.invalid, "invalid"),
        (tally.aborted, ABORTED),
        (tally.unfinished, UNFINISHED),
    ] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let slower = regressions.iter().filter(|regression| regression.word == "slower").count();
    if slower > 0 {
        parts.push(format!("{slower} slower than before"));
    }
    let stale = coverage.cells.iter().flatten().flatten().filter(|cell| cell.stale).count();
    if stale > 0 {
        parts.push(format!("{stale} stale"));
    }
    let never = coverage.never_drilled.len();
    if never > 0 {
        parts.push(format!("{never} never drilled"));
    }
    let open = actions.iter().filter(|action| action.state == "open").count() as u64;
    if open > 0 {
        parts.push(format!("{} open", counted(open, "action")));
    }
    let overdue = actions.iter().filter(|action| action.overdue).count();
    if overdue > 0 {
        parts.push(format!("{overdue} overdue"));
    }
    parts.join(", ")
}

fn coverage(known: &[&DrillReport], sources: &[Source], (from, until): (Timestamp, Timestamp)) -> Coverage {
    let mut services: BTreeSet<&str> = known.iter().map(|drill| drill.identity.service.as_str()).collect();
    services.extend(undrilled(known, sources));
    let faults: BTreeSet<&str> = known.iter().map(|drill| drill.identity.fault.as_str()).collect();
    let cell = |fault: &str, service: &str| {
        let runs = || {
            let of = |drill: &&&DrillReport| drill.identity.fault == fault && drill.identity.service == service;
            known.iter().filter(of).filter(|drill| valid(drill))
        };
        let last = runs().next_back()?;
        let days = until.duration_since(last.identity.began).as_secs() / 86_400;
        Some(Cell {
            last: last.identity.began,
            word: last.verdict.word.clone(),
            stale: days > i64::from(STALE_AFTER_DAYS),
            runs: u32::try_from(runs().filter(|drill| drill.identity.began >= from).count()).unwrap_or(u32::MAX),
        })
    };
    let never = |service: &&&str| !known.iter().any(|drill| valid(drill) && drill.identity.service == **service);
    Coverage {
        cells: faults.iter().map(|fault| services.iter().map(|service| cell(fault, service)).collect()).collect(),
        never_drilled: services.iter().filter(never).map(|service| (*service).to_owned()).collect(),
        services: services.into_iter().map(str::to_owned).collect(),
        faults: faults.into_iter().map(str::to_owned).collect(),
        stale_after_days: STALE_AFTER_DAYS,
    }
}

/// Sources that no valid drill restored. Whoever keeps backups of something and never drilled it should see that, and a
/// matrix of what was drilled would not show it.
fn undrilled<'a>(known: &[&DrillReport], sources: &'a [Source]) -> impl Iterator<Item = &'a str> {
    let restored: BTreeSet<String> = known
        .iter()
        .filter(|drill| valid(drill))
        .filter_map(|drill| Some(drill.restore.as_ref()?.source.clone()))
        .collect();
    sources.iter().map(|source| source.name.as_str()).filter(move |name| !restored.contains(*name))
}

/// One plot for each series and objective. A changed scenario, one with other settings, or another version of the server is a
/// series of its own: it is drawn apart, and the old one does not vanish.
fn plots(known: &[&DrillReport], from: Timestamp) -> Vec<Plot> {
    let mut plots: BTreeMap<(&str, String, String, Series<'_>), Plot> = BTreeMap::new();
    for drill in known.iter().filter(|drill| valid(drill)) {
        let identity = &drill.identity;
        let this_month = identity.began >= from;
        for row in &drill.objectives {
            let Some(objective) = row.objective else { continue };
            let title = format!("{} · {}", identity.title, row.name);
            let title = if row.key == "rto" && !row.by.is_empty() { format!("{title} · {}", row.by) } else { title };
            let key = (identity.service.as_str(), title.clone(), row.by.clone(), Series::of(drill));
            let plot = plots.entry(key).or_insert(Plot { title, objective, dots: Vec::new(), unmeasured: 0 });
            plot.objective = objective;
            let Some(actual) = row.actual else {
                plot.unmeasured += u64::from(this_month);
                continue;
            };
            plot.dots.push(Dot {
                run: drill.run.to_string(),
                began: identity.began,
                actual,
                word: row.verdict.clone().unwrap_or_default(),
                this_month,
            });
        }
    }
    plots.retain(|_, plot| plot.unmeasured > 0 || plot.dots.iter().any(|dot| dot.this_month));
    let mut namesakes: BTreeMap<String, Vec<Series<'_>>> = BTreeMap::new();
    for (_, title, _, series) in plots.keys() {
        namesakes.entry(title.clone()).or_default().push(*series);
    }
    let told_apart = |((_, _, _, series), mut plot): ((&str, String, String, Series<'_>), Plot)| {
        plot.title.push_str(&series.apart(&namesakes[&plot.title], None));
        plot
    };
    plots.into_iter().map(told_apart).collect()
}

/// An action stays open until a later valid run of the same scenario met its objectives.
fn actions(known: &[&DrillReport], (from, until): (Timestamp, Timestamp)) -> Vec<ActionLine> {
    let mut lines = Vec::new();
    // The instant after a month is no day of it.
    let today = until.checked_sub(1.nanosecond()).unwrap_or(until).to_zoned(TimeZone::UTC).date();
    for (at, drill) in known.iter().enumerate() {
        let again = || known[at + 1..].iter().filter(|later| later.identity.scenario == drill.identity.scenario);
        let closed = again().find(|later| later.verdict.word == "met");
        let last = again().next_back();
        for action in &drill.actions {
            let (state, detail) = match (closed, last) {
                (Some(later), _) if action.severity == NOW => (
                    "open",
                    format!("re-test {} met, which does not show that it was put back", day(later.identity.began)),
                ),
                (Some(later), _) => ("closed", format!("re-test {} met", day(later.identity.began))),
                (None, Some(later)) => ("open", format!("re-test {} {}", day(later.identity.began), word(later))),
                (None, None) => ("open", format!("not re-tested yet: davit drill {}", action.retest)),
            };
            // What was closed before this month is history.
            if closed.is_some_and(|later| later.identity.began < from) {
                continue;
            }
            // Reports from before there was a day follow the same rule.
            let due = action.due.unwrap_or_else(|| due(&action.severity, drill.identity.began));
            lines.push(ActionLine {
                state: state.to_owned(),
                due: Some(due),
                overdue: state == "open" && due < today,
                severity: action.severity.clone(),
                what: format!("{}: {}", drill.identity.title, action.what),
                owner: action.owner.clone(),
                run: drill.run.to_string(),
                since: drill.identity.began,
                detail,
            });
        }
    }
    lines.sort_by(|one, other| other.state.cmp(&one.state).then(one.since.cmp(&other.since)));
    lines
}

fn day(at: Timestamp) -> String {
    at.strftime("%-d %b").to_string()
}

fn health(source: &Source, own: &[&DrillReport], (from, until): (Timestamp, Timestamp)) -> BackupHealth {
    let mut points: Vec<(Timestamp, u64)> = source.points.iter().copied().filter(|(at, _)| *at < until).collect();
    points.sort_by_key(|(at, _)| *at);
    let month: Vec<Timestamp> = points.iter().map(|(at, _)| *at).filter(|at| *at >= from).collect();
    let gaps = month.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64());
    let newest = points.last().copied();
    let drilled = own.iter().filter(|drill| valid(drill)).filter_map(|drill| {
        let restore = drill.restore.as_ref().filter(|restore| restore.source == source.name);
        restore?;
        drill.objectives.iter().find(|row| row.key == "rto")?.actual
    });
    BackupHealth {
        source: source.name.clone(),
        points: month.len() as u64,
        kept: points.len() as u64,
        newest: newest.map(|(at, _)| at),
        age_seconds: newest.map(|(at, _)| until.duration_since(at).as_secs_f64().round()),
        bytes: newest.map_or(0, |(_, bytes)| bytes),
        longest_gap_seconds: gaps.reduce(f64::max).map(f64::round),
        // What was proven later was not known then.
        restored: source.restored.clone().filter(|proof| proof.when < until),
        stored: source.stored.clone().filter(|proof| proof.when < until),
        drilled: drilled.collect(),
    }
}

fn budgets(own: &[&DrillReport]) -> Vec<(String, Bounds)> {
    let mut sums: BTreeMap<&str, Bounds> = BTreeMap::new();
    for drill in own.iter().filter(|drill| valid(drill)) {
        let Some(budget) = &drill.error_budget else { continue };
        let sum = sums.entry(&drill.identity.service).or_insert(Bounds { low: 0.0, high: 0.0 });
        let used = budget.used();
        sum.low += used.low;
        sum.high += used.high;
    }
    sums.into_iter().map(|(service, burned)| (service.to_owned(), burned)).collect()
}

fn line(drill: &DrillReport) -> DrillLine {
    DrillLine {
        run: drill.run.to_string(),
        began: drill.identity.began,
        title: drill.identity.title.clone(),
        service: drill.identity.service.clone(),
        fault: drill.identity.fault.clone(),
        word: word(drill).to_owned(),
        sentence: drill.verdict.sentence.clone(),
        clean: drill.cleanup.proven,
    }
}
