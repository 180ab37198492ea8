//! Every form of the reports of the four ends and of a month.

use super::*;
use crate::report::drill::StepRow;
use crate::report::drill::tests::{Made, four};
use crate::report::journal::{Event, LagSeen, Line};
use crate::report::month::tests::november;
use std::time::Duration;

#[test]
fn open_metrics_ends_as_it_must_and_repeats_no_sample() {
    let reports: Vec<_> = four().map(|(_, made)| made.report()).to_vec();
    let text = openmetrics::drills(&reports);
    assert!(text.ends_with("# EOF\n"));
    let mut samples: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    let all = samples.len();
    samples.sort_unstable();
    samples.dedup();
    assert_eq!(samples.len(), all);
    let types = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert!(types >= 5, "{text}");
}

#[test]
fn a_page_needs_no_network_and_no_script() {
    let mut pages: Vec<String> = four().map(|(_, made)| drill(&made.report(), Form::Html).unwrap()).to_vec();
    pages.push(month(&november(), Form::Html).unwrap());
    for page in pages {
        for outside in ["<script", "http://", "https://", "src=", "url(", "@import", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for (open, close) in [("<table", "</table>"), ("<div", "</div>"), ("<tr>", "</tr>")] {
            assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
        }
    }
}

#[test]
fn texts_of_others_are_no_markup() {
    let mut report = four()[0].1.report();
    report.identity.title = "<b onload=x>&\"'".to_owned();
    report.identity.why = "| a | [b](c) `d`".to_owned();
    let page = drill(&report, Form::Html).unwrap();
    assert!(!page.contains("<b onload"), "a title became markup");
    let markdown = drill(&report, Form::Markdown).unwrap();
    assert!(markdown.contains("\\| a \\| \\[b\\](c) \\`d\\`"), "{markdown}");
}

#[test]
fn the_steps_of_a_runbook_are_in_every_form_for_people() {
    let mut report = four()[0].1.report();
    let first = report.steps[0].clone();
    report.steps.push(StepRow { what: "move the name".to_owned(), ok: false, seconds: 2.5, ..first });
    for (form, failed) in [(Form::Text, "FAILED: move"), (Form::Markdown, "FAILED: move"), (Form::Html, ">failed<")] {
        let page = drill(&report, form).unwrap();
        for part in ["promote the standby", "on timeline 4", "34.10 s", "7.20 s", "2.50 s", failed] {
            assert!(page.contains(part), "{form:?} lacks {part:?}");
        }
    }
}

#[test]
fn what_was_not_expected_stands_under_its_own_words() {
    let mut report = four()[0].1.report();
    report.surprises = vec!["a second primary answered".to_owned()];
    for (form, title) in [
        (Form::Text, "what was not expected\n"),
        (Form::Markdown, "## What was not expected"),
        (Form::Html, "<h2>What was not expected"),
    ] {
        let page = drill(&report, form).unwrap();
        let (_, after) = page.split_once(title).unwrap_or_else(|| panic!("{form:?} has no {title}"));
        assert!(after.to_lowercase().contains("a second primary answered"), "{form:?}");
        assert_eq!(page.to_lowercase().matches("a second primary answered").count(), 1, "{form:?}");
    }
}

#[test]
fn a_day_of_probes_is_a_page_below_a_megabyte() {
    let day = Duration::from_hours(24);
    let report = Made { watched: day, lost: 0, ..Made::default() }.report();
    let page = drill(&report, Form::Html).unwrap();
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert!(report.json().unwrap().len() < 1_000_000);
    let names: Vec<&str> = report.series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["around the fault", "the whole drill"]);
}

