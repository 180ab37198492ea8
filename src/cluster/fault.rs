//! What an answer of an API server means to whoever has to act on it.

use crate::error::{Error, Kind};
use crate::retry::{Retry, Retryable};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// The failures a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 401, or the credentials could not be had: an expired token, a plugin that failed.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409: there is an object of that name.
    Exists,
    /// 409: somebody else changed it, or a precondition does not hold.
    Conflict,
    /// 400 or 422: the server will not take this object or these parameters.
    Invalid,
    /// 410: the instant asked for is no longer known.
    Gone,
    /// 429: nothing was done; try again after a while.
    TooMany,
    /// 429 because a disruption budget does not allow it: nothing was done, and asking again changes nothing until pods do.
    HeldUp,
    /// 500, 502, 503, 504: it may work later, and it is not known whether something was done.
    Unavailable,
    /// No whole answer came: nobody listens, the connection broke, or time ran out. What was done is not known.
    Unreachable,
    /// A list was interrupted where it cannot go on: it has to begin again.
    Interrupted,
    /// Anything else.
    Other,
}

/// Why the server refused one field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// Such as `FieldValueInvalid`.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Which field.
    pub field: String,
}

/// A request that did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What it means.
    pub fault: Fault,
    /// The HTTP status; 0 if there was no answer.
    pub code: u16,
    /// The server's word for it, such as `AlreadyExists`.
    pub reason: String,
    /// The server's sentence.
    pub message: String,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Field by field.
    pub causes: Vec<Cause>,
}

/// The body of a refusal, as far as it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    reason: Option<String>,
    message: Option<String>,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
    causes: Option<Vec<Cause>>,
}

impl ApiError {
    /// An answer with another status than success.
    pub(super) fn of_answer(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let details = status.details.unwrap_or_default();
        let reason = status.reason.unwrap_or_default();
        let retry_after = retry_after.or(details.retry_after_seconds.map(Duration::from_secs));
        let causes = details.causes.unwrap_or_default();
        // A budget that the server has only not counted yet says when to come back.
        let held_up = code == 429
            && retry_after.is_none_or(|after| after.is_zero())
            && causes.iter().any(|cause| cause.reason == "DisruptionBudget");
        let plain = || String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        Self {
            fault: if held_up { Fault::HeldUp } else { fault_of(code, &reason) },
            code,
            message: status.message.unwrap_or_else(plain),
            retry_after,
            causes,
            reason,
        }
    }

    /// Whether the instant that was asked for lies ahead of what the server has seen.
    pub fn is_ahead(&self) -> bool {
        self.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
    }

    /// Whether the server has looked at what was asked and said no; otherwise it may say yes another time. 500 is what
    /// it says when admission could not be asked.
    pub fn is_verdict(&self) -> bool {
        self.code == 500 || (self.code != 0 && self.retry() == Retry::Never)
    }

    /// What the account may not do, where that is why the server refused: it has not looked at the object then. Admission
    /// (a quota, pod security, a webhook) refuses with the same status, and in other words: it has.
    pub fn lacks(&self) -> Option<Lacks> {
        if self.fault != Fault::Forbidden {
            return None;
        }
        let (about, why) = self.message.split_once(" is forbidden: ")?;
        // `configmaps` or `configmaps "a"`: a webhook that says such a thing says first who it is.
        let (resource, name) = about.split_once(' ').unwrap_or((about, "\"\""));
        if resource.contains('"') || !(name.starts_with('"') && name.ends_with('"')) {
            return None;
        }
        if why.starts_with("User \"") {
            return Lacks::of_authorisation(why);
        }
        let grants =
            why.starts_with("user \"") && why.contains("attempting to grant RBAC permissions not currently held");
        grants.then(|| Lacks::of_grant(resource))
    }

    /// No answer.
    pub(super) fn of_silence(why: impl Into<String>) -> Self {
        Self::new(Fault::Unreachable, why)
    }

