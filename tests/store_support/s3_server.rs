//! An S3 server in this process: the store in memory behind the real protocol, signatures and XML included.

use davit::clock::SystemClock;
use davit::id::Sha256;
use davit::secret::Secret;
use davit::store::{ETag, Lock, LockMode, MemoryStore, Meta, ObjectKey, Put, S3Options, Store, StoreError, VersionId};
use futures_util::{StreamExt, TryStreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::{SignedDuration, Timestamp};
use s3s::auth::SimpleAuth;
use s3s::dto;
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::JoinHandle;

/// The only bucket.
pub const BUCKET: &str = "davit-test";
const ACCESS_KEY: &str = "known";
const SECRET_KEY: &str = "known secret";

/// A running server; it ends when this is dropped.
pub struct Server {
    /// Its URL.
    pub endpoint: String,
    /// What it holds.
    #[allow(dead_code, reason = "not every test binary looks behind the server")]
    pub memory: Arc<MemoryStore>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one; with versions it locks, too, and each new object for `default_days` if that is not 0.
    pub async fn start(versioned: bool, default_days: i32) -> Self {
        Self::start_with(versioned, default_days, false).await
    }

    /// Starts one that overwrites whatever the conditions of a put say, as some compatible servers do.
    #[allow(dead_code, reason = "not every test binary wants such a server")]
    pub async fn start_without_conditions() -> Self {
        Self::start_with(false, 0, true).await
    }

    async fn start_with(versioned: bool, default_days: i32, ignores_conditions: bool) -> Self {
        let clock = SystemClock::shared();
        let memory = if versioned { MemoryStore::versioned(clock) } else { MemoryStore::new(clock) };
        let bucket = Bucket { memory: Arc::clone(&memory), versioned, default_days, ignores_conditions };
        let mut service = S3ServiceBuilder::new(bucket);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // A client that hangs up is no concern of the server's.
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { endpoint, memory, task }
    }

    /// How a client reaches it.
    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            profile: None,
            keys: Some((ACCESS_KEY.to_owned(), Secret::new(SECRET_KEY))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Bucket {
    memory: Arc<MemoryStore>,
    versioned: bool,
    default_days: i32,
    ignores_conditions: bool,
}

type Answer<T> = S3Result<S3Response<T>>;

#[expect(clippy::unnecessary_wraps, reason = "it is the last line of calls that can fail")]
fn answer<T>(output: T) -> Answer<T> {
    Ok(S3Response::new(output))
}

fn refusal(error: StoreError) -> S3Error {
    match error {
        StoreError::NotFound(_) => s3_error!(NoSuchKey),
        StoreError::AlreadyExists(_) | StoreError::Changed(_) => s3_error!(PreconditionFailed),
        StoreError::Locked(_) => s3_error!(AccessDenied, "Access Denied because object protected by object lock."),
        StoreError::Damaged { .. } => s3_error!(BadDigest),
        StoreError::Unsupported("object lock") => {
            s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration")
        }
        StoreError::Unsupported(_) => s3_error!(InvalidArgument, "Invalid version id specified"),
        other => s3_error!(InternalError, "{other}"),
    }
}

fn key(name: &str) -> S3Result<ObjectKey> {
    ObjectKey::new(name).map_err(|_| s3_error!(NoSuchKey))
}

fn version(id: Option<String>) -> Option<VersionId> {
    id.map(VersionId)
}

fn time(time: Timestamp) -> dto::Timestamp {
    SystemTime::from(time).into()
}

fn time_of(time: &dto::Timestamp) -> Timestamp {
    let mut text = Vec::new();
    time.format(dto::TimestampFormat::DateTime, &mut text).unwrap();
    String::from_utf8(text).unwrap().parse().unwrap()
}

fn tag(tag: &ETag) -> dto::ETag {
    dto::ETag::Strong(tag.0.clone())
}

fn lock_of(mode: Option<String>, until: Option<dto::Timestamp>) -> Option<Lock> {
    let mode = if mode? == "COMPLIANCE" { LockMode::Compliance } else { LockMode::Governance };
    Some(Lock { mode, until: time_of(&until?) })
}

fn mode_name(lock: Lock) -> &'static str {
    match lock.mode {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    }
}

fn base64_of(hash: Option<Sha256>) -> Option<String> {
    use base64::Engine as _;
    hash.map(|hash| base64::engine::general_purpose::STANDARD.encode(hash.0))
}

fn hash_of(base64: &str) -> S3Result<Sha256> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).map_err(|_| s3_error!(InvalidDigest))?;
    Ok(Sha256(bytes.try_into().map_err(|_| s3_error!(InvalidDigest))?))
}

