//! Which points stay and why: a pure function of facts, rules and the time.
//!
//! A tier keeps the newest point of each of its periods, for a term or for a number of periods. The newest point,
//! the newest verified one and held ones stay whatever the rules say. A point with a tier of its own counts for
//! that tier only. A damaged point gives way to a whole one of the same period, and uses up no count.

mod rules;
#[cfg(test)]
mod tests;

pub use rules::{Keep, Rules, Term, Tier};

use crate::id::PointId;
use crate::repository::Depth;
use jiff::civil::{Date, ISOWeekDate};
use jiff::{Timestamp, Zoned};

/// What is known about one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointFacts {
    /// The point. Only committed ones are given: failed runs never count.
    pub point: PointId,
    /// The instant its content is of.
    pub time: Timestamp,
    /// The only tier that may keep it, if its maker named one.
    pub tier: Option<String>,
    /// Why somebody holds it.
    pub hold: Option<String>,
    /// The deepest verification it passed.
    pub verified: Option<Depth>,
    /// Whether a verification found damage in it.
    pub damaged: bool,
    /// Whether something that should be in it is not. Then it counts as damaged, whatever was verified of the rest.
    pub incomplete: bool,
}

const DEEPEST_FIRST: [Depth; 3] = [Depth::Restored, Depth::Stored, Depth::Listed];

const fn name_of(depth: Depth) -> &'static str {
    match depth {
        Depth::Listed => "listed",
        Depth::Stored => "stored",
        Depth::Restored => "restored",
    }
}

/// Whether a point stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The point.
    pub point: PointId,
    /// Whether it stays.
    pub keep: bool,
    /// Why, in words; one for each rule that keeps it, or one for each that does not.
    pub reasons: Vec<String>,
    /// Until when the rules are sure to keep it: what its locks must last for. Only periods that have ended count,
    /// because a newer point may still take its place in the others.
    pub promised_until: Option<Timestamp>,
}

impl Decision {
    /// The reasons in one line.
    pub fn words(&self) -> String {
        let reasons = self.reasons.join("; ");
        if self.keep { reasons } else { format!("goes: {reasons}") }
    }
}

/// Decides for every point, in the order given.
pub fn decide(points: &[PointFacts], rules: &Rules, now: Timestamp) -> Vec<Decision> {
    let mut bench = Bench::new(points, rules, now);
    for tier in Tier::ALL {
        if let Some(keep) = rules.of(tier) {
            bench.judge_tier(tier, keep);
        }
    }
    bench.judge_last();
    bench.judge_within();
    bench.protect();
    bench.verdicts()
}

/// One point under judgement.
struct Case<'a> {
    facts: &'a PointFacts,
    time: Zoned,
    tier: Option<Result<Tier, &'a str>>,
    kept: Vec<String>,
    not_kept: Vec<String>,
    promised_until: Option<Timestamp>,
}

impl Case<'_> {
    fn counts_for(&self, tier: Tier) -> bool {
        self.tier.is_none() || self.tier == Some(Ok(tier))
    }

    fn promise(&mut self, until: Timestamp) {
        self.promised_until = self.promised_until.max(Some(until));
    }
}

/// All points, newest first.
struct Bench<'a> {
    cases: Vec<Case<'a>>,
    given: Vec<usize>,
    rules: &'a Rules,
    now: Zoned,
}

impl<'a> Bench<'a> {
    fn new(points: &'a [PointFacts], rules: &'a Rules, now: Timestamp) -> Self {
        let mut given: Vec<usize> = (0..points.len()).collect();
        given.sort_unstable_by_key(|&index| {
            let facts = &points[index];
            std::cmp::Reverse((facts.time, &facts.point))
        });
        let case = |&index: &usize| {
            let facts = &points[index];
            Case {
                facts,
                time: facts.time.to_zoned(rules.time_zone.clone()),
                tier: facts.tier.as_deref().map(|tier| tier.parse().map_err(|_| tier)),
                kept: Vec::new(),
                not_kept: Vec::new(),
                promised_until: None,
            }
        };
        let cases = given.iter().map(case).collect();
        Self { cases, given, rules, now: now.to_zoned(rules.time_zone.clone()) }
    }

    /// Keeps the best point of each period: the newest whole one, or the newest if none is whole.
    fn judge_tier(&mut self, tier: Tier, keep: &Keep) {
        let mut used = 0;
        let mut next = 0;
        while next < self.cases.len() {
            if !self.cases[next].counts_for(tier) {
                next += 1;
                continue;
            }
            let period = Period::of(tier, &self.cases[next].time);
            let mut members = Vec::new();
            while next < self.cases.len() {
                if self.cases[next].counts_for(tier) {
                    if Period::of(tier, &self.cases[next].time) != period {
                        break;
                    }
                    members.push(next);
                }
                next += 1;
            }
            let whole = members.iter().copied().find(|&member| !self.cases[member].facts.damaged);
            let best = whole.unwrap_or(members[0]);
            self.judge_best(best, tier, keep, &period, used);
            used += u32::from(whole.is_some());
            self.pass_over(&members, best, tier, &period);
        }
    }

