//! What the answers of an S3 server, and their absence, come to for a person: the kind of failure, its text, the

#![allow(clippy::panic, clippy::assigning_clones, reason = "a test stops at the first surprise")]
//! next step. The server here says exactly what each test wants.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use davit::clock::SystemClock;
use davit::error::Kind;
use davit::retry::{Policy, Retry, Retryable};
use davit::secret::Secret;
use davit::store::{ETag, ObjectKey, OpenOptions, Put, S3Options, S3Store, Store, StoreError, VersionId};
use futures_util::TryStreamExt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Debug, Clone)]
enum Say {
    /// An answer with these header lines and this body.
    Answer(u16, &'static str, String),
    /// Hangs up without a word.
    HangUp,
    /// Announces more bytes than come.
    Short,
}

/// A server that works off a list and keeps the requests it got.
struct Script {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn of(answers: impl IntoIterator<Item = Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut answers: VecDeque<Say> = answers.into_iter().collect();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // A connection that brings no request (a client that tried out) costs no answer.
                let Some(request) = request(&mut stream).await else { continue };
                let is_head = request.starts_with("HEAD ");
                seen.lock().unwrap().push(request);
                let answer = if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
                speak(&mut stream, answer, is_head).await;
            }
        });
        Self { endpoint, requests }
    }

    fn options(&self) -> S3Options {
        S3Options {
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            profile: None,
            keys: Some(("id".to_owned(), Secret::new("secret"))),
        }
    }

    async fn store(&self) -> Result<S3Store, StoreError> {
        S3Store::open("bucket", "prefix", &self.options(), SystemClock::shared()).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Some(text);
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

async fn speak(stream: &mut TcpStream, answer: Say, is_head: bool) {
    let text = match answer {
        Say::HangUp => return,
        Say::Short => {
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: \"x\"\r\nConnection: close\r\n\r\nshort".to_owned()
        }
        Say::Answer(status, lines, body) => {
            let body = if is_head { String::new() } else { body };
            let length = if is_head { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            let date = "Date: Sat, 21 Nov 2026 14:00:00 GMT\r\n";
            format!("HTTP/1.1 {status} Said\r\n{length}{date}{lines}Connection: close\r\n\r\n{body}")
        }
    };
    // The client may have gone away; that is what some tests are about.
    drop(stream.write_all(text.as_bytes()).await);
    drop(stream.shutdown().await);
}

/// An S3 error document.
fn error(status: u16, code: &str, message: &str) -> Say {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Say::Answer(status, "Content-Type: application/xml\r\n", body)
}

fn empty_listing() -> Say {
    let body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    Say::Answer(200, "Content-Type: application/xml\r\n", body.to_owned())
}

fn stored() -> Say {
    Say::Answer(200, "ETag: \"stored\"\r\n", String::new())
}

fn key() -> ObjectKey {
    ObjectKey::new("chunks/ab/1").unwrap()
}

/// What a put comes to when the server says this.
async fn put(answer: Say) -> StoreError {
    let script = Script::of([empty_listing(), answer]).await;
    script.store().await.unwrap().put_new(&key(), Put::new("body")).await.unwrap_err()
}

#[tokio::test]
async fn each_refusal_has_its_kind_its_text_and_its_next_step() {
    use Kind::{Failed, Input, Refused};
    let table = [
        (
            403,
            "AccessDenied",
            Refused,
            "not permitted: s3:PutObject on s3://bucket/prefix/chunks/ab/1",
            "grant s3:PutObject",
        ),
        (403, "InvalidAccessKeyId", Input, "the credentials do not work: InvalidAccessKeyId: said", "AWS_PROFILE"),
        (403, "SignatureDoesNotMatch", Input, "the credentials do not work: SignatureDoesNotMatch: said", "secret"),
        (400, "ExpiredToken", Input, "the credentials do not work: ExpiredToken: said", "sign in again"),
        (403, "RequestTimeTooSkewed", Input, "the clock of this machine is wrong", "set the clock"),
        (404, "NoSuchBucket", Input, "no store at s3://bucket", "make the bucket"),
        (301, "PermanentRedirect", Input, "s3://bucket is in another region", "AWS_REGION"),
        (503, "SlowDown", Failed, "store not available for chunks/ab/1: SlowDown: said", "same command again"),
        (500, "InternalError", Failed, "outcome unknown for chunks/ab/1: InternalError: said", "same command again"),
        (507, "InsufficientStorage", Failed, "no space left at the store", "make room"),
        (400, "QuotaExceeded", Failed, "no space left at the store", "quota"),
        (400, "BadDigest", Failed, "were damaged on the way", ""),
        (409, "ConditionalRequestConflict", Failed, "store not available", "same command again"),
        (501, "NotImplemented", Input, "this store has no", ""),
        (400, "InvalidRequest", Failed, "s3:PutObject on s3://bucket/prefix/chunks/ab/1: InvalidRequest: said", ""),
    ];
    for (status, code, kind, text, hint) in table {
        let error = put(error(status, code, "said")).await.explain("putting a chunk");
        assert_eq!(error.kind(), kind, "{code}: {error}");
        assert!(error.to_string().contains(text), "{code}: {error}");
        let given = error.hint_text().unwrap_or_default();
        assert!(given.contains(hint), "{code}: {given:?}");
    }
}

#[tokio::test]
async fn only_what_can_pass_is_worth_another_attempt() {
    for (status, code) in
        [(503, "SlowDown"), (500, "InternalError"), (409, "OperationAborted"), (429, "Whatever"), (400, "BadDigest")]
    {
        assert_eq!(put(error(status, code, "")).await.retry(), Retry::Later, "{code}");
    }
    for (status, code) in
        [(403, "AccessDenied"), (507, "InsufficientStorage"), (400, "ExpiredToken"), (400, "Whatever")]
    {
        assert_eq!(put(error(status, code, "")).await.retry(), Retry::Never, "{code}");
    }
}

#[tokio::test]
async fn the_right_region_is_named_and_found_if_nobody_chose_one() {
    let header = "x-amz-bucket-region: eu-central-1\r\nContent-Type: application/xml\r\n";
    let body = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>";
    let script = Script::of([Say::Answer(301, header, body.to_owned())]).await;
    let error = script.store().await.unwrap_err();
    assert_eq!(error.to_string(), "s3://bucket is in the region eu-central-1");
    let hint = error.explain("opening").hint_text().unwrap().to_owned();
    assert!(hint.contains("AWS_REGION=eu-central-1"), "{hint}");

    let message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'ap-south-1'";
    let script = Script::of([error_of_region(message), empty_listing()]).await;
    let options = S3Options { region: None, ..script.options() };
    S3Store::open("bucket", "", &options, SystemClock::shared()).await.unwrap();
    let requests = script.requests();
    assert!(requests[0].contains("/us-east-1/s3/aws4_request"), "{}", requests[0]);
    assert!(requests[1].contains("/ap-south-1/s3/aws4_request"), "{}", requests[1]);
}

fn error_of_region(message: &str) -> Say {
    error(400, "AuthorizationHeaderMalformed", message)
}

#[tokio::test]
async fn a_put_without_an_answer_is_in_doubt_and_a_get_is_not() {
    let doubt = put(Say::HangUp).await;
    assert!(matches!(doubt, StoreError::OutcomeUnknown { .. }), "{doubt:?}");
    let script = Script::of([empty_listing(), Say::HangUp]).await;
    let store = script.store().await.unwrap();
    let clear = store.get(&key(), None).await.unwrap_err();
    assert!(matches!(clear, StoreError::Unavailable { .. }), "{clear:?}");
}

#[tokio::test]
async fn a_connection_that_never_was_leaves_no_doubt() {
    // Taken, so that nobody else gets it, and not listened at.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = S3Options {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("us-east-1".to_owned()),
        profile: None,
        keys: Some(("id".to_owned(), Secret::new("secret"))),
    };
    let refused = S3Store::open("bucket", "", &options, SystemClock::shared()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    assert!(refused.to_string().contains("refused"), "{refused}");
    let nowhere = S3Options { endpoint: Some("http://no-such-host.invalid".to_owned()), ..options };
    let unknown = S3Store::open("bucket", "", &nowhere, SystemClock::shared()).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Unavailable { .. }), "{unknown:?}");
    let wrong = S3Options { endpoint: Some("example.org".to_owned()), ..nowhere };
    let wrong = S3Store::open("bucket", "", &wrong, SystemClock::shared()).await.unwrap_err();
    assert!(matches!(wrong, StoreError::Misconfigured(_)), "{wrong:?}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_never_an_object() {
    let script = Script::of([empty_listing(), Say::Short]).await;
    let store = script.store().await.unwrap();
    let error = store.get(&key(), None).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let mut read = Vec::new();
    store.read(&key(), None).await.unwrap().body.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(read, b"short");
}

#[tokio::test]
async fn a_listing_that_leaves_names_out_is_an_error() {
    let body = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>".to_owned();
    let truncated = Say::Answer(200, "Content-Type: application/xml\r\n", body);
    let script = Script::of([empty_listing(), truncated]).await;
    let listed: Result<Vec<_>, StoreError> = script.store().await.unwrap().list("").try_collect().await;
    assert!(matches!(listed, Err(StoreError::Other(_))), "{listed:?}");
    let nonsense = Say::Answer(200, "Content-Type: text/html\r\n", "<html>a proxy speaks</html>".to_owned());
    let script = Script::of([empty_listing(), nonsense]).await;
    let listed: Result<Vec<_>, StoreError> = script.store().await.unwrap().list("").try_collect().await;
    listed.unwrap_err();
}

#[tokio::test]
async fn the_hash_is_sent_and_signs_the_body_and_the_condition_goes_with_it() {
    let script = Script::of([empty_listing(), stored()]).await;
    let store = script.store().await.unwrap();
    store.put_new(&key(), Put::new("body")).await.unwrap();
    store.put_if_match(&key(), Put::new("body"), &ETag("\"seen\"".to_owned())).await.unwrap();
    let requests = script.requests();
    assert!(requests[1].starts_with("PUT /bucket/prefix/chunks/ab/1"), "{}", requests[1]);
    // printf body | sha256sum, in hexadecimal and in Base64.
    let hexadecimal = "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5";
    for request in &requests[1..] {
        assert_eq!(header(request, "x-amz-content-sha256"), Some(hexadecimal));
        assert_eq!(header(request, "x-amz-checksum-sha256"), Some("Iw2DWNyOiJC0xY3utikS7i8gNXrpKlzIYbmOaP4xrLU="));
        assert_eq!(header(request, "x-amz-checksum-crc32"), None);
        assert_eq!(header(request, "content-encoding"), None);
        assert!(request.ends_with("\r\n\r\nbody"), "{request}");
    }
    assert_eq!(header(&requests[1], "if-none-match"), Some("*"));
    assert_eq!(header(&requests[2], "if-match"), Some("\"seen\""));
}

#[tokio::test]
async fn a_head_that_is_refused_without_a_word_is_asked_again_for_the_reason() {
    let mute = Say::Answer(403, "", String::new());
    let skewed = error(403, "RequestTimeTooSkewed", "15 minutes");
    let script = Script::of([empty_listing(), mute.clone(), skewed]).await;
    let error = script.store().await.unwrap().head(&key(), None).await.unwrap_err();
    assert!(matches!(error, StoreError::ClockSkew(_)), "{error:?}");

    let script = Script::of([empty_listing(), mute]).await;
    let error = script.store().await.unwrap().head(&key(), None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied { action, .. } if action == "s3:GetObject"), "{error:?}");
}

