//! What `--prune` would take away: live objects of kinds that the snapshot has completely, and that it does not have.

use super::super::body::Body;
use super::super::clean;
use super::super::object::{self, Place, Saved, SavedKind};
use super::decide::NEVER_DELETED;
use super::{Action, Line, Live, Options, gitops};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    let kinds: BTreeMap<String, &Arc<SavedKind>> =
        saved.iter().map(|one| (one.kind.group_resource(), &one.kind)).collect();
    let goes = |(place, _): &(&Place, &Body)| {
        !has.contains(place)
            && place.namespace.as_deref().is_some_and(|namespace| namespaces.contains(namespace))
            && options.covered.contains(&place.group_resource)
            && !NEVER_DELETED.contains(&place.group_resource.as_str())
            && !KEPT_BY_THE_CLUSTER.contains(&place.group_resource.as_str())
    };
    let owned = Owned::of(live);
    let mut lines = Vec::new();
    for (place, text) in live.objects.iter().filter(goes) {
        let body = &text.open();
        let why = stays(place, body, (live, &owned), options);
        let from_body = || Arc::new(SavedKind::of_body(&place.group_resource, place.namespace.is_some(), body));
        let kind = kinds.get(&place.group_resource).map_or_else(from_body, |kind| Arc::clone(kind));
        let action = why.map_or(Action::Prune, Action::Leave);
        let tracker = gitops::tracked_by(body, &live.applications);
        lines.push(Line { tracker, ..Line::about(place.clone(), kind, action, Some(text.clone())) });
    }
    lines
}

/// The live objects that each uid owns, with the uids of their own.
struct Owned<'a>(BTreeMap<String, Vec<(&'a Place, String)>>);

/// Why an object stays although the snapshot does not have it.
fn stays(place: &Place, body: &Value, (live, owned): (&Live, &Owned<'_>), options: &Options) -> Option<String> {
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
    if let Some(claim) = owned.claim(object::uid(body)) {
        return Some(format!("the claim {} and its data would go with it; delete it yourself", claim.name));
    }
    let policy = body.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    if kind == "statefulsets.apps" && policy.and_then(Value::as_str) == Some("Delete") {
        return Some("its claims and their data would go with it (whenDeleted: Delete); delete it yourself".to_owned());
    }
    None
}

impl<'a> Owned<'a> {
    fn of(live: &'a Live) -> Self {
        let mut owned: BTreeMap<String, Vec<(&Place, String)>> = BTreeMap::new();
        for (place, body) in &live.objects {
            let body = body.open();
            for owner in object::owners(&body) {
                owned.entry(owner.uid.to_owned()).or_default().push((place, object::uid(&body).to_owned()));
            }
        }
        Self(owned)
    }

    /// A claim that would be collected with the object of this uid, directly or through what it owns.
    fn claim(&self, uid: &str) -> Option<&'a Place> {
        let mut owners = vec![uid];
        let mut seen: BTreeSet<&str> = owners.iter().copied().collect();
        while let Some(owner) = owners.pop() {
            for (place, uid) in self.0.get(owner).into_iter().flatten() {
                if place.group_resource == "persistentvolumeclaims" {
                    return Some(place);
                }
                if seen.insert(uid) {
                    owners.push(uid);
                }
            }
        }
        None
    }
}
