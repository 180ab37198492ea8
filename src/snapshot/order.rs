//! In which order objects are made: owners before what they own, and tiers for everything else.
//!
//! Inside a tier an owner comes first, so that what it owns can name its new uid at once. Across tiers the tier wins:
//! a `ConfigMap` that a custom resource owns is made with the configuration, because pods wait for it, and gets its
//! reference patched in when the owner is there. The uid of before is never written: the collector of the cluster
//! deletes an object with a stale owner within a second.

use super::object::{self, Owner, Saved};
use std::collections::{BTreeMap, HashMap};

/// The steps of a restore, first to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Definitions of custom kinds; established before anything else is made.
    Definitions,
    /// The namespace.
    Namespace,
    /// Classes that others name: storage, ingress, priority, runtime, snapshots.
    Classes,
    /// Volumes and claims.
    Volumes,
    /// Accounts, roles and who has them.
    Rights,
    /// Secrets and configuration.
    Configuration,
    /// Services and what leads to them.
    Services,
    /// What limits workloads.
    Policies,
    /// What runs.
    Workloads,
    /// Custom resources, whose operators may need everything above.
    Custom,
    /// Quotas and admission: they would refuse what is restored.
    Quotas,
}

impl Tier {
    /// The tier of a kind.
    pub fn of(group: &str, resource: &str) -> Self {
        match (group, resource) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => Self::Definitions,
            ("", "namespaces") => Self::Namespace,
            ("storage.k8s.io", _)
            | ("scheduling.k8s.io", "priorityclasses")
            | ("node.k8s.io", "runtimeclasses")
            | ("networking.k8s.io", "ingressclasses")
            | ("snapshot.storage.k8s.io", "volumesnapshotclasses") => Self::Classes,
            ("", "persistentvolumes" | "persistentvolumeclaims")
            | ("snapshot.storage.k8s.io" | "groupsnapshot.storage.k8s.io", _) => Self::Volumes,
            ("", "serviceaccounts") | ("rbac.authorization.k8s.io", _) => Self::Rights,
            ("", "secrets" | "configmaps") => Self::Configuration,
            ("", "services" | "endpoints") | ("discovery.k8s.io", _) | ("networking.k8s.io", "ingresses") => {
                Self::Services
            }
            ("", "limitranges") | ("networking.k8s.io" | "policy", _) => Self::Policies,
            ("", "resourcequotas") | ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Quotas,
            ("" | "apps" | "batch" | "autoscaling" | "coordination.k8s.io" | "resource.k8s.io", _) => Self::Workloads,
            _ => Self::Custom,
        }
    }
}

/// An owner reference that cannot be written when its object is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// Which object, as an index of what was ordered.
    pub owned: usize,
    /// Its owner, as an index of what was ordered.
    pub owner: usize,
}

/// What is made when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// Indexes of objects; a wave begins when the one before it is done, objects of one wave go side by side.
    pub waves: Vec<(Tier, Vec<usize>)>,
    /// References that are patched in afterwards.
    pub later: Vec<Later>,
    /// For each object the owners that are made before it, as indexes.
    pub before: Vec<Vec<usize>>,
}

/// Puts objects in order.
pub fn order(objects: &[&Saved]) -> Order {
    let by_uid: HashMap<&str, usize> =
        objects.iter().enumerate().map(|(at, saved)| (saved.identity.uid.as_str(), at)).collect();
    let tiers: Vec<Tier> =
        objects.iter().map(|saved| Tier::of(&saved.identity.group, &saved.identity.resource)).collect();
    let owners: Vec<Vec<usize>> = objects
        .iter()
        .enumerate()
        .map(|(at, saved)| {
            let body = saved.body.open();
            let named = object::owners(&body);
            let there = named.iter().filter(|owner| !owner.uid.is_empty()).filter_map(|owner| by_uid.get(owner.uid));
            there.copied().filter(|owner| *owner != at).collect()
        })
        .collect();
    let depths = depths(&tiers, &owners);
    let mut waves: BTreeMap<(Tier, usize), Vec<usize>> = BTreeMap::new();
    let mut order = Order { before: vec![Vec::new(); objects.len()], ..Order::default() };
    for at in 0..objects.len() {
        let mine = (tiers[at], depths[at]);
        waves.entry(mine).or_default().push(at);
        for owner in &owners[at] {
            if (tiers[*owner], depths[*owner]) < mine {
                order.before[at].push(*owner);
            } else {
                order.later.push(Later { owned: at, owner: *owner });
            }
        }
    }
    order.waves = waves.into_iter().map(|((tier, _), objects)| (tier, objects)).collect();
    order
}

