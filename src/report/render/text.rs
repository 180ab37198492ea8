//! For a terminal.

use super::page::Page;
use super::sign;
use crate::humane::{count, time};
use crate::report::drill::{DrillReport, TheoryRow};
use crate::report::month::MonthReport;
use crate::report::words::{percent, seconds};

/// A drill.
pub(super) fn drill(report: &DrillReport) -> String {
    let mut page = Page::default();
    let (verdict, identity) = (&report.verdict, &report.identity);
    page.headline(&format!("{} {}: {}", sign(Some(&verdict.word)), verdict.word.to_uppercase(), verdict.sentence));
    page.line(format!("  {}", identity.title));
    page.line(format!(
        "  run {}, {} in {}, {}, seed {}",
        report.run,
        identity.service,
        identity.environment,
        time(identity.began),
        identity.seed
    ));
    if let Some(approver) = &identity.approver {
        page.line(format!("  approved by {approver}"));
    }
    objectives(&mut page, report);
    timeline(&mut page, report);
    integrity(&mut page, report);
    rest(&mut page, report);
    page.text()
}

fn objectives(page: &mut Page, report: &DrillReport) {
    page.title("objectives");
    let row = |row: &crate::report::drill::ObjectiveRow| {
        let verdict = row.verdict.as_deref();
        vec![
            format!("{} {}", sign(verdict), verdict.unwrap_or("-")),
            row.name.clone(),
            row.sentence.clone(),
            row.by.clone(),
        ]
    };
    page.rows(&report.objectives.iter().map(row).collect::<Vec<_>>());
}

fn timeline(page: &mut Page, report: &DrillReport) {
    if report.timeline.iter().any(|moment| moment.since_fault.is_some()) {
        page.title("timeline, counted from the proven fault");
        let known = report.timeline.iter().filter_map(|moment| Some((moment, moment.since_fault?)));
        let rows = known.map(|(moment, at)| {
            vec![moment.symbol.clone(), moment.name.clone(), at.to_string(), moment.evidence.clone()]
        });
        page.rows(&rows.collect::<Vec<_>>());
    }
    if let Some(nobody) = report.acknowledgement.as_ref().filter(|person| !person.acknowledged) {
        page.line(format!("  {}", nobody.sentence));
    }
    if !report.phases.is_empty() {
        page.title("phases");
        let row = |phase: &crate::report::drill::PhaseRow| {
            let note = if phase.counts { "" } else { "beside the recovery time" };
            let theory = phase.theory.as_ref().map(TheoryRow::words).unwrap_or_default();
            let notes = [note.to_owned(), theory];
            let notes: Vec<&str> = notes.iter().map(String::as_str).filter(|note| !note.is_empty()).collect();
            vec![phase.name.clone(), phase.length.to_string(), notes.join("; ")]
        };
        page.rows(&report.phases.iter().map(row).collect::<Vec<_>>());
        if let Some(words) = report.overlap_words() {
            page.line(format!("  {words}"));
        }
    }
    observers(page, report);
    page.title("probes");
    let row = |stream: &crate::report::drill::StreamRow| {
        let failed = stream.refused + stream.silent;
        vec![
            stream.name.clone(),
            format!("{} sent, {} failed", count(stream.due - stream.not_sent), count(failed)),
            stream.recovery_time.map(|time| time.to_string()).unwrap_or_default(),
            stream.recovery.clone(),
            stream.error.map(|error| format!("error {}", error.words())).unwrap_or_default(),
        ]
    };
    page.rows(&report.streams.iter().map(row).collect::<Vec<_>>());
}

/// Who saw what, where more than one looked.
fn observers(page: &mut Page, report: &DrillReport) {
    if report.observers.len() < 2 {
        return;
    }
    page.title("observers (the worst one decides)");
    let row = |observer: &crate::report::drill::ObserverRow| {
        let verdict = observer.verdict.as_deref();
        vec![
            format!("{} {}", sign(verdict), verdict.unwrap_or("-")),
            observer.name.clone(),
            observer.sentence.clone(),
            format!("{}, {}", observer.place, observer.clock_words()),
        ]
    };
    page.rows(&report.observers.iter().map(row).collect::<Vec<_>>());
}

fn integrity(page: &mut Page, report: &DrillReport) {
    if let Some(integrity) = &report.integrity {
        page.title("writes");
        page.line(format!(
            "  {} tried: {} acknowledged, {} refused, {} of unknown outcome; loss: {}",
            count(integrity.attempted),
            count(integrity.acknowledged),
            count(integrity.failed),
            count(integrity.unknown),
            integrity.shape_means
        ));
        let some = integrity.classes.iter().filter(|class| class.count > 0 || class.class == "lost");
        let rows = some.map(|class| {
            let examples: Vec<String> = class.examples.iter().map(u64::to_string).collect();
            vec![class.class.clone(), count(class.count), class.means.clone(), examples.join(" ")]
        });
        page.rows(&rows.collect::<Vec<_>>());
        for line in [&integrity.history, &integrity.log, &integrity.confidence].into_iter().flatten() {
            page.line(format!("  {line}"));
        }
    }
    if let Some(replica) = &report.replica {
        page.line(format!("  replica {}: {}{}", replica.word, replica.sentence, replica.ids()));
    }
    if let Some(restore) = &report.restore {
        page.title("restore");
        page.line(format!("  point {} of {}, {}; {}", restore.point, restore.source, restore.amount(), restore.proof));
        if let Some(forecast) = &restore.forecast {
            let (size, time) = (crate::humane::bytes(forecast.bytes), seconds(forecast.seconds));
            page.line(format!("  at today's size, {size}: about {time} ({})", forecast.rests_on));
        }
    }
}

