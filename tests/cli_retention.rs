//! `retain` and `sweep` from the command line on a real S3 server: what was planned is what is done, versions and all;
//! and what object lock promises, by the rules of `davit.yaml`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use aws_sdk_s3::types::ObjectVersion;
use cli_support::Desk;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::postgres::PgServer;
use support::s3::S3;
use support::shop;

const BUCKET: &str = "backups";

struct World {
    server: PgServer,
    s3: S3,
    desk: Desk,
    prefix: &'static str,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// A repository at `prefix` of a bucket that keeps versions and can lock.
    fn new(prefix: &'static str) -> Self {
        let (server, s3) = (shop::open(), S3::start());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(s3.locking_bucket(BUCKET));
        let desk = Self::desk(&s3, prefix);
        Self { server, s3, desk, prefix, runtime }
    }

    fn desk(s3: &S3, prefix: &str) -> Desk {
        let mut desk = Desk::new();
        for (name, value) in s3.environment() {
            desk.set(name, &value);
        }
        desk.set("DAVIT_REPOSITORY", &format!("s3://{BUCKET}/{prefix}"));
        desk
    }

    /// Goes on at another prefix.
    fn move_to(&mut self, prefix: &'static str) {
        self.desk = Self::desk(&self.s3, prefix);
        self.prefix = prefix;
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, document) = self.desk.json(arguments);
        assert_eq!(code, 0, "{arguments:?}: {document}");
        document
    }

    fn back_up(&self, more: &[&str]) -> (String, u64) {
        let url = self.server.url("shop");
        let made = self.json(&[&["backup", &url], more].concat());
        (made["point"].as_str().unwrap().to_owned(), made["chunks_new"].as_u64().unwrap())
    }

    fn listed(&self) -> Vec<String> {
        let points = self.json(&["points"]);
        let all = points["points"].as_array().unwrap();
        all.iter().map(|point| point["point"].as_str().unwrap().to_owned()).collect()
    }

    /// Restores into a new database; gives the digest of its rows.
    fn restored(&self, point: &str) -> String {
        self.server.psql("postgres", "DROP DATABASE IF EXISTS copy");
        self.json(&["restore", point, "--into", &self.server.url("copy"), "--create"]);
        shop::digest(&self.server, "copy")
    }

    /// Every version below a folder of the repository, delete markers not counted.
    fn versions(&self, folder: &str) -> Vec<ObjectVersion> {
        let request =
            self.s3.client().list_object_versions().bucket(BUCKET).prefix(format!("{}/{folder}", self.prefix));
        let answer = self.runtime.block_on(request.send()).unwrap();
        assert_ne!(answer.is_truncated(), Some(true));
        answer.versions().to_vec()
    }
}

