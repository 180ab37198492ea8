//! Keys from the command line: rotate, back up, lose the old key, restore; who opens what, and who may sign.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::{Desk, Said};
use std::path::PathBuf;
use std::process::Command;
use support::postgres::PgServer;
use support::shop;

/// What every backup stores at most: `pg_dump` and `pg_dumpall` print the time, or a word of their own, into four small chunks.
const DEFINITIONS: u64 = 4;

#[test]
#[ignore = "needs PostgreSQL 15 and age: make test"]
fn rows_that_only_a_key_from_elsewhere_opens_are_restored_with_it() {
    let (server, desk) = (shop::open(), Desk::new());
    let made = Command::new("age-keygen").output().unwrap();
    let identity = String::from_utf8(made.stdout).unwrap();
    let reader = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let said = desk.davit(&["init", "--reader", reader]);
    assert!(said.code == 0 && said.stdout.contains(reader) && said.stdout.contains("no identity"), "{said:?}");
    let shown = desk.davit(&["key", "show"]);
    assert!(shown.code == 0 && shown.stdout.contains("opens no row until"), "{shown:?}");
    assert_eq!(desk.davit(&["backup", &server.url("shop")]).code, 0);
    let restore = || desk.davit(&["restore", "shop@latest", "--into", &server.url("copy"), "--create"]);
    let said = restore();
    assert!(said.code == 2 && said.stderr.contains("there is no reader key"), "{said:?}");
    // Where the file says.
    let file = desk.path().join("davit-keys/reader.key");
    let secret = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("Put the AGE-SECRET-KEY-1… line of the reader on a line of its own below"), "{text}");
    std::fs::write(&file, format!("{text}{secret}\n")).unwrap();
    let said = restore();
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(shop::digest(&server, "copy"), shop::digest(&server, "shop"));
}

/// A desk with a repository in a directory, and a shop to back up.
struct World {
    server: PgServer,
    desk: Desk,
}

impl World {
    fn new() -> Self {
        let desk = Desk::with_repository();
        std::fs::create_dir(desk.path().join("elsewhere")).unwrap();
        Self { server: shop::open(), desk }
    }

    fn key(&self, name: &str) -> PathBuf {
        self.desk.path().join("davit-keys").join(name)
    }

    fn safe(&self, name: &str) -> PathBuf {
        self.desk.path().join("elsewhere").join(name)
    }

    /// The key file that `rotate` set aside.
    fn older_key(&self) -> PathBuf {
        let folder = std::fs::read_dir(self.desk.path().join("davit-keys")).unwrap();
        let older = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("reader-until-");
        folder.map(|entry| entry.unwrap().path()).find(older).unwrap()
    }

    /// Backs up; gives the point and how many chunks were stored.
    fn back_up(&self) -> (String, u64) {
        let (code, made) = self.desk.json(&["backup", &self.server.url("shop")]);
        assert_eq!(code, 0, "{made}");
        (made["point"].as_str().unwrap().to_owned(), made["chunks_new"].as_u64().unwrap())
    }

    fn restore(&self, point: &str) -> Said {
        self.server.psql("postgres", "DROP DATABASE IF EXISTS copy");
        self.desk.davit(&["restore", point, "--into", &self.server.url("copy"), "--create"])
    }

    fn assert_restores(&self, point: &str) {
        let said = self.restore(point);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(shop::digest(&self.server, "copy"), shop::digest(&self.server, "shop"));
    }

