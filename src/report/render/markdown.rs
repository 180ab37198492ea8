//! For a pull request or a wiki.

use super::sign;
use crate::humane::{bytes, count, time};
use crate::report::drill::DrillReport;
use crate::report::month::MonthReport;
use crate::report::words::{aim, percent, seconds};

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    fn title(&mut self, title: &str) {
        self.line(format!("\n## {title}\n"));
    }

    fn table<const N: usize>(&mut self, titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        self.line(format!("| {} |", titles.map(|title| title.trim_start_matches('>')).join(" | ")));
        self.line(format!("|{}|", titles.map(|title| if title.starts_with('>') { "--:" } else { "---" }).join("|")));
        for row in rows {
            self.line(format!("| {} |", row.map(|cell| cell_text(&cell)).join(" | ")));
        }
    }

    fn list<T: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = T>) {
        for line in lines {
            self.line(format!("- {}", cell_text(line.as_ref())));
        }
    }
}

/// Text that neither ends a cell nor begins markup.
fn cell_text(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => cell.push(' '),
            '|' | '<' | '>' | '`' | '*' | '_' | '[' | ']' | '\\' => cell.extend(['\\', c]),
            c => cell.push(c),
        }
    }
    cell
}

/// A drill.
pub(super) fn drill(report: &DrillReport) -> String {
    let mut page = Page::default();
    let (identity, verdict) = (&report.identity, &report.verdict);
    page.line(format!("# {}\n", cell_text(&identity.title)));
    page.line(format!("**{} {}**: {}\n", sign(Some(&verdict.word)), verdict.word, cell_text(&verdict.sentence)));
    page.line(format!("{}\n", cell_text(&identity.why)));
    page.line(format!("Hypothesis: {}.", cell_text(&identity.hypothesis)));
    page.title("Objectives");
    page.table(
        ["objective", "measured by", "wanted", "actual", "verdict"],
        report.objectives.iter().map(|row| {
            let wanted = row.objective.map_or_else(|| "-".to_owned(), aim);
            let verdict = row.verdict.as_deref();
            [
                row.name.clone(),
                row.by.clone(),
                wanted,
                row.sentence.clone(),
                format!("{} {}", sign(verdict), verdict.unwrap_or("-")),
            ]
        }),
    );
    times(&mut page, report);
    integrity(&mut page, report);
    rest(&mut page, report);
    page.title("Identity");
    let mut rows = vec![
        ["run".to_owned(), report.run.to_string()],
        ["scenario".to_owned(), format!("{}, {}", identity.scenario, identity.scenario_sha256)],
        ["service, environment".to_owned(), format!("{}, {}", identity.service, identity.environment)],
        ["target".to_owned(), identity.target.clone()],
        ["fault, recovery".to_owned(), format!("{}, {}", identity.fault, identity.recovery)],
        ["began, took".to_owned(), format!("{}, {}", time(identity.began), seconds(identity.seconds))],
        ["seed".to_owned(), identity.seed.to_string()],
        ["tool".to_owned(), identity.tool.clone()],
        ["operator".to_owned(), identity.operator.clone().unwrap_or_else(|| "not said".to_owned())],
    ];
    rows.extend(identity.approver.iter().map(|approver| ["approved by".to_owned(), approver.clone()]));
    rows.extend(identity.versions.iter().map(|(name, value)| [name.clone(), value.clone()]));
    rows.extend(report.files.iter().map(|file| ["made from".to_owned(), file.words()]));
    page.table(["", ""], rows);
    page.0
}

