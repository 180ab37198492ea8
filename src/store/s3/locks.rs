//! Object lock: set with a put, read from every answer, extended, and recognised when it forbids something.

use super::super::memory::longer;
use super::super::{Lock, LockMode, ObjectKey, Store, StoreError, VersionId};
use super::S3Store;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{DefaultRetention, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode};
use jiff::Timestamp;

/// A lock as a put carries it; S3 counts whole seconds, and a lock is never shorter than asked.
pub(super) fn to_put(lock: Lock) -> (ObjectLockMode, DateTime) {
    let mode = match lock.mode {
        LockMode::Governance => ObjectLockMode::Governance,
        LockMode::Compliance => ObjectLockMode::Compliance,
    };
    (mode, until(lock))
}

fn until(lock: Lock) -> DateTime {
    let whole = lock.until.as_second();
    DateTime::from_secs(if lock.until.subsec_nanosecond() > 0 { whole + 1 } else { whole })
}

/// A lock as an answer tells it.
pub(super) fn from_answer(mode: Option<&ObjectLockMode>, until: Option<&DateTime>) -> Option<Lock> {
    let mode = match mode? {
        ObjectLockMode::Compliance => LockMode::Compliance,
        _ => LockMode::Governance,
    };
    let until = until?;
    let until = Timestamp::new(until.secs(), until.subsec_nanos().cast_signed()).ok()?;
    Some(Lock { mode, until })
}

/// Sets the longer of the lock that is there and the one wanted.
pub(super) async fn extend(
    store: &S3Store,
    key: &ObjectKey,
    version: Option<&VersionId>,
    lock: Lock,
) -> Result<(), StoreError> {
    let there = store.head(key, version).await?.lock;
    let wanted = longer(there, lock);
    if there == Some(wanted) {
        return Ok(());
    }
    let mode = match wanted.mode {
        LockMode::Governance => ObjectLockRetentionMode::Governance,
        LockMode::Compliance => ObjectLockRetentionMode::Compliance,
    };
    let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(until(wanted)).build();
    let request = store.connection.client.put_object_retention().bucket(&store.bucket).key(store.name(key));
    let request = request.set_version_id(version.map(|version| version.0.clone())).retention(retention);
    match store.act("s3:PutObjectRetention", key.as_str(), 0, request.send()).await {
        Ok(_) => Ok(()),
        Err(refused) => Err(refused.or(|| StoreError::Changed(key.to_string()))),
    }
}

/// A refusal to delete that comes from a lock; not every server says so in words.
pub(super) async fn or_locked(store: &S3Store, key: &ObjectKey, version: &VersionId, error: StoreError) -> StoreError {
    if !matches!(error, StoreError::Denied { .. } | StoreError::Other(_)) {
        return error;
    }
    let now = store.connection.server_time.last().unwrap_or_else(|| store.clock.now());
    let locked = |lock: Lock| lock.until > now;
    match store.head(key, Some(version)).await {
        Ok(meta) if meta.lock.is_some_and(locked) => StoreError::Locked(key.to_string()),
        _ => error,
    }
}

/// What the bucket puts on every new object by itself, as a text; `None` also if we may not ask.
pub(super) async fn default_retention(store: &S3Store) -> Result<Option<String>, StoreError> {
    let sent = store.connection.client.get_object_lock_configuration().bucket(&store.bucket).send();
    let answer = match store.ask("s3:GetBucketObjectLockConfiguration", "", sent).await {
        Ok(answer) => answer,
        Err(StoreError::Unsupported(_) | StoreError::Denied { .. } | StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let rule = answer.object_lock_configuration().and_then(|settings| settings.rule());
    Ok(rule.and_then(|rule| rule.default_retention()).and_then(in_words))
}

fn in_words(retention: &DefaultRetention) -> Option<String> {
    let span = match (retention.days(), retention.years()) {
        (Some(days), _) if days > 0 => format!("{days} days"),
        (_, Some(years)) if years > 0 => format!("{years} years"),
        _ => return None,
    };
    let mode = retention.mode().map_or("governance", |mode| match mode {
        ObjectLockRetentionMode::Compliance => "compliance",
        _ => "governance",
    });
    Some(format!("{span}, {mode}"))
}