fn fates(document: &Value) -> BTreeMap<String, String> {
    let points = document["sources"][0]["points"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    points.iter().map(|point| (text(&point["point"]), text(&point["fate"]))).collect()
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn what_retain_and_sweep_said_they_would_do_is_what_they_do() {
    let world = World::new("kept");
    world.desk.write("davit.yaml", "retention: {keep_last: 1}\n");
    world.json(&["init"]);
    let mut points = Vec::new();
    for day in 1..=4 {
        shop::trade(&world.server, day);
        points.push((world.back_up(&[]).0, shop::digest(&world.server, "shop")));
        let number = points.len() - 1;
        match day {
            1 => drop(world.json(&["hold", &points[number].0, "--reason", "the audit"])),
            3 => drop(world.json(&["verify", &points[number].0, "--depth", "stored"])),
            _ => {}
        }
    }
    let name = |number: usize| points[number].0.clone();

    // The first is held, the third is the newest verified one, the fourth is the last one: the second goes.
    let planned = world.json(&["retain", "--dry-run"]);
    let expected = [(0, "stays"), (1, "goes"), (2, "stays"), (3, "stays")].map(|(n, fate)| (name(n), fate.to_owned()));
    assert_eq!(fates(&planned), BTreeMap::from(expected));
    assert_eq!(planned["removed"], json!([]));
    assert_eq!(world.listed().len(), 4, "a dry run removes nothing");
    let done = world.json(&["retain"]);
    assert_eq!(done["sources"], planned["sources"]);
    assert_eq!(done["removed"], json!([name(1)]));
    assert_eq!(world.listed(), [name(3), name(2), name(0)]);
    assert!(world.versions(&format!("points/shop/{}/", name(1))).is_empty(), "hidden versions of it stay");
    assert_eq!(world.json(&["retain"])["removed"], json!([]), "a second time there is nothing to do");

    let before = world.versions("chunks/").len();
    let planned = world.json(&["sweep", "--dry-run"]);
    let going = planned["removed_chunks"].as_u64().unwrap();
    assert!(going > 0, "{planned}");
    assert_eq!(world.versions("chunks/").len(), before);
    let swept = world.json(&["sweep"]);
    assert_eq!(swept["removed_chunks"].as_u64(), Some(going));
    assert_eq!(world.versions("chunks/").len() as u64, before as u64 - going, "a version was only hidden");
    assert_eq!(world.json(&["sweep"])["removed_chunks"], 0);
    for number in [0, 2, 3] {
        assert_eq!(world.restored(&name(number)), points[number].1, "point {number}");
    }
    assert_eq!(world.json(&["verify", "--all", "--depth", "stored"])["ok"], true);

    world.json(&["release", &name(0)]);
    // The fourth is verified now, too, so that nothing keeps the third any more.
    let said = world.desk.davit(&["retain"]);
    assert!(said.code == 0 && said.stdout.contains("2 points removed"), "{said:?}");
    assert_eq!(world.listed(), [name(3)]);
    // What went is gone for every command.
    let gone = world.desk.davit(&["restore", &name(0), "--into", &world.server.url("copy"), "--create"]);
    assert_eq!(gone.code, 2, "{}", gone.stderr);
}

/// How many chunks of the repository are locked at least until then; all must be locked in this mode.
fn locked(world: &World, mode: &str, until: Timestamp) -> u64 {
    let client = world.s3.client();
    let lock = |chunk: &ObjectVersion| {
        let asked = client.head_object().bucket(BUCKET).key(chunk.key().unwrap());
        let head = world.runtime.block_on(asked.send()).unwrap();
        assert_eq!(head.object_lock_mode().unwrap().as_str(), mode, "{chunk:?}");
        head.object_lock_retain_until_date().unwrap().secs()
    };
    world.versions("chunks/").iter().filter(|chunk| lock(chunk) >= until.as_second()).count() as u64
}

fn locks_hold(world: &World, setting: &str, mode: &str) {
    world
        .desk
        .write("davit.yaml", &format!("object_lock: {setting}\nretention: {{daily: 30 days, yearly: 2 years}}\n"));
    assert_eq!(world.json(&["init"])["object_lock"], setting);
    let now = Timestamp::now();
    let days = |days: i64| now + SignedDuration::from_hours(24 * days);
    let (first, stored) = world.back_up(&["--tier", "daily"]);
    assert_eq!(locked(world, mode, days(30)), stored, "every chunk");
    assert_eq!(locked(world, mode, days(60)), 0, "and no longer than need be");
    let (daily, of_daily) = world.back_up(&["--tier", "daily"]);
    let (yearly, of_yearly) = world.back_up(&["--tier", "yearly"]);
    assert!(of_daily + of_yearly < stored + stored, "rows are used again");
    assert_eq!(locked(world, mode, days(30)), stored + of_daily + of_yearly);
    assert_eq!(locked(world, mode, days(730)), stored, "each chunk of the longest-lived point, used again or not");
    let points = world.json(&["points"]);
    let until =
        |number: usize| points["points"][number]["locked_until"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(until(0) >= days(730) && until(1) >= days(30) && until(1) < days(60), "{points}");

    // The rules let the first of two points of one day go; its lock does not, and that is said and is no failure.
    let kept = world.json(&["retain"]);
    let expected = [(&first, "locked"), (&daily, "stays"), (&yearly, "stays")];
    let expected = expected.map(|(point, fate)| (point.clone(), fate.to_owned()));
    assert_eq!(fates(&kept), BTreeMap::from(expected), "{kept}");
    assert_eq!((&kept["removed"], world.listed().len()), (&json!([]), 3));
    assert_eq!(world.json(&["sweep"])["removed_chunks"], 0);

    // Somebody with the credentials of the bucket hides a chunk, and cannot take what it hides.
    let chunk = world.versions("chunks/").into_iter().max_by_key(|chunk| chunk.size().unwrap()).unwrap();
    let (key, version) = (chunk.key().unwrap(), chunk.version_id().unwrap());
    let client = world.s3.client();
    let deleted = client.delete_object().bucket(BUCKET).key(key);
    assert!(world.runtime.block_on(deleted.clone().version_id(version).send()).is_err(), "a locked version went");
    world.runtime.block_on(deleted.send()).unwrap();
    let (code, seen) = world.desk.json(&["verify", &yearly, "--depth", "stored"]);
    assert_eq!((code, seen["damage"].as_array().map(Vec::len)), (1, Some(1)), "{seen}");
    assert_eq!(world.restored(&yearly), shop::digest(&world.server, "shop"));
    assert_eq!(world.restored(&first), shop::digest(&world.server, "shop"));
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn locks_keep_what_the_rules_promise_in_governance_and_in_compliance() {
    let mut world = World::new("governed");
    locks_hold(&world, "governance", "GOVERNANCE");
    world.move_to("complied");
    locks_hold(&world, "compliance", "COMPLIANCE");
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn a_setting_for_locks_that_came_after_the_repository_is_told_until_they_are_switched_on() {
    let world = World::new("later");
    world.json(&["init"]);
    world.desk.write("davit.yaml", "object_lock: governance\nretention: {daily: 30 days}\n");
    let said = "the settings ask for object lock (governance), but the repository locks nothing";
    let first = world.json(&["backup", &world.server.url("shop")]);
    assert!(first["warnings"].to_string().contains(said), "{first}");
    assert!(first["warnings"].to_string().contains("davit init --object-lock governance"), "{first}");
    for command in [&["retain"][..], &["doctor"]] {
        let told = world.desk.davit(command);
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.stdout.contains(said) || told.stderr.contains(said), "{told:?}");
    }
    // Without the flag nothing is switched on by running into an old repository once more.
    assert_eq!(world.desk.davit(&["init"]).code, 3);
    let switched = world.json(&["init", "--object-lock", "governance"]);
    assert_eq!((&switched["changed"], &switched["object_lock"]), (&json!(true), &json!("governance")), "{switched}");
    // A point of today is promised nothing yet, unless it is held.
    world.json(&["hold", first["point"].as_str().unwrap(), "--reason", "the audit"]);
    assert_eq!(world.json(&["retain"])["promoted"], json!([first["point"]]));
    let chunks = world.versions("chunks/").len() as u64;
    assert_eq!(locked(&world, "GOVERNANCE", Timestamp::now() + SignedDuration::from_hours(24 * 29)), chunks);
    let (_, stored) = world.back_up(&[]);
    let quiet = world.desk.davit(&["doctor"]);
    assert!(!quiet.stdout.contains(said), "{}", quiet.stdout);
    assert_eq!(locked(&world, "GOVERNANCE", Timestamp::now() + SignedDuration::from_hours(24 * 29)), chunks + stored);
}