fn times(page: &mut Page, report: &DrillReport) {
    page.title("Timeline");
    page.table(
        ["", "instant", "since the fault", "evidence"],
        report.timeline.iter().map(|moment| {
            let at = moment.since_fault.map_or_else(|| "-".to_owned(), |at| at.to_string());
            [moment.symbol.clone(), moment.name.clone(), at, moment.evidence.clone()]
        }),
    );
    if !report.phases.is_empty() {
        page.title("Phases");
        page.table(
            ["phase", "length", "part of the recovery time"],
            report.phases.iter().map(|phase| {
                [phase.name.clone(), phase.length.to_string(), if phase.counts { "yes" } else { "no" }.to_owned()]
            }),
        );
        if let Some(words) = report.overlap_words() {
            page.line(format!("\n{words}."));
        }
        for (phase, theory) in report.theories() {
            page.line(format!("\n{phase}: {}.", theory.words()));
        }
    }
    if let [_, _, ..] = report.observers.as_slice() {
        page.title("Observers");
        page.line("Each is judged, and the worst one decides.\n");
        page.table(
            ["observer", "where", "verdict", "saw", "clock"],
            report.observers.iter().map(|observer| {
                let verdict = observer.verdict.as_deref();
                [
                    observer.name.clone(),
                    observer.place.clone(),
                    format!("{} {}", sign(verdict), verdict.unwrap_or("-")),
                    observer.sentence.clone(),
                    observer.clock_words(),
                ]
            }),
        );
    }
    page.title("Probes");
    page.table(
        ["stream", ">due", ">good", ">failed", ">not sent", "recovery time", "its error", "in words"],
        report.streams.iter().map(|stream| {
            let recovery = stream.recovery_time.map_or_else(|| "-".to_owned(), |time| time.to_string());
            [
                stream.name.clone(),
                count(stream.due),
                count(stream.good),
                count(stream.refused + stream.silent),
                count(stream.not_sent),
                recovery,
                stream.error.map_or_else(|| "-".to_owned(), |error| error.words()),
                stream.recovery.clone(),
            ]
        }),
    );
}

fn integrity(page: &mut Page, report: &DrillReport) {
    if let Some(integrity) = &report.integrity {
        page.title("Writes");
        page.line(format!(
            "{} tried, {} acknowledged, {} of unknown outcome. {}\n",
            count(integrity.attempted),
            count(integrity.acknowledged),
            count(integrity.unknown),
            integrity.shape_means
        ));
        page.table(
            ["class", ">writes", "meaning", "examples"],
            integrity.classes.iter().map(|class| {
                let examples: Vec<String> = class.examples.iter().map(u64::to_string).collect();
                [class.class.clone(), count(class.count), class.means.clone(), examples.join(", ")]
            }),
        );
        let lines = [&integrity.history, &integrity.log, &integrity.confidence];
        let lines: Vec<&String> = lines.into_iter().flatten().collect();
        if !lines.is_empty() {
            page.line("");
            page.list(lines);
        }
    }
    if let Some(replica) = &report.replica {
        page.title("Replica");
        page.line(cell_text(&format!("{}: {}{}.", replica.word, replica.sentence, replica.ids())));
    }
    if let Some(restore) = &report.restore {
        page.title("Restore");
        page.line(format!(
            "Point {} of {}, {}, {}.",
            restore.point,
            restore.source,
            restore.amount(),
            bytes(restore.bytes)
        ));
        if let Some(forecast) = &restore.forecast {
            let (size, time) = (bytes(forecast.bytes), seconds(forecast.seconds));
            page.line(format!("At today's size of {size}: about {time} ({}).", forecast.rests_on));
        }
    }
}

fn alerts(page: &mut Page, report: &DrillReport) {
    if report.alerts.is_empty() {
        return;
    }
    page.title("Alerts expected");
    page.table(
        ["", "alert", "wanted within", "in words", "asked", "seen"],
        report.alerts.iter().map(|alert| {
            [
                format!("{} {}", sign(alert.verdict.as_deref()), alert.word),
                alert.name.clone(),
                aim(alert.within),
                alert.sentence.clone(),
                alert.asked.clone(),
                alert.evidence.clone(),
            ]
        }),
    );
}

