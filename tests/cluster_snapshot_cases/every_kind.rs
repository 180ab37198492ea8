//! Objects of every built-in kind that a namespace can have, and of custom kinds with defaults and several versions;
//! none of them runs anything, wherever it is made.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// What is drawn from.
struct Draw(StdRng);

/// How many sorts of objects there are.
pub const SORTS: usize = 24;

/// One object of each sort, `rounds` times, with random content.
pub fn objects(seed: u64, rounds: usize) -> Vec<Value> {
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    (0..rounds * SORTS).map(|at| draw.object(at % SORTS, at)).collect()
}

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0.random_range(0..most)
    }

    fn maybe(&mut self) -> bool {
        self.0.random_bool(0.5)
    }

    fn word(&mut self) -> String {
        let length = 2 + self.below(9);
        (0..length).map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap())).collect()
    }

    /// Text with what is hard to quote.
    fn text(&mut self) -> String {
        let pieces = [
            "plain",
            "a: b",
            "\"quoted\"",
            "line\nend\n",
            "tab\there",
            "ünï ©ode ✓",
            "{{ mustache }}",
            "'",
            "\\",
            "- x",
            "0x1",
            "null",
            "1e3",
        ];
        (0..=self.below(4)).map(|_| pieces[self.below(pieces.len())]).collect::<Vec<_>>().join(" ")
    }

    fn container(&mut self) -> Value {
        let mut container =
            json!({"name": self.word(), "image": format!("none.invalid/{}:{}", self.word(), self.below(9))});
        if self.maybe() {
            container["env"] = json!([
                {"name": "A", "value": self.text()},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": self.word(), "key": "k", "optional": self.maybe()}}}]);
        }
        if self.maybe() {
            container["resources"] =
                json!({"requests": {"cpu": "1500m", "memory": "0.5Gi"}, "limits": {"memory": "1024Mi"}});
        }
        if self.maybe() {
            container["readinessProbe"] = json!({"exec": {"command": ["true"]}, "timeoutSeconds": 1 + self.below(9)});
        }
        if self.maybe() {
            container["securityContext"] = json!({"capabilities": {"drop": ["ALL"]}, "runAsUser": self.below(9000)});
        }
        container
    }

    fn template(&mut self, app: &str, restart: Option<&str>) -> Value {
        // No node is called so: what is made by accident runs nowhere.
        let mut spec = json!({"containers": [self.container()], "nodeSelector": {"kubernetes.io/hostname": "nowhere"}});
        if let Some(restart) = restart {
            spec["restartPolicy"] = restart.into();
        }
        if self.maybe() {
            spec["volumes"] = json!([{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "c", "configMap": {"name": "x", "optional": true}}]);
        }
        if self.maybe() {
            spec["tolerations"] = json!([{"key": self.word(), "operator": "Exists"}]);
        }
        json!({"metadata": {"labels": {"app": app}, "annotations": {"note": self.text()}}, "spec": spec})
    }

    #[expect(clippy::too_many_lines, reason = "one table of all kinds")]
    fn object(&mut self, sort: usize, at: usize) -> Value {
        let app = self.word();
        let selector = json!({"matchLabels": {"app": app}});
        let mut object = match sort {
            0 => {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": self.maybe(), "data": {"a": self.text(), "b": ""}, "binaryData": {"x": "AP8="}})
            }
            1 => {
                json!({"apiVersion": "v1", "kind": "Secret", "type": (["Opaque", "example.com/own"][self.below(2)]), "stringData": {"k": self.text()}})
            }
            2 => json!({"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{"name": self.word()}]}),
            3 => {
                json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": (["ClusterIP", "NodePort", "LoadBalancer"][self.below(3)]),
                "selector": {"app": app}, "ports": [{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 443, "protocol": "UDP"}]}})
            }
            4 => {
                json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None", "publishNotReadyAddresses": self.maybe(), "ports": [{"port": 5432}]}})
            }
            5 => json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "ports": [{"port": 5432}], "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}]}),
            6 => json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteOnce"],
                "storageClassName": "none", "resources": {"requests": {"storage": "1.5Gi"}}}}),
            7 => json!({"apiVersion": "v1", "kind": "PodTemplate", "template": self.template(&app, None)}),
            8 => {
                json!({"apiVersion": "v1", "kind": "ReplicationController", "spec": {"replicas": 0, "selector": {"app": app}, "template": self.template(&app, None)}})
            }
            9 => {
                json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"limits.cpu": "1000", "requests.storage": "900Ti"}}})
            }
            10 => {
                json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "900Gi"}, "min": {"storage": "1Mi"}}]}})
            }
            11 => {
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "paused": self.maybe(), "selector": selector, "template": self.template(&app, None),
                "strategy": {"rollingUpdate": {"maxSurge": if self.maybe() { json!("30%") } else { json!(2) }}}}})
            }
            12 => {
                json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"replicas": 0, "serviceName": app, "selector": selector, "template": self.template(&app, None),
                "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}})
            }
            13 => {
                json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {"selector": selector, "template": self.template(&app, None)}})
            }
            14 => {
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"replicas": 0, "selector": selector, "template": self.template(&app, None)}})
            }
            15 => {
                json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": true, "backoffLimit": self.below(9), "template": self.template(&app, Some("Never"))}})
            }
            16 => {
                json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "0 3 * * *", "suspend": true, "timeZone": "Etc/UTC",
                "jobTemplate": {"spec": {"template": self.template(&app, Some("OnFailure"))}}}})
            }
            17 => {
                json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 1 + self.below(9),
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
                json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"size": 1 + self.below(9), "rules": [{"host": self.word(), "port": "x"}, {"host": "z", "port": 8}]}})
            }
            _ => {
                json!({"apiVersion": "example.com/v1", "kind": "Gizmo", "anything": {"deep": [1, 2.5, null, {"x": self.text()}]}, "spec": {"on": self.maybe()}})
            }
        };
        object["metadata"] = json!({"name": format!("o{at}-{}", self.word()), "labels": {"tier": self.word()}, "annotations": {"text": self.text()}});
        if self.maybe() {
            object["metadata"]["finalizers"] = Value::Null;
        }
        object
    }
}
