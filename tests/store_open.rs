//! From the name of a repository, and from the AWS environment, to its store; and what a wrong name comes to.

#![allow(clippy::panic, clippy::assigning_clones, reason = "a test stops at the first surprise")]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a test that starts itself again speaks to itself by the environment")]
#![allow(dead_code, unreachable_pub, reason = "the support module serves other tests, too")]

mod store_support;

use davit::clock::SystemClock;
use davit::error::Kind;
use davit::retry::Policy;
use davit::store::{ObjectKey, OpenOptions, Put, S3Options, SharedStore, StoreError};
use futures_util::StreamExt;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use store_support::s3_server::{BUCKET, Server};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

async fn open(url: &str, options: &OpenOptions) -> davit::error::Result<SharedStore> {
    davit::store::open(url, options, SystemClock::shared()).await
}

fn once() -> OpenOptions {
    OpenOptions { retry: Policy::ONCE, ..OpenOptions::default() }
}

#[tokio::test]
async fn a_directory_is_opened_by_its_path_and_made_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/repository");
    let name = path.to_str().unwrap();
    let error = open(name, &once()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert_eq!(error.to_string(), format!("opening the repository {name}: no store at {name}"));
    assert!(error.hint_text().unwrap().contains("davit init"));
    assert!(!path.exists());

    let made = open(name, &OpenOptions { create: true, ..once() }).await.unwrap();
    made.put_new(&key("a"), Put::new("x")).await.unwrap();
    let again = open(&format!("file://{name}"), &once()).await.unwrap();
    assert_eq!(&again.get(&key("a"), None).await.unwrap().body[..], b"x");
    assert_eq!(again.describe(), path.canonicalize().unwrap().to_str().unwrap());
}

