//! Drills that are watched from elsewhere, too: by a second `davit observe`, which reaches the service another way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

mod cli_support;
mod drill_support;
mod network_support;
mod schema_support;
mod support;

use cli_support::Desk;
use drill_support::{STEADY, made_again, must_be_met, scenario, setting};
use network_support::Service;
use serde_json::{Value, json};
use support::free_port;

/// A service, and a proxy in front of it whose way the drill cuts. This machine goes to the service itself; whoever else
/// observes goes over the proxy.
struct World {
    service: Service,
    desk: Desk,
    listen: String,
}

impl World {
    fn new() -> Self {
        Self {
            service: Service::start("127.0.0.1"),
            desk: Desk::with_repository(),
            listen: format!("127.0.0.1:{}", free_port()),
        }
    }

    /// The arguments of a drill that is watched by this, too.
    fn arguments(&self, scheme: &str, command: &Value, set: &[&str]) -> Vec<String> {
        let slash = if scheme == "http" { "/" } else { "" };
        let observer = json!([{
            "name": "office",
            "command": command,
            "clients": format!("{scheme}://{}{slash}", self.listen),
        }]);
        let values = [
            format!("target.processes.clients={scheme}://{}{slash}", self.service.address),
            format!("target.processes.proxy.listen={}", self.listen),
            format!("target.processes.proxy.to={}", self.service.address),
            format!("observers={observer}"),
            "objectives.rpo=none".to_owned(),
            "fault.lasts=2s".to_owned(),
            // Other tests run beside it: how fast the service answers is not what these drills are about.
            STEADY.to_owned(),
            "limits.hold=3s".to_owned(),
            "limits.control_loop=200ms".to_owned(),
        ];
        let values: Vec<&str> = values.iter().map(String::as_str).chain(set.iter().copied()).collect();
        let fixed = ["drill".to_owned(), scenario("partition"), "--report".to_owned(), "reports".to_owned()];
        fixed.into_iter().chain(setting(values).into_iter().map(str::to_owned)).collect()
    }

    fn drill(&self, scheme: &str, command: &Value, set: &[&str]) -> (i32, Value) {
        let arguments = self.arguments(scheme, command, set);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, report) = drill_support::drill(&self.desk, &arguments);
        schema_support::must_be("drill", &report);
        made_again(&self.desk, &report);
        (code, report)
    }
}

/// A second process of this program.
fn observe() -> Value {
    json!([env!("CARGO_BIN_EXE_davit"), "observe", "--plan", "-"])
}

/// The same, of which only the first lines are heard.
fn heard_for(lines: u32) -> Value {
    json!(["sh", "-c", format!("{} observe --plan - | sed -u {lines}q", env!("CARGO_BIN_EXE_davit"))])
}

fn failed(report: &Value, observer: &str) -> u64 {
    let streams = report["streams"].as_array().unwrap().iter().filter(|stream| stream["observer"] == observer);
    streams.map(|stream| stream["refused"].as_u64().unwrap() + stream["silent"].as_u64().unwrap()).sum()
}