impl Bucket {
    async fn store(&self, input: dto::PutObjectInput) -> S3Result<dto::PutObjectOutput> {
        let mut body = Vec::new();
        let mut stream = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
        while let Some(piece) = stream.next().await {
            body.extend_from_slice(&piece.map_err(|_| s3_error!(IncompleteBody))?);
        }
        let mut put = Put::new(body);
        put.sha256 = hash_of(&input.checksum_sha256.ok_or_else(|| s3_error!(InvalidRequest, "no checksum"))?)?;
        put.lock =
            lock_of(input.object_lock_mode.map(|mode| mode.as_str().to_owned()), input.object_lock_retain_until_date);
        if put.lock.is_none() && self.default_days > 0 {
            let until = Timestamp::now().checked_add(SignedDuration::from_hours(24 * i64::from(self.default_days)));
            put.lock = Some(Lock { mode: LockMode::Governance, until: until.unwrap() });
        }
        let key = key(&input.key)?;
        let stored = match (input.if_none_match, input.if_match) {
            _ if self.ignores_conditions => {
                self.memory.lose(&key);
                self.memory.put_new(&key, put).await
            }
            (Some(_), _) => self.memory.put_new(&key, put).await,
            (None, Some(dto::ETagCondition::ETag(tag))) => {
                let outcome = self.memory.put_if_match(&key, put, &ETag(tag.into_value())).await;
                match self.memory.head(&key, None).await {
                    // As S3 does for what is gone.
                    Err(StoreError::NotFound(_)) => return Err(s3_error!(NoSuchKey)),
                    _ => outcome,
                }
            }
            _ => return Err(s3_error!(NotImplemented, "an unconditional put: nothing here makes one")),
        };
        let stored = stored.map_err(refusal)?;
        Ok(dto::PutObjectOutput {
            e_tag: Some(tag(&stored.etag)),
            version_id: stored.version.map(|version| version.0),
            ..Default::default()
        })
    }
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(&self, req: S3Request<dto::PutObjectInput>) -> Answer<dto::PutObjectOutput> {
        answer(self.store(req.input).await?)
    }

    async fn get_object(&self, req: S3Request<dto::GetObjectInput>) -> Answer<dto::GetObjectOutput> {
        let input = req.input;
        let object = self.memory.get(&key(&input.key)?, version(input.version_id).as_ref()).await.map_err(refusal)?;
        let range = input.range.map(|range| range.check(object.meta.size)).transpose()?;
        let content_range = range.as_ref().map(|r| format!("bytes {}-{}/{}", r.start, r.end - 1, object.meta.size));
        let body = match range {
            Some(range) => {
                object.body.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
            }
            None => object.body,
        };
        let Meta { etag, version, modified, lock, .. } = object.meta;
        answer(dto::GetObjectOutput {
            content_length: i64::try_from(body.len()).ok(),
            body: Some(dto::StreamingBlob::from(Body::from(body))),
            content_range,
            e_tag: Some(tag(&etag)),
            last_modified: Some(time(modified)),
            version_id: version.map(|version| version.0),
            object_lock_mode: lock.map(|lock| dto::ObjectLockMode::from(mode_name(lock).to_owned())),
            object_lock_retain_until_date: lock.map(|lock| time(lock.until)),
            ..Default::default()
        })
    }

    async fn head_object(&self, req: S3Request<dto::HeadObjectInput>) -> Answer<dto::HeadObjectOutput> {
        let input = req.input;
        let meta = self.memory.head(&key(&input.key)?, version(input.version_id).as_ref()).await.map_err(refusal)?;
        let lock = meta.lock;
        answer(dto::HeadObjectOutput {
            content_length: i64::try_from(meta.size).ok(),
            e_tag: Some(tag(&meta.etag)),
            last_modified: Some(time(meta.modified)),
            version_id: meta.version.map(|version| version.0),
            checksum_sha256: base64_of(meta.sha256.filter(|_| input.checksum_mode.is_some())),
            object_lock_mode: lock.map(|lock| dto::ObjectLockMode::from(mode_name(lock).to_owned())),
            object_lock_retain_until_date: lock.map(|lock| time(lock.until)),
            ..Default::default()
        })
    }

    async fn delete_object(&self, req: S3Request<dto::DeleteObjectInput>) -> Answer<dto::DeleteObjectOutput> {
        let key = key(&req.input.key)?;
        match version(req.input.version_id) {
            None => self.memory.delete(&key).await,
            Some(version) => self.memory.delete_version(&key, &version).await,
        }
        .map_err(refusal)?;
        answer(dto::DeleteObjectOutput::default())
    }

