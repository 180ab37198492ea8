//! What the account of a snapshot may not see, before anything is saved.

use super::plan::SnapshotPlan;
use super::{LISTS, related};
use crate::cluster::{ApiError, Kind};
use futures_util::{StreamExt, TryStreamExt};

impl SnapshotPlan {
    /// The kinds that a snapshot lists and this account may not list: with one of them it is incomplete.
    pub async fn unlisted(&self) -> Result<Vec<String>, ApiError> {
        let namespace = Some(self.request.namespace.as_str());
        let looked_at = related::looked_at();
        let leans_on =
            |kind: &&Kind| self.request.scope.with_cluster && looked_at.contains(kind.group_resource().as_str());
        let inside = self.kinds.iter().map(|kind| (kind, namespace));
        let outside = self.cluster_kinds.iter().filter(leans_on).map(|kind| (kind, None));
        let asked = inside.chain(outside).map(|(kind, namespace)| async move {
            let may = self.cluster.may("list", (&kind.group, &kind.resource), namespace).await?;
            Ok::<_, ApiError>((!may).then(|| kind.group_resource()))
        });
        let asked = futures_util::stream::iter(asked.collect::<Vec<_>>()).buffered(LISTS);
        asked.try_filter_map(|lacks| async move { Ok(lacks) }).try_collect().await
    }
}
