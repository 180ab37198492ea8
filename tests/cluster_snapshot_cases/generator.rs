//! Namespaces by the seed: objects of many kinds with random content, none of which runs anything.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

/// Objects of a namespace, drawn from `seed`; names are unique by kind.
pub fn objects(seed: u64, count: usize) -> Vec<Value> {
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    (0..count).map(|at| draw.object(at)).collect()
}

struct Draw(StdRng);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0.random_range(0..most)
    }

    fn maybe(&mut self) -> bool {
        self.0.random_bool(0.5)
    }

    fn word(&mut self) -> String {
        let length = 1 + self.below(8);
        (0..length).map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap())).collect()
    }

    fn words(&mut self, most: usize) -> Map<String, Value> {
        let count = self.below(most + 1);
        (0..count).map(|_| (self.word(), Value::from(self.word()))).collect()
    }

    fn quantity(&mut self) -> Value {
        let number = 1 + self.below(9);
        let unit = ["m", "", "Mi", "Gi", "k"][self.below(5)];
        json!(format!("{number}{unit}"))
    }

    fn container(&mut self, name: &str) -> Value {
        let mut container = json!({"name": name, "image": format!("{}:{}", self.word(), self.below(9))});
        if self.maybe() {
            let env: Vec<Value> =
                (0..self.below(4)).map(|at| json!({"name": format!("V{at}"), "value": self.word()})).collect();
            container["env"] = Value::from(env);
        }
        if self.maybe() {
            container["resources"] = json!({"requests": {"cpu": "100m", "memory": self.quantity()}});
        }
        if self.maybe() {
            container["ports"] = json!([{"containerPort": 1 + self.below(9000)}]);
        }
        if self.maybe() {
            container["livenessProbe"] =
                json!({"httpGet": {"path": "/", "port": 1 + self.below(9000)}, "periodSeconds": 1 + self.below(60)});
        }
        container
    }

    fn pods(&mut self, app: &str) -> Value {
        let containers: Vec<Value> = (0..=self.below(3)).map(|at| self.container(&format!("c{at}"))).collect();
        json!({"metadata": {"labels": {"app": app}, "annotations": self.words(2)}, "spec": {"containers": containers}})
    }

    fn object(&mut self, at: usize) -> Value {
        let name = format!("{}-{at}", self.word());
        let app = self.word();
        let mut object = match self.below(14) {
            0..=2 => json!({"apiVersion": "v1", "kind": "ConfigMap", "data": self.words(6)}),
            3..=4 => json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": self.words(4)}),
            5 => json!({"apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": self.maybe()}),
            6 => {
                let ports: Vec<Value> = (0..=self.below(3))
                    .map(|at| json!({"name": format!("p{at}"), "port": 80 + at, "targetPort": 1 + self.below(9000)}))
                    .collect();
                json!({"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": app}, "ports": ports}})
            }
            7 => json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "rules": [{"apiGroups": [""], "resources": [self.word()], "verbs": ["get", "list"]}]}),
            8 => json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 1 + self.below(9000)}]}]}}),
            9 => json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "spec": {"maxUnavailable": if self.maybe() { json!(1) } else { json!("25%") }, "selector": {"matchLabels": {"app": app}}}}),
            10..=11 => json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "spec": {"replicas": 0, "selector": {"matchLabels": {"app": app}}, "template": self.pods(&app)}}),
            12 => {
                let mut pods = self.pods(&app);
                pods["spec"]["restartPolicy"] = json!("Never");
                json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": format!("{} 3 * * *", self.below(60)),
                    "suspend": true, "jobTemplate": {"spec": {"template": pods}}}})
            }
            _ => json!({"apiVersion": "v1", "kind": "LimitRange",
                "spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "900Gi"}, "min": {"storage": self.quantity()}}]}}),
        };
        object["metadata"] = json!({"name": name, "labels": self.words(3), "annotations": self.words(2)});
        object
    }
}

/// Objects as kubectl reads them.
pub fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}
