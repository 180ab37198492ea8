//! Objects of a cluster as they are saved and restored: who they are, and what their metadata says.
//!
//! A body is the JSON that the API server gave. Typed structs would drop the fields they do not know, so nothing here
//! has types for Deployments or Services: accessors look into the value and say `None` where nothing is.

use super::body::Body;
use crate::cluster::Kind;
pub use crate::cluster::group_resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// Which object: its kind, its place and the uid that tells it from an earlier one of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name of the kind.
    pub resource: String,
    /// Namespace; nothing for a cluster-scoped object.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// The uid it had.
    pub uid: String,
}

impl Identity {
    /// Where the object is, whatever its uid.
    pub fn place(&self) -> Place {
        Place {
            group_resource: group_resource(&self.group, &self.resource),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// A place where at most one object can be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// `deployments.apps`, `pods`.
    pub group_resource: String,
    /// Namespace; nothing for a cluster-scoped object.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Place {
    /// A place in a namespace.
    pub fn in_namespace(group_resource: &str, namespace: &str, name: &str) -> Self {
        Self { group_resource: group_resource.to_owned(), namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }

    /// A place in the cluster.
    pub fn in_cluster(group_resource: &str, name: &str) -> Self {
        Self { group_resource: group_resource.to_owned(), namespace: None, name: name.to_owned() }
    }
}

impl fmt::Display for Place {
    /// `deployments.apps/web`, as people type it after `--only`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group_resource, self.name)
    }
}

/// A kind as it was saved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SavedKind {
    /// API group; empty for the core group.
    pub group: String,
    /// The version its objects are written in.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Singular name, as in `kind:`.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl SavedKind {
    /// `deployments.apps`, `pods`
    pub fn group_resource(&self) -> String {
        group_resource(&self.group, &self.resource)
    }

    /// `apps/v1`, `v1`
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl SavedKind {
    /// The kind of an object that says its own `apiVersion` and `kind`, and is of this group and resource.
    pub fn of_body(group_resource: &str, namespaced: bool, body: &Value) -> Self {
        let (resource, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
        Self {
            group: group.to_owned(),
            version: text(body, "apiVersion").rsplit('/').next().unwrap_or_default().to_owned(),
            resource: resource.to_owned(),
            kind: text(body, "kind").to_owned(),
            namespaced,
        }
    }
}

impl From<&SavedKind> for Arc<SavedKind> {
    fn from(kind: &SavedKind) -> Self {
        Self::new(kind.clone())
    }
}

impl From<&Kind> for SavedKind {
    fn from(kind: &Kind) -> Self {
        Self {
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: kind.resource.clone(),
            kind: kind.kind.clone(),
            namespaced: kind.namespaced,
        }
    }
}

/// What the snapshot says about an object besides its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// A controller whose object is in the snapshot made it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub derived: bool,
    /// It is not in the namespace, but came along because something in it needs it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub related: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(mark: &bool) -> bool {
    !*mark
}

/// An object as it lies in a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Which object.
    pub identity: Identity,
    /// Its kind, which it shares with the others: four texts for each of a hundred thousand objects are fifty megabytes.
    pub kind: Arc<SavedKind>,
    /// What is known of it besides its content.
    pub marks: Marks,
    /// What the API server gave.
    pub body: Body,
}

impl Saved {
    /// An object of `kind` from the body that the API server gave.
    pub fn new(kind: impl Into<Arc<SavedKind>>, body: &Value) -> Self {
        let kind = kind.into();
        let identity = Identity {
            group: kind.group.clone(),
            resource: kind.resource.clone(),
            namespace: namespace(body).map(str::to_owned),
            name: name(body).to_owned(),
            uid: uid(body).to_owned(),
        };
        Self { identity, kind, marks: Marks::default(), body: body.into() }
    }
}

/// A reference from an object to one that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `apps/v1`
    pub api_version: &'a str,
    /// `Deployment`
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid when the reference was made.
    pub uid: &'a str,
    /// Whether it is the controller that made the object.
    pub controller: bool,
}