#[tokio::test]
async fn a_file_is_no_repository() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.sql");
    std::fs::write(&file, "SELECT 1").unwrap();
    let below = file.join("repository");
    for (path, create) in [(&file, false), (&file, true), (&below, false), (&below, true)] {
        let error = open(path.to_str().unwrap(), &OpenOptions { create, ..once() }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{error}");
        assert!(error.to_string().contains("is a file, not a directory"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"SELECT 1");
}

#[tokio::test]
async fn a_name_that_is_none_is_bad_input() {
    for name in
        ["gs://bucket/x", "https://bucket.s3.amazonaws.com/x", "s3://", "s3:///x", "s3://bucket/../x", "file://x"]
    {
        let error = open(name, &once()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.hint_text().unwrap().contains("s3://bucket/prefix"), "{error:?}");
    }
}

#[tokio::test]
async fn two_prefixes_of_a_bucket_are_two_stores() {
    let server = Server::start(true, 0).await;
    let options = OpenOptions { s3: server.options(), ..once() };
    let left = open(&format!("s3://{BUCKET}/left"), &options).await.unwrap();
    let right = open(&format!("s3://{BUCKET}/left-and/right/"), &options).await.unwrap();
    let whole = open(&format!("s3://{BUCKET}"), &options).await.unwrap();
    left.put_new(&key("a"), Put::new("left")).await.unwrap();
    right.put_new(&key("a"), Put::new("right")).await.unwrap();
    assert_eq!(&left.get(&key("a"), None).await.unwrap().body[..], b"left");
    assert_eq!(left.list("").count().await, 1);
    assert_eq!(left.versions("").await.unwrap().len(), 1);
    assert_eq!(whole.folders("").await.unwrap(), ["left", "left-and"]);
    assert_eq!(right.describe(), format!("s3://{BUCKET}/left-and/right"));
}

#[tokio::test]
async fn a_wrong_secret_or_a_missing_bucket_is_said_so() {
    let server = Server::start(false, 0).await;
    let mut wrong = server.options();
    wrong.keys.as_mut().unwrap().1 = davit::secret::Secret::new("another secret");
    let error = open(&format!("s3://{BUCKET}/x"), &OpenOptions { s3: wrong, ..once() }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("the credentials do not work: SignatureDoesNotMatch"), "{error}");
    assert!(!format!("{error:?}").contains("another secret"), "{error:?}");
}

#[tokio::test]
async fn the_probe_reports_a_default_retention_and_is_not_caught_by_it() {
    let server = Server::start(true, 30).await;
    let store = open(&format!("s3://{BUCKET}/x"), &OpenOptions { s3: server.options(), ..once() }).await.unwrap();
    let features = store.probe().await.unwrap();
    assert_eq!(features.default_retention.as_deref(), Some("30 days, governance"));
    assert!(features.object_lock && features.put_if_absent && features.put_if_match && features.checksums);
    assert_eq!(store.versions("").await.unwrap(), []);
}

#[tokio::test]
async fn a_limit_slows_the_whole_store_down() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { limit_bytes_per_second: Some(100_000), ..once() };
    let store = open(folder.path().to_str().unwrap(), &options).await.unwrap();
    let begun = tokio::time::Instant::now();
    store.put_new(&key("a"), Put::new(vec![0; 20_000])).await.unwrap();
    store.get(&key("a"), None).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

/// What the process that this test starts is told to open, and with which profile.
const CHILD_PROFILE: &str = "DAVIT_TEST_CHILD_PROFILE";
const CHILD_EXPECTS: &str = "DAVIT_TEST_CHILD_EXPECTS";

/// The other side of the next test: opens the bucket with what its environment says.
async fn be_the_child(expected: &str) {
    let profile = std::env::var(CHILD_PROFILE).ok();
    let options = OpenOptions { s3: S3Options { profile, ..S3Options::default() }, ..once() };
    match (open(&format!("s3://{BUCKET}/env"), &options).await, expected) {
        (Ok(store), "success") => {
            let name = key(&format!("by-{}", std::process::id()));
            store.put_new(&name, Put::new("x")).await.unwrap();
            assert_eq!(&store.get(&name, None).await.unwrap().body[..], b"x");
        }
        (outcome, _) => {
            // With its hint.
            let error = format!("{:?}", outcome.unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}

fn in_child(environment: &[(&str, &str)], expected: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_standard_variables_and_profiles_lead_to_the_bucket", "--nocapture"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        child.env_remove(name);
    }
    child.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent").env(CHILD_EXPECTS, expected);
    child.envs(environment.iter().copied());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{environment:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What `aws sso login` leaves behind for the session `s`: a file by the SHA-1 of its name.
fn signed_in(home: &Path, until: &str) {
    let folder = home.join(".aws/sso/cache");
    std::fs::create_dir_all(&folder).unwrap();
    let session = json!({"startUrl": "https://x.invalid/start", "region": "us-east-1", "accessToken": "signed-in", "expiresAt": until});
    write(&folder, "a0f1490a20d0211c997b44bc357e1972deab8ae3.json", &session.to_string());
}

/// The portal of IAM Identity Center, as far as whoever has signed in asks it: keys for a role of an account. Gives its URL.
fn portal(id: &str, secret: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let keys =
        json!({"accessKeyId": id, "secretAccessKey": secret, "sessionToken": "", "expiration": 32_503_680_000_000_u64});
    let body = json!({"roleCredentials": keys}).to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let mut lines = Vec::new();
            while lines.last().is_none_or(|line: &String| line != "\r\n") {
                let mut line = String::new();
                assert_ne!(connection.read_line(&mut line).unwrap(), 0, "{lines:?}");
                lines.push(line);
            }
            assert!(lines[0].starts_with("GET /federation/credentials?"), "{lines:?}");
            assert!(lines[0].contains("role_name=Reader") && lines[0].contains("account_id=012345678901"), "{lines:?}");
            assert!(lines.iter().any(|line| line.trim() == "x-amz-sso_bearer_token: signed-in"), "{lines:?}");
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            connection.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standard_variables_and_profiles_lead_to_the_bucket() {
    if let Ok(expected) = std::env::var(CHILD_EXPECTS) {
        return be_the_child(&expected).await;
    }
    let server = Server::start(false, 0).await;
    let endpoint = server.endpoint.clone();
    let (id, secret) = server.options().keys.unwrap();
    let secret = secret.reveal().to_owned();
    let run = move || {
        let folder = tempfile::tempdir().unwrap();
        let keys = [("AWS_ACCESS_KEY_ID", id.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str())];
        for endpoint_name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
            let region = ("AWS_REGION", "us-east-1");
            in_child(&[keys[0], keys[1], region, (endpoint_name, &endpoint)], "success");
            // Without a region, too: a server of one's own has none to choose from.
            in_child(&[keys[0], keys[1], (endpoint_name, &endpoint)], "success");
        }
        let printed = format!(r#"{{"Version": 1, "AccessKeyId": "{id}", "SecretAccessKey": "{secret}"}}"#);
        let printed = write(folder.path(), "printed", &printed);
        let config = format!(
            "[profile own]\nregion = us-east-1\nservices = here\n[services here]\ns3 =\n  endpoint_url = {endpoint}\n\
             [profile told]\nendpoint_url = {endpoint}\ncredential_process = cat {printed}\n\
             [profile centre]\nendpoint_url = {endpoint}\nsso_session = s\nsso_account_id = 012345678901\n\
             sso_role_name = Reader\n[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://x.invalid/start\n"
        );
        let config = write(folder.path(), "config", &config);
        let credentials = format!("[own]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        let credentials = write(folder.path(), "credentials", &credentials);
        let files = [("AWS_CONFIG_FILE", config.as_str()), ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str())];
        for profile in ["own", "told"] {
            in_child(&[files[0], files[1], ("AWS_PROFILE", profile)], "success");
            in_child(&[files[0], files[1], (CHILD_PROFILE, profile)], "success");
        }
        let portal = portal(&id, &secret);
        let home = folder.path().to_str().unwrap();
        let centre = [files[0], files[1], ("AWS_PROFILE", "centre"), ("HOME", home), ("AWS_ENDPOINT_URL_SSO", &portal)];
        in_child(&centre, "aws sso login --profile");
        signed_in(folder.path(), "2001-01-01T00:00:00Z");
        in_child(&centre, "aws sso login --profile");
        signed_in(folder.path(), "2999-01-01T00:00:00Z");
        in_child(&centre, "success");
        let empty = write(folder.path(), "empty", "");
        let nothing = [("AWS_CONFIG_FILE", empty.as_str()), ("AWS_SHARED_CREDENTIALS_FILE", empty.as_str())];
        in_child(&[nothing[0], nothing[1], ("AWS_ENDPOINT_URL_S3", &endpoint)], "the credentials do not work");
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(server.memory.keys().len(), 9);
}

#[tokio::test]
async fn what_the_store_is_not_shows_in_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path().to_str().unwrap(), &once()).await.unwrap();
    let error = store.versions("").await.unwrap_err();
    assert!(matches!(error, StoreError::Unsupported("versions")), "{error:?}");
    assert_eq!(error.to_string(), "this store has no versions");
}
