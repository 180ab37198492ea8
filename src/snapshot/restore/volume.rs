//! Volumes that still wait for a claim that is gone: each is freed for the one of that name, just before that is made.

use super::super::object::{self, Place};
use super::super::plan::{Freed, Line};
use super::Kinds;
use super::one::{Hands, Outcome};
use crate::cluster::{ApiError, Cluster, Fault, Kind, Patch, Write};
use serde_json::{Value, json};

const VOLUMES: &str = "persistentvolumes";

/// How often its controllers may write to a volume between our look at it and our change.
const LOOKS: u32 = 5;

impl Hands<'_> {
    /// Frees the volume of a claim, if it has to be; an outcome only where that did not work.
    pub(super) async fn free(&self, line: &Line, kinds: &Kinds) -> Option<Outcome> {
        let freed = line.frees.as_ref()?;
        let Some(kind) = kinds.get(VOLUMES) else {
            return Some(Outcome::diverged(format!("the cluster has no {VOLUMES}")));
        };
        match self.taken_off(freed, &line.place, kind).await {
            Ok(None) => None,
            Ok(Some(why)) => Some(Outcome::diverged(why)),
            Err(error) => {
                let again = !matches!(error.fault, Fault::Conflict | Fault::Unauthorized);
                Some(Outcome::Failed { why: refusal(freed, &error), again, lacks: error.lacks().is_some() })
            }
        }
    }

    /// Takes the uid of the claim that is gone off the volume as it is now; why not, if it is no longer what was planned for.
    async fn taken_off(&self, freed: &Freed, claim: &Place, kind: &Kind) -> Result<Option<String>, ApiError> {
        let volume = Place::in_cluster(VOLUMES, &freed.volume);
        let other = |what: &str| Ok(Some(format!("its volume {} {what} after the plan was made", freed.volume)));
        let mut looks = 0;
        loop {
            let there = self.means.cluster.one(kind, None, &freed.volume).await?;
            let Some(there) = there.filter(|there| object::uid(there) == freed.uid) else {
                return other("went away");
            };
            let text = |field: &str| there.pointer(&format!("/spec/claimRef/{field}")).and_then(Value::as_str);
            if (text("namespace"), text("name")) != (claim.namespace.as_deref(), Some(claim.name.as_str())) {
                return other("was given to another claim");
            }
            match text("uid").unwrap_or_default() {
                // An answer that was lost, or an earlier pass.
                "" => return Ok(None),
                uid if uid == freed.of => {}
                _ => return other("was bound to another claim of that name"),
            }
            let version = object::resource_version(&there).unwrap_or_default();
            looks += 1;
            match self.patch(kind, &volume, &patch(freed, Some(version))).await {
                Ok(_) => return Ok(None),
                Err(error) if error.fault == Fault::Conflict && looks < LOOKS => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Asks whether the volume may be freed; nothing is changed.
pub(super) async fn ask(cluster: &Cluster, freed: &Freed, kind: &Kind, manager: &str) -> Result<(), ApiError> {
    let write = Write { dry_run: true, field_manager: Some(manager), subresource: None };
    cluster.patch(kind, (None, &freed.volume), Patch::Merge, &patch(freed, None), write).await.map(drop)
}

/// The server's refusal, with what a person who may do it types.
pub(super) fn refusal(freed: &Freed, error: &ApiError) -> String {
    format!("freeing its volume {} from the claim that is gone: {error} (hint: {})", freed.volume, freed.by_hand())
}

/// Only of the volume that was planned for, and of the version that was looked at.
fn patch(freed: &Freed, version: Option<&str>) -> Value {
    let mut patch =
        json!({"metadata": {"uid": freed.uid}, "spec": {"claimRef": {"uid": null, "resourceVersion": null}}});
    if let Some(version) = version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    patch
}