    fn judge_best(&mut self, best: usize, tier: Tier, keep: &Keep, period: &Period, used: u32) {
        let ended = *period != Period::of(tier, &self.now) && self.cases[best].time < self.now;
        let now = self.now.timestamp();
        let case = &mut self.cases[best];
        match keep {
            Keep::For(term) => {
                let until = term.after(&case.time);
                if until <= now {
                    case.not_kept.push(format!("older than {term} ({tier})"));
                    return;
                }
                if ended {
                    case.promise(until);
                }
            }
            Keep::Count(count) if used >= *count => {
                case.not_kept.push(format!("not in the newest {count} periods that have a point ({tier})"));
                return;
            }
            Keep::Count(_) => {}
        }
        case.kept.push(format!("{tier} {period}"));
    }

    fn pass_over(&mut self, members: &[usize], best: usize, tier: Tier, period: &Period) {
        for &member in members.iter().filter(|&&member| member != best) {
            let what = if member < best { "damaged, and not the only one" } else { "not the newest" };
            self.cases[member].not_kept.push(format!("{what} of {period} ({tier})"));
        }
    }

    fn judge_last(&mut self) {
        let Some(count) = self.rules.keep_last else { return };
        let mut used = 0;
        for case in &mut self.cases {
            if case.facts.damaged || used >= count {
                case.not_kept.push(format!("not one of the newest {count}"));
            } else {
                used += 1;
                case.kept.push(format!("one of the newest {count}"));
            }
        }
    }

    fn judge_within(&mut self) {
        let Some(term) = &self.rules.keep_within else { return };
        for case in &mut self.cases {
            let until = term.after(&case.time);
            if until > self.now.timestamp() {
                case.kept.push(format!("within {term}"));
                case.promise(until);
            } else {
                case.not_kept.push(format!("older than {term}"));
            }
        }
    }

    /// What no rule may remove.
    fn protect(&mut self) {
        let whole = |case: &Case<'_>| !case.facts.damaged;
        let mut newest_verified = Vec::new();
        for depth in DEEPEST_FIRST {
            let newest = self.cases.iter().position(|case| whole(case) && case.facts.verified >= Some(depth));
            let Some(newest) = newest.filter(|newest| !newest_verified.contains(newest)) else { continue };
            newest_verified.push(newest);
            self.cases[newest].kept.push(format!("the newest verified point ({})", name_of(depth)));
        }
        let newest = self.cases.iter().position(whole).or((!self.cases.is_empty()).then_some(0));
        for (index, case) in self.cases.iter_mut().enumerate() {
            if let Some(reason) = &case.facts.hold {
                case.kept.push(format!("held: {reason}"));
            }
            let unruled = match case.tier {
                Some(Ok(tier)) if self.rules.of(tier).is_none() => Some(tier.name()),
                Some(Err(unknown)) => Some(unknown),
                _ => None,
            };
            if let Some(tier) = unruled {
                case.kept.push(format!("its tier {tier} has no rule, so nothing says when it may go"));
            } else if self.rules.are_empty() {
                case.kept.push("there is no rule of retention".to_owned());
            }
            if Some(index) == newest && case.kept.is_empty() {
                case.kept.push("the newest point".to_owned());
            }
        }
    }

    fn verdicts(self) -> Vec<Decision> {
        let mut verdicts: Vec<Option<Decision>> = self.given.iter().map(|_| None).collect();
        for (case, index) in self.cases.into_iter().zip(self.given) {
            let keep = !case.kept.is_empty();
            let mut reasons = if keep { case.kept } else { case.not_kept };
            if let (false, Some(Ok(tier))) = (keep, case.tier) {
                reasons.push(format!("its tier is {tier} alone"));
            }
            let point = case.facts.point.clone();
            verdicts[index] = Some(Decision { point, keep, reasons, promised_until: case.promised_until });
        }
        verdicts.into_iter().flatten().collect()
    }
}

/// One hour, day, week, month or year of the calendar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Period {
    /// Date, hour and offset in seconds: the hour that comes twice in autumn is two hours.
    Hour(Date, i8, i32),
    Day(Date),
    Week(ISOWeekDate),
    Month(i16, i8),
    Year(i16),
}

impl Period {
    fn of(tier: Tier, time: &Zoned) -> Self {
        match tier {
            Tier::Hourly => Self::Hour(time.date(), time.hour(), time.offset().seconds()),
            Tier::Daily => Self::Day(time.date()),
            Tier::Weekly => Self::Week(monday(time.date().iso_week_date())),
            Tier::Monthly => Self::Month(time.year(), time.month()),
            Tier::Yearly => Self::Year(time.year()),
        }
    }
}

fn monday(day: ISOWeekDate) -> ISOWeekDate {
    ISOWeekDate::new(day.year(), day.week(), jiff::civil::Weekday::Monday).unwrap_or(day)
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hour(date, hour, offset) => {
                let sign = if *offset < 0 { '-' } else { '+' };
                let minutes = offset.abs() / 60;
                write!(f, "{date}T{hour:02}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Self::Day(date) => write!(f, "{date}"),
            Self::Week(monday) => write!(f, "{:04}-W{:02}", monday.year(), monday.week()),
            Self::Month(year, month) => write!(f, "{year:04}-{month:02}"),
            Self::Year(year) => write!(f, "{year:04}"),
        }
    }
}
