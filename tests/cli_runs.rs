//! Runs that meet each other or a store that gives out: who is refused, who takes over, and what is left.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::Desk;
use serde_json::json;
use std::path::Path;
use std::process::{Child, Stdio};
use support::faulty_proxy::{FaultyProxy, Misbehaviour};
use support::postgres::PgServer;
use support::s3::S3;
use support::{shop, wait_until};

struct World {
    server: PgServer,
    s3: S3,
    proxy: FaultyProxy,
    desk: Desk,
}

impl World {
    fn new() -> Self {
        let (server, s3) = (shop::open(), S3::start());
        tokio::runtime::Runtime::new().unwrap().block_on(s3.plain_bucket("backups"));
        let proxy = FaultyProxy::start(s3.port);
        let mut desk = Desk::new();
        for (name, value) in s3.environment() {
            desk.set(name, &value);
        }
        desk.set("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", proxy.port));
        desk.set("DAVIT_REPOSITORY", "s3://backups/shop");
        desk.set("DAVIT_RETRY_BUDGET", "2s").set("DAVIT_LEASE_TERM", "6s");
        let said = desk.davit(&["init"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        Self { server, s3, proxy, desk }
    }

    fn points(&self) -> Vec<String> {
        let (code, document) = self.desk.json(&["points"]);
        assert_eq!(code, 0, "{document}");
        let points = document["points"].as_array().unwrap();
        points.iter().map(|point| point["point"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether a run is in the middle of the rows.
    fn reads_rows(&self) -> bool {
        // The server may have sent all of it already: its session stays until the run has read it.
        let copies =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'davit/worker' AND query LIKE 'COPY%'";
        self.server.psql("shop", copies) != "0"
    }

    /// A backup; its exit code and what it told.
    fn back_up(&self) -> (i32, String) {
        let said = self.desk.davit(&["backup", &self.server.url("shop")]);
        (said.code, said.stderr)
    }

    /// A backup that reads so many bytes per second and has put its intent when this returns.
    fn begun(&self, rate: &str) -> Child {
        let folder = self.s3.bucket_dir("backups").join("shop/points/shop");
        let count = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
        let (before, url) = (count(), self.server.url("shop"));
        let mut command = self.desk.command(&["backup", &url, "--limit-rate", rate]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until(60, "the run having begun", || count() > before);
        child
    }
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn the_second_runner_of_a_source_is_refused_and_a_dead_one_is_taken_over() {
    let world = World::new();
    let mut first = world.begun("40kB");
    let (code, told) = world.back_up();
    assert_eq!(code, 3, "{told}");
    let holder = format!("process {} has held it for", first.id());
    assert!(told.contains("taking the lease backup-shop") && told.contains(&holder), "{told}");
    assert!(told.contains("let that run end; if it is dead, its lease is taken over by itself"), "{told}");
    assert!(first.try_wait().unwrap().is_none(), "the first one goes on");
    assert_eq!(world.points(), Vec::<String>::new());

    first.kill().unwrap();
    first.wait().unwrap();
    let (code, told) = world.back_up();
    assert_eq!(code, 0, "{told}");
    let waiting = format!("process {} holds the lease backup-shop: waiting up to", first.id());
    assert!(told.contains(&waiting), "{told}");
    assert_eq!(world.points().len(), 1, "nothing of the dead one is listed");
    assert_eq!(world.desk.davit(&["verify", "--all", "--depth", "stored"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn a_store_that_gives_out_in_the_middle_leaves_the_old_points_and_the_next_run_works() {
    let mut world = World::new();
    // Long enough that the store's errors end the run, not the lease that could not be renewed.
    world.desk.set("DAVIT_LEASE_TERM", "15s");
    assert_eq!(world.back_up().0, 0);
    let before = world.points();
    let busy = Misbehaviour::Busy { from: 0, to: u64::MAX };
    for (day, misbehaviour, says) in [
        (1, Misbehaviour::Full { from: 0 }, ["no space left at the store", "make room or raise the quota"]),
        (2, Misbehaviour::Expired { from: 0 }, ["the credentials do not work: ExpiredToken", "sign in again"]),
        (3, busy, ["store not available", "check that the store can be reached"]),
    ] {
        shop::trade(&world.server, day);
        // Four seconds of reading, of which the fault needs any moment.
        let run = world.begun("600kB");
        wait_until(60, "rows being read", || world.reads_rows());
        world.proxy.behave(misbehaviour);
        let output = run.wait_with_output().unwrap();
        world.proxy.behave(Misbehaviour::None);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{misbehaviour:?}: {told}");
        for text in says {
            assert!(told.contains(text), "{misbehaviour:?}: {text:?} is not in: {told}");
        }
        assert_eq!(world.points(), before, "{misbehaviour:?}");
    }
    let denied = Misbehaviour::Refuse { method: "PUT", status: "403 Forbidden", code: "AccessDenied" };
    world.proxy.behave(denied);
    let (code, told) = world.back_up();
    world.proxy.behave(Misbehaviour::None);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("grant s3:PutObject on s3://backups/shop/leases/"), "{told}");
    let (code, told) = world.back_up();
    assert_eq!((code, world.points().len()), (0, 2), "{told}");
    assert_eq!(world.desk.davit(&["verify", "--all", "--depth", "stored"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn a_point_half_deleted_is_damage_by_name_and_everything_else_goes_on() {
    let world = World::new();
    let mut digests = Vec::new();
    for day in 1..=2 {
        shop::trade(&world.server, day);
        assert_eq!(world.back_up().0, 0);
        digests.push(shop::digest(&world.server, "shop"));
    }
    let points = world.points();
    let (newest, older) = (&points[0], &points[1]);
    let folder = world.s3.bucket_dir("backups").join("shop/points/shop").join(newest);
    std::fs::remove_file(folder.join("manifest")).unwrap();

    let into = world.server.url("copy");
    let said = world.desk.davit(&["restore", newest, "--into", &into, "--create"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains(newest.as_str()) && said.stderr.contains("manifest"), "{}", said.stderr);
    assert_eq!(world.server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'copy'"), "0");
    let said = world.desk.davit(&["verify", "--all", "--depth", "stored"]);
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains(&format!("points/shop/{newest}/manifest")), "{}", said.stdout);
    // Nothing is taken away while a manifest cannot be read: it may name what looks like garbage.
    let said = world.desk.davit(&["sweep"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(said.stderr.contains("nothing was deleted"), "{}", said.stderr);

    let said = world.desk.davit(&["restore", older, "--into", &into, "--create"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(shop::digest(&world.server, "copy"), digests[0]);
    let (code, told) = world.back_up();
    assert_eq!((code, world.points().len()), (0, 3), "{told}");
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn a_store_that_lets_nobody_delete_loses_nothing_and_is_told_what_to_grant() {
    let world = World::new();
    world.desk.write("davit.yaml", "retention: {keep_last: 1}\n");
    for day in 1..=3 {
        shop::trade(&world.server, day);
        assert_eq!(world.back_up().0, 0);
    }
    let points = world.points();
    let folders = || std::fs::read_dir(world.s3.bucket_dir("backups").join("shop/points/shop")).unwrap().count();
    let denied = Misbehaviour::Refuse { method: "DELETE", status: "403 Forbidden", code: "AccessDenied" };
    world.proxy.behave(denied);
    // A plan needs no such permission.
    let said = world.desk.davit(&["retain", "--dry-run"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = world.desk.davit(&["retain"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    for text in ["not permitted: s3:DeleteObject", "grant s3:DeleteObject", "davit retain goes on where it was"] {
        assert!(said.stderr.contains(text), "{text}: {}", said.stderr);
    }
    assert_eq!(
        (world.points(), folders()),
        (points[..1].to_vec(), 3),
        "what was to go is listed no more, and lies there"
    );
    // A backup deletes nothing that it could not leave.
    shop::trade(&world.server, 4);
    let (code, told) = world.back_up();
    assert_eq!(code, 0, "{told}");
    assert_eq!(world.desk.davit(&["verify", "--all", "--depth", "stored"]).code, 0);

    world.proxy.behave(Misbehaviour::None);
    let (code, done) = world.desk.json(&["retain"]);
    assert_eq!((code, done["finished"].as_array().unwrap().len()), (0, 2), "{done:#}");
    assert_eq!((world.points().len(), folders()), (1, 1));
    world.proxy.behave(denied);
    let said = world.desk.davit(&["sweep"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(said.stderr.contains("grant s3:DeleteObject"), "{}", said.stderr);
    assert_eq!(world.desk.davit(&["verify", "--all", "--depth", "stored"]).code, 0);
    world.proxy.behave(Misbehaviour::None);
    let (code, done) = world.desk.json(&["sweep"]);
    assert!(code == 0 && done["removed_chunks"].as_u64().unwrap() > 0, "{done:#}");
    assert_eq!(world.desk.davit(&["verify", "--all", "--depth", "stored"]).code, 0);
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn why_a_run_left_no_point_can_be_read_the_next_morning() {
    let world = World::new();
    let journals = world.s3.bucket_dir("backups").join("shop/journals");
    let kept = |run: &Path| std::fs::read_dir(run).is_ok_and(|batches| batches.count() > 0);
    assert_eq!(world.back_up().0, 0);
    let runs = || std::fs::read_dir(&journals).into_iter().flatten().flatten().map(|run| run.path());
    assert!(!runs().any(|run| kept(&run)), "a point says it all itself");
    let (code, document) = world.desk.json(&["points", "--runs"]);
    assert_eq!((code, &document["runs"][0]["outcome"]), (0, &json!("made")), "{document}");

    let mut dead = world.begun("40kB");
    let died = format!("process {}", dead.id());
    dead.kill().unwrap();
    dead.wait().unwrap();
    let (_, document) = world.desk.json(&["points", "shop", "--runs"]);
    assert_eq!(document["runs"].as_array().unwrap().len(), 2, "{document}");
    assert_eq!(document["runs"][0]["outcome"], "open", "{document}");
    assert!(document["runs"][0]["holder"].as_str().unwrap().contains(&died), "{document}");

    // One that never began has changed nothing; one that loses its server in the middle has failed.
    let said = world.desk.davit(&["backup", "postgres://me@127.0.0.1:1/shop"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    let losing = world.begun("600kB");
    wait_until(60, "rows being read", || world.reads_rows());
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'davit/%'";
    world.server.psql("shop", end);
    assert_eq!(losing.wait_with_output().unwrap().status.code(), Some(4));
    let (_, document) = world.desk.json(&["points", "--runs"]);
    let outcomes: Vec<&str> =
        document["runs"].as_array().unwrap().iter().map(|run| run["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failed", "open", "made"], "{document}");
    let said = world.desk.davit(&["points", "--runs"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("no end: ") && said.stdout.contains("FAILED (exit 4)"), "{}", said.stdout);
    let doctor = world.desk.davit(&["doctor"]);
    assert!(doctor.stdout.contains("last run of shop") && doctor.stdout.contains("it failed"), "{}", doctor.stdout);

    // Once there is a newer point, an old failure is history; and a journal is as safe from tampering as the rest.
    assert_eq!(world.back_up().0, 0);
    let doctor = world.desk.davit(&["doctor"]);
    assert!(!doctor.stdout.contains("last run of shop"), "{}", doctor.stdout);
    assert_eq!(world.desk.davit(&["verify", "--all", "--depth", "stored"]).code, 0);
    let run = document["runs"][0]["run"].as_str().unwrap();
    std::fs::remove_file(journals.join(run).join("000000")).unwrap();
    let said = world.desk.davit(&["verify", "--all", "--depth", "stored"]);
    assert_eq!(said.code, 1, "{}", said.stdout);
    assert!(said.stdout.contains(&format!("journals/{run}/000000")), "{}", said.stdout);
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn a_source_that_was_taken_away_hides_none_of_the_others() {
    let world = World::new();
    assert_eq!(world.back_up().0, 0);
    world.server.psql("postgres", "CREATE DATABASE bank TEMPLATE shop");
    let said = world.desk.davit(&["backup", &world.server.url("bank")]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let repository = world.s3.bucket_dir("backups").join("shop");
    for folder in ["points/bank", "catalog/bank"] {
        std::fs::remove_dir_all(repository.join(folder)).unwrap();
    }
    std::fs::remove_file(repository.join("heads/bank")).unwrap();

    let (code, document) = world.desk.json(&["points"]);
    assert_eq!((code, &document["points"][0]["source"]), (3, &json!("shop")), "{document}");
    assert_eq!(document["refused"][0]["source"], "bank", "{document}");
    let said = world.desk.davit(&["points"]);
    assert!(said.stdout.contains("shop"), "{}", said.stdout);
    assert!(said.stderr.contains("checking bank: nothing of it is there any more"), "{}", said.stderr);
    let (code, document) = world.desk.json(&["verify", "--all", "--depth", "stored"]);
    assert_eq!((code, &document["points"][0]["ok"]), (3, &json!(true)), "{document}");
    assert_eq!((&document["ok"], &document["refused"][0]["source"]), (&json!(false), &json!("bank")), "{document}");
    let said = world.desk.davit(&["doctor"]);
    assert!(said.stdout.contains("FAIL  points of bank"), "{}", said.stdout);
    // The repository as a whole is not what it was: nothing is taken away from it.
    assert_eq!(world.desk.davit(&["retain"]).code, 3);
}
