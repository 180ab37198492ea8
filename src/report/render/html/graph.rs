//! Success, latency and acknowledged writes over one time axis, with fault and recovery marked.

use super::super::escape;
use super::lag;
use super::scale::{Scale, moments, round_up};
use crate::report::drill::{Bounds, DrillReport};
use crate::report::series::{Series, StreamSeries};
use std::fmt::Write as _;

pub(super) const WIDTH: f64 = 1000.0;
pub(super) const LEFT: f64 = 62.0;
pub(super) const RIGHT: f64 = 14.0;
const TOP: f64 = 24.0;
const GAP: f64 = 26.0;
const SUCCESS: f64 = 78.0;
const LATENCY: f64 = 104.0;
const WRITES: f64 = 78.0;

/// What is marked: where, how, and the word beside it.
struct Marker {
    at: Bounds,
    class: &'static str,
    label: &'static str,
    /// Whether its word stands to the left of it.
    left: bool,
}

/// The graph of one series as a figure.
pub(super) fn figure(report: &DrillReport, series: &Series) -> String {
    let buckets = series.streams.iter().map(|stream| stream.good.len()).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred buckets")]
    let until = series.from + series.step * buckets as f64;
    let x = Scale { from: series.from, until, start: LEFT, size: WIDTH - LEFT - RIGHT };
    let has_writes = series.acknowledged.iter().any(|count| *count > 0);
    let height = TOP + SUCCESS + GAP + LATENCY + if has_writes { GAP + WRITES } else { 0.0 } + 26.0;
    let lags = lag::panels(series);
    let height = height + lags.iter().map(|_| GAP + lag::HEIGHT).sum::<f64>();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"success, latency, writes and replica lag over time\">"
    );
    let mut top = TOP;
    success(&mut svg, series, &x, top);
    top += SUCCESS + GAP;
    latency(&mut svg, series, &x, top);
    top += LATENCY;
    if has_writes {
        top += GAP;
        writes(&mut svg, series, &x, top);
        top += WRITES;
    }
    for panel in &lags {
        top += GAP;
        panel.draw(&mut svg, series, &x, top);
        top += lag::HEIGHT;
    }
    markers(&mut svg, report, &x, top);
    axis(&mut svg, report, &x, top);
    svg.push_str("</svg>");
    let step = crate::report::words::aim(series.step);
    format!(
        "<figure class=\"figure\"><figcaption>{}: one column is {step}</figcaption>{}{svg}</figure>",
        escape(&capital(&series.name)),
        legend(series, has_writes)
    )
}

/// How many colours the style sheet has for streams.
const COLOURS: usize = 6;

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn legend(series: &Series, has_writes: bool) -> String {
    let mut legend = String::from("<div class=\"legend\">");
    for (at, stream) in series.streams.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ignored = write!(legend, "<span><i class=\"l{}\"></i>{}</span>", at % COLOURS, escape(&stream.stream));
    }
    if has_writes {
        legend.push_str("<span><i class=\"lacks\"></i>acknowledged writes</span>");
        if series.lost.iter().any(|count| *count > 0) {
            legend.push_str("<span><i class=\"llost\"></i>of these lost</span>");
        }
    }
    legend + "</div>"
}

/// The place of a bucket's beginning.
pub(super) fn place(series: &Series, x: &Scale, bucket: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred buckets")]
    let offset = series.step * bucket as f64;
    x.at(series.from + offset)
}

pub(super) fn frame(svg: &mut String, top: f64, height: f64, title: &str, ticks: &[(f64, String)]) {
    let right = WIDTH - RIGHT;
    let _ignored = write!(svg, "<text class=\"ink strong\" x=\"{LEFT}\" y=\"{:.1}\">{title}</text>", top - 8.0);
    for (y, text) in ticks {
        let _ignored = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {y:.1}H{right}\"/>");
        let _ignored =
            write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, y + 4.0);
    }
    let _ignored = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {:.1}V{:.1}\"/>", top, top + height);
}

