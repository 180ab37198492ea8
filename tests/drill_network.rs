//! Drills over the network and over names, with processes of this machine: what is broken is the way to a web service.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]
#![allow(
    clippy::disallowed_methods,
    reason = "a service is told by its environment where to listen, and its supervisor waits"
)]

mod cli_support;
mod drill_support;
mod network_support;
mod schema_support;
mod support;

use cli_support::Desk;
use drill_support::{STEADY, failed_probes, must_be_met, scenario, setting};
use network_support::{Names, Service};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use support::free_port;
use support::pki::Pki;

/// Runs a drill in seconds; its exit code and its report.
fn drill(desk: &Desk, name: &str, set: &[String]) -> (i32, Value) {
    let path = scenario(name);
    // Other tests run beside it: how fast the service answers is not what these drills are about.
    let quick = [STEADY, "limits.hold=3s", "limits.control_loop=200ms"];
    let settings = setting(quick.into_iter().chain(set.iter().map(String::as_str)));
    let (code, report) = drill_support::drill(desk, &[&["drill", &path], &settings[..]].concat());
    // A real report is what its schema says, and so is the month that it is in.
    schema_support::must_be("drill", &report);
    let month = desk.json(&["report", "month", &report["identity"]["began"].as_str().unwrap()[..7]]).1;
    schema_support::must_be("month", &month);
    (code, report)
}

/// The figures of a path of users: low, high.
fn time(report: &Value, path: &str) -> (f64, f64) {
    let rows = report["objectives"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == "rto" && row["by"] == path);
    let row = row.unwrap_or_else(|| panic!("no {path} in {report:#}"));
    (row["actual"]["low"].as_f64().unwrap(), row["actual"]["high"].as_f64().unwrap())
}

/// The fault lasted for two seconds, and for longer only where the machine was too busy to heal it in time. How long at
/// least is known only as well as the observer was not stopped itself; that users felt it is said by their probes.
fn about_two_seconds(report: &Value, path: &str) {
    let (low, high) = time(report, path);
    assert!(low <= high && (1.9..20.0).contains(&high), "[{low}, {high}]");
    assert!(failed_probes(report) >= 3, "{:#}", report["streams"]);
}

#[test]
fn clients_that_hear_the_old_address_are_out_for_as_long_as_they_do() {
    let service = Service::start("127.0.0.1");
    let names = Names::start("shop.test", "127.0.0.1");
    let desk = Desk::with_repository();
    let set = [
        format!("target.processes.clients=http://shop.test:{}/", service.address.port()),
        format!("target.processes.resolver.listen=127.0.0.1:{}", free_port()),
        format!("target.processes.resolver.upstream={}", names.address),
        // Nobody listens there.
        "fault.with.before=127.0.0.9".to_owned(),
        "fault.lasts=2s".to_owned(),
    ];
    let (code, report) = drill(&desk, "dns-stale", &set);
    must_be_met(code, &report);
    about_two_seconds(&report, "new connections");
    // Who keeps a connection does not ask for the name again: what such a client felt is shorter than the fault.
    let (low, high) = time(&report, "kept connections");
    assert!(low < 1.0, "[{low}, {high}]");
    assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
    assert!(
        report["cleanup"]["healed"][0]["detail"].as_str().unwrap().contains("passed on"),
        "{:#}",
        report["cleanup"]
    );
    let streams = report["streams"].to_string();
    assert!(streams.contains("names from 127.0.0.1"), "{streams}");
}

#[test]
fn a_name_that_is_not_answered_is_seen_by_who_asks_for_it() {
    let names = Names::start("shop.test", "127.0.0.1");
    let desk = Desk::with_repository();
    let set = [
        "target.processes.clients=dns://shop.test".to_owned(),
        format!("target.processes.resolver.listen=127.0.0.1:{}", free_port()),
        format!("target.processes.resolver.upstream={}", names.address),
        "fault.name=dns-silent".to_owned(),
        "fault.with={}".to_owned(),
        "fault.lasts=2s".to_owned(),
    ];
    let (code, report) = drill(&desk, "dns-stale", &set);
    must_be_met(code, &report);
    about_two_seconds(&report, "names");
}

