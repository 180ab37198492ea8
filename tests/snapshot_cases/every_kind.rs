//! Objects of every built-in kind that a namespace can have, and of custom kinds with defaults and several versions;
//! none of them runs anything, wherever it is made.

#[path = "draw.rs"]
mod draw;

use draw::Draw;
use serde_json::{Value, json};

/// How many sorts of objects there are.
pub const SORTS: usize = 32;

/// One object of each sort, `rounds` times, with random content.
pub fn objects(seed: u64, rounds: usize) -> Vec<Value> {
    let mut draw = Draw::new(seed, 2..=10);
    let mut objects: Vec<Value> = (0..rounds * SORTS).map(|at| object(&mut draw, at % SORTS, at)).collect();
    let mut by_hand = Value::Null;
    for object in &mut objects {
        match object["kind"].as_str().unwrap() {
            "Service" if object["spec"]["clusterIP"] == "None" => by_hand = object["metadata"]["name"].clone(),
            // Of a Service that selects nothing: a controller mirrors these into slices of its own.
            "Endpoints" => {
                object["metadata"]["name"] = by_hand.clone();
                object["metadata"]["labels"] = json!({"endpoints.kubernetes.io/managed-by": "staff"});
            }
            "EndpointSlice" => {
                object["metadata"]["labels"] = json!({"kubernetes.io/service-name": by_hand,
                    "endpointslice.kubernetes.io/managed-by": "staff"});
            }
            _ => {}
        }
    }
    objects
}

/// Statuses that nobody but a driver or a node would write, for kinds whose controllers leave them alone here.
pub fn status(draw_from: u64, kind: &str) -> Option<Value> {
    let mut draw = Draw::new(draw_from, 2..=10);
    let address = json!({"loadBalancer": {"ingress": [{"ip": format!("192.0.2.{}", 1 + draw.below(250))}]}});
    match kind {
        "Widget" | "Parcel" => Some(json!({"seen": draw.below(100), "words": [draw.text()]})),
        "Ingress" | "Service" => Some(address),
        "Pod" => Some(json!({"phase": "Pending", "reason": draw.word(), "message": draw.text()})),
        _ => None,
    }
}

