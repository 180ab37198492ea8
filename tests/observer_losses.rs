//! A primary that is killed under writers, and its standby promoted: what the ledger says is lost must be, row for row,
//! what the dead primary's own log says it had committed and the survivor does not have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]
#![allow(
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::similar_names,
    reason = "tests show what they measured"
)]
#![allow(clippy::unchecked_time_subtraction, reason = "a clock that goes back should stop a test")]

mod support;

use davit::chaos::proxy::{Conditions, Mode, Proxy};
use davit::clock::{SharedClock, SystemClock};
use davit::drill::dial::Server;
use davit::measure::agreement::{Agreement, agreement};
use davit::measure::ledger::{Survivor, classify};
use davit::measure::loss::{contradictions, loss};
use davit::measure::{Attempt, Classes, Interval, Loss, Outcome, Read, Shape};
use davit::postgres::waldump::{commits_since, forks};
use davit::postgres::{ConnInfo, PgEnvironment};
use davit::probe::ledger::{Ledger, Table};
use davit::probe::load::{Load, LoadPlan, Written};
use davit::probe::sql::{Link, SharedDial, settings};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::postgres::{PgServer, bin_dir};
use support::wait_until;

const PATIENCE: Duration = Duration::from_secs(5);

fn dial(server: &PgServer) -> SharedDial {
    Server::shared(ConnInfo::parse(&server.url("postgres"), &PgEnvironment::default()).unwrap())
}

async fn link(server: &PgServer) -> Box<dyn Link> {
    dial(server).dial(&[]).await.unwrap()
}

/// A primary, its standby, and the wire between them.
struct Pair {
    primary: PgServer,
    standby: PgServer,
    wire: Proxy,
    clock: SharedClock,
    table: Table,
    ledger: Arc<Ledger>,
    directory: tempfile::TempDir,
}

impl Pair {
    async fn start(synchronous: bool) -> Self {
        let clock = SystemClock::shared();
        let primary = PgServer::start_with(15, &["autovacuum=off"]);
        let wire = Proxy::start("127.0.0.1:0".parse().unwrap(), &format!("127.0.0.1:{}", primary.port), clock.clone())
            .unwrap();
        let through = format!("primary_conninfo=host=127.0.0.1 port={} user=postgres", wire.address().port());
        let standby = primary.standby(&[&through, "autovacuum=off"]);
        let table = Table::create(&*link(&primary).await, "losses").await.unwrap();
        if synchronous {
            primary.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
            primary.psql("postgres", "SELECT pg_reload_conf()");
        }
        wait_until(60, "the table on the standby", || {
            standby.psql("postgres", "SELECT to_regclass('davit.ledger_losses') IS NOT NULL") == "t"
        });
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(&directory.path().join("ledger"), 7, clock.clone()).unwrap();
        Self { primary, standby, wire, clock, table, ledger, directory }
    }

    fn load(&self, rate: u32) -> Load {
        let plan = LoadPlan {
            rate,
            writers: 16,
            patience: PATIENCE,
            dial: dial(&self.primary),
            settings: settings(PATIENCE, 15),
            table: self.table.name().to_owned(),
        };
        Load::start(plan, self.ledger.clone(), self.clock.clone()).unwrap()
    }

    /// Kills the primary with all its processes; gives when it was asked for and when all were gone.
    fn kill(&self) -> Interval {
        let asked = self.clock.monotonic();
        let postmaster = self.primary.pid();
        signal("-STOP", &[postmaster]);
        let mut tree = children(postmaster);
        tree.push(postmaster);
        signal("-KILL", &tree);
        wait_until(20, "the process tree being gone", || tree.iter().all(|pid| gone(*pid)));
        Interval::new(asked, self.clock.monotonic())
    }

    /// Cuts the wire, so that nothing that was under way arrives, and promotes the standby.
    fn promote(&self) {
        self.wire.set(Conditions::only(Mode::Reset));
        let reset =
            || self.standby.psql("postgres", "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'");
        wait_until(20, "the standby without its primary", || reset() == "0");
        self.standby.psql("postgres", "SELECT pg_promote()");
        wait_until(60, "a writer again", || self.standby.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
    }

    async fn compare(&self, fault: Interval) -> Compared {
        let survivor = link(&self.standby).await;
        let rows = self.table.read(&*survivor).await.unwrap();
        let again = self.table.read(&*survivor).await.unwrap();
        let account = Ledger::reread(&self.directory.path().join("ledger")).unwrap();
        let attempts: Vec<Attempt> = account.attempts(rows.iter().map(|(id, _)| *id)).collect();
        let reads: [Read; 2] = [rows.into_iter().collect(), again.into_iter().collect()];
        let classes = classify(&attempts, &reads, Survivor { timeline: Some(2), fault: fault.high });
        let history = self.standby.psql("postgres", "SELECT pg_read_file('pg_wal/00000002.history')");
        let (timeline, fork) = *forks(&history).last().unwrap();
        let wal = self.primary.data().join("pg_wal");
        let commits = commits_since(&bin_dir(15).join("pg_waldump"), &wal, timeline, fork).await.unwrap();
        let committed: BTreeSet<u32> = commits.iter().map(|commit| commit.xid).collect();
        let agreement = agreement(&attempts, &classes, &committed);
        let loss = loss(&attempts, &classes, fault).with_fork(&attempts, timeline, fork);
        let contradictions = contradictions(&attempts, &classes, timeline, fork);
        Compared { attempts, classes, agreement, loss, contradictions, committed: committed.len() }
    }
}

struct Compared {
    attempts: Vec<Attempt>,
    classes: Classes,
    agreement: Agreement,
    loss: Loss,
    contradictions: Vec<u64>,
    committed: usize,
}

impl Compared {
    /// Ledger and log say the same, and nothing else is odd.
    fn check(&self, written: Written) {
        assert!(self.agreement.whole(), "{:?}", self.agreement);
        assert_eq!(self.agreement.both.len(), self.committed);
        assert!(self.classes.strange().is_empty(), "{:?}", self.classes.strange());
        assert_eq!(self.contradictions, [] as [u64; 0]);
        let ok = self.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Ok).count();
        assert_eq!(ok as u64, written.ok);
    }
}

