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

/// So many points are named that do not count.
const LISTED: usize = 3;

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
    let mut all = scene.means.repository.points(None).await?;
    all.sort_by_key(|point| std::cmp::Reverse(point.snapshot_time));
    let of_it = |point: &&PointSummary| wanted.identities.contains(&point.identity);
    let points: Vec<&PointSummary> = all.iter().filter(of_it).collect();
    let now = scene.means.clock.now();
    let Some(proven) = points.iter().find(|point| point.is_proven()) else {
        let of_its_sources = |point: &&PointSummary| {
            let named = scene.target.namespace() == Some(point.source.as_str());
            !of_it(point) && (named || points.iter().any(|own| own.source == point.source))
        };
        let own: Vec<Known> = points.iter().map(|point| Known::of(point)).collect();
        let others: Vec<Known> = all.iter().filter(of_its_sources).map(Known::of).collect();
        return Ok(Finding::no(guard, unproven(wanted.what, &own, &others)));
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

/// What is known of a point that could have been relied on.
#[derive(Debug)]
struct Known {
    point: String,
    source: String,
    /// Why nothing can rely on it; nothing where it was restored and compared.
    why_not: Option<String>,
}

impl Known {
    fn of(point: &PointSummary) -> Self {
        let found_bad = point.verified.iter().max_by_key(|verified| verified.when).is_some_and(|newest| !newest.ok);
        let why_not = match point.missing() {
            0 if point.is_proven() => None,
            0 if found_bad => Some("failed its last verification".to_owned()),
            0 => Some("was not restored and compared".to_owned()),
            missing => Some(format!("is INCOMPLETE ({missing} missing)")),
        };
        Self { point: point.point().to_string(), source: point.source.to_string(), why_not }
    }
}

/// Why no point counts, the newest ones one by one; and whether one would have that is of something else of the same source.
fn unproven(what: &str, own: &[Known], others: &[Known]) -> String {
    let mut said = vec![match own {
        [] => format!("the repository has no backup of this {what}"),
        own => {
            let why = |one: &Known| format!("{} {}", one.point, one.why_not.as_deref().unwrap_or_default());
            let mut each: Vec<String> = own.iter().take(LISTED).map(why).collect();
            if own.len() > LISTED {
                each.push(format!("and {} more", own.len() - LISTED));
            }
            format!("no backup of this {what} was restored and compared: {}", each.join(", "))
        }
    }];
    if let Some(Known { point, source, .. }) = others.iter().find(|one| one.why_not.is_none()) {
        said.push(format!(
            "{point} of {source} was restored and compared, but it is of another {what}: one that was there before this \
             one, or is elsewhere"
        ));
    }
    said.join("; ")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn known(point: &str, why_not: Option<&str>) -> Known {
        Known { point: point.to_owned(), source: "shop".to_owned(), why_not: why_not.map(str::to_owned) }
    }

    #[test]
    fn why_no_backup_counts_is_said_of_each_and_of_the_one_of_a_namespace_before() {
        let own = [known("P3", Some("is INCOMPLETE (2 missing)")), known("P2", Some("failed its last verification"))];
        let before = [known("P1", Some("was not restored and compared")), known("P0", None)];
        assert_eq!(
            unproven("namespace", &own, &before),
            "no backup of this namespace was restored and compared: P3 is INCOMPLETE (2 missing), P2 failed its last \
             verification; P0 of shop was restored and compared, but it is of another namespace: one that was there before this \
             one, or is elsewhere"
        );
        assert_eq!(unproven("database", &[], &before[..1]), "the repository has no backup of this database");
        let many: Vec<Known> = (0..5).map(|n| known(&format!("P{n}"), Some("was not restored and compared"))).collect();
        assert!(unproven("namespace", &many, &[]).ends_with("P2 was not restored and compared, and 2 more"));
    }
}
