//! One kind of object that a server serves, and where its objects are.

use serde_json::Value;
use std::collections::BTreeSet;

/// A kind, by its group and plural name, at the version it is read and written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The group; empty for the core.
    pub group: String,
    /// The version it is read at: the storage version of a custom resource where it is served, else the preferred one.
    pub version: String,
    /// The plural, such as `deployments`.
    pub resource: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Whether its objects lie in a namespace.
    pub namespaced: bool,
    /// What may be done with it, such as `list`.
    pub verbs: BTreeSet<String>,
    /// Other names that people type, such as `deploy`.
    pub short_names: Vec<String>,
    /// Its subresources, such as `status`.
    pub subresources: BTreeSet<String>,
    /// All versions that are served, the preferred one first.
    pub served: Vec<String>,
    /// The storage version, if it is a custom resource.
    pub storage: Option<String>,
    /// Whether a custom resource definition made it.
    pub custom: bool,
}

/// `deployments.apps`, or `pods` in the core group.
pub fn group_resource(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// What a recovery point of a namespace is bound to, by the uids of the namespace and of its cluster; the latter is empty
/// where the account may not see it.
pub fn namespace_identity(namespace: &str, cluster: &str) -> String {
    match cluster {
        "" => format!("namespace {namespace}"),
        cluster => format!("namespace {namespace} in cluster {cluster}"),
    }
}

/// Whether an identity is of a namespace in this cluster.
pub fn is_in_cluster(identity: &str, cluster: &str) -> bool {
    identity.strip_suffix(cluster).is_some_and(|before| before.ends_with(" in cluster "))
}

impl Kind {
    /// A built-in kind that is named without discovering anything: its paths are right, what it can do is not known.
    pub fn known(group: &str, version: &str, resource: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            namespaced: false,
            verbs: BTreeSet::new(),
            short_names: Vec::new(),
            subresources: BTreeSet::new(),
            served: vec![version.to_owned()],
            storage: None,
            custom: false,
        }
    }

    /// Namespaces.
    pub fn namespaces() -> Self {
        Self::known("", "v1", "namespaces", "Namespace")
    }

    /// Custom resource definitions.
    pub fn definitions() -> Self {
        Self::known("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
    }

    /// API services.
    pub(super) fn services() -> Self {
        Self::known("apiregistration.k8s.io", "v1", "apiservices", "APIService")
    }

    /// `pods`, `deployments.apps`: what the kind is called in messages and flags.
    pub fn group_resource(&self) -> String {
        group_resource(&self.group, &self.resource)
    }

    /// An element of a list, which does not say its kind, as the server gives it by itself.
    pub fn said_by(&self, mut object: Value) -> Value {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), self.api_version().into());
            fields.insert("kind".to_owned(), self.kind.clone().into());
        }
        object
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Where its objects are: all of them, those of a namespace, or one.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace {
            path.extend(["/namespaces/", &encode(namespace)]);
        }
        path.extend(["/", &self.resource]);
        if let Some(name) = name {
            path.extend(["/", &encode(name)]);
        }
        path
    }

    /// Whether a person who types `text` means this kind: plural, plural with group, kind, or a short name.
    pub fn answers_to(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let is = |name: &str| name.eq_ignore_ascii_case(&text);
        is(&self.group_resource())
            || is(&self.resource)
            || is(&self.kind)
            || self.short_names.iter().any(|short| is(short))
            || text.split_once('.').is_some_and(|(kind, group)| is_kind(&self.kind, kind) && group == self.group)
    }
}

fn is_kind(kind: &str, text: &str) -> bool {
    kind.eq_ignore_ascii_case(text)
}

/// Writes text so that it can stand in a path or a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&crate::id::to_hex(&[byte]).to_ascii_uppercase());
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let namespaces = Kind::namespaces();
        assert_eq!(namespaces.path(None, Some("shop")), "/api/v1/namespaces/shop");
        let roles = Kind::known("rbac.authorization.k8s.io", "v1", "roles", "Role");
        let path = roles.path(Some("shop"), Some("system:a/b"));
        assert_eq!(path, "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/system:a%2Fb");
    }

    #[test]
    fn a_kind_answers_to_every_name_that_people_type() {
        let mut kind = Kind::known("apps", "v1", "deployments", "Deployment");
        kind.short_names.push("deploy".to_owned());
        for name in ["deployments", "deployments.apps", "Deployment", "deploy", "deployment.apps"] {
            assert!(kind.answers_to(name), "{name}");
        }
        assert!(!kind.answers_to("deployments.extensions") && !kind.answers_to("replicasets"));
    }
}
