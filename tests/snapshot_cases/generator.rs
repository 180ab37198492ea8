//! Namespaces by the seed: as many objects of each of twenty kinds, with random content; none of them runs anything.

#[path = "draw.rs"]
mod draw;

use draw::Draw;
use serde_json::{Value, json};

/// How many kinds there are.
pub const KINDS: usize = 20;

/// Objects of a namespace, drawn from `seed`; names are unique by kind.
pub fn objects(seed: u64, count: usize) -> Vec<Value> {
    let mut draw = Draw::new(seed, 1..=8);
    (0..count).map(|at| object(&mut draw, at)).collect()
}

fn container(draw: &mut Draw, name: &str) -> Value {
    let mut container = json!({"name": name, "image": format!("none.invalid/{}:{}", draw.word(), draw.below(9))});
    if draw.maybe() {
        let env: Vec<Value> =
            (0..draw.below(4)).map(|at| json!({"name": format!("V{at}"), "value": draw.word()})).collect();
        container["env"] = Value::from(env);
    }
    if draw.maybe() {
        container["resources"] = json!({"requests": {"cpu": "100m", "memory": draw.quantity()}});
    }
    if draw.maybe() {
        container["ports"] = json!([{"containerPort": 1 + draw.below(9000)}]);
    }
    if draw.maybe() {
        container["livenessProbe"] =
            json!({"httpGet": {"path": "/", "port": 1 + draw.below(9000)}, "periodSeconds": 1 + draw.below(60)});
    }
    container
}

/// What pods are made from; no node is called so, whatever makes them.
fn pods(draw: &mut Draw, app: &str, restart: &str) -> Value {
    let containers: Vec<Value> = (0..=draw.below(3)).map(|at| container(draw, &format!("c{at}"))).collect();
    json!({"metadata": {"labels": {"app": app}, "annotations": draw.words(2)}, "spec": {"containers": containers,
        "restartPolicy": restart, "nodeSelector": {"kubernetes.io/hostname": "nowhere"}}})
}

fn object(draw: &mut Draw, at: usize) -> Value {
    let name = format!("{}-{at}", draw.word());
    let app = draw.word();
    let mut object = match at % KINDS {
        0 => json!({"apiVersion": "v1", "kind": "ConfigMap", "data": draw.words(6)}),
        1 => json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": draw.words(4)}),
        2 => json!({"apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": draw.maybe()}),
        3 => {
            let ports: Vec<Value> = (0..=draw.below(3))
                .map(|at| json!({"name": format!("p{at}"), "port": 80 + at, "targetPort": 1 + draw.below(9000)}))
                .collect();
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": app}, "ports": ports}})
        }
        4 => json!({"apiVersion": "v1", "kind": "PodTemplate", "template": pods(draw, &app, "Always")}),
        5 => json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": "none", "resources": {"requests": {"storage": "2Gi"}}}}),
        6 => json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [{"type": "PersistentVolumeClaim",
            "max": {"storage": "900Gi"}, "min": {"storage": "1Mi"}}]}}),
        7..=10 => workload(draw, at % KINDS - 7, &app),
        11 => {
            json!({"apiVersion": "v1", "kind": "ReplicationController", "spec": {"replicas": 0, "selector": {"app": app},
            "template": pods(draw, &app, "Always")}})
        }
        12 => json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": true, "backoffLimit": draw.below(9),
            "template": pods(draw, &app, "Never")}}),
        13 => {
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": format!("{} 3 * * *", draw.below(60)),
            "suspend": true, "jobTemplate": {"spec": {"template": pods(draw, &app, "Never")}}}})
        }
        14 => json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "rules": [{"apiGroups": [""], "resources": [draw.word()], "verbs": ["get", "list"]}]}),
        15 => json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": draw.word()},
            "subjects": [{"kind": "ServiceAccount", "name": draw.word(), "namespace": "default"}]}),
        16 => json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 1 + draw.below(9000)}]}]}}),
        17 => json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"ingressClassName": "none",
            "rules": [{"host": format!("{app}.example.com"), "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": app, "port": {"number": 80}}}}]}}]}}),
        18 => json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "ports": [{"port": 1 + draw.below(9000)}], "endpoints": [{"addresses": ["192.0.2.1"]}]}),
        _ => json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "spec": {"maxUnavailable": if draw.maybe() { json!(1) } else { json!("25%") }, "selector": {"matchLabels": {"app": app}}}}),
    };
    object["metadata"] = json!({"name": name, "labels": draw.words(3), "annotations": draw.words(2)});
    object
}

fn workload(draw: &mut Draw, which: usize, app: &str) -> Value {
    let kind = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"][which];
    let mut spec = json!({"selector": {"matchLabels": {"app": app}}, "template": pods(draw, app, "Always")});
    if kind != "DaemonSet" {
        spec["replicas"] = json!(0);
    }
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(app);
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "spec": spec})
}

/// Objects as kubectl reads them.
pub fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}