/// What failures of a stream said.
fn said<'a>(report: &'a Value, stream: &str) -> &'a Value {
    let streams = report["streams"].as_array().unwrap();
    &streams.iter().find(|row| row["name"] == stream).unwrap_or_else(|| panic!("no {stream} in {report:#}"))["said"]
}

#[test]
fn an_old_service_that_answers_well_is_an_outage_for_who_expects_the_new_one() {
    let service = Service::start("127.0.0.1");
    // The old one goes on where the name led before.
    let _old = Service::saying(SocketAddr::from(([127, 0, 0, 9], service.address.port())), "goodbye");
    let names = Names::start("shop.test", "127.0.0.1");
    let desk = Desk::with_repository();
    let common = [
        format!("target.processes.resolver.listen=127.0.0.1:{}", free_port()),
        format!("target.processes.resolver.upstream={}", names.address),
        "fault.with.before=127.0.0.9".to_owned(),
        "fault.lasts=2s".to_owned(),
    ];
    let web = format!("target.processes.clients=http://shop.test:{}/", service.address.port());
    let tcp = format!("target.processes.clients=tcp://shop.test:{}", service.address.port());
    for (clients, expect, path, stream, class) in [
        (web.as_str(), "{status: 200, body: hello}", "new connections", "http-new", "another body"),
        // What is not said at all within the deadline has no words.
        (&tcp, r#"{send: "GET / HTTP/1.1\r\n\r\n", reply: hello}"#, "new connections", "tcp", ""),
        (
            "target.processes.clients=dns://shop.test",
            "{addresses: [127.0.0.1]}",
            "names",
            "dns",
            "other addresses: 127.0.0.9",
        ),
    ] {
        let own = [clients.to_owned(), format!("target.processes.expect={expect}")];
        let (code, report) = drill(&desk, "dns-stale", &[&common[..], &own].concat());
        must_be_met(code, &report);
        about_two_seconds(&report, path);
        let said = said(&report, stream);
        assert!(class.is_empty() || said[class].as_u64().is_some_and(|count| count >= 2), "{class}: {said:#}");
        let what = report["streams"][0]["what"].as_str().unwrap();
        assert!(what.contains("good: "), "{what}");
    }
    // Whoever takes any answer sees none of it, and not as many failures as everybody who was hit.
    let (code, report) = drill(&desk, "dns-stale", &[&common[..], &[web]].concat());
    must_be_met(code, &report);
    assert!(failed_probes(&report) < 3, "{:#}", report["streams"]);
}

/// Users of a service who go through the drill's own proxy, and whatever else is set.
fn through_proxy(service: &Service, scheme: &str, host: &str, more: &[&str]) -> Vec<String> {
    let port = free_port();
    let way = [
        format!("target.processes.clients={scheme}://{host}:{port}/"),
        format!("target.processes.proxy.listen=127.0.0.1:{port}"),
        format!("target.processes.proxy.to={}", service.address),
        "objectives.rpo=none".to_owned(),
    ];
    way.into_iter().chain(more.iter().map(|more| (*more).to_owned())).collect()
}

#[test]
fn a_service_that_says_something_else_than_is_expected_is_not_broken_in_what_is_not_normal() {
    let service = Service::start("127.0.0.1");
    let desk = Desk::with_repository();
    let set =
        through_proxy(&service, "http", "127.0.0.1", &["target.processes.expect.body=goodbye", "steady_state.for=1s"]);
    let path = scenario("partition");
    let arguments = [&["drill", &path][..], &setting(set.iter().map(String::as_str))].concat();
    let (code, report) = drill_support::drill_once(&desk, &arguments);
    assert_eq!((code, report["verdict"]["word"].as_str()), (6, Some("invalid")), "{:#}", report["verdict"]);
    assert_eq!(report["blast_radius"]["touched"], serde_json::json!([]));
    for stream in ["http-new", "http-kept"] {
        let said = said(&report, stream).as_object().unwrap();
        assert_eq!(said.keys().collect::<Vec<_>>(), ["another body"], "{stream}");
    }
}

#[test]
fn a_partition_is_measured_with_both_its_bounds_and_healed() {
    let service = Service::start("127.0.0.1");
    let desk = Desk::with_repository();
    let set = through_proxy(&service, "http", "127.0.0.1", &["fault.lasts=2s"]);
    // Who goes through the proxy let faults in; whose users they are is still asked.
    let path = scenario("partition");
    let production = setting(set.iter().map(String::as_str).chain(["target.environment=production"]));
    let plan = [&["drill", path.as_str(), "--dry-run"], &production[..]].concat();
    let refused = desk.davit(&plan);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("--confirm {}", service.address)), "{}", refused.stderr);
    let named = service.address.to_string();
    let allowed = desk.davit(&[&plan[..], &["--confirm", &named]].concat());
    assert_eq!(allowed.code, 0, "{}", allowed.stderr);
    assert!(allowed.stdout.contains("was named twice"), "{}", allowed.stdout);

    let (code, report) = drill(&desk, "partition", &set);
    must_be_met(code, &report);
    about_two_seconds(&report, "new connections");
    assert!(report["cleanup"]["healed"][0]["detail"].as_str().unwrap().contains("passes everything on"));
}