    fn assert_says(&self, arguments: &[&str], code: i32, says: &str) {
        let said = self.desk.davit(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.stdout, said.stderr);
        assert!(
            said.stderr.contains(says) || said.stdout.contains(says),
            "{arguments:?}: {}{}",
            said.stdout,
            said.stderr
        );
    }
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn readers_are_rotated_and_the_old_key_may_go_once_kept_points_are_sealed_again() {
    let world = World::new();
    let (first, stored) = world.back_up();
    assert!(stored > DEFINITIONS);
    world.assert_says(&["key", "check"], 0, "yes");
    let (code, rotated) = world.desk.json(&["key", "rotate"]);
    assert_eq!(code, 0, "{rotated}");
    assert_eq!(rotated["points_that_need_an_older_key"], serde_json::json!([first]));
    assert!(rotated["bytes_to_store_anew"].as_u64().unwrap() > 0);
    world.assert_says(&["key", "check"], 1, "NONE OF THE PRESENT ONES");
    let (second, stored_anew) = world.back_up();
    assert_eq!(stored_anew, stored, "everything is stored once for the new set of readers");
    assert!(world.back_up().1 <= DEFINITIONS, "and only once");

    // The old key is away: the new point opens, the old one does not.
    std::fs::rename(world.older_key(), world.safe("reader-until.key")).unwrap();
    world.assert_restores(&second);
    let said = world.restore(&first);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(said.stderr.contains("the reader key at hand is age1"), "{}", said.stderr);

    // With it for a last time the old point is sealed again; then it is not needed any more.
    let back = world.key("reader-until-then.key");
    std::fs::rename(world.safe("reader-until.key"), &back).unwrap();
    let (code, rewrapped) = world.desk.json(&["key", "rotate", "--rewrap"]);
    assert_eq!(code, 0, "{rewrapped}");
    assert_eq!(rewrapped["points_sealed_again"], serde_json::json!([first]));
    std::fs::remove_file(back).unwrap();
    let (code, checked) = world.desk.json(&["key", "check"]);
    assert_eq!((code, &checked["ok"]), (0, &serde_json::json!(true)), "{checked}");
    let points = checked["points"].as_array().unwrap();
    assert_eq!(points.len(), 3);
    for point in points {
        assert_eq!(point["opened_by_keys_here"], true, "{point}");
        world.assert_restores(point["point"].as_str().unwrap());
    }
    world.assert_says(&["verify", "--all", "--depth", "stored"], 0, "3 points, all well");
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn each_key_does_its_part_and_a_missing_or_wrong_one_is_named() {
    let world = World::new();
    let (point, _) = world.back_up();

    // Without the reader key, as on a backup host: everything but reading rows.
    std::fs::rename(world.key("reader.key"), world.safe("reader.key")).unwrap();
    let (second, _) = world.back_up();
    world.assert_says(&["verify", "--all", "--depth", "stored"], 0, "2 points, all well");
    let said = world.restore(&point);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(said.stderr.contains("--keys"), "{}", said.stderr);
    world.assert_says(&["key", "rotate"], 2, "no key at hand may sign");

    // The reader key of another repository beside the writer key.
    let other = Desk::with_repository();
    std::fs::copy(other.path().join("davit-keys/reader.key"), world.key("reader.key")).unwrap();
    world.assert_says(&["points"], 2, "the reader key beside it is not for repository");
    std::fs::remove_file(world.key("reader.key")).unwrap();

    // The backup host is lost: the reader key and the repository are enough for a restore and a new writer key.
    std::fs::rename(world.key("writer.key"), world.safe("writer.key")).unwrap();
    std::fs::rename(world.safe("reader.key"), world.key("reader.key")).unwrap();
    world.assert_restores(&second);
    world.assert_says(&["key", "new", "--writer", "--retire-others"], 0, "made a writer key");
    world.assert_says(&["key", "new", "--writer"], 3, "there is one already");
    std::fs::rename(world.key("reader.key"), world.safe("reader.key")).unwrap();
    let (third, stored) = world.back_up();
    assert!(stored <= DEFINITIONS, "the new writer knows what is stored");

    // Whoever has the old writer key may sign nothing new, and what it signed before still counts.
    let stolen = world.safe("writer.key").display().to_string();
    let said = world.desk.davit(&["backup", &world.server.url("shop"), "--keys", &stolen]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("retired") && said.stderr.contains("davit key new --writer"), "{}", said.stderr);
    std::fs::rename(world.safe("reader.key"), world.key("reader.key")).unwrap();
    for point in [&point, &second, &third] {
        world.assert_restores(point);
    }
}

#[test]
#[ignore = "needs a PostgreSQL server: make test"]
fn an_older_reader_takes_no_older_point_for_the_newest_and_what_is_pinned_is_sealed_again_with_its_pin() {
    let world = World::new();
    let (first, _) = world.back_up();
    world.assert_says(&["hold", &first, "--reason", "the audit of 2026"], 0, "is held");
    world.assert_says(&["verify", &first, "--depth", "stored"], 0, "stored");
    let (second, _) = world.back_up();
    world.assert_says(&["key", "rotate"], 0, "a new reader has taken the place");
    let outdated = world.safe("outdated");
    std::fs::create_dir(&outdated).unwrap();
    std::fs::copy(world.older_key(), outdated.join("reader.key")).unwrap();
    let (third, _) = world.back_up();
    world.assert_says(&["hold", &third, "--reason", "the lawyers"], 0, "is held");

    let keys = outdated.display().to_string();
    let older = |arguments: &[&str]| world.desk.davit(&[arguments, &["--keys", &keys]].concat());
    let into = world.server.url("copy");
    for newest in ["shop@latest", "shop@latest-verified"] {
        let said = older(&["restore", newest, "--into", &into, "--create"]);
        assert_eq!(said.code, 3, "{newest}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains(&format!("point {third} is newer and cannot be read")), "{}", said.stderr);
    }
    let said = older(&["restore", "shop@latest", "--into", &into, "--create"]);
    assert!(said.stderr.contains(&format!("{second} is the newest that can be read")), "{}", said.stderr);
    let said = older(&["restore", &third, "--into", &into, "--create"]);
    assert!(said.code == 2 && said.stderr.contains("none of the keys at hand opens it"), "{}", said.stderr);
    let said = older(&["restore", &second, "--into", &into, "--create"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = older(&["points", "shop"]);
    assert!(said.code == 3 && said.stdout.contains(&second) && !said.stdout.contains(&third), "{}", said.stdout);
    assert!(said.stderr.contains(&format!("1 point of shop cannot be read, {third} among them")), "{}", said.stderr);
    let said = older(&["key", "check"]);
    assert!(said.code == 1 && said.stdout.contains(&third), "{}{}", said.stdout, said.stderr);
    let said = older(&["verify", "--all", "--depth", "stored"]);
    assert!(said.code == 3 && !said.stdout.contains("DAMAGE"), "{}{}", said.stdout, said.stderr);

    // Both are sealed again by one command, and the pin and what is known of the rest stay whole.
    let (code, rewrapped) = world.desk.json(&["key", "rotate", "--rewrap"]);
    assert_eq!(code, 0, "{rewrapped}");
    let mut sealed: Vec<&str> =
        rewrapped["points_sealed_again"].as_array().unwrap().iter().filter_map(|id| id.as_str()).collect();
    sealed.sort_unstable();
    assert_eq!(sealed.len(), 2, "{rewrapped}");
    std::fs::remove_file(world.older_key()).unwrap();
    let (_, listed) = world.desk.json(&["points"]);
    let points = listed["points"].as_array().unwrap();
    let held: Vec<&str> = points.iter().filter_map(|point| point["hold"].as_str()).collect();
    assert_eq!((points.len(), held.len()), (3, 2), "{listed}");
    assert!(held.contains(&"the audit of 2026") && held.contains(&"the lawyers"), "{held:?}");
    world.assert_says(&["verify", "--all", "--depth", "stored"], 0, "3 points, all well");
    world.assert_says(&["key", "check"], 0, "opens here");
    world.assert_says(&["points", "shpo"], 2, "did you mean shop?");
}
