//! From the name of a repository to its store.

use super::{LimitedStore, LocalStore, ObjectKey, Retrying, S3Store, SharedStore, StoreContext, StoreError};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::retry::Policy;
use crate::secret::Secret;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a store is opened as. It decides on words alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Holding {
    /// A repository of ours.
    #[default]
    Repository,
    /// Dumps that another tool left.
    Dumps,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// What is expected there.
    pub holding: Holding,
    /// How long and how often each call is tried.
    pub retry: Policy,
    /// No more than this is sent and received together.
    pub limit_bytes_per_second: Option<u64>,
    /// Make the directory if there is none; a bucket is never made.
    pub create: bool,
    /// What ends the waiting between attempts.
    pub cancel: CancellationToken,
    /// What is set for S3 here and not by the AWS environment or profile.
    pub s3: S3Options,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            holding: Holding::default(),
            retry: Policy::STORE,
            limit_bytes_per_second: None,
            create: false,
            cancel: CancellationToken::new(),
            s3: S3Options::default(),
        }
    }
}

impl Holding {
    fn opening(self, url: &str) -> String {
        match self {
            Self::Repository => format!("opening the repository {url}"),
            Self::Dumps => format!("opening {url} to look for dumps"),
        }
    }
}

/// Settings for S3; what is left out comes from the standard AWS variables and profiles.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// The server's address, for anything but AWS.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The profile to take from the AWS files.
    pub profile: Option<String>,
    /// Access key id and secret key.
    pub keys: Option<(String, Secret)>,
}

/// Opens `s3://bucket/prefix`, `file:///path` or a path.
pub async fn open(url: &str, options: &OpenOptions, clock: SharedClock) -> Result<SharedStore> {
    let store = match url.split_once("://") {
        None => open_directory(url, options, Arc::clone(&clock)).await?,
        Some(("file", path)) if path.starts_with('/') => open_directory(path, options, Arc::clone(&clock)).await?,
        Some(("s3", place)) => open_bucket(url, place, options, Arc::clone(&clock)).await?,
        Some((scheme, _)) => {
            let hint = match options.holding {
                Holding::Repository => "a repository is s3://bucket/prefix or a directory",
                Holding::Dumps => "dumps lie in s3://bucket/folder or in a directory",
            };
            let what = format!("{}: unknown scheme {scheme:?}", options.holding.opening(url));
            return Err(Error::input(what).hint(hint));
        }
    };
    // Bytes that are sent twice count twice, so the limit lies below the retries.
    let store: SharedStore = match options.limit_bytes_per_second.and_then(NonZeroU64::new) {
        Some(limit) => Arc::new(LimitedStore::new(store, limit, Arc::clone(&clock))),
        None => store,
    };
    Ok(Arc::new(Retrying::new(store, options.retry, clock, options.cancel.clone())))
}

async fn open_bucket(url: &str, place: &str, options: &OpenOptions, clock: SharedClock) -> Result<SharedStore> {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = prefix.trim_matches('/');
    if bucket.is_empty() || !(prefix.is_empty() || ObjectKey::new(prefix).is_ok()) {
        return Err(Error::input(format!("{}: not a bucket and a prefix", options.holding.opening(url)))
            .hint("write s3://bucket/prefix; a prefix is letters, digits and ._-=+% with / between them"));
    }
    let attempt = |_| S3Store::open(bucket, prefix, &options.s3, Arc::clone(&clock));
    let store = options.retry.run(&*clock, &options.cancel, attempt).await;
    Ok(Arc::new(store.doing(|| options.holding.opening(url))?))
}

async fn open_directory(path: &str, options: &OpenOptions, clock: SharedClock) -> Result<SharedStore> {
    let store = LocalStore::open(Path::new(path), options.create, clock).await;
    let store = store.map_err(|why| {
        let is_missing = matches!(why, StoreError::NoStore(_));
        let error = why.explain(options.holding.opening(path));
        // Nobody makes a folder of dumps with us.
        if is_missing && options.holding == Holding::Dumps { error.hint("check the path") } else { error }
    });
    Ok(Arc::new(store?))
}
