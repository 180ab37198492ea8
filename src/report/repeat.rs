//! What the repetitions of one drill say together: how many they are, the least, the middle and the most, and how sure that is.
//!
//! Of intervals, the smallest truth lies between the smallest lower and the smallest upper bound, the second smallest between
//! the second ones, and so on: so the least, the middle and the most are intervals, too. There is no average.

use super::drill::{Bounds, DrillReport};
use crate::humane::counted;
use crate::measure::confidence;
use serde::Serialize;

/// Repetitions of one drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repeated {
    /// Those that were run.
    pub runs: u64,
    /// Those of them that are valid: the others prove nothing, and have no part in what follows.
    pub valid: u64,
    /// Valid ones whose recovery had no end that was seen: they have no recovery time.
    pub open: u64,
    /// The recovery times of the valid ones, on the worst path of each; nothing where there is none.
    pub rto: Option<Spread>,
    /// How sure that allows to be; nothing where no run is valid.
    pub confidence: Option<String>,
}

/// Recovery times, without an average.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub minimum: Bounds,
    /// The middle one; of an even number, from the lower of the two in the middle to the upper one.
    pub median: Bounds,
    /// The most.
    pub maximum: Bounds,
    /// Each of them, in the order of the runs.
    pub points: Vec<Point>,
}

/// The recovery time of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The run.
    pub run: String,
    /// What was measured.
    pub actual: Bounds,
}

impl Repeated {
    /// What these runs of one scenario say.
    pub fn of(drills: &[DrillReport]) -> Self {
        let valid: Vec<&DrillReport> = drills.iter().filter(|drill| drill.validity.word == "valid").collect();
        let point = |drill: &&DrillReport| {
            let Recovered::After(actual) = recovered(drill) else { return None };
            Some(Point { run: drill.run.to_string(), actual })
        };
        Self {
            runs: drills.len() as u64,
            valid: valid.len() as u64,
            open: valid.iter().filter(|drill| matches!(recovered(drill), Recovered::NotSeen)).count() as u64,
            rto: Spread::of(valid.iter().filter_map(point).collect()),
            confidence: (!valid.is_empty()).then(|| sure(&valid)),
        }
    }

    /// The same in words, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let invalid = self.runs - self.valid;
        if invalid > 0 {
            lines.push(format!("{invalid} of {}: not valid, and not counted", counted(self.runs, "run")));
        }
        if let Some(Spread { minimum, median, maximum, points }) = &self.rto {
            let runs = counted(points.len() as u64, "valid run");
            lines.push(format!("recovery time (RTO) in {runs}: minimum {minimum}, median {median}, maximum {maximum}"));
            let each: Vec<String> = points.iter().map(|point| point.actual.to_string()).collect();
            lines.push(format!("one by one: {}", each.join("; ")));
        }
        lines.extend(self.confidence.clone());
        lines
    }
}

impl Spread {
    fn of(points: Vec<Point>) -> Option<Self> {
        let sorted = |end: fn(&Bounds) -> f64| {
            let mut ends: Vec<f64> = points.iter().map(|point| end(&point.actual)).collect();
            ends.sort_by(f64::total_cmp);
            ends
        };
        let (lows, highs) = (sorted(|actual| actual.low), sorted(|actual| actual.high));
        let last = points.len().checked_sub(1)?;
        let between = |low: usize, high: usize| Bounds { low: lows[low], high: highs[high] };
        Some(Self {
            minimum: between(0, 0),
            median: between(last / 2, points.len() / 2),
            maximum: between(last, last),
            points,
        })
    }
}

/// Whether and when a run's service was back, on the worst of its paths.
enum Recovered {
    After(Bounds),
    /// Not while anybody looked.
    NotSeen,
    /// No recovery time was measured at all.
    Unknown,
}

fn recovered(drill: &DrillReport) -> Recovered {
    let mut worst: Option<Bounds> = None;
    for row in drill.objectives.iter().filter(|row| row.key == "rto") {
        let Some(actual) = row.actual else { return Recovered::NotSeen };
        if worst.is_none_or(|worst| worst.high < actual.high) {
            worst = Some(actual);
        }
    }
    worst.map_or(Recovered::Unknown, Recovered::After)
}

/// The recovery time of a run on the worst of its paths, low and high: infinite where it was not seen to end, nothing where it
/// was not measured.
pub(super) fn slowest(drill: &DrillReport) -> Option<(f64, f64)> {
    match recovered(drill) {
        Recovered::After(Bounds { low, high }) => Some((low, high)),
        Recovered::NotSeen => Some((f64::INFINITY, f64::INFINITY)),
        Recovered::Unknown => None,
    }
}

