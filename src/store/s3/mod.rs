//! An S3 bucket and a prefix in it: Amazon's, or any server that speaks its language.
//!
//! Every call here is one attempt; [`super::open`] wraps it in the one that tries again. An object goes out in
//! one request with its SHA-256, which the server checks and which also signs the body, so it is hashed once.
//! A request that got no answer is an [`StoreError::OutcomeUnknown`] if it could have changed something.

mod connect;
mod failure;
mod listing;
mod locks;

use super::url::S3Options;
use super::{
    ETag, Entry, Features, Lock, Meta, Object, ObjectKey, Put, Reading, Store, StoreError, Stored, VersionEntry,
    VersionId,
};
use crate::clock::SharedClock;
use crate::id::{Sha256, to_hex};
use async_trait::async_trait;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime, SdkBody};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use connect::{Connection, KnownHash};
use failure::Request;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long an answer may take, apart from the time its body needs.
const ANSWER: Duration = Duration::from_mins(1);
/// A line slower than this is taken for a dead one.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;
/// The largest object that is read into memory as a whole; larger ones are read as streams.
const LARGEST_WHOLE: u64 = 1 << 30;

/// A bucket and a prefix.
#[derive(Debug)]
pub struct S3Store {
    connection: Connection,
    bucket: String,
    /// Empty, or ends in `/`.
    prefix: String,
    clock: SharedClock,
    /// Whether the bucket keeps versions; `None` if we may not know.
    versioning: OnceCell<Option<bool>>,
}

impl S3Store {
    /// Opens a bucket: finds its region if nothing says which, and makes sure that it is there.
    pub async fn open(bucket: &str, prefix: &str, options: &S3Options, clock: SharedClock) -> Result<Self, StoreError> {
        let connection = connect::connect(options, None).await?;
        let mut store = Self::with(connection, bucket, prefix, clock);
        match store.greet().await {
            Err(StoreError::WrongRegion { region: Some(region), .. }) if !store.connection.region_is_set => {
                tracing::debug!(bucket, region, "found the region of the bucket");
                store.connection = connect::connect(options, Some(&region)).await?;
                store.greet().await?;
            }
            other => other?,
        }
        Ok(store)
    }

