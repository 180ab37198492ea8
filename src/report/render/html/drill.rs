//! The page of one drill.

use super::super::{escape, sign};
use super::{Page, chip, document, gauge, graph, waterfall};
use crate::humane::{bytes, count, time};
use crate::report::drill::{DrillReport, ObjectiveRow};
use crate::report::words::{aim, percent, seconds};

/// The whole file.
pub(in crate::report::render) fn drill(report: &DrillReport) -> String {
    let mut page = Page::default();
    head(&mut page, report);
    objectives(&mut page, report);
    seen(&mut page, report);
    times(&mut page, report);
    alerts(&mut page, report);
    integrity(&mut page, report);
    replica(&mut page, report);
    restore(&mut page, report);
    probes(&mut page, report);
    safety(&mut page, report);
    actions(&mut page, report);
    identity(&mut page, report);
    document(&format!("{}: {}", report.verdict.word, report.identity.title), &page.0)
}

fn head(page: &mut Page, report: &DrillReport) {
    let (identity, verdict) = (&report.identity, &report.verdict);
    page.raw("<header>");
    let repetition = identity.repetition.map(|(number, of)| format!(" · run {number} of {of}")).unwrap_or_default();
    page.raw(format!("<p class=\"kicker\">Drill {} · {}{repetition}</p>", report.run, time(identity.began)));
    page.raw(format!("<h1>{}</h1>", escape(&identity.title)));
    page.raw(format!(
        "<div class=\"verdict {0}\"><b>{1} {0}</b><p>{2}</p></div>",
        verdict.word,
        sign(Some(&verdict.word)),
        escape(&verdict.sentence)
    ));
    page.raw(format!("<p class=\"why\">{}</p>", escape(&identity.why)));
    page.raw(format!("<p class=\"hyp\">Hypothesis: {}.</p>", escape(identity.hypothesis.trim_end_matches('.'))));
    page.facts([
        ("Service".to_owned(), identity.service.clone()),
        ("Environment".to_owned(), identity.environment.clone()),
        ("Fault".to_owned(), identity.fault.clone()),
        ("Recovery".to_owned(), identity.recovery.clone()),
        ("Drill took".to_owned(), seconds(identity.seconds)),
    ]);
    page.raw("</header>");
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn objectives(page: &mut Page, report: &DrillReport) {
    page.section("Objective against actual", "");
    page.raw("<div class=\"cards\">");
    for row in &report.objectives {
        card(page, row);
    }
    page.raw("</div>");
    page.end();
}

fn card(page: &mut Page, row: &ObjectiveRow) {
    page.raw("<div class=\"card\">");
    page.raw(format!("<h3><span>{}</span>{}</h3>", escape(&row.name), chip(row.verdict.as_deref())));
    page.raw(format!("<p class=\"by\">{}</p>", escape(&row.by)));
    if let Some(actual) = row.actual {
        let shown = if actual.low <= 0.0 && actual.high > 0.0 {
            format!("at most {}", seconds(actual.high))
        } else {
            actual.to_string()
        };
        page.raw(format!("<p class=\"big\">{shown}</p>"));
        if let Some(objective) = row.objective {
            page.raw(gauge::gauge(objective, actual, row.verdict.as_deref().unwrap_or("none")));
        }
    }
    let told_already = row.actual.is_some() && row.objective.is_some() && row.sentence.contains("wanted at most");
    if !told_already {
        page.raw(format!("<p class=\"words\">{}</p>", escape(&capital(&row.sentence))));
    }
    if let (None, Some(objective)) = (row.actual, row.objective) {
        page.raw(format!("<p class=\"by\">wanted at most {}</p>", aim(objective)));
    }
    page.raw("</div>");
}

fn seen(page: &mut Page, report: &DrillReport) {
    if report.series.is_empty() {
        return;
    }
    page.section(
        "What users saw",
        "Open-loop probes, sent on time whether or not earlier ones returned. A column with a single failure is marked; nothing is averaged away.",
    );
    for series in &report.series {
        page.raw(graph::figure(report, series));
    }
    page.end();
}

fn times(page: &mut Page, report: &DrillReport) {
    let waterfall = waterfall::figure(report);
    if !waterfall.is_empty() {
        page.section("Where the time went", "").raw(waterfall).end();
    }
    page.section("Timeline", "Durations come from one monotonic clock; the wall clock is a label.");
    page.table(
        ["", "instant", ">since the fault", "wall clock, UTC", "evidence"],
        report.timeline.iter().map(|moment| {
            let at = moment.since_fault.map_or_else(|| "<span class=\"dim\">–</span>".to_owned(), |at| at.to_string());
            let wall = moment.wall.map(|wall| wall.strftime("%H:%M:%S%.3f").to_string()).unwrap_or_default();
            let class = if moment.at.is_some() { "" } else { " class=\"dim\"" };
            [
                moment.symbol.clone(),
                format!("<span{class}>{}</span>", escape(&moment.name)),
                at,
                wall,
                format!("<span{class}>{}</span>", escape(&moment.evidence)),
            ]
        }),
    );
    page.end();
}

fn alerts(page: &mut Page, report: &DrillReport) {
    if report.alerts.is_empty() {
        return;
    }
    page.section("Alerts expected", "Each was asked for once a second, from before the fault on.");
    page.table(
        ["", "alert", ">wanted within", ">fired after the fault", "asked", "seen"],
        report.alerts.iter().map(|alert| {
            let verdict = alert.verdict.as_deref();
            [
                format!("{}<br>{}", chip(verdict), alert.word),
                escape(&alert.name),
                aim(alert.within),
                alert.since_fault.map_or_else(|| "–".to_owned(), |at| at.to_string()),
                escape(&alert.asked),
                escape(if alert.evidence.is_empty() { &alert.sentence } else { &alert.evidence }),
            ]
        }),
    );
    page.end();
}

fn integrity(page: &mut Page, report: &DrillReport) {
    let Some(integrity) = &report.integrity else { return };
    page.section("What became of every write", &format!("{}.", capital(&integrity.shape_means)));
    page.facts([
        ("Tried".to_owned(), count(integrity.attempted)),
        ("Acknowledged".to_owned(), count(integrity.acknowledged)),
        ("Refused".to_owned(), count(integrity.failed)),
        ("Outcome unknown".to_owned(), count(integrity.unknown)),
        ("Whole reads compared".to_owned(), count(integrity.reads)),
    ]);
    page.raw("<p></p>");
    page.table(
        ["class", ">writes", "", "meaning", "some of their ids"],
        integrity.classes.iter().map(|class| {
            let state = match (class.count, class.fine) {
                (0, _) => "<span class=\"dim\">–</span>",
                (_, true) => "<span class=\"good\">fine</span>",
                (_, false) => "<span class=\"bad\">✗</span>",
            };
            let ids: Vec<String> = class.examples.iter().map(u64::to_string).collect();
            let more = if class.count > class.examples.len() as u64 { ", …" } else { "" };
            [
                class.class.clone(),
                count(class.count),
                state.to_owned(),
                escape(&class.means),
                format!("<code>{}{more}</code>", ids.join(", ")),
            ]
        }),
    );
    let mut lines: Vec<String> = Vec::new();
    if let Some(age) = integrity.loss_seconds {
        let newest = integrity.newest_lost_seconds.map(seconds).unwrap_or_default();
        lines.push(format!("the oldest lost write was {age} old at the fault, the newest {newest}"));
    }
    lines.extend(integrity.loss_bytes.map(|lost| format!("the survivor lacked {} of the log", bytes(lost))));
    lines.extend([&integrity.history, &integrity.log, &integrity.confidence].into_iter().flatten().cloned());
    page.list(lines.iter().map(|line| capital(line)));
    page.end();
}

fn replica(page: &mut Page, report: &DrillReport) {
    let Some(replica) = &report.replica else { return };
    page.section("The replica at the end", "");
    let word = match replica.converged {
        Some(true) => format!("<span class=\"good\">{}</span>", replica.word),
        Some(false) => format!("<span class=\"bad\">{}</span>", replica.word),
        None => format!("<b>{}</b>", replica.word),
    };
    page.raw(format!("<p>{word}: {}.</p>", escape(&format!("{}{}", replica.sentence, replica.ids()))));
    page.end();
}

fn restore(page: &mut Page, report: &DrillReport) {
    if let Some(restore) = &report.restore {
        page.section("The restore", "");
        page.facts([
            ("Recovery point".to_owned(), restore.point.clone()),
            ("Source".to_owned(), restore.source.clone()),
            ("Of".to_owned(), time(restore.snapshot_time)),
            ("Restored".to_owned(), restore.amount()),
            ("Size".to_owned(), bytes(restore.bytes)),
            ("Proof".to_owned(), restore.proof.clone()),
        ]);
        if let Some(forecast) = &restore.forecast {
            page.raw(format!(
                "<p>At today's size of {}, from the fault to usable: about <b>{}</b>. <span class=\"dim\">It rests on {}.</span></p>",
                bytes(forecast.bytes),
                seconds(forecast.seconds),
                escape(&forecast.rests_on)
            ));
        }
        page.end();
    }
    if !report.checks.is_empty() {
        page.section("Checks", "");
        page.table(
            ["", "check", "seen"],
            report.checks.iter().map(|check| {
                let word = match check.ok {
                    Some(true) => chip(Some("met")).replace(" met", " true"),
                    Some(false) => chip(Some("missed")).replace(" missed<", " not true<"),
                    None => chip(Some("undecided")).replace(" undecided<", " not found out<"),
                };
                [word, escape(&check.name), escape(&check.detail)]
            }),
        );
        page.end();
    }
}

/// Who saw what, where more than one looked.
fn observers(page: &mut Page, report: &DrillReport) {
    if report.observers.len() < 2 {
        return;
    }
    page.section("Observers", "Each is judged, and the worst one decides.");
    page.table(
        ["", "observer", "saw", ">recovery time", ">stood still", "clock"],
        report.observers.iter().map(|observer| {
            [
                chip(observer.verdict.as_deref()),
                format!("{}<br><span class=\"dim\">{}</span>", escape(&observer.name), escape(&observer.place)),
                escape(&observer.sentence),
                observer.recovery_time.map_or_else(|| "–".to_owned(), |time| time.to_string()),
                seconds(observer.stalled),
                escape(&observer.clock_words()),
            ]
        }),
    );
    page.end();
}

fn probes(page: &mut Page, report: &DrillReport) {
    observers(page, report);
    page.section("Probes", "");
    page.table(
        ["stream", ">every", ">due", ">answered", ">refused", ">silent", ">not sent", ">recovery time", "in words"],
        report.streams.iter().map(|stream| {
            let judged = if stream.judged { "" } else { " <span class=\"dim\">(shown only)</span>" };
            let said: Vec<String> =
                stream.said.iter().map(|(text, times)| format!("{} × {text}", count(*times))).collect();
            let said = if said.is_empty() {
                String::new()
            } else {
                format!("<br><span class=\"dim\">{}</span>", escape(&said.join("; ")))
            };
            let error = stream
                .error
                .map(|error| format!("<br><span class=\"dim\">error {}</span>", escape(&error.words())))
                .unwrap_or_default();
            [
                format!(
                    "{}{judged}<br><span class=\"dim\">{}, by {}</span>",
                    escape(&stream.name),
                    escape(&stream.what),
                    escape(&stream.observer)
                ),
                aim(stream.every),
                count(stream.due),
                count(stream.good),
                count(stream.refused),
                count(stream.silent),
                count(stream.not_sent),
                stream.recovery_time.map_or_else(|| "–".to_owned(), |time| time.to_string()),
                format!("{}{error}{said}", escape(&stream.recovery)),
            ]
        }),
    );
    page.end();
    steady(page, report);
}

fn steady(page: &mut Page, report: &DrillReport) {
    let steady = &report.steady;
    page.section("Steady state", &format!("Wanted: {}.", steady.rule.join(", ")));
    let millis = |value: Option<f64>| value.map_or_else(|| "a failure".to_owned(), |value| seconds(value / 1e3));
    let rows = |rows: &[crate::report::drill::SteadyRow], when: &str| -> Vec<[String; 8]> {
        let row = |row: &crate::report::drill::SteadyRow| {
            [
                when.to_owned(),
                escape(&row.stream),
                count(row.probes),
                count(row.failures),
                millis(row.p50_ms),
                millis(row.p95_ms),
                millis(row.p99_ms),
                format!("{}", row.per_second),
            ]
        };
        rows.iter().map(row).collect()
    };
    let all = rows(&steady.before, "before").into_iter().chain(rows(&steady.after, "after"));
    page.table(["when", "stream", ">probes", ">failed", ">P50", ">P95", ">P99", ">a second"], all);
    page.list(steady.missed_before.iter().map(|why| format!("Not met before: {why}")));
    page.list(steady.missed_after.iter().map(|why| format!("Not met afterwards: {why}")));
    page.end();
}

fn safety(page: &mut Page, report: &DrillReport) {
    let cleanup = &report.cleanup;
    page.section("Cleanup", "");
    let class = if cleanup.proven { "good" } else { "bad" };
    page.raw(format!("<p class=\"{class}\">{}</p>", escape(&capital(&cleanup.sentence))));
    if !cleanup.healed.is_empty() {
        page.table(
            ["", "what was undone", "seen afterwards"],
            cleanup.healed.iter().map(|row| {
                let word = match (row.proven, row.nothing_to_undo) {
                    (false, _) => "<span class=\"bad\">NOT proven</span>",
                    (true, true) => "<span class=\"dim\">nothing to undo</span>",
                    (true, false) => "<span class=\"good\">proven</span>",
                };
                [word.to_owned(), escape(&row.what), escape(&row.detail)]
            }),
        );
    }
    page.end();
    let radius = &report.blast_radius;
    page.section("Blast radius and guards", "");
    let phase = radius.phase.map_or_else(|| "–".to_owned(), seconds);
    page.facts([
        ("Planned".to_owned(), none(&radius.planned)),
        ("Touched".to_owned(), none(&radius.touched)),
        ("Matched".to_owned(), count(radius.candidates)),
        ("Cap".to_owned(), radius.cap.clone()),
        ("Random wait before".to_owned(), phase),
        ("Way back".to_owned(), radius.undo.clone()),
    ]);
    if !report.guards.is_empty() {
        page.raw("<p></p>");
        page.table(
            ["guard", "said", "looked at"],
            report.guards.iter().map(|guard| {
                let class = if guard.said == "allowed" { "good" } else { "bad" };
                [escape(&guard.name), format!("<span class=\"{class}\">{}</span>", guard.said), escape(&guard.detail)]
            }),
        );
    }
    page.end();
    budget(page, report);
}

fn none(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn budget(page: &mut Page, report: &DrillReport) {
    let Some(budget) = &report.error_budget else { return };
    page.section("Error budget", "");
    page.raw(format!(
        "<p>{} down of the {} that {} over {} days allow: <b>{} to {}</b> of the budget.</p>",
        budget.down_seconds,
        seconds(budget.budget_seconds),
        percent(budget.availability),
        budget.days,
        percent(budget.burned.low),
        percent(budget.burned.high)
    ));
    if let Some(affected) = budget.affected_words() {
        page.raw(format!("<p>{}.</p>", escape(&affected)));
    }
    page.end();
}

fn actions(page: &mut Page, report: &DrillReport) {
    if !report.actions.is_empty() {
        page.section(
            "Actions",
            "An action is closed by a later valid run of the same scenario that meets its objectives.",
        );
        page.table(
            ["severity", "what", "owner", "due", "again with"],
            report.actions.iter().map(|action| {
                let owner = action.owner.clone().unwrap_or_else(|| "nobody yet".to_owned());
                [
                    action.severity.clone(),
                    escape(&action.what),
                    escape(&owner),
                    action.due.map_or_else(|| "–".to_owned(), |due| due.to_string()),
                    format!("<code>davit drill {}</code>", escape(&action.retest)),
                ]
            }),
        );
        page.end();
    }
    if !report.steps.is_empty() {
        page.section("What was done", "");
        page.table(
            [">at", ">took", "step", "seen"],
            report.steps.iter().map(|step| {
                let mark = if step.ok { "" } else { "<span class=\"bad\">failed</span> " };
                [seconds(step.at), seconds(step.seconds), format!("{mark}{}", escape(&step.what)), escape(&step.detail)]
            }),
        );
        page.end();
    }
    if !report.surprises.is_empty() {
        page.section("What was not expected", "");
        page.list(report.surprises.iter().map(|line| capital(line)));
        page.end();
    }
    page.section("Validity", "");
    page.raw(format!("<p>This run is <b>{}</b>.</p>", report.validity.word));
    page.list(report.validity.why.iter().map(|line| capital(line)));
    page.raw("<p class=\"lead\">What the figures do not say:</p>");
    page.list(report.validity.limits.iter().map(|line| capital(line)));
    page.end();
}

fn identity(page: &mut Page, report: &DrillReport) {
    let identity = &report.identity;
    page.section("Identity", "");
    let mut facts = vec![
        ("Run".to_owned(), report.run.to_string()),
        ("Scenario".to_owned(), identity.scenario.clone()),
        ("Scenario hash".to_owned(), identity.scenario_sha256.to_string()),
        ("Target".to_owned(), identity.target.clone()),
        ("Seed".to_owned(), identity.seed.to_string()),
        ("Operator".to_owned(), identity.operator.clone().unwrap_or_else(|| "not said".to_owned())),
        ("Approved by".to_owned(), identity.approver.clone().unwrap_or_else(|| "nobody was asked".to_owned())),
        ("Owner".to_owned(), identity.owner.clone().unwrap_or_else(|| "nobody yet".to_owned())),
        ("Tool".to_owned(), identity.tool.clone()),
    ];
    facts.extend(identity.versions.iter().map(|(name, value)| (name.clone(), value.clone())));
    facts.extend(report.files.iter().map(|file| ("Made from".to_owned(), file.words())));
    page.facts(facts);
    page.end();
    page.raw(format!(
        "<footer>Made from the journal of run {0} alone; <code>davit report drill {0}</code> makes it again, and \
         <code>davit report check FILE</code> checks its signature.</footer>",
        report.run
    ));
}
