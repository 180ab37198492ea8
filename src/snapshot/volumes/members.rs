//! What comes of a group that was asked for: a content of the group, and a `VolumeSnapshot` with a content for each claim.
//! The snapshot controller makes them; here they are waited for, found and told to stay.
//!
//! The content of the group stays as those of its members do. The storage's snapshots are taken away by it alone, and a
//! `VolumeSnapshot` that a restore makes of a member is not ready in a cluster without it where the driver names the group.

use super::claims::{self, Claim};
use super::csi::{self, Made, Of};
use super::group::{self, Asked};
use crate::cluster::{Patch, Query, Write};
use crate::snapshot::object;
use serde_json::{Value, json};
use std::time::Duration;

/// Waits for a group, has its contents stay, and says what came of it.
pub(super) async fn settle(of: &Of<'_>, asked: Asked<'_>, began: Duration, made: &mut Made) {
    let Asked { group, claims, .. } = &asked;
    let (content, instant, members) = match whole(of, &asked, began).await {
        Ok(whole) => whole,
        Err(why) => return group::missing(made, group, claims, &why),
    };
    let mut taken = Vec::new();
    for claim in claims {
        let member = members.iter().find(|member| source(member) == Some(&claim.name));
        let settled = match member {
            Some(member) => one(of, object::name(member), claim, began).await,
            None => Err("the storage made no snapshot of it with the others".to_owned()),
        };
        match settled {
            Ok(content) => {
                taken.push(claim.name.as_str());
                csi::told(made, claim, Ok(content));
            }
            Err(why) => group::missing(made, group, &[claim], &why),
        }
    }
    made.names.extend(members.iter().map(|member| object::name(member).to_owned()));
    if !taken.is_empty() {
        let instant = instant.map(|instant| format!(" ({instant})")).unwrap_or_default();
        made.notes.push(format!(
            "volumes of claims {}: they are of one instant{instant}, as the volume group {group}; its content {content} \
             stays as long as their snapshots",
            taken.join(", ")
        ));
    }
    for other in members.iter().filter_map(source).filter(|name| claims.iter().all(|claim| claim.name != *name)) {
        made.notes.push(format!(
            "volume of claim {other}: it is left out of the volume group {group}, and the storage snapshot it all the \
             same, because it carries the label of the group; that snapshot goes with those of the group"
        ));
    }
}

/// Waits for a whole group: its content, which stays; the instant that the storage names; its members.
async fn whole(
    of: &Of<'_>,
    asked: &Asked<'_>,
    began: Duration,
) -> Result<(String, Option<String>, Vec<Value>), String> {
    let [snapshots, contents] = &asked.kinds;
    let (content, there) = csi::wait(of, snapshots, &asked.name, began).await?;
    csi::keep(of, contents, &content, &of.labels()).await?;
    let kind = csi::snapshots();
    let query = Query { namespace: Some(of.namespace), ..Query::all(&kind) };
    let members = claims::all(of.cluster, query).await;
    let mut members = members.map_err(|why| format!("its VolumeSnapshots cannot be listed: {why}"))?;
    members.retain(|member| is_member(member, asked));
    Ok((content, there["status"]["creationTime"].as_str().map(str::to_owned), members))
}

/// The snapshot controller owns a member by its group, and names the group in its status.
fn is_member(snapshot: &Value, asked: &Asked<'_>) -> bool {
    object::owners(snapshot).iter().any(|owner| owner.uid == asked.uid)
        || snapshot["status"]["volumeGroupSnapshotName"] == asked.name
}

/// The claim that a member is a snapshot of.
fn source(member: &Value) -> Option<&str> {
    member.pointer("/spec/source/persistentVolumeClaimName").and_then(Value::as_str)
}

/// Has the content of a member stay; gives its name. The labels of the member say to a restore that the claim begins
/// with it.
async fn one(of: &Of<'_>, name: &str, claim: &Claim, began: Duration) -> Result<String, String> {
    let content = csi::settle(of, name, &claim.name, began).await?;
    let patch = json!({"metadata": {"labels": of.labels_of(claim)}});
    let at = (Some(of.namespace), name);
    match of.cluster.patch(&csi::snapshots(), at, Patch::Merge, &patch, Write::default()).await {
        Ok(_) => Ok(content),
        Err(why) => Err(format!("its VolumeSnapshot cannot be labelled, so no restore would know it: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Kind;

    #[test]
    fn a_member_is_known_by_its_owner_or_by_the_name_in_its_status() {
        let asked = Asked {
            group: "db",
            kinds: [Kind::namespaces(), Kind::namespaces()],
            name: "davit-1".to_owned(),
            uid: "u-1".to_owned(),
            claims: Vec::new(),
        };
        let owned = |uid: &str| json!({"metadata": {"ownerReferences": [{"kind": "VolumeGroupSnapshot", "name": "davit-1", "uid": uid}]}});
        assert!(is_member(&owned("u-1"), &asked) && !is_member(&owned("u-2"), &asked));
        assert!(is_member(&json!({"status": {"volumeGroupSnapshotName": "davit-1"}}), &asked));
        assert!(!is_member(&json!({"status": {"volumeGroupSnapshotName": "nightly"}}), &asked));
        assert!(!is_member(&json!({}), &asked));
    }
}
