//! Whether there is a fresh backup of a database that was restored and compared: what an irreversible fault relies on.

use super::{Finding, GuardName};
use crate::chaos::fault::Scene;
use crate::error::Result;
use crate::humane::age;
use crate::postgres::catalog;
use crate::repository::PointSummary;
use std::time::Duration;

/// Asks the repository for points of exactly this database, or of its whole cluster.
pub(super) async fn ask(scene: &Scene<'_>, limit: Duration) -> Result<Finding> {
    let guard = GuardName::VerifiedBackup;
    let session = scene.session().await?;
    let identity = catalog::identity(&session).await?;
    session.close().await;
    let cluster = format!("postgresql:{}", identity.system_identifier);
    let database = format!("{cluster}/{}", identity.database_oid);
    let points = scene.means.repository.points(None).await?;
    let of_it = |point: &&PointSummary| point.identity == database || point.identity == cluster;
    let mut points: Vec<&PointSummary> = points.iter().filter(of_it).collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.snapshot_time));
    let Some(newest) = points.first() else {
        return Ok(Finding::no(guard, "the repository has no backup of this database"));
    };
    let now = scene.means.clock.now();
    let Some(proven) = points.iter().find(|point| point.is_proven()) else {
        let why =
            format!("none of its {} backups was restored and compared; the newest is {}", points.len(), newest.point());
        return Ok(Finding::no(guard, why));
    };
    let old = now.duration_since(proven.snapshot_time);
    let fresh = old.unsigned_abs() <= limit;
    let seen = format!(
        "{} was restored and compared; it is {} old, and {} h are allowed",
        proven.point(),
        age(proven.snapshot_time, now),
        limit.as_secs() / 3600
    );
    Ok(Finding::of(guard, fresh, seen))
}
