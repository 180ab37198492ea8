//! Whether there is a fresh backup of a database or a namespace that was restored and compared: what an irreversible fault
//! relies on.

use super::{Finding, GuardName};
use crate::chaos::cluster::{claims, list, meta};
use crate::chaos::fault::Scene;
use crate::chaos::target::Target;
use crate::cluster::{Kind, namespace_identity};
use crate::error::Result;
use crate::humane::{age, counted};
use crate::postgres::catalog;
use crate::repository::PointSummary;
use crate::units::Span;
use serde_json::Value;
use std::time::Duration;

/// What a point calls the files of one volume.
const VOLUME: &str = "volume";
/// The annotation by which a claim is left out of snapshots; its value is `skip`.
const VOLUME_ANNOTATION: &str = "davit.dev/volume";

/// What is to be destroyed, as recovery points name it.
struct Wanted {
    /// `database` or `namespace`.
    what: &'static str,
    /// What such points are bound to.
    identities: Vec<String>,
    /// Volumes whose files would be lost with it.
    volumes: usize,
}

/// Asks the repository for points of exactly this target.
pub(super) async fn ask(scene: &Scene<'_>, limit: Duration) -> Result<Finding> {
    let guard = GuardName::VerifiedBackup;
    let wanted = wanted(scene).await?;
    let points = scene.means.repository.points(None).await?;
    let of_it = |point: &&PointSummary| wanted.identities.contains(&point.identity);
    let mut points: Vec<&PointSummary> = points.iter().filter(of_it).collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.snapshot_time));
    let Some(newest) = points.first() else {
        return Ok(Finding::no(guard, format!("the repository has no backup of this {}", wanted.what)));
    };
    let now = scene.means.clock.now();
    let Some(proven) = points.iter().find(|point| point.is_proven()) else {
        let why =
            format!("none of its {} backups was restored and compared; the newest is {}", points.len(), newest.point());
        return Ok(Finding::no(guard, why));
    };
    let saved = proven.end.kinds.get(VOLUME).copied().unwrap_or_default() as usize;
    if saved < wanted.volumes {
        let why = format!(
            "{} of its volumes would be lost: {} has the files of {saved}",
            wanted.volumes - saved,
            proven.point()
        );
        return Ok(Finding::no(guard, why));
    }
    let old = now.duration_since(proven.snapshot_time);
    let fresh = old.unsigned_abs() <= limit;
    let volumes = match wanted.volumes {
        0 => String::new(),
        some => format!(" with {}", counted(some as u64, "volume")),
    };
    let seen = format!(
        "{}{volumes} was restored and compared; it is {} old, and {} are allowed",
        proven.point(),
        age(proven.snapshot_time, now),
        Span(limit)
    );
    Ok(Finding::of(guard, fresh, seen))
}

async fn wanted(scene: &Scene<'_>) -> Result<Wanted> {
    if let Target::Namespace(name) = scene.target {
        return namespace(scene, name).await;
    }
    let session = scene.session().await?;
    let identity = catalog::identity(&session).await?;
    session.close().await;
    let cluster = format!("postgresql:{}", identity.system_identifier);
    let identities = vec![format!("{cluster}/{}", identity.database_oid), cluster];
    Ok(Wanted { what: "database", identities, volumes: 0 })
}

async fn namespace(scene: &Scene<'_>, name: &str) -> Result<Wanted> {
    let cluster = scene.means.cluster()?;
    let found = cluster.get(&Kind::namespaces(), None, name).await;
    let found = found.map_err(|why| why.during(format!("reading the namespace {name}")))?;
    let of_cluster = cluster.uid().await?;
    let identities = vec![namespace_identity(meta(&found, "uid"), &of_cluster)];
    // What is not bound holds nothing yet, and what its owner left out of snapshots is not missed.
    let matters = |claim: &&Value| {
        claim["status"]["phase"] == "Bound" && claim["metadata"]["annotations"][VOLUME_ANNOTATION] != "skip"
    };
    let volumes = list(cluster, &claims(), Some(name), None).await?.iter().filter(matters).count();
    Ok(Wanted { what: "namespace", identities, volumes })
}