fn success(svg: &mut String, series: &Series, x: &Scale, top: f64) {
    let y = |share: f64| top + (1.0 - share) * SUCCESS;
    let ticks = [(y(1.0), "100 %".to_owned()), (y(0.5), "50 %".to_owned()), (y(0.0), "0 %".to_owned())];
    frame(svg, top, SUCCESS, "Answered probes", &ticks);
    shade(svg, series, x, (top, SUCCESS), "down", |stream, at| stream.bad.get(at).is_some_and(|bad| *bad > 0));
    shade(svg, series, x, (top, SUCCESS), "gap", |stream, at| {
        let none = |counts: &[u32]| counts.get(at).is_none_or(|count| *count == 0);
        none(&stream.good) && none(&stream.bad)
    });
    for (number, stream) in series.streams.iter().enumerate() {
        let mut path = String::new();
        let mut before = None;
        for at in 0..stream.good.len() {
            let (good, bad) = (f64::from(stream.good[at]), f64::from(stream.bad[at]));
            let share = (good + bad > 0.0).then(|| good / (good + bad));
            let left = place(series, x, at);
            let moved = match (before, share) {
                (Some(old), Some(new)) if f64::abs(old - new) < f64::EPSILON => String::new(),
                (Some(_), Some(new)) => format!("H{left:.1}V{:.1}", y(new)),
                (None, Some(new)) => format!("M{left:.1} {:.1}", y(new)),
                (Some(_), None) => format!("H{left:.1}"),
                (None, None) => String::new(),
            };
            path.push_str(&moved);
            before = share;
        }
        if before.is_some() {
            let _ignored = write!(path, "H{:.1}", place(series, x, stream.good.len()));
        }
        let _ignored = write!(svg, "<path class=\"seriesline s{}\" d=\"{path}\"/>", number % COLOURS);
    }
}

