//! What was measured beside what was wanted, as one bar.

use super::scale::Scale;
use crate::report::drill::Bounds;
use crate::report::words::aim;
use std::fmt::Write as _;

const WIDTH: f64 = 300.0;

/// A bar from nothing to beyond the larger of both, the objective as a line, the measured interval as a block.
pub(super) fn gauge(objective: f64, actual: Bounds, word: &str) -> String {
    let until = (objective.max(actual.high) * 1.15).max(1e-3);
    let scale = Scale { from: 0.0, until, start: 2.0, size: WIDTH - 4.0 };
    let (low, high, wanted) = (scale.at(actual.low), scale.at(actual.high), scale.at(objective));
    let mut svg = format!(
        "<svg class=\"gauge\" viewBox=\"0 0 {WIDTH} 44\" role=\"img\" aria-label=\"{actual}, wanted at most {}\">",
        aim(objective)
    );
    // Writing to a String cannot fail.
    let _ignored =
        write!(svg, "<rect class=\"track\" x=\"2\" y=\"6\" width=\"{:.1}\" height=\"14\" rx=\"3\"/>", WIDTH - 4.0);
    let _ignored = write!(
        svg,
        "<rect class=\"{word}\" opacity=\".35\" x=\"2\" y=\"6\" width=\"{:.1}\" height=\"14\" rx=\"3\"/>",
        (low - 2.0).max(0.0)
    );
    let _ignored = write!(
        svg,
        "<rect class=\"{word}\" x=\"{:.1}\" y=\"6\" width=\"{:.1}\" height=\"14\" rx=\"2\"/>",
        low,
        (high - low).max(3.0)
    );
    let _ignored = write!(svg, "<line class=\"target\" x1=\"{wanted:.1}\" x2=\"{wanted:.1}\" y1=\"1\" y2=\"25\"/>");
    let (anchor, x) = if wanted > WIDTH * 0.6 { ("end", wanted.min(WIDTH - 2.0)) } else { ("start", wanted) };
    let _ignored = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"39\" text-anchor=\"{anchor}\">wanted at most {}</text></svg>",
        aim(objective)
    );
    svg
}
