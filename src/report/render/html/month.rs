//! The page of a month.

use super::super::escape;
use super::scale::{Scale, durations};
use super::{Page, chip, document};
use crate::humane::time;
use crate::report::month::{Cell, MonthReport, Plot};
use crate::report::words::{aim, seconds};
use std::fmt::Write as _;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 16.0;
const RIGHT: f64 = 150.0;

/// The whole file.
pub(in crate::report::render) fn month(report: &MonthReport) -> String {
    let mut page = Page::default();
    page.raw("<header>");
    page.raw("<p class=\"kicker\">Monthly report</p>");
    page.raw(format!("<h1>Drills of {}</h1>", escape(&report.month)));
    let tally = &report.tally;
    let worst = match (tally.run, tally.missed, tally.invalid + tally.undecided + tally.aborted + tally.unfinished) {
        (0, ..) => "none",
        (_, 1.., _) => "missed",
        (_, _, 1..) => "undecided",
        _ => "met",
    };
    page.raw(format!("<div class=\"verdict {worst}\"><p>{}</p></div>", escape(&capital(&report.sentence))));
    page.raw("</header>");
    coverage(&mut page, report);
    plots(&mut page, report);
    actions(&mut page, report);
    backups(&mut page, report);
    page.section(
        "How sure",
        "Without assuming how recovery times are distributed. There is no average here and no trend.",
    );
    page.list(&report.confidence);
    page.list(
        report
            .budgets
            .iter()
            .map(|budget| format!("Error budget used by drills of {}", MonthReport::budget_words(budget))),
    );
    page.end();
    page.section(
        "Slower than before",
        "One rank test, fixed beforehand: the last three recoveries of a series against at least five before them. A series is one scenario against one version and one set of settings of its target.",
    );
    page.list(report.regressions.iter().map(|regression| capital(&regression.words())));
    page.end();
    drills(&mut page, report);
    page.raw(format!("<footer>Made from the stored reports and recovery points; <code>davit report month {}</code> makes it again.</footer>", report.month));
    document(&format!("Drills of {}", report.month), &page.0)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn coverage(page: &mut Page, report: &MonthReport) {
    let coverage = &report.coverage;
    page.section(
        "Coverage",
        &format!("The last valid run of each fault on each service, and on each source of backups that no drill restored. Stale after {} days without one; missing is shown as missing.", coverage.stale_after_days),
    );
    page.raw("<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th>");
    for service in &coverage.services {
        page.raw(format!("<th scope=\"col\">{}</th>", escape(service)));
    }
    page.raw("</tr></thead><tbody>");
    for (fault, cells) in coverage.faults.iter().zip(&coverage.cells) {
        let cells: String = cells
            .iter()
            .enumerate()
            .map(|(column, cell)| covered(cell.as_ref(), coverage.never_words(column)))
            .collect();
        page.raw(format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escape(fault)));
    }
    page.raw("</tbody></table></div>");
    if let Some(never) = coverage.never_drilled_words() {
        page.raw(format!("<p class=\"bad\">{}</p>", escape(&capital(&never))));
    }
    page.end();
}

fn covered(cell: Option<&Cell>, never: &str) -> String {
    let Some(cell) = cell else { return format!("<td class=\"never\">{never}</td>") };
    let day = cell.last.strftime("%-d %b %Y");
    let (class, note) =
        if cell.stale { (" class=\"stale\"", format!("{day} · stale")) } else { ("", day.to_string()) };
    format!("<td{class}>{}<small>{note}</small></td>", chip(Some(&cell.word)))
}

fn plots(page: &mut Page, report: &MonthReport) {
    if report.plots.is_empty() {
        return;
    }
    page.section(
        "Against the objectives",
        "Each dot is one valid run, as wide as its error; the line is the objective. Earlier months are paler.",
    );
    for plot in &report.plots {
        page.raw(dots(plot));
    }
    page.end();
}