#[test]
fn a_drill_that_harms_more_than_it_may_puts_everything_back_whatever_its_recovery_still_does() {
    let service = Service::start("127.0.0.1");
    let slow = r#"recovery={"by": "run command", "command": ["sleep", "600"]}"#;
    let common = through_proxy(&service, "http", "127.0.0.1", &["fault.lasts=5m", slow, "limits.watch=8s"]);
    for (limit, why) in
        [("limits.abort_errors=50%", "of the probes fail"), ("limits.abort_after=4s", "it took longer than")]
    {
        let desk = Desk::with_repository();
        let (code, report) = drill(&desk, "partition", &[&common[..], &[limit.to_owned()]].concat());
        assert_eq!((code, report["verdict"]["word"].as_str()), (4, Some("invalid")), "{:#}", report["verdict"]);
        assert!(report["verdict"].to_string().contains(why), "{:#}", report["verdict"]);
        assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
        let steps = report["steps"].as_array().unwrap();
        assert!(steps.iter().any(|step| step.to_string().contains("did not end within 8")), "{steps:#?}");
        assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
    }
}

#[test]
#[ignore = "needs openssl: make test"]
fn a_service_over_tls_is_believed_by_the_root_that_the_scenario_names_and_a_bad_certificate_says_what_is_wrong_with_it()
{
    let pki = Pki::new();
    pki.signed("web", "/CN=web", "subjectAltName=DNS:localhost", "30");
    pki.expired("old", "/CN=web", "subjectAltName=DNS:localhost");
    let (good, old) = (over_tls(&pki, "web"), over_tls(&pki, "old"));
    let desk = Desk::with_repository();
    let way = |service: &Service, host: &str, ca: Option<&str>| {
        let expected = ["target.processes.expect={status: 200, body: hello}", "fault.lasts=2s"];
        let mut set = through_proxy(service, "https", host, &expected);
        set.extend(ca.map(|ca| format!("target.processes.ca={}", pki.path(ca).display())));
        set
    };
    let (code, report) = drill(&desk, "partition", &way(&good, "localhost", Some("ca.pem")));
    must_be_met(code, &report);
    about_two_seconds(&report, "new connections");

    let stranger = "TLS: its certificate is not issued by a root that is trusted";
    for (service, host, ca, words) in [
        (&good, "localhost", Some("other.pem"), stranger),
        (&good, "localhost", None, stranger),
        (&old, "localhost", Some("ca.pem"), "TLS: its certificate has expired"),
        (&good, "127.0.0.1", Some("ca.pem"), "TLS: its certificate is for another name"),
    ] {
        let set = [way(service, host, ca), vec!["steady_state.for=1s".to_owned()]].concat();
        let path = scenario("partition");
        let arguments = [&["drill", &path][..], &setting(set.iter().map(String::as_str))].concat();
        let (code, report) = drill_support::drill_once(&desk, &arguments);
        assert_eq!((code, report["verdict"]["word"].as_str()), (6, Some("invalid")), "{:#}", report["verdict"]);
        for stream in ["http-new", "http-kept"] {
            let said = said(&report, stream).as_object().unwrap();
            assert_eq!(said.keys().collect::<Vec<_>>(), [words], "{stream}");
        }
    }
    // What can be no root is said before anything is begun.
    for (host, ca, text) in [
        ("https://localhost", "nowhere.pem", "nowhere.pem"),
        ("https://localhost", "web.key", "there is none"),
        ("http://localhost", "ca.pem", "clients do not go over https://"),
    ] {
        let (clients, ca) =
            (format!("target.processes.clients={host}:1/"), format!("target.processes.ca={}", pki.path(ca).display()));
        let path = scenario("partition");
        let set = [clients.as_str(), &ca, "target.processes.proxy.listen=127.0.0.1:0", "objectives.rpo=none"];
        let refused = desk.davit(&[&["drill", &path, "--dry-run"][..], &setting(set)].concat());
        assert!(refused.code == 2 && refused.stderr.contains(text), "{refused:?}");
    }
}

