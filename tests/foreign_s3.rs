//! Dumps that scripts left in a real S3 bucket: they are listed, restored, and what the account lacks is named.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod cli_support;
mod support;

use cli_support::{Desk, Said};
use std::process::Command;
use support::postgres::{PgServer, bin_dir};
use support::s3::S3;
use support::shop;

const FOLDER: &str = "s3://dumps/daily/";

struct World {
    server: PgServer,
    s3: S3,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let (server, s3) = (shop::open(), S3::start());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(s3.plain_bucket("dumps"));
        Self { server, s3, runtime }
    }

    /// What a backup script does: `pg_dump | compress`, and an upload.
    fn script(&self, options: &str, compress: &str, name: &str) {
        let dump = format!("{} {options} -d '{}'", bin_dir(15).join("pg_dump").display(), self.server.url("shop"));
        let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {dump} | {compress}")]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.put(name, output.stdout);
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        let request = self.s3.client().put_object().bucket("dumps").key(format!("daily/{name}")).body(bytes.into());
        self.runtime.block_on(request.send()).unwrap();
    }

    /// A desk of whoever these variables make one, with nothing but the servers' addresses.
    fn desk(environment: Vec<(&'static str, String)>) -> Desk {
        let mut desk = Desk::new();
        for (name, value) in environment {
            desk.set(name, &value);
        }
        desk.set("DAVIT_RETRY_BUDGET", "1s");
        desk
    }

    /// A desk of a user who may do this with objects and with the bucket, and no more.
    fn desk_of(&self, user: &str, objects: &[&str], bucket: &[&str]) -> Desk {
        Self::desk(self.runtime.block_on(self.s3.user_of("dumps", user, objects, bucket)))
    }

    fn restore(&self, desk: &Desk, name: &str, into: &str) -> Said {
        let into = self.server.url(into);
        desk.davit(&["restore", &format!("{FOLDER}{name}"), "--into", &into, "--create", "--trust"])
    }
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn dumps_in_a_bucket_are_listed_and_restored_without_a_copy_on_this_machine() {
    let world = World::new();
    world.script("", "gzip", "shop_20260124_010000.sql.gz");
    world.script("-Fc", "cat", "shop_20260125_010000.dump");
    world.put("readme.txt", b"not a dump".to_vec());
    world.put("shop_20260126_010000.sql.gz", Vec::new());
    let desk = World::desk(world.s3.environment());
    let (code, listed) = desk.json(&["points", "--foreign", FOLDER]);
    assert_eq!((code, &listed["others"]), (0, &serde_json::json!(1)), "{listed:#}");
    let seen: Vec<(&str, &str)> = listed["dumps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dump| (dump["url"].as_str().unwrap(), dump["suspicious"].as_str().unwrap_or("fine")))
        .collect();
    let url = |name: &str| format!("{FOLDER}{name}");
    let expected = [
        (url("shop_20260126_010000.sql.gz"), "is empty: 0 bytes"),
        (url("shop_20260125_010000.dump"), "fine"),
        (url("shop_20260124_010000.sql.gz"), "fine"),
    ];
    assert_eq!(seen, expected.each_ref().map(|(url, what)| (url.as_str(), *what)));
    let rows = shop::digest(&world.server, "shop");
    let said = world.restore(&desk, "shop_20260124_010000.sql.gz", "from_gz");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(shop::digest(&world.server, "from_gz"), rows);
    let said = world.restore(&desk, "shop_20260125_010000.dump", "from_archive");
    // Where the newest client tools to be had are still the ones with the hole, an archive is not read.
    if said.stderr.contains("is not read: pg_restore") {
        assert_eq!(said.code, 3, "{}", said.stderr);
    } else {
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(shop::digest(&world.server, "from_archive"), rows);
    }
    let said = world.restore(&desk, "shop_20260126_010000.sql.gz", "from_nothing");
    assert!(said.code == 2 && said.stderr.contains("is empty: 0 bytes"), "{said:?}");
    let said = world.restore(&desk, "shop_20260124_020000.sql.gz", "from_nothing");
    assert!(said.code == 2 && said.stderr.contains("did you mean shop_20260124_010000.sql.gz?"), "{said:?}");
    assert!(desk.inventory().is_empty(), "{:?}", desk.inventory());
}

/// It ends so, and says all of this and never that a repository is meant.
fn refused(said: &Said, code: i32, says: &[&str]) {
    assert_eq!(said.code, code, "{}", said.stderr);
    for text in says {
        assert!(said.stderr.contains(text), "{text:?} is not in: {}", said.stderr);
    }
    assert!(!said.stderr.contains("repository"), "{}", said.stderr);
}

#[test]
#[ignore = "needs PostgreSQL and versitygw: make test"]
fn a_bucket_of_dumps_that_cannot_be_read_says_what_to_grant_or_to_change() {
    let world = World::new();
    let name = "shop_20260124_010000.sql.gz";
    world.script("", "gzip", name);
    // Whoever may read what they know the name of restores it, but lists nothing.
    let desk = world.desk_of("blind", &["s3:GetObject"], &[]);
    refused(
        &desk.davit(&["points", "--foreign", FOLDER]),
        3,
        &[
            "listing the dumps in s3://dumps/daily/",
            "not permitted: s3:ListBucket",
            "grant s3:ListBucket on s3://dumps",
        ],
    );
    assert_eq!(world.restore(&desk, name, "known_by_name").code, 0);
    // Whoever may only list sees the names, and is told what reading them takes.
    let desk = world.desk_of("lister", &[], &["s3:ListBucket"]);
    let (code, listed) = desk.json(&["points", "--foreign", FOLDER]);
    assert_eq!((code, listed["dumps"].as_array().map(Vec::len)), (0, Some(1)), "{listed:#}");
    let grant = "grant s3:GetObject on s3://dumps/daily/shop_20260124_010000.sql.gz";
    refused(&world.restore(&desk, name, "denied"), 3, &["looking up s3://dumps/daily/", grant]);
    let databases = world.server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ 'denied|davit'");
    assert_eq!(databases, "0");
    // A bucket that is not there, and one that is elsewhere.
    let desk = World::desk(world.s3.environment());
    let lost = desk.davit(&["points", "--foreign", "s3://nowhere/daily/"]);
    refused(&lost, 2, &["opening s3://nowhere/daily to look for dumps: no store at s3://nowhere"]);
    let odd = desk.davit(&["points", "--foreign", "ftp://host/daily"]);
    refused(&odd, 2, &["unknown scheme \"ftp\"", "dumps lie in s3://bucket/folder or in a directory"]);
}
