//! For a monitoring system: gauges with the drill in their labels, in the OpenMetrics text format.

use crate::report::drill::DrillReport;
use crate::report::month::MonthReport;
use std::fmt::Write as _;

/// A family of gauges and its samples.
#[derive(Default)]
struct Family {
    samples: Vec<(String, f64)>,
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, unit: &str, help: &str, family: &Family) {
        if family.samples.is_empty() {
            return;
        }
        // Writing to a String cannot fail.
        let _ignored = writeln!(self.0, "# TYPE {name} gauge");
        if !unit.is_empty() {
            let _ignored = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ignored = writeln!(self.0, "# HELP {name} {help}");
        for (labels, value) in &family.samples {
            let _ignored = writeln!(self.0, "{name}{{{labels}}} {value}");
        }
    }

    fn end(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }
}

impl Family {
    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
        self.samples.push((labels.join(","), value));
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn bit(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// One drill or several.
pub(super) fn drills(drills: &[DrillReport]) -> String {
    let [mut verdicts, mut actual, mut wanted, mut writes, mut clean, mut burned, mut ended]: [Family; 7] =
        Default::default();
    for report in drills {
        let (identity, run) = (&report.identity, report.run.to_string());
        let base = [("run", run.as_str()), ("service", identity.service.as_str()), ("fault", identity.fault.as_str())];
        let with = |more: &[(&'static str, &str)]| -> Vec<(String, String)> {
            base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let put = |family: &mut Family, more: &[(&'static str, &str)], value: f64| {
            let labels = with(more);
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            family.add(&labels, value);
        };
        for word in ["met", "missed", "undecided", "invalid"] {
            put(&mut verdicts, &[("verdict", word)], bit(report.verdict.word == word));
        }
        for row in &report.objectives {
            if let Some(bounds) = row.actual {
                put(&mut actual, &[("objective", &row.key), ("by", &row.by), ("bound", "low")], bounds.low);
                put(&mut actual, &[("objective", &row.key), ("by", &row.by), ("bound", "high")], bounds.high);
            }
            if let Some(objective) = row.objective {
                put(&mut wanted, &[("objective", &row.key), ("by", &row.by)], objective);
            }
        }
        if let Some(integrity) = &report.integrity {
            put(&mut writes, &[("class", "acknowledged")], number(integrity.acknowledged));
            for class in &integrity.classes {
                put(&mut writes, &[("class", &class.class)], number(class.count));
            }
        }
        put(&mut clean, &[], bit(report.cleanup.proven));
        if let Some(budget) = &report.error_budget {
            put(&mut burned, &[("bound", "low")], budget.used().low);
            put(&mut burned, &[("bound", "high")], budget.used().high);
        }
        put(&mut ended, &[], number(u64::try_from(identity.began.as_second()).unwrap_or_default()) + identity.seconds);
    }
    let mut page = Page(String::new());
    page.family("davit_drill_verdict", "", "How the drill ended: 1 for the verdict it has.", &verdicts);
    page.family("davit_drill_actual_seconds", "seconds", "What was measured, with its bounds.", &actual);
    page.family("davit_drill_objective_seconds", "seconds", "What was wanted, at most.", &wanted);
    page.family("davit_drill_writes", "", "Writes of the ledger by class.", &writes);
    page.family("davit_drill_cleanup_proven", "", "Whether everything is proven to be put back.", &clean);
    page.family(
        "davit_drill_error_budget_ratio",
        "ratio",
        "The share of the error budget that the drill used.",
        &burned,
    );
    page.family("davit_drill_ended_timestamp_seconds", "seconds", "When the drill ended.", &ended);
    page.end()
}

/// A month.
pub(super) fn month(report: &MonthReport) -> String {
    let [mut counted, mut last, mut stale, mut age, mut open, mut slower]: [Family; 6] = Default::default();
    let tally = &report.tally;
    for (word, number) in [
        ("met", tally.met),
        ("missed", tally.missed),
        ("undecided", tally.undecided),
        ("invalid", tally.invalid),
        ("aborted", tally.aborted),
        ("unfinished", tally.unfinished),
    ] {
        counted.add(&[("month", &report.month), ("verdict", word)], self::number(number));
    }
    for (fault, cells) in report.coverage.faults.iter().zip(&report.coverage.cells) {
        for (service, cell) in report.coverage.services.iter().zip(cells) {
            let labels = [("fault", fault.as_str()), ("service", service.as_str())];
            if let Some(cell) = cell {
                last.add(&labels, number(u64::try_from(cell.last.as_second()).unwrap_or_default()));
            }
            stale.add(&labels, bit(cell.as_ref().is_none_or(|cell| cell.stale)));
        }
    }
    for health in &report.backups {
        if let Some(seconds) = health.age_seconds {
            age.add(&[("source", &health.source)], seconds);
        }
    }
    let is_open = |action: &&crate::report::month::ActionLine| action.state == "open";
    open.add(&[("month", &report.month)], number(report.actions.iter().filter(is_open).count() as u64));
    for regression in report.regressions.iter().filter(|regression| regression.word != "not enough data") {
        // The title has the day of the last run where two series are alike: each run would begin another line.
        slower.add(&[("series", &regression.series)], bit(regression.word == "slower"));
    }
    let mut page = Page(String::new());
    page.family("davit_drills", "", "Drills of the month by verdict.", &counted);
    page.family(
        "davit_drill_last_valid_timestamp_seconds",
        "seconds",
        "The last valid run of a fault on a service.",
        &last,
    );
    page.family("davit_drill_stale", "", "Whether that is too long ago, or there was none.", &stale);
    page.family("davit_backup_age_seconds", "seconds", "How old the newest recovery point of a source is.", &age);
    page.family(
        "davit_drill_slower",
        "",
        "Whether the last three recoveries of a series were slower than those before them.",
        &slower,
    );
    page.family("davit_drill_actions_open", "", "Actions that no re-test has closed.", &open);
    page.end()
}

fn number(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let number = count as f64;
    number
}
