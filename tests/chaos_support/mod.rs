//! A repository in a directory, a server that lets faults in, what a run writes down, and a runner that is killed.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a runner gets its orders through its environment")]

use crate::support::postgres::PgServer;
use async_trait::async_trait;
use davit::chaos::{self, Event, Healing, Injection, Means, Request, Witness};
use davit::clock::SystemClock;
use davit::error::Result;
use davit::repository::{InitOptions, Keys, OpenContext, Repository};
use davit::store::{OpenOptions, open};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A repository with its keys in a directory.
pub async fn make_repository(directory: &Path) {
    let clock = SystemClock::shared();
    let options = OpenOptions { create: true, ..OpenOptions::default() };
    let store = open(directory.join("repository").to_str().unwrap(), &options, clock.clone()).await.unwrap();
    let init = InitOptions { keys_dir: Some(directory.join("keys")), ..InitOptions::default() };
    Repository::init(store, &init, clock).await.unwrap();
}

/// Means that work with it, as a process of their own would.
pub async fn means(directory: &Path) -> Means {
    let clock = SystemClock::shared();
    let store =
        open(directory.join("repository").to_str().unwrap(), &OpenOptions::default(), clock.clone()).await.unwrap();
    let keys = Keys::load(&directory.join("keys")).unwrap();
    let repository = Repository::open(store, keys, OpenContext::new(clock.clone())).await.unwrap();
    let mut means = Means::new(repository, clock, format!("test {}", std::process::id()));
    means.lease_term = Duration::from_secs(1);
    means
}

/// A repository in a directory that goes with it, and means that work with it.
pub struct Site {
    pub directory: tempfile::TempDir,
    pub means: Means,
}

impl Site {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_repository(directory.path()).await;
        let mut means = means(directory.path()).await;
        // This process works on at once, and a busy machine may keep it from renewing for a while.
        means.lease_term = Duration::from_secs(10);
        Self { directory, means }
    }

    /// Plans and injects; the fault must be proven.
    pub async fn inject(&self, request: Request, diary: &Diary) -> Injection {
        let plan = chaos::plan(&self.means, request).await.unwrap();
        let injection = chaos::inject(&self.means, plan, diary).await.unwrap();
        assert!(injection.effective().is_some(), "{:?}", injection.proofs());
        injection
    }

    /// Why a request is refused.
    pub async fn refusal(&self, request: Request) -> davit::error::Error {
        chaos::plan(&self.means, request).await.err().unwrap_or_else(|| panic!("it was not refused"))
    }
}

/// Healed, and proven to be.
pub fn healed(healing: &Healing) {
    healing.result().unwrap();
    assert!(!healing.healed.is_empty());
}

/// A server whose database `shop` is of staging and has two tables.
pub fn staging(server: &PgServer) {
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE SCHEMA davit; CREATE TABLE davit.environment (name text, disposable boolean);
         INSERT INTO davit.environment VALUES ('staging', false);
         CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS note FROM generate_series(1, 5000) i;
         CREATE TABLE customers AS SELECT i AS id FROM generate_series(1, 10) i",
    );
}

/// A request for a fault in the shop of a server.
pub fn request(server: &PgServer, fault: &str) -> Request {
    Request::new(fault, server.url("shop").parse().unwrap())
}

/// What a run wrote down.
#[derive(Debug, Default)]
pub struct Diary(pub Mutex<Vec<Event>>);

impl Diary {
    pub fn lines(&self) -> Vec<String> {
        let name = |event: &Event| serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned();
        self.0.lock().unwrap().iter().map(name).collect()
    }
}

#[async_trait]
impl Witness for Diary {
    async fn line(&self, event: Event) -> Result<()> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }
}

/// Where a runner finds its orders.
const ORDERS: &str = "DAVIT_TEST_RUNNER";

/// What this process was ordered to do, if it is a runner.
pub fn orders() -> Option<Value> {
    let orders = std::env::var(ORDERS).ok()?;
    Some(serde_json::from_str(&orders).unwrap())
}

/// Two lines of a journal after which the runner of `fault` is killed, drawn from a seed (`DAVIT_SEED` is another one): of 4 to
/// 8, between the first effect and its undo, where it matters most.
pub fn two_lines(fault: &str) -> [u32; 2] {
    let seed: u64 = std::env::var("DAVIT_SEED").map_or(1, |seed| seed.parse().unwrap());
    let own = fault.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let drawn = rand::seq::index::sample(&mut StdRng::seed_from_u64(own), 5, 2);
    let mut lines = [drawn.index(0), drawn.index(1)].map(|line| 4 + u32::try_from(line).unwrap());
    lines.sort_unstable();
    lines
}

