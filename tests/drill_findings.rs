//! What a drill finds beside its times, on real servers: recoveries that fail, and targets that are left as they were.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]

mod cli_support;
mod drill_support;
mod schema_support;
mod support;

use cli_support::Desk;
use drill_support::{Application, desk, drill, ledgers, quick, row, scenario, setting, shop};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use support::postgres::PgServer;
use support::wait_until;

/// The sentence of a report's verdict.
fn sentence(report: &Value) -> &str {
    report["verdict"]["sentence"].as_str().unwrap()
}

const FALSE: &str = r#"recovery={"by": "run command", "command": ["false"], "decision": "500ms"}"#;

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_recovery_that_fails_is_what_was_found_and_the_drill_goes_on_to_its_end() {
    let server = PgServer::start();
    shop(&server, false);
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    let (code, report) = drill(&desk, &quick(&path, &setting(["fault.victims=1", FALSE])));
    assert_eq!((code, report["verdict"]["word"].as_str()), (1, Some("missed")), "{:#}", report["verdict"]);
    assert!(sentence(&report).starts_with("the recovery failed: running false: exit status: 1"), "{report:#}");
    assert_eq!(row(&report, "recovery")["verdict"], "missed");
    // The service was there nevertheless, and what was measured of it is in the report.
    assert_eq!(row(&report, "rto")["verdict"], "met", "{:#}", report["objectives"]);
    assert_eq!(row(&report, "rpo")["verdict"], "met", "{:#}", report["objectives"]);
    assert_eq!(
        (report["validity"]["word"].as_str(), &report["cleanup"]["proven"]),
        (Some("valid"), &Value::Bool(true))
    );
    schema_support::must_be("drill", &report);
    drill_support::made_again(&desk, &report);
    assert_eq!(ledgers(&server), "0");
    let said = desk.davit(&["report", "drill", report["run"].as_str().unwrap(), "--format", "junit"]);
    assert!(said.stdout.contains("errors=\"0\"") && said.stdout.contains("<failure"), "{}", said.stdout);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_service_that_a_failed_recovery_leaves_down_is_not_watched_to_the_end() {
    let primary = PgServer::start();
    shop(&primary, false);
    let standby = primary.standby(&["autovacuum=off"]);
    let mut desk = desk(&primary.url("shop"), &primary);
    desk.set("DRILL_STANDBY_URL", &standby.url("shop"));
    let path = scenario("primary-crash-async");
    let set = setting([FALSE, "load={}", "objectives.rpo=none", "objectives.rto=10m", "limits.watch=1h"]);
    let (code, report) = drill(&desk, &quick(&path, &set));
    assert_eq!((code, report["verdict"]["word"].as_str()), (1, Some("missed")), "{:#}", report["verdict"]);
    assert!(sentence(&report).starts_with("the recovery failed: running false"), "{report:#}");
    let rto = row(&report, "rto");
    assert_eq!(rto["verdict"], "missed", "{rto:#}");
    assert!(rto["sentence"].as_str().unwrap().ends_with("the recovery had failed"), "{rto:#}");
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_standby_that_clients_are_led_to_at_the_end_is_not_taken_for_what_survived() {
    let primary = PgServer::start();
    shop(&primary, false);
    let standby = primary.standby(&["autovacuum=off"]);
    wait_until(60, "the shop on the standby", || {
        standby.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'shop'") == "1"
            && standby.psql("shop", "SELECT to_regclass('orders') IS NOT NULL") == "t"
    });
    // What is written from now on it has, and does not show.
    standby.psql("shop", "SELECT pg_wal_replay_pause()");
    let clients = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/shop", primary.port, standby.port);
    let mut desk = desk(&clients, &primary);
    desk.set("DRILL_STANDBY_URL", &standby.url("shop"));
    let path = scenario("primary-crash-async");
    let nobody = r#"recovery={"by": "run command", "command": ["true"], "decision": "500ms"}"#;
    let (_, report) = drill(&desk, &quick(&path, &setting([nobody, "limits.watch=4s"])));
    let rpo = row(&report, "rpo");
    assert_eq!(rpo["sentence"], "what was written was not read back", "{rpo:#}");
    assert_eq!((&rpo["verdict"], &report["integrity"]), (&Value::from("invalid"), &Value::Null), "{rpo:#}");
    let surprises = report["surprises"].to_string();
    assert!(surprises.contains("leads to a standby") && surprises.contains("nothing was compared"), "{surprises}");
    drill_support::made_again(&desk, &report);
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_recovery_that_somebody_interrupts_is_no_finding() {
    let server = PgServer::start();
    shop(&server, false);
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("backend-kill");
    let sleeps = r#"recovery={"by": "run command", "command": ["sleep", "600"]}"#;
    // A machine that is busy elsewhere may not be steady; then nothing is injected, and it is tried again.
    let code = (0..5).find_map(|_| {
        let mut child = desk.command(&quick(&path, &setting(["fault.victims=1", sleeps])));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut story = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let began = story.any(|line| line.contains("recovery: "));
        if began {
            let asked = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            assert!(asked.unwrap().success());
        }
        let said: Vec<String> = story.collect();
        let code = child.wait().unwrap().code();
        assert!(!said.iter().any(|line| line.contains("the recovery failed")), "{said:#?}");
        began.then_some(code)
    });
    assert_eq!(code, Some(Some(4)));
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_drill_that_is_killed_is_listed_in_its_month_with_its_run() {
    let server = PgServer::start();
    shop(&server, false);
    let desk = desk(&server.url("shop"), &server);
    let path = scenario("lock-storm");
    let mut child = desk.command(&quick(&path, &[])).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(story.any(|line| line.contains("steady state before: ")));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it had no time to say anything");
    assert_eq!(ledgers(&server), "1", "the ledger's table is left");
    // The lease still names who is dead; that is no reason to load the service again and be refused then.
    let said = desk.davit(&["drill", &path, "--dry-run"]);
    assert!(said.code == 3 && said.stderr.contains("guard open-intent"), "{said:?}");
    let today = std::process::Command::new("date").args(["-u", "+%Y-%m"]).output().unwrap().stdout;
    let (code, month) = desk.json(&["report", "month", String::from_utf8(today).unwrap().trim()]);
    assert_eq!(code, 0, "{month:#}");
    schema_support::must_be("month", &month);
    assert_eq!((&month["tally"]["run"], &month["tally"]["unfinished"]), (&Value::from(1), &Value::from(1)));
    let line = &month["drills"][0];
    assert_eq!((line["word"].as_str(), &line["clean"]), (Some("unfinished"), &Value::Bool(false)), "{line:#}");
    assert_eq!(month["confidence"], Value::Array(Vec::new()), "it is no valid run");
    let said = desk.davit(&["report", "drill", line["run"].as_str().unwrap()]);
    assert!(said.code == 0 && said.stdout.contains("the journal ends early"), "{}{}", said.stdout, said.stderr);
    its_table_is_taken_away(&server, &desk, line["run"].as_str().unwrap());
}

/// The janitor takes away the table of a killed drill, exactly that one, and looks.
fn its_table_is_taken_away(server: &PgServer, desk: &Desk, run: &str) {
    let (_, status) = desk.json(&["chaos", "status"]);
    let [open] = status["open"].as_array().unwrap().as_slice() else { panic!("{status:#}") };
    let table = format!("davit.\"ledger_{}\"", run.to_lowercase());
    assert_eq!((open["fault"].as_str(), open["run"].as_str()), (Some("ledger-table"), Some(run)), "{open:#}");
    assert_eq!(open["victim"], format!("the ledger's table {table}"));
    // Nobody can have noticed what was not broken.
    let said = desk.davit(&["chaos", "ack"]);
    assert!(said.code == 2 && said.stderr.contains("none is under way"), "{said:?}");
    // One that does not say that it is of this run stays, whatever it is called.
    let mark = server.psql("shop", &format!("SELECT obj_description('{table}'::regclass)"));
    let other = "CREATE TABLE davit.ledger_other (); COMMENT ON TABLE davit.ledger_other IS 'made by davit for the drill other'";
    server.psql("shop", &format!("COMMENT ON TABLE {table} IS 'mine'; {other}"));
    let janitor = || desk.davit(&["chaos", "janitor", "--run", run]);
    let mut said = janitor();
    // The lease of a runner that was killed ends by itself.
    wait_until(120, "the end of the killed drill's lease", || {
        said = janitor();
        said.code != 3
    });
    assert!(said.code == 5 && said.stdout.contains("does not say that it is ours"), "{said:?}");
    assert_eq!(ledgers(server), "2");
    server.psql("shop", &format!("COMMENT ON TABLE {table} IS '{mark}'"));
    // It does not wait for hours behind whoever reads it, such as a dump.
    let reads = format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE; SELECT pg_sleep(600)");
    let mut reader = server.psql_command("shop").args(["-c", &reads]).stderr(Stdio::null()).spawn().unwrap();
    let held = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%' AND wait_event = 'PgSleep'";
    wait_until(20, "a reader of the table", || server.psql("shop", held) == "1");
    let said = janitor();
    assert!(said.code == 5 && said.stdout.contains("lock timeout"), "{said:?}");
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'";
    assert_eq!(server.psql("shop", end), "t");
    reader.wait().unwrap();
    let said = janitor();
    assert!(said.code == 0 && said.stdout.contains("it is gone"), "{said:?}");
    assert_eq!(server.psql("shop", "SELECT relname FROM pg_class WHERE relname LIKE 'ledger_%'"), "ledger_other");
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

/// What a drill says that does not begin.
fn not_begun(desk: &Desk, more: &[&str]) -> (i32, String) {
    let path = scenario("backend-kill");
    let set = setting(["fault.victims=1"]);
    let said = desk.davit(&quick(&path, &[&set[..], more].concat()));
    (said.code, said.stderr)
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_drill_that_is_refused_after_it_made_its_table_takes_it_away_again() {
    let server = PgServer::start();
    shop(&server, false);
    // Enough room for the probes when it is planned, and none any more when they begin.
    server.psql(
        "shop",
        "CREATE ROLE app LOGIN; GRANT CREATE ON SCHEMA davit TO app; GRANT USAGE ON SCHEMA davit TO app;
         CREATE FUNCTION fewer() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS
         $$ BEGIN ALTER DATABASE shop CONNECTION LIMIT 9; END $$;
         CREATE EVENT TRIGGER fewer ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION fewer()",
    );
    let _application = Application::of(&server);
    let desk = desk(&server.url("shop").replacen("postgres@", "app@", 1), &server);
    let (code, said) = not_begun(&desk, &["--dry-run"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = not_begun(&desk, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the probes may hold"), "{said}");
    assert_eq!(ledgers(&server), "0");
    assert_eq!(
        server.psql("shop", "SELECT count(*) FROM pg_namespace WHERE nspname = 'davit'"),
        "1",
        "it is the user's"
    );

    // Where it cannot be taken away a person is told, and what it is called.
    server.psql(
        "shop",
        "ALTER DATABASE shop CONNECTION LIMIT -1;
         CREATE FUNCTION keep() RETURNS event_trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'nothing is dropped here'; END $$;
         CREATE EVENT TRIGGER keep ON sql_drop EXECUTE FUNCTION keep()",
    );
    let (code, said) = not_begun(&desk, &[]);
    assert_eq!(code, 5, "{said}");
    for text in ["the probes may hold", "removing the table davit.\"ledger_", "nothing is dropped here"] {
        assert!(said.contains(text), "{text} is not in {said}");
    }
    assert_eq!(ledgers(&server), "1");
    // Nothing else is begun until it is gone, and the janitor is not told that it is.
    server.psql("shop", "ALTER DATABASE shop CONNECTION LIMIT -1");
    let (code, said) = not_begun(&desk, &["--dry-run"]);
    assert!(code == 3 && said.contains("guard open-intent"), "{said}");
    let said = desk.davit(&["chaos", "janitor"]);
    assert!(said.code == 5 && said.stdout.contains("nothing is dropped here"), "{said:?}");
    server.psql("shop", "DROP EVENT TRIGGER keep; DROP EVENT TRIGGER fewer");
    let said = desk.davit(&["chaos", "janitor"]);
    assert_eq!((said.code, ledgers(&server).as_str()), (0, "0"), "{said:?}");
    // One that another repository knows of is named.
    let mark = "COMMENT ON TABLE davit.ledger_old IS 'made by davit for the drill old'";
    server.psql("shop", &format!("CREATE TABLE davit.ledger_old (); {mark}"));
    let path = scenario("backend-kill");
    let said = desk.davit(&[&["drill", path.as_str(), "--dry-run"], &setting(["fault.victims=1"])[..]].concat());
    assert!(said.code == 0 && said.stdout.contains("has left its table: DROP TABLE davit.ledger_old"), "{said:?}");
}

/// What a series says of one thing, bucket by bucket, over the whole drill.
fn over_time(report: &Value, what: &str) -> Vec<Option<f64>> {
    let whole = report["series"].as_array().unwrap().last().unwrap();
    whole[what].as_array().unwrap().iter().map(Value::as_f64).collect()
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn a_standby_that_does_not_replay_is_seen_to_fall_behind() {
    let primary = PgServer::start_with(15, &["autovacuum=off"]);
    shop(&primary, false);
    let standby = primary.standby(&["autovacuum=off"]);
    wait_until(60, "a standby that streams", || {
        primary.psql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
    });
    let mut desk = desk(&primary.url("shop"), &primary);
    desk.set("DRILL_STANDBY_URL", &standby.url("shop"));
    let path = scenario("primary-crash-async");
    let set = setting([r#"fault={"name": "replay-pause", "lasts": "6s"}"#, "recovery=platform"]);
    let (code, report) = drill(&desk, &quick(&path, &set));
    drill_support::must_be_met(code, &report);
    schema_support::must_be("drill", &report);
    let (bytes, seconds) = (over_time(&report, "lag_bytes"), over_time(&report, "lag_seconds"));
    let most = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0, f64::max);
    // For six seconds hundreds of rows a second were written and not replayed.
    assert!(most(&bytes) > 50_000.0 && most(&seconds) > 3.0, "{bytes:?} {seconds:?}");
    // Before it was paused it had caught up, and afterwards it did.
    let small = |value: &f64| value * 10.0 < most(&bytes);
    let seen: Vec<f64> = bytes.iter().flatten().copied().collect();
    let paused = seen.iter().position(|value| *value >= most(&bytes)).unwrap();
    assert!(seen[..paused].iter().any(small) && seen[paused..].iter().any(small), "{seen:?}");
    let run = report["run"].as_str().unwrap();
    let html = std::fs::read_to_string(desk.path().join(format!("reports/drill-{run}.html"))).unwrap();
    assert_eq!(html.matches("Replica lag: ").count(), report["series"].as_array().unwrap().len() * 2);
    // Once it replays again it comes to have what the writer has.
    let replica = &report["replica"];
    assert_eq!(
        (replica["word"].as_str(), replica["converged"].as_bool()),
        (Some("converged"), Some(true)),
        "{replica:#}"
    );
    let written = report["integrity"]["acknowledged"].as_u64().unwrap();
    assert!(replica["rows"].as_u64().unwrap() >= written && written > 500, "{replica:#}");
    drill_support::made_again(&desk, &report);

    // One that somebody has stopped is told with how far it is, and nothing waits for it for ever.
    standby.psql("shop", "SELECT pg_wal_replay_pause()");
    let _application = Application::of(&primary);
    let path = scenario("backend-kill");
    let url = format!("target.processes.standby.url={}", standby.url("shop"));
    let (code, report) = drill(&desk, &quick(&path, &setting(["fault.victims=1", &url])));
    drill_support::must_be_met(code, &report);
    let replica = &report["replica"];
    assert_eq!(
        (replica["word"].as_str(), replica["converged"].as_bool()),
        (Some("behind"), Some(false)),
        "{replica:#}"
    );
    assert!(replica["behind_bytes"].as_u64().unwrap() > 10_000, "{replica:#}");
    assert!(replica["sentence"].as_str().unwrap().contains("though it streams"), "{replica:#}");
    schema_support::must_be("drill", &report);
}

/// Answers like an Alertmanager: with one alert once its file is there, and with none before. Keeps what it was asked.
struct Alertmanager {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Alertmanager {
    fn start(flag: std::path::PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                kept.lock().unwrap().extend(lines.next());
                lines.find(String::is_empty);
                let alert = r#"[{"labels": {"alertname": "SessionsEnded"}, "startsAt": "2026-11-20T02:00:30Z"}]"#;
                let body = if flag.exists() { alert } else { "[]" };
                let length = body.len();
                drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"));
            }
        });
        Self { url, asked }
    }
}

/// The row of an alert.
fn alert<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["alerts"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {rows:#?}"))
}

#[test]
#[ignore = "needs PostgreSQL 15: make test"]
fn alerts_that_were_expected_fire_or_are_missed() {
    let server = PgServer::start();
    shop(&server, false);
    let desk = desk(&server.url("shop"), &server);
    let (path, flag) = (scenario("backend-kill"), desk.path().join("fires"));
    let manager = Alertmanager::start(flag.clone());
    // It fires once the application's session has been ended.
    let application = Application::of(&server);
    let watching = {
        let (flag, mut session) = (flag.clone(), application);
        std::thread::spawn(move || {
            // Its client ends when its session is ended.
            drop(session.0.wait());
            std::fs::write(flag, "").unwrap();
        })
    };
    let alerts = format!(
        r#"alerts=[{{"name": "SessionsEnded", "within": "1m", "alertmanager": "{}", "labels": {{"alertname": "SessionsEnded"}}}},
           {{"name": "pager", "within": "1m", "command": ["/bin/sh", "-c", "test -e {} && echo paged"]}}]"#,
        manager.url,
        flag.display()
    );
    let (code, report) = drill(&desk, &quick(&path, &setting(["fault.victims=1", &alerts, "objectives.detection=1m"])));
    watching.join().unwrap();
    drill_support::must_be_met(code, &report);
    schema_support::must_be("drill", &report);
    for (name, evidence) in [("SessionsEnded", "alertname=SessionsEnded; since"), ("pager", "paged")] {
        let row = alert(&report, name);
        assert_eq!((row["word"].as_str(), row["verdict"].as_str()), (Some("fired"), Some("met")), "{row:#}");
        assert!(row["evidence"].as_str().unwrap().contains(evidence), "{row:#}");
        assert!(row["since_fault"]["high"].as_f64().unwrap() > 0.0, "{row:#}");
    }
    let asked = manager.asked.lock().unwrap().clone();
    let wanted = "GET /api/v2/alerts?active=true&filter=alertname%3D%22SessionsEnded%22 HTTP/1.1";
    assert!(asked.len() > 3 && asked.iter().all(|line| line == wanted), "{asked:#?}");
    // Nothing else shows when the platform noticed.
    let noticed = report["timeline"].as_array().unwrap().iter().find(|moment| moment["symbol"] == "t3").unwrap();
    assert!(noticed["evidence"].as_str().unwrap().starts_with("the alert "), "{noticed:#}");
    assert_eq!(row(&report, "detection")["verdict"], "met");
    drill_support::made_again(&desk, &report);

    // One that never fires is missed, and the drill waits for its time; one that fires all the time says nothing.
    let _application = Application::of(&server);
    let alerts = |nobody: &str| {
        format!(
            r#"alerts=[{{"name": "never", "within": "20s", "command": ["false"]}},
            {{"name": "always", "within": "1m", "command": ["true"]}},
            {{"name": "nobody", "within": "2s", "command": ["{nobody}"]}}]"#
        )
    };
    let refused = desk.davit(&quick(&path, &setting(["fault.victims=1", &alerts("/nowhere/check")])));
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("the alert nobody: there is no program /nowhere/check"), "{}", refused.stderr);
    // That what it is written for is missing shows only when it is begun.
    desk.write("check", "#!/nowhere/sh\n");
    let check = desk.path().join("check");
    std::fs::set_permissions(&check, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let check = check.to_str().unwrap();
    let (code, report) = drill(&desk, &quick(&path, &setting(["fault.victims=1", &alerts(check)])));
    assert_eq!((code, report["verdict"]["word"].as_str()), (6, Some("missed")), "{:#}", report["verdict"]);
    assert!(sentence(&report).starts_with("alert never: it did not fire within 20.00 s of the fault"), "{report:#}");
    for (name, word, verdict) in
        [("never", "not fired", "missed"), ("always", "not known", "undecided"), ("nobody", "not known", "undecided")]
    {
        let row = alert(&report, name);
        assert_eq!((row["word"].as_str(), row["verdict"].as_str()), (Some(word), Some(verdict)), "{row:#}");
    }
    assert!(alert(&report, "always")["sentence"].as_str().unwrap().contains("before the fault"));
    assert!(alert(&report, "nobody")["sentence"].as_str().unwrap().contains(check));
}
