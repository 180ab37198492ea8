//! Runs drills as a person does, on machines that may be busy elsewhere, and reads their reports.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use crate::cli_support::Desk;
use serde_json::Value;

/// The path of a scenario that we ship.
pub fn scenario(name: &str) -> String {
    format!("{}/scenarios/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// The arguments that set values of a scenario.
pub fn setting<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    values.into_iter().flat_map(|value| ["--set", value]).collect()
}

/// Runs `davit drill …`; its exit code and its report. A drill that finds the service unsteady, touches nothing and says so
/// is right, and no answer to what these tests ask: on a machine that is busy elsewhere it is run again.
pub fn drill(desk: &Desk, arguments: &[&str]) -> (i32, Value) {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        let (code, report) = drill_once(desk, arguments);
        let unsteady = report["verdict"]["sentence"].as_str().unwrap().contains("steady state");
        let touched = !report["blast_radius"]["touched"].as_array().unwrap().is_empty();
        if code != 6 || !unsteady || touched {
            return (code, report);
        }
    }
    drill_once(desk, arguments)
}

/// The same, whatever it finds.
pub fn drill_once(desk: &Desk, arguments: &[&str]) -> (i32, Value) {
    let (code, document) = desk.json(arguments);
    match document["drills"].as_array().map(Vec::as_slice) {
        Some([report]) => (code, report.clone()),
        _ => panic!("exit {code}, and not one report: {document:#}"),
    }
}

/// The drill met everything that was wanted; gives its word. Whether what is normal was there again right afterwards is also
/// the affair of a machine that is busy elsewhere: the report says so, and nothing else may have been missed.
pub fn must_be_met(code: i32, report: &Value) -> &str {
    let verdict = &report["verdict"];
    let rows = report["objectives"].as_array().unwrap();
    let (after, others): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["key"] == "steady-after");
    assert!(others.iter().all(|row| row["verdict"].is_null() || row["verdict"] == "met"), "{verdict:#} {others:#?}");
    let expected = if after.is_empty() { (0, "met") } else { (1, "missed") };
    assert_eq!((code, verdict["word"].as_str().unwrap()), expected, "{verdict:#}");
    expected.1
}

/// The row of an objective; of several paths the first one's.
pub fn row<'a>(report: &'a Value, key: &str) -> &'a Value {
    let rows = report["objectives"].as_array().unwrap();
    rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key} in {report:#}"))
}

/// How many writes are of a class.
pub fn class(report: &Value, name: &str) -> u64 {
    let classes = report["integrity"]["classes"].as_array().unwrap();
    classes.iter().find(|class| class["class"] == name).unwrap()["count"].as_u64().unwrap()
}

/// How many probes of all streams failed.
pub fn failed_probes(report: &Value) -> u64 {
    let failed = |stream: &Value| stream["refused"].as_u64().unwrap() + stream["silent"].as_u64().unwrap();
    report["streams"].as_array().unwrap().iter().map(failed).sum()
}

/// The stored journal alone gives the report that was written, byte for byte; its text.
pub fn made_again(desk: &Desk, report: &Value) -> String {
    let run = report["run"].as_str().unwrap();
    let again = desk.davit(&["report", "drill", run, "--format", "json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let written = std::fs::read_to_string(desk.path().join(format!("reports/drill-{run}.json"))).unwrap();
    assert_eq!(again.stdout, written);
    written
}