fn alerts(page: &mut Page, report: &DrillReport) {
    if report.alerts.is_empty() {
        return;
    }
    page.title("alerts expected");
    let row = |alert: &crate::report::drill::AlertRow| {
        let verdict = alert.verdict.as_deref();
        let word = format!("{} {}", sign(verdict), alert.word);
        vec![word, alert.name.clone(), alert.sentence.clone(), alert.asked.clone(), alert.evidence.clone()]
    };
    page.rows(&report.alerts.iter().map(row).collect::<Vec<_>>());
}

fn rest(page: &mut Page, report: &DrillReport) {
    alerts(page, report);
    if !report.checks.is_empty() {
        page.title("checks");
        let word = |ok: Option<bool>| ok.map_or("not found out", |ok| if ok { "true" } else { "NOT TRUE" });
        let row = |check: &crate::report::drill::CheckRow| {
            vec![word(check.ok).to_owned(), check.name.clone(), check.detail.clone()]
        };
        page.rows(&report.checks.iter().map(row).collect::<Vec<_>>());
    }
    page.title("cleanup");
    page.line(format!("  {}", report.cleanup.sentence));
    for healed in &report.cleanup.healed {
        page.line(format!("  {} {}: {}", sign(healed.verdict()), healed.what, healed.words()));
    }
    if let Some(budget) = &report.error_budget {
        page.title("error budget");
        page.line(format!(
            "  {} down of {} allowed in {} days at {}: {} to {} of it",
            budget.down_seconds,
            seconds(budget.budget_seconds),
            budget.days,
            percent(budget.availability),
            percent(budget.burned.low),
            percent(budget.burned.high)
        ));
        if let Some(affected) = budget.affected_words() {
            page.line(format!("  {affected}"));
        }
    }
    steps(page, report);
    if !report.surprises.is_empty() {
        page.title("what was not expected");
        for line in &report.surprises {
            page.line(format!("  {line}"));
        }
    }
    if !report.actions.is_empty() {
        page.title("actions");
        for action in &report.actions {
            let owner = action.owner.as_deref().unwrap_or("nobody yet");
            let due = action.due.map(|due| format!("; due {due}")).unwrap_or_default();
            page.line(format!(
                "  [{}] {} (owner: {owner}{due}; again with {})",
                action.severity, action.what, action.retest
            ));
        }
    }
    page.title(&format!("this run is {}", report.validity.word));
    for line in report.validity.why.iter().chain(&report.validity.limits) {
        page.line(format!("  {line}"));
    }
    for file in &report.files {
        page.line(format!("  made from {}", file.words()));
    }
}

/// The runbook as it was walked, with times.
fn steps(page: &mut Page, report: &DrillReport) {
    if report.steps.is_empty() {
        return;
    }
    page.title("what was done, counted from the drill's beginning");
    let row = |step: &crate::report::drill::StepRow| {
        let what = if step.ok { step.what.clone() } else { format!("FAILED: {}", step.what) };
        vec![format!("at {}", seconds(step.at)), format!("for {}", seconds(step.seconds)), what, step.detail.clone()]
    };
    page.rows(&report.steps.iter().map(row).collect::<Vec<_>>());
}

/// A month.
pub(super) fn month(report: &MonthReport) -> String {
    let mut page = Page::default();
    page.line(format!("drills of {}: {}", report.month, report.sentence));
    page.title("coverage (fault × service, last valid run)");
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(report.coverage.services.iter().cloned());
    for (fault, cells) in report.coverage.faults.iter().zip(&report.coverage.cells) {
        let mut row = vec![fault.clone()];
        row.extend(cells.iter().enumerate().map(|(column, cell)| {
            let never = || report.coverage.never_words(column).to_owned();
            cell.as_ref().map_or_else(never, super::super::month::Cell::words)
        }));
        rows.push(row);
    }
    page.rows(&rows);
    if let Some(never) = report.coverage.never_drilled_words() {
        page.line(format!("  {never}"));
    }
    page.title("against the objectives");
    for plot in &report.plots {
        page.line(format!("  {}: {}", plot.title, plot.words()));
    }
    if !report.actions.is_empty() {
        page.title("actions");
        for action in &report.actions {
            let owner = action.owner.as_deref().unwrap_or("nobody yet");
            page.line(format!(
                "  [{}] {} (owner: {owner}; {}; {})",
                action.state,
                action.what,
                action.due_words(),
                action.detail
            ));
        }
    }
    page.title("backups");
    let row = |health: &crate::report::month::BackupHealth| {
        vec![health.source.clone(), health.words(), health.restored_words()]
    };
    page.rows(&report.backups.iter().map(row).collect::<Vec<_>>());
    page.title("how sure");
    for line in &report.confidence {
        page.line(format!("  {line}"));
    }
    page.title("slower than before");
    for regression in &report.regressions {
        page.line(format!("  {}", regression.words()));
    }
    page.title("drills");
    let row = |drill: &crate::report::month::DrillLine| {
        vec![
            format!("{} {}", sign(Some(&drill.word)), drill.word),
            drill.began.strftime("%d %H:%M").to_string(),
            drill.title.clone(),
            drill.words(),
        ]
    };
    page.rows(&report.drills.iter().map(row).collect::<Vec<_>>());
    page.text()
}