#[test]
fn a_report_in_text_fits_a_terminal_and_leaves_nothing_out() {
    let mut pages: Vec<String> = four().map(|(_, made)| drill(&made.report(), Form::Text).unwrap()).to_vec();
    pages.push(month(&november(), Form::Text).unwrap());
    for line in pages.iter().flat_map(|page| page.lines()) {
        assert!(line.chars().count() <= page::WIDTH, "{line}");
    }
    for ((_, made), page) in four().into_iter().zip(&pages) {
        let (report, words) = (made.report(), page.split_whitespace().collect::<Vec<_>>());
        let known = report.timeline.iter().filter(|moment| moment.since_fault.is_some());
        let said = report.objectives.iter().flat_map(|row| [&row.sentence, &row.by]);
        let said = said.chain([&report.verdict.sentence]).chain(known.map(|moment| &moment.evidence));
        for word in said.flat_map(|text| text.split_whitespace()) {
            assert!(words.contains(&word), "{word} is not in {page}");
        }
    }
}

#[test]
fn a_drill_in_text_is_the_one_we_reviewed() {
    for (name, made) in four() {
        insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../../../tests/golden/report" }, {
            insta::assert_snapshot!(format!("drill-{name}"), drill(&made.report(), Form::Text).unwrap());
        });
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../../../tests/golden/report" }, {
        insta::assert_snapshot!("month", month(&november(), Form::Text).unwrap());
    });
}

#[test]
fn a_report_in_json_is_the_one_we_reviewed() {
    // The columns of graphs are many numbers, and have tests of their own.
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "../../../tests/golden/report" }, {
        for (name, made) in four() {
            insta::assert_json_snapshot!(format!("drill-{name}-json"), made.report(), {
                ".series[].streams" => "[columns]", ".series[].acknowledged" => "[columns]", ".series[].lost" => "[columns]",
            });
        }
        insta::assert_json_snapshot!("month-json", november());
    });
}

/// The drill that never was, whose standby fell behind before the fault and whose primary said nothing after it.
fn behind() -> DrillReport {
    let mut lines = Made::default().journal();
    let seen = (0..40_u64).filter(|second| !(25..=35).contains(second)).map(|second| LagSeen {
        at: lines[0].at + Duration::from_secs(second),
        bytes: Some(second * second * 9_000),
        millis: Some(second * 37),
    });
    let (lag, last) = (Event::Lag(seen.collect()), lines.len() - 1);
    let at = lines[last].at;
    lines.insert(last, Line { at, event: lag });
    super::super::drill::of(&lines).unwrap()
}

#[test]
fn a_standby_that_falls_behind_is_drawn_only_where_that_was_seen() {
    let (with, without) = (behind(), Made::default().report());
    let whole = &with.series[with.series.len() - 1];
    assert_eq!(whole.lag_bytes.iter().flatten().max(), Some(&(39 * 39 * 9_000)));
    let oldest = whole.lag_seconds.iter().flatten().copied().fold(0.0, f64::max);
    assert!((oldest - 39.0 * 0.037).abs() < 1e-6, "{oldest}");
    let html = |report: &DrillReport| drill(report, Form::Html).unwrap();
    assert_eq!(html(&with).matches("Replica lag: ").count(), with.series.len() * 2);
    assert!(html(&with).contains("20 MiB"), "its axis has round figures");
    assert!(!html(&without).contains("Replica lag: ") && without.series[0].lag_bytes.is_empty());
    // What nobody knew is left open: the line begins anew.
    let panel = html(&with);
    let line = panel.split("Replica lag: ").last().unwrap().split("<path class=\"seriesline s3\" d=\"").nth(1).unwrap();
    assert_eq!(line.split('"').next().unwrap().matches('M').count(), 2, "{line}");
}

#[test]
#[ignore = "soak: writes pages to look at: cargo test --lib pages_to_look_at -- --ignored"]
fn soak_pages_to_look_at() {
    let folder = std::env::temp_dir().join("davit-reports");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, made) in four() {
        let report = made.report();
        for form in Form::ALL {
            std::fs::write(folder.join(format!("{name}.{}", form.extension())), drill(&report, form).unwrap()).unwrap();
        }
    }
    std::fs::write(folder.join("lag.html"), drill(&behind(), Form::Html).unwrap()).unwrap();
    for form in Form::ALL {
        std::fs::write(folder.join(format!("month.{}", form.extension())), month(&november(), form).unwrap()).unwrap();
    }
}