    pub(super) fn new(fault: Fault, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { fault, code: 0, reason: String::new(), message, retry_after: None, causes: Vec::new() }
    }

    /// The same as an error of a command, with what was being done and the next step.
    pub fn during(self, doing: impl Into<String>) -> Error {
        let (kind, hint) = match self.fault {
            Fault::Unauthorized => {
                (Kind::Input, Some("the token may have expired: log in again, or name another user in the kubeconfig"))
            }
            Fault::Forbidden => (Kind::Refused, Some("kubectl auth can-i --list shows what this account may do")),
            Fault::Unreachable => {
                (Kind::Failed, Some("is the API server up, and does the kubeconfig name the right one?"))
            }
            Fault::NotFound | Fault::Invalid => (Kind::Refused, None),
            _ => (Kind::Failed, None),
        };
        let error = Error::new(kind, doing).because(self);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// A verb on a kind which an account does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacks {
    /// Such as `create`.
    pub verb: String,
    /// Such as `ingresses.networking.k8s.io`.
    pub group_resource: String,
}

impl Lacks {
    /// `User "a" cannot create resource "ingresses" in API group "networking.k8s.io" …`
    fn of_authorisation(why: &str) -> Option<Self> {
        let (verb, rest) = why.split_once("\" cannot ")?.1.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, _) = rest.split_once('"')?;
        let dot = if group.is_empty() { "" } else { "." };
        Some(Self { verb: verb.to_owned(), group_resource: format!("{resource}{dot}{group}") })
    }

    /// Nobody gives more rights than they have, unless they have the verb for it.
    fn of_grant(resource: &str) -> Self {
        let (verb, resource) = match resource.split_once("bindings.") {
            Some((roles, group)) => ("bind", format!("{roles}s.{group}")),
            None => ("escalate", resource.to_owned()),
        };
        Self { verb: verb.to_owned(), group_resource: resource }
    }
}

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.group_resource)
    }
}

fn fault_of(code: u16, reason: &str) -> Fault {
    match code {
        401 => Fault::Unauthorized,
        403 => Fault::Forbidden,
        404 => Fault::NotFound,
        409 if reason == "AlreadyExists" => Fault::Exists,
        409 => Fault::Conflict,
        400 | 413 | 415 | 422 => Fault::Invalid,
        410 => Fault::Gone,
        429 => Fault::TooMany,
        500 | 502..=504 => Fault::Unavailable,
        _ => Fault::Other,
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.reason.as_str()) {
            (0, _) => f.write_str(&self.message),
            (code, "") => write!(f, "the server answered {code}: {}", self.message),
            (code, reason) => write!(f, "the server answered {code} {reason}: {}", self.message),
        }
    }
}

impl std::error::Error for ApiError {}

impl Retryable for ApiError {
    fn retry(&self) -> Retry {
        match self.fault {
            Fault::TooMany | Fault::Unavailable | Fault::Unreachable => Retry::Later,
            _ => Retry::Never,
        }
    }