/// What a number of valid runs of one series allows to say.
pub(super) fn sure(runs: &[&DrillReport]) -> String {
    let counted_runs = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    let with_ledger: Vec<_> = runs.iter().filter_map(|drill| drill.integrity.as_ref()).collect();
    let some_lost =
        |of: &&&super::drill::Integrity| of.classes.iter().any(|class| class.class == "lost" && class.count > 0);
    let losses = with_ledger.iter().filter(some_lost).count();
    let ledgers = u32::try_from(with_ledger.len()).unwrap_or(u32::MAX);
    let loss = match (ledgers, losses) {
        (0, _) => None,
        (ledgers, 0) => Some(confidence::sentence(ledgers)),
        (ledgers, losses) => Some(format!("writes were lost in {losses} of {ledgers} valid runs")),
    };
    let valid = counted(u64::from(counted_runs), "valid run");
    let open = runs.iter().filter(|drill| matches!(recovered(drill), Recovered::NotSeen)).count();
    let worst = match open {
        0 => {
            let share = confidence::share_below_worst(counted_runs) * 100.0;
            format!(
                "{valid}: with 95 % confidence at least {share:.0} of 100 such recoveries would be no slower than the slowest of these"
            )
        }
        // What did not end has no slowest.
        open => format!("{open} of {valid} had not recovered when nobody looked any more: nothing bounds the slowest"),
    };
    loss.into_iter().chain([worst]).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::drill::tests::{Made, four};
    use std::time::Duration;

    fn runs(outages: &[u64]) -> Vec<DrillReport> {
        let made = |outage: &u64| Made { outage: Duration::from_millis(*outage), lost: 0, ..Made::default() };
        outages.iter().map(|outage| made(outage).report()).collect()
    }

    /// Whether an interval holds the outage of the slower path, which comes back 380 ms later, and is narrow.
    fn holds(bounds: Bounds, from: f64, until: f64) {
        let (from, until) = (from + 0.38, until + 0.38);
        assert!(bounds.low <= from && until <= bounds.high, "{from} to {until} is not in {bounds}");
        assert!(bounds.high - bounds.low < until - from + 0.3, "{bounds}");
    }

    #[test]
    fn an_odd_number_has_a_middle_and_an_even_one_has_two() {
        let rto = Repeated::of(&runs(&[21_700, 8_400, 12_400])).rto.unwrap();
        holds(rto.minimum, 8.4, 8.4);
        holds(rto.median, 12.4, 12.4);
        holds(rto.maximum, 21.7, 21.7);
        let points: Vec<f64> = rto.points.iter().map(|point| point.actual.high.round()).collect();
        assert_eq!(points, [22.0, 9.0, 13.0], "each of them, in their order");
        let rto = Repeated::of(&runs(&[21_700, 8_400, 12_400, 14_900])).rto.unwrap();
        holds(rto.median, 12.4, 14.9);
    }

    #[test]
    fn what_proves_nothing_is_told_and_not_counted() {
        let mut drills = runs(&[8_400, 12_400]);
        let [.., (_, invalid)] = four();
        drills.push(invalid.report());
        let repeated = Repeated::of(&drills);
        assert_eq!((repeated.runs, repeated.valid, repeated.open), (3, 2, 0));
        let said = [
            "1 of 3 runs: not valid, and not counted",
            "recovery time (RTO) in 2 valid runs: minimum 8.60 to 8.83 s, median 8.60 to 12.82 s, maximum 12.60 to 12.82 s",
            "one by one: 8.60 to 8.83 s; 12.60 to 12.82 s",
            "0 lost in 2 valid runs: with 95 % confidence fewer than 78 of 100 such drills would lose something; 2 valid runs: \
             with 95 % confidence at least 22 of 100 such recoveries would be no slower than the slowest of these",
        ];
        assert_eq!(repeated.lines(), said);
        let nothing = Repeated::of(&drills[2..]);
        assert_eq!((nothing.rto.clone(), nothing.confidence.clone()), (None, None));
        assert_eq!(nothing.lines(), ["1 of 1 run: not valid, and not counted"]);
    }

    #[test]
    fn a_run_that_did_not_recover_leaves_the_slowest_open() {
        let mut drills = runs(&[8_400, 12_400]);
        drills.push(Made { outage: Duration::from_mins(5), lost: 0, ..Made::default() }.report());
        let repeated = Repeated::of(&drills);
        assert_eq!((repeated.valid, repeated.open, repeated.rto.unwrap().points.len()), (3, 1, 2));
        let sure = repeated.confidence.unwrap();
        assert!(
            sure.ends_with(
                "1 of 3 valid runs had not recovered when nobody looked any more: nothing bounds the slowest"
            ),
            "{sure}"
        );
    }
}
