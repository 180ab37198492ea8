//! What a store's failure means to the person at the terminal: its kind, and what to try next.

use super::StoreError;
use crate::error::{Error, Kind, Result};

impl StoreError {
    /// This failure as an [`Error`] while `doing` something, with the next step to try.
    pub fn explain(self, doing: impl Into<String>) -> Error {
        let error = Error::new(self.kind(), doing);
        let error = match self.next_step() {
            Some(hint) => error.hint(hint),
            None => error,
        };
        error.because(self)
    }

    /// Which exit code it leads to, if nothing was changed before it.
    fn kind(&self) -> Kind {
        match self {
            Self::NoStore(_)
            | Self::Unsupported(_)
            | Self::BadKey(_)
            | Self::Credentials(_)
            | Self::WrongRegion { .. }
            | Self::ClockSkew(_)
            | Self::Misconfigured(_) => Kind::Input,
            Self::Denied { .. } | Self::Locked(_) => Kind::Refused,
            _ => Kind::Failed,
        }
    }

    fn next_step(&self) -> Option<String> {
        let text = match self {
            Self::NoStore(store) if store.starts_with("s3://") => {
                "check the name, the endpoint and the account, or make the bucket".to_owned()
            }
            Self::NoStore(_) => "check the path; davit init makes a new repository".to_owned(),
            Self::Misconfigured(detail) if detail.ends_with("is a file, not a directory") => {
                "name a directory, or s3://bucket/prefix".to_owned()
            }
            Self::Denied { action, target } if action == "s3:GetObject" => {
                format!("grant {action} on {target}, and s3:ListBucket, without which a missing object is denied, too")
            }
            Self::Denied { action, target } if action.starts_with("s3:") => {
                format!("grant {action} on {target} to the credentials in use")
            }
            Self::Denied { target, .. } => format!("check owner and mode of {target}"),
            Self::Locked(_) => "wait for the lock to end; a compliance lock cannot be taken away".to_owned(),
            Self::Full(_) => "make room or raise the quota, then run the same command again".to_owned(),
            Self::Credentials(detail) if detail.starts_with("Expired") || detail.starts_with("TokenRefresh") => {
                "sign in again or renew the session, then run the same command again".to_owned()
            }
            // The SDK speaks of tokens only where a profile leads to IAM Identity Center.
            Self::Credentials(detail) if detail.contains("SSO") || detail.contains("access token") => {
                "sign in with aws sso login --profile NAME, then run the same command again; a job that nobody is there to \
                 sign in for wants a role or a key of its own"
                    .to_owned()
            }
            Self::Credentials(_) => {
                "check key id and secret: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE"
                    .to_owned()
            }
            Self::WrongRegion { region: Some(region), .. } => format!("set AWS_REGION={region}"),
            Self::WrongRegion { .. } => "set AWS_REGION to the region of the bucket".to_owned(),
            Self::ClockSkew(_) => "set the clock of this machine (NTP), then run the same command again".to_owned(),
            Self::OutcomeUnknown { .. } | Self::Unavailable { .. } => {
                "check that the store can be reached, then run the same command again; what it has is not sent twice"
                    .to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}

/// Adds what was being done to a store's failure, keeping its kind and hint.
pub trait StoreContext<T> {
    /// Turns a failure into an [`Error`] while `doing` something.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> StoreContext<T> for Result<T, StoreError> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.explain(doing()))
    }
}