fn over_tls(pki: &Pki, name: &str) -> Service {
    Service::over_tls(&pki.path(&format!("{name}.pem")), &pki.path(&format!("{name}.key")))
}

/// Where the service below listens.
const SERVE: &str = "DAVIT_TEST_SERVE";

/// Not a test by itself: a web service as a process of its own.
#[test]
fn service() {
    let Ok(address) = std::env::var(SERVE) else { return };
    let _service = Service::at(address.parse().unwrap());
    loop {
        std::thread::park();
    }
}

/// That service, started again by somebody as often as it ends.
struct Supervised {
    address: SocketAddr,
    pid_file: PathBuf,
    over: Arc<AtomicBool>,
    supervisor: Option<JoinHandle<()>>,
}

impl Supervised {
    fn start(folder: &Path) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (pid_file, over) = (folder.join("service.pid"), Arc::new(AtomicBool::new(false)));
        let (file, ended) = (pid_file.clone(), Arc::clone(&over));
        let supervisor = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let mut service = Command::new(std::env::current_exe().unwrap());
                service.args(["--exact", "service", "--nocapture"]).env(SERVE, address.to_string());
                service.env("DAVIT_CHAOS", "allowed").env("DAVIT_ENVIRONMENT", "staging");
                let mut child = service.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
                std::fs::write(&file, child.id().to_string()).unwrap();
                child.wait().unwrap();
                if !ended.load(Ordering::SeqCst) {
                    // What crashes again and again would keep its machine busy otherwise.
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        });
        let supervised = Self { address, pid_file, over, supervisor: Some(supervisor) };
        let told = || std::fs::read_to_string(&supervised.pid_file).is_ok_and(|pid| !pid.is_empty());
        support::wait_until(30, "the service", || told() && TcpStream::connect(address).is_ok());
        supervised
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let pid = std::fs::read_to_string(&self.pid_file).unwrap();
        drop(Command::new("kill").args(["-KILL", &pid]).status());
        drop(self.supervisor.take().unwrap().join());
    }
}

