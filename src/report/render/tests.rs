//! Every form of the reports of the four ends and of a month.

use super::*;
use crate::report::drill::StepRow;
use crate::report::drill::tests::{Made, four};
use crate::report::month::tests::november;
use std::time::Duration;

/// Whether tags are closed in order, attributes quoted and entities known: what a strict parser of XML asks for.
fn strict(xml: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").ok_or("no declaration")?;
    let mut roots = 0;
    while let Some(at) = rest.find('<') {
        entities(&rest[..at])?;
        let end = rest[at..].find('>').ok_or("a tag does not end")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("{name} is closed out of order"));
            }
            continue;
        }
        let alone = tag.ends_with('/');
        let body = tag.trim_end_matches('/');
        let name = body.split_whitespace().next().ok_or("a tag has no name")?;
        attributes(&body[name.len()..])?;
        roots += u32::from(open.is_empty());
        if !alone {
            open.push(name);
        }
    }
    if !open.is_empty() || roots != 1 || !rest.trim().is_empty() {
        return Err(format!("{open:?} stay open, {roots} roots"));
    }
    Ok(())
}

fn attributes(mut text: &str) -> Result<(), String> {
    let mut names = Vec::new();
    while !text.trim().is_empty() {
        let (name, value) = text.trim_start().split_once("=\"").ok_or_else(|| format!("{text:?} is no attribute"))?;
        let (value, rest) = value.split_once('"').ok_or("an attribute does not end")?;
        if names.contains(&name) || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("attribute {name:?}"));
        }
        names.push(name);
        entities(value)?;
        text = rest;
    }
    Ok(())
}

fn entities(text: &str) -> Result<(), String> {
    for part in text.split('&').skip(1) {
        if !["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|known| part.starts_with(known)) {
            return Err(format!("entity &{part}"));
        }
    }
    if text.contains('<') { Err("a bare <".to_owned()) } else { Ok(()) }
}

#[test]
fn junit_is_taken_by_a_strict_parser_whatever_texts_come() {
    for (_, made) in four() {
        let mut report = made.report();
        report.identity.title = "<\"&'> \u{1} ]]>".to_owned();
        report.objectives[0].sentence = "\u{0}<![CDATA[".to_owned();
        strict(&drill(&report, Form::Junit).unwrap()).unwrap();
    }
    strict(&month(&november(), Form::Junit).unwrap()).unwrap();
}

#[test]
fn each_end_is_what_junit_calls_it() {
    let counts = four().map(|(_, made)| {
        let xml = drill(&made.report(), Form::Junit).unwrap();
        (xml.matches("<failure").count(), xml.matches("<error").count())
    });
    assert_eq!((counts[0], counts[3].0), ((0, 0), 0));
    assert!(counts[1].0 >= 2 && counts[2].1 >= 1 && counts[3].1 >= 1, "{counts:?}");
}

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

#[test]
#[ignore = "writes pages to look at: cargo test --lib pages_to_look_at -- --ignored"]
fn pages_to_look_at() {
    let folder = std::env::temp_dir().join("davit-reports");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, made) in four() {
        let report = made.report();
        for form in Form::ALL {
            std::fs::write(folder.join(format!("{name}.{}", form.extension())), drill(&report, form).unwrap()).unwrap();
        }
    }
    for form in Form::ALL {
        std::fs::write(folder.join(format!("month.{}", form.extension())), month(&november(), form).unwrap()).unwrap();
    }
}