fn rest(page: &mut Page, report: &DrillReport) {
    alerts(page, report);
    page.title("Safety");
    page.list([format!("cleanup: {}", report.cleanup.sentence)]);
    page.list(report.cleanup.healed.iter().map(|row| format!("{} {}: {}", sign(row.verdict()), row.what, row.words())));
    let radius = &report.blast_radius;
    page.list([format!(
        "blast radius: planned {}; touched {}; {} matched; cap {}",
        radius.planned.join(", "),
        radius.touched.join(", "),
        count(radius.candidates),
        radius.cap
    )]);
    page.list(report.guards.iter().map(|guard| format!("guard {}: {}, {}", guard.name, guard.said, guard.detail)));
    if let Some(budget) = &report.error_budget {
        page.list([format!(
            "error budget at {} over {} days: {} down, {} to {} of it",
            percent(budget.availability),
            budget.days,
            budget.down_seconds,
            percent(budget.burned.low),
            percent(budget.burned.high)
        )]);
        page.list(budget.affected_words());
    }
    steps(page, report);
    if !report.surprises.is_empty() {
        page.title("What was not expected");
        page.list(&report.surprises);
    }
    if !report.actions.is_empty() {
        page.title("Actions");
        page.table(
            ["severity", "what", "owner", "due", "again with"],
            report.actions.iter().map(|action| {
                let owner = action.owner.clone().unwrap_or_else(|| "nobody yet".to_owned());
                let due = action.due.map_or_else(|| "-".to_owned(), |due| due.to_string());
                [action.severity.clone(), action.what.clone(), owner, due, action.retest.clone()]
            }),
        );
    }
    page.title("Validity");
    page.line(format!("This run is {}.\n", report.validity.word));
    page.list(report.validity.why.iter().chain(&report.validity.limits));
}

/// The runbook as it was walked, with times.
fn steps(page: &mut Page, report: &DrillReport) {
    if report.steps.is_empty() {
        return;
    }
    page.title("What was done");
    page.table(
        [">at", ">took", "step", "seen"],
        report.steps.iter().map(|step| {
            let what = if step.ok { step.what.clone() } else { format!("FAILED: {}", step.what) };
            [seconds(step.at), seconds(step.seconds), what, step.detail.clone()]
        }),
    );
}

/// A month.
pub(super) fn month(report: &MonthReport) -> String {
    let mut page = Page::default();
    page.line(format!("# Drills of {}\n\n{}", report.month, report.sentence));
    page.title("Coverage: fault × service, last valid run");
    page.line(format!("| | {} |", report.coverage.services.join(" | ")));
    page.line(format!("|---|{}", "---|".repeat(report.coverage.services.len())));
    for (fault, cells) in report.coverage.faults.iter().zip(&report.coverage.cells) {
        let cells = cells.iter().enumerate().map(|(column, cell)| {
            let never = || report.coverage.never_words(column).to_owned();
            cell.as_ref().map_or_else(never, |cell| format!("{} {}", sign(Some(&cell.word)), cell.words()))
        });
        page.line(format!("| {fault} | {} |", cells.collect::<Vec<_>>().join(" | ")));
    }
    if let Some(never) = report.coverage.never_drilled_words() {
        page.line(format!("\n{}", cell_text(&never)));
    }
    page.title("Against the objectives");
    page.list(report.plots.iter().map(|plot| format!("{}: {}", plot.title, plot.words())));
    if !report.actions.is_empty() {
        page.title("Actions and re-tests");
        page.table(
            ["state", "severity", "what", "owner", "due", "re-test"],
            report.actions.iter().map(|action| {
                let owner = action.owner.clone().unwrap_or_else(|| "nobody yet".to_owned());
                let (state, severity, what) = (action.state.clone(), action.severity.clone(), action.what.clone());
                [state, severity, what, owner, action.due_words(), action.detail.clone()]
            }),
        );
    }
    page.title("Backups");
    page.table(
        ["source", "recovery points", "restore evidence"],
        report.backups.iter().map(|health| [health.source.clone(), health.words(), health.restored_words()]),
    );
    page.title("How sure");
    page.list(&report.confidence);
    page.list(
        report
            .budgets
            .iter()
            .map(|budget| format!("error budget used by drills: {}", MonthReport::budget_words(budget))),
    );
    page.title("Slower than before");
    page.list(report.regressions.iter().map(crate::report::month::Regression::words));
    page.title("Drills");
    page.table(
        ["when", "verdict", "what", "in a sentence"],
        report.drills.iter().map(|drill| {
            [
                time(drill.began),
                format!("{} {}", sign(Some(&drill.word)), drill.word),
                drill.title.clone(),
                drill.words(),
            ]
        }),
    );
    page.0
}