#[test]
fn the_scenario_of_a_pod_runs_against_a_process_of_this_machine_where_only_the_target_differs() {
    let desk = Desk::with_repository();
    let service = Supervised::start(desk.path());
    let set = [
        "target.in=processes".to_owned(),
        format!("target.processes.clients=http://{}/", service.address),
        format!("target.processes.pid_file={}", service.pid_file.display()),
    ];
    let killed = std::fs::read_to_string(&service.pid_file).unwrap();
    let (code, report) = drill(&desk, "web-pod-kill", &set);
    must_be_met(code, &report);
    assert!(failed_probes(&report) > 0, "{:#}", report["streams"]);
    assert_eq!(report["identity"]["fault"], "process-kill");
    let timeline = report["timeline"].to_string();
    assert!(
        timeline.contains(&format!("process {killed} and its")) && timeline.contains("runs in its place"),
        "{timeline}"
    );
    let (_, high) = time(&report, "new connections");
    assert!((0.01..60.0).contains(&high), "{high}");

    // A process that was not told that it may be hit is left alone.
    let mut other = Command::new("sleep").arg("300").spawn().unwrap();
    let file = desk.path().join("other.pid");
    std::fs::write(&file, other.id().to_string()).unwrap();
    let target = format!("pid:{}", file.display());
    let said = desk.davit(&["chaos", "inject", "process-kill", "--target", &target]);
    assert!(said.code == 3 && said.stderr.contains("guard opt-in"), "{said:?}");
    assert!(other.try_wait().unwrap().is_none(), "it still runs");
    other.kill().unwrap();
    other.wait().unwrap();
    let said = desk.davit(&["chaos", "inject", "process-kill", "--target", &target]);
    assert!(said.code == 3 && said.stderr.contains("does not run"), "{said:?}");
    std::fs::write(&file, std::process::id().to_string()).unwrap();
    let said = desk.davit(&["chaos", "inject", "process-kill", "--target", &target]);
    assert!(said.code == 3 && said.stderr.contains("Davit itself runs below"), "{said:?}");
}

#[test]
fn a_scenario_whose_names_or_pace_cannot_be_meant_is_refused() {
    let desk = Desk::with_repository();
    for (name, set, code, text) in [
        ("dns-stale", &["target.processes.clients=http://127.0.0.1:1/"][..], 2, "it is an address, and no name"),
        ("dns-stale", &["target.processes.resolver.listen=nowhere"], 2, "nowhere"),
        ("dns-stale", &["target.processes.clients=postgres://shop.test/shop"], 2, "clients of a database"),
        ("dns-stale", &["target.processes.clients=dns://shop.test"], 2, "takes any address"),
        (
            "dns-stale",
            &["target.processes.expect.addresses=[10.0.0.5]"],
            2,
            "is expected of dns://, and clients go another way",
        ),
        ("dns-stale", &["target.processes.expect={stauts: 200}"], 2, "there is no entry \"stauts\""),
        ("dns-stale", &["load.probes=0.2/s"], 2, "load: {probes: 1/s}"),
        ("dns-stale", &["guards.windows=[soon]"], 2, "soon"),
        (
            "dns-stale",
            &["guards.windows=['Mon 03:00-03:01 UTC']", "guards.incident={command: 'false'}"],
            3,
            "guard incident",
        ),
        ("dns-stale", &["guards.incident={url: http://127.0.0.1:1/}"], 3, "guard incident"),
        ("namespace-deleted", &["target.in=cluster"], 2, "cluster"),
    ] {
        let path = scenario(name);
        let listen = format!("target.processes.resolver.listen=127.0.0.1:{}", free_port());
        let mut arguments = vec!["drill", path.as_str()];
        if name == "dns-stale" {
            arguments.extend(["--set", "target.processes.resolver.upstream=127.0.0.1:1", "--set", &listen]);
        }
        arguments.extend(set.iter().flat_map(|set: &&str| ["--set", *set]));
        let said = desk.davit(&arguments);
        assert_eq!(said.code, code, "{name} {set:?}: {}", said.stderr);
        assert!(said.stderr.contains(text), "{name} {set:?}: {}", said.stderr);
    }
}
