//! What the account of a connection may do.

use super::Cluster;
use super::change::Write;
use super::fault::ApiError;
use super::kind::Kind;
use serde_json::json;

impl Cluster {
    /// Asks the API server whether this account may do something. `resource` may name a part, as in `pods/exec`; without a
    /// namespace it is about all of them.
    pub async fn may(
        &self,
        verb: &str,
        (group, resource): (&str, &str),
        namespace: Option<&str>,
    ) -> Result<bool, ApiError> {
        let kind = Kind::known("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview");
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": part, "namespace": namespace,
            } },
        });
        let answer = self.create(&kind, None, &body, Write::default()).await?;
        Ok(answer["status"]["allowed"] == true)
    }
}