fn signal(signal: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    std::process::Command::new("kill").arg(signal).args(pids).stderr(std::process::Stdio::null()).status().unwrap();
}

fn children(parent: u32) -> Vec<u32> {
    let of = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid| of(*pid) == Some(parent)).collect()
}

fn gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_none_or(|state| "ZX".contains(state))
}

async fn asynchronous(round: u64) {
    let pair = Pair::start(false).await;
    let load = pair.load(1_500);
    wait_until(60, "writes", || load.written().ok > 500);
    // Slow enough that the standby falls behind whatever this machine can write.
    pair.wire.set(Conditions { bandwidth: Some(10_000), ..Conditions::default() });
    let begin = (pair.clock.monotonic(), load.written().ok);
    let behind =
        "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), write_lsn)), 0) > 200000 FROM pg_stat_replication";
    wait_until(60, "the standby falling behind", || pair.primary.psql("postgres", behind) == "t");
    // The phase is another one in each round.
    pair.clock.sleep(Duration::from_millis(1_500 + round * 137)).await;
    let rate = (load.written().ok - begin.1) as f64 / (pair.clock.monotonic() - begin.0).as_secs_f64();
    let fault = pair.kill();
    pair.promote();
    let written = load.stop().await.unwrap();
    let compared = pair.compare(fault).await;
    eprintln!(
        "round {round}: {rate:.0} writes/s, {} acknowledged, {} lost, {} vanished ({} never committed), the log has {} \
         after the fork; {:?}, {} bytes, oldest {}",
        written.ok,
        compared.classes.lost.len(),
        compared.classes.vanished.len(),
        compared.agreement.never_committed.len(),
        compared.committed,
        compared.loss.shape,
        compared.loss.bytes.unwrap_or_default(),
        compared.loss.age,
    );
    compared.check(written);
    assert!(compared.classes.lost.len() >= 50, "{} lost", compared.classes.lost.len());
    assert_eq!(compared.loss.shape, Shape::Suffix);
}

async fn synchronous(round: u64) {
    let pair = Pair::start(true).await;
    wait_until(60, "a synchronous standby", || {
        pair.primary.psql("postgres", "SELECT sync_state FROM pg_stat_replication") == "sync"
    });
    let load = pair.load(1_000);
    wait_until(60, "writes", || load.written().ok > 500);
    // Waits for the standby are cancelled, once all of them wait.
    pair.wire.set(Conditions::only(Mode::Hold));
    let waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until(20, "a cancelled wait", || pair.primary.psql("postgres", waiting).contains('t'));
    wait_until(20, "a write of unknown outcome", || load.written().unknown > 0);
    pair.wire.set(Conditions { bandwidth: Some(200_000), ..Conditions::default() });
    let so_far = load.written().ok;
    wait_until(60, "writes again", || load.written().ok > so_far + 200 + round * 31);
    let fault = pair.kill();
    pair.promote();
    let written = load.stop().await.unwrap();
    let compared = pair.compare(fault).await;
    eprintln!(
        "round {round}: {} acknowledged, {} lost, {} unknown, {} recovered, {} vanished, the log has {} after the fork",
        written.ok,
        compared.classes.lost.len(),
        written.unknown,
        compared.classes.recovered.len(),
        compared.classes.vanished.len(),
        compared.committed
    );
    compared.check(written);
    assert_eq!(compared.classes.lost.len(), 0);
    assert!(written.unknown > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn the_ledger_and_the_log_of_a_killed_primary_agree_on_every_lost_row() {
    for round in 0..2 {
        asynchronous(round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL 15: make test"]
async fn a_synchronous_standby_loses_no_acknowledged_row_and_cancelled_waits_are_not_acknowledged() {
    synchronous(0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn soak_ledger_and_log_agree_in_ten_runs_and_ten_synchronous_ones_lose_nothing() {
    for round in 0..10 {
        asynchronous(round).await;
    }
    for round in 0..10 {
        synchronous(round).await;
    }
}
