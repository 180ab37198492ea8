//! What `--prune` would take away: live objects of kinds that the snapshot has completely, and that it does not have.

use super::super::clean;
use super::super::object::{self, Place, Saved, SavedKind};
use super::decide::NEVER_DELETED;
use super::{Action, Line, Live, Options, gitops};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Kinds that the cluster keeps by itself.
const KEPT_BY_THE_CLUSTER: [&str; 6] = [
    "events",
    "events.events.k8s.io",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "leases.coordination.k8s.io",
    "controllerrevisions.apps",
];

/// One line for each object that would go.
pub(super) fn lines(saved: &[Saved], live: &Live, options: &Options) -> Vec<Line> {
    let has: BTreeSet<Place> = saved.iter().map(|one| one.identity.place()).collect();
    let namespaces: BTreeSet<&str> = saved.iter().filter_map(|one| one.identity.namespace.as_deref()).collect();
    let kinds: BTreeMap<String, &SavedKind> = saved.iter().map(|one| (one.kind.group_resource(), &one.kind)).collect();
    let goes = |(place, _): &(&Place, &Value)| {
        !has.contains(place)
            && place.namespace.as_deref().is_some_and(|namespace| namespaces.contains(namespace))
            && options.covered.contains(&place.group_resource)
            && !NEVER_DELETED.contains(&place.group_resource.as_str())
            && !KEPT_BY_THE_CLUSTER.contains(&place.group_resource.as_str())
    };
    let mut lines = Vec::new();
    for (place, body) in live.objects.iter().filter(goes) {
        let why = stays(place, body, live, options);
        let from_body = || SavedKind::of_body(&place.group_resource, place.namespace.is_some(), body);
        let kind = kinds.get(&place.group_resource).map_or_else(from_body, |kind| (*kind).clone());
        let action = why.map_or(Action::Prune, Action::Leave);
        lines.push(Line::about(place.clone(), kind, action, Some(body.clone())));
    }
    lines
}

/// Why an object stays although the snapshot does not have it.
fn stays(place: &Place, body: &Value, live: &Live, options: &Options) -> Option<String> {
    let kind = place.group_resource.as_str();
    if object::is_terminating(body) {
        return Some("it is being deleted already".to_owned());
    }
    if let Some(owner) = object::controller(body) {
        return Some(format!("it goes and comes with {} {}", owner.kind, owner.name));
    }
    if let Some(why) = clean::made_by_the_cluster(kind, body) {
        return Some(why.to_owned());
    }
    if clean::is_default_account(kind, &place.name) || (kind == "secrets" && clean::is_token_secret(body)) {
        return Some("the cluster makes it".to_owned());
    }
    if options.skip_gitops
        && let Some(tracker) = gitops::tracked_by(body, &live.applications)
    {
        return Some(format!("{tracker} tracks it"));
    }
    if let Some(claim) = claim_owned_by(object::uid(body), live) {
        return Some(format!("the claim {} and its data would go with it; delete it yourself", claim.name));
    }
    let policy = body.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    if kind == "statefulsets.apps" && policy.and_then(Value::as_str) == Some("Delete") {
        return Some("its claims and their data would go with it (whenDeleted: Delete); delete it yourself".to_owned());
    }
    None
}

/// A claim that would be collected with the object of this uid, directly or through what it owns.
fn claim_owned_by<'a>(uid: &str, live: &'a Live) -> Option<&'a Place> {
    let mut owners = vec![uid.to_owned()];
    let mut seen: BTreeSet<String> = owners.iter().cloned().collect();
    while let Some(owner) = owners.pop() {
        for (place, body) in &live.objects {
            if !object::owners(body).iter().any(|reference| reference.uid == owner) {
                continue;
            }
            if place.group_resource == "persistentvolumeclaims" {
                return Some(place);
            }
            if seen.insert(object::uid(body).to_owned()) {
                owners.push(object::uid(body).to_owned());
            }
        }
    }
    None
}
