//! What an S3 server's answer, or the lack of one, means to a caller.
//!
//! The codes are those of the S3 API's error list; compatible servers use the same ones with a few of their own.

use super::super::StoreError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error as StdError;
use std::io;

/// One request, as a message names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// The permission it needs: `s3:PutObject`.
    pub(super) action: &'static str,
    /// The name of the object, or of the bucket.
    pub(super) target: &'a str,
    /// The bucket and what in it: `s3://bucket/prefix/key`.
    pub(super) place: &'a str,
    /// Whether a request that got no answer may have had its effect.
    pub(super) writes: bool,
}

/// The part of an answer that decides.
struct Answer<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    region: Option<&'a str>,
}

impl Request<'_> {
    /// What a failed request means.
    pub(super) fn failure<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        match error {
            SdkError::ServiceError(_) | SdkError::ResponseError(_) => {
                let raw = error.raw_response();
                let status = raw.map_or(0, |raw| raw.status().as_u16());
                let answer = Answer {
                    status,
                    code: error.code().unwrap_or_default(),
                    message: error.message().unwrap_or_default(),
                    region: raw.and_then(|raw| raw.headers().get("x-amz-bucket-region")),
                };
                self.answered(&answer)
            }
            _ => self.unanswered(error),
        }
    }

    /// It took longer than such a request may take.
    pub(super) fn late(&self, seconds: u64) -> StoreError {
        self.uncertain(format!("no answer within {seconds} s"))
    }

    fn answered(&self, answer: &Answer<'_>) -> StoreError {
        let target = || self.name();
        match (answer.code, answer.status) {
            // First, because of a server that gives an unknown key id the status of something missing.
            (code, _) if is_about_credentials(code) => StoreError::Credentials(answer.text()),
            ("NoSuchBucket", _) => StoreError::NoStore(self.bucket().to_owned()),
            // A delete marker answers 405 when it is asked for by its version.
            ("NoSuchKey" | "NoSuchVersion" | "NotFound" | "MethodNotAllowed", _) | (_, 404 | 405) => {
                StoreError::NotFound(target())
            }
            ("InvalidArgument", _) if answer.mentions("version id") => StoreError::NotFound(target()),
            ("RequestTimeTooSkewed" | "RequestExpired", _) => StoreError::ClockSkew(answer.text()),
            (code, status) if is_about_the_region(code, status) => self.wrong_region(answer),
            (code, status) if is_about_room(code, status) => StoreError::Full(target()),
            (code, _) if is_about_the_hash(code) => StoreError::Damaged { target: target(), detail: answer.text() },
            ("NotImplemented", _) | (_, 501) => StoreError::Unsupported("support for such a request"),
            (code, _) if lacks_locks(code, answer) => StoreError::Unsupported("object lock"),
            (code, _) if is_about_a_lock(code, answer) => StoreError::Locked(target()),
            ("AccessDenied" | "AllAccessDisabled" | "Forbidden", _) | (_, 403) => {
                StoreError::Denied { action: self.action.to_owned(), target: self.place.to_owned() }
            }
            (code, status) if was_put_off(code, status) => {
                StoreError::Unavailable { target: target(), detail: answer.text() }
            }
            (_, 500.. | 0 | 200..=299) => self.uncertain(answer.text()),
            _ => StoreError::Other(format!("{} on {}: {}", self.action, self.place, answer.text())),
        }
    }

    fn unanswered<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: StdError + 'static,
    {
        let mut causes: Vec<&(dyn StdError + 'static)> = vec![error];
        while let Some(cause) = causes[causes.len() - 1].source() {
            causes.push(cause);
        }
        let text = innermost(&causes);
        let says = |word: &str| causes.iter().any(|cause| cause.to_string().contains(word));
        if says("credentials") || says("identity") {
            return StoreError::Credentials(text);
        }
        if matches!(error, SdkError::ConstructionFailure(_)) {
            return StoreError::Misconfigured(format!("asking {}: {text}", self.bucket()));
        }
        let refused = |cause: &&(dyn StdError + 'static)| cause.downcast_ref::<io::Error>().is_some_and(never_arrived);
        if causes.iter().any(refused) || says("connect timeout") || says("dns error") || says("tcp connect") {
            return StoreError::Unavailable { target: self.name(), detail: text };
        }
        self.uncertain(text)
    }

    fn uncertain(&self, detail: String) -> StoreError {
        let target = self.name();
        if self.writes {
            StoreError::OutcomeUnknown { target, detail }
        } else {
            StoreError::Unavailable { target, detail }
        }
    }

    fn wrong_region(&self, answer: &Answer<'_>) -> StoreError {
        // "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'"; others
        // write double quotes.
        let quotes = ['\'', '"'];
        let expected = answer.message.split_once("expecting ").map(|(_, rest)| rest.trim_start_matches(quotes));
        let expected = expected.and_then(|rest| rest.split(quotes).next());
        if answer.code == "AuthorizationHeaderMalformed" && expected.is_none() && answer.region.is_none() {
            return StoreError::Credentials(answer.text());
        }
        let region = answer.region.or(expected).map(ToOwned::to_owned);
        StoreError::WrongRegion { target: self.bucket().to_owned(), region }
    }

    /// What a message calls the target; a request about the bucket has no other name.
    fn name(&self) -> String {
        if self.target.is_empty() { self.bucket().to_owned() } else { self.target.to_owned() }
    }

    fn bucket(&self) -> &str {
        let end = self.place.get(5..).and_then(|rest| rest.find('/')).map_or(self.place.len(), |end| end + 5);
        &self.place[..end]
    }
}

impl Answer<'_> {
    fn text(&self) -> String {
        match (self.code, self.message) {
            ("", "") => format!("answer {}", self.status),
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }

    fn mentions(&self, word: &str) -> bool {
        self.message.to_ascii_lowercase().contains(word)
    }
}

fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "CredentialsNotSupported"
            | "NotSignedUp"
            // versitygw, of a key id that it does not know; with the status of something missing.
            | "XAdminUserNotFound"
            | "AccountProblem"
    )
}

