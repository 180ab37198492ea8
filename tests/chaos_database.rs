//! Faults of databases against real servers: each takes effect, is proven by evidence of its own, and is undone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests measure time")]

mod backup_support;
mod chaos_support;
mod support;

use async_trait::async_trait;
use chaos_support::{Diary, Site, SmallDisk, healed, request, snapshot, staging};
use davit::chaos::{self, Amount, Ending, GuardName, NoWitness, Request, Seed};
use davit::clock::{Clock, SharedClock, SystemClock};
use davit::error::Kind;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::postgres::PgServer;
use support::wait_until;

fn shop() -> PgServer {
    let server = PgServer::start();
    staging(&server);
    server
}

/// A client that stays connected until it is dropped.
struct Client(std::process::Child);

impl Client {
    fn of(server: &PgServer, name: &str) -> Self {
        let mut command = server.psql_command("shop");
        command.env("PGAPPNAME", name).stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn sessions(server: &PgServer, name: &str) -> String {
    server.psql("postgres", &format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn killed_backends_are_the_ones_that_the_seed_chose_and_no_others() {
    let (server, site) = (shop(), Site::new().await);
    let clients: Vec<Client> = (0..8).map(|_| Client::of(&server, "web")).collect();
    let _other = Client::of(&server, "report");
    wait_until(20, "nine clients", || sessions(&server, "web") == "8" && sessions(&server, "report") == "1");

    let mut wanted = request(&server, "backend-kill").with("application", "web");
    wanted.amount = Amount::Percent(30);
    wanted.seed = Some(Seed(7));
    let first = chaos::plan(&site.means, wanted.clone()).await.unwrap();
    let again = chaos::plan(&site.means, wanted.clone()).await.unwrap();
    assert_eq!((first.victims().len(), first.candidates), (2, 8), "30 % of 8, rounded down");
    assert_eq!(first.victims(), again.victims());
    // More than the caps allow is refused, and never cut down in silence.
    let mut many = wanted.clone();
    many.amount = Amount::Count(5);
    let refusal = site.refusal(many).await;
    assert!(refusal.kind() == Kind::Refused && refusal.to_string().contains("guard caps"), "{refusal}");
    assert!(refusal.hint_text().unwrap().contains("raise --max-count"), "{refusal}");
    // Whoever asks for a part has said how many: more than one of eight needs no other word, more than half does.
    let mut most = wanted.clone();
    most.amount = Amount::Percent(80);
    assert!(site.refusal(most.clone()).await.to_string().contains("6 of 8; the cap is 50 %, rounded down: 4"));
    most.max_percent = Some(80);
    assert_eq!(chaos::plan(&site.means, most).await.unwrap().victims().len(), 6);
    assert_eq!(sessions(&server, "web"), "8", "a plan changes nothing");

    let diary = Diary::default();
    let injection = site.inject(wanted, &diary).await;
    assert_eq!((sessions(&server, "web").as_str(), sessions(&server, "report").as_str()), ("6", "1"));
    healed(&injection.heal(&diary).await);
    let lines = diary.lines();
    assert_eq!(&lines[..4], ["planned", "lease-taken", "intent-durable", "intent-durable"]);
    assert_eq!(lines.last().unwrap(), "lease-released");
    drop(clients);
    wait_until(20, "no client", || sessions(&server, "web") == "0");
    let nobody = site.refusal(request(&server, "backend-kill").with("application", "web")).await;
    assert!(nobody.kind() == Kind::Refused && nobody.to_string().contains("nothing"), "{nobody}");
}

/// A request by a login that may read which environment it is, and nothing else.
fn by_a_clerk(server: &PgServer, fault: &str) -> Request {
    let url = server.url("shop").replacen("postgres@", "clerk@", 1);
    Request::new(fault, url.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_login_that_may_not_is_told_so_with_the_grant_before_anything_is_touched() {
    let (server, site) = (shop(), Site::new().await);
    server.psql(
        "shop",
        "CREATE ROLE clerk LOGIN; GRANT USAGE ON SCHEMA davit TO clerk; GRANT SELECT ON davit.environment TO clerk",
    );
    let standby = server.standby(&[]);
    wait_until(20, "the clerk on the standby", || {
        standby.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'clerk'") == "1"
    });
    let _client = Client::of(&server, "web");
    wait_until(20, "a client", || sessions(&server, "web") == "1");
    let before = (snapshot(&server), snapshot(&standby));
    let lock = || by_a_clerk(&server, "lock-storm").with("tables", "orders");
    let wanted = [
        (lock(), "may not lock public.orders (GRANT SELECT, UPDATE ON public.orders TO \"clerk\")"),
        (by_a_clerk(&server, "read-only"), "may not change settings of the database shop"),
        (
            by_a_clerk(&server, "read-only"),
            "nor see the sessions of other roles (GRANT pg_read_all_stats TO \"clerk\")",
        ),
        (by_a_clerk(&standby, "replay-pause"), "may not call pg_wal_replay_pause"),
        (by_a_clerk(&standby, "failover"), "may not call pg_promote"),
        (
            request(&server, "connection-exhaustion")
                .with("as", &server.url("shop").replacen("postgres@", "nobody@", 1)),
            "nobody",
        ),
    ];
    for (request, why) in wanted {
        let fault = request.fault.clone();
        let refusal = site.refusal(request).await;
        let text = refusal.to_string();
        assert!(
            refusal.kind() == Kind::Refused && text.contains("guard permission") && text.contains(why),
            "{fault}: {text}"
        );
    }
    assert_eq!((snapshot(&server), snapshot(&standby)), before);

    // Those whose sessions it sees and may not end, until it is granted; a superuser's it never may.
    server.psql("shop", "GRANT pg_read_all_stats TO clerk");
    let kill = || by_a_clerk(&server, "backend-kill").with("application", "web").capped(1, 100);
    assert!(site.refusal(kill()).await.to_string().contains("may not end all of these sessions"));
    server.psql("shop", "GRANT pg_signal_backend TO clerk; ALTER DATABASE shop OWNER TO clerk");
    assert!(site.refusal(kill()).await.to_string().contains("sessions of superusers are ended by superusers alone"));
    assert!(site.refusal(by_a_clerk(&server, "read-only")).await.to_string().contains("may not end all of these"));
    server.psql("shop", "GRANT SELECT, UPDATE ON orders TO clerk");
    let diary = Diary::default();
    healed(&site.inject(lock(), &diary).await.heal(&diary).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn connections_run_out_for_everybody_and_come_back() {
    let (server, site) = (shop(), Site::new().await);
    server.psql("shop", "CREATE ROLE app LOGIN");
    let before = snapshot(&server);
    let app = server.url("shop").replace("postgres@", "app@");
    let diary = Diary::default();
    let injection = site.inject(request(&server, "connection-exhaustion").with("as", &app), &diary).await;
    let refused = || {
        let mut psql = std::process::Command::new(support::postgres::bin_dir(15).join("psql"));
        let output = psql.args(["-X", "-d", &app, "-c", "SELECT 1"]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let refused = refused();
    assert!(refused.contains("remaining connection slots") || refused.contains("too many clients"), "{refused}");
    healed(&injection.heal(&diary).await);
    assert_eq!(snapshot(&server), before);

    // As a superuser it takes the last places, too, and its own undo still finds a way in.
    let injection = site.inject(request(&server, "connection-exhaustion"), &diary).await;
    healed(&injection.heal(&diary).await);
    assert_eq!(snapshot(&server), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_lock_storm_is_proven_by_a_session_that_waits_and_ends_by_itself_without_a_runner() {
    let (server, site) = (shop(), Site::new().await);
    let before = snapshot(&server);
    let diary = Diary::default();
    let storm = || request(&server, "lock-storm").with("tables", "public.orders,customers");
    let injection = site.inject(storm(), &diary).await;
    let waits = "SET lock_timeout = '100ms'; SELECT count(*) FROM customers";
    let output = server.psql_command("shop").args(["-c", waits]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("lock timeout"), "{output:?}");
    healed(&injection.heal(&diary).await);
    assert_eq!(snapshot(&server), before);

    // The server itself ends what nobody heals: the session is kept from being closed with its owner.
    let injection = site.inject(storm().lasting(Duration::from_secs(5)), &diary).await;
    std::mem::forget(injection);
    wait_until(20, "the end of the storm", || snapshot(&server) == before);
    let left = chaos::open_intents(&site.means).await.unwrap();
    assert_eq!(left.len(), 1, "the intent stays until somebody has looked");
    let refusal = site.refusal(storm()).await;
    assert!(refusal.to_string().contains("guard open-intent"), "{refusal}");
    assert!(refusal.hint_text().unwrap().contains("janitor"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn slow_queries_are_at_work_and_gone_afterwards() {
    let (server, site) = (shop(), Site::new().await);
    let before = snapshot(&server);
    let diary = Diary::default();
    let injection = site.inject(request(&server, "slow-queries").with("sessions", "3"), &diary).await;
    let active =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1, 10000000000000)%'
                  AND pid <> pg_backend_pid()";
    assert_eq!(server.psql("shop", active), "3");
    healed(&injection.heal(&diary).await);
    assert_eq!(snapshot(&server), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn replay_is_paused_and_resumed_also_by_the_standby_itself() {
    let (server, site) = (shop(), Site::new().await);
    let standby = server.standby(&[]);
    let diary = Diary::default();
    let replayed = || standby.psql("shop", "SELECT count(*) FROM customers");
    wait_until(20, "the rows on the standby", || replayed() == "10");
    let before = snapshot(&standby);
    let pause = || request(&standby, "replay-pause").with("primary", &server.url("postgres"));
    let injection = site.inject(pause(), &diary).await;
    server.psql("shop", "INSERT INTO customers VALUES (11)");
    assert_eq!(replayed(), "10");
    // A pause that somebody else made is not ours to undo.
    drop(injection.heal(&diary).await);
    wait_until(20, "replay going on", || replayed() == "11");
    server.psql("shop", "DELETE FROM customers WHERE id = 11");
    wait_until(20, "replay going on", || replayed() == "10");
    assert_eq!(snapshot(&standby), before);
    standby.psql("postgres", "SELECT pg_wal_replay_pause()");
    let refusal = site.refusal(pause()).await;
    assert!(refusal.to_string().contains("somebody else has paused it"), "{refusal}");
    standby.psql("postgres", "SELECT pg_wal_replay_resume()");

    // Nobody heals, and nobody holds the session any more: the standby resumes by itself.
    let injection = site.inject(pause().lasting(Duration::from_secs(10)), &diary).await;
    drop(injection);
    assert!(snapshot(&standby).contains("paused|1"), "it lasts while its time lasts");
    wait_until(20, "the standby resuming", || snapshot(&standby) == before);
    healed(&chaos::janitor(&site.means, None, &NoWitness).await.unwrap().healing);
    // A primary has nothing to pause.
    let refusal = site.refusal(request(&server, "replay-pause").lifting(GuardName::Quorum)).await;
    assert!(refusal.to_string().contains("it is no standby"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_database_takes_no_writes_until_its_own_setting_is_back() {
    let (server, site) = (shop(), Site::new().await);
    server.psql(
        "postgres",
        "ALTER DATABASE shop SET default_transaction_read_only = off; ALTER DATABASE shop SET work_mem = '8MB'",
    );
    let before = snapshot(&server);
    let _pooled = Client::of(&server, "web");
    wait_until(20, "a client", || sessions(&server, "web") == "1");
    let diary = Diary::default();
    let injection = site.inject(request(&server, "read-only"), &diary).await;
    let write = || server.psql_command("shop").args(["-c", "INSERT INTO customers VALUES (12)"]).output().unwrap();
    assert!(String::from_utf8_lossy(&write().stderr).contains("read-only transaction"));
    assert_eq!(sessions(&server, "web"), "0", "a session that began before would not have noticed");
    healed(&injection.heal(&diary).await);
    assert_eq!(snapshot(&server), before);
    assert!(write().status.success());
    server.psql("shop", "DELETE FROM customers WHERE id = 12");

    let injection = site.inject(request(&server, "read-only").lasting(Duration::from_secs(5)), &diary).await;
    drop(injection);
    // From another database: sessions of this one are ended when it is put back.
    wait_until(20, "the server putting it back by itself", || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit/chaos-%'";
        server.psql("postgres", left) == "0"
    });
    wait_until(20, "the server putting it back by itself", || snapshot(&server) == before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_crash_leaves_no_process_and_a_start_command_undoes_it() {
    let (server, site) = (shop(), Site::new().await);
    let diary = Diary::default();
    let pid = server.pid();
    let crash = request(&server, "primary-crash").with("start", &server.start_command());
    let injection = site.inject(crash, &diary).await;
    let seen = &injection.proofs()[0].evidence().unwrap().seen;
    assert!(seen.starts_with(&format!("process {pid} and its")), "{seen}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err());
    let effective = injection.effective().unwrap();
    let known = site.means.clock.monotonic();
    assert!(effective.low >= injection.requested && effective.high <= known, "{effective:?}, known at {known:?}");
    healed(&injection.heal(&diary).await);
    assert_eq!(server.psql("shop", "SELECT count(*) FROM orders"), "5000");
    server.psql_command("postgres").args(["-c", "SELECT pg_terminate_backend(pg_backend_pid())"]).output().unwrap();
    let stop = format!("kill -QUIT $(head -1 {}/postmaster.pid)", server.data().display());
    assert!(std::process::Command::new("sh").args(["-c", &stop]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_paused_server_answers_nothing_and_goes_on_also_without_a_runner() {
    let (server, site) = (shop(), Site::new().await);
    let before = snapshot(&server);
    let diary = Diary::default();
    let answers = |limit: &str| {
        let mut psql = std::process::Command::new("timeout");
        psql.arg(limit).arg(support::postgres::bin_dir(15).join("psql")).args([
            "-XAtq",
            "-d",
            &server.url("shop"),
            "-c",
            "SELECT 1",
        ]);
        psql.output().unwrap().status.success()
    };
    assert!(answers("10"));
    let injection = site.inject(request(&server, "primary-pause"), &diary).await;
    assert!(!answers("1"));
    healed(&injection.heal(&diary).await);
    assert!(answers("10"));
    assert_eq!(snapshot(&server), before);

    let injection = site.inject(request(&server, "primary-pause").lasting(Duration::from_secs(5)), &diary).await;
    drop(injection);
    assert!(answers("30"), "the helper lets it go on");
    wait_until(20, "the helper's end", || snapshot(&server) == before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root on Linux and PostgreSQL 15: make test"]
async fn a_full_disk_is_met_by_the_server_and_has_room_again() {
    let disk = SmallDisk::new(320);
    let server = PgServer::start_in(disk.0.path(), 15, &[]);
    staging(&server);
    let site = Site::new().await;
    let before = snapshot(&server);
    let diary = Diary::default();
    let refusal = site.refusal(request(&server, "disk-full").with("most", "5")).await;
    assert!(refusal.to_string().contains("are allowed"), "{refusal}");
    let injection = site.inject(request(&server, "disk-full"), &diary).await;
    let seen = &injection.proofs()[0].evidence().unwrap().seen;
    assert!(seen.contains("53100"), "{seen}");
    healed(&injection.heal(&diary).await);
    assert_eq!(snapshot(&server), before);
    let injection = site.inject(request(&server, "disk-full").lasting(Duration::from_secs(5)), &diary).await;
    drop(injection);
    wait_until(20, "the helper deleting the file", || snapshot(&server) == before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_standby_is_promoted_only_when_its_primary_is_gone() {
    let (mut server, site) = (shop(), Site::new().await);
    let standby = server.standby(&[]);
    wait_until(20, "the shop on the standby", || {
        standby.psql("postgres", "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
            && standby.psql("shop", "SELECT count(*) FROM orders") == "5000"
    });
    let refusal = site.refusal(request(&standby, "failover")).await;
    assert!(refusal.to_string().contains("guard split-brain"), "{refusal}");
    server.stop();
    wait_until(20, "the standby noticing", || {
        standby.psql("postgres", "SELECT count(*) FROM pg_stat_wal_receiver") == "0"
    });
    let diary = Diary::default();
    let injection = site.inject(request(&standby, "failover"), &diary).await;
    let seen = &injection.proofs()[0].evidence().unwrap().seen;
    assert_eq!(seen, "it writes on timeline 2, and was on 1");
    healed(&injection.heal(&diary).await);
    standby.psql("shop", "INSERT INTO customers VALUES (11)");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn data_are_destroyed_only_where_it_was_allowed_and_a_proven_backup_is_there() {
    let (server, site) = (shop(), Site::new().await);
    let faults = || {
        [
            request(&server, "bad-delete").with("table", "orders").with("where", "id <= 1000"),
            request(&server, "corrupted-page").with("table", "orders").with("page", "3"),
            request(&server, "dropped-table").with("table", "public.orders"),
        ]
    };
    for wanted in faults() {
        let refusal = site.refusal(wanted.lifting(GuardName::Disposable).lifting(GuardName::VerifiedBackup)).await;
        let text = refusal.to_string();
        assert!(text.contains("guard disposable") && text.contains("guard verified-backup"), "{text}");
    }
    server.psql("shop", "UPDATE davit.environment SET disposable = true");
    let report =
        backup_support::backup(backup_support::request(&server, "shop"), &site.means.repository).await.unwrap();
    for wanted in faults() {
        let text = site.refusal(wanted).await.to_string();
        assert!(
            text.contains("no backup of this database was restored and compared: ") && !text.contains("disposable"),
            "{text}"
        );
    }
    prove(&site, &report).await;
    let mut stale = faults()[0].clone();
    stale.backup_age = Duration::ZERO;
    assert!(site.refusal(stale).await.to_string().contains("guard verified-backup"));

    // A login that may not is refused although everything else allows it.
    server.psql("shop", "CREATE ROLE clerk LOGIN; GRANT USAGE ON SCHEMA davit TO clerk; GRANT SELECT ON davit.environment, orders TO clerk");
    for (wanted, why) in faults().into_iter().zip(["delete rows of", "what only a superuser may", "drop public.orders"])
    {
        let target = by_a_clerk(&server, &wanted.fault).target;
        let text = site.refusal(Request { target, ..wanted }).await.to_string();
        assert!(text.contains("guard permission: \"clerk\" may not") && text.contains(why), "{text}");
    }
    let diary = Diary::default();
    for (wanted, seen) in faults().into_iter().zip(["1000 rows of", "XX001", "does not know"]) {
        let injection = site.inject(wanted, &diary).await;
        let evidence = injection.proofs()[0].evidence().unwrap().seen.clone();
        assert!(evidence.contains(seen), "{evidence}");
        healed(&injection.heal(&diary).await);
    }
    assert_eq!(server.psql("shop", "SELECT to_regclass('orders') IS NULL"), "t");
    // A statement that would hit nothing is refused before it is tried.
    let none = request(&server, "bad-delete").with("table", "customers").with("where", "false");
    assert!(site.refusal(none).await.to_string().contains("nothing"));
}

/// Says in the repository, as a verification would, that a point was restored and compared.
async fn prove(site: &Site, report: &davit::backup::take::BackupReport) {
    use davit::id::RunId;
    use davit::repository::{Depth, Evidence};
    let repository = &site.means.repository;
    let points = repository.points(None).await.unwrap();
    let point = points.iter().find(|point| *point.point() == report.point).unwrap();
    let evidence = Evidence {
        run: RunId::at(repository.clock().now()),
        point: report.point.clone(),
        manifest_sha256: point.link.manifest_sha256,
        depth: Depth::Restored,
        ok: true,
        when: repository.clock().now(),
        seconds: 1.0,
        chunks: 1,
        damage: Vec::new(),
        checks: Vec::new(),
        tool: "test".to_owned(),
    };
    repository.record_evidence(point, &evidence).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_target_that_says_nothing_another_environment_and_production_are_refused_before_anything_is_touched() {
    let (server, site) = (PgServer::start(), Site::new().await);
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE orders (id int)");
    let storm = || request(&server, "lock-storm").with("tables", "orders");
    let refusal = site.refusal(storm()).await;
    assert!(
        refusal.to_string().contains("guard opt-in") && refusal.to_string().contains("guard environment"),
        "{refusal}"
    );
    assert!(refusal.hint_text().unwrap().contains("--lift opt-in for this run"));
    server.psql(
        "shop",
        "CREATE SCHEMA davit; CREATE TABLE davit.environment AS SELECT 'production' AS name, false AS disposable",
    );
    let refusal = site.refusal(storm()).await;
    assert!(refusal.to_string().contains("--confirm shop"), "{refusal}");
    let mut confirmed = storm();
    confirmed.confirmed = Some("shop".to_owned());
    chaos::plan(&site.means, confirmed.clone()).await.unwrap();
    confirmed.environment = Some("staging".to_owned());
    assert!(
        site.refusal(confirmed)
            .await
            .to_string()
            .contains("guard environment: shop is production, and staging was meant")
    );

    // What cannot be meant, and what cannot be reached.
    let wrong = site.refusal(request(&server, "lock-strom")).await;
    assert!(wrong.kind() == Kind::Input && wrong.hint_text().unwrap().contains("lock-storm"), "{wrong}");
    let wrong = site.refusal(storm().with("table", "orders")).await;
    assert!(wrong.kind() == Kind::Input && wrong.hint_text().unwrap().contains("tables"), "{wrong}");
    assert_eq!(site.refusal(request(&server, "lock-storm")).await.kind(), Kind::Input);
    let nobody = chaos::Request::new("read-only", "postgres://postgres@127.0.0.1:1/shop".parse().unwrap());
    assert_eq!(site.refusal(nobody).await.kind(), Kind::Refused);
    assert!(chaos::open_intents(&site.means).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn two_never_break_things_at_once_and_stop_reaches_a_run_elsewhere() {
    let (server, site) = (shop(), Site::new().await);
    let other = chaos_support::means(site.directory.path()).await;
    let diary = Diary::default();
    let storm = || request(&server, "lock-storm").with("tables", "orders").lasting(Duration::from_mins(1));
    // Planned before the first one began.
    let second = chaos::plan(&other, request(&server, "slow-queries")).await.unwrap();
    let injection = site.inject(storm(), &diary).await;
    let refusal = chaos::inject(&other, second, &NoWitness).await.unwrap_err();
    assert!(refusal.kind() == Kind::Refused && refusal.to_string().contains("guard lease"), "{refusal}");
    let refusal = chaos::janitor(&other, None, &NoWitness).await.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Refused, "its runner lives and heals itself");

    let run = injection.run().clone();
    let watching = async {
        let ending = injection.watch(&diary, std::future::pending()).await;
        assert_eq!(ending, chaos::Ending::Stopped { how: "davit chaos stop".to_owned() });
        healed(&injection.heal(&diary).await);
    };
    let (stopped, ()) = tokio::join!(chaos::stop_run(&other, &run), watching);
    assert_eq!(stopped.unwrap(), 1);

    // An abort condition ends it, too; so does an alarm of whoever watches from outside.
    let mut wanted = storm();
    let file = site.directory.path().join("healthy");
    std::fs::write(&file, "").unwrap();
    wanted.abort = vec![chaos::Condition::Unless(format!("test -e {}", file.display()))];
    let injection = site.inject(wanted, &diary).await;
    let broken = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::fs::remove_file(&file).unwrap();
    };
    let (ending, ()) = tokio::join!(injection.watch(&diary, std::future::pending()), broken);
    assert!(matches!(&ending, chaos::Ending::Aborted { why } if why.contains("ended with")), "{ending:?}");
    healed(&injection.heal(&diary).await);
    let injection = site.inject(storm(), &diary).await;
    let ending = injection.watch(&diary, async { "the error rate is 12 %".to_owned() }).await;
    assert_eq!(ending, chaos::Ending::Aborted { why: "the error rate is 12 %".to_owned() });
    healed(&injection.heal(&diary).await);
}

/// A clock of a machine that was suspended for so many seconds: it went on, and whoever slept did not.
#[derive(Debug)]
struct Suspended(SharedClock, AtomicU64);

#[async_trait]
impl Clock for Suspended {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() + Duration::from_secs(self.1.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_fault_whose_time_was_over_while_the_machine_was_suspended_ends_when_it_wakes() {
    let (server, mut site) = (shop(), Site::new().await);
    let machine = Arc::new(Suspended(SystemClock::shared(), AtomicU64::new(0)));
    site.means.clock = machine.clone();
    site.means.lease_term = Duration::from_hours(1);
    let diary = Diary::default();
    let storm = request(&server, "lock-storm").with("tables", "orders").lasting(Duration::from_mins(2));
    let injection = site.inject(storm, &diary).await;
    let mut watching = Box::pin(injection.watch(&diary, std::future::pending()));
    assert!(futures_util::poll!(&mut watching).is_pending());
    machine.1.store(600, Ordering::SeqCst);
    let ending = tokio::time::timeout(Duration::from_secs(20), watching).await.unwrap();
    assert_eq!(ending, Ending::TimeUp);
    healed(&injection.heal(&diary).await);
}
