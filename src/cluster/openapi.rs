//! The schemas of built-in kinds, for when an object cannot be put to the server yet.

use super::Cluster;
use super::fault::ApiError;
use super::kind::Kind;
use serde_json::Value;

impl Cluster {
    /// The `OpenAPI` document of the group and version of a kind.
    pub async fn openapi(&self, kind: &Kind) -> Result<Value, ApiError> {
        let place = if kind.group.is_empty() { "api" } else { "apis" };
        self.get_json(&format!("/openapi/v3/{place}/{}", kind.api_version())).await
    }
}
