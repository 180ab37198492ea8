//! Holds: pins that keep a point regardless of tiers.

use super::catalogue::{Entry, Hold};
use super::record::{Privacy, RecordError};
use super::{PointSummary, Repository, SIDE_BY_SIDE, failed, layout};
use crate::error::{Error, Result};
use crate::id::{PointId, SourceName};
use crate::store::{Lock, ObjectKey, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;

impl Repository {
    /// Pins a point. With `lock_until` the pin itself cannot be deleted before.
    pub async fn hold(&self, point: &PointSummary, reason: &str, lock_until: Option<Timestamp>) -> Result<Hold> {
        self.pin(&point.source, point.point(), reason, lock_until).await
    }

    pub(super) async fn pin(
        &self,
        source: &SourceName,
        point: &PointId,
        reason: &str,
        lock_until: Option<Timestamp>,
    ) -> Result<Hold> {
        let hold =
            Hold { source: source.clone(), point: point.clone(), reason: reason.to_owned(), since: self.clock().now() };
        // Where the point's own lock has run out there is none to give: no store takes one that is over.
        let lock_until = lock_until.filter(|until| *until > self.clock().now());
        let lock = self.settings().lock.zip(lock_until).map(|(mode, until)| Lock { mode, until });
        let doing = format!("holding {}", hold.point);
        match self.put_record(&layout::hold(&hold.point), Privacy::Sealed, &hold, lock).await {
            Ok(_) => {}
            Err(RecordError::Store(StoreError::AlreadyExists(_))) => {
                return Err(Error::refused(format!("{doing}: it is held already")).hint("davit points shows why"));
            }
            Err(error) => return Err(Error::from(error).during(doing)),
        }
        // The catalogue knows it, too, so that losing the object is seen and frees nothing.
        self.append_to_catalogue(source, vec![Entry::Held(hold.clone())]).await?;
        Ok(hold)
    }

    /// Takes the pin off a point.
    pub async fn release(&self, point: &PointSummary) -> Result<()> {
        let id = &point.link.point;
        if point.hold.is_none() {
            return Err(Error::refused(format!("releasing {id}: it is not held")));
        }
        self.append_to_catalogue(&point.source, vec![Entry::Released(id.clone())]).await?;
        self.unpin(id).await
    }

    pub(super) async fn unpin(&self, point: &PointId) -> Result<()> {
        self.store().delete(&layout::hold(point)).await.map_err(failed(format!("releasing {point}")))
    }

    /// All pins. One that cannot be believed still pins, for nobody may free a point by damaging its pin.
    pub async fn holds(&self) -> Result<Vec<Hold>> {
        let read = self.read_holds().await?;
        let hold = |(key, modified, found): (ObjectKey, Timestamp, std::result::Result<Hold, Unbelieved>)| match found {
            Ok(hold) => Some(hold),
            Err(Unbelieved::Damaged(what)) => unread_hold(&key, modified, format!("a damaged hold ({what})")),
            Err(Unbelieved::Closed) => unread_hold(&key, modified, "a hold that no key at hand opens".to_owned()),
        };
        Ok(read.into_iter().filter_map(hold).collect())
    }

    /// The pins that cannot be believed, and why.
    pub(super) async fn damaged_holds(&self) -> Result<Vec<(ObjectKey, String)>> {
        let read = self.read_holds().await?;
        let damaged = |found: std::result::Result<Hold, Unbelieved>| match found {
            Err(Unbelieved::Damaged(what)) => Some(what),
            Ok(_) | Err(Unbelieved::Closed) => None,
        };
        Ok(read.into_iter().filter_map(|(key, _, found)| Some((key, damaged(found)?))).collect())
    }

    async fn read_holds(&self) -> Result<Vec<(ObjectKey, Timestamp, std::result::Result<Hold, Unbelieved>)>> {
        let mut keys = Vec::new();
        let mut entries = self.store().list("holds/");
        while let Some(entry) = entries.try_next().await.map_err(failed("listing the holds"))? {
            keys.push((entry.key, entry.modified));
        }
        drop(entries);
        let read = |(key, modified): (ObjectKey, Timestamp)| async move {
            match self.record::<Hold>(&key).await {
                Ok(Some((hold, _))) if layout::hold(&hold.point) == key => Ok(Some((key, modified, Ok(hold)))),
                Ok(Some(_)) => {
                    Ok(Some((key, modified, Err(Unbelieved::Damaged("it is about another point".to_owned())))))
                }
                Ok(None) => Ok(None),
                Err(RecordError::Damaged { what, .. }) => Ok(Some((key, modified, Err(Unbelieved::Damaged(what))))),
                // Whoever has an older reader's key still uses the points that it opens.
                Err(RecordError::Key(_)) => Ok(Some((key, modified, Err(Unbelieved::Closed)))),
                Err(error) => Err(Error::from(error).during("listing the holds")),
            }
        };
        let read: Vec<Option<_>> =
            futures_util::stream::iter(keys).map(read).buffered(SIDE_BY_SIDE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }
}

/// Why a pin says nothing.
enum Unbelieved {
    Damaged(String),
    /// No key at hand opens it.
    Closed,
}

fn unread_hold(key: &ObjectKey, modified: Timestamp, reason: String) -> Option<Hold> {
    let point: PointId = key.as_str().strip_prefix("holds/")?.parse().ok()?;
    let source = SourceName::from_database("unknown");
    Some(Hold { source, point, reason, since: modified })
}
