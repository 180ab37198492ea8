//! Real drills without a cluster, as a person runs them: servers are killed, tables dropped, standbys promoted, and the
//! reports are made again from what the repository keeps.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a supervisor takes a second before it restarts what crashed")]

mod cli_support;
mod drill_support;
mod schema_support;
mod support;

use cli_support::Desk;
use drill_support::{
    Application, class, desk, drill_once, ledgers, must_be_met, quick, row, scenario, setting, shop, speak_up,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use support::postgres::PgServer;
use support::wait_until;

/// Runs a drill; its report, which must be that of a met one.
fn met(desk: &Desk, name: &str, more: &[&str]) -> Value {
    let (code, report) = drill_support::drill(desk, &quick(&scenario(name), more));
    must_be_met(code, &report);
    // Of every phase that a report names a scenario may say how long it can take.
    for phase in report["phases"].as_array().unwrap() {
        assert!(davit::measure::instants::PHASE_NAMES.contains(&phase["name"].as_str().unwrap()), "{phase:#}");
    }
    report
}

/// A backup that was restored once and compared.
fn proven_backup(desk: &Desk, server: &PgServer) {
    desk.write("davit.yaml", &format!("sources:\n  cloudflow:\n    url: {}\n", server.url("shop")));
    for arguments in [&["backup", "cloudflow"][..], &["verify", "cloudflow@latest", "--depth", "restored"]] {
        let said = desk.davit(arguments);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
}

/// What the report was made from is compared, too, on the machine that has it.
fn raw_files_are_compared(desk: &Desk, run: &str) {
    let file = format!("reports/drill-{run}.json");
    let (_, checked) = desk.json(&["report", "check", &file]);
    let seen = checked["files"].as_array().unwrap();
    for name in ["journal.jsonl", "ledger", "observed.jsonl"] {
        assert!(seen.contains(&json!({"name": name, "is": "unchanged"})), "{name}: {checked:#}");
    }
    let folder = desk.path().join(format!(".local/state/davit/drills/{run}"));
    for name in ["ledger", "observed.jsonl"] {
        let path = folder.join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        // As long as before, and one bit of it another one.
        changed[whole.len() / 2] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        for form in ["json", "html"] {
            let said = desk.davit(&["report", "check", &format!("reports/drill-{run}.{form}")]);
            assert!(
                said.code == 1 && said.stderr.contains(&format!("{name} changed since")),
                "{name} {form}: {said:?}"
            );
        }
        std::fs::write(&path, whole).unwrap();
    }
    // Elsewhere the signature alone can be looked at.
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away).unwrap();
    let (code, checked) = desk.json(&["report", "check", &file]);
    assert_eq!((code, &checked["files"]), (0, &Value::Null));
    std::fs::rename(&away, &folder).unwrap();
}

/// The report is what its schema says and what the stored journal gives, and its signature holds until a byte changes.
fn made_again(desk: &Desk, report: &Value) {
    schema_support::must_be("drill", report);
    drill_support::made_again(desk, report);
    let run = report["run"].as_str().unwrap();
    for form in ["json", "html", "md", "txt", "xml", "prom"] {
        let said = desk.davit(&["report", "check", &format!("reports/drill-{run}.{form}")]);
        assert_eq!(said.code, 0, "{form}: {}", said.stderr);
    }
    raw_files_are_compared(desk, run);
    let html = desk.path().join(format!("reports/drill-{run}.html"));
    let changed = std::fs::read_to_string(&html).unwrap().replacen("</p>", "!</p>", 1);
    std::fs::write(&html, changed).unwrap();
    let said = desk.davit(&["report", "check", html.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{}", said.stdout);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_primary_crashes_and_its_standby_is_promoted() {
    let primary = PgServer::start_with(15, &["autovacuum=off"]);
    shop(&primary, false);
    let standby = primary.standby(&["autovacuum=off"]);
    wait_until(60, "the tables on the standby", || {
        standby.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'shop'") == "1"
    });
    let clients = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/shop?target_session_attrs=read-write",
        primary.port, standby.port
    );
    let mut desk = desk(&clients, &primary);
    desk.set("DRILL_STANDBY_URL", &standby.url("shop"));
    // Somebody else reads meanwhile, and is told on its standard input how the database is reached.
    let observers = format!(
        r#"observers=[{{"name": "office", "command": ["{}", "observe", "--plan", "-"]}}]"#,
        env!("CARGO_BIN_EXE_davit")
    );
    let report =
        met(&desk, "primary-crash-async", &["--seed", "7", "--set", "recovery.decision=2s", "--set", &observers]);
    let streams: Vec<&Value> =
        report["streams"].as_array().unwrap().iter().filter(|stream| stream["observer"] == "office").collect();
    let down = |stream: &&Value| stream["refused"].as_u64().unwrap() + stream["silent"].as_u64().unwrap() > 0;
    assert!(streams.len() == 2 && streams.iter().all(down), "{streams:#?}");
    assert!(streams.iter().all(|stream| stream["what"].as_str().unwrap().starts_with("SQL, reading")), "{streams:#?}");
    assert_eq!(report["observers"][1]["verdict"], "met", "{:#}", report["observers"]);
    let time = &row(&report, "rto")["actual"];
    // Where the machine was busy elsewhere the bounds are wide; the truth is between them.
    let (low, high) = (time["low"].as_f64().unwrap(), time["high"].as_f64().unwrap());
    assert!(low > 0.1 && high >= 2.0, "the decision alone takes two seconds: {time}");
    assert_eq!(report["integrity"]["log_agrees"], true, "{:#}", report["integrity"]);
    assert_eq!(class(&report, "phantom") + class(&report, "duplicate") + class(&report, "zombie"), 0);
    let symbols: Vec<&str> = report["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|moment| !moment["at"].is_null())
        .map(|moment| moment["symbol"].as_str().unwrap())
        .collect();
    assert_eq!(symbols, ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"]);
    assert_eq!(report["cleanup"]["proven"], true, "{:#}", report["cleanup"]);
    assert_eq!(report["replica"]["word"], "none", "what was promoted is no replica: {:#}", report["replica"]);
    assert_eq!(ledgers(&standby), "0");
    made_again(&desk, &report);
    let month = report["identity"]["began"].as_str().unwrap()[..7].to_owned();
    let (code, month) = desk.json(&["report", "month", &month]);
    let word = report["verdict"]["word"].as_str().unwrap();
    assert_eq!((code, month["tally"][word].as_u64()), (0, Some(1)));
    assert_eq!(month["coverage"]["cells"][0][0]["word"], word);
}

/// Starts a server again a second after its processes are gone, as a supervisor does; what it started ends with this.
struct Supervised {
    data: std::path::PathBuf,
    restarting: Option<std::thread::JoinHandle<()>>,
}

impl Supervised {
    fn over(server: &PgServer) -> Self {
        let (pid, start, data) = (server.pid(), server.start_command(), server.data());
        let restarting = std::thread::spawn(move || {
            wait_until(120, "the crash", || gone(pid));
            std::thread::sleep(std::time::Duration::from_secs(1));
            let started = std::process::Command::new("/bin/sh").args(["-c", &start]).status().unwrap();
            assert!(started.success(), "{start}");
        });
        Self { data, restarting: Some(restarting) }
    }
}

/// Whether a process is gone, or only waits for its parent to notice.
fn gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')),
        Err(_) => true,
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(restarting) = self.restarting.take() {
            drop(restarting.join());
        }
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = text.lines().next() {
            drop(std::process::Command::new("kill").args(["-QUIT", pid]).status());
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_platform_is_seen_to_notice_to_bring_a_writer_back_and_to_be_redundant_again() {
    let primary = PgServer::start_with(15, &["autovacuum=off"]);
    shop(&primary, false);
    let standby = primary.standby(&["autovacuum=off"]);
    wait_until(60, "a standby that streams", || {
        primary.psql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
    });
    let desk = desk(&primary.url("shop"), &primary);
    let _supervised = Supervised::over(&primary);
    let more = [
        "recovery=platform",
        "objectives.rto=1m",
        "objectives.detection=1m",
        // The standby asks every five seconds whether its primary is back.
        "objectives.redundancy=1m",
        "limits.watch=90s",
    ];
    let report = met(&desk, "primary-crash-restart", &setting(more));
    let at = |symbol: &str, bound: &str| {
        let timeline = report["timeline"].as_array().unwrap();
        let moment = timeline.iter().find(|moment| moment["symbol"] == symbol).unwrap();
        moment["at"][bound].as_f64().unwrap_or_else(|| panic!("{symbol} is not known: {report:#}"))
    };
    // The supervisor slept for a second: the platform cannot have had a writer before.
    assert!(at("t5", "high") - at("t1", "low") >= 1.0, "{:#}", report["timeline"]);
    for (earlier, later) in [("t1", "t3"), ("t3", "t8"), ("t1", "t6"), ("t5", "t10")] {
        assert!(at(earlier, "low") <= at(later, "high"), "{earlier} before {later}: {:#}", report["timeline"]);
    }
    for key in ["detection", "redundancy"] {
        assert_eq!(row(&report, key)["verdict"], "met", "{:#}", report["objectives"]);
    }
    made_again(&desk, &report);
    drop(standby);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn sessions_are_terminated_and_come_back() {
    let server = PgServer::start();
    shop(&server, false);
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop"), &server);
    let report = met(&desk, "backend-kill", &["--set", "fault.victims=1"]);
    assert_eq!(class(&report, "lost"), 0);
    assert!(report["integrity"]["acknowledged"].as_u64().unwrap() > 500);
    assert_eq!(report["acknowledgement"]["acknowledged"], false, "nobody was there: {:#}", report["acknowledgement"]);
    assert_eq!(ledgers(&server), "0");
    made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_person_says_that_they_noticed_and_the_first_one_counts() {
    let server = PgServer::start();
    shop(&server, false);
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    let more = ["--set", "fault.victims=1", "--set", "objectives.acknowledgement=1m", "--output", "json"];
    // A drill that finds its service unsteady touches nothing, and there is nothing to notice: it is run again.
    let (first, drill) = (0..5)
        .find_map(|_| {
            let mut drill = desk.command(&quick(&path, &more));
            let mut drill = drill.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let first = speak_up(&desk, &mut drill)?;
            Some((first, drill))
        })
        .unwrap();
    let after: jiff::Timestamp = jiff::Timestamp::now();
    let run = first["run"].as_str().unwrap();
    assert_eq!(first["first"], true, "{first}");
    let (code, second) = desk.json(&["chaos", "ack", run, "--note", "me too"]);
    assert_eq!((code, second["first"].as_bool()), (0, Some(false)), "{second}");
    assert_eq!((&second["by"], &second["when"]), (&first["by"], &first["when"]));
    let said = desk.davit(&["chaos", "ack", "20200101T000000Z-abcdef"]);
    assert!(said.code == 2 && said.stderr.contains("no fault of it is known"), "{}{}", said.code, said.stderr);

    let output = drill.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let report = &document["drills"][0];
    must_be_met(output.status.code().unwrap(), report);
    assert_eq!(row(report, "acknowledgement")["verdict"], "met");
    let person = &report["acknowledgement"];
    assert_eq!((person["acknowledged"].as_bool(), &person["note"]), (Some(true), &first["note"]), "{person:#}");
    // Both ran on this machine, so here its wall clock tells whether the interval holds the truth.
    let began: jiff::Timestamp = report["identity"]["began"].as_str().unwrap().parse().unwrap();
    let at = |bound: &str| jiff::SignedDuration::from_secs_f64(person["at"][bound].as_f64().unwrap());
    let when: jiff::Timestamp = first["when"].as_str().unwrap().parse().unwrap();
    assert!(began + at("low") <= after && when <= began + at("high"), "{began} {when} {after} {person:#}");
    let moment = report["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!((moment["symbol"].as_str(), &moment["at"]), (Some("tm"), &person["at"]));
    made_again(&desk, report);
    for (arguments, text) in [(&["chaos", "ack", run][..], "it is over"), (&["chaos", "ack"], "none is under way")] {
        let said = desk.davit(arguments);
        assert!(said.code == 2 && said.stderr.contains(text), "{arguments:?}: {}{}", said.code, said.stderr);
    }
    let _application = Application::of(&server);
    // The next drill has not broken anything yet, and what it broke last time is nothing to notice any more.
    let mut next = desk.command(&quick(&path, &["--set", "fault.victims=1", "--set", "steady_state.for=2m"]));
    let mut next = next.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(next.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(story.any(|line| line.contains("looking at what normal is")), "the drill did not begin");
    let said = desk.davit(&["chaos", "ack"]);
    assert!(said.code == 2 && said.stderr.contains("none is under way"), "{}{}", said.code, said.stderr);
    assert!(std::process::Command::new("kill").args(["-INT", &next.id().to_string()]).status().unwrap().success());
    story.for_each(drop);
    next.wait().unwrap();
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn nobody_else_breaks_anything_from_the_first_look_of_a_drill_to_its_end() {
    let server = PgServer::start();
    shop(&server, false);
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    let mut child = desk
        .command(&quick(&path, &["--set", "fault.victims=1", "--output", "json"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut story = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(story.any(|line| line.contains("looking at what normal is")), "the drill did not begin");
    // What is drained is never full, so nobody waits for us.
    let rest = std::thread::spawn(move || story.count());
    let url = server.url("shop");
    let said = desk.davit(&["chaos", "inject", "lock-storm", "--target", &url, "--set", "tables=orders"]);
    // The drill may have struck by now: then what is open is its fault, and not the table alone.
    let why = said.stderr.contains("guard open-intent") && said.stderr.contains("whose runner (");
    assert!(said.code == 3 && why, "{}{}", said.code, said.stderr);
    let output = child.wait_with_output().unwrap();
    rest.join().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (code, report) = (output.status.code().unwrap(), &document["drills"][0]);
    // The drill went on to its end. One that finds its service unsteady on a busy machine did, too.
    if code != 6 || !report["verdict"]["sentence"].as_str().unwrap().contains("steady state") {
        must_be_met(code, report);
    }
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_dropped_table_is_restored_beside_and_swapped_in() {
    let server = PgServer::start();
    shop(&server, true);
    let desk = desk(&server.url("shop"), &server);
    proven_backup(&desk, &server);
    let report = met(&desk, "dropped-table", &[]);
    assert_eq!(server.psql("shop", "SELECT count(*) FROM orders"), "20000");
    // What was written after the backup is lost, and said.
    assert!(row(&report, "rpo")["actual"]["high"].as_f64().unwrap() > 4.0);
    // So is what others went on writing while the table was gone, which whoever asks for it has felt.
    assert_eq!(report["integrity"]["shape"], "since-point");
    assert!(report["integrity"]["lost_after_fault"].as_u64().unwrap() > 0, "{:#}", report["integrity"]);
    let reads = report["streams"].as_array().unwrap().iter().find(|stream| stream["path"] == "reads").unwrap();
    assert!(reads["recovery_time"]["low"].as_f64().unwrap() > 0.3, "{reads:#}");
    let felt = report["timeline"].as_array().unwrap().iter().find(|moment| moment["symbol"] == "t2").unwrap();
    assert_eq!(felt["evidence"], "probes of reads", "{felt:#}");
    let phases: Vec<&str> =
        report["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    let named =
        ["detection", "decision", "definitions", "fetch", "load", "index", "analyse", "read back", "first good query"];
    for phase in named {
        assert!(phases.contains(&phase), "{phase} is not in {phases:?}");
    }
    assert!(report["restore"]["forecast"]["seconds"].as_f64().unwrap() > 0.0);
    let part = |name: &str| {
        let phase = report["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == name).unwrap();
        (phase["from"]["low"].as_f64().unwrap(), phase["until"]["high"].as_f64().unwrap())
    };
    let (fetch, load) = (part("fetch"), part("load"));
    assert!(fetch.0 <= load.0 && fetch.1 <= load.1 && fetch.0 < fetch.1, "{fetch:?} {load:?}");
    let radius = &report["blast_radius"];
    assert_eq!(radius["cap"], "1 and at most 100 %", "{radius:#}");
    let undo = radius["undo"].as_str().unwrap();
    assert!(undo.contains("nothing undoes it") && undo.contains("is restored from the backup"), "{radius:#}");
    assert_eq!(report["checks"][0]["ok"], true);
    assert_eq!(ledgers(&server), "0");
    made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn single_tables_that_are_restored_lose_what_came_into_them_since_the_point() {
    let server = PgServer::start();
    shop(&server, true);
    let desk = desk(&server.url("shop"), &server);
    proven_backup(&desk, &server);
    // A table that is still there is refused; whoever provisions something is planned for when that is done.
    let set = setting(["recovery.tables=[\"public.orders\"]", "recovery.provision=[\"true\"]"]);
    let report = met(&desk, "dropped-table", &set);
    assert_eq!(server.psql("shop", "SELECT count(*) FROM orders"), "20000");
    assert_eq!(class(&report, "lost"), 0, "the drill's own writes are in a table that stayed");
    let rpo = row(&report, "rpo");
    assert!(rpo["actual"]["high"].as_f64().unwrap() > 4.0, "{rpo:#}");
    let said = rpo["sentence"].as_str().unwrap();
    assert!(said.starts_with("all that was written into public.orders since the recovery point is lost: "), "{said}");
    assert_eq!(report["restore"]["forecast"], Value::Null, "{:#}", report["restore"]);
    made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_lost_database_is_restored_into_another_server() {
    let (first, second) = (PgServer::start(), PgServer::start());
    shop(&first, true);
    let clients = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/shop", first.port, second.port);
    let mut desk = desk(&clients, &first);
    desk.set("DRILL_RESTORE_URL", &second.url("shop"));
    proven_backup(&desk, &first);
    let path = scenario("database-lost");
    let old = setting(["recovery.provision=[\"true\"]", "guards.backup_age=1s"]);
    let refused = desk.davit(&[&["drill", path.as_str()], &old[..]].concat());
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains(" old, and 1s are allowed"), "{}", refused.stderr);
    // The manifest opens with the writer's key alone, and not one row does.
    let (key, away) = (desk.path().join("davit-keys/reader.key"), desk.path().join("reader.key"));
    std::fs::rename(&key, &away).unwrap();
    let refused = desk.davit(&[&["drill", path.as_str()], &old[..2]].concat());
    assert!(refused.code == 2 && refused.stderr.contains("there is no reader key"), "{refused:?}");
    std::fs::rename(&away, &key).unwrap();
    assert_eq!(first.psql("shop", "SELECT 1"), "1", "nothing was broken");
    let report = met(&desk, "database-lost", &["--set", "recovery.provision=[\"true\"]"]);
    assert_eq!(second.psql("shop", "SELECT count(*) FROM orders"), "20000");
    assert!(report["phases"].as_array().unwrap().iter().any(|phase| phase["name"] == "provisioning"));
    made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn what_cannot_or_may_not_be_done_is_refused_before_anything_is_touched() {
    let server = PgServer::start();
    shop(&server, false);
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    let drill = |more: &[&str]| {
        let mut arguments = vec!["drill", path.as_str(), "--set", "fault.victims=1"];
        arguments.extend(more);
        desk.davit(&arguments)
    };
    // Neither today nor a neighbour of it, however long this takes.
    let day = format!("{:?}", jiff::Zoned::now().weekday().wrapping_add(3));
    let closed = format!("guards.windows=['{} 00:00-23:59 UTC']", &day[..3]);
    for (more, code, text) in [
        (&["--set", "fault.name=backend-kil"][..], 2, "did you mean backend-kill?"),
        (&["--set", "objectives.rto=-5m"], 2, "is not an objective"),
        (&["--set", "fault.with.aplication=x"], 2, "application"),
        (&["--set", "target.environment=production"], 3, "environment"),
        (&["--set", "target.processes.primary.url=postgres://postgres@127.0.0.1:1/shop"], 3, "127.0.0.1:1"),
        (&["--set", "target.processes.clients=postgres://postgres@127.0.0.1:1/shop"], 3, "127.0.0.1:1"),
        (&["--set", "recovery=promote standby"], 2, "no standby"),
        (&["--set", "fault.with.application=nobody"], 3, "there is nothing that backend-kill could hit"),
        (&["--set", closed.as_str()], 3, "guard window: now is outside of"),
        (&["--set", "objectives.rto=0s"], 2, "objectives.rto is no time at all"),
    ] {
        let said = drill(more);
        assert_eq!(said.code, code, "{more:?}: {}", said.stderr);
        assert!(said.stderr.contains(text), "{more:?}: {}", said.stderr);
    }
    let said = drill(&["--dry-run"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("nothing was changed"), "{}", said.stdout);
    server.psql("shop", "ALTER TABLE davit.environment RENAME TO elsewhere");
    let said = drill(&[]);
    assert!(said.code == 3 && said.stderr.contains("guard opt-in"), "{said:?}");
    assert_eq!(server.psql("shop", "SELECT count(*) FROM pg_class WHERE relname LIKE 'ledger_%'"), "0");
    assert!(!Path::new(&desk.path().join("repository/reports")).exists());
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_service_that_is_not_steady_is_left_alone() {
    let server = PgServer::start();
    shop(&server, false);
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop"), &server);
    let before = server.psql("shop", "SELECT pg_backend_pid() > 0");
    let impossible = ["--set", "fault.victims=1", "--set", "steady_state.p95=1ms", "--set", "steady_state.p99=1ms"];
    let (code, report) = drill_once(&desk, &quick(&scenario("backend-kill"), &impossible));
    assert_eq!((code, report["verdict"]["word"].as_str()), (6, Some("invalid")), "{before} {:#}", report["verdict"]);
    assert!(report["verdict"]["sentence"].as_str().unwrap().contains("steady state"));
    assert_eq!(report["cleanup"]["sentence"], "everything was put back and looked at");
    assert!(report["blast_radius"]["touched"].as_array().unwrap().is_empty());
}