    fn pause(&self) -> Option<Duration> {
        self.retry_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_what_it_means_why_and_when_to_come_back() {
        let body = br#"{"kind":"Status","code":429,"reason":"TooManyRequests","message":"slow down","details":{"retryAfterSeconds":7}}"#;
        let error = ApiError::of_answer(429, None, body);
        assert_eq!((error.fault, error.pause()), (Fault::TooMany, Some(Duration::from_secs(7))));
        assert_eq!(error.to_string(), "the server answered 429 TooManyRequests: slow down");
        let header = ApiError::of_answer(429, Some(Duration::from_secs(2)), b"too many");
        assert_eq!((header.pause(), header.message.as_str()), (Some(Duration::from_secs(2)), "too many"));
    }

    #[test]
    fn a_budget_that_stands_against_it_is_an_answer_and_no_reason_to_ask_again() {
        let body = |after: u64| {
            let causes =
                r#"[{"reason":"DisruptionBudget","message":"The disruption budget web needs 3 healthy pods"}]"#;
            format!(r#"{{"reason":"TooManyRequests","details":{{"causes":{causes},"retryAfterSeconds":{after}}}}}"#)
        };
        let held_up = ApiError::of_answer(429, None, body(0).as_bytes());
        assert_eq!((held_up.fault, held_up.retry()), (Fault::HeldUp, Retry::Never));
        assert!(held_up.is_verdict());
        let not_counted_yet = ApiError::of_answer(429, None, body(10).as_bytes());
        assert_eq!((not_counted_yet.fault, not_counted_yet.retry()), (Fault::TooMany, Retry::Later));
    }

    #[test]
    fn an_instant_that_the_server_has_not_seen_yet_is_told_from_other_delays() {
        let body = |cause: &str| {
            format!(
                r#"{{"reason":"Timeout","details":{{"causes":[{{"reason":"{cause}","message":"Too large resource version"}}]}}}}"#
            )
        };
        let ahead = ApiError::of_answer(504, None, body("ResourceVersionTooLarge").as_bytes());
        assert_eq!((ahead.fault, ahead.is_ahead()), (Fault::Unavailable, true));
        assert!(!ApiError::of_answer(504, None, body("Other").as_bytes()).is_ahead());
    }

    #[test]
    fn a_name_that_is_taken_is_told_from_a_change_that_came_first() {
        let taken = ApiError::of_answer(409, None, br#"{"reason":"AlreadyExists"}"#);
        let changed = ApiError::of_answer(409, None, br#"{"reason":"Conflict"}"#);
        assert_eq!((taken.fault, changed.fault), (Fault::Exists, Fault::Conflict));
    }

    #[test]
    fn what_an_account_may_not_do_is_told_from_what_admission_does_not_take() {
        let lacks = |message: &str| {
            let body = serde_json::json!({"reason": "Forbidden", "message": message}).to_string();
            ApiError::of_answer(403, None, body.as_bytes()).lacks().map(|lacks| lacks.to_string())
        };
        let may_not = [
            (
                r#"configmaps is forbidden: User "system:serviceaccount:a:b" cannot create resource "configmaps" in API group "" in the namespace "x""#,
                "create configmaps",
            ),
            (
                r#"ingresses.networking.k8s.io "door" is forbidden: User "a" cannot patch resource "ingresses" in API group "networking.k8s.io" in the namespace "x": RBAC: clusterrole.rbac.authorization.k8s.io "b" not found"#,
                "patch ingresses.networking.k8s.io",
            ),
            (
                "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"a\" (groups=[\"b\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"]}",
                "escalate roles.rbac.authorization.k8s.io",
            ),
            (
                "clusterrolebindings.rbac.authorization.k8s.io \"all\" is forbidden: user \"a\" (groups=[]) is attempting to grant RBAC permissions not currently held:\n",
                "bind clusterroles.rbac.authorization.k8s.io",
            ),
        ];
        for (message, wanted) in may_not {
            assert_eq!(lacks(message).as_deref(), Some(wanted), "{message}");
        }
        for message in [
            r#"pods "a" is forbidden: exceeded quota: few, requested: pods=1, used: pods=9, limited: pods=9"#,
            r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostPID=true)"#,
            r#"admission webhook "a.b.c" denied the request: it is forbidden: User "a" cannot create resource "pods" in API group "" here"#,
            r#"pods "a" is forbidden: error looking up service account x/y: serviceaccount "y" not found"#,
            "no",
        ] {
            assert_eq!(lacks(message), None, "{message}");
        }
    }

    #[test]
    fn a_refused_field_is_named() {
        let body = br#"{"reason":"Invalid","details":{"causes":[{"reason":"FieldValueInvalid","message":"must be small","field":"spec.x"}]}}"#;
        let error = ApiError::of_answer(422, None, body);
        assert_eq!((error.fault, error.causes[0].field.as_str()), (Fault::Invalid, "spec.x"));
    }
}