fn is_about_the_region(code: &str, status: u16) -> bool {
    matches!(status, 301 | 307)
        || matches!(
            code,
            "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IncorrectEndpoint"
                | "IllegalLocationConstraintException"
        )
}

/// Whether the bucket has no object lock at all.
fn lacks_locks(code: &str, answer: &Answer<'_>) -> bool {
    match code {
        "ObjectLockConfigurationNotFoundError" | "NoSuchObjectLockConfiguration" => true,
        "InvalidRequest" | "InvalidBucketState" => answer.mentions("lock"),
        _ => false,
    }
}

/// Whether the lock of an object forbids it.
fn is_about_a_lock(code: &str, answer: &Answer<'_>) -> bool {
    match code {
        "ObjectLocked" => true,
        "AccessDenied" => answer.mentions("object lock") || answer.mentions("worm"),
        _ => false,
    }
}

fn is_about_room(code: &str, status: u16) -> bool {
    status == 507
        || code.contains("Quota")
        || matches!(code, "InsufficientStorage" | "XMinioStorageFull" | "InsufficientCapacity" | "TooManyObjects")
}

fn is_about_the_hash(code: &str) -> bool {
    matches!(
        code,
        "BadDigest"
            | "InvalidDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "ContentSHA256Mismatch"
            | "IncompleteBody"
    )
}

/// Whether the server says that it did nothing and may do it later.
fn was_put_off(code: &str, status: u16) -> bool {
    status == 429
        || code.starts_with("Throttl")
        || matches!(
            code,
            "SlowDown"
                | "ConditionalRequestConflict"
                | "OperationAborted"
                | "RequestLimitExceeded"
                | "TooManyRequests"
                | "ServerBusy"
        )
}

/// Whether a connection never came about, so that the server cannot have seen the request.
fn never_arrived(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable)
}

/// The text of the causes, without the wrappings that only say that something failed.
fn innermost(causes: &[&(dyn StdError + 'static)]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes.iter().rev() {
        let text = cause.to_string();
        if !texts.iter().any(|seen| seen.contains(&text) || text.contains(seen.as_str())) {
            texts.push(text);
        }
        if texts.len() == 2 {
            break;
        }
    }
    texts.reverse();
    texts.join(": ")
}