impl Owner<'_> {
    /// Group of the owner's kind.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The object's metadata.
pub fn metadata(body: &Value) -> Option<&Map<String, Value>> {
    body.get("metadata")?.as_object()
}

fn metadata_text<'a>(body: &'a Value, field: &str) -> Option<&'a str> {
    metadata(body)?.get(field)?.as_str()
}

/// The object's name; empty if it has none.
pub fn name(body: &Value) -> &str {
    metadata_text(body, "name").unwrap_or_default()
}

/// The object's namespace.
pub fn namespace(body: &Value) -> Option<&str> {
    metadata_text(body, "namespace").filter(|namespace| !namespace.is_empty())
}

/// The object's uid; empty if it has none.
pub fn uid(body: &Value) -> &str {
    metadata_text(body, "uid").unwrap_or_default()
}

/// The object's resource version.
pub fn resource_version(body: &Value) -> Option<&str> {
    metadata_text(body, "resourceVersion")
}

/// Whether the object is being deleted.
pub fn is_terminating(body: &Value) -> bool {
    metadata(body).is_some_and(|metadata| metadata.get("deletionTimestamp").is_some_and(|at| !at.is_null()))
}

/// One label.
pub fn label<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    metadata(body)?.get("labels")?.get(key)?.as_str()
}

/// One annotation.
pub fn annotation<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    metadata(body)?.get("annotations")?.get(key)?.as_str()
}

/// The references to owners, in their order.
pub fn owners(body: &Value) -> Vec<Owner<'_>> {
    let references = metadata(body).and_then(|metadata| metadata.get("ownerReferences")?.as_array());
    let references = references.map(Vec::as_slice).unwrap_or_default();
    references
        .iter()
        .map(|reference| Owner {
            api_version: text(reference, "apiVersion"),
            kind: text(reference, "kind"),
            name: text(reference, "name"),
            uid: text(reference, "uid"),
            controller: reference.get("controller").and_then(Value::as_bool).unwrap_or_default(),
        })
        .collect()
}

/// The controller that made the object.
pub fn controller(body: &Value) -> Option<Owner<'_>> {
    owners(body).into_iter().find(|owner| owner.controller)
}

/// Whether `manager` is among the field managers of an object that the API server gave.
pub fn is_managed_by(body: &Value, manager: &str) -> bool {
    let managers = metadata(body).and_then(|metadata| metadata.get("managedFields")?.as_array());
    managers.is_some_and(|managers| managers.iter().any(|entry| text(entry, "manager") == manager))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_replica_set_names_the_deployment_that_made_it() {
        let body = json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "u1", "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "u0"},
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u2", "controller": true}]}});
        let owner = controller(&body).unwrap();
        assert_eq!((owner.group(), owner.kind, owner.name, owner.uid), ("apps", "Deployment", "web", "u2"));
        assert_eq!(owners(&body).len(), 2);
        assert_eq!(owners(&body)[0].group(), "");
    }

    #[test]
    fn metadata_that_is_not_there_or_not_what_it_should_be_is_nothing() {
        for body in [json!({}), json!({"metadata": null}), json!({"metadata": {"ownerReferences": "x", "labels": 3}})] {
            assert_eq!(name(&body), "");
            assert_eq!(namespace(&body), None);
            assert!(owners(&body).is_empty());
            assert_eq!(label(&body, "a"), None);
            assert!(!is_terminating(&body));
            assert!(!is_managed_by(&body, "davit"));
        }
    }

    #[test]
    fn an_object_is_identified_by_its_kind_and_place() {
        let kind = SavedKind {
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            kind: "Deployment".into(),
            namespaced: true,
        };
        let saved = Saved::new(&kind, &json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u"}}));
        assert_eq!(saved.identity.place(), Place::in_namespace("deployments.apps", "shop", "web"));
        assert_eq!(saved.identity.place().to_string(), "deployments.apps/web");
        assert_eq!(kind.api_version(), "apps/v1");
    }
}
