//! Reading one object and changing it.

use super::Cluster;
use super::fault::{ApiError, Fault};
use super::kind::{Kind, encode};
use super::request::{Call, parse};
use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const JSON: &str = "application/json";

/// How something is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Write<'a> {
    /// Ask only whether the server would take it.
    pub dry_run: bool,
    /// In whose name the fields are written.
    pub field_manager: Option<&'a str>,
    /// A part of the object with a path of its own, such as `status`.
    pub subresource: Option<&'a str>,
}

/// How an object is changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// By the merge keys of built-in kinds.
    Strategic,
    /// Server-side apply; `force` takes fields over from other managers.
    Apply {
        /// Whether to take fields over.
        force: bool,
    },
}

/// Under which conditions an object is deleted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delete<'a> {
    /// Only the object of this uid.
    pub uid: Option<&'a str>,
    /// Only as it was at this resource version.
    pub resource_version: Option<&'a str>,
    /// `Foreground`, `Background` or `Orphan`; the kind's default if not said.
    pub propagation: Option<&'a str>,
    /// How long a pod may take to end; its own time if not said, and 0 does not wait for the node.
    pub grace_seconds: Option<u32>,
}

/// What is read of an object that was made.
#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    metadata: Uid,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Uid {
    uid: String,
}

impl Cluster {
    /// Gets one object.
    pub async fn get(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Value, ApiError> {
        self.get_json(&kind.path(namespace, Some(name))).await
    }

    /// Creates an object.
    pub async fn create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        body: &impl Serialize,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        self.post(kind, namespace, body, write).await
    }

    /// Creates an object; of what the server answers only the uid is read.
    pub async fn make(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        body: &impl Serialize,
        write: Write<'_>,
    ) -> Result<String, ApiError> {
        let made: Made = self.post(kind, namespace, body, write).await?;
        Ok(made.metadata.uid)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        body: &impl Serialize,
        write: Write<'_>,
    ) -> Result<T, ApiError> {
        let path = kind.path(namespace, None) + &parameters(write, &[]);
        self.change(Method::POST, path, (JSON, write.dry_run), body).await
    }

    /// Asks something of one object by creating a part of it, such as the `eviction` of a pod.
    pub async fn ask(
        &self,
        kind: &Kind,
        (namespace, name): (Option<&str>, &str),
        body: &impl Serialize,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        self.change(Method::POST, of_one(kind, namespace, name, write, &[]), (JSON, write.dry_run), body).await
    }

    /// Puts an object in the place of the one that is there.
    pub async fn replace(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        body: &impl Serialize,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        self.change(Method::PUT, of_one(kind, namespace, name, write, &[]), (JSON, write.dry_run), body).await
    }

    /// Changes an object in place.
    pub async fn patch(
        &self,
        kind: &Kind,
        (namespace, name): (Option<&str>, &str),
        patch: Patch,
        body: &impl Serialize,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        let (content_type, more): (_, &[(&str, &str)]) = match patch {
            Patch::Merge => ("application/merge-patch+json", &[]),
            Patch::Json => ("application/json-patch+json", &[]),
            Patch::Strategic => ("application/strategic-merge-patch+json", &[]),
            Patch::Apply { force: false } => ("application/apply-patch+yaml", &[]),
            Patch::Apply { force: true } => ("application/apply-patch+yaml", &[("force", "true")]),
        };
        self.change(Method::PATCH, of_one(kind, namespace, name, write, more), (content_type, write.dry_run), body)
            .await
    }

    /// Deletes an object; what is given back is the object going, or the server's word that it is gone.
    pub async fn delete(
        &self,
        kind: &Kind,
        (namespace, name): (Option<&str>, &str),
        delete: Delete<'_>,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        let mut body = json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
        // Where a deletion has a body, the server reads all options from it and none from the address: asked only there,
        // a dry run would delete.
        if write.dry_run {
            body["dryRun"] = json!(["All"]);
        }
        if delete.uid.is_some() || delete.resource_version.is_some() {
            body["preconditions"] = json!({ "uid": delete.uid, "resourceVersion": delete.resource_version });
        }
        if let Some(propagation) = delete.propagation {
            body["propagationPolicy"] = propagation.into();
        }
        if let Some(seconds) = delete.grace_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        let write = Write { field_manager: None, ..write };
        self.change(Method::DELETE, of_one(kind, namespace, name, write, &[]), (JSON, write.dry_run), &body).await
    }

    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        (content_type, dry_run): (&'static str, bool),
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|why| ApiError::new(Fault::Invalid, why.to_string()))?;
        let call = Call { method, content_type, body: Bytes::from(body), ..Call::get(path) };
        let answer = if dry_run { self.try_out(&call).await? } else { self.carefully(&call).await? };
        parse(&call.path, &answer)
    }
}

fn of_one(kind: &Kind, namespace: Option<&str>, name: &str, write: Write<'_>, more: &[(&str, &str)]) -> String {
    let subresource = write.subresource.map(|part| format!("/{part}")).unwrap_or_default();
    kind.path(namespace, Some(name)) + &subresource + &parameters(write, more)
}

fn parameters(write: Write<'_>, more: &[(&str, &str)]) -> String {
    let own = [("dryRun", write.dry_run.then_some("All")), ("fieldManager", write.field_manager)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let pairs: Vec<String> =
        own.chain(more.iter().copied()).map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}