    fn with(connection: Connection, bucket: &str, prefix: &str, clock: SharedClock) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { connection, bucket: bucket.to_owned(), prefix, clock, versioning: OnceCell::new() }
    }

    /// The first contact: what is wrong with the settings shows here. Who may not list may still read.
    async fn greet(&self) -> Result<(), StoreError> {
        match listing::folders(self, "", 1).await {
            Ok(_) | Err(StoreError::Denied { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn name(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    fn place(&self, key: &str) -> String {
        format!("s3://{}/{}{key}", self.bucket, self.prefix)
    }

    /// Sends a request that changes nothing.
    async fn ask<T, E>(
        &self,
        action: &'static str,
        target: &str,
        sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, StoreError>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let request = Request { action, target, place: &self.place(target), writes: false };
        match tokio::time::timeout(ANSWER, sent).await {
            Ok(answer) => answer.map_err(|error| request.failure(&error)),
            Err(_) => Err(request.late(ANSWER.as_secs())),
        }
    }

    /// Sends a request that changes something; `bytes` go with it.
    async fn act<T, E>(
        &self,
        action: &'static str,
        target: &str,
        bytes: usize,
        sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Refused>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let request = Request { action, target, place: &self.place(target), writes: true };
        let limit = ANSWER + Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND);
        match tokio::time::timeout(limit, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_precondition(&error) => Err(Refused::Precondition),
            Ok(Err(error)) => Err(Refused::Error(request.failure(&error))),
            Err(_) => Err(Refused::Error(request.late(limit.as_secs()))),
        }
    }

    async fn put(
        &self,
        key: &ObjectKey,
        put: Put,
        condition: impl FnOnce(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<Stored, Refused> {
        if put.lock.is_some() && self.keeps_versions().await? == Some(false) {
            // Not every server refuses it; a lock that nobody keeps must not pass for one.
            return Err(Refused::Error(StoreError::Unsupported("object lock")));
        }
        let length = put.body.len();
        let request = self.connection.client.put_object().bucket(&self.bucket).key(self.name(key));
        let mut request = condition(request)
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            .content_type("application/octet-stream")
            .checksum_sha256(BASE64.encode(put.sha256.0))
            .body(ByteStream::new(SdkBody::from(put.body)));
        if let Some(lock) = put.lock {
            let (mode, until) = locks::to_put(lock);
            request = request.object_lock_mode(mode).object_lock_retain_until_date(until);
        }
        let hash = KnownHash(to_hex(&put.sha256.0));
        let sent = request.customize().interceptor(hash).send();
        let stored = self.act("s3:PutObject", key.as_str(), length, sent).await?;
        let etag = ETag(stored.e_tag().unwrap_or_default().to_owned());
        Ok(Stored { etag, version: version_of(stored.version_id()) })
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        version: Option<&VersionId>,
        range: Option<String>,
    ) -> Result<GetObjectOutput, StoreError> {
        let request = self.connection.client.get_object().bucket(&self.bucket).key(self.name(key));
        let request = request.set_version_id(version.map(|version| version.0.clone())).set_range(range);
        let sent = request.send();
        self.ask::<_, GetObjectError>("s3:GetObject", key.as_str(), sent).await
    }

    /// The tag of what a delete marker hides, where a name behind a marker was refused as taken. S3 says it is free;
    /// some servers (versitygw 1.8) compare with the hidden version instead, and then so does a second attempt.
    async fn hidden_tag(&self, key: &ObjectKey) -> Result<Option<ETag>, StoreError> {
        if self.keeps_versions().await? == Some(false)
            || !matches!(self.head(key, None).await, Err(StoreError::NotFound(_)))
        {
            return Ok(None);
        }
        let versions = listing::versions(self, key.as_str()).await?;
        let mut own = versions.into_iter().filter(|entry| entry.key == *key);
        if !own.next().is_some_and(|newest| newest.delete_marker) {
            return Ok(None);
        }
        match own.find(|entry| !entry.delete_marker) {
            Some(hidden) => Ok(Some(self.head(key, Some(&hidden.version)).await?.etag)),
            None => Ok(None),
        }
    }

    /// A HEAD is refused without a word; the same question as a GET of one byte is answered with the reason.
    async fn reason(&self, key: &ObjectKey, version: Option<&VersionId>, error: StoreError) -> StoreError {
        let is_mute =
            matches!(error, StoreError::Denied { .. } | StoreError::Other(_) | StoreError::WrongRegion { .. });
        if !is_mute {
            return error;
        }
        match self.fetch(key, version, Some("bytes=0-0".to_owned())).await {
            Err(StoreError::Other(_)) | Ok(_) => error,
            Err(reason) => reason,
        }
    }

    async fn keeps_versions(&self) -> Result<Option<bool>, StoreError> {
        let found = self.versioning.get_or_try_init(|| listing::versioning(self)).await?;
        Ok(*found)
    }

    async fn must_keep_versions(&self) -> Result<(), StoreError> {
        match self.keeps_versions().await? {
            Some(false) => Err(StoreError::Unsupported("versions")),
            _ => Ok(()),
        }
    }
}

/// Why a write did not happen.
enum Refused {
    /// The object is not as the request's condition wants it.
    Precondition,
    Error(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

impl Refused {
    fn or(self, precondition: impl FnOnce() -> StoreError) -> StoreError {
        match self {
            Self::Precondition => precondition(),
            Self::Error(error) => error,
        }
    }
}

fn is_precondition<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|raw| raw.status().as_u16() == 412)
}

/// `null` is what a bucket without versions calls its only one.
fn version_of(id: Option<&str>) -> Option<VersionId> {
    id.filter(|id| !id.is_empty() && *id != "null").map(|id| VersionId(id.to_owned()))
}

fn time_of(time: Option<&DateTime>) -> Timestamp {
    let known = time.and_then(|time| Timestamp::new(time.secs(), time.subsec_nanos().cast_signed()).ok());
    known.unwrap_or(Timestamp::UNIX_EPOCH)
}

fn length_of(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}

fn hash_of(base64: Option<&str>) -> Option<Sha256> {
    // A hash of the hashes of parts has `-` and their count behind it: that is not the hash of the bytes.
    BASE64.decode(base64?).ok()?.try_into().ok().map(Sha256)
}

fn meta_of_head(head: &HeadObjectOutput) -> Meta {
    Meta {
        size: length_of(head.content_length()),
        etag: ETag(head.e_tag().unwrap_or_default().to_owned()),
        version: version_of(head.version_id()),
        modified: time_of(head.last_modified()),
        lock: locks::from_answer(head.object_lock_mode(), head.object_lock_retain_until_date()),
        sha256: hash_of(head.checksum_sha256()),
    }
}

/// `from` bytes of the object are not in this answer.
fn meta_of_get(get: &GetObjectOutput, from: u64) -> Meta {
    Meta {
        size: from + length_of(get.content_length()),
        etag: ETag(get.e_tag().unwrap_or_default().to_owned()),
        version: version_of(get.version_id()),
        modified: time_of(get.last_modified()),
        lock: locks::from_answer(get.object_lock_mode(), get.object_lock_retain_until_date()),
        sha256: hash_of(get.checksum_sha256()),
    }
}

/// Reads a body of a known length into memory.
async fn collect(mut body: ByteStream, length: u64, target: &str) -> Result<Bytes, StoreError> {
    if length > LARGEST_WHOLE {
        return Err(StoreError::Other(format!("{target} is too large to be read into memory ({length} bytes)")));
    }
    let broken = |detail: String| StoreError::Unavailable { target: target.to_owned(), detail };
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    loop {
        match tokio::time::timeout(ANSWER, body.next()).await {
            Err(_) => return Err(broken(format!("no byte came for {} s", ANSWER.as_secs()))),
            Ok(Some(Err(error))) => return Err(broken(format!("after {} of {length} bytes: {error}", bytes.len()))),
            Ok(Some(Ok(piece))) if bytes.len() + piece.len() <= bytes.capacity() => bytes.extend_from_slice(&piece),
            Ok(Some(Ok(_))) => return Err(broken(format!("more than the announced {length} bytes came"))),
            Ok(None) if bytes.len() as u64 == length => return Ok(bytes.into()),
            Ok(None) => return Err(broken(format!("{} of {length} bytes came", bytes.len()))),
        }
    }
}

#[async_trait]
impl Store for S3Store {
    fn describe(&self) -> String {
        self.place("").trim_end_matches('/').to_owned()
    }

    async fn put_new(&self, key: &ObjectKey, put: Put) -> Result<Stored, StoreError> {
        let taken = || StoreError::AlreadyExists(key.to_string());
        match self.put(key, put.clone(), |request| request.if_none_match("*")).await {
            Ok(stored) => Ok(stored),
            Err(Refused::Precondition) => match self.hidden_tag(key).await? {
                None => Err(taken()),
                Some(tag) => {
                    let stored = self.put(key, put, |request| request.if_match(tag.0)).await;
                    stored.map_err(|refused| refused.or(taken))
                }
            },
            Err(refused) => Err(refused.or(taken)),
        }
    }

    async fn put_if_match(&self, key: &ObjectKey, put: Put, expected: &ETag) -> Result<Stored, StoreError> {
        let changed = || StoreError::Changed(key.to_string());
        match self.put(key, put, |request| request.if_match(&expected.0)).await {
            Ok(stored) => Ok(stored),
            // An object that is gone answers 404 and not 412.
            Err(Refused::Error(StoreError::NotFound(_))) => Err(changed()),
            Err(refused) => Err(refused.or(changed)),
        }
    }

    async fn get(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Object, StoreError> {
        let answer = self.fetch(key, version, None).await?;
        let meta = meta_of_get(&answer, 0);
        let body = collect(answer.body, meta.size, key.as_str()).await?;
        Ok(Object { meta, body })
    }

    async fn read_from(&self, key: &ObjectKey, version: Option<&VersionId>, from: u64) -> Result<Reading, StoreError> {
        let range = (from > 0).then(|| format!("bytes={from}-"));
        let answer = self.fetch(key, version, range).await?;
        let left = length_of(answer.content_length());
        if from > 0 && answer.content_range().is_none() {
            return Err(StoreError::Unsupported("reading from the middle of an object"));
        }
        let meta = meta_of_get(&answer, from);
        let body = super::body::Patient::new(answer.body.into_async_read(), ANSWER);
        Ok(Reading { meta, body: Box::pin(super::body::ExactBody::new(body, left)) })
    }

    async fn head(&self, key: &ObjectKey, version: Option<&VersionId>) -> Result<Meta, StoreError> {
        let request = self.connection.client.head_object().bucket(&self.bucket).key(self.name(key));
        let request = request.set_version_id(version.map(|version| version.0.clone()));
        let request = request.checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled);
        match self.ask("s3:GetObject", key.as_str(), request.send()).await {
            Ok(head) => Ok(meta_of_head(&head)),
            Err(error) => Err(self.reason(key, version, error).await),
        }
    }

    fn list_after<'a>(&'a self, prefix: &str, after: Option<&ObjectKey>) -> BoxStream<'a, Result<Entry, StoreError>> {
        listing::objects(self, prefix, after)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        listing::folders(self, prefix, usize::MAX).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<VersionEntry>, StoreError> {
        self.must_keep_versions().await?;
        listing::versions(self, prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let sent = self.connection.client.delete_object().bucket(&self.bucket).key(self.name(key)).send();
        match self.act("s3:DeleteObject", key.as_str(), 0, sent).await {
            Ok(_) | Err(Refused::Error(StoreError::NotFound(_))) => Ok(()),
            Err(refused) => Err(refused.or(|| StoreError::Changed(key.to_string()))),
        }
    }

    async fn delete_version(&self, key: &ObjectKey, version: &VersionId) -> Result<(), StoreError> {
        self.must_keep_versions().await?;
        let request = self.connection.client.delete_object().bucket(&self.bucket).key(self.name(key));
        let sent = request.version_id(&version.0).send();
        match self.act("s3:DeleteObjectVersion", key.as_str(), 0, sent).await {
            Ok(_) | Err(Refused::Error(StoreError::NotFound(_))) => Ok(()),
            Err(refused) => {
                let error = refused.or(|| StoreError::Changed(key.to_string()));
                Err(locks::or_locked(self, key, version, error).await)
            }
        }
    }

    async fn extend_lock(&self, key: &ObjectKey, version: Option<&VersionId>, lock: Lock) -> Result<(), StoreError> {
        locks::extend(self, key, version, lock).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        // Any answer tells the time, also a refusal.
        let asked = listing::folders(self, "", 1).await;
        match self.connection.server_time.last() {
            Some(time) => Ok(Some(time)),
            None => asked.map(|_| None),
        }
    }

    async fn probe(&self) -> Result<Features, StoreError> {
        let default_retention = locks::default_retention(self).await?;
        super::probe::probe(self, &*self.clock, super::probe::Known { default_retention }).await
    }
}