/// Marks the columns in which something holds for any stream, neighbours joined.
fn shade(
    svg: &mut String,
    series: &Series,
    x: &Scale,
    (top, height): (f64, f64),
    class: &str,
    holds: impl Fn(&StreamSeries, usize) -> bool,
) {
    let buckets = series.streams.iter().map(|stream| stream.good.len()).max().unwrap_or(0);
    let any = |at: usize| series.streams.iter().any(|stream| holds(stream, at));
    let mut at = 0;
    while at < buckets {
        let run = (at..buckets).take_while(|at| any(*at)).count();
        if run > 0 {
            let (left, right) = (place(series, x, at), place(series, x, at + run));
            let width = (right - left).max(1.5);
            let _ignored = write!(
                svg,
                "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
        }
        at += run.max(1);
    }
}

/// Milliseconds on a logarithmic axis: the middle as a line, up to the slowest as a band.
fn latency(svg: &mut String, series: &Series, x: &Scale, top: f64) {
    let all = || series.streams.iter().flat_map(|stream| stream.p50_ms.iter().chain(&stream.max_ms)).flatten().copied();
    let least = all().fold(f64::MAX, f64::min).clamp(0.01, 1000.0);
    let most = all().fold(0.0, f64::max).max(least * 10.0);
    let (low, high) = (least.log10().floor(), most.log10().ceil());
    let y = |millis: f64| top + LATENCY * (1.0 - ((millis.max(1e-3).log10() - low) / (high - low)).clamp(0.0, 1.0));
    let mut ticks = Vec::new();
    let mut power = low;
    while power <= high {
        let millis = 10_f64.powf(power);
        ticks.push((
            y(millis),
            if millis >= 1000.0 { format!("{} s", millis / 1000.0) } else { format!("{millis} ms") },
        ));
        power += 1.0;
    }
    frame(svg, top, LATENCY, "Latency of answers: middle, up to the slowest", &ticks);
    for (number, stream) in series.streams.iter().enumerate() {
        let colour = number % COLOURS;
        let (mut bands, mut line, mut open) = (String::new(), String::new(), false);
        for at in 0..stream.p50_ms.len() {
            let (Some(p50), Some(max)) = (stream.p50_ms[at], stream.max_ms[at]) else {
                open = false;
                continue;
            };
            let (left, right) = (place(series, x, at), place(series, x, at + 1));
            let _ignored = write!(bands, "M{left:.1} {:.1}V{:.1}H{right:.1}V{:.1}Z", y(p50), y(max), y(p50));
            let _ignored =
                write!(line, "{}{:.1} {:.1}", if open { 'L' } else { 'M' }, f64::midpoint(left, right), y(p50));
            open = true;
        }
        let _ignored = write!(
            svg,
            "<path class=\"band f{colour}\" d=\"{bands}\"/><path class=\"seriesline s{colour}\" d=\"{line}\"/>"
        );
    }
}

fn writes(svg: &mut String, series: &Series, x: &Scale, top: f64) {
    let rate = |count: u32| f64::from(count) / series.step;
    let most = round_up(series.acknowledged.iter().map(|count| rate(*count)).fold(0.0, f64::max));
    let y = |rate: f64| top + WRITES * (1.0 - (rate / most).clamp(0.0, 1.0));
    let ticks = [most, most / 2.0, 0.0].map(|rate| (y(rate), format!("{rate}")));
    frame(svg, top, WRITES, "Acknowledged writes a second", &ticks);
    for (class, counts) in [("acks", &series.acknowledged), ("lost", &series.lost)] {
        let mut path = String::new();
        for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (left, right) = (place(series, x, at), place(series, x, at + 1));
            // Less than a dot would not be seen, and nothing that was lost may pass unseen.
            let height = (y(0.0) - y(rate(*count))).max(1.5);
            let _ignored = write!(path, "M{left:.1} {:.1}v-{height:.1}H{right:.1}v{height:.1}Z", y(0.0));
        }
        if !path.is_empty() {
            let _ignored = write!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
}

/// The instants worth a line: fault, restored, and validated where a restore ends with it.
fn marked(report: &DrillReport) -> Vec<Marker> {
    let at = |symbol: &str| report.timeline.iter().find(|moment| moment.symbol == symbol).and_then(|moment| moment.at);
    let mut markers = Vec::new();
    markers.extend(at("t1").map(|at| Marker { at, class: "fault", label: "fault", left: true }));
    markers.extend(at("t8").map(|at| Marker { at, class: "back", label: "restored", left: false }));
    if report.restore.is_some() {
        markers.extend(at("t9").map(|at| Marker { at, class: "back", label: "validated", left: false }));
    }
    markers
}

fn markers(svg: &mut String, report: &DrillReport, x: &Scale, bottom: f64) {
    let mut taken: Vec<f64> = Vec::new();
    for Marker { at, class, label, left } in marked(report) {
        if at.high < x.from || at.low > x.until {
            continue;
        }
        let (from, until) = (x.at(at.low), x.at(at.high));
        let top = TOP - 4.0;
        let _ignored = write!(
            svg,
            "<rect class=\"{class}band\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (until - from).max(1.0),
            bottom - top
        );
        let _ignored = write!(svg, "<path class=\"{class}\" fill=\"none\" d=\"M{from:.1} {top}V{bottom:.1}\"/>");
        // Two words never lie on each other: the later one moves aside.
        let near = taken.iter().filter(|other| (*other - until).abs() < 70.0).count();
        let y = 12;
        let shift = if !left && near > 0 { 66.0 } else { 0.0 };
        let (x_text, anchor) =
            if left && from > LEFT + 150.0 { (from - 4.0, "end") } else { (until + 4.0 + shift, "start") };
        let (x_text, anchor) = if x_text > WIDTH - 60.0 { (from - 4.0, "end") } else { (x_text, anchor) };
        let _ignored =
            write!(svg, "<text class=\"{class}\" x=\"{x_text:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>");
        if !left {
            taken.push(until);
        }
    }
}

fn axis(svg: &mut String, report: &DrillReport, x: &Scale, bottom: f64) {
    let fault = report.timeline.iter().find(|moment| moment.symbol == "t1").and_then(|moment| moment.at);
    let zero = fault.map_or(x.from, |at| at.low);
    for (at, text) in moments(x.from, x.until, zero, 12) {
        let place = x.at(at);
        let _ignored = write!(svg, "<path class=\"axis\" d=\"M{place:.1} {bottom:.1}v5\"/>");
        let anchor = if place > WIDTH - 30.0 { "end" } else { "middle" };
        let _ignored =
            write!(svg, "<text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>", bottom + 19.0);
    }
}