/// A row of dots over one axis.
fn dots(plot: &Plot) -> String {
    let (_, most) = plot.extremes();
    let marks = durations(most.max(plot.objective) * 1.05);
    let until = marks.last().map_or(1.0, |(last, _)| *last);
    let x = Scale { from: 0.0, until, start: LEFT, size: WIDTH - LEFT - RIGHT };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} 74\" role=\"img\" aria-label=\"{}\">", escape(&plot.words()));
    let right = WIDTH - RIGHT;
    // Writing to a String cannot fail.
    let _ignored = write!(svg, "<path class=\"axis\" d=\"M{LEFT} 46H{right}\"/>");
    for (value, label) in marks {
        let anchor = if value <= 0.0 { "start" } else { "middle" };
        let _ignored = write!(
            svg,
            "<path class=\"axis\" d=\"M{0:.1} 46v5\"/><text x=\"{0:.1}\" y=\"66\" text-anchor=\"{anchor}\">{label}</text>",
            x.at(value)
        );
    }
    let wanted = x.at(plot.objective);
    let _ignored = write!(svg, "<line class=\"target\" x1=\"{wanted:.1}\" x2=\"{wanted:.1}\" y1=\"6\" y2=\"50\"/>");
    let _ignored = write!(
        svg,
        "<text class=\"ink\" x=\"{:.1}\" y=\"16\">wanted at most {}</text>",
        wanted + 6.0,
        aim(plot.objective)
    );
    // Dots of one place lie in rows, so that each is seen.
    let mut rows: Vec<f64> = Vec::new();
    for dot in &plot.dots {
        let (low, high) = (x.at(dot.actual.low), x.at(dot.actual.high));
        let width = (high - low).max(9.0);
        let row = rows.iter().position(|end| *end + 2.0 < low).unwrap_or(rows.len());
        if row == rows.len() {
            rows.push(0.0);
        }
        rows[row] = low + width;
        #[expect(clippy::cast_precision_loss, reason = "a few rows of dots")]
        let y = 37.0 - (row % 4) as f64 * 10.0;
        let old = if dot.this_month { "" } else { " old" };
        let _ignored = write!(
            svg,
            "<rect class=\"{}{old}\" x=\"{low:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"8\" rx=\"4\"><title>{}, {}: {}</title></rect>",
            dot.word,
            y,
            escape(&dot.run),
            time(dot.began),
            dot.actual
        );
    }
    format!(
        "<figure class=\"figure\"><figcaption><b>{}</b> · {}</figcaption>{svg}</svg></figure>",
        escape(&plot.title),
        escape(&plot.words())
    )
}

fn actions(page: &mut Page, report: &MonthReport) {
    page.section(
        "Actions and re-tests",
        "A missed objective is due 14 days after its drill, what was undecided or invalid after 30; what was not put back, at once.",
    );
    if report.actions.is_empty() {
        page.raw("<p class=\"dim\">No action is open.</p>");
    } else {
        page.table(
            ["", "severity", "what", "owner", "since", "due", "re-test"],
            report.actions.iter().map(|action| {
                let class = if action.state == "open" { "bad" } else { "good" };
                [
                    format!("<span class=\"{class}\">{}</span>", action.state),
                    action.severity.clone(),
                    escape(&action.what),
                    escape(action.owner.as_deref().unwrap_or("nobody yet")),
                    action.since.strftime("%-d %b").to_string(),
                    if action.overdue {
                        format!("<span class=\"bad\">{}</span>", action.due_words())
                    } else {
                        action.due_words()
                    },
                    escape(&action.detail),
                ]
            }),
        );
    }
    page.end();
}

fn backups(page: &mut Page, report: &MonthReport) {
    page.section("Backups, and what proves that they can be restored", "");
    if report.backups.is_empty() {
        page.raw("<p class=\"dim\">The repository has no recovery points.</p>");
    } else {
        page.table(
            ["source", "recovery points", "restored and compared", "every object read", "restores in drills"],
            report.backups.iter().map(|health| {
                let restored = health.restored_words();
                let good = health.restored.as_ref().is_some_and(|proof| proof.ok);
                let class = if good { "good" } else { "bad" };
                let stored = health.stored.as_ref().map_or_else(
                    || "–".to_owned(),
                    |proof| {
                        let day = proof.when.strftime("%-d %b");
                        if proof.ok { day.to_string() } else { format!("<span class=\"bad\">damaged {day}</span>") }
                    },
                );
                let drilled: Vec<String> = health.drilled.iter().map(|bounds| seconds(bounds.high)).collect();
                let drilled =
                    if drilled.is_empty() { "none".to_owned() } else { format!("at most {}", drilled.join(", ")) };
                [
                    escape(&health.source),
                    escape(&health.words()),
                    format!("<span class=\"{class}\">{restored}</span>"),
                    stored,
                    drilled,
                ]
            }),
        );
    }
    page.end();
}

fn drills(page: &mut Page, report: &MonthReport) {
    page.section("Drills of the month", "");
    page.table(
        ["when, UTC", "verdict", "what", "in a sentence"],
        report.drills.iter().map(|drill| {
            let clean = if drill.clean { "" } else { "<br><span class=\"bad\">cleanup not proven</span>" };
            [
                format!(
                    "{}<br><span class=\"dim\"><code>{}</code></span>",
                    drill.began.strftime("%-d %b %H:%M"),
                    escape(&drill.run)
                ),
                format!("{}{clean}", chip(Some(&drill.word))),
                format!(
                    "{}<br><span class=\"dim\">{}, {}</span>",
                    escape(&drill.title),
                    escape(&drill.service),
                    escape(&drill.fault)
                ),
                escape(&capital(&drill.sentence)),
            ]
        }),
    );
    page.end();
}