#[tokio::test]
async fn a_version_whose_deletion_a_lock_forbids_is_called_locked() {
    let versioned = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".to_owned();
    let versioned = Say::Answer(200, "Content-Type: application/xml\r\n", versioned);
    let mute = error(403, "AccessDenied", "Access Denied");
    let locks = "x-amz-object-lock-mode: COMPLIANCE\r\nx-amz-object-lock-retain-until-date: 2030-01-01T00:00:00Z\r\n";
    let locked = Say::Answer(200, locks, String::new());
    let script = Script::of([empty_listing(), versioned.clone(), mute.clone(), locked]).await;
    let version = VersionId("v1".to_owned());
    let error = script.store().await.unwrap().delete_version(&key(), &version).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked(_)), "{error:?}");

    let script = Script::of([empty_listing(), versioned, mute, stored()]).await;
    let error = script.store().await.unwrap().delete_version(&key(), &version).await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied { action, .. } if action == "s3:DeleteObjectVersion"), "{error:?}");
}

#[tokio::test]
async fn the_time_is_the_servers_even_if_it_refuses() {
    let script = Script::of([empty_listing(), error(403, "AccessDenied", "no")]).await;
    let time = script.store().await.unwrap().clock().await.unwrap().unwrap();
    assert_eq!(time.to_string(), "2026-11-21T14:00:00Z");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_while_opening_and_a_refusal_ends_it_at_once() {
    let busy = error(503, "SlowDown", "busy");
    let script = Script::of([busy.clone(), busy, empty_listing()]).await;
    let retry = Policy { first_pause: Duration::from_millis(1), ..Policy::STORE };
    let options = OpenOptions { retry, s3: script.options(), ..OpenOptions::default() };
    davit::store::open("s3://bucket/prefix", &options, SystemClock::shared()).await.unwrap();
    assert_eq!(script.requests().len(), 3);

    let script = Script::of([error(404, "NoSuchBucket", "none")]).await;
    let options = OpenOptions { retry, s3: script.options(), ..OpenOptions::default() };
    let error = davit::store::open("s3://bucket/prefix", &options, SystemClock::shared()).await.unwrap_err();
    assert_eq!(error.to_string(), "opening the repository s3://bucket/prefix: no store at s3://bucket");
    assert_eq!(script.requests().len(), 1);
}