fn container(draw: &mut Draw) -> Value {
    let mut container =
        json!({"name": draw.word(), "image": format!("none.invalid/{}:{}", draw.word(), draw.below(9))});
    if draw.maybe() {
        container["env"] = json!([
            {"name": "A", "value": draw.text()},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": draw.word(), "key": "k", "optional": draw.maybe()}}}]);
    }
    if draw.maybe() {
        container["resources"] =
            json!({"requests": {"cpu": "1500m", "memory": "0.5Gi"}, "limits": {"memory": "1024Mi"}});
    }
    if draw.maybe() {
        container["readinessProbe"] = json!({"exec": {"command": ["true"]}, "timeoutSeconds": 1 + draw.below(9)});
    }
    if draw.maybe() {
        container["securityContext"] = json!({"capabilities": {"drop": ["ALL"]}, "runAsUser": draw.below(9000)});
    }
    container
}

fn template(draw: &mut Draw, app: &str, restart: Option<&str>) -> Value {
    // No node is called so: what is made by accident runs nowhere.
    let mut spec = json!({"containers": [container(draw)], "nodeSelector": {"kubernetes.io/hostname": "nowhere"}});
    if let Some(restart) = restart {
        spec["restartPolicy"] = restart.into();
    }
    if draw.maybe() {
        spec["volumes"] = json!([{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "c", "configMap": {"name": "x", "optional": true}}]);
    }
    if draw.maybe() {
        spec["tolerations"] = json!([{"key": draw.word(), "operator": "Exists"}]);
    }
    json!({"metadata": {"labels": {"app": app}, "annotations": {"note": draw.text()}}, "spec": spec})
}

#[expect(clippy::too_many_lines, reason = "one table of all kinds")]
fn object(draw: &mut Draw, sort: usize, at: usize) -> Value {
    let app = draw.word();
    let selector = json!({"matchLabels": {"app": app}});
    let mut object = match sort {
        0 => {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": draw.maybe(), "data": {"a": draw.text(), "b": ""}, "binaryData": {"x": "AP8="}})
        }
        1 => {
            json!({"apiVersion": "v1", "kind": "Secret", "type": (["Opaque", "example.com/own"][draw.below(2)]), "stringData": {"k": draw.text()}})
        }
        2 => json!({"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": draw.word()}]}),
        3 => {
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": (["ClusterIP", "NodePort", "LoadBalancer"][draw.below(3)]),
            "selector": {"app": app}, "ports": [{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 443, "protocol": "UDP"}]}})
        }
        4 => {
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None", "publishNotReadyAddresses": draw.maybe(), "ports": [{"port": 5432}]}})
        }
        5 => json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "ports": [{"port": 5432}], "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}]}),
        6 => json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": "none", "resources": {"requests": {"storage": "1.5Gi"}}}}),
        7 => json!({"apiVersion": "v1", "kind": "PodTemplate", "template": template(draw, &app, None)}),
        8 => {
            json!({"apiVersion": "v1", "kind": "ReplicationController", "spec": {"replicas": 0, "selector": {"app": app}, "template": template(draw, &app, None)}})
        }
        9 => {
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"limits.cpu": "1000", "requests.storage": "900Ti"}}})
        }
        10 => {
            json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "900Gi"}, "min": {"storage": "1Mi"}}]}})
        }
        11 => {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "paused": draw.maybe(), "selector": selector, "template": template(draw, &app, None),
            "strategy": {"rollingUpdate": {"maxSurge": if draw.maybe() { json!("30%") } else { json!(2) }}}}})
        }
        12 => {
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"replicas": 0, "serviceName": app, "selector": selector, "template": template(draw, &app, None),
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}})
        }
        13 => {
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {"selector": selector, "template": template(draw, &app, None)}})
        }
        14 => {
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"replicas": 0, "selector": selector, "template": template(draw, &app, None)}})
        }
        15 => {
            json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": true, "backoffLimit": draw.below(9), "template": template(draw, &app, Some("Never"))}})
        }
        16 => {
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "0 3 * * *", "suspend": true, "timeZone": "Etc/UTC",
            "jobTemplate": {"spec": {"template": template(draw, &app, Some("OnFailure"))}}}})
        }
        17 => {
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 1 + draw.below(9),
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}})
        }
        18 => {
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"minAvailable": "50%", "selector": selector}})
        }
        19 => {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"ingressClassName": "none", "rules": [{"host": format!("{app}.example.com"),
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": app, "port": {"name": "web"}}}}]}}]}})
        }
        20 => {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": selector, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}], "policyTypes": ["Egress"]}})
        }
        21 => {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": app, "namespace": "default"}, {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "team"}]})
        }
        22 => {
            json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"size": 1 + draw.below(9), "rules": [{"host": draw.word(), "port": "x"}, {"host": "z", "port": 8}]}})
        }
        23 => {
            json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": [{"addresses": [{"ip": "192.0.2.7", "hostname": draw.word()}, {"ip": "192.0.2.3"}],
            "notReadyAddresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 5432}]}]})
        }
        24 => {
            let mut pod = template(draw, &app, Some("Never"))["spec"].clone();
            pod["hostname"] = draw.word().into();
            // The quotas above want to know.
            pod["containers"][0]["resources"] = json!({"limits": {"cpu": "1500m", "memory": "0.5Gi"}});
            json!({"apiVersion": "v1", "kind": "Pod", "spec": pod})
        }
        // Those of a StatefulSet or DaemonSet belong to it, and are made by its controller.
        25 => {
            json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1 + draw.below(9), "data": {"spec": {"text": draw.text()}}})
        }
        26 => {
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity", "storageClassName": "none", "capacity": "1.5Gi",
            "maximumVolumeSize": "1Gi", "nodeTopology": {"matchLabels": {"zone": draw.word()}}})
        }
        27 => json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [
            {"apiGroups": ["", "apps"], "resources": ["*"], "resourceNames": [draw.word()], "verbs": ["get"]}]}),
        28 => {
            json!({"apiVersion": "example.com/v1beta1", "kind": "Widget", "spec": {"size": 1 + draw.below(9), "mode": draw.word()}})
        }
        // What the preferred version does not know is there at the stored one.
        29 => {
            json!({"apiVersion": "example.com/v1alpha1", "kind": "Parcel", "spec": {"weight": draw.below(99), "route": [draw.text()]}})
        }
        30 => json!({"apiVersion": "example.com/v1", "kind": "Parcel", "spec": {"weight": draw.below(99)}}),
        _ => {
            json!({"apiVersion": "example.com/v1", "kind": "Gizmo", "anything": {"deep": [1, 2.5, null, {"x": draw.text()}]}, "spec": {"on": draw.maybe()}})
        }
    };
    object["metadata"] = json!({"name": format!("o{at}-{}", draw.word()), "labels": {"tier": draw.word()}, "annotations": {"text": draw.text()}});
    if draw.maybe() {
        object["metadata"]["finalizers"] = Value::Null;
    }
    object
}