/// How many owners of its own tier stand above each object; objects in a circle of owners stay where they are.
fn depths(tiers: &[Tier], owners: &[Vec<usize>]) -> Vec<usize> {
    let mut waiting: Vec<usize> = vec![0; tiers.len()];
    let mut owned: Vec<Vec<usize>> = vec![Vec::new(); tiers.len()];
    for (at, owners) in owners.iter().enumerate() {
        for owner in owners.iter().filter(|owner| tiers[**owner] == tiers[at]) {
            waiting[at] += 1;
            owned[*owner].push(at);
        }
    }
    let mut depths = vec![0; tiers.len()];
    let mut ready: Vec<usize> = (0..tiers.len()).filter(|at| waiting[*at] == 0).collect();
    while let Some(at) = ready.pop() {
        for child in &owned[at] {
            depths[*child] = depths[*child].max(depths[at] + 1);
            waiting[*child] -= 1;
            if waiting[*child] == 0 {
                ready.push(*child);
            }
        }
    }
    depths
}

/// For each object the controller that made it, if that is among them too.
pub fn makers<'a>(objects: &'a [Saved]) -> Vec<Option<&'a Saved>> {
    let by_uid: HashMap<&str, &Saved> = objects.iter().map(|saved| (saved.identity.uid.as_str(), saved)).collect();
    let maker = |saved: &'a Saved| {
        let body = saved.body.open();
        let controller: Owner<'_> = object::controller(&body)?;
        by_uid.get(controller.uid).copied().filter(|maker| maker.identity.uid != saved.identity.uid)
    };
    objects.iter().map(maker).collect()
}

/// Whether a derived object is restored all the same: its controller would make a new one, but not what is in it.
pub fn carries_data(group_resource: &str) -> bool {
    ["persistentvolumeclaims", "secrets", "configmaps"].contains(&group_resource)
}

#[cfg(test)]
mod tests {
    use super::super::object::SavedKind;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const KINDS: &[(&str, &str)] = &[
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("", "namespaces"),
        ("", "persistentvolumeclaims"),
        ("", "serviceaccounts"),
        ("", "configmaps"),
        ("", "services"),
        ("", "limitranges"),
        ("apps", "deployments"),
        ("example.com", "widgets"),
        ("", "resourcequotas"),
    ];

    fn saved(kind: (&str, &str), uid: &str, owners: &[&str]) -> Saved {
        let kind = SavedKind {
            group: kind.0.into(),
            version: "v1".into(),
            resource: kind.1.into(),
            kind: kind.1.into(),
            namespaced: true,
        };
        let owners: Vec<Value> = owners
            .iter()
            .map(|uid| json!({"apiVersion": "v1", "kind": "X", "name": uid, "uid": uid, "controller": true}))
            .collect();
        Saved::new(&kind, &json!({"metadata": {"name": uid, "namespace": "n", "uid": uid, "ownerReferences": owners}}))
    }

    fn ordered(objects: &[Saved]) -> Order {
        order(&objects.iter().collect::<Vec<_>>())
    }

