//! What no snapshot has, because it tells about the moment or a controller makes it from other objects without owning it.

use super::object;
use super::volumes::{MOVER_LABEL, RUN_LABEL};
use serde_json::Value;

/// Kinds whose objects tell about the moment and mean nothing after it.
pub(super) const NEVER: [(&str, &str); 3] = [
    ("events", "events are never saved"),
    ("events.events.k8s.io", "events are never saved"),
    ("leases.coordination.k8s.io", "leases are never saved"),
];

const SLICE_MAKERS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

/// Whether an object is of that sort. A snapshot that is being made goes by the text of an object (`collect/rules.rs`).
pub(super) fn is_noise(group_resource: &str, body: &Value) -> bool {
    let label = |name: &str| object::label(body, name);
    match group_resource {
        "pods" => label(MOVER_LABEL).is_some(),
        "volumegroupsnapshots.groupsnapshot.storage.k8s.io" => label(RUN_LABEL).is_some(),
        "endpoints" => {
            object::annotation(body, "endpoints.kubernetes.io/last-change-trigger-time").is_some()
                || object::annotation(body, "control-plane.alpha.kubernetes.io/leader").is_some()
                || label("endpoints.kubernetes.io/managed-by") == Some("endpoint-controller")
        }
        "endpointslices.discovery.k8s.io" => {
            label("endpointslice.kubernetes.io/managed-by").is_some_and(|by| SLICE_MAKERS.contains(&by))
        }
        kind => NEVER.iter().any(|(never, _)| *never == kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_people_made_is_no_noise_whoever_they_say_they_are() {
        let noise = |kind: &str, field: &str, name: &str, value: &str| {
            is_noise(kind, &json!({"metadata": {"name": "a", field: {name: value}}}))
        };
        let (points, slices) = ("endpoints", "endpointslices.discovery.k8s.io");
        let (of_points, of_slices) = ("endpoints.kubernetes.io/managed-by", "endpointslice.kubernetes.io/managed-by");
        assert!(noise(points, "labels", of_points, "endpoint-controller"));
        assert!(noise(points, "annotations", "control-plane.alpha.kubernetes.io/leader", "{}"));
        assert!(noise(slices, "labels", of_slices, "endpointslice-controller.k8s.io"));
        assert!(noise("pods", "labels", MOVER_LABEL, "data") && noise("events", "labels", "a", "b"));
        let groups = "volumegroupsnapshots.groupsnapshot.storage.k8s.io";
        assert!(noise(groups, "labels", RUN_LABEL, "r") && !noise(groups, "labels", "app", "web"));
        assert!(!noise(points, "labels", of_points, "staff") && !noise(slices, "labels", of_slices, "staff"));
        assert!(!noise("pods", "labels", "app", "web") && !noise("configmaps", "labels", MOVER_LABEL, "data"));
    }
}