/// Calls one test of this program again, as a runner with these orders: whether it was killed. Where it was not, it must
/// have ended well.
pub fn was_killed(test: &str, orders: &Value) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ORDERS, orders.to_string());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{orders}: {:?}: {said}", output.status);
    killed
}

/// What a runner does: injects the fault that was ordered, proves and heals it, and is killed after the line that was ordered.
pub async fn obey(orders: &Value, means: &Means, prepare: impl FnOnce(Request) -> Request) {
    let text = |name: &str| orders[name].as_str().unwrap();
    let request = Request::new(text("fault"), text("target").parse().unwrap()).lasting(Duration::from_secs(20));
    let mut request = prepare(request);
    for (name, value) in orders["parameters"].as_object().unwrap() {
        request.parameters.set(name, value.as_str().unwrap());
    }
    let killer = Killer { line: orders["line"].as_u64().unwrap(), written: AtomicU64::new(0) };
    let plan = chaos::plan(means, request).await.unwrap();
    let injection = chaos::inject(means, plan, &killer).await.unwrap();
    assert!(injection.effective().is_some(), "{:?}", injection.proofs());
    healed(&injection.heal(&killer).await);
}

/// Ends the process right after a line was written, as `kill -9` does.
struct Killer {
    line: u64,
    written: AtomicU64,
}

#[async_trait]
impl Witness for Killer {
    async fn line(&self, _event: Event) -> Result<()> {
        if self.written.fetch_add(1, Ordering::SeqCst) + 1 == self.line {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        Ok(())
    }
}

/// Everything about a server that a fault could change and an undo could forget.
pub fn snapshot(server: &PgServer) -> String {
    let asked = server.psql(
        "shop",
        "SELECT 'sessions', count(*) FROM pg_stat_activity WHERE application_name LIKE 'davit/chaos-%'
         UNION ALL SELECT 'locks', count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                   WHERE a.application_name LIKE 'davit/%' AND l.relation > 16384
         UNION ALL SELECT 'rows', (SELECT count(*) FROM orders) + (SELECT count(*) FROM customers)
         UNION ALL SELECT 'sum', (SELECT sum(hashtext(orders::text)) FROM orders)
         UNION ALL SELECT 'settings ' || coalesce(setconfig::text, ''), setdatabase::bigint FROM pg_db_role_setting
         UNION ALL SELECT 'paused', (pg_is_in_recovery() AND pg_is_wal_replay_paused())::int
         ORDER BY 1",
    );
    let files: Vec<String> = std::fs::read_dir(server.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("davit"))
        .collect();
    let fuses = davit_fuses(&server.data());
    format!("{asked}\nfiles {files:?}\nstopped {}\nfuses {fuses}\n", stopped(server.pid()))
}

/// How many processes of a server are stopped.
fn stopped(postmaster: u32) -> usize {
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = |stat: String| -> Vec<String> {
        stat.rsplit(") ").next().unwrap_or_default().split(' ').map(str::to_owned).collect()
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    pids.filter(|pid| pid.parse::<u32>().is_ok())
        .filter(|pid| {
            let fields = fields(stat(pid));
            let parent = fields.get(1).is_some_and(|parent| *parent == postmaster.to_string());
            (parent || *pid == postmaster.to_string()) && fields.first().is_some_and(|state| state == "T")
        })
        .count()
}

/// How many helpers burn that know this data directory or its process.
fn davit_fuses(data: &Path) -> usize {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let pid_file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let postmaster = pid_file.lines().next().unwrap_or_default().to_owned();
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let parts: Vec<String> =
            line.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        parts.iter().any(|part| part == "davit-fuse")
            && parts.iter().any(|part| *part == postmaster || part.starts_with(data.to_str().unwrap()))
    })
    .count()
}

/// A small file system of its own, so that filling it fills nothing else.
pub struct SmallDisk(pub tempfile::TempDir);

impl SmallDisk {
    pub fn new(mebibytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("davit-test-disk").tempdir_in("/tmp").unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=1777"), "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success(), "mounting a small disk");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}
