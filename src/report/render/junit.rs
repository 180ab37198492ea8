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
    Error(String),
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
            _ if !drill.clean => End::Error("cleanup is not proven".to_owned()),
            "met" => End::Passed,
            "missed" => End::Failure(drill.sentence.clone()),
            _ => End::Error(drill.sentence.clone()),
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
            Some(word) => End::Error(format!("{word}: {}", row.sentence)),
            None => End::Skipped("no objective was set".to_owned()),
        };
        let seconds = row.actual.map_or(0.0, |actual| actual.high);
        cases.push(Case { class: class.clone(), name: format!("{}{by}", row.name), seconds, end });
    }
    let end = if report.cleanup.proven { End::Passed } else { End::Error(report.cleanup.sentence.clone()) };
    cases.push(Case { class: class.clone(), name: "cleanup".to_owned(), seconds: 0.0, end });
    let end = match report.validity.word.as_str() {
        "valid" => End::Passed,
        word => End::Error(format!("{word}: {}", report.validity.why.join("; "))),
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
        count(|end| matches!(end, End::Error(_))),
        count(|end| matches!(end, End::Skipped(_))),
    );
    for case in cases {
        let (class, name) = (escape(&case.class), escape(&case.name));
        let _ignored = write!(xml, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\"", case.seconds);
        let _ignored = match &case.end {
            End::Passed => writeln!(xml, "/>"),
            End::Failure(why) => writeln!(xml, ">\n      <failure message=\"{}\"/>\n    </testcase>", escape(why)),
            End::Error(why) => writeln!(xml, ">\n      <error message=\"{}\"/>\n    </testcase>", escape(why)),
            End::Skipped(why) => writeln!(xml, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escape(why)),
        };
    }
    xml.push_str("  </testsuite>\n");
    xml
}
