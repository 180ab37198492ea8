//! Whether a namespace is what its source was bound to, although its uid is another one.

use super::plan::SnapshotPlan;
use crate::cluster::is_in_cluster;
use crate::error::Result;
use crate::journal::Progress;
use crate::repository::Repository;
use crate::snapshot::restore;

/// Whether a restore of one of this source's points made the namespace, in the cluster that the source was bound to. That
/// cluster has no other namespace of the name, so what is here is what was there; another cluster may have both of them.
pub(super) async fn came_back(plan: &SnapshotPlan, repository: &Repository, progress: &dyn Progress) -> Result<bool> {
    if plan.restored_by.is_empty() || plan.cluster_uid.is_empty() {
        return Ok(false);
    }
    let points = repository.points(Some(&plan.source)).await?;
    let Some(newest) = points.first() else { return Ok(false) };
    if newest.identity == plan.identity || !is_in_cluster(&newest.identity, &plan.cluster_uid) {
        return Ok(false);
    }
    let manager = |identity: &str| restore::manager(&[identity, &plan.cluster_uid, ""]);
    let from = points.iter().find(|point| plan.restored_by.contains(&manager(&restore::identity(point))));
    if let Some(point) = from {
        let (namespace, point) = (&plan.request.namespace, point.point());
        progress
            .warn(format!("the namespace {namespace} was restored from {point}; it goes on as the same source"), None);
    }
    Ok(from.is_some())
}