    #[test]
    fn kinds_come_in_the_order_that_lets_each_find_what_it_needs() {
        let objects: Vec<Saved> =
            KINDS.iter().rev().enumerate().map(|(at, kind)| saved(*kind, &at.to_string(), &[])).collect();
        let order = ordered(&objects);
        let names: Vec<&str> =
            order.waves.iter().flat_map(|(_, wave)| wave).map(|at| objects[*at].identity.resource.as_str()).collect();
        let wanted: Vec<&str> = KINDS.iter().map(|kind| kind.1).collect();
        assert_eq!(names, wanted);
    }

    #[test]
    fn an_owner_of_the_same_tier_comes_first_and_one_of_a_later_tier_is_patched_in() {
        let deployment = ("apps", "deployments");
        let objects = [
            saved(deployment, "child", &["parent"]),
            saved(deployment, "parent", &[]),
            saved(("", "configmaps"), "settings", &["parent"]),
        ];
        let order = ordered(&objects);
        let waves: Vec<&[usize]> = order.waves.iter().map(|(_, wave)| wave.as_slice()).collect();
        assert_eq!(waves, [&[2][..], &[1], &[0]]);
        assert_eq!(order.before[0], [1]);
        assert_eq!(order.later, [Later { owned: 2, owner: 1 }]);
    }

    #[test]
    fn objects_that_own_each_other_are_made_and_then_patched() {
        let kind = ("", "configmaps");
        let objects = [saved(kind, "a", &["b"]), saved(kind, "b", &["a"]), saved(kind, "c", &["c"])];
        let order = ordered(&objects);
        assert_eq!(order.waves.len(), 1);
        assert_eq!(order.later.len(), 2);
        assert!(order.before.iter().all(Vec::is_empty));
    }

    #[test]
    fn what_a_controller_in_the_snapshot_made_is_known_and_what_another_made_is_not() {
        let kind = ("apps", "deployments");
        let objects = [saved(kind, "a", &[]), saved(kind, "b", &["a"]), saved(kind, "c", &["gone"])];
        let makers: Vec<Option<&str>> =
            makers(&objects).iter().map(|maker| maker.map(|maker| maker.identity.uid.as_str())).collect();
        assert_eq!(makers, [None, Some("a"), None]);
    }

    proptest! {
        #[test]
        fn every_object_is_made_once_after_the_owners_it_names_and_no_reference_is_lost(
            kinds in proptest::collection::vec(0..KINDS.len(), 1..20),
            arrows in proptest::collection::vec((0usize..20, 0usize..20), 0..40),
        ) {
            let count = kinds.len();
            let mut owners = vec![Vec::new(); count];
            for (owned, owner) in arrows {
                let (owned, owner) = (owned % count, owner % count);
                if owned != owner && !owners[owned].contains(&owner) {
                    owners[owned].push(owner);
                }
            }
            let names: Vec<String> = (0..count).map(|at| at.to_string()).collect();
            let objects: Vec<Saved> = (0..count)
                .map(|at| {
                    let owners: Vec<&str> = owners[at].iter().map(|owner| names[*owner].as_str()).collect();
                    saved(KINDS[kinds[at]], &names[at], &owners)
                })
                .collect();
            let order = ordered(&objects);
            let mut place = vec![None; count];
            for (number, (tier, wave)) in order.waves.iter().enumerate() {
                for at in wave {
                    prop_assert!(place[*at].replace(number).is_none());
                    prop_assert_eq!(*tier, Tier::of(KINDS[kinds[*at]].0, KINDS[kinds[*at]].1));
                }
            }
            prop_assert!(place.iter().all(Option::is_some));
            prop_assert!(order.waves.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            for (at, owners) in owners.iter().enumerate() {
                for owner in owners {
                    let before = order.before[at].contains(owner);
                    let later = order.later.contains(&Later { owned: at, owner: *owner });
                    prop_assert!(before != later);
                    prop_assert!(!before || place[*owner] < place[at]);
                }
            }
        }
    }
}