    async fn list_objects_v2(&self, req: S3Request<dto::ListObjectsV2Input>) -> Answer<dto::ListObjectsV2Output> {
        let input = req.input;
        let prefix = input.prefix.unwrap_or_default();
        let room = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap().min(1000);
        let after = input.continuation_token.or(input.start_after).unwrap_or_default();
        let (mut contents, mut folders, mut last, mut full) = (Vec::new(), Vec::<String>::new(), after.clone(), false);
        let entries: Vec<_> = self.memory.list(&prefix).try_collect().await.map_err(refusal)?;
        for entry in entries.into_iter().filter(|entry| entry.key.as_str() > after.as_str()) {
            let name = entry.key.as_str();
            let folder = input.delimiter.as_deref().and_then(|slash| name[prefix.len()..].split_once(slash));
            let folder = folder.map(|(folder, _)| format!("{prefix}{folder}/"));
            if folder.as_ref().is_some_and(|folder| folders.last() == Some(folder) || after.starts_with(folder)) {
                last = name.to_owned();
                continue;
            }
            if contents.len() + folders.len() == room {
                full = true;
                break;
            }
            last = name.to_owned();
            match folder {
                Some(folder) => folders.push(folder),
                None => contents.push(dto::Object {
                    key: Some(name.to_owned()),
                    size: i64::try_from(entry.size).ok(),
                    last_modified: Some(time(entry.modified)),
                    ..Default::default()
                }),
            }
        }
        let common = folders.into_iter().map(|prefix| dto::CommonPrefix { prefix: Some(prefix) }).collect();
        answer(dto::ListObjectsV2Output {
            contents: Some(contents),
            common_prefixes: Some(common),
            is_truncated: Some(full),
            next_continuation_token: full.then_some(last),
            ..Default::default()
        })
    }

    async fn list_object_versions(
        &self,
        req: S3Request<dto::ListObjectVersionsInput>,
    ) -> Answer<dto::ListObjectVersionsOutput> {
        // Small pages, so that a few versions need several.
        const PAGE: usize = 2;
        let input = req.input;
        let found = self.memory.versions(&input.prefix.unwrap_or_default()).await.map_err(refusal)?;
        let seen = input.key_marker.zip(input.version_id_marker);
        let place = seen.and_then(|(key, id)| found.iter().position(|v| v.key.as_str() == key && v.version.0 == id));
        let rest = &found[place.map_or(0, |place| place + 1)..];
        let page = &rest[..rest.len().min(PAGE)];
        let (markers, versions): (Vec<_>, Vec<_>) = page.iter().partition(|entry| entry.delete_marker);
        let versions = versions.into_iter().map(|entry| dto::ObjectVersion {
            key: Some(entry.key.to_string()),
            version_id: Some(entry.version.0.clone()),
            size: i64::try_from(entry.size).ok(),
            is_latest: Some(entry.latest),
            last_modified: Some(time(entry.modified)),
            ..Default::default()
        });
        let markers = markers.into_iter().map(|entry| dto::DeleteMarkerEntry {
            key: Some(entry.key.to_string()),
            version_id: Some(entry.version.0.clone()),
            is_latest: Some(entry.latest),
            last_modified: Some(time(entry.modified)),
            ..Default::default()
        });
        let last = page.last().filter(|_| rest.len() > PAGE);
        answer(dto::ListObjectVersionsOutput {
            versions: Some(versions.collect()),
            delete_markers: Some(markers.collect()),
            is_truncated: Some(last.is_some()),
            next_key_marker: last.map(|entry| entry.key.to_string()),
            next_version_id_marker: last.map(|entry| entry.version.0.clone()),
            ..Default::default()
        })
    }

    async fn get_bucket_versioning(
        &self,
        _: S3Request<dto::GetBucketVersioningInput>,
    ) -> Answer<dto::GetBucketVersioningOutput> {
        let status = self.versioned.then(|| dto::BucketVersioningStatus::from_static("Enabled"));
        answer(dto::GetBucketVersioningOutput { status, ..Default::default() })
    }

    async fn get_object_lock_configuration(
        &self,
        _: S3Request<dto::GetObjectLockConfigurationInput>,
    ) -> Answer<dto::GetObjectLockConfigurationOutput> {
        if !self.versioned {
            return Err(s3_error!(ObjectLockConfigurationNotFoundError));
        }
        let retention = dto::DefaultRetention {
            days: Some(self.default_days),
            mode: Some(dto::ObjectLockRetentionMode::from_static("GOVERNANCE")),
            years: None,
        };
        let rule = (self.default_days > 0).then(|| dto::ObjectLockRule { default_retention: Some(retention) });
        let enabled = Some(dto::ObjectLockEnabled::from_static("Enabled"));
        let settings = dto::ObjectLockConfiguration { object_lock_enabled: enabled, rule };
        answer(dto::GetObjectLockConfigurationOutput { object_lock_configuration: Some(settings) })
    }

    async fn put_object_retention(
        &self,
        req: S3Request<dto::PutObjectRetentionInput>,
    ) -> Answer<dto::PutObjectRetentionOutput> {
        let input = req.input;
        let retention = input.retention.ok_or_else(|| s3_error!(MalformedXML))?;
        let mode = retention.mode.map(|mode| mode.as_str().to_owned());
        let lock = lock_of(mode, retention.retain_until_date).ok_or_else(|| s3_error!(MalformedXML))?;
        let (key, version) = (key(&input.key)?, version(input.version_id));
        let there = self.memory.head(&key, version.as_ref()).await.map_err(refusal)?.lock;
        if there.is_some_and(|there| there.until > lock.until) {
            return Err(s3_error!(AccessDenied));
        }
        self.memory.extend_lock(&key, version.as_ref(), lock).await.map_err(refusal)?;
        answer(dto::PutObjectRetentionOutput::default())
    }
}