fn observer<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["observers"].as_array().unwrap();
    all.iter().find(|observer| observer["name"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[test]
fn an_outage_that_only_somebody_else_sees_decides_the_drill() {
    let world = World::new();
    let (code, report) = world.drill("http", &observe(), &["objectives.rto=6s", "fault.lasts=10s"]);
    assert_eq!((code, report["verdict"]["word"].as_str().unwrap()), (1, "missed"), "{:#}", report["verdict"]);
    let sentence = report["verdict"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("seen from office"), "{sentence}");
    let (own, office) = (observer(&report, "this machine"), observer(&report, "office"));
    assert_eq!((own["verdict"].as_str(), office["verdict"].as_str()), (Some("met"), Some("missed")), "{own:#}");
    assert!(failed(&report, "this machine") < 5 && failed(&report, "office") >= 5, "{:#}", report["streams"]);
    let time = &office["recovery_time"];
    let (low, high) = (time["low"].as_f64().unwrap(), time["high"].as_f64().unwrap());
    // It lasted ten seconds, and longer only where the machine was too busy to heal it in time.
    assert!(low > 6.0 && low <= high && (9.9..40.0).contains(&high), "[{low}, {high}]");
    // Two processes of one machine: their clocks are known to each other as well as a pipe is quick.
    let error = office["clock_error"].as_f64().unwrap();
    assert!(error > 0.0 && error < 0.25, "{error}");
    assert_eq!((own["whole"].as_bool(), office["whole"].as_bool()), (Some(true), Some(true)));
    let said = world.desk.davit(&["report", "drill", report["run"].as_str().unwrap()]);
    assert!(said.stdout.contains("observers (the worst one decides)"), "{}", said.stdout);
}

#[test]
fn an_outage_that_everybody_finds_short_enough_is_met_with_the_worse_figure() {
    let world = World::new();
    let (code, report) = world.drill("http", &observe(), &["objectives.rto=5m", "fault.name=network-cut"]);
    must_be_met(code, &report);
    assert!(report["verdict"]["sentence"].as_str().unwrap().contains("seen from office"), "{:#}", report["verdict"]);
    assert!(failed(&report, "office") >= 5, "{:#}", report["streams"]);
    let lines = world.desk.davit(&["report", "drill", report["run"].as_str().unwrap(), "--format", "html"]).stdout;
    assert!(lines.contains("Each is judged, and the worst one decides."), "{lines}");
}

#[test]
fn an_observer_that_is_heard_no_more_leaves_the_drill_undecided() {
    let world = World::new();
    // Some twenty lines a second: it is silenced after the steady state and before the end.
    let (code, report) = world.drill("http", &heard_for(330), &["objectives.rto=5m", "fault.lasts=10s"]);
    let verdict = report["verdict"]["word"].as_str().unwrap();
    // On a busy machine it may have been silenced before the fault: then nothing was broken.
    assert!(code == 6 && matches!(verdict, "undecided" | "invalid"), "{code}: {:#}", report["verdict"]);
    let office = observer(&report, "office");
    assert_eq!(office["whole"], false, "{office:#}");
    assert!(office["sentence"].as_str().unwrap().contains("it ended early"), "{office:#}");
    assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
}

#[test]
fn an_observer_that_does_not_observe_is_refused_before_anything_is_touched() {
    let world = World::new();
    for (command, text) in [
        (json!(["/nowhere/davit"]), "/nowhere/davit"),
        (json!(["sh", "-c", "echo Permission denied >&2; exit 255"]), "it said: Permission denied"),
        (json!(["echo", "Welcome"]), "no observer says: Welcome"),
        (json!([env!("CARGO_BIN_EXE_davit"), "observe", "--plan", "[]"]), "exit status: 2"),
    ] {
        let arguments = world.arguments("http", &command, &[]);
        let said = world.desk.davit(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(said.code, 3, "{command}: {}", said.stderr);
        assert!(
            said.stderr.contains("the observer office") && said.stderr.contains(text),
            "{command}: {}",
            said.stderr
        );
    }
    assert!(!world.desk.path().join("reports").exists());
    let said = world.desk.davit(&["chaos", "status"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    // What cannot be meant is said before that.
    let arguments = world.arguments("gopher", &observe(), &[]);
    let said = world.desk.davit(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 2, "{}", said.stderr);
}

#[test]
fn a_dry_run_says_who_will_observe_and_begins_nobody() {
    let world = World::new();
    let mut arguments = world.arguments("http", &json!(["/nowhere/davit"]), &[]);
    arguments.push("--dry-run".to_owned());
    let said = world.desk.davit(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("observer office, begun by /nowhere/davit: http://127.0.0.1:"), "{}", said.stdout);
}
