//! The phases of a recovery, one under the other, over one time axis. What is not certain of a bar is drawn lighter.

use super::super::escape;
use super::scale::{Scale, moments};
use crate::report::drill::{DrillReport, PhaseRow};
use std::fmt::Write as _;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 170.0;
const ROW: f64 = 26.0;
/// How many times what was measured the axis is long at most.
const MOST: f64 = 3.0;

/// The waterfall as a figure; nothing where no phase is known.
pub(super) fn figure(report: &DrillReport) -> String {
    if report.phases.is_empty() {
        return String::new();
    }
    let zero = report.timeline.iter().find(|moment| moment.symbol == "t1").and_then(|moment| moment.at);
    let zero = zero.map_or(0.0, |at| at.low);
    let from = report.phases.iter().map(|phase| phase.from.low).fold(zero, f64::min);
    let until = last(report, zero, from);
    let x = Scale { from, until, start: LEFT, size: WIDTH - LEFT - RIGHT };
    let rows = report.phases.len();
    #[expect(clippy::cast_precision_loss, reason = "a handful of phases")]
    let bottom = ROW * rows as f64 + 6.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"phases of the recovery\">",
        bottom + 26.0
    );
    for (at, text) in moments(from, until, zero, 8) {
        let place = x.at(at);
        // Writing to a String cannot fail.
        let _ignored = write!(svg, "<path class=\"axis\" d=\"M{place:.1} 2V{bottom:.1}\"/>");
        let _ignored =
            write!(svg, "<text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", bottom + 16.0);
    }
    for (number, phase) in report.phases.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a handful of phases")]
        let top = ROW * number as f64 + 4.0;
        bar(&mut svg, phase, &x, top);
        theory(&mut svg, phase, &x, top);
    }
    svg.push_str("</svg>");
    let mut theories: Vec<String> = report
        .theories()
        .map(|(phase, theory)| format!("<li>{}: {}</li>", escape(phase), escape(&theory.words())))
        .collect();
    let mut line = "";
    if !theories.is_empty() {
        theories.insert(0, "<ul>".to_owned());
        theories.push("</ul>".to_owned());
        line = " The line below a bar is how long it can take by its settings.";
    }
    let theories = theories.concat();
    let overlap = report.overlap_words().map(|words| format!(" Of the restore, {words}.")).unwrap_or_default();
    format!(
        "<figure class=\"figure\"><figcaption>Since the proven fault. Blue counts towards the recovery time, grey lies beside it; \
         lighter ends are the error of the measurement.{overlap}{line}</figcaption>{svg}{theories}</figure>"
    )
}

/// Where the axis ends. What could have taken many times as long would leave no room for what was measured.
fn last(report: &DrillReport, zero: f64, from: f64) -> f64 {
    let measured = report.phases.iter().map(|phase| phase.until.high).fold(zero, f64::max);
    let allowed = report.phases.iter().filter_map(|phase| Some(phase.from.low + phase.theory.as_ref()?.allowed.high));
    allowed.fold(measured, f64::max).min(from + (measured - from) * MOST)
}

/// A thin line below a bar: from how long it takes at best to how long it takes at worst, with an end where it has one.
fn theory(svg: &mut String, phase: &PhaseRow, x: &Scale, top: f64) {
    let Some(theory) = &phase.theory else { return };
    let (best, worst) = (phase.from.low + theory.allowed.low, phase.from.low + theory.allowed.high);
    let (from, until, y) = (x.at(best.min(x.until)), x.at(worst.min(x.until)), top + 21.0);
    let end = if worst > x.until { String::new() } else { format!("M{until:.1} {:.1}v5", y - 2.5) };
    let _ignored =
        write!(svg, "<path class=\"theory\" d=\"M{from:.1} {:.1}v5M{from:.1} {y:.1}H{until:.1}{end}\"/>", y - 2.5);
}

fn bar(svg: &mut String, phase: &PhaseRow, x: &Scale, top: f64) {
    let (solid, unsure) = if phase.counts { ("span", "unsure") } else { ("soft", "softunsure") };
    let middle = top + 15.0;
    let _ignored = write!(
        svg,
        "<text class=\"ink\" x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>",
        LEFT - 10.0,
        escape(&phase.name)
    );
    let (from, until) = (x.at(phase.from.low), x.at(phase.until.high));
    let _ignored = write!(
        svg,
        "<rect class=\"{unsure}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"18\" rx=\"2\"/>",
        (until - from).max(2.0)
    );
    let (sure_from, sure_until) = (x.at(phase.from.high), x.at(phase.until.low));
    if sure_until > sure_from {
        let width = x.length(phase.until.low - phase.from.high).max(1.0);
        let _ignored = write!(
            svg,
            "<rect class=\"{solid}\" x=\"{sure_from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"18\" rx=\"2\"/>"
        );
    }
    label(svg, &phase.length.to_string(), (from, until.max(from + 2.0)), middle);
}

/// How wide a letter of a label is, on the safe side.
const LETTER: f64 = 7.2;

/// Writes beside a bar how long it is: behind it, before it, or in it, where there is room.
fn label(svg: &mut String, text: &str, (from, until): (f64, f64), middle: f64) {
    #[expect(clippy::cast_precision_loss, reason = "a few letters")]
    let width = text.chars().count() as f64 * LETTER + 8.0;
    let (at, anchor, class) = if until + width <= WIDTH {
        (until + 8.0, "start", "")
    } else if from - width >= LEFT {
        (from - 8.0, "end", "")
    } else {
        (until - 8.0, "end", "ink")
    };
    let _ignored = write!(
        svg,
        "<text class=\"{class}\" x=\"{at:.1}\" y=\"{middle:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(text)
    );
}
