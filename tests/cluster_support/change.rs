//! Requests that change something: made, replaced, patched, deleted, or only asked whether that would be taken.

use super::answer::{Said, refusal};
use super::world::World;
use hyper::Method;
use serde_json::{Value, json};

impl World {
    pub(super) fn change(&mut self, method: &Method, path: &str, dry: bool, sent: Value) -> Said {
        // A status is a part of its object here, and nothing of its own.
        let path = path.strip_suffix("/status").unwrap_or(path);
        let Some((kind, _, namespace, name)) = self.meant(path) else {
            return refusal(404, "NotFound", "the server could not find the requested resource");
        };
        let kind = kind.group_resource();
        let name = name.map(str::to_owned).or_else(|| Some(sent["metadata"]["name"].as_str()?.to_owned()));
        let name = name.unwrap_or_default();
        let there = self.get(&kind, namespace, &name);
        let absent = || refusal(404, "NotFound", &format!("{kind} \"{name}\" not found"));
        match (method.as_str(), there) {
            ("POST", Some(_)) => refusal(409, "AlreadyExists", &format!("{kind} \"{name}\" already exists")),
            ("POST", None) => {
                if !namespace.is_empty() && self.get("namespaces", "", namespace).is_none() {
                    return refusal(404, "NotFound", &format!("namespaces \"{namespace}\" not found"));
                }
                let mut made = sent;
                if kind == "pods" && !dry {
                    // As if a node had taken it at once.
                    made["status"] = json!({ "phase": "Running" });
                }
                (201, self.keep(&kind, namespace, made, dry))
            }
            ("PUT", Some(_)) => (200, self.keep(&kind, namespace, sent, dry)),
            ("PATCH", Some(mut there)) => {
                merge(&mut there, &sent);
                (200, self.keep(&kind, namespace, there, dry))
            }
            ("DELETE", Some(there))
                if sent["preconditions"]["uid"].is_string()
                    && sent["preconditions"]["uid"] != there["metadata"]["uid"] =>
            {
                refusal(409, "Conflict", "the UID in the precondition does not match the UID in record")
            }
            ("DELETE", Some(_)) => {
                if !dry {
                    self.remove(&kind, namespace, &name);
                    if kind == "namespaces" {
                        self.empty(&name);
                    }
                }
                (200, json!({ "kind": "Status", "status": "Success" }))
            }
            (_, None) => absent(),
            _ => refusal(405, "MethodNotAllowed", "scripted"),
        }
    }

    fn keep(&mut self, kind: &str, namespace: &str, mut object: Value, dry: bool) -> Value {
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        if dry {
            object["metadata"]["uid"] = "of-a-dry-run".into();
            return object;
        }
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.put(kind, object);
        self.get(kind, namespace, &name).unwrap()
    }
}

/// RFC 7386.
fn merge(there: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *there = patch.clone();
        return;
    };
    if !there.is_object() {
        *there = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            there.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut there[name], value);
        }
    }
}
