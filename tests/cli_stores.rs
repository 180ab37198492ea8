//! What a person sees of a store that cannot be used, or not for this: the exit code, the cause, and what to do.

#![allow(clippy::panic, clippy::assigning_clones, reason = "a test stops at the first surprise")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, unreachable_pub, reason = "the support modules serve other tests, too")]

mod cli_support;
mod store_support;
mod support;

use cli_support::Desk;
use store_support::s3_server;
use support::faulty_proxy::{FaultyProxy, Misbehaviour};
use support::postgres::PgServer;
use support::s3::S3;

/// A desk whose repository is at `url` on `server`.
fn desk(server: &S3, url: &str) -> Desk {
    let mut desk = Desk::new();
    for (name, value) in server.environment() {
        desk.set(name, &value);
    }
    desk.set("DAVIT_REPOSITORY", url).set("DAVIT_RETRY_BUDGET", "1s");
    desk
}

/// A server with the bucket `backups`.
fn server() -> S3 {
    let server = S3::start();
    run(server.plain_bucket("backups"));
    server
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// Each call must end so, and say so.
fn refused(desk: &Desk, arguments: &[&str], code: i32, says: &[&str]) {
    let said = desk.davit(arguments);
    assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
    for text in says {
        assert!(said.stderr.contains(text), "{arguments:?}: {text:?} is not in: {}", said.stderr);
    }
}

/// A repository's URL, what is odd about the environment and the server, the exit code, and what is said.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Misbehaviour, i32, &'a [&'a str]);

const SKEWED: Misbehaviour = Misbehaviour::Refuse { method: "", status: "403 Forbidden", code: "RequestTimeTooSkewed" };

const fn denied(method: &'static str) -> Misbehaviour {
    Misbehaviour::Refuse { method, status: "403 Forbidden", code: "AccessDenied" }
}

#[test]
#[ignore = "needs versitygw: make test"]
fn a_store_that_cannot_be_reached_as_it_is_named_tells_what_to_change_and_keeps_nothing() {
    let server = server();
    let proxy = FaultyProxy::start(server.port);
    let through_proxy = format!("http://127.0.0.1:{}", proxy.port);
    let closed = format!("http://127.0.0.1:{}", support::free_port());
    let here = "s3://backups/here";
    let cases: [Case<'_>; 8] = [
        ("s3://nowhere/here", &[], Misbehaviour::None, 2, &["no store at s3://nowhere", "make the bucket"]),
        (here, &[("AWS_REGION", "eu-west-1")], Misbehaviour::None, 2, &["set AWS_REGION=us-east-1"]),
        (here, &[("AWS_SECRET_ACCESS_KEY", "wrong")], Misbehaviour::None, 2, &["AWS_SECRET_ACCESS_KEY"]),
        (here, &[("AWS_ACCESS_KEY_ID", "nobody")], Misbehaviour::None, 2, &["AWS_ACCESS_KEY_ID"]),
        (here, &[("AWS_ENDPOINT_URL_S3", &closed)], Misbehaviour::None, 4, &["check that the store can be reached"]),
        (here, &[("AWS_ENDPOINT_URL_S3", &through_proxy)], SKEWED, 2, &["the clock of this machine is wrong", "NTP"]),
        (here, &[("AWS_ENDPOINT_URL_S3", &through_proxy)], Misbehaviour::Expired { from: 0 }, 2, &["sign in again"]),
        (
            here,
            &[("AWS_ENDPOINT_URL_S3", &through_proxy)],
            Misbehaviour::Full { from: 0 },
            4,
            &["no space left", "make room"],
        ),
    ];
    for (url, environment, misbehaviour, code, says) in cases {
        let mut desk = desk(&server, url);
        for (name, value) in environment {
            desk.set(name, value);
        }
        proxy.behave(misbehaviour);
        let said = desk.davit(&["init"]);
        let told = says.iter().all(|text| said.stderr.contains(text));
        assert!(said.code == code && told, "{environment:?}, {misbehaviour:?}: {said:?}");
        assert!(desk.inventory().is_empty(), "keys of a repository that is not there: {:?}", desk.inventory());
    }
    let left = run(server.client().list_objects_v2().bucket("backups").send()).unwrap();
    assert_eq!(left.contents().len(), 0);
}

#[test]
#[ignore = "needs versitygw: make test"]
fn a_verb_that_is_not_permitted_is_named_with_what_to_grant() {
    let server = server();
    let mut desk = desk(&server, "s3://backups/here");
    assert_eq!(desk.davit(&["init"]).code, 0);
    let proxy = FaultyProxy::start(server.port);
    desk.set("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", proxy.port));
    proxy.behave(denied("GET"));
    refused(&desk, &["points"], 3, &["not permitted: s3:", "grant s3:", "s3://backups/here"]);
    for (method, action) in [("PUT", "s3:PutObject"), ("DELETE", "s3:DeleteObject")] {
        proxy.behave(denied(method));
        let elsewhere = ["init", "--repository", "s3://backups/elsewhere", "--keys", "elsewhere"];
        refused(&desk, &elsewhere, 3, &["not permitted", &format!("grant {action} on s3://backups/elsewhere")]);
        assert!(!desk.path().join("elsewhere").join("reader.key").exists());
    }
    proxy.behave(Misbehaviour::None);
    assert_eq!(desk.davit(&["points"]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_conditions_is_refused_and_named() {
    let server = s3_server::Server::start_without_conditions().await;
    let (id, secret) = server.options().keys.unwrap();
    let mut desk = Desk::new();
    desk.set("AWS_ENDPOINT_URL_S3", &server.endpoint).set("AWS_REGION", "us-east-1");
    desk.set("AWS_ACCESS_KEY_ID", &id).set("AWS_SECRET_ACCESS_KEY", secret.reveal());
    let place = format!("s3://{}/here", s3_server::BUCKET);
    desk.set("DAVIT_REPOSITORY", &place);
    let calls = move || {
        refused(&desk, &["init"], 3, &[&place, "ignores If-None-Match", "use a store with conditional writes"]);
        assert!(desk.inventory().is_empty(), "{:?}", desk.inventory());
        let said = desk.davit(&["init", "--accept-unconditional-store"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let said = desk.davit(&["doctor"]);
        assert_eq!(said.code, 1, "{}", said.stdout);
        assert!(said.stdout.contains("ignores conditions: two runners could overwrite each other"), "{}", said.stdout);
    };
    tokio::task::spawn_blocking(calls).await.unwrap();
}

#[test]
#[ignore = "needs versitygw: make test"]
fn a_bucket_without_object_lock_cannot_have_a_locked_repository() {
    let server = server();
    let desk = desk(&server, "s3://backups/locked");
    refused(
        &desk,
        &["init", "--object-lock", "compliance"],
        3,
        &["the bucket has no object lock", "object lock is switched on when a bucket is made"],
    );
    assert!(desk.inventory().is_empty(), "{:?}", desk.inventory());
}

/// What stock `minisign` would say of `body` with the key of this seed.
fn signature(seed: &[u8], body: &str, comment: &str) -> String {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use blake2::Digest as _;
    let key = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
    let signed = key.sign(&blake2::Blake2b512::digest(body.as_bytes()));
    let id = blake3::hash(key.public_key().as_ref());
    let id = &id.as_bytes()[..8];
    let global = key.sign(&[signed.as_ref(), comment.as_bytes()].concat());
    let (first, second) = (STANDARD.encode([b"ED", id, signed.as_ref()].concat()), STANDARD.encode(global.as_ref()));
    format!("untrusted comment: signature by davit\n{first}\ntrusted comment: {comment}\n{second}\n")
}

#[test]
fn a_repository_of_a_newer_format_is_refused_by_name() {
    use base64::Engine as _;
    let desk = Desk::with_repository();
    let path = desk.path().join("davit-repository/davit.json");
    let charter: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let key = std::fs::read_to_string(desk.path().join("davit-keys/reader.key")).unwrap();
    let seed = key.lines().find_map(|line| line.strip_prefix("# davit-root-seed: ")).unwrap();
    let seed = base64::engine::general_purpose::STANDARD.decode(seed).unwrap();
    let body = charter["body"].as_str().unwrap();
    let comment = charter["signature"].as_str().unwrap().lines().nth(2).unwrap();
    let comment = comment.strip_prefix("trusted comment: ").unwrap();
    let write = |body: &str| {
        let signed = format!(
            r#"{{"body":{},"signature":{}}}"#,
            serde_json::to_string(body).unwrap(),
            serde_json::to_string(&signature(&seed, body, comment)).unwrap()
        );
        std::fs::write(&path, signed).unwrap();
    };
    // Signed here again unchanged it is believed: so what is refused below is refused for its format.
    write(body);
    assert_eq!(desk.davit(&["points"]).code, 0);
    write(&body.replacen("\"format\": 1", "\"format\": 2,\n  \"more\": true", 1));
    for command in [&["points"][..], &["verify", "--all"], &["retain"], &["sweep"], &["key", "check"]] {
        refused(&desk, command, 3, &["of format 2", "up to format 1", "use a newer davit"]);
    }
}

/// Ends a process whose files grow beyond this.
const LARGEST_FILE: u64 = 64 << 10;

#[test]
#[ignore = "needs a PostgreSQL server and versitygw: make test"]
fn nothing_is_staged_on_the_disk_on_the_way_to_a_store_and_back() {
    let (server, postgres) = (server(), PgServer::start());
    postgres.psql("postgres", "CREATE DATABASE shop");
    postgres.psql(
        "shop",
        "CREATE TABLE seals AS SELECT i AS id, sha256(i::text::bytea) AS seal FROM generate_series(1, 60000) i",
    );
    let mut desk = desk(&server, "s3://backups/here");
    std::fs::create_dir(desk.path().join("temporary")).unwrap();
    let temporary = desk.path().join("temporary").display().to_string();
    desk.set("TMPDIR", &temporary);
    let limited = |desk: &Desk, arguments: &[&str]| {
        let call = desk.command(arguments);
        let mut limited = std::process::Command::new("prlimit");
        limited.arg(format!("--fsize={LARGEST_FILE}")).arg(call.get_program()).args(call.get_args());
        limited
            .env_clear()
            .envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(desk.path());
        limited.output().unwrap()
    };
    assert_eq!(desk.davit(&["init"]).code, 0);
    let (shop, copy) = (postgres.url("shop"), postgres.url("copy"));
    let parallel = ["backup", &shop, "--jobs", "2"];
    for arguments in [
        &parallel[..],
        &["backup", &shop, "--engine", "stream"],
        &["restore", "shop@latest", "--into", &copy, "--create"],
        &["verify", "--all", "--depth", "stored"],
        &["export", "shop@latest"],
    ] {
        let output = limited(&desk, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let largest = desk.inventory().into_iter().map(|(path, size, _)| (size, path)).max().unwrap();
    assert!(largest.0 < 16 << 10, "{largest:?} was left behind");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    // That the limit bites: a repository in a directory cannot be written under it.
    let here = desk.path().join("directory").display().to_string();
    desk.set("DAVIT_REPOSITORY", &here).set("DAVIT_KEYS", "keys-of-directory");
    assert_eq!(desk.davit(&["init"]).code, 0);
    assert!(!limited(&desk, &parallel).status.success());
}
