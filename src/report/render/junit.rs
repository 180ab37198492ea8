//! For a build server: a test case per scenario and objective. A miss is a failure; what proves nothing, and a cleanup that
//! is not proven, is an error; what nobody asked for is skipped.

use super::escape;
use crate::report::drill::DrillReport;
use crate::report::month::MonthReport;
use std::fmt::Write as _;

/// One test case.
struct Case {
    class: String,
    name: String,
    seconds: f64,
    end: End,
}

enum End {
    Passed,
    Failure(String),
    /// Of what kind, and why.
    Error(String, String),
    Skipped(String),
}

/// A suite per drill.
pub(super) fn drills(drills: &[DrillReport]) -> String {
    let suites: Vec<String> = drills.iter().map(suite).collect();
    document(&suites)
}

/// One suite, a case per drill.
pub(super) fn month(report: &MonthReport) -> String {
    let case = |drill: &crate::report::month::DrillLine| Case {
        class: drill.service.clone(),
        name: format!("{} ({})", drill.title, drill.run),
        seconds: 0.0,
        end: match drill.word.as_str() {
            _ if !drill.clean => End::Error("cleanup".to_owned(), "cleanup is not proven".to_owned()),
            "met" => End::Passed,
            "missed" => End::Failure(drill.sentence.clone()),
            word => End::Error(word.to_owned(), drill.sentence.clone()),
        },
    };
    let cases: Vec<Case> = report.drills.iter().map(case).collect();
    document(&[written(&format!("drills of {}", report.month), None, &cases)])
}

fn document(suites: &[String]) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{}</testsuites>\n", suites.concat())
}

fn suite(report: &DrillReport) -> String {
    let identity = &report.identity;
    let class = format!("{}.{}", identity.service, identity.fault);
    let mut cases: Vec<Case> = Vec::new();
    for row in &report.objectives {
        let by = if row.by.is_empty() { String::new() } else { format!(", {}", row.by) };
        let end = match row.verdict.as_deref() {
            Some("met") => End::Passed,
            Some("missed") => End::Failure(row.sentence.clone()),
            Some(word) => End::Error(word.to_owned(), format!("{word}: {}", row.sentence)),
            None => End::Skipped("no objective was set".to_owned()),
        };
        let seconds = row.actual.map_or(0.0, |actual| actual.high);
        cases.push(Case { class: class.clone(), name: format!("{}{by}", row.name), seconds, end });
    }
    let stuck = || End::Error("cleanup".to_owned(), report.cleanup.sentence.clone());
    let end = if report.cleanup.proven { End::Passed } else { stuck() };
    cases.push(Case { class: class.clone(), name: "cleanup".to_owned(), seconds: 0.0, end });
    let end = match report.validity.word.as_str() {
        "valid" => End::Passed,
        word => End::Error(word.to_owned(), format!("{word}: {}", report.validity.why.join("; "))),
    };
    cases.push(Case { class, name: "validity".to_owned(), seconds: 0.0, end });
    written(&identity.title, Some((identity.began.strftime("%Y-%m-%dT%H:%M:%S").to_string(), identity.seconds)), &cases)
}

fn written(name: &str, when: Option<(String, f64)>, cases: &[Case]) -> String {
    let count = |which: fn(&End) -> bool| cases.iter().filter(|case| which(&case.end)).count();
    let mut xml = String::new();
    let (stamp, time) = when.map_or((String::new(), String::new()), |(stamp, seconds)| {
        (format!(" timestamp=\"{stamp}\""), format!(" time=\"{seconds:.3}\""))
    });
    // Writing to a String cannot fail.
    let _ignored = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"{time}{stamp}>",
        escape(name),
        cases.len(),
        count(|end| matches!(end, End::Failure(_))),
        count(|end| matches!(end, End::Error(..))),
        count(|end| matches!(end, End::Skipped(_))),
    );
    for case in cases {
        let (class, name) = (escape(&case.class), escape(&case.name));
        let _ignored = write!(xml, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\"", case.seconds);
        let _ignored = match &case.end {
            End::Passed => writeln!(xml, "/>"),
            End::Failure(why) => within(&mut xml, "failure", Some("missed"), why),
            End::Error(kind, why) => within(&mut xml, "error", Some(kind), why),
            End::Skipped(why) => within(&mut xml, "skipped", None, why),
        };
    }
    xml.push_str("  </testsuite>\n");
    xml
}

/// How a case ended. Some readers of these files ask for the type of a failure.
fn within(xml: &mut String, end: &str, kind: Option<&str>, why: &str) -> std::fmt::Result {
    let kind = kind.map(|kind| format!(" type=\"{}\"", escape(kind))).unwrap_or_default();
    writeln!(xml, ">\n      <{end}{kind} message=\"{}\"/>\n    </testcase>", escape(why))
}
