//! Which runs are one series, so that their figures may stand beside each other, and whether a series got slower.

use super::model::Regression;
use crate::measure::ranks::{BEFORE, LAST, LEVEL, Ranked, rank};
use crate::report::drill::DrillReport;
use crate::report::repeat;
use std::collections::BTreeMap;

/// Runs of one scenario (its load and its objectives are in its hash) against one target: the same service, the same versions
/// and settings of its server. What differs in any of them is another experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series<'a> {
    title: &'a str,
    service: &'a str,
    scenario: crate::id::Sha256,
    versions: &'a BTreeMap<String, String>,
}

impl<'a> Series<'a> {
    pub(super) fn of(drill: &'a DrillReport) -> Self {
        let identity = &drill.identity;
        Self {
            title: &identity.title,
            service: &identity.service,
            scenario: identity.scenario_sha256,
            versions: &identity.versions,
        }
    }

    /// A name that is the same in every month, whatever other series there are: for who keeps figures over years.
    fn id(&self) -> String {
        let parts = (self.title, self.service, self.scenario.to_string(), self.versions);
        let text = serde_json::to_string(&parts).unwrap_or_default();
        short(&crate::id::Sha256::of(text.as_bytes()).to_string()).to_owned()
    }

    /// What tells it from the others that would be called the same, as the end of a name; nothing where there are none.
    pub(super) fn apart(&self, namesakes: &[Self], more: Option<String>) -> String {
        if namesakes.len() < 2 {
            return String::new();
        }
        let differ = |of: &dyn Fn(&Self) -> Option<&'a str>| namesakes.iter().any(|other| of(other) != of(self));
        let mut parts = Vec::new();
        if differ(&|series| Some(series.service)) {
            parts.push(self.service.to_owned());
        }
        if namesakes.iter().any(|other| other.scenario != self.scenario) {
            parts.push(format!("scenario {}", short(&self.scenario.to_string())));
        }
        for name in namesakes.iter().flat_map(|other| other.versions.keys()).collect::<std::collections::BTreeSet<_>>()
        {
            if differ(&|series| series.versions.get(name).map(String::as_str)) {
                parts.push(match self.versions.get(name) {
                    Some(value) => format!("{name} {value}"),
                    None => format!("{name} not known"),
                });
            }
        }
        parts.extend(more);
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }
}

/// Enough of a digest to tell two apart.
fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}

/// A series, as people call it and as machines do, with its runs in the order of time.
pub(super) struct Named<'a> {
    pub(super) name: String,
    id: String,
    pub(super) runs: Vec<&'a DrillReport>,
}

/// The runs of each series.
pub(super) fn series<'a>(valid: &[&'a DrillReport]) -> Vec<Named<'a>> {
    let mut all: BTreeMap<Series<'a>, Vec<&'a DrillReport>> = BTreeMap::new();
    for drill in valid {
        all.entry(Series::of(drill)).or_default().push(drill);
    }
    let name = |series: &Series<'a>, runs: &[&DrillReport]| {
        let namesakes: Vec<Series<'a>> = all.keys().copied().filter(|other| other.title == series.title).collect();
        let newest = runs.iter().map(|drill| drill.identity.began).max();
        let newest = newest.map(|newest| format!("last run {}", newest.strftime("%-d %B %Y %H:%M")));
        format!("{}{}", series.title, series.apart(&namesakes, newest))
    };
    all.iter().map(|(series, runs)| Named { name: name(series, runs), id: series.id(), runs: runs.clone() }).collect()
}

/// Whether a series got slower.
pub(super) fn regression(of: &Named<'_>) -> Regression {
    let times: Vec<(f64, f64)> = of.runs.iter().filter_map(|drill| repeat::slowest(drill)).collect();
    let before = times.len().saturating_sub(LAST);
    let ranked = rank(&times);
    let (word, sentence) = match ranked {
        Ranked::TooFew { runs } => (
            "not enough data",
            format!(
                "not enough data: {runs} of at least {} recovery times (the last {LAST} are held against at least {BEFORE} before them)",
                LAST + BEFORE
            ),
        ),
        Ranked::Chance(share) => {
            let chance = crate::report::words::percent((share * 1e3).ceil() / 1e3);
            if ranked.slower() {
                (
                    "slower",
                    format!(
                        "the last {LAST} recoveries were slower than the {before} before them: chance alone would do that in at most {chance} of such series"
                    ),
                )
            } else {
                let level = crate::report::words::percent(LEVEL);
                (
                    "not shown",
                    format!(
                        "that the last {LAST} recoveries were slower than the {before} before them is not shown: chance alone would do as much in {chance} of such series, and {level} is the limit"
                    ),
                )
            }
        }
    };
    Regression { title: of.name.clone(), series: of.id.clone(), word: word.to_owned(), sentence }
}
